"""Algorithms side by side: what they move, what they err by, and whether they are exact."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.counts import KernelCounts
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import algorithms, flash3_fp8, mla, paged
from .cases import Backward, Forward
from .inputs import SCORES, Array, Workload, checked_qkv, parameters
from .options import Options, elementwise
from .shown import Shown
from .truth import Error
from .work import problem, refuse_beyond_memory

Progress = Callable[[str], None]
OTHER_INPUTS = (paged, mla, flash3_fp8)  # than Q, K and V: `gpu.run` runs them


@dataclass(frozen=True)
class Result:
    """One algorithm's row: its run and its error against float64, or why there is none."""

    algorithm: str
    run: Run | None = None
    error: Error | None = None
    exact: bool | None = None
    times_naive: float | None = None
    failure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, by the names of the command line's JSON; what a run does not have is None."""
        run, err = self.run, self.error

        def count(name: str) -> Any:
            return None if run is None else getattr(run, name)

        return {
            "algorithm": self.algorithm,
            "exact": self.exact,
            "verdict": None if self.exact is None else "exact" if self.exact else "not exact",
            "hbm_read_bytes": count("hbm_read"),
            "hbm_write_bytes": count("hbm_write"),
            "l2_read_bytes": count("l2_read"),
            "l2_write_bytes": count("l2_write"),
            "sram_read_bytes": count("sram_read"),
            "sram_write_bytes": count("sram_write"),
            "matmul_flops": count("matmul_flops"),
            "vector_flops": count("vector_flops"),
            "exps": count("exps"),
            "peak_sram_bytes": count("peak_sram"),
            "hbm_footprint_bytes": count("hbm_footprint"),
            "programs": count("programs"),
            "max_abs_error": None if err is None else finite(err.max_abs),
            "rmse": None if err is None else finite(err.rmse),
            "lse_error": None if err is None else finite(err.lse),
            "error_over_naive": None if self.times_naive is None else finite(self.times_naive),
            "blocks": None if run is None else run.blocks,
            "predicted_ms": count("predicted_ms"),
            "error": self.failure,
            "kernels": [] if run is None else [{"name": name, **_kernel(k)} for name, k in run.kernels.items()],
        }


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Algorithms on the same inputs. Prints as a table; `to_dicts()` is the same as plain data."""

    machine: Machine
    workload: Workload
    results: tuple[Result, ...]
    title: str = ""

    def __getitem__(self, algorithm: str) -> Result:
        found = [r for r in self.results if r.algorithm == algorithm]
        if not found:
            raise KeyError(unknown("algorithm of this comparison", algorithm, [r.algorithm for r in self.results]))
        return found[0]

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary a row."""
        return [result.to_dict() for result in self.results]

    def to_dict(self) -> dict[str, Any]:
        """Machine, workload and rows, as the command line's JSON has them."""
        machine = {name: value for name, value in asdict(self.machine).items() if name != "sources"}
        return {"machine": machine, "workload": asdict(self.workload), "results": self.to_dicts()}

    def __rich__(self) -> Any:
        from ..show.tables import comparison_table  # noqa: PLC0415 - results know their table, but rich loads when it is shown

        return comparison_table(self)

    def _repr_html_(self) -> str:
        from ..show.tables import comparison_table, html  # noqa: PLC0415

        return html(comparison_table(self, wide=True))


def compare(
    machine: Machine | str,
    names: Iterable[str],
    Q: Array,
    K: Array,
    V: Array,
    *,
    backward: bool = False,
    dO: Array | None = None,
    title: str = "",
    progress: Progress = lambda _: None,
    **options: Any,
) -> Comparison:
    """Run algorithms by name on the same inputs, and hold each against float64 attention of the stored inputs.

    machine: a Machine or a catalogue name. Q, K, V: (N, d) or (batch, heads, N, d). options: those of `sa.attention`; Br and Bc; and
    what only some algorithms take (splits, steps), which the others are not given. backward: run `<name>_backward` instead, on dO,
    drawn from N(0, 1) unless given. With a block_mask, `block_sparse` takes it, and the others the boolean mask that it stands for. An algorithm that does not fit keeps a row that says so. Exact means an error of at most twice
    the naive algorithm's in the same type, plus 4·eps·max|O|, or 8·eps times the largest gradient.
    """
    machine = catalogue_machine(machine) if isinstance(machine, str) else machine
    names = list(names)
    taken = {name: f for name, f in algorithms.items() if f not in OTHER_INPUTS and name.endswith("_backward") == backward}
    known = {name.removesuffix("_backward"): f for name, f in taken.items()}
    for name in names:
        if name not in known:
            raise ValueError(unknown("algorithm" + " with a backward pass" * backward, name, known))
    if not names:
        raise ValueError(f"no algorithm to compare; known: {', '.join(known)}")
    Q, K, V = checked_qkv(Q, K, V)
    own = {name: options.pop(name) for name in list(options) if name not in SCORES}
    for name in own:
        if not any(name in parameters(known[algorithm]) for algorithm in names):
            everything = {*SCORES, *(p for f in known.values() for p in parameters(f))}
            raise TypeError(
                f"no option of {', '.join(names)}: {name}" if name in everything else unknown("option", name, everything)
            )
    sparse = None
    if "block_mask" in own:
        sparse = {"block_mask": own.pop("block_mask"), "mask": options.get("mask")}
        options["mask"] = elementwise(**sparse, Br=own.get("Br"), Bc=own.get("Bc"), shape=(Q.shape[2], K.shape[2]))
    asked = Options.of(Q, K, **options)
    refuse_beyond_memory(names, problem(Q, K, V, asked), machine, backward=backward, **own)
    case: Any = Backward(Q, K, V, asked, dO) if backward else Forward(Q, K, V, asked, sparse)
    runs: dict[str, Run | str] = {}
    for name in names:
        progress(name)
        its = {option: value for option, value in own.items() if option in parameters(known[name])}
        try:
            runs[name] = case.run(machine, name, its)
        except MemoryError as overflow:  # of SRAM, of HBM, or of this computer
            runs[name] = str(overflow)
    workload = Workload.of(Q, K, asked.causal, backward)
    if all(isinstance(run, str) for run in runs.values()):
        return Comparison(machine, workload, tuple(Result(name, failure=str(run)) for name, run in runs.items()), title)
    progress("float64")
    truth = case.truth()
    progress("reference")
    plain = runs.get("naive")
    reference = case.error(plain, truth) if isinstance(plain, Run) else case.naive_error(truth)
    allowed = case.allowed(reference, truth)
    results = tuple(_result(name, run, case.error, truth, reference, allowed) for name, run in runs.items())
    return Comparison(machine, workload, results, title)


def _result(
    name: str, run: Run | str, error_of: Callable[[Run, Any], Error], truth: Any, reference: Error, allowed: float
) -> Result:
    if isinstance(run, str):
        return Result(name, failure=run)
    err = error_of(run, truth)
    times = err.max_abs / reference.max_abs if reference.max_abs else math.nan if err.max_abs else 1.0
    return Result(name, run, err, bool(err.max_abs <= allowed), times)


def _kernel(k: KernelCounts) -> dict[str, int]:
    return asdict(k)


def finite(x: float | None) -> float | None:
    """A number as JSON can hold it: None where it is none."""
    return x if x is not None and math.isfinite(x) else None
