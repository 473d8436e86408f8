"""Tables for a terminal, a notebook and a slide."""

import io
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.text import Text

from ..hierarchy.machine import Machine
from .layout import Columns, plain
from .units import bytes_text, count_text, kib_text, ratio_text

if TYPE_CHECKING:
    from ..analysis.compare import Comparison, Result

WIDTH = 120
TWICE = 2  # times naive's error, from which on a row that is exact says why
COLOURS = {"exact": "green", "not exact": "red", "undecided": "yellow", "did not fit": "red", "refused": "red"}


def comparison_table(comparison: "Comparison", *, wide: bool = False) -> Group:
    """One row an algorithm: HBM traffic, its ratio to naive's, the largest working set, and the error over naive's with its verdict.

    wide: the footprint, SRAM traffic, matmul FLOPs and the error itself, too. Below: what did not fit, and why a row whose error is more
    than twice naive's is exact all the same, or why none can say.
    """
    table = Columns(_title(comparison), "algorithm")
    footprint = ("HBM\nfootprint", "SRAM\ntraffic", "matmul\nFLOP") if wide else ()
    working_set = f"working set\nof {kib_text(comparison.machine.sram)}"
    table.numbers(
        "HBM\nread", "HBM\nwritten", "HBM\n÷ naive", *footprint, working_set, *["max\nerror"] * wide, "error\n÷ naive", "\nverdict"
    )
    naive = next((r.run for r in comparison.results if r.algorithm == "naive" and r.run), None)
    base = None if naive is None else naive.hbm_read + naive.hbm_write
    for result in comparison.results:
        cells = _cells(result, comparison.machine, base, wide=wide)
        table.add_row(result.algorithm, *cells or [""] * (len(table.columns) - 2), verdict(result))
    failed = [Text(f"{r.algorithm}: {r.failure}", style="red") for r in comparison.results if r.failure]
    return Group(table, *failed, *(Text(note, style="dim") for note in map(_reason, comparison.results) if note))


def _cells(r: "Result", machine: Machine, base: int | None, *, wide: bool) -> list[str | Text]:
    run, error = r.run, r.error
    if run is None or error is None:
        return []
    more = [bytes_text(run.hbm_footprint), bytes_text(run.sram_read + run.sram_write), count_text(run.matmul_flops)]
    return [
        bytes_text(run.hbm_read),
        bytes_text(run.hbm_write),
        "–" if base is None else ratio_text((run.hbm_read + run.hbm_write) / base),
        *more * wide,
        f"{kib_text(run.peak_sram)}, {run.peak_sram / machine.sram:.0%}",
        *[f"{error.max_abs:.1e}"] * wide,
        "–" if r.times_naive is None else ratio_text(r.times_naive),
    ]


def verdict(result: Any) -> Text:
    """The word, in its colour; of a row without a run, why there is none."""
    word = result.verdict or getattr(result, "outcome", None) or "–"
    return Text(word, style=COLOURS.get(word, ""))


def _reason(r: "Result") -> str | None:
    """Why a verdict is not what its row suggests."""
    surprising = r.verdict == "undecided" or (r.exact and r.times_naive is not None and r.times_naive > TWICE)
    return f"{r.algorithm}, {r.verdict}: {r.judgement.why}" if r.judgement and surprising else None


def _title(comparison: "Comparison") -> str:
    blocks = {" × ".join(map(str, r.run.blocks.values())) for r in comparison.results if r.run and r.run.blocks}
    sizes = f", blocks of {' and '.join(sorted(blocks))}" if blocks else ""
    head = f"{comparison.title}\n" if comparison.title else ""
    return f"{head}{comparison.workload}\n{comparison.machine.title or comparison.machine.name}, SRAM over HBM{sizes}"


def machines_table(machines: list[Machine]) -> Columns:
    """The catalogue."""
    table = Columns("GPUs that sa.machine(name) knows", "name")
    table.numbers(
        "SMs", "clock", "shared memory\na block", "registers\nan SM", "SRAM a\nthread block", "L2", "HBM", "HBM\nbandwidth", "FP16 dense\nTFLOP/s", "FP32\nTFLOP/s",
    )  # fmt: skip
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
    group: Any = shown if isinstance(shown, Group) else shown.__rich__()
    table, *notes = group.renderables
    cells = [[plain(cell) for cell in column.cells] for column in table.columns]
    head = "".join(f"<th scope='col' style='text-align:{c.justify}'>{_escape(plain(c.header))}</th>" for c in table.columns)
    rows = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:{c.justify}'>{_escape(cell)}</td>" for c, cell in zip(table.columns, row, strict=True))
        + "</tr>"
        for row in zip(*cells, strict=True)
    )
    below = "".join(f"<pre>{_escape(plain(note))}</pre>" for note in notes)
    return (
        f"<table><caption>{_escape(plain(table.title))}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{below}"
    )


def _escape(x: str) -> str:
    return x.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
