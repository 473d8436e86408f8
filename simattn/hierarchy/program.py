"""Executing and logging: what a thread block does with tiles, under every word and operator that an algorithm writes."""

from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import operations
from .dtypes import Data, storage_type, wide
from .errors import SramOverflow
from .host import scalar
from .operations import Operation
from .overflow import overflow
from .tile import Tile
from .working_set import Entry, Log

if TYPE_CHECKING:
    from .gpu import Gpu

AXES: dict[Any, int | tuple[int, int]] = {0: -2, -2: -2, 1: -1, -1: -1, None: (-2, -1), (0, 1): (-2, -1)}


class Program:
    """One thread block's log: each operation is executed, noted, and defines a tile by its place in the log."""

    def __init__(self, gpu: "Gpu", kernel: str, frame: FrameType, lanes: tuple[int, ...]) -> None:
        self._gpu, self._kernel, self._lanes = gpu, kernel, lanes
        self._narrow = lanes != gpu._shape  # once for several heads
        self._frame: FrameType | None = frame  # the frame that holds the loop: its current line is the line of each operation
        self._code = frame.f_code
        self._context = gpu._context  # in which no trap for floating-point errors tells anything about values
        self._acc, self._index, self._capacity = gpu.acc, wide(gpu.acc), gpu.machine.sram
        self._log: list[Entry] = []
        self._known = gpu._known
        self._instructions: list[int] = []  # f_lineno would search the line table at every operation
        self._touched: list[tuple[Data, int]] = []

    def _apply(self, function: Any, *operands: Any) -> Tile:
        """An allowed NumPy function, or a product, of tiles of this thread block and Python scalars."""
        known: list[Any] = [function]
        data: list[Any] = []
        positions = []
        for x in operands:
            if type(x) is Tile:
                known.append(x._spec)
                data.append(x._data)
                positions.append(x._position if x._sram is self else self._own(x))
            else:
                known.append(None)
                data.append(x if type(x) is float else scalar(x))
        operation = self._known.get(key := tuple(known))
        if operation is None:
            operation = self._known[key] = self._operation(*known)
        return self._do(operation, tuple(positions), *data)

    def _unary(self, function: Any, x: Tile) -> Tile:
        """`_apply` to one tile of this thread block, without its loop."""
        operation = self._known.get((function, x._spec))
        if operation is None:
            return self._apply(function, x)
        return self._do(operation, (x._position,), x._data)

    def _binary(self, function: Any, x: Tile, y: Any) -> Tile:
        """`_apply` to a tile of this thread block and another or a float, the commonest cases, without its loop."""
        if type(y) is Tile and y._sram is self:
            operation = self._known.get((function, x._spec, y._spec))
            if operation is not None:
                return self._do(operation, (x._position, y._position), x._data, y._data)
        elif type(y) is float:
            operation = self._known.get((function, x._spec, None))
            if operation is not None:
                return self._do(operation, (x._position,), x._data, y)
        return self._apply(function, x, y)

    def _operation(self, function: Any, *specs: Any) -> Operation:
        if function is not np.matmul:
            return operations.elementwise(function, specs, self._acc)
        if None in specs:
            raise TypeError("matmul takes two tiles, not a scalar; multiply by a scalar with *")
        return operations.matmul(*specs, self._acc)

    def _reduce(self, function: Any, tile: Tile, axis: Any, keepdims: bool) -> Tile:
        """A sum, maximum or minimum along an axis, which stays as a length of 1."""
        if keepdims is not True:
            raise TypeError(f"{operations.REDUCTIONS[function]} of {tile!r}: tiles stay two-dimensional, so say keepdims=True")
        if axis not in AXES:
            raise ValueError(f"{operations.REDUCTIONS[function]} of {tile!r} along axis {axis!r}: the axes are 0 and 1")
        operation = operations.reduction(function, tile._spec, AXES[axis], self._acc)
        return self._do(operation, (self._own(tile),), tile._data)

    def _cast(self, tile: Tile, dtype: Any) -> Tile:
        """A tile rounded to another storage type."""
        if dtype is tile._spec.dtype:
            return tile
        kind = storage_type(dtype)
        if kind == tile._spec.dtype:
            return tile
        operation = operations.cast(tile._spec, kind)
        return self._do(operation, (self._own(tile),), tile._data)

    def _do(self, operation: Operation, positions: tuple[int, ...], *data: Any) -> Tile:
        """Execute an operation on the tiles defined at `positions`, log it, and give the tile that it defines."""
        log = self._log
        if self._frame is None:
            self._refuse_after_the_end()
        if operation.needs > self._capacity:
            self._refuse_what_cannot_fit(operation, positions)
        result = self._context.run(operation.compute, *data)
        log.append((operation, positions))
        self._instructions.append(self._frame.f_lasti)
        return Tile(result, operation.result, len(log) - 1, self)  # type: ignore[arg-type]

    def _note(self, operation: Operation, positions: tuple[int, ...]) -> None:
        """Log an operation that has no tile for its result."""
        if self._frame is None:
            self._refuse_after_the_end()
        self._log.append((operation, positions))
        self._instructions.append(self._frame.f_lasti)

    def _refuse_after_the_end(self) -> NoReturn:
        raise TypeError(f"{self._kernel}: this thread block has ended and its SRAM is lost; store what is to stay")

    def _own(self, tile: Tile) -> int:
        if tile._sram is not self:
            raise TypeError(
                f"{self._kernel}: {tile!r} belongs to another thread block: SRAM does not outlive its block, and blocks "
                "meet only in HBM, in a later launch"
            )
        return tile._position

    def _refuse_what_cannot_fit(self, operation: Operation, positions: tuple[int, ...]) -> None:
        live = {p: self._log[p][0].result.held for p in positions}  # type: ignore[union-attr]
        if operation.result and not operation.takes:
            live[len(self._log)] = operation.result.held
        if sum(live.values()) > self._capacity:
            self._log.append((operation, positions))
            self._instructions.append(self._frame.f_lasti)  # type: ignore[union-attr]
            raise self._overflow(len(self._log) - 1, list(live.items()))

    def _end(self) -> Log:
        """Lose the SRAM, mark what other thread blocks must now leave alone, and give the log."""
        self._frame = None
        for marks, mark in self._touched:
            np.bitwise_or(marks, mark, out=marks)
        return tuple(self._log)

    def _overflow(self, t: int, live: list[tuple[int, int]]) -> SramOverflow:
        """The error for operation `t`, at which these tiles (position of definition, bytes) were live."""
        return overflow(self._kernel, self._gpu.machine.name, self._capacity, self._log, self._code, self._instructions, t, live)
