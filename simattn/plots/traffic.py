"""HBM traffic by array and direction: counted bytes."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from ..hierarchy.counts import Traffic
from ..hierarchy.run import Run
from ..text.units import bytes_text
from .look import FIRST, GREY, INK, axes_for, bytes_axis, colour, labelled, legend_below

NAMED = 0.035  # of the longest bar: what a part must have for its array's name to stand in it
WRITTEN = "////"
WHOLE = "all arrays"  # of a run that was counted by a form, which does not tell arrays from one another


def traffic(runs: Any, ax: Axes | None = None) -> Axes:
    """Bytes between HBM and SRAM, a bar a run, a part for each array and direction; what is written is hatched.

    runs: a run, a list of runs, a dictionary of runs by label, or a Comparison.

    >>> axes = sa.plots.traffic(sa.compare(machine, ["naive", "flash2"], Q, K, V))
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['naive', 'flash2']
    """
    return drawn(labelled(runs, "traffic"), ax)


def drawn(found: Mapping[str, Run], ax: Axes | None, legend: bool = True) -> Axes:
    """The bars of runs by label; none for none."""
    moved: dict[str, Mapping[str, Traffic]] = {name: run.tensors or {WHOLE: run.total} for name, run in found.items()}
    used = {array for parts in moved.values() for array in parts}
    arrays = list(dict.fromkeys([*(a for a in FIRST if a in used), *(a for parts in moved.values() for a in parts)]))
    ax = axes_for(ax, (9.0, 2.2 + 0.62 * len(found)))
    longest = max((run.hbm_read + run.hbm_write for run in found.values()), default=0) or 1
    for y, (name, parts) in enumerate(moved.items()):
        end = 0
        for array in arrays:
            for direction in ("read", "write"):
                nbytes = getattr(parts.get(array, Traffic()), f"hbm_{direction}")
                if not nbytes:
                    continue
                hue = tint(array, arrays)
                hatch = WRITTEN if direction == "write" else ""
                ax.barh(
                    y, nbytes, left=end, color=hue, hatch=hatch, edgecolor="white", linewidth=0.8, height=0.7, gid=f"{name}|{array}|{direction}"
                )  # fmt: skip
                if nbytes > NAMED * longest * max(1, len(array) / 2):
                    ground = {"facecolor": hue, "edgecolor": "none", "pad": 1}
                    ax.text(end + nbytes / 2, y, array, ha="center", va="center", color=ink(hue), bbox=ground)
                end += nbytes
        ax.text(end, y, f" {bytes_text(end)}", va="center", gid="total")
    ax.set(xlim=(0, 1.15 * longest), xlabel="bytes between HBM and SRAM, counted")
    ax.set_yticks(range(len(moved)), list(moved))
    ax.set_ylim(len(moved) - 0.5, -0.5)
    bytes_axis(ax.xaxis)
    if legend:
        legend_below(ax, handles=looks(arrays), ncols=min(8, len(arrays) + 2))
    return ax


def looks(arrays: list[str]) -> list[Patch]:
    """What a legend says: the colour of each array, and how directions differ."""
    directions = [
        Patch(facecolor="#dddddd", label="read"),
        Patch(facecolor="#999999", edgecolor="white", hatch=WRITTEN, label="written"),
    ]
    return [*(Patch(facecolor=tint(array, arrays), label=array) for array in arrays), *directions]


def tint(array: str, arrays: list[str]) -> Any:
    """The colour of an array: for those that every reader knows, the same in every figure."""
    if array == WHOLE:
        return GREY
    known = [*FIRST, *(a for a in arrays if a not in FIRST)]
    return colour(known.index(array))


def ink(ground: Any) -> str:
    """Dark or white, whatever can be read on that ground."""
    red, green, blue = to_rgb(ground)
    return INK if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
