"""Operands from outside the machine: a scalar is accepted by its value, and anything else is refused."""

from typing import Any

import numpy as np

from .hbm import HbmArray
from .memory import available

LARGE = 1 << 30  # bytes from which on it is worth asking whether this computer has them


def scalar(x: Any) -> float:
    """A Python or NumPy scalar as a Python float, so that it does not determine a type; anything else is refused."""
    if type(x) is float:
        return x
    value = x.item() if isinstance(x, np.generic) else x
    if isinstance(value, float | int):
        return float(value)
    if isinstance(x, HbmArray):
        x._refuse("arithmetic")
    raise TypeError(f"{describe(x)} beside a tile: a tile combines only with tiles of its own thread block and with Python scalars")


def describe(x: Any) -> str:
    return f"a host array {x.shape} {x.dtype}" if isinstance(x, np.ndarray) else f"{type(x).__name__} {x!r:.60}"


def refuse_beyond_host(name: str, nbytes: int) -> None:
    """Raise a MemoryError for an array that this computer cannot hold, before the operating system kills the process."""
    free = available() if nbytes >= LARGE else None
    if free is not None and nbytes > free:
        raise MemoryError(
            f"array {name!r} takes {nbytes:,} B of this computer's memory, of which {free:,} B are free; use a shorter "
            "sequence, or an algorithm that keeps less"
        )
