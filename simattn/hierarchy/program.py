"""Recording: what a thread block does with tiles, under every word and operator that an algorithm writes.

Nothing is computed yet. A thread block cannot branch on values, so it needs none; when it has ended, it is executed in one go.
"""

import math
from operator import itemgetter
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import operations
from .dtypes import Data, storage_type, wide
from .errors import SramOverflow
from .execute import Record, execute, seen
from .host import describe, scalar
from .operations import Operation
from .overflow import overflow
from .tile import Tile
from .working_set import Log

if TYPE_CHECKING:
    from .gpu import Gpu

AXES: dict[Any, int | tuple[int, int]] = {0: -2, -2: -2, 1: -1, -1: -1, None: (-2, -1), (0, 1): (-2, -1)}
ENTRY = itemgetter(0, 1)  # of a record: the operation and the tiles that it reads


class Program:
    """One thread block's log: each operation is recorded, and defines a tile by its place in the log."""

    def __init__(self, gpu: "Gpu", kernel: str, frame: FrameType, lanes: tuple[int, ...]) -> None:
        self._gpu, self._kernel, self._lanes, self._size = gpu, kernel, lanes, math.prod(lanes)
        self._narrow = lanes != gpu._shape  # once for several heads
        self._frame: FrameType | None = frame  # the frame that holds the loop: its current line is the line of each operation
        self._code = frame.f_code
        self._context = gpu._context  # in which no trap for floating-point errors tells anything about values
        self._acc, self._index, self._capacity = gpu.acc, wide(gpu.acc), gpu.machine.sram
        self._log: list[Record] = []
        self._values: list[Any] = []  # of the tiles that were executed already, because somebody looked
        self._known = gpu._known
        self._touched: list[tuple[Data, int]] = []

    def _apply(self, function: Any, *operands: Any) -> Tile:
        """An allowed NumPy function, or a product, of tiles of this thread block and Python scalars."""
        operands = tuple(x if type(x) is Tile else scalar(x) for x in operands)
        positions = tuple(self._own(x) for x in operands if type(x) is Tile)
        known = (function, *(x._spec if type(x) is Tile else None for x in operands))
        operation = self._known.get(known)
        if operation is None:
            operation = self._known[known] = self._operation(*known)
        return self._record(operation, positions, operands)

    def _operation(self, function: Any, *specs: Any) -> Operation:
        if function is not np.matmul:
            return operations.elementwise(function, specs, self._acc)
        if None in specs:
            raise TypeError("matmul takes two tiles, not a scalar; multiply by a scalar with *")
        return operations.matmul(*specs, self._acc)

    def _reduce(self, function: Any, tile: Tile, axis: Any, keepdims: bool, name: str | None = None) -> Tile:
        """A sum, maximum or minimum along an axis, which stays as a length of 1; name: what it is part of."""
        name = name or operations.REDUCTIONS[function]
        if keepdims is not True:
            raise TypeError(f"{name} of {tile!r}: tiles stay two-dimensional, so say keepdims=True")
        if axis not in AXES:
            raise ValueError(f"{name} of {tile!r} along axis {axis!r}: the axes are 0 and 1")
        operation = operations.reduction(function, tile._spec, AXES[axis], self._acc)
        return self._on(operation, tile)

    def _concatenate(self, tiles: Any, axis: Any) -> Tile:
        """Tiles after one another along an axis, copied."""
        stray = next((x for x in tiles if not isinstance(x, Tile)), None)
        if stray is not None:
            scalar(stray)  # says what to do with an array
            raise TypeError(f"concatenate of {describe(stray)}: it takes tiles; make one with sram.full")
        if axis not in (0, 1, -1, -2):
            raise ValueError(f"concatenate along axis {axis!r}: 0 puts tiles below one another, 1 beside one another")
        operation = operations.concatenation(tuple(tile._spec for tile in tiles), AXES[axis])
        return self._record(operation, tuple(map(self._own, tiles)), tuple(tiles))

    def _cast(self, tile: Tile, dtype: Any) -> Tile:
        """A tile rounded to another storage type."""
        if dtype is tile._spec.dtype:
            return tile
        kind = storage_type(dtype)
        if kind == tile._spec.dtype:
            return tile
        operation = operations.cast(tile._spec, kind)
        return self._on(operation, tile)

    def _on(self, operation: Operation, tile: Tile) -> Tile:
        """Record an operation on one tile."""
        positions = (self._own(tile),)
        return self._record(operation, positions, (tile,) if tile._view else positions)

    def _record(self, operation: Operation, positions: tuple[int, ...], operands: tuple[Any, ...]) -> Tile:
        """Record an operation on tiles defined at `positions`, and give the tile that it defines.

        operands: what it is executed on, in its order: a tile, or its position if it is whole; scalars; data in HBM.
        """
        if self._frame is None:
            self._refuse_after_the_end()
        log = self._log
        log.append((operation, positions, operands, self._frame.f_lasti))  # f_lineno would search the line table each time
        if operation.needs > self._capacity:
            self._refuse_what_cannot_fit(len(log) - 1)
        return Tile(operation.result, len(log) - 1, self)  # type: ignore[arg-type]

    def _refuse_after_the_end(self) -> NoReturn:
        raise TypeError(f"{self._kernel}: this thread block has ended and its SRAM is lost; store what is to stay")

    def _own(self, tile: Tile) -> int:
        if tile._sram is not self:
            raise TypeError(
                f"{self._kernel}: {tile!r} belongs to another thread block: SRAM does not outlive its block, and blocks "
                "meet only in HBM, in a later launch"
            )
        return tile._position

    def _refuse_what_cannot_fit(self, t: int) -> None:
        operation, positions, *_ = self._log[t]
        live = {p: self._log[p][0].result.held for p in positions}  # type: ignore[union-attr]
        if operation.result and not operation.takes:
            live[t] = operation.result.held
        if sum(live.values()) > self._capacity:
            self._log[t] = (operation, positions, None, self._log[t][3])
            raise self._overflow(t, list(live.items()))

    def _look(self, tile: Tile) -> Data:
        """The values of a tile: all that was recorded is executed, and kept, for what is read again is not known yet."""
        if self._frame is None:
            self._refuse_after_the_end()
        new = self._log[len(self._values) :]
        self._context.run(execute, new, [None] * len(new), [()] * len(new), self._values, self._size)
        return seen(self._values[tile._position], tile._view)

    def _end(self) -> Log:
        """Lose the SRAM, mark what other thread blocks must now leave alone, and give the log."""
        self._frame = None
        for marks, mark in self._touched:
            np.bitwise_or(marks, mark, out=marks)
        return tuple(map(ENTRY, self._log))

    def _execute(self, takes: list[int | None], ends: list[tuple[int, ...]]) -> None:
        """Execute what is recorded and not executed yet, and forget it."""
        done = len(self._values)
        self._context.run(execute, self._log[done:], takes[done:], ends[done:], self._values, self._size)
        self._values.clear()
        self._log.clear()

    def _overflow(self, t: int, live: list[tuple[int, int]]) -> SramOverflow:
        """The error for operation `t`, at which these tiles (position of definition, bytes) were live."""
        return overflow(self._kernel, self._gpu.machine.name, self._capacity, self._log, self._code, t, live)
