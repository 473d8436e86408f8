"""The seconds and bytes that a comparison takes on this computer, estimated from closed forms before it starts."""

import math
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..hierarchy.call import BLOCK_SIZES
from ..hierarchy.counts import KernelCounts
from ..hierarchy.dtypes import accumulation_type, storage_type
from ..hierarchy.lanes import CACHE
from ..hierarchy.machine import Machine
from ..hierarchy.memory import available
from ..hierarchy.splits import num_splits
from ..reference.problem import Problem
from .counted import recorded
from .listed import Listed, dealt

UNLIMITED = Machine(name="unlimited", sram=1 << 60)

# Seconds, measured on one core of a server of 2023 with BLAS on one thread. What is estimated with them is right within a factor of two there.
PRODUCT = 1 / 60e9  # a matmul FLOP in float32
EXP, VECTOR, BYTE = 2e-9, 0.5e-9, 0.2e-9  # an exponential, an elementwise operation, a byte between HBM and SRAM
NARROW = {"float16": 5e-9, "bfloat16": 1.5e-9, "float8_e4m3fn": 8e-9, "float8_e5m2": 8e-9}  # an element to float32, or back
WIDE = 2.5  # float64 against float32
PAIR = 300e-6  # Python's part of a pair of blocks, whatever the lanes that run side by side
SCORE, GRADIENT = 120e-9, 1100e-9  # a score of the float64 truth and its bounds, forward and backward, beside its products
KEY = 10e-9  # an element of K or V, each time that float64 attention goes through them
ELEMENT = 150e-9  # an element of an output, held against the truth
EXTENDED = 100  # longdouble, which has no BLAS, against float64
LOG = 10_000  # bytes of a recorded pair of blocks
QUICK = 1024  # pairs of blocks of one lane that are counted in a tenth of a second
STRIP = 1 << 22  # scores that float64 attention takes at a time
PASSES = 10  # arrays of a strip's size that the truth holds at once

REMEDY = "give fewer tokens, heads or algorithms"
HOUR = 3600.0
ROOM = 1 << 28  # bytes that Python and NumPy take themselves


@dataclass(frozen=True)
class Work:
    """An estimate. stages: seconds, in the order in which `compare` announces them. bytes: of memory, at most, beside what is
    there.

    least: that the algorithms are left out, because float64 attention alone is too much.
    """

    problem: Problem
    bytes: int
    stages: dict[str, float] = field(default_factory=dict)
    least: bool = False

    @property
    def seconds(self) -> float:
        return sum(self.stages.values())

    def beyond_memory(self) -> str | None:
        """Why this computer cannot hold it; None where it can, or does not say."""
        free = available()
        if free is None or self.bytes <= max(free - ROOM, ROOM):
            return None
        return f"about {_gb(self.bytes)} of this computer's memory, of which {_gb(free)} are free"


def refuse_beyond_memory(
    names: Iterable[str | Listed], problem: Problem, machine: Machine, *, backward: bool = False, **own: Any
) -> None:
    """MemoryError, before anything is allocated, for a comparison that this computer cannot hold."""
    if 4 * 8 * problem.lanes * problem.n_q * problem.n_k + _base_bytes(problem, backward=backward) < ROOM:
        return
    why = estimate(names, problem, machine, backward=backward, **own).beyond_memory()
    if why:
        raise MemoryError(f"this takes {why}; {REMEDY}, or sa.closed_form, which counts without a run")


def estimate(names: Iterable[str | Listed], problem: Problem, machine: Machine, *, backward: bool = False, **own: Any) -> Work:
    """The work of `sa.compare` on arrays of these shapes, beside making them. own: Br, Bc, splits and what else only some
    algorithms take.

    A function of the caller's has no closed form: it is counted where that is quick, and else taken to be like flash2.
    """
    truth = _truth_seconds(problem, backward=backward)
    base = Work(problem, _base_bytes(problem, backward=backward), {"float64": truth}, least=True)
    if base.seconds > HOUR or base.beyond_memory():
        return base
    acc = accumulation_type([storage_type(problem.dtype)]).itemsize
    outputs = _outputs(problem, backward=backward) * storage_type(problem.dtype).itemsize + problem.lanes * problem.n_q * acc
    stages: dict[str, float] = {}
    kept, peak = 0, 0
    for x in names:
        name = x if isinstance(x, str) else x.name
        counted = _counted(x, problem, machine, own, backward=backward) if isinstance(x, Listed) and x.own else None
        seconds, held = counted or _run(name, problem, machine, own, backward=backward)
        stages[name] = seconds
        kept, peak = kept + outputs, max(peak, kept + 2 * outputs + held)
    reference = 0.0 if stages.get("naive") else _run("naive", problem, UNLIMITED, {"Br": 128, "Bc": 128}, backward=backward)[0]
    reference += ELEMENT * _outputs(problem, backward=backward) * (1 + len(stages))
    return Work(problem, max(base.bytes + kept, _inputs(problem) + peak), stages | {"float64": truth, "reference": reference})


def _run(name: str, p: Problem, machine: Machine, own: dict[str, Any], *, backward: bool) -> tuple[float, int]:
    """Seconds and bytes of one algorithm, with the blocks that it will have; nothing where it does not fit on the machine."""
    algorithm = f"{name}_backward" if backward else name
    given = {size: own[size] for size in ("Br", "Bc") if own.get(size)}
    for size in [0] if given else BLOCK_SIZES:
        blocks = {"Br": given.get("Br", size or 128), "Bc": given.get("Bc", size or 128)}
        form = _form(algorithm, p, machine, blocks, own)
        if form.total.peak_sram > machine.sram:
            continue
        if machine.hbm is not None and form.hbm_footprint + _inputs(p) > machine.hbm:
            return 0.0, 0
        log = (
            LOG * _pairs(form.total, p, blocks) // p.lanes if name == "flash1" else 0
        )  # a head is one thread block, recorded whole
        return _seconds(form.total, p, blocks, machine), _held(form.hbm_footprint, p, machine) + log
    return 0.0, 0


def _counted(x: Listed, p: Problem, machine: Machine, own: dict[str, Any], *, backward: bool) -> tuple[float, int] | None:
    """Seconds and bytes of the caller's function, counted in silence; None where that takes long or fails, as the run will tell."""
    blocks = {"Br": own.get("Br", BLOCK_SIZES[0]), "Bc": own.get("Bc", BLOCK_SIZES[0])}
    if math.ceil(p.n_q / blocks["Br"]) * math.ceil(p.n_k / blocks["Bc"]) > QUICK:
        return None
    try:
        with redirect_stdout(None):
            run = recorded(machine, x, p, dealt(own, [x])[x.name], backward=backward)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it raises
        return None
    return _seconds(run.total, p, blocks | run.blocks, machine), _held(run.hbm_footprint, p, machine)


def _held(footprint: int, p: Problem, machine: Machine) -> int:
    """Bytes that the lanes hold that run side by side."""
    return footprint // p.lanes * _side_by_side(p, machine)


def _form(algorithm: str, p: Problem, machine: Machine, blocks: dict[str, int], own: dict[str, Any]) -> Any:
    """The algorithm's closed form; where it needs what is not known here, that of flash2, which is not less."""
    from ..reference.forms import FORMS, closed_form  # noqa: PLC0415 - every import of the package would wait for them

    splits = own.get("splits")
    if splits is None:
        splits = num_splits(machine, p.lanes, p.n_q, p.d, p.n_k, blocks["Br"]) if algorithm == "split_kv" and machine.sms else 1
    numbers = {name: x for name, x in own.items() if name not in ("Br", "Bc", "splits") and isinstance(x, int)}
    general = "flash2_backward" if algorithm.endswith("_backward") else "flash2"
    split = {"splits": splits}
    for name, others in ((algorithm, split | numbers), (algorithm, split), (general, {})):
        if name in FORMS:
            try:
                return closed_form(name, p, **blocks, sram=machine.sram, **others)
            except (TypeError, ValueError):
                continue
    raise ValueError(f"{general} has no closed form")


def _seconds(total: KernelCounts, p: Problem, blocks: dict[str, int], machine: Machine) -> float:
    wide = WIDE if p.dtype == "float64" else 1.0
    moved = total.hbm_read + total.hbm_write
    work = wide * (PRODUCT * total.matmul_flops + EXP * total.exps + VECTOR * total.vector_flops + BYTE * moved)
    rounded = moved / max(storage_type(p.dtype).itemsize, 1.3) + total.vector_flops / 3  # of a float8, S and P lie in float16
    return work + NARROW.get(p.dtype, 0.0) * rounded + PAIR * _pairs(total, p, blocks) / _side_by_side(p, machine)


def _pairs(total: KernelCounts, p: Problem, blocks: dict[str, int]) -> int:
    """Pairs of blocks, over all lanes."""
    return math.ceil(total.matmul_flops / (4 * p.d * min(blocks["Br"], p.n_q) * min(blocks["Bc"], p.n_k)))


def _side_by_side(p: Problem, machine: Machine) -> int:
    """Lanes that the machine runs at once, as its `Arrangement.groups` deals them."""
    return max(1, min(p.lanes, CACHE // max(1, min(machine.sram, 8 * (p.n_q * p.d + 2 * p.n_k * p.d)))))


def _truth_seconds(p: Problem, *, backward: bool) -> float:
    """Of float64 attention, which takes strips of whole rows and the keys that any row of a strip sees, and of its bounds."""
    rows = min(max(1, STRIP // p.n_k), p.n_q)
    strips, keys = math.ceil(p.n_q / rows), _keys(p, rows)
    products = (5 if backward else 2) * 2 * p.d / 20e9 * (EXTENDED if p.dtype == "float64" else 1)
    score = (GRADIENT if backward else SCORE) + products
    return p.lanes * keys * (score * p.n_q + KEY * strips * (p.d + (p.d_v or p.d)))


def _keys(p: Problem, rows: int) -> float:
    """How many keys a strip of so many rows sees, on average over a thousand strips."""
    first = np.linspace(0, float(p.n_q - rows), min(math.ceil(p.n_q / rows), 1000))
    n_k = p.n_k if p.kv_len is None else p.kv_len
    at, (left, right) = first + float(n_k - p.n_q if p.offset is None else p.offset), p.window or (None, None)
    right = 0 if p.causal else right
    start = np.zeros_like(at) if left is None else np.clip(at - float(left), 0, float(n_k))
    stop = np.full_like(at, n_k) if right is None else np.clip(at + rows + float(right), 0, float(n_k))
    return float(np.maximum(stop - start, 0).mean())


def _base_bytes(p: Problem, *, backward: bool) -> int:
    """The inputs, the machine's copies of them, and float64 attention."""
    item, wide = storage_type(p.dtype).itemsize, 16 if p.dtype == "float64" else 8
    elements = _inputs(p) // item
    strip = PASSES * wide * min(max(STRIP, p.n_k), p.n_q * p.n_k)
    return elements * item + wide * (elements + 2 * _outputs(p, backward=backward)) + strip


def _inputs(p: Problem) -> int:
    """Bytes of Q, K and V."""
    return storage_type(p.dtype).itemsize * (p.lanes * p.n_q * p.d + p.kv_lanes * p.n_k * (p.d + (p.d_v or p.d)))


def _outputs(p: Problem, *, backward: bool) -> int:
    """Elements of O, or of dQ, dK and dV beside O and dO."""
    O = p.lanes * p.n_q * (p.d_v or p.d)
    return O if not backward else 2 * O + _inputs(p) // storage_type(p.dtype).itemsize


def _gb(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n < 1e15 else f"{n / 1e9:.1e} GB"
