"""The memory hierarchy of a machine: what each level holds, and how fast it is."""

import math

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyBboxPatch

from ..hierarchy.catalogue import machine as machine_named
from ..hierarchy.checks import instance
from ..hierarchy.device import Device
from ..text.units import bytes_text, count_text, kib_text
from .look import INK, axes_for, colour

NARROW, WIDE = 0.68, 1.0  # of the Axes: the smallest and the largest level


def hierarchy(machine: Device | str, ax: Axes | None = None) -> Axes:
    """The levels of a machine from the arithmetic down to HBM: capacities, and the rates that are known. Wider is larger, on a log scale.

    machine: a Machine or a name of the catalogue. A level that the machine does not describe is left out.

    >>> [text.get_text().split(":")[0] for text in sa.plots.hierarchy("t4").texts if text.get_gid() == "level"]
    ['SRAM', 'L2 cache', 'HBM']
    """
    machine = machine_named(machine) if isinstance(machine, str) else machine
    instance("machine", machine, Device, "give a Machine, or a name of sa.machines()")
    levels = _levels(machine)
    ax = axes_for(ax, (9.0, 0.9 + 1.1 * len(levels)))
    known = [math.log(size) for _, size, _ in levels if size]
    least, most = min(known), max(known)
    ax.set(xlim=(0, 1), ylim=(0.55 - len(levels), 0.85 if machine.flops else 0.35))
    ax.set_axis_off()
    ax.set_title(f"{machine.title or machine.name}: memory hierarchy", loc="left", fontsize="medium")
    if machine.flops:
        ax.text(0.5, 0.62, _arithmetic(machine), ha="center", va="center", fontsize="small")
        _arrow(ax, 0)
    for k, (name, size, detail) in enumerate(levels):
        share = 1.0 if not size else (math.log(size) - least) / (most - least) if most > least else 0.5
        width = NARROW + (WIDE - NARROW) * share
        ax.add_patch(FancyBboxPatch(
            (0.5 - width / 2 + 0.01, -k - 0.36), width - 0.02, 0.62, boxstyle="round,pad=0,rounding_size=0.02", mutation_aspect=3, facecolor=to_rgba(colour(k), 0.15),
            edgecolor=colour(k), linewidth=2.5, gid=name,
        ))  # fmt: skip
        holds = bytes_text(size) if size else "no limit"
        holds = f"{kib_text(size)} a thread block" if k == 0 and size else holds
        middle = -k + (0.11 if "\n" in detail else 0.06 if detail else -0.05)
        ax.text(0.5, middle, f"{name}: {holds}", ha="center", va="center", weight="bold", gid="level")
        ax.text(0.5, -k - 0.19, detail, ha="center", va="center", fontsize="small", gid="detail")
        if k + 1 < len(levels):
            _arrow(ax, k + 1)
    if machine.hbm_bandwidth:
        ax.text(0.53, -len(levels) + 1.45, f"{bytes_text(machine.hbm_bandwidth)}/s", ha="left", va="center", gid="bandwidth")
    return ax


def _levels(machine: Device) -> list[tuple[str, int | None, str]]:
    """Name, bytes and what there is to say of each, from the fastest on."""
    parts = [
        f"{kib_text(n)} {what}" for n, what in ((machine.shared_memory, "shared memory"), (machine.registers, "registers")) if n
    ]
    sms = [f"{machine.sms} SMs: {bytes_text(machine.sms * machine.sram)}"] if machine.sms else []
    levels: list[tuple[str, int | None, str]] = [("SRAM", machine.sram, "\n".join([" + ".join(parts), *sms]).strip())]
    if machine.l2:
        levels.append(("L2 cache", machine.l2, "shared by all thread blocks"))
    return [*levels, ("HBM", machine.hbm, "Q, K, V, O; and S and P, where they are stored")]


def _arithmetic(machine: Device) -> str:
    rates = ", ".join(f"{count_text(rate)}FLOP/s in {dtype}" for dtype, rate in machine.flops.items())
    return f"arithmetic: {rates}"


def _arrow(ax: Axes, k: int) -> None:
    """Between level k and the one above it."""
    ax.annotate(
        "", (0.5, -k + 0.27), (0.5, -k + 0.62 if k else 0.5), arrowprops={"arrowstyle": "<->", "color": INK, "linewidth": 1.5}
    )
