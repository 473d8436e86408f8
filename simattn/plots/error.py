"""Error against HBM traffic."""

from typing import Any

from matplotlib.axes import Axes

from ..hierarchy.checks import kind, shown
from ..workbench.comparison import Comparison
from ..workbench.pareto import Pareto
from .look import INK, MARKERS, axes_for, bytes_axis, colour, legend_below


def error_by_bytes(comparison: Comparison | Pareto, ax: Axes | None = None) -> Axes:
    """Error against traffic, a marker an algorithm: the RMSE of a comparison's outputs from attention in float64.

    Of `sa.pareto`, a line an algorithm through its parameters, and the front that none beats is dashed, its points ringed; there the RMSE
    is over the RMS of the exact O. What did not run has no point, and an error of 0 stands at the foot of the figure.

    >>> sa.plots.error_by_bytes(sa.compare(machine, ["naive", "flash2"], Q, K, V)).get_ylabel()
    'RMSE against float64'
    """
    if isinstance(comparison, Pareto):
        return drawn(comparison, axes_for(ax))
    if not isinstance(comparison, Comparison):
        raise TypeError(f"error_by_bytes({shown(comparison)}): give what sa.compare or sa.pareto returned, not {kind(comparison)}")
    points = {
        r.algorithm: (r.run.hbm_read + r.run.hbm_write, r.error.rmse) for r in comparison.results if r.run and r.error is not None
    }
    if not points:
        raise ValueError("error_by_bytes: no row of this comparison has an error, for none was executed; use sa.compare")
    ax = axes_for(ax)
    least = min((y for _, y in points.values() if y > 0), default=1e-16)
    for k, (name, (x, y)) in enumerate(points.items()):
        label = name + ", error 0" * (y == 0)
        look = {"color": colour(k), "marker": MARKERS[k % len(MARKERS)], "markersize": 10, "markeredgecolor": "white"}
        ax.plot([x], [y or least / 3], linestyle="none", label=label, gid=name, **look)
    ax.set(xscale="log", yscale="log", ylabel="RMSE against float64", xlabel="bytes between HBM and SRAM, counted")
    ax.margins(0.15)
    bytes_axis(ax.xaxis)
    ax.grid(visible=True, color="#e5e5e5", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.set_title(_title(comparison), loc="left", fontsize="medium")
    legend_below(ax, ncols=4)
    return ax


def drawn(p: Pareto, ax: Axes, names: list[str] | None = None) -> Axes:
    """A line an algorithm and the front. names: of all lines of the figure, so that one has the same colour in each of its panels."""
    alone = names is None
    names = names or list(dict.fromkeys(point.algorithm for point in p.points))
    for k, name in enumerate(names):
        x = [(point.hbm_bytes, point.rmse) for point in p.points if point.algorithm == name]
        look: dict[str, Any] = {"color": colour(k), "marker": MARKERS[k % len(MARKERS)], "linewidth": 0.8}
        if x:
            ax.plot(*zip(*x, strict=True), label=name, gid=name, **look)
    front = [(point.hbm_bytes, point.rmse) for point in p.front]
    look = {"color": INK, "linestyle": "--", "linewidth": 1, "marker": "o", "markersize": 12, "markerfacecolor": "none"}
    ax.plot(*(zip(*front, strict=True) if front else ([], [])), label="Pareto front", gid="front", **look)
    ax.axhline(1, color="gray", linestyle=":", label="zeros in place of O")
    at = p.machine.title or p.machine.name
    ax.set(
        xscale="log",
        yscale="log",
        xlabel=f"bytes between HBM and SRAM, counted\n({at})" if not alone else "bytes between HBM and SRAM, counted",
    )
    bytes_axis(ax.xaxis)
    ax.set_title(_title(p) if alone else f"{p.title}\n{p.workload}".strip(), fontsize="medium", loc="left")
    if alone:
        ax.set_ylabel("RMSE ÷ RMS of the exact O")
        legend_below(ax, ncols=4)
    return ax


def _title(x: Comparison | Pareto) -> str:
    return f"{x.title}\n{x.workload}; {x.machine.title or x.machine.name}".strip()
