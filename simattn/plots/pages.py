"""Figures of several panels, for the command line and the documents."""

from matplotlib.figure import Figure

from ..studies.fidelity import Fidelity
from ..text.units import bytes_text
from ..workbench.comparison import Comparison
from ..workbench.pareto import Pareto
from .error import drawn as points
from .look import FIRST, MARKERS, axes_for, colour
from .traffic import drawn as bars
from .traffic import looks


def traffic_figure(comparisons: list[Comparison]) -> Figure:
    """HBM traffic by array and direction, one panel a comparison, one bar an algorithm: counted bytes.

    >>> len(sa.plots.traffic_figure([sa.compare(machine, ["naive", "flash2"], Q, K, V)]).axes)
    1
    """
    runs = [{r.algorithm: r.run for r in c.results if r.run} for c in comparisons]
    arrays = list(dict.fromkeys([*FIRST, *(array for found in runs for run in found.values() for array in run.tensors)]))
    figure = Figure(figsize=(9, 1.3 + 2.4 * len(comparisons)), layout="constrained")
    for ax, found, comparison in zip(figure.subplots(len(comparisons), squeeze=False)[:, 0], runs, comparisons, strict=True):
        bars(found, ax, legend=False)
        ax.set_xlabel("")
        ax.set_title(f"{comparison.title}\n{comparison.workload}".strip(), fontsize="medium", loc="left")
    at = comparisons[-1].machine
    figure.axes[-1].set_xlabel(f"bytes between HBM and SRAM, counted ({at.title or at.name})")
    figure.legend(handles=looks(arrays), ncols=8, fontsize="small", frameon=False, loc="outside lower center")
    return figure


def pareto_figure(paretos: list[Pareto]) -> Figure:
    """Error against traffic, one panel a set of inputs, one line an algorithm; the Pareto front is dashed, its points ringed.

    >>> len(sa.pareto_figure([sa.pareto(machine, Q, K, V, block=32)]).axes)
    1
    """
    names = list(dict.fromkeys(point.algorithm for p in paretos for point in p.points))
    figure = Figure(figsize=(1.2 + 4.4 * len(paretos), 4.4), layout="constrained")
    panels = figure.subplots(1, len(paretos), squeeze=False, sharey=True)[0]
    for ax, p in zip(panels, paretos, strict=True):
        points(p, axes_for(ax), names)
    panels[0].set_ylabel("RMSE ÷ RMS of the exact O (no unit)")
    handles = {label: handle for ax in panels for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), ncols=5, fontsize="small", loc="outside lower center")
    return figure


def fidelity_figure(fidelity: Fidelity) -> Figure:
    """Counted loads over measured bytes, by measured bytes: what the SMs received, and what L2 looked up for them.

    >>> len(sa.plots.fidelity_figure(sa.fidelity("docs/fidelity.json")).axes)
    2
    """
    rows = fidelity.compared()
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    titles = {"sm_read": "L2 to SM: what SMs received", "l2_read": "L2 looked up: requests that met became one"}
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, (counter, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        for k, kernel in enumerate(kernels):
            shares = [(row.counters[counter], row.counted.read / row.counters[counter]) for row in rows
                      if row.kernel == kernel and row.counters and row.counted]  # fmt: skip
            look = {"color": colour(k), "marker": MARKERS[k % len(MARKERS)], "linestyle": "none", "markersize": 5}
            axes.plot(*zip(*shares, strict=True), label=kernel, **look)
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
