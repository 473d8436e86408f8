"""Progress on a terminal, for those who have to wait."""

import threading
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PATIENCE = 2.0  # seconds after which a run shows its progress


class Patient:
    """A progress bar on stderr that appears only when the work takes longer than two seconds."""

    def __init__(self, total: int, console: Console) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total)
        self._done = 0
        self._begin = threading.Timer(PATIENCE, self._bar.start)
        self._begin.daemon = True

    def __enter__(self) -> Self:
        self._begin.start()
        return self

    def __call__(self, what: str) -> None:
        """Say what is being done now; what was being done is complete."""
        self._bar.update(self._task, description=what, completed=self._done)
        self._done += 1

    def __exit__(self, *_: object) -> None:
        self._begin.cancel()
        self._begin.join()
        self._bar.stop()
