"""Figures."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import style
from matplotlib.figure import Figure

from .units import bytes_text

if TYPE_CHECKING:
    from ..analysis.compare import Comparison

HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")


def traffic_figure(comparisons: "list[Comparison]") -> Figure:
    """HBM traffic by array, one panel a comparison, one bar an algorithm: counted bytes."""
    with style.context("petroff10"):
        figure = Figure(figsize=(8, 1.1 + 2.6 * len(comparisons)), layout="constrained")
        for axes, comparison in zip(figure.subplots(len(comparisons), squeeze=False)[:, 0], comparisons, strict=True):
            runs = [r.run for r in comparison.results if r.run]
            arrays = list(dict.fromkeys(name for run in runs for name in run.tensors))
            lefts = [0.0] * len(runs)
            for k, name in enumerate(arrays):
                moved = [sum((t.hbm_read, t.hbm_write)) if (t := run.tensors.get(name)) else 0 for run in runs]
                axes.barh(
                    range(len(runs)), moved, left=lefts, label=name, color=f"C{k % 10}", hatch=HATCHES[k % len(HATCHES)],
                    edgecolor="white", linewidth=0.5,
                )  # fmt: skip
                lefts = [left + bytes_ for left, bytes_ in zip(lefts, moved, strict=True)]
            for y, total in enumerate(lefts):
                axes.text(total, y, f" {bytes_text(total)}", va="center")
            axes.set_yticks(range(len(runs)), [run.algorithm for run in runs])
            axes.invert_yaxis()
            axes.margins(x=0.15)
            axes.xaxis.set_major_formatter(lambda x, _: bytes_text(x))
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_title(f"{comparison.title}\n{comparison.workload}".strip(), fontsize="medium", loc="left")
            axes.legend(title="array", fontsize="small", ncols=2, loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes.set_xlabel(f"bytes between HBM and SRAM, counted ({comparisons[-1].machine.title or comparisons[-1].machine.name})")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the name says the format."""
    figure.savefig(path, dpi=150)
