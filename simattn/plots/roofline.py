"""What arithmetic and bandwidth allow: FLOP/s against FLOPs a byte of HBM traffic."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from ..hierarchy.catalogue import machine as machine_named
from ..hierarchy.checks import instance
from ..hierarchy.device import Device
from ..text.units import bytes_text, count_text
from .look import INK, MARKERS, axes_for, colour, labelled, legend_below, one_of, tick_text


def roofline(machine: Device | str, runs: Any, ax: Axes | None = None, dtype: str = "float16") -> Axes:
    """The roofline of a machine, and on it the most that each run can reach at its FLOPs a byte of HBM traffic: counted, not timed.

    machine: a Machine, or a name of the catalogue. runs: a run, a list of runs, or a Comparison. dtype: whose peak is the roof. Products
    alone are counted as FLOPs. ValueError for a machine without a bandwidth or a peak, and for a run without traffic or products.

    >>> sa.plots.roofline("a100-40gb", machine.run(sa.flash2, Q, K, V)).get_xlabel()
    'matmul FLOPs a byte between HBM and SRAM, counted'
    """
    machine = machine_named(machine) if isinstance(machine, str) else machine
    instance("machine", machine, Device, "give a Machine, or a name of sa.machines()")
    if machine.hbm_bandwidth is None or not machine.flops:
        raise ValueError(
            f"{machine.name} has no roofline; give it sa.Machine(..., hbm_bandwidth=1555e9, flops={{'float16': 312e12}})"
        )
    peak, bandwidth = machine.flops[one_of("dtype of this machine", dtype, machine.flops)], machine.hbm_bandwidth
    points: dict[str, float] = {}
    for name, run in labelled(runs, "roofline").items():
        moved = run.hbm_read + run.hbm_write
        if not moved or not run.matmul_flops:
            raise ValueError(
                f"roofline: {name} moves {bytes_text(moved)} and multiplies {run.matmul_flops:,} FLOP; both must be above 0"
            )
        points[name] = run.matmul_flops / moved
    ax = axes_for(ax)
    ridge = peak / bandwidth
    low, high = min(ridge, *points.values()) / 4, max(ridge, *points.values()) * 8
    ax.plot([low, ridge, high], [low * bandwidth, peak, peak], color=INK, linewidth=2, gid="roof")
    ax.plot([ridge, ridge], [low * bandwidth, peak], color=INK, linewidth=0.8, linestyle=":", gid="ridge")
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low * bandwidth, 3 * peak))
    for k, (name, x) in enumerate(points.items()):
        y = min(peak, x * bandwidth)
        label = f"{name}: {x:.3g} FLOP a byte, at most {y / peak:.0%} of the peak"
        ax.plot(
            [x],
            [y],
            color=colour(k),
            marker=MARKERS[k % len(MARKERS)],
            markersize=10,
            markeredgecolor="white",
            linestyle="none",
            label=label,
        )
    ax.text(high, 1.15 * peak, f"{count_text(peak)}FLOP/s in {dtype}  ", ha="right")
    slope = math.sqrt(low * ridge)
    ax.text(slope, slope * bandwidth * 1.4, f"{bytes_text(bandwidth)}/s of HBM", ha="right")
    ax.text(ridge, low * bandwidth * 1.15, f" {ridge:.0f} FLOP a byte", ha="left", fontsize="small")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1,)))
        axis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:,g}")
    ax.yaxis.set_major_formatter(lambda y, _: f"{tick_text(count_text(y))}FLOP/s")
    ax.set(xlabel="matmul FLOPs a byte between HBM and SRAM, counted", ylabel="at most")
    ax.set_title(f"{machine.title or machine.name}: roofline", loc="left", fontsize="medium")
    legend_below(ax, ncols=1 + (len(points) > 3))
    return ax
