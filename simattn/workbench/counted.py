"""Counts without arrays and without arithmetic: by closed form at any length, or by a recording if an algorithm has no closed
form."""

import functools
import inspect
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..hierarchy.call import BLOCK_OPTIONS, BLOCK_SIZES
from ..hierarchy.dtypes import accumulation_type, scores_type, storage_type
from ..hierarchy.errors import SramOverflow
from ..hierarchy.given import ArraySpec, spec
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..hierarchy.splits import num_splits
from ..reference.problem import Problem
from ..text.progress import Progress
from .comparison import Comparison, Result
from .defaults import defaults
from .failure import message, outcome
from .inputs import check_values, checked_machine
from .listed import Algorithm, Listed, check_options, comparable, dealt, listed
from .options import Options

LONGEST = 16_384  # tokens, of which every query sees every key: so many pairs a recording may have
PAIRWISE = {"block_sparse": 65_536, "longformer": 65_536, "bigbird": 65_536}  # tokens of the forms that go through pairs of blocks
MOST = 10**8  # tokens of any form
LAUNCHES = 64  # beyond which no algorithm makes another array
ROWS = {"k": "E", "m": "W", "width": "W"}  # what a form calls the number of a matrix's rows
COMMON = ("splits", "steps", "tokens")  # what `closed_form` takes for any algorithm
STORED = ("P", "keep", "P_kept")


def count(
    machine: Machine | str,
    names: Iterable[str | Algorithm],
    problem: Problem,
    *,
    backward: bool = False,
    title: str = "",
    progress: Progress = lambda _: None,
    **own: Any,
) -> Comparison:
    """The counts of algorithms on a problem, to the byte those of `sa.compare`, and no errors, for nothing is computed.

    names, backward, own: as `sa.compare` takes them. An algorithm of simattn's is counted by closed form; a function of the
    caller's, and what no form describes, by a recording, of up to 16,384 tokens. `result.counted_by` says which."""
    machine = checked_machine(machine)
    known = comparable(backward=backward)
    algorithms = listed(names, known, backward=backward)
    check_options(algorithms, own, known)
    check_values(own, problem.n_k)
    p, given = problem, dealt(own, algorithms)
    workload = replace(p, backward=backward)
    rows = []
    for algorithm in algorithms:
        progress(algorithm.name)
        rows.append(_row(machine, algorithm, p, workload, given[algorithm.name]))
    return Comparison(machine, workload, tuple(rows), title)


def recorded(machine: Machine, algorithm: Listed, p: Problem, its: dict[str, Any], *, backward: bool) -> Run:
    """The counts of an algorithm, by recording it on specs."""
    args, options = _call(algorithm, p, its, backward=backward)
    return machine.count(algorithm.function, *args, **options)


def _row(machine: Machine, algorithm: Listed, p: Problem, workload: Problem, its: dict[str, Any]) -> Result:
    expected = (Exception, SystemExit) if algorithm.own else (MemoryError, ValueError, TypeError)
    try:
        if not algorithm.own:
            most = PAIRWISE.get(algorithm.name, MOST)
            if max(p.n_q, p.n_k) > most:
                raise ValueError(
                    f"{max(p.n_q, p.n_k):,} tokens: the closed form of {algorithm.name} would take too long; give at most {most:,}"
                )
            its = defaults(algorithm.name, workload, its, masked=p.mask is not None, values=False) | its
            _refuse_what_a_run_refuses(machine, algorithm, p, its, backward=workload.backward)
            run = _by_form(machine, algorithm, p, its)
            if run is not None:
                return Result(algorithm.name, run, counted_by="closed form")
        if p.n_q * p.n_k > LONGEST**2:
            raise ValueError(
                f"{p.n_q:,} queries on {p.n_k:,} keys: {algorithm.name} has no closed form for this, and a recording "
                "would be too long; give at "
                f"most {LONGEST:,} tokens"
            )
        return Result(algorithm.name, recorded(machine, algorithm, p, its, backward=workload.backward), counted_by="recording")
    except expected as error:
        return Result(algorithm.name, failure=message(error, algorithm), outcome=outcome(error, algorithm))


def _call(algorithm: Listed, p: Problem, its: dict[str, Any], *, backward: bool) -> tuple[list[ArraySpec], dict[str, Any]]:
    """What the algorithm is called with: specs for arrays, and the options that the problem stands for."""
    heads, d_v, item = p.kv_heads or p.heads, p.d_v or p.d, storage_type(p.dtype)
    shapes = [(p.batch, p.heads, p.n_q, p.d), (p.batch, heads, p.n_k, p.d), (p.batch, heads, p.n_k, d_v)]
    Q, K, V = (spec(shape, p.dtype) for shape in shapes)
    acc = accumulation_type([item])
    asked: dict[str, Any] = {
        "causal": p.causal, "window": p.window, "offset": p.offset, "kv_lens": p.kv_len, "softcap": 1.0 if p.softcap else None,
        "dropout": 0.5 if p.dropout else 0.0, "rng": 0,
    }  # fmt: skip
    options = Options.of(Q, K, **asked).for_run(algorithm.function if not backward else None)  # type: ignore[arg-type]
    across = (p.heads, p.n_q) if getattr(algorithm.function, "packs_groups", False) else (1, p.n_q)
    for name, what, kind in (("bias", p.bias, item), ("mask", p.mask, "bool")):
        if what is not None:
            options[name] = spec((1, *(across if what == "pairs" else (1, 1)), p.n_k), kind)
    if p.alibi:
        options["alibi"] = spec((1, p.heads, 1, 1), acc)
    if not backward:
        return [Q, K, V], options | its
    O = spec((p.batch, p.heads, p.n_q, d_v), p.dtype)
    for name in STORED if p.dropout else STORED[:1]:
        if name in algorithm.takes():
            options[name] = spec((p.batch, p.heads, p.n_q, p.n_k), "bool" if name == "keep" else scores_type(item, acc))
    return [Q, K, V, O, spec((*O.shape[:3], 1), acc), O], options | its


class _Begun(Exception):
    """The algorithm took its arguments, and made its arrays."""


class _WithoutThreadBlocks:
    """What an algorithm sees as `gpu`, but no launch has a thread block. One of many launches, as of a token each, is not gone
    through."""

    def __init__(self, gpu: Any) -> None:
        self._gpu, self._launches = gpu, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def launch(self, *_: Any, **__: Any) -> Iterator[Any]:
        self._launches += 1
        if self._launches > LAUNCHES:
            raise _Begun
        return iter(())


def _refuse_what_a_run_refuses(machine: Machine, algorithm: Listed, p: Problem, its: dict[str, Any], *, backward: bool) -> None:
    """The error of a run that does not take these arguments, or whose arrays are beyond the GPU's memory: a form knows neither."""

    @functools.wraps(algorithm.function)
    def begin(gpu: Any, *args: Any, **options: Any) -> None:
        algorithm.function(_WithoutThreadBlocks(gpu), *args, **options)
        raise _Begun

    args, options = _call(algorithm, p, its, backward=backward)
    try:
        machine.count(begin, *args, **options)
    except _Begun:
        return


def _by_form(machine: Machine, algorithm: Listed, p: Problem, its: dict[str, Any]) -> Run | None:
    """The counts by closed form, with the first blocks that fit; None where no form describes this."""
    from ..reference.forms import FORMS, closed_form  # noqa: PLC0415 - every import of the package would wait for them

    name = algorithm.function.__name__
    if name not in FORMS:
        return None
    if "block_mask" in its:
        p = Problem(**{**vars(p), "block_mask": its["block_mask"]})
    own = {x: its[ROWS[x]].shape[0] if x in ROWS else its[x] for x in _asked_by(FORMS[name].of, its)}
    described = {*own, *COMMON, *BLOCK_OPTIONS, "block", "block_mask", *ROWS.values(), "F"}
    if not its.keys() <= described:
        return None
    takes = [x for x in BLOCK_OPTIONS if x in algorithm.takes()]
    given = {x: its[x] for x in takes if x in its}
    for blocks in [given] if given or not takes else [dict.fromkeys(takes, size) for size in BLOCK_SIZES]:
        Br = blocks.get("Br", its.get("block"))
        Bc = blocks.get("Bc", its.get("block", Br))  # without blocks of keys, a form wants a number all the same
        splits = {"splits": _splits(machine, algorithm, p, its, Br)} if "splits" in algorithm.takes() else {}
        common = {x: its[x] for x in COMMON if its.get(x) is not None} | splits
        form = closed_form(name, p, Br=Br, Bc=Bc, sram=machine.sram, **common, **own)  # type: ignore[arg-type]
        if form.total.peak_sram <= machine.sram:
            return Run(
                algorithm=name, machine=machine.name, outputs={}, kernels=form.kernels, tensors={}, hbm_footprint=form.hbm_footprint,
                blocks=blocks, peeked=False,
            )  # fmt: skip
    needed = form.total.peak_sram
    raise SramOverflow(
        f"{name}: {needed:,} B live with blocks of {' × '.join(map(str, blocks.values())) or Br}, but {machine.name} has "
        f"{machine.sram:,} B "
        "of SRAM",
        needed=needed, capacity=machine.sram,
    )  # fmt: skip


def _asked_by(form: Algorithm, its: dict[str, Any]) -> list[str]:
    """The parameters of a form that were given, a number of rows by its matrix."""
    parameters = list(inspect.signature(form).parameters)[1:]
    return [x for x in parameters if ROWS.get(x, x) in its]


def _splits(machine: Machine, algorithm: Listed, p: Problem, its: dict[str, Any], Br: Any) -> int:
    """As `split_kv` chooses them, whose queries are those of a group."""
    if its.get("splits") is not None:
        return int(its["splits"])
    group = p.group if getattr(algorithm.function, "packs_groups", False) else 1
    return num_splits(machine, math.ceil(p.lanes / group), p.n_q * group, p.d, p.n_k, Br)
