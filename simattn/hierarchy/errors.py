"""Errors that name the value, the place and the remedy."""

import difflib
from collections.abc import Iterable


class SramOverflow(MemoryError):
    """A thread block's working set exceeds the on-chip capacity. `needed` and `capacity` are in bytes."""

    def __init__(self, message: str, *, needed: int = 0, capacity: int = 0) -> None:
        super().__init__(message)
        self.needed, self.capacity = needed, capacity


class HbmOverflow(MemoryError):
    """Inputs, outputs and footprint together exceed the GPU's memory."""


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that nobody knows, with the nearest that somebody does."""
    names = list(known)
    near = [known for known in names if known.startswith(str(name))] or difflib.get_close_matches(str(name), names, n=1)
    return f"unknown {kind} {name!r}" + (f": did you mean {near[0]!r}" if near else f"; known: {', '.join(names)}")
