"""A run that cannot end is not begun; one that takes long says so first."""

import sys
from collections.abc import Sequence

import typer

from ..reference.symbols import Problem
from ..reference.workload import Workload
from ..text.ascii import fitting
from ..text.units import time_text
from ..workbench.work import HOUR, REMEDY, Work

MINUTE = 60.0
COUNTS = "--scenario or sa.closed_form counts without a run"


def posed(w: Workload, window: tuple[int | None, int | None] | None = None) -> Problem:
    """The problem of a workload."""
    return Problem(
        batch=w.batch,
        heads=w.heads,
        kv_heads=w.kv_heads,
        n_q=w.n_q,
        n_k=w.n_k,
        d=w.d,
        dtype=w.dtype,
        causal=w.causal,
        window=window,
    )


def accepted(works: Sequence[Work]) -> list[float]:
    """The seconds of each stage. ValueError for what this computer cannot hold, or would take over an hour for; a line for over a minute."""
    for work in works:
        if why := work.beyond_memory():
            raise ValueError(f"{_said(work.problem)} takes {why}: {REMEDY}; {COUNTS}")
    seconds, longest = sum(work.seconds for work in works), max(works, key=lambda work: work.seconds)
    if seconds > HOUR:
        about = "more than" if longest.least else "about"
        raise ValueError(f"{_said(longest.problem)} takes {about} {time_text(seconds)}: {REMEDY}; {COUNTS}")
    if seconds > MINUTE:
        typer.echo(fitting(f"simattn: this takes about {time_text(seconds)}; Ctrl-C ends it", sys.stderr), err=True)
    return [second for work in works for second in work.stages.values()]


def _said(p: Problem) -> str:
    return str(Workload(p.batch, p.heads, p.kv_heads or p.heads, p.n_q, p.n_k, p.d, p.dtype, p.causal))
