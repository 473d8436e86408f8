"""Algorithms side by side: what they move, what they err by, and whether they are exact."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.counts import KernelCounts
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import algorithms
from .inputs import Array, Workload, checked_qkv
from .truth import Error, Truth, attention_truth, error, tolerance

Progress = Callable[[str], None]
REFERENCE_ROWS = 1 << 26  # elements of S that the naive reference may hold at a time


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
            "max_abs_error": None if err is None else _number(err.max_abs),
            "rmse": None if err is None else _number(err.rmse),
            "lse_error": None if err is None else _number(err.lse),
            "error_over_naive": None if self.times_naive is None else _number(self.times_naive),
            "blocks": None if run is None else run.blocks,
            "predicted_ms": count("predicted_ms"),
            "error": self.failure,
            "kernels": [] if run is None else [{"name": name, **_kernel(k)} for name, k in run.kernels.items()],
        }


@dataclass(frozen=True)
class Comparison:
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

    def __str__(self) -> str:
        from ..show.tables import text  # noqa: PLC0415

        return text(self)

    def _repr_html_(self) -> str:
        from ..show.tables import html  # noqa: PLC0415

        return html(self)


def compare(
    machine: Machine | str,
    names: Iterable[str],
    Q: Array,
    K: Array,
    V: Array,
    *,
    causal: bool = False,
    scale: float | None = None,
    offset: int | None = None,
    title: str = "",
    progress: Progress = lambda _: None,
    **blocks: Any,
) -> Comparison:
    """Run algorithms by name on the same inputs, and hold each against float64 attention of the stored inputs.

    machine: a Machine or a catalogue name. Q, K, V: (N, d) or (batch, heads, N, d). blocks: Br, Bc, and splits for the algorithms that take it. An algorithm that does not
    fit keeps a row that says so. Exact means an error of at most twice the naive algorithm's in the same type, plus 4·eps·max|O|.
    """
    machine = catalogue_machine(machine) if isinstance(machine, str) else machine
    names = list(names)
    for name in names:
        if name not in algorithms:
            raise ValueError(unknown("algorithm", name, algorithms))
    if not names:
        raise ValueError(f"no algorithm to compare; known: {', '.join(algorithms)}")
    Q, K, V = checked_qkv(Q, K, V)
    shared = {"causal": causal, "scale": scale, "offset": offset}
    progress("float64")
    truth = attention_truth(Q, K, V, scale=scale, causal=causal, offset=offset)
    runs: dict[str, Run | str] = {}
    for name in names:
        progress(name)
        own = {key: value for key, value in blocks.items() if key != "splits" or name == "split_kv"}
        try:
            runs[name] = machine.run(algorithms[name], Q, K, V, **shared, **own)
        except MemoryError as overflow:  # of SRAM, of HBM, or of this computer
            runs[name] = str(overflow)
    progress("reference")
    plain = runs.get("naive")
    reference = _error(plain, truth) if isinstance(plain, Run) else naive_error(Q, K, V, truth, scale, causal, offset)
    allowed = tolerance(reference, truth, Q.dtype)
    return Comparison(
        machine, Workload.of(Q, K, causal), tuple(_result(n, r, truth, reference, allowed) for n, r in runs.items()), title
    )


def naive_error(Q: Array, K: Array, V: Array, truth: Truth, scale: float | None, causal: bool, offset: int | None) -> Error:
    """The error of the naive algorithm in the type of the inputs, by strips of queries, so that no S need fit in memory."""
    n_q, n_k = Q.shape[2], K.shape[2]
    unlimited = Machine(name="unlimited", sram=1 << 60)
    offset = n_k - n_q if offset is None else offset
    rows = max(1, REFERENCE_ROWS // (n_k * Q.shape[1]))
    O, lse = np.empty_like(truth.O, Q.dtype), np.empty_like(truth.lse)
    for b in range(Q.shape[0]):
        for i in range(0, n_q, rows):
            part = slice(i, i + rows)
            run = unlimited.run(
                algorithms["naive"], Q[b : b + 1, :, part], K[b : b + 1], V[b : b + 1], scale=scale, causal=causal, offset=offset + i, Br=128, Bc=128
            )  # fmt: skip
            O[b, :, part], lse[b, :, part] = run.output[0], run.lse[0]
    return error(O, lse, truth)


def _result(name: str, run: Run | str, truth: Truth, reference: Error, allowed: float) -> Result:
    if isinstance(run, str):
        return Result(name, failure=run)
    err = _error(run, truth)
    times = err.max_abs / reference.max_abs if reference.max_abs else math.nan if err.max_abs else 1.0
    return Result(name, run, err, bool(err.max_abs <= allowed), times)


def _error(run: Run, truth: Truth) -> Error:
    return error(run.output, run.lse, truth)


def _kernel(k: KernelCounts) -> dict[str, int]:
    return asdict(k)


def _number(x: float) -> float | None:
    return x if math.isfinite(x) else None
