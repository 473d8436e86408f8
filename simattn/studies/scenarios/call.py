"""One launch of an algorithm within a scenario: what its closed form predicts, and the execution that must equal it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from ...hierarchy.counts import KernelCounts
from ...hierarchy.dtypes import BOOL, FLOAT32, accumulation_type, scores_type, storage_type
from ...hierarchy.errors import SramOverflow
from ...hierarchy.given import each, pool
from ...hierarchy.machine import Machine
from ...hierarchy.run import Run
from ...hierarchy.splits import key_block, num_splits
from ...kernels import algorithms
from ...reference.forms import Form, closed_form, closed_form_of_steps
from ...reference.problem import Problem
from ...reference.sums import Ints, blocks_in

SPLIT = ("split_kv", "paged")
FORMS_KEPT = 64  # of a call and its neighbours: a prefill and its steps are two calls of one form

form_of = lru_cache(FORMS_KEPT)(closed_form)


@dataclass(frozen=True)
class Counted:
    """Counts by kernel, the bytes of the footprint, and the blocks with which they came about."""

    kernels: dict[str, KernelCounts]
    footprint: int
    blocks: dict[str, int]

    @property
    def total(self) -> KernelCounts:
        return sum(self.kernels.values(), KernelCounts())


@dataclass(frozen=True, kw_only=True)
class Call:
    """An algorithm on the shapes of one layer, `times` over. `only`: the kernels that are meant, of all that it launches.

    lengths: of the keys, where it is launched once for each; `problem` is then the last of these launches, of one query that sees all.
    beside: bytes of inputs and outputs that are in HBM meanwhile, beside what the way keeps throughout. scratch: whether its footprint
    is, too; it is not where that is the KV cache itself. page: keys of a page. steps: as the algorithm takes them.
    """

    phase: str
    algorithm: str
    problem: Problem
    beside: int = 0
    only: tuple[str, ...] | None = None
    times: int = 1
    scratch: bool = True
    steps: int | None = None
    page: int | None = None
    lengths: range | None = None

    def each(self) -> Iterator["Call"]:
        """Its launches, one by one."""
        for n in self.lengths or ():
            p = replace(self.problem, n_k=n) if self.page is None else replace(self.problem, n_k=_up(n, self.page), kv_len=n)
            yield replace(self, problem=p, lengths=None)
        if self.lengths is None:
            yield self

    def form(self, machine: Machine, sizes: Iterable[int]) -> Counted:
        """By closed form, with the largest Br that fits on chip in all launches, then the largest Bc; SramOverflow if none does."""
        sizes = tuple(sizes)
        for Br, Bc in product(sizes, sizes if self.page is None else (self.page,)):
            few = self._of_few_heads(Br)
            form = self._form(machine, Br, Bc, few)
            if form.total.peak_sram <= machine.sram and few != self.problem:
                form = self._form(machine, Br, Bc, self.problem)
            if form.total.peak_sram <= machine.sram:
                return Counted(self._meant(form.kernels), form.hbm_footprint, {"Br": Br, "Bc": Bc})
        least = self._form(machine, Br, Bc, self.problem).total.peak_sram
        raise SramOverflow(
            f"{self.algorithm}: {least:,} B live with the smallest of blocks {sizes}, but {machine.name} has {machine.sram:,} B of SRAM",
            needed=least, capacity=machine.sram,
        )  # fmt: skip

    def _form(self, machine: Machine, Br: int, Bc: int, p: Problem) -> Form:
        blocks = {"Br": Br, "Bc": Bc, "sram": machine.sram}
        if self.lengths is None:
            return form_of(self.algorithm, p, **blocks, splits=self.splits(machine, Br), steps=self.steps)
        lengths = np.arange(self.lengths.start, self.lengths.stop)
        return closed_form_of_steps(self.algorithm, p, lengths, self._splits(machine, Br, lengths), **blocks)

    def _of_few_heads(self, Br: int) -> Problem:
        """The problem of as many heads of a group as fill a block of rows. Where these do not fit on chip, more do not."""
        p = self.problem
        return replace(p, heads=p.heads // p.group * min(p.group, math.ceil(Br / p.n_q)))

    def counted(self, runs: Iterable[Run]) -> Counted:
        """Of the runs of its launches, what this call means."""
        kernels: dict[str, KernelCounts] = {}
        runs = list(runs)
        for run in runs:
            kernels |= {name: kernels.get(name, KernelCounts()) + k for name, k in self._meant(run.kernels).items()}
        return Counted(kernels, max(run.hbm_footprint for run in runs), runs[-1].blocks)

    def run(self, machine: Machine, blocks: dict[str, int]) -> Run:
        """One launch, executed on zeros, for no count depends on a value."""
        p = self.problem
        options: dict[str, Any] = {"Br": blocks["Br"]} | ({} if self.page else {"Bc": blocks["Bc"]})
        options |= {"causal": True} if p.causal else {}
        options |= {"dropout": 0.1, "seed": 0} if p.dropout else {}
        options |= {} if self.steps is None else {"steps": self.steps}
        options |= {"splits": self.splits(machine, blocks["Br"])} if self.page else {}  # split_kv asks the heuristic itself
        return machine.run(algorithms[self.algorithm], *_arrays(self.algorithm, p, self.page), **options, **self._more())

    def splits(self, machine: Machine, Br: int) -> int:
        """flash-attn's heuristic, as `split_kv` asks it; at most one a page. Of several launches, in the last."""
        p = self.problem
        return int(self._splits(machine, Br, np.array([p.n_k if p.kv_len is None else p.kv_len]))[0])

    def _splits(self, machine: Machine, Br: int, lengths: Ints) -> Ints:
        p = self.problem
        if self.algorithm not in SPLIT:
            return np.ones_like(lengths)
        keys, which = np.unique(blocks_in(lengths, key_block(p.d)), return_inverse=True)  # all that the heuristic sees of a length
        found = [num_splits(machine, p.kv_lanes, p.n_q * p.group, p.d, n * key_block(p.d), Br) for n in keys.tolist()]
        splits: Ints = np.minimum(np.array(found)[which], blocks_in(lengths, self.page or 1))
        return splits

    def _meant(self, kernels: dict[str, KernelCounts]) -> dict[str, KernelCounts]:
        return {name: k for name, k in kernels.items() if self.only is None or name in self.only}

    def _more(self) -> dict[str, Any]:
        """What only some algorithms take: where the pages are, the width of the latent, what the forward pass stored."""
        p, kind = self.problem, storage_type(self.problem.dtype)
        scores = scores_type(kind, accumulation_type([kind]))
        if self.page is not None:
            pages = p.n_k // self.page
            tables = np.arange(p.batch * pages).reshape(p.batch, pages)
            return {"table": each(tables), "lens": each([np.array([p.kv_len])] * p.batch)}
        if self.algorithm == "mla":
            return {"latent": p.d_v, "scale": 1.0}
        stored = {"P": scores} if self.algorithm in ("naive_backward", "unfused_chain_backward") else {}
        if self.algorithm == "unfused_chain_backward" and p.dropout:
            stored |= {"keep": BOOL, "P_kept": scores}
        return {name: np.zeros((p.batch, p.heads, p.n_q, p.n_k), dtype) for name, dtype in stored.items()}


def _up(n: int, page: int) -> int:
    """The keys that whole pages have room for."""
    return blocks_in(n, page) * page


def _arrays(algorithm: str, p: Problem, page: int | None) -> list[Any]:
    """The positional arguments of an algorithm, zeros."""
    kind, kv_heads, d_v = storage_type(p.dtype), p.kv_heads, p.d_v or p.d
    Q, K, V = (np.zeros((p.batch, *x), kind) for x in ((p.heads, p.n_q, p.d), (kv_heads, p.n_k, p.d), (kv_heads, p.n_k, d_v)))
    if page is not None:
        return [Q, *(pool(x.reshape(-1, page, kv_heads, x.shape[3])) for x in (K, V))]
    if algorithm == "mla":
        return [Q, K]
    O = np.zeros((p.batch, p.heads, p.n_q, d_v), kind)
    return [Q, K, V, O, np.zeros((*O.shape[:3], 1), FLOAT32), O] if algorithm.endswith("_backward") else [Q, K, V]
