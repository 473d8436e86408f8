"""Traced runs as a page that plays them: written to a file, or shown in a notebook."""

import html
from pathlib import Path
from typing import Any

from .. import __version__
from ..hierarchy.run import Run
from ..text.files import replacing
from ..text.units import bytes_text
from .page import page
from .panel import panel
from .tours import tour

LARGEST = 50 * 10**6  # bytes of a page
HEIGHT = 860  # pixels of the frame in a notebook


class Explorer:
    """One or two traced runs on one page. `save(path)` writes it; a notebook shows it. Made by `sa.explore` and `run.explore`.

    >>> machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace="flash2[0]").explore().panels[0]["total"][0]
    20480
    """

    def __init__(self, runs: tuple[Run, ...]) -> None:
        if not 1 <= len(runs) <= 2:
            raise TypeError(f"explore takes one run, or two side by side, not {len(runs)}")
        for run in runs:
            if not isinstance(run, Run):
                raise TypeError(
                    f"explore takes runs, as machine.run(sa.flash2, Q, K, V, trace=True) gives, not a {type(run).__name__}"
                )
            if run.trace is None:
                raise ValueError(
                    f"this run of {run.algorithm} was not traced; run it with trace=sa.Tracing(values=True), or trace=True"
                )
        self.title = " and ".join(run.algorithm for run in runs)
        self.panels: list[dict[str, Any]] = [panel(run.trace, list(run.outputs)) for run in runs if run.trace is not None]
        for run, shown in zip(runs, self.panels, strict=True):
            if not shown["steps"]:
                raise ValueError(
                    f"the trace of {run.algorithm} has no step: the thread blocks of {shown['select']} do nothing; trace others"
                )
        self.tour = tour(self.panels)
        self.html = page(self.title, {"panels": self.panels, "tour": self.tour}, __version__)
        if len(self.html) > LARGEST:
            raise ValueError(
                f"the page would take {bytes_text(len(self.html))}, more than {bytes_text(LARGEST)}; use a smaller N, or trace less, as "
                "trace='flash2[0:8][0]'"
            )

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all.

        >>> run = machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=sa.Tracing(values=True))
        >>> run.explore().save("flash2.html").name
        'flash2.html'
        """
        with replacing(path) as part:
            part.write_text(self.html, encoding="utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{html.escape(self.html)}" '
            f'style="width: 100%; height: {HEIGHT}px; border: 1px solid #8a929c" loading="lazy"></iframe>'
        )

    def __repr__(self) -> str:
        steps = " and ".join(f"{len(p['steps']):,}" for p in self.panels)
        return f"Explorer of {self.title}: {steps} steps, {bytes_text(len(self.html))}; .save('explorer.html') writes it"


def explore(*runs: Run) -> Explorer:
    """One or two traced runs, played step by step on one page that needs nothing else.

    Two stand side by side in step by the bytes that they moved. ValueError for a run that was not traced.

    >>> trace = sa.Tracing(values=True)
    >>> runs = [machine.run(f, Q, K, V, Br=32, Bc=32, trace=trace) for f in (sa.naive, sa.flash2)]
    >>> sa.explore(*runs).title
    'naive and flash2'
    """
    return Explorer(runs)
