"""What is live in SRAM while a thread block runs: read from its trace."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from ..hierarchy.checks import whole
from ..hierarchy.errors import unknown
from ..hierarchy.run import Run
from ..hierarchy.trace import Step, Trace
from ..text.units import kib_text
from .look import GREY, HATCHES, INK, axes_for, colour, traced

BEYOND = 2.5  # times the peak, beyond which a line at the capacity would leave the tiles too small to see
UNNAMED = "results without a name"


def occupancy(run: Run | Trace, ax: Axes | None = None, block: int = 0, kernel: str | None = None) -> Axes:
    """Bytes live in SRAM at each operation of one thread block, stacked by the names of its tiles in the source, under the capacity.

    run: traced; a trace will do. block: its number in the launch. kernel: the one with the largest working set unless given; of its
    launches the first that has such a block. The first of the traced heads is drawn. ValueError for a run that was not traced, and for
    a thread block or a kernel that is not in the trace.

    >>> run = machine.run(sa.flash2, Q, K, V, Br=16, Bc=16, trace=True)
    >>> sa.plots.occupancy(run, block=1).get_xlabel()
    'operation of thread block 1'
    """
    trace = traced(run, "occupancy")
    block = whole("block", block, 0)
    steps = _steps(trace, block, kernel)
    names = list(dict.fromkeys(tile.name for step in steps for tile in step.live))
    own = {step.tile for step in steps if step.tile} | {name for name in names if " " in name}  # "load Q" says enough
    bytes_of = {name: [sum(t.nbytes for t in step.live if t.name == name) for step in steps] for name in names if name in own}
    rest = [step.sram - sum(of[k] for of in bytes_of.values()) for k, step in enumerate(steps)]
    ax = axes_for(ax)
    edges = [*range(len(steps)), len(steps)]
    bottom = [0] * len(steps)
    for k, (name, nbytes) in enumerate([*bytes_of.items(), (UNNAMED, rest)]):
        if any(nbytes):
            top = [b + n for b, n in zip(bottom, nbytes, strict=True)]
            look: dict[str, Any] = {
                "facecolor": GREY if name is UNNAMED else colour(k),
                "hatch": "" if name is UNNAMED else HATCHES[k % len(HATCHES)],
            }
            ax.stairs(
                top,
                edges,
                baseline=bottom,
                fill=True,
                label=f"{name}, {kib_text(max(nbytes))}",
                gid=name,
                edgecolor="white",
                linewidth=0.3,
                **look,
            )
            bottom = top
    ax.stairs(bottom, edges, color=INK, linewidth=1, baseline=None, gid="all")
    peak = max(range(len(steps)), key=lambda k: steps[k].sram)
    most, capacity = steps[peak].sram, trace.machine.sram
    where = f", line {steps[peak].line}" if steps[peak].line else ""
    left = peak < len(steps) / 2
    ax.annotate(
        f"peak {kib_text(most)}: {steps[peak].tile or steps[peak].operation}{where}", (peak + (not left), most), (0, 4),
        textcoords="offset points", ha="left" if left else "right",
    )  # fmt: skip
    _capacity(ax, most, capacity)
    ax.set(xlim=(0, len(steps)), xlabel=f"operation of thread block {block}", ylabel="live in SRAM")
    ax.yaxis.set_major_locator(MultipleLocator(_kib_step(ax.get_ylim()[1])))
    ax.yaxis.set_major_formatter(lambda x, _: kib_text(x) if x else "0")
    at = steps[0].kernel if steps[0].kernel == trace.algorithm else f"{trace.algorithm}, kernel {steps[0].kernel!r}"
    ax.set_title(f"{at}: working set of thread block {block}", loc="left", fontsize="medium")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="medium", reverse=True, title="tile, at most")
    return ax


def _capacity(ax: Axes, most: int, capacity: int) -> None:
    said = f"capacity {kib_text(capacity)}"
    if capacity <= BEYOND * most:
        ax.axhline(capacity, color=INK, linestyle="--", linewidth=1.2, gid="capacity")
        ax.text(1, capacity, said, transform=ax.get_yaxis_transform(), ha="right", va="bottom")
        ax.set_ylim(0, 1.12 * max(capacity, most))
    else:
        ax.text(1, 1, f"↑ {said}, {capacity / most:.0f} × the peak", transform=ax.transAxes, ha="right", va="top")
        ax.set_ylim(0, 1.3 * most)


def _steps(trace: Trace, block: int, kernel: str | None) -> Sequence[Step]:
    """The operations of the thread block, for the first head that was traced."""
    peaks: dict[str, int] = {}
    found: dict[str, tuple[int, int, list[Step]]] = {}  # by kernel: launch, head and operations of the first such thread block
    blocks: dict[str, set[int]] = {}
    for step in trace:
        if step.block is None:
            continue
        peaks[step.kernel] = max(peaks.get(step.kernel, 0), step.sram)
        blocks.setdefault(step.kernel, set()).add(step.block)
        if step.block == block:
            launch, head, steps = found.setdefault(step.kernel, (step.launch, step.heads[0], []))
            if step.launch == launch and head in step.heads:
                steps.append(step)
    if not peaks:
        raise ValueError(f"occupancy: no thread block was traced in {trace.select!r}; trace one, as trace='{trace.algorithm}[0]'")
    if kernel is not None and kernel not in peaks:
        raise ValueError(unknown("kernel of this trace", str(kernel), peaks))
    chosen = kernel or max(peaks, key=lambda name: peaks[name])
    if chosen not in found:
        there = sorted(blocks[chosen])
        raise ValueError(f"occupancy: thread block {block} of {chosen} is not in the trace; there are {there[0]} to {there[-1]}")
    return found[chosen][2]


def _kib_step(top: float) -> int:
    """Bytes between ticks: a power of two of KiB, for four to eight ticks."""
    step = 64
    while top / step > 8:
        step *= 2
    return step
