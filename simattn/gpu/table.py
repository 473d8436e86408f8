"""Real kernels beside the simulator: the table of a comparison."""

from typing import Any

from rich.console import Group
from rich.text import Text

from ..reference.real_kernels import compulsory
from ..text.layout import Columns
from ..text.units import bytes_text
from ..workbench.table import verdict
from .call import GpuRun
from .comparison import BYTES, Compared, RealComparison
from .counters import Profile


def real_table(comparison: RealComparison) -> Group:
    """One row a kernel: counted bytes beside measured ones, then time and error; below, what is missing and why."""
    counted_for = f"counted for {comparison.machine.title or comparison.machine.name}"
    table = Columns(f"{comparison.workload}\n{device_text(comparison.measured_with)}; {counted_for}", "kernel")
    table.numbers(
        "counted\nread", "L2 to SM\nmeasured", "ratio", "counted\nwritten", "SM to L2\nmeasured", "ratio", "DRAM ÷\ncompulsory", "ms",
        "max\nerror", "\nverdict",
    )  # fmt: skip
    needed = sum(compulsory(comparison.workload))
    for result in comparison.results:
        if result.row.counted or result.row.ms is not None:
            table.add_row(result.row.kernel, *_cells(result, needed))
    said: dict[str, list[str]] = {}
    for row in (result.row for result in comparison.results):
        if row.counted:
            said.setdefault(f"simulated as {row.counted.algorithm}", []).append(row.kernel)
        if row.why_not:
            said.setdefault(row.why_not.split("': ", 1)[-1], []).append(row.kernel)
    return Group(table, *(Text(f"{', '.join(kernels)}: {what}", style="dim") for what, kernels in said.items()))


def run_table(run: GpuRun) -> Group:
    """One call of a kernel: its time, its memory, and what it launched."""
    table = Columns("One call of a real kernel", "kernel")
    table.numbers("ms", "memory beside\nthe inputs")
    table.add_row(
        run.kernel, "–" if run.ms is None else f"{run.ms:.4f}", "–" if run.peak_bytes is None else bytes_text(run.peak_bytes)
    )
    return Group(table, *(Text(f"launched: {name}", style="dim") for name in (run.measured.launched if run.measured else ())))


def profile_table(profile: Profile) -> Group:
    """A row a launched kernel, with what the hardware counters say; below, why they say nothing."""
    table = Columns("Launched kernels under the hardware counters", "kernel", wraps=True)
    table.numbers("L2 to SM", "SM to L2", "L2\nread", "L2\nwritten", "DRAM\nread", "DRAM\nwritten", "µs")
    for kernel in profile.kernels:
        table.add_row(kernel.name, *(bytes_text(getattr(kernel, name)) for name in BYTES), f"{kernel.ns / 1e3:.1f}")
    return Group(table, *([Text(profile.why_not, style="dim")] if profile.why_not else []))


def _cells(r: Compared, needed: int) -> list[str | Text]:
    row, c, m = r.row, r.row.counted, r.row.counters
    return [
        bytes_text(c.read) if c else "–",
        bytes_text(m["sm_read"]) if m else "–",
        ratio_text(row.read_ratio),
        bytes_text(c.write) if c else "–",
        bytes_text(m["sm_write"]) if m else "–",
        ratio_text(row.write_ratio),
        f"{(m['dram_read'] + m['dram_write']) / needed:.2f}" if m else "–",
        f"{row.ms:.3f}" if row.ms is not None else "–",
        f"{r.error.max_abs:.1e}" if r.error else "–",
        verdict(r),
    ]


def ratio_text(x: float | None) -> str:
    return "–" if x is None else f"{x:.4f}"


def device_text(with_: Any) -> str:
    if with_.get("device") is None:
        return "not measured: no torch"
    versions = ", ".join(f"{name} {v}" for name, v in with_.get("versions", {}).items() if v)
    return f"{with_['device']}, {versions}"
