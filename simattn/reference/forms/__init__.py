"""Closed forms: every count of every algorithm as a formula, to the byte, at any shape.

Nothing here runs or imports an algorithm: a formula and an execution that agree are two witnesses. Symbols: N rows of queries, d
and d_v widths, s the bytes of the storage type, a of the accumulation type, z of the type in which S lies in HBM. Over the visited
pairs of a row block and a key block: P how many, R the sum of rows, C of keys, A of rows × keys; mR and mA the same over the pairs
that a mask cuts through.
"""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...hierarchy.checks import instance, named, optional, whole
from ...hierarchy.counts import KernelCounts
from ...hierarchy.errors import unknown
from ..problem import Problem
from ..sums import Ints, blocks_in
from ..symbols import Symbols
from .lines import FORMS
from .stored import longest_row

__all__ = ["FORMS", "Form", "closed_form", "closed_form_of_steps"]

for _module in pkgutil.iter_modules(__path__):  # each registers its forms
    importlib.import_module(f".{_module.name}", __name__)


@dataclass(frozen=True)
class Form:
    """What the formulas predict of a run: counts by kernel, and the footprint in HBM, in bytes."""

    kernels: dict[str, KernelCounts]
    hbm_footprint: int

    @property
    def total(self) -> KernelCounts:
        return sum(self.kernels.values(), KernelCounts())


def closed_form(
    algorithm: str, problem: Problem, *, Br: int, Bc: int, sram: int, splits: int = 1, steps: int | None = None, tokens: int = 1, **own: Any
) -> Form:  # fmt: skip
    """What a run of `algorithm` must count, over all heads. sram: the machine's capacity, which sets the strips of whole rows. splits,
    steps, tokens: as the algorithm takes them. Bc: the page, for `paged`. own: what an approximation takes (block, one_sided, ...); of
    its matrices the rows, which are k of `linformer`, m of `performer`, width of `dynamic_conv`. `bigbird`: Br = Bc = block. The kernels
    that are not attention take A (n_q, d) and B (d, n_k), or one array (n_q, d): `tiled_matmul`, with Bk; `transpose`, `row_sum`, `layer_norm`.

    ValueError for an algorithm without formulas.

    >>> problem = sa.Problem(n_q=64, n_k=64, d=32, dtype="float32")
    >>> form = sa.closed_form("flash2", problem, Br=32, Bc=32, sram=machine.sram)
    >>> form.total.hbm_read == machine.run(sa.flash2, Q, K, V, Br=32, Bc=32).hbm_read
    True
    """
    named("algorithm", algorithm, FORMS)
    instance("problem", problem, Problem, "give a sa.Problem")
    Br, Bc, sram, tokens = (whole(n, x, 1) for n, x in (("Br", Br), ("Bc", Bc), ("sram", sram), ("tokens", tokens)))
    splits = whole("splits", splits, 1, problem.n_k, f"there are {problem.n_k} keys")
    steps = optional(whole, "steps", steps, 0, problem.n_k // tokens, f"of {problem.n_k} tokens, {tokens} a step are generated")
    _check_own(algorithm, own, problem.n_k)
    made, kinds = (-(-problem.n_q // Br), -(-problem.n_k // Bc)), problem.block_mask
    if kinds is not None and (len(kinds), len(kinds[0])) != made:
        raise ValueError(
            f"block_mask has shape {(len(kinds), len(kinds[0]))}: blocks of {Br} × {Bc} make {made}; give other Br and Bc"
        )
    formula = FORMS[algorithm]
    if formula.causal:
        problem = replace(problem, causal=True)
    return Form(
        *formula.of(Symbols(problem, Br, Bc, sram=sram, splits=splits, packed=formula.packed, steps=steps, tokens=tokens), **own)
    )


def _check_own(algorithm: str, own: dict[str, Any], n_k: int) -> None:
    """TypeError or ValueError for an argument that the form does not take, lacks, or cannot have."""
    takes = list(inspect.signature(FORMS[algorithm].of).parameters.values())[1:]
    for name in own:
        if name not in [p.name for p in takes]:
            common = ["Br", "Bc", "sram", "splits", "steps", "tokens"]
            raise TypeError(f"closed_form of {algorithm}: {unknown('argument', name, [*common, *(p.name for p in takes)])}")
    missing = [p.name for p in takes if p.default is p.empty and p.name not in own]
    if missing:
        raise TypeError(f"closed_form of {algorithm} needs {', '.join(missing)} too, as the algorithm takes it")
    for name, value in own.items():
        least = 0 if name in ("global_tokens", "global_blocks", "random_blocks", "seed") else 1
        if whole(name, value, least) and name == "block" and n_k % value:
            raise ValueError(f"block={value}: {n_k} tokens are no whole number of such blocks; give a divisor of {n_k}")


def closed_form_of_steps(algorithm: str, problem: Problem, lengths: Ints, splits: Ints, *, Br: int, Bc: int, sram: int) -> Form:
    """What runs of one query on so many keys each must count together, where it sees them all. footprint: the largest.

    splits: of each run. A form is linear in its sums, so the sums of many runs make one form, where they split the keys alike and
    either all or none of them hold a row of S at once. `paged`: n_k is what the pages have room for.
    """
    y, formula = Symbols(problem, Br, Bc, sram=sram), FORMS[algorithm]
    group = 2 * splits + (lengths <= longest_row(y))
    forms = []
    for one in np.unique(group):
        n = lengths[group == one]
        most = int(n.max())
        p = replace(problem, n_k=blocks_in(most, Bc) * Bc if algorithm == "paged" else most, kv_len=most)
        symbols = Symbols(p, Br, Bc, sram=sram, splits=int(one) // 2, packed=formula.packed, lengths=n)
        forms.append(Form(*formula.of(symbols)))
    kernels = {name: KernelCounts() for form in forms for name in form.kernels}
    for form in forms:
        kernels |= {name: kernels[name] + k for name, k in form.kernels.items()}
    return Form(kernels, max(form.hbm_footprint for form in forms))
