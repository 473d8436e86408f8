"""The tables of a comparison, of one run, and of error against traffic."""

from typing import Any

from rich.console import Group
from rich.text import Text

from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..text.layout import Columns
from ..text.units import bytes_text, count_text, kib_text, ratio_text
from .comparison import Comparison, Result
from .pareto import Pareto

TWICE = 2  # times naive's error, from which on a row that is exact says why
COLOURS = {"exact": "green", "not exact": "red", "undecided": "yellow", "did not fit": "red", "refused": "red", "failed": "red"}


def comparison_table(comparison: Comparison, *, wide: bool = False) -> Group:
    """One row an algorithm: HBM traffic, its ratio to naive's, the largest working set, and the error over naive's with its verdict.

    wide: the footprint, SRAM traffic, matmul FLOPs and the error itself, too. Below: what did not fit, and why a row whose error is more
    than twice naive's is exact all the same, or why none can say. Where nothing was executed, how a row was counted is its last column.
    """
    executed = not any(r.counted_by in ("closed form", "recording") for r in comparison.results)
    table = Columns(_title(comparison), "algorithm")
    footprint = ("HBM\nfootprint", "SRAM\ntraffic", "matmul\nFLOP") if wide else ()
    working_set = f"working set\nof {kib_text(comparison.machine.sram)}"
    errors = (*["max\nerror"] * wide, "error\n÷ naive", "\nverdict") if executed else ("\ncounted by",)
    table.numbers("HBM\nread", "HBM\nwritten", "HBM\n÷ naive", *footprint, working_set, *errors)
    naive = next((r.run for r in comparison.results if r.algorithm == "naive" and r.run), None)
    base = None if naive is None else naive.hbm_read + naive.hbm_write
    for result in comparison.results:
        cells = _cells(result, comparison.machine, base, wide=wide)
        table.add_row(
            result.algorithm, *cells or [""] * (len(table.columns) - 2), verdict(result) if executed else _counted(result)
        )
    failed = [Text(f"{r.algorithm}: {r.failure}", style="red") for r in comparison.results if r.failure]
    return Group(table, *failed, *(Text(note, style="dim") for note in map(_reason, comparison.results) if note))


def _cells(r: Result, machine: Machine, base: int | None, *, wide: bool) -> list[str | Text]:
    run, error = r.run, r.error
    if run is None:
        return []
    more = [bytes_text(run.hbm_footprint), bytes_text(run.sram_read + run.sram_write), count_text(run.matmul_flops)]
    return [
        bytes_text(run.hbm_read),
        bytes_text(run.hbm_write),
        "–" if base is None else ratio_text((run.hbm_read + run.hbm_write) / base),
        *more * wide,
        f"{kib_text(run.peak_sram)}, {run.peak_sram / machine.sram:.0%}",
        *([] if error is None else [*[f"{error.max_abs:.1e}"] * wide, ratio_text(r.times_naive or 0.0)]),
    ]


def verdict(result: Any) -> Text:
    """The word, in its colour; of a row without a run, why there is none."""
    word = result.verdict or getattr(result, "outcome", None) or "–"
    return Text(word, style=COLOURS.get(word, ""))


def _counted(r: Result) -> Text:
    return verdict(r) if r.run is None else Text(r.counted_by or "")


def _reason(r: Result) -> str | None:
    """Why a verdict is not what its row suggests."""
    surprising = r.verdict == "undecided" or (r.exact and r.times_naive is not None and r.times_naive > TWICE)
    return f"{r.algorithm}, {r.verdict}: {r.judgement.why}" if r.judgement and surprising else None


def _title(comparison: Comparison) -> str:
    blocks = {" × ".join(map(str, r.run.blocks.values())) for r in comparison.results if r.run and r.run.blocks}
    sizes = f", blocks of {' and '.join(sorted(blocks))}" if blocks else ""
    head = f"{comparison.title}\n" if comparison.title else ""
    return f"{head}{comparison.workload}\n{comparison.machine.title or comparison.machine.name}, SRAM over HBM{sizes}"


def run_table(run: Run) -> Group:
    """One row a kernel, in launch order, and one an array; the first row is of the whole run."""
    sizes = ", ".join(f"{name} = {size}" for name, size in run.blocks.items())
    table = Columns(f"{run.algorithm} on {run.machine}" + f", {sizes}" * bool(sizes), "")
    table.numbers(
        "HBM\nread", "HBM\nwritten", "SRAM\nread", "SRAM\nwritten", "matmul\nFLOP", "vector\nFLOP", "exponentials", "thread\nblocks",
        "working\nset",
    )  # fmt: skip
    for name, k in {"the run": run.total, **{f"kernel {name}": k for name, k in run.kernels.items()}}.items():
        moved = (bytes_text(x) for x in (k.hbm_read, k.hbm_write, k.sram_read, k.sram_write))
        done = (count_text(x) for x in (k.matmul_flops, k.vector_flops, k.exps, k.programs))
        table.add_row(name, *moved, *done, kib_text(k.peak_sram))
    for name, moved_of in run.tensors.items():
        table.add_row(f"array {name}", bytes_text(moved_of.hbm_read), bytes_text(moved_of.hbm_write), *[""] * 7)
    return Group(table)


def pareto_table(pareto: Pareto) -> Group:
    """One row a point, in the order in which they were tried; those that no other beats are marked."""
    head = f"{pareto.title}\n" if pareto.title else ""
    table = Columns(f"{head}{pareto.workload}\n{pareto.machine.title or pareto.machine.name}", "algorithm")
    table.numbers("parameters", "HBM\ntraffic", "matmul\nFLOP", "RMSE ÷\nRMS of O", "max\nerror", "on the\nPareto front")
    for p in pareto.points:
        chosen = ", ".join(f"{name} {x}" for name, x in p.parameters.items())
        errors = (f"{p.rmse:.2e}", f"{p.max_error:.1e}", "yes" if p.on_front else "")
        table.add_row(p.algorithm, chosen, bytes_text(p.hbm_bytes), count_text(p.matmul_flops), *errors)
    return Group(table, *(Text(failure, style="red") for failure in pareto.failures))
