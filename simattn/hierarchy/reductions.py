"""The reductions of a tile. They keep two dimensions, so that a row maximum stays a column."""

from typing import Any, Self

import numpy as np

from . import operations
from .operations import REDUCTIONS, Operation, Spec
from .program import AXES, Program
from .sealed import Sealed


class Reductions(Sealed):
    """What a tile gives along an axis, 0 or 1."""

    __slots__ = ()
    _program: Program
    _spec: Spec

    def _on(self, operation: Operation) -> Self:
        """What an operation on this tile alone gives."""
        raise NotImplementedError

    def _reduce(self, function: Any, axis: Any, keepdims: bool, name: str | None = None) -> Self:
        name = name or REDUCTIONS[function]  # of what it is a part of
        if keepdims is not True:
            raise TypeError(f"{name} of {self!r}: tiles stay two-dimensional, so pass keepdims=True")
        if axis not in AXES:
            raise ValueError(f"{name} of {self!r} along axis {axis!r}: the axes are 0 and 1")
        return self._on(operations.reduction(function, self._spec, AXES[axis], self._program.context.acc))

    def sum(self, axis: Any = None, *, keepdims: bool = False) -> Self:
        """The sum over an axis, accumulated in `gpu.acc`. `keepdims=True` must be given.

        >>> sram.load(Q[i]).sum(axis=1, keepdims=True)
        Tile (16, 1) float32 64 B
        """
        return self._reduce(np.add, axis, keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> Self:
        """The maximum over an axis. `keepdims=True` must be given.

        >>> sram.load(Q[i]).max(axis=1, keepdims=True)
        Tile (16, 1) float32 64 B
        """
        return self._reduce(np.maximum, axis, keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> Self:
        """The minimum over an axis. `keepdims=True` must be given.

        >>> sram.load(Q[i]).min(axis=0, keepdims=True)
        Tile (1, 32) float32 128 B
        """
        return self._reduce(np.minimum, axis, keepdims)
