"""HBM traffic against the number of tokens and against the size of SRAM: closed forms as lines, counted runs as markers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from ..hierarchy.catalogue import machine as machine_named
from ..hierarchy.checks import instance, kind, shown, whole
from ..hierarchy.dtypes import storage_type
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..reference.problem import Problem
from ..reference.real_kernels import compulsory
from ..text.units import kib_text
from ..workbench.comparison import Result
from ..workbench.counted import count, recorded
from ..workbench.defaults import defaults
from ..workbench.listed import Listed, comparable, listed
from .look import axes_for, bytes_axis, legend_below, line_look

MOST = 2048  # pairs of blocks, up to which a run is counted besides the closed form: half a second at the most
BLOCKS = (512, 256, 128, 64, 32, 16, 8)
WIDTH = 64  # d, unless given


def traffic_by_length(
    algorithms: Iterable[Any], lengths: Iterable[int], machine: Machine | str, ax: Axes | None = None, **problem: Any
) -> Axes:  # fmt: skip
    """HBM traffic against the number of tokens N: closed forms as lines, counted runs as markers, between what is compulsory and N².

    algorithms: names, or functions of your own. lengths: numbers of tokens. problem: as sa.Problem takes it, d = 64 unless given, and Br and
    Bc; n_q fixes the number of queries, else it is N. Up to 2,048 pairs of blocks a run is counted operation by operation; beyond,
    the formula alone. Bounds: every input read and every output written once, below which nothing can be; and a whole N × N
    matrix written and read, for comparison: dense attention that stores S moves as much and more. ValueError for what does not fit on the machine.

    >>> sa.plots.traffic_by_length(["naive", "flash2"], [256, 512, 1024], "a100-40gb", causal=True).get_xlabel()
    'N, tokens'
    """
    sizes = _numbers("lengths", lengths)
    gpu = _machine(machine)
    problems = [(n, _problem(n, problem)) for n in sizes]
    rows = {x: {n: _counted(gpu, x, p, problem) for n, p in problems} for x in _listed(algorithms, problem)}
    ax = axes_for(ax)
    marked = _lines(ax, rows, lambda x, n: recorded_run(gpu, x, rows[x][n], dict(problems)[n]))
    _bound(ax, {n: sum(compulsory(p)) for n, p in problems}, "compulsory: inputs read, outputs written, once", ":")
    _bound(ax, {n: _square(p) for n, p in problems}, "a whole N × N matrix, written and read", (0, (6, 2, 1, 2)))
    ax.set(xscale="log", yscale="log", xlabel="N, tokens", ylabel="bytes between HBM and SRAM")
    _ticks(ax, sizes, lambda n: f"{n:,}")
    return _finished(ax, gpu, problems[-1][1], "n_q" in problem, marked)


def traffic_by_sram(
    algorithms: Iterable[Any], srams: Iterable[int], machine: Machine | str, ax: Axes | None = None, **problem: Any
) -> Axes:  # fmt: skip
    """HBM traffic against the SRAM of a thread block, with the largest square blocks that fit: 8 to 512, powers of two.

    algorithms, problem: as `traffic_by_length` takes them; n_q and n_k are 1,024 unless given. srams: bytes. machine: whose other figures
    are kept. A size on which no block fits has no point; ValueError where an algorithm has none at all.

    >>> sizes = [48 * sa.KiB, 96 * sa.KiB, 192 * sa.KiB]
    >>> sa.plots.traffic_by_sram(["flash2"], sizes, "a100-40gb").get_xlabel()
    'SRAM of a thread block'
    """
    sizes = _numbers("srams", srams)
    gpu = _machine(machine)
    p = _problem(problem.get("n_k", 1024), problem)
    rows: dict[Listed, dict[int, Result]] = {}
    for x in _listed(algorithms, problem):
        tried = {size: _largest(replace(gpu, sram=size), x, p, problem) for size in sizes}
        rows[x] = {size: result for size, result in tried.items() if result.run}
        if not rows[x]:
            raise ValueError(f"{x.name} fits on none of these sizes of SRAM: {next(iter(tried.values())).failure}")
    ax = axes_for(ax)
    marked = _lines(ax, rows, lambda x, size: recorded_run(replace(gpu, sram=size), x, rows[x][size], p))
    _bound(ax, dict.fromkeys(sizes, sum(compulsory(p))), "compulsory: inputs read, outputs written, once", ":")
    ax.set(xscale="log", yscale="log", xlabel="SRAM of a thread block", ylabel="bytes between HBM and SRAM")
    _ticks(ax, sizes, kib_text)
    return _finished(ax, gpu, p, True, marked)


def recorded_run(machine: Machine, x: Listed, row: Result, p: Problem) -> Run | None:
    """The same launches, counted operation by operation; None where that would take long."""
    if row.run is None:
        return None
    if row.counted_by == "recording":
        return row.run
    sizes = list(row.run.blocks.values()) or [64]
    if -(-p.n_q // sizes[0]) * -(-p.n_k // sizes[-1]) > MOST:
        return None
    its = defaults(x.name, p, row.run.blocks, values=False) | row.run.blocks
    return recorded(machine, x, p, its, backward=p.backward)


def _lines(ax: Axes, rows: Mapping[Listed, Mapping[int, Result]], run: Callable[[Listed, int], Run | None]) -> bool:
    """A line an algorithm, and a marker where a run was counted: whether there is any."""
    any_marked = False
    for k, (x, row) in enumerate(rows.items()):
        look = line_look(k)
        marker = look.pop("marker")
        moved = {size: r.run.hbm_read + r.run.hbm_write for size, r in row.items() if r.run}
        ax.plot(list(moved), list(moved.values()), linewidth=2, gid=f"line {x.name}", **look)
        runs = {size: one.hbm_read + one.hbm_write for size in row if (one := run(x, size))}
        own = {"marker": marker, "markersize": 8, "markeredgecolor": "white"}
        ax.plot(list(runs), list(runs.values()), linestyle="none", color=look["color"], gid=f"runs {x.name}", **own)
        ax.plot([], [], label=x.name, linewidth=2, **look, **own)
        any_marked |= bool(runs)
    return any_marked


def _bound(ax: Axes, values: Mapping[int, float], label: str, dashes: Any) -> None:
    ax.plot(
        list(values),
        list(values.values()),
        color="#777777",
        linestyle=dashes,
        linewidth=1.5,
        label=label,
        gid=f"bound {label}",
        zorder=1,
    )


def _finished(ax: Axes, machine: Machine, p: Problem, fixed: bool, marked: bool) -> Axes:
    bytes_axis(ax.yaxis)
    low, high = ax.get_ylim()
    ax.set_ylim(low / 1.2, high * 1.2)
    heads = f"batch {p.batch}, {p.heads} head{'s' * (p.heads > 1)}, d = {p.d}, {p.dtype}" + ", causal" * p.causal
    tokens = f", {p.n_q:,} queries on {p.n_k:,} keys" if fixed and p.n_q != p.n_k else f", N = {p.n_k:,}" if fixed else ""
    how = "lines: closed form" + "; markers: counted runs" * marked
    ax.set_title(f"{machine.title or machine.name}, {heads}{tokens}\n{how}", loc="left", fontsize="medium")
    ax.grid(visible=True, color="#e5e5e5", linewidth=0.8)
    ax.set_axisbelow(True)
    legend_below(ax, ncols=3)
    return ax


def _ticks(ax: Axes, sizes: list[int], text: Callable[[int], str]) -> None:
    """At the sizes that were asked for, or at some nine of them."""
    chosen = sizes[:: -(-len(sizes) // 9)]
    ax.set_xticks(chosen, [text(n) for n in chosen])
    ax.xaxis.set_minor_locator(NullLocator())


def _largest(machine: Machine, x: Listed, p: Problem, problem: Mapping[str, Any]) -> Result:
    """With the largest square blocks that fit; else why the smallest do not."""
    given = {name for name in ("Br", "Bc") if name in problem}
    result = Result(x.name)
    for size in BLOCKS if not given else (0,):
        result = _tried(machine, x, p, problem if given else {**problem, "Br": size, "Bc": size})
        if result.run:
            return result
    return result


def _counted(machine: Machine, x: Listed, p: Problem, problem: Mapping[str, Any]) -> Result:
    result = _tried(machine, x, p, problem)
    if result.run is None:
        raise ValueError(f"{x.name} on {p}: {result.failure}")
    return result


def _tried(machine: Machine, x: Listed, p: Problem, problem: Mapping[str, Any]) -> Result:
    """The counts by closed form, of a function of the caller's by recording, with those of Br and Bc that were given and that it takes."""
    own = {name: problem[name] for name in ("Br", "Bc") if name in problem and name in x.takes()}
    return count(machine, [x.function if x.own else x.name], p, backward=p.backward, **own).results[0]


def _square(p: Problem) -> int:
    return 2 * p.batch * p.heads * p.n_q * p.n_k * storage_type(p.dtype).itemsize


def _problem(n: int, given: Mapping[str, Any]) -> Problem:
    return Problem(**{"n_q": n, "n_k": n, "d": WIDTH} | {name: x for name, x in given.items() if name not in ("Br", "Bc")})


def _listed(algorithms: Any, problem: Mapping[str, Any]) -> list[Listed]:
    backward = problem.get("backward") is True
    return listed(algorithms, comparable(backward=backward), backward=backward)


def _machine(machine: Any) -> Machine:
    found = machine_named(machine) if isinstance(machine, str) else machine
    instance("machine", found, Machine, "give a Machine, or a name of sa.machines()")
    return found


def _numbers(name: str, given: Any) -> list[int]:
    """The numbers, ascending; an error for none, and for what is no list of whole numbers."""
    if isinstance(given, str | int) or not isinstance(given, Iterable):
        raise TypeError(f"{name}={shown(given)}: give a list of whole numbers, not {kind(given)}")
    found = sorted({whole(name, x, 1) for x in given})
    if not found:
        raise ValueError(f"{name} is empty; give at least one")
    return found
