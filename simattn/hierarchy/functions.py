"""The NumPy functions on tiles that are not ufuncs: each is a counted operation or consists of counted operations. Importing this
module allows them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import operations
from .host import describe, scalar
from .program import AXES
from .tile import FUNCTIONS, Tile, apply

MISSING: Any = object()


def _where(condition: Any, x: Any, y: Any) -> Tile:
    return apply(np.where, condition, x, y)


def _transpose(a: Tile) -> Tile:
    return a.T


def _clip(a: Any, a_min: Any = MISSING, a_max: Any = MISSING, *, min: Any = None, max: Any = None) -> Any:
    if (a_min is MISSING) != (a_max is MISSING):
        raise TypeError("np.clip needs both bounds, as in np.clip(x, 0, None); None means unbounded")
    if a_min is not MISSING and not (min is None and max is None):
        raise ValueError("np.clip takes its bounds as a_min and a_max, or as min and max, not as both")
    lower, upper = (min, max) if a_min is MISSING else (a_min, a_max)
    a = a if lower is None else np.maximum(a, lower)
    return a if upper is None else np.minimum(a, upper)


def concatenate(tiles: Any, axis: Any = 0) -> Tile:
    """Tiles after one another along an axis, copied."""
    tiles = tuple(tiles)
    first = next((tile for tile in tiles if isinstance(tile, Tile)), None)
    if first is None:
        raise TypeError("concatenate takes a list or a tuple of tiles")
    stray = next((x for x in tiles if not isinstance(x, Tile)), None)
    if stray is not None:
        scalar(stray)  # says what to do with an array
        raise TypeError(f"concatenate of {describe(stray)}: it takes tiles; make one with sram.full")
    if axis not in (0, 1, -1, -2):
        raise ValueError(f"concatenate along axis {axis!r}: axis 0 stacks tiles vertically, axis 1 horizontally")
    program = first._program
    reads = tuple(x._of(program) for x in tiles)
    operation = operations.concatenation(tuple(x._spec for x in tiles), AXES[axis])
    return Tile(operation.result, program.record(operation, reads, tuple(x._operand for x in tiles)), program)  # type: ignore[arg-type]


def _method(name: str) -> Callable[..., Tile]:
    def function(a: Tile, axis: Any = None, *, keepdims: bool = False) -> Tile:
        return getattr(a, name)(axis, keepdims=keepdims)  # type: ignore[no-any-return]

    return function


FUNCTIONS.update({
    np.where: _where, np.transpose: _transpose, np.sum: _method("sum"),
    np.max: _method("max"), np.amax: _method("max"), np.min: _method("min"), np.amin: _method("min"), np.mean: _method("mean"),
    np.clip: _clip, np.concatenate: concatenate, np.vstack: concatenate, np.hstack: partial(concatenate, axis=1),
})  # fmt: skip
