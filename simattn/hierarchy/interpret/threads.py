"""Threads that execute thread blocks, and the order in which these add to arrays that they share."""

import contextvars
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import Self

BATCH = 1000  # operations recorded before they are executed: Python's and NumPy's work push each other out of the CPU's cache
BATCH_A_THREAD = (
    20_000,
    16,
)  # the same of operations and of thread blocks where several execute, so that they seldom wait for the last


class Threads:
    """That many threads, including the caller's; None for one per core. A context manager that ends them."""

    def __init__(self, workers: int | None) -> None:
        if workers is not None and (type(workers) is not int or workers < 1):
            raise ValueError(f"workers={workers!r}: a whole number of threads from 1 on, or None for as many as there are cores")
        self.workers = cores() if workers is None else workers
        self._pool: ThreadPoolExecutor | None = None

    def enough(self, operations: int, blocks: int) -> bool:
        """Whether enough operations and thread blocks were recorded to execute them now."""
        if self.workers == 1:
            return operations >= BATCH
        most_operations, most_blocks = BATCH_A_THREAD
        return operations >= most_operations * self.workers or blocks >= most_blocks * self.workers

    def each(self, work: Callable[[int], None], n: int, context: contextvars.Context) -> None:
        """Call work(0) to work(n - 1), started in this order, in copies of a context; raise the error of the first that failed."""
        helpers = min(self.workers, n) - 1
        left = deque(range(n))

        def run() -> None:
            while left:
                try:
                    k = left.popleft()
                except IndexError:  # another thread was faster
                    return
                try:
                    work(k)
                except BaseException:
                    left.clear()
                    raise

        if helpers > 0 and self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers - 1, thread_name_prefix="simattn")
        futures = [self._pool.submit(context.copy().run, run) for _ in range(helpers)] if self._pool else []
        try:
            context.run(run)
        finally:
            for future in futures:
                future.exception()
        for future in futures:
            future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Turns:
    """Turns: it is k's turn when all that started before it have ended."""

    def __init__(self) -> None:
        self._next = 0
        self._over: set[int] = set()
        self._changed = Condition()

    def now(self, k: int) -> bool:
        """Whether it is k's turn."""
        return self._next == k

    def wait(self, k: int) -> None:
        """Wait for k's turn."""
        if self._next != k:
            with self._changed:
                self._changed.wait_for(lambda: self._next == k)

    def over(self, k: int) -> None:
        """k has ended."""
        with self._changed:
            self._over.add(k)
            while self._next in self._over:
                self._over.remove(self._next)
                self._next += 1
            self._changed.notify_all()
