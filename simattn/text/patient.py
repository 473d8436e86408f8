"""Progress on a terminal, for those who have to wait."""

import threading
import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from .units import time_text

PATIENCE = 2.0  # seconds after which a run shows its progress


class Patient:
    """A progress bar on stderr that appears only when the work takes longer than two seconds.

    stages: how many, or the seconds that each is estimated to take: then the bar moves by time, and says how much is left.
    """

    def __init__(self, stages: int | Sequence[float], console: Console) -> None:
        self._left = None if isinstance(stages, int) else Left(stages)
        shown: list[ProgressColumn] = (
            [MofNCompleteColumn(), TimeElapsedColumn()] if self._left is None else [TimeElapsedColumn(), self._left]
        )
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *shown, console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=stages if isinstance(stages, int) else 1.0)
        self._done = 0
        self._begin = threading.Timer(PATIENCE, self._bar.start)
        self._begin.daemon = True

    def __enter__(self) -> Self:
        self._begin.start()
        return self

    def __call__(self, what: str) -> None:
        """Say what is being done now; what was being done is complete."""
        self._bar.update(self._task, description=what, completed=self._done if self._left is None else self._left.next())
        self._done += 1

    def __exit__(self, *_: object) -> None:
        self._begin.cancel()
        self._begin.join()
        self._bar.stop()


class Left(ProgressColumn):
    """About how long the rest takes: the estimate of what is left, corrected by how wrong that of what is done was."""

    max_refresh = 0.5

    def __init__(self, seconds: Sequence[float]) -> None:
        super().__init__()
        self._seconds, self._stage, self._begin = list(seconds), -1, time.monotonic()
        self._entered = self._begin

    def next(self) -> float:
        """The next stage begins. What part of the whole is done, by the estimate."""
        self._stage += 1
        self._entered = time.monotonic()
        return self.part()

    def part(self) -> float:
        """What part of the work is done, by the estimate; a stage that takes longer than its share waits just short of its end."""
        done = sum(self._seconds[: max(self._stage, 0)])
        now = self._seconds[self._stage] if 0 <= self._stage < len(self._seconds) else 0.0
        inside = min(0.95 * now, (time.monotonic() - self._entered) / self._pace(done))
        return min(1.0, (done + inside) / max(sum(self._seconds), 1e-9))

    def seconds(self) -> float:
        """How many are left, about."""
        done = sum(self._seconds[: max(self._stage, 0)])
        return (1 - self.part()) * sum(self._seconds) * self._pace(done)

    def render(self, task: Task) -> Text:
        task.completed = self.part()
        return Text(f"about {time_text(self.seconds())} left")

    def _pace(self, done: float) -> float:
        """Seconds that an estimated second took, in the stages that are over."""
        return max((self._entered - self._begin) / done, 0.05) if done > 1 else 1.0
