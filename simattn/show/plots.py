"""Figures."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import style
from matplotlib.figure import Figure

from .units import bytes_text

if TYPE_CHECKING:
    from ..analysis.compare import Comparison

HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--", "**", "||", "OO")
FIRST = ("Q", "K", "V", "S", "P", "O")  # the arrays that every reader knows have the same colours in every figure


def traffic_figure(comparisons: "list[Comparison]") -> Figure:
    """HBM traffic by array, one panel a comparison, one bar an algorithm: counted bytes."""
    moved = [
        {r.algorithm: {name: t.hbm_read + t.hbm_write for name, t in r.run.tensors.items()} for r in c.results if r.run}
        for c in comparisons
    ]
    arrays = list(dict.fromkeys([*FIRST, *(name for panel in moved for tensors in panel.values() for name in tensors)]))
    with style.context("petroff10"):
        figure = Figure(figsize=(8, 1.3 + 2.3 * len(comparisons)), layout="constrained")
        for axes, panel, comparison in zip(figure.subplots(len(comparisons), squeeze=False)[:, 0], moved, comparisons, strict=True):
            ends = [0] * len(panel)
            for k, name in enumerate(arrays):
                widths = [tensors.get(name, 0) for tensors in panel.values()]
                look = {"color": f"C{k % 10}", "hatch": HATCHES[k % len(HATCHES)], "edgecolor": "white", "linewidth": 0.5}
                axes.barh(range(len(panel)), widths, left=ends, label=name, **look)
                ends = [end + width for end, width in zip(ends, widths, strict=True)]
            for y, end in enumerate(ends):
                axes.text(end, y, f" {bytes_text(end)}", va="center")
            axes.set_xlim(0, 1.15 * max(ends, default=1))
            axes.set_yticks(range(len(panel)), list(panel))
            axes.invert_yaxis()
            axes.xaxis.set_major_formatter(lambda x, _: bytes_text(x))
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_title(f"{comparison.title}\n{comparison.workload}".strip(), fontsize="medium", loc="left")
        axes.set_xlabel(f"bytes between HBM and SRAM, counted ({comparisons[-1].machine.title or comparisons[-1].machine.name})")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, title="array", ncols=6, fontsize="small", loc="outside lower center")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the name says the format."""
    figure.savefig(path, dpi=150)
