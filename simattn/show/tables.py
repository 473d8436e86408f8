"""Tables for a terminal, a notebook and a slide."""

import io
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ..hierarchy.machine import Machine
from .units import bytes_text, count_text, kib_text, ratio_text

if TYPE_CHECKING:
    from ..analysis.compare import Comparison, Result

WIDTH = 120
STYLES = {True: "green", False: "red", None: "yellow"}  # of a verdict


def comparison_table(comparison: "Comparison") -> Group:
    """One row an algorithm: what it counted, ratios to naive, the largest working set, and the measured error with its verdict."""
    machine = comparison.machine
    table = _table(_title(comparison))
    table.add_column("algorithm", no_wrap=True)
    for heading in (
        "HBM\nread", "HBM\nwrite", "HBM\n÷ naive", "HBM\nfootprint", "SRAM\ntraffic", "matmul\nFLOP",
        f"working set\nof {kib_text(machine.sram)}", "max\nerror", "error\n÷ naive", "\nverdict",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    naive = next((r.run for r in comparison.results if r.algorithm == "naive" and r.run), None)
    base = None if naive is None else naive.hbm_read + naive.hbm_write
    for result in comparison.results:
        table.add_row(result.algorithm, *_cells(result, machine, base))
    notes = [Text(f"{r.algorithm}: {r.failure}", style="red") for r in comparison.results if r.failure]
    return Group(table, *notes)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", header_style="", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )


def _cells(r: "Result", machine: Machine, base: int | None) -> list[str | Text]:
    run, error = r.run, r.error
    if run is None or error is None:
        return [*[""] * 9, Text("did not fit", style="red")]
    return [
        bytes_text(run.hbm_read),
        bytes_text(run.hbm_write),
        "–" if base is None else ratio_text((run.hbm_read + run.hbm_write) / base),
        bytes_text(run.hbm_footprint),
        bytes_text(run.sram_read + run.sram_write),
        count_text(run.matmul_flops),
        f"{kib_text(run.peak_sram)}, {run.peak_sram / machine.sram:.0%}",
        f"{error.max_abs:.1e}",
        "–" if r.times_naive is None else ratio_text(r.times_naive),
        Text(r.verdict or "", style=STYLES[r.exact]),
    ]


def _title(comparison: "Comparison") -> str:
    blocks = {" × ".join(map(str, r.run.blocks.values())) for r in comparison.results if r.run and r.run.blocks}
    sizes = f", blocks of {' and '.join(sorted(blocks))}" if blocks else ""
    head = f"{comparison.title}\n" if comparison.title else ""
    return f"{head}{comparison.workload}\n{comparison.machine.title or comparison.machine.name}, SRAM over HBM{sizes}"


def machines_table(machines: list[Machine]) -> Table:
    """The catalogue."""
    table = _table("GPUs that sa.machine(name) knows")
    table.add_column("name", no_wrap=True)
    for heading in (
        "SMs", "clock", "shared memory\na block", "registers\nan SM", "SRAM a\nthread block", "L2", "HBM", "HBM\nbandwidth", "FP16 dense\nTFLOP/s", "FP32\nTFLOP/s",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for m in machines:
        table.add_row(
            m.name, str(m.sms), f"{(m.clock or 0) / 1e6:,.0f} MHz", kib_text(m.shared_memory or 0), kib_text(m.registers or 0), kib_text(m.sram),
            bytes_text(m.l2 or 0), bytes_text(m.hbm or 0), f"{bytes_text(m.hbm_bandwidth or 0)}/s",
            f"{m.flops['float16'] / 1e12:,.0f}", f"{m.flops['float32'] / 1e12:,.1f}",
        )  # fmt: skip
    return table


def text(shown: Any) -> str:
    """What a terminal would show, without colour."""
    out = io.StringIO()
    Console(file=out, width=WIDTH, color_system=None, legacy_windows=False, force_jupyter=False).print(shown)
    return out.getvalue()


def html(shown: Any) -> str:
    """What a notebook shows: an HTML table, with headings that a screen reader can follow."""
    group = shown.__rich__()
    table, *notes = group.renderables
    cells = [[_plain(cell) for cell in column.cells] for column in table.columns]
    head = "".join(f"<th scope='col' style='text-align:{c.justify}'>{_escape(_plain(c.header))}</th>" for c in table.columns)
    rows = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:{c.justify}'>{_escape(cell)}</td>" for c, cell in zip(table.columns, row, strict=True))
        + "</tr>"
        for row in zip(*cells, strict=True)
    )
    below = "".join(f"<pre>{_escape(_plain(note))}</pre>" for note in notes)
    return f"<table><caption>{_escape(_plain(table.title))}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{below}"


def _plain(x: Any) -> str:
    return x.plain if isinstance(x, Text) else str(x)


def _escape(x: str) -> str:
    return x.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
