"""Figures."""

from pathlib import Path

from matplotlib import style
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from .studies.fidelity import Fidelity
from .text.files import replacing
from .text.units import bytes_text
from .workbench.comparison import Comparison
from .workbench.pareto import Pareto

HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--", "**", "||", "OO")
MARKERS = "osD^vPX*"
FIRST = ("Q", "K", "V", "S", "P", "O")  # the arrays that every reader knows have the same colours in every figure


def traffic_figure(comparisons: list[Comparison]) -> Figure:
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


def pareto_figure(paretos: list[Pareto]) -> Figure:
    """Error against traffic, one panel a set of inputs, one line an algorithm; the Pareto front is dashed, its points ringed.

    >>> len(sa.pareto_figure([sa.pareto(machine, Q, K, V, block=32)]).axes)
    1
    """
    names = list(dict.fromkeys(point.algorithm for p in paretos for point in p.points))
    with style.context("petroff10"):
        figure = Figure(figsize=(1.2 + 4.4 * len(paretos), 4.4), layout="constrained")
        panels = figure.subplots(1, len(paretos), squeeze=False, sharey=True)[0]
        for axes, p in zip(panels, paretos, strict=True):
            for k, name in enumerate(names):
                x = [(point.hbm_bytes, point.rmse) for point in p.points if point.algorithm == name]
                look = {"color": to_hex(f"C{k % 10}"), "marker": MARKERS[k % len(MARKERS)], "linewidth": 0.8}
                axes.plot(*zip(*x, strict=True), label=name, **look) if x else None
            front = [(point.hbm_bytes, point.rmse) for point in p.front]
            look = {"color": "black", "linestyle": "--", "linewidth": 1, "marker": "o", "markersize": 12, "markerfacecolor": "none"}
            axes.plot(*(zip(*front, strict=True) if front else ([], [])), label="Pareto front", **look)
            axes.axhline(1, color="gray", linestyle=":", label="zeros in place of O")
            axes.set(
                xscale="log", yscale="log", xlabel=f"bytes between HBM and SRAM, counted\n({p.machine.title or p.machine.name})"
            )
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(lambda x, _: bytes_text(x))
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_title(f"{p.title}\n{p.workload}".strip(), fontsize="medium", loc="left")
        panels[0].set_ylabel("RMSE ÷ RMS of the exact O (no unit)")
        handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), ncols=5, fontsize="small", loc="outside lower center")
    return figure


def fidelity_figure(fidelity: Fidelity) -> Figure:
    """Counted loads over measured bytes, by measured bytes: what the SMs received, and what L2 looked up for them."""
    rows = fidelity.compared()
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    titles = {"sm_read": "L2 to SM: what SMs received", "l2_read": "L2 looked up: requests that met became one"}
    with style.context("petroff10"):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        for axes, (counter, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
            for k, kernel in enumerate(kernels):
                points = [(row.counters[counter], row.counted.read / row.counters[counter]) for row in rows
                          if row.kernel == kernel and row.counters and row.counted]  # fmt: skip
                look = {"color": to_hex(f"C{k % 10}"), "marker": MARKERS[k % len(MARKERS)], "linestyle": "none", "markersize": 5}
                axes.plot(*zip(*points, strict=True), label=kernel, **look)
            axes.axhline(1, color="black", linewidth=0.8)
            axes.axhspan(0.92, 1.08, color="gray", alpha=0.15, linewidth=0)
            axes.set(xscale="log", xlabel="bytes, measured", ylim=(0.6, 2.2), title=title)
            axes.xaxis.set_major_formatter(lambda x, _: bytes_text(x))
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("bytes read, counted ÷ measured\n(gray: within 8 %)")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=6, fontsize="small", loc="outside lower center")
        figure.suptitle(f"{fidelity.measured_with.get('device')}", fontsize="medium")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the ending of the name says the format."""
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix[1:].lower(), dpi=150)
