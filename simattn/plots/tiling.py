"""Which tiles of the scores an algorithm visits, and in which order: read from its trace."""

from collections.abc import Iterator
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from ..hierarchy.run import Run
from ..hierarchy.trace import Step, Trace
from .look import GREY, INK, axes_for, legend_below, traced

NUMBERED = 16  # tiles along an axis, beyond which a number in each could not be read
DARK = 0.55  # of the colour map, below which numbers are white


class Visit(NamedTuple):
    """A tile of the scores that was computed: its rows and columns, the launch and thread block, and its number there, from 1."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    launch: int
    block: int
    number: int


def tiling(run: Run | Trace, ax: Axes | None = None) -> Axes:
    """The matrix of scores S = QKᵀ: every tile that is visited, in its thread block's order, and what is skipped.

    run: traced, of an algorithm that multiplies tiles of Q and K; a trace will do. The first of the traced heads is drawn; where a
    backward pass or an unfused algorithm visits a tile more than once, the first visit counts. A line leads through the tiles of each
    thread block. ValueError for a run that was not traced, or computes no scores.

    >>> run = machine.run(sa.flash2, Q, K, V, Br=16, Bc=16, causal=True, trace=True)
    >>> sa.plots.tiling(run).get_xlabel()
    'key: column of S'
    """
    trace = traced(run, "tiling")
    found = list({(v.rows, v.columns): v for v in reversed(list(visits(trace)))}.values())[::-1]
    if not found:
        raise ValueError(f"tiling: {trace.algorithm} multiplies no tile of Q by one of K in {trace.select!r}; trace an attention")
    n_q, n_k = (max(trace.arrays[name].shape[0], *ends) for name, ends in
                (("Q", [v.rows[1] for v in found]), ("K", [v.columns[1] for v in found])))  # fmt: skip
    ax = axes_for(ax, (6.4, 6.4) if n_q > n_k / 4 else (9, 3.2))
    height, width = found[0].rows[1] - found[0].rows[0], found[0].columns[1] - found[0].columns[0]
    skipped = Rectangle((0, 0), n_k, n_q, facecolor="#eeeeee", edgecolor="#c0c0c0", hatch="//", linewidth=0, zorder=0)
    ax.add_patch(skipped)
    most, shades = max(v.number for v in found), mpl.colormaps["cividis"]
    few = max(n_q / height, n_k / width) <= NUMBERED
    for v in found:
        shade = 0.15 + 0.85 * (v.number - 1) / max(1, most - 1)
        x, y, w, h = v.columns[0], v.rows[0], v.columns[1] - v.columns[0], v.rows[1] - v.rows[0]
        ax.add_patch(
            Rectangle((x, y), w, h, facecolor=shades(shade), edgecolor="white", linewidth=1 if few else 0.2, zorder=1, gid="visit")
        )
        if few:
            ink = "white" if shade < DARK else INK
            behind = {"facecolor": shades(shade), "edgecolor": "none", "boxstyle": "square,pad=0.15"}
            ax.text(x + w / 2, y + h / 2, str(v.number), color=ink, ha="center", va="center", zorder=3, bbox=behind)
    for path in _paths(found):
        middle = [((v.columns[0] + v.columns[1]) / 2, (v.rows[0] + v.rows[1]) / 2) for v in path]
        ax.plot(*zip(*middle, strict=True), color=GREY, linewidth=1, alpha=0.8, zorder=2, gid="thread block")
    ax.set(xlim=(0, n_k), ylim=(n_q, 0), xlabel="key: column of S", ylabel="query: row of S")
    if n_q > n_k / 4:
        ax.set_aspect("equal")
    ax.set_xticks(_edges(n_k, width))
    ax.set_yticks(_edges(n_q, height))
    area = sum((v.rows[1] - v.rows[0]) * (v.columns[1] - v.columns[0]) for v in found)
    blocks = len(list(_paths(found)))
    ax.set_title(
        f"{trace.algorithm}: {len(found):,} tiles, {area / (n_q * n_k):.0%} of S, by {blocks:,} thread block{'s' * (blocks > 1)}",
        loc="left", fontsize="medium",
    )  # fmt: skip
    what = "not visited" if trace.select == "*" else f"not visited in {trace.select}"
    looks = [Patch(facecolor=shades(0.15), label="visited first"), Patch(facecolor=shades(1.0), label="visited last")]
    nothing = [Patch(facecolor="#eeeeee", edgecolor="#c0c0c0", hatch="//", label=what)] if area < n_q * n_k else []
    legend_below(ax, handles=looks + nothing, ncols=3)
    return ax


def visits(trace: Trace) -> Iterator[Visit]:
    """The products of a tile of Q and one of K, in order, of the first head that was traced."""
    of: dict[int, Step] = {}
    place, number, head = None, 0, None
    for step in trace:
        if step.kind == "launch":
            continue
        head = step.heads[0] if head is None else head
        if head not in step.heads:
            continue
        if (step.launch, step.block) != place:
            place, number, of = (step.launch, step.block), 0, {}
        if step.kind == "load" and step.array in ("Q", "K"):
            of[step.position] = step
        elif len(step.reads) == 1 and step.reads[0] in of and step.operation != "sum":
            of[step.position] = of[step.reads[0]]  # scaled, or of another type, and the same part of Q or K
        elif step.operation == "matmul" and len(step.reads) == 2:
            both = {of[x].array: of[x].region[0][:2] for x in step.reads if x in of}
            if both.keys() == {"Q", "K"}:
                number += 1
                yield Visit(both["Q"], both["K"], step.launch, step.block or 0, number)


def _paths(found: list[Visit]) -> Iterator[list[Visit]]:
    """The visits of each thread block."""
    of: dict[tuple[int, int], list[Visit]] = {}
    for v in found:
        of.setdefault((v.launch, v.block), []).append(v)
    yield from of.values()


def _edges(n: int, size: int) -> list[int]:
    """The edges of tiles along an axis, of at most nine."""
    tiles = -(-n // size)
    stride = size * -(-tiles // 8)
    return sorted({*range(0, n, stride), n} - {x for x in range(0, n, stride) if 0 < n - x < stride / 2})
