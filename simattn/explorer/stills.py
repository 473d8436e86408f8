"""Stills and a moving picture of what the page shows, for slides."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ..text.files import replacing
from ..text.units import bytes_text
from .panel import KINDS, Row
from .tours import READ, WRITTEN, moved_after, totals

Plain = Mapping[str, Any]
GAP = 0.12  # between matrices, as a part of the longest side
THINNEST = 0.03
FRAMES, MILLISECONDS = 60, 200
LOADED, STORED, VISITED = "#0b5cad", "#b3470a", "#9cc3e6"


def still(panels: Sequence[Plain], steps: Sequence[int], text: str = "") -> Figure:
    """The matrices, SRAM and the bytes moved of each run at a step."""
    with style.context("petroff10"):
        figure = Figure(figsize=(6.4 * len(panels), 4.4))
        grid = figure.subplots(2, len(panels), squeeze=False, height_ratios=(5, 1))
        figure.subplots_adjust(0.02, 0.13, 0.98, 0.84, hspace=0.3, wspace=0.08)
        longest = max(n for panel in panels for x in panel["arrays"] for n in (_rows(x["shape"]), x["shape"][-1]))
        for k, (panel, step) in enumerate(zip(panels, steps, strict=True)):
            _matrices(grid[0, k], panel, step, longest)
            _sram(grid[1, k], panel, step)
        if text:
            figure.suptitle("\n".join(wrap(text, 60 * len(panels))), fontsize="medium", x=0.02, ha="left")
        widest = max(axes.get_xlim()[1] for axes in grid[0])
        for axes in grid[0]:
            axes.set_xlim(-0.02, widest)  # one scale for both
    return figure


def _matrices(axes: Axes, panel: Plain, step: int, longest: int) -> None:
    arrays = [(x["name"], _rows(x["shape"]), x["shape"][-1]) for x in panel["arrays"]]
    visited = [Row(*row) for row in panel["steps"][: step + 1]]
    now, x = visited[-1], 0.0
    for a, (name, rows, columns) in enumerate(arrays):
        width, height = max(THINNEST, columns / longest), max(THINNEST, rows / longest)

        def place(box: Sequence[int], left: float = x, w: float = width, h: float = height, r: int = rows, c: int = columns) -> Any:
            return (left + w * box[2] / c, h * box[0] / r), w * (box[3] - box[2]) / c, h * (box[1] - box[0]) / r

        for box in {tuple(row.box[1:]) for row in visited if row.box and row.box[0] == a}:
            axes.add_patch(Rectangle(*place(box), facecolor=VISITED, linewidth=0))
        axes.add_patch(Rectangle((x, 0), width, height, fill=False, edgecolor="0.4", linewidth=0.8))
        if now.box and now.box[0] == a:
            read = KINDS[now.kind] == "load"
            look: dict[str, Any] = {"facecolor": LOADED} if read else {"facecolor": "white", "hatch": "////", "linestyle": "--"}
            axes.add_patch(Rectangle(*place(now.box[1:]), edgecolor=LOADED if read else STORED, linewidth=1.5, **look))
        axes.text(x, -0.03, name, va="bottom", fontsize="small")
        x += max(width, 0.1) + GAP
    counted = totals(panel, step)
    axes.set(xlim=(-0.02, x), ylim=(1.02, -0.12), aspect="equal", anchor="W")
    axes.set_axis_off()
    title = f"{panel['algorithm']}: {bytes_text(counted[READ] + counted[WRITTEN])} by HBM"
    axes.set_title(f"{title} of {bytes_text(panel['total'][READ] + panel['total'][WRITTEN])}", loc="left")


def _sram(axes: Axes, panel: Plain, step: int) -> None:
    row, capacity, left = Row(*panel["steps"][step]), panel["machine"]["sram"], 0
    first = next(b["first"] for b in reversed(panel["blocks"]) if b["first"] <= step)
    live = list(zip(row.live[::2], row.live[1::2], strict=True))
    for k, (position, nbytes) in enumerate(live):
        name = panel["tiles"][Row(*panel["steps"][first + position]).tile]
        axes.barh(0, nbytes, left=left, color=f"C{k % 10}", edgecolor="white", label=f"{name} {bytes_text(nbytes)}")
        left += nbytes
    axes.set(xlim=(0, capacity), yticks=[], xlabel=f"SRAM: {bytes_text(left)} of {bytes_text(capacity)}")
    axes.xaxis.set_major_formatter(lambda x, _: bytes_text(x))
    axes.spines[["top", "right", "left"]].set_visible(False)
    if live:
        axes.legend(ncols=5, fontsize="x-small", loc="lower left", bbox_to_anchor=(0, 1), frameon=False)


def _rows(shape: Sequence[int]) -> int:
    rows = 1
    for n in shape[:-1]:
        rows *= n
    return rows


def save_stills(panels: Sequence[Plain], tour: Sequence[Plain], folder: Path) -> list[Path]:
    """A picture of each stop of the tour, or of eight steps where there is none; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    stops = tour or [{"text": "", "steps": steps} for steps in beside(panels, 8)]
    written = []
    for k, stop in enumerate(stops, 1):
        path = folder / f"{k:02}.svg"
        with replacing(path) as part:
            still(panels, stop["steps"], stop["text"]).savefig(part, format="svg")
        written.append(path)
    return written


def save_gif(panels: Sequence[Plain], path: Path) -> None:
    """The whole, in step by the bytes moved."""
    pictures = []
    for steps in beside(panels, FRAMES):
        with BytesIO() as buffer:
            still(panels, steps).savefig(buffer, format="png", dpi=80)
            pictures.append(Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE, colors=64))
    with replacing(path) as part:
        pictures[0].save(part, "GIF", save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0)


def beside(panels: Sequence[Plain], n: int) -> list[list[int]]:
    """So many steps of each run at which they have moved as many bytes, from the first to the last."""
    moved = [moved_after(panel) for panel in panels]
    most, found = max(each[-1] for each in moved), []
    for k in range(n):
        upto = most * k / (n - 1)
        found.append([max((s for s, x in enumerate(each) if x <= upto), default=0) for each in moved])
    return found
