"""A run that cannot end is not begun; one that takes long says so first."""

import sys
from collections.abc import Sequence

import typer

from ..text.ascii import fitting
from ..text.units import time_text
from ..workbench.work import HOUR, REMEDY, Work

MINUTE = 60.0
COUNTS = "simattn compare --count-only counts without a run"


def accepted(works: Sequence[Work]) -> list[float]:
    """The seconds of each stage. ValueError for what this computer cannot hold, or would take over an hour for; a line for over a minute."""
    for work in works:
        if why := work.beyond_memory():
            raise ValueError(f"{work.problem} takes {why}: {REMEDY}; {COUNTS}")
    seconds, longest = sum(work.seconds for work in works), max(works, key=lambda work: work.seconds)
    if seconds > HOUR:
        about = "more than" if longest.least else "about"
        raise ValueError(f"{longest.problem} takes {about} {time_text(seconds)}: {REMEDY}; {COUNTS}")
    if seconds > MINUTE:
        typer.echo(fitting(f"simattn: this takes about {time_text(seconds)}; Ctrl-C ends it", sys.stderr), err=True)
    return [second for work in works for second in work.stages.values()]
