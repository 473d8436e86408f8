"""NumPy's BLAS on one thread while the machine executes: tiles are so small that several threads mostly wait for each other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()


class _Library:
    """A BLAS library, and the runs that want it to use one thread. Its number of threads belongs to the process or, with OpenMP, to
    the calling thread."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller
        self._own = getattr(controller, "threading_layer", None) == "openmp"
        self._users: dict[int, set[object]] = {}
        self._before: dict[int, int] = {}

    def limit(self, run: object) -> None:
        scope = self._scope()
        self._users.setdefault(scope, set()).add(run)
        self._before.setdefault(scope, self._controller.num_threads)
        self._set(1)

    def release(self, run: object) -> None:
        """Restore the previous number of threads, if no other run is left and nobody has changed it in the meantime."""
        scope = self._scope()
        users = self._users.get(scope, set())
        users.discard(run)
        if not users and scope in self._before:
            if self._controller.num_threads == 1:
                self._set(self._before[scope])
            del self._before[scope], self._users[scope]

    def _scope(self) -> int:
        return threading.get_ident() if self._own else 0

    def _set(self, threads: int) -> None:
        """Set the number from any thread: newer threadpoolctl heeds only the one that set it first, until that lets go of it."""
        let_go = getattr(self._controller, "clear_controlling_thread", lambda **_: None)
        let_go(force=True)
        self._controller.set_num_threads(threads)
        let_go(force=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS uses one thread in this context. When the last run that asked for it ends, even by an error, BLAS gets its threads
    back."""
    run = object()
    try:
        with _lock:
            for library in _libraries():
                library.limit(run)
        yield
    finally:
        with _lock:
            for library in _libraries():
                library.release(run)


@cache
def _libraries() -> list[_Library]:
    """The BLAS libraries of this process. Finding them takes longer than a small run, and NumPy has already loaded its own."""
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [_Library(controller) for controller in found if controller.num_threads is not None]
