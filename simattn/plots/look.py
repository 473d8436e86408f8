"""How every figure looks: colours that are told apart without seeing colour, units that are read at a glance, letters for the last row."""

from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from ..hierarchy.checks import kind, shown
from ..hierarchy.errors import unknown
from ..hierarchy.run import Run
from ..hierarchy.trace import Trace
from ..text.units import bytes_text
from ..workbench.comparison import Comparison

COLOURS = tuple(mpl.color_sequences["petroff10"])
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--", "**", "||", "OO")
MARKERS = "osD^vPX*"
DASHES = ("-", "--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
GREY, INK = "#b5b5b5", "#222222"
FIRST = ("Q", "K", "V", "S", "P", "O")  # the arrays that every reader knows have the same colours in every figure
SIZE = (9.0, 4.8)  # inches
POINTS = 12
SHORT = 20  # times the smallest number on a logarithmic axis, up to which 1, 2 and 5 would be few ticks


def axes_for(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """The Axes to draw in: those that were given, or those of a new figure. TypeError for anything else."""
    if ax is None:
        with mpl.rc_context({"font.size": POINTS}):
            ax = plt.subplots(figsize=size, layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax={shown(ax)}: give a matplotlib Axes, not {kind(ax)}")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def colour(k: int) -> Any:
    """The k-th colour; after the last, the first again, with another hatch, marker or dash."""
    return COLOURS[k % len(COLOURS)]


def line_look(k: int) -> dict[str, Any]:
    """Of the k-th line."""
    return {"color": colour(k), "marker": MARKERS[k % len(MARKERS)], "linestyle": DASHES[k % len(DASHES)]}


def traced(run: Any, figure: str) -> Trace:
    """The trace of a run, or the trace that was given; an error for a run without one, and for anything else."""
    if isinstance(run, Trace):
        return run
    if not isinstance(run, Run):
        raise TypeError(
            f"{figure}({shown(run)}): give a traced run, as machine.run(sa.flash2, Q, K, V, trace=True), not {kind(run)}"
        )
    if run.trace is None:
        raise ValueError(f"{figure}: this run of {run.algorithm} was not traced; run it with trace=True")
    return run.trace


def labelled(runs: Any, figure: str) -> dict[str, Run]:
    """Runs by the labels that they get: of a Comparison, the rows that ran; else of one run, or of a list or a dictionary of runs."""
    if isinstance(runs, Comparison):
        found = {r.algorithm: r.run for r in runs.results if r.run}
    elif isinstance(runs, dict):
        found = dict(runs)
    else:
        given = [runs] if isinstance(runs, Run) else list(runs) if isinstance(runs, list | tuple) else None
        if given is None:
            raise TypeError(f"{figure}({shown(runs)}): give a run, a list of runs or a comparison, not {kind(runs)}")
        found = {}
        for number, run in enumerate(given):
            found[_label(run, given, number)] = run
    for run in found.values():
        if not isinstance(run, Run):
            raise TypeError(f"{figure}: {shown(run)} is no run but {kind(run)}; give what machine.run or machine.count gave")
    if not found:
        raise ValueError(f"{figure}: there is no run to draw; give at least one")
    return found


def _label(run: Any, given: list[Any], number: int) -> str:
    """The algorithm; where others are of the same, also its blocks, its machine, or its number, whatever tells them apart."""
    if not isinstance(run, Run):
        return str(number)
    same = [x for x in given if isinstance(x, Run) and x.algorithm == run.algorithm]
    if len(same) == 1:
        return run.algorithm
    sizes = ", ".join(f"{name} = {size}" for name, size in run.blocks.items())
    if sum(x.blocks == run.blocks for x in same) == 1:
        return f"{run.algorithm}, {sizes}"
    if sum(x.machine == run.machine for x in same) == 1:
        return f"{run.algorithm}, {run.machine}"
    return f"{run.algorithm}, run {number + 1}"


def legend_below(ax: Axes, points: int = 44, **options: Any) -> Legend:
    """A legend under the label of the x axis, so many points below the axis, whatever the size of the Axes."""
    below = ax.transAxes + ScaledTranslation(0, -points / 72, ax.figure.dpi_scale_trans)
    said = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below, "frameon": False, "fontsize": "small"}
    return ax.legend(**said | options)


def bytes_axis(axis: Any) -> None:
    """Ticks in KB, MB, GB; where the scale is logarithmic at 1, 2 and 5, and at more within a short range."""
    if axis.get_scale() == "log":
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > SHORT * low else (1, 1.5, 2, 3, 4, 5, 6, 8), numticks=12))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda x, _: tick_text(bytes_text(x)))


def tick_text(text: str) -> str:
    """'2.50 MB' -> '2.5 MB': a tick needs no digits to show how exact it is."""
    digits, *unit = text.split(" ", 1)
    return " ".join([f"{float(digits.replace(',', '')):,g}", *unit])


def one_of(name: str, value: Any, known: Any) -> Any:
    """The value, where it is known; ValueError names the nearest."""
    if value not in known:
        raise ValueError(unknown(name, str(value), [str(x) for x in known]))
    return value
