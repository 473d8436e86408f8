"""Real kernels side by side on the same inputs: what the simulator counts, what the hardware counted, and how far each is from float64."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.dtypes import Array
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..reference.problem import Problem
from ..reference.real_kernels import Row, compulsory, counted, device
from ..reference.truth import Error
from ..reference.verdict import Judgement
from ..text.exported import Exported
from ..text.progress import Progress
from ..text.shown import Shown
from ..workbench.cases import Backward, Forward
from ..workbench.comparison import finite
from ..workbench.inputs import checked_qkv
from ..workbench.options import Options
from .backend import Unavailable, describe, one_line
from .call import GpuRun, attention, attention_backward
from .catalogue import KERNELS
from .counters import Profile, profile, totals


@dataclass(frozen=True)
class Compared:
    """One kernel: its counts and measurements, its error against float64 and what that says of it, and why it has none."""

    row: Row
    error: Error | None = None
    times_naive: float | None = None
    judgement: Judgement | None = None

    @property
    def exact(self) -> bool | None:
        """Whether rounding explains every element's error; None where that is undecided, or nothing ran."""
        return None if self.judgement is None else self.judgement.exact

    @property
    def verdict(self) -> str | None:
        """ "exact", "not exact" or "undecided"; None where nothing ran."""
        return None if self.judgement is None else self.judgement.verdict

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what was not measured is None."""
        row, err, c, judged = self.row, self.error, self.row.counted, self.judgement
        measured = {f"{name}_bytes": n for name, n in (row.counters or {}).items() if name != "ns"}
        return {
            "kernel": row.kernel, "simulated_as": c and c.algorithm, "counted_read_bytes": c and c.read, "counted_write_bytes": c and c.write,
            **(dict.fromkeys(f"{name}_bytes" for name in BYTES) | measured), "read_ratio": row.read_ratio, "write_ratio": row.write_ratio,
            "ms": row.ms, "peak_bytes": row.peak_bytes, "launched": list(row.launched), "exact": self.exact,
            "verdict": self.verdict, "resolution": judged and finite(judged.resolution),
            "error_over_bound": judged and finite(judged.error_over_bound),
            "max_abs_error": err and finite(err.max_abs), "rmse": err and finite(err.rmse), "lse_error": err and finite(err.lse),
            "error_over_naive": finite(self.times_naive), "error": None if row.ms is not None else row.why_not,
            "not_measured": row.why_not if row.ms is not None else None,
        }  # fmt: skip


BYTES = ("sm_read", "sm_write", "l2_read", "l2_write", "dram_read", "dram_write")


@dataclass(frozen=True, repr=False)
class RealComparison(Shown, Exported):
    """Kernels on one workload. Prints as a table; `to_dicts()` gives its rows, `to_dict()` all of it, as plain data."""

    _table = "simattn.gpu.table:real_table"

    machine: Machine
    measured_with: Mapping[str, Any]
    workload: Problem
    results: tuple[Compared, ...]

    def to_dict(self) -> dict[str, Any]:
        """The device, the machine that was counted for, the workload, the bytes that any kernel must move, and a row a kernel."""
        read, written = compulsory(self.workload)
        return {
            "measured_with": dict(self.measured_with), "machine": self.machine.name, "workload": self.workload.to_dict(),
            "compulsory_read_bytes": read, "compulsory_write_bytes": written, "results": self._records(),
        }  # fmt: skip

    def _records(self) -> list[dict[str, Any]]:
        return [r.to_dict() for r in self.results]


def compare(
    q: Array, k: Array, v: Array, kernels: Iterable[str] | None = None, *, causal: bool = False, backward: bool = False,
    progress: Progress = lambda _: None,
) -> RealComparison:  # fmt: skip
    """Run kernels by name (all, unless given) on the same NumPy inputs, and hold each against float64 and against the simulator.

    Where torch, a GPU, a kernel or the hardware counters are missing, the rest is there, and the row says what is missing. Where there
    is no GPU, the counts are for an H100, whose SMs decide into how many parts the keys are split.
    """
    names = [kernels] if isinstance(kernels, str) else list(KERNELS if kernels is None else kernels)
    if not names:
        raise ValueError(f"no kernel to compare; known: {', '.join(KERNELS)}")
    for name in names:
        if name not in KERNELS:
            raise ValueError(unknown("kernel", name, KERNELS))
    q, k, v = checked_qkv(q, k, v)
    if q.shape[3] != v.shape[3]:
        raise ValueError(f"d = {q.shape[3]} and d_v = {v.shape[3]}: a comparison of real kernels takes one width")
    options = Options.of(q, k, causal=causal)
    case: Any = Backward(q, k, v, options, None) if backward else Forward(q, k, v, options)
    w = Problem.of(q, k, v, options, backward=backward)
    progress("float64")
    truth, bounds = case.bounded_by(*{KERNELS[name].rounding(w.dtype) for name in names})
    naive = case.naive_error(truth)
    runs = [_run(name, case, progress) for name in names]
    found = iter(_profiled(w, [name for name, run in zip(names, runs, strict=True) if isinstance(run, GpuRun)], progress))
    with_ = _measured_with()
    machine = device(with_) if "sms" in with_ else catalogue_machine("h100-sxm")
    return RealComparison(machine, with_, w, tuple(
        _compared(name, w, run, case, truth, bounds, naive, next(found) if isinstance(run, GpuRun) else None, machine, with_)
        for name, run in zip(names, runs, strict=True)
    ))  # fmt: skip


def _run(name: str, case: Any, progress: Progress) -> GpuRun | str:
    """The run of a kernel, or why there is none."""
    progress(name)
    try:
        if isinstance(case, Backward):
            return attention_backward(*case.qkv, case.dO, kernel=name, causal=case.options.causal)
        return attention(*case.qkv, kernel=name, causal=case.options.causal)
    except (RuntimeError, TypeError) as why:  # what torch raises, and Unavailable
        return one_line(why)


def _profiled(w: Problem, names: Sequence[str], progress: Progress) -> list[Profile]:
    progress("hardware counters")
    return profile([(w, name) for name in names]) if names else []


def _measured_with() -> dict[str, Any]:
    try:
        return describe()
    except Unavailable as why:
        return {"device": None, "why_not": str(why)}


def _compared(
    name: str, w: Problem, run: GpuRun | str, case: Any, truth: Any, bounds: Any, naive: Error, found: Profile | None,
    machine: Machine, with_: Mapping[str, Any],
) -> Compared:  # fmt: skip
    kernels = found.kernels if found else ()
    launched = tuple(k.name for k in kernels)
    if not launched and isinstance(run, GpuRun) and run.measured is not None:
        launched = run.measured.launched
    on_gpu = launched if "sms" in with_ else ()
    row = Row(w, name, None, None, totals(kernels) if kernels else None, counted(name, w, on_gpu, machine), launched, None)
    if isinstance(run, str):
        return Compared(replace(row, why_not=run))
    row = replace(row, ms=run.ms, peak_bytes=run.peak_bytes, why_not=found.why_not if found else None)
    err = case.error(run, truth)
    times = err.max_abs / naive.max_abs if naive.max_abs else None
    return Compared(row, err, times, case.judge(run, truth, bounds, KERNELS[name].rounding(w.dtype)))
