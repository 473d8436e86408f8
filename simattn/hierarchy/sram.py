"""One thread block: its SRAM, what it loads, computes and stores, and the log of all that."""

import itertools
import linecache
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import operations
from .dtypes import Data, limits, round_to, storage_type
from .errors import SramOverflow
from .hbm import LANE_AXES, LOADED, STORED, HbmArray
from .host import describe, scalar
from .operations import Operation, spec
from .tile import Tile
from .working_set import Entry, Log

if TYPE_CHECKING:
    from .gpu import Gpu

AXES: dict[Any, int | tuple[int, int]] = {0: -2, -2: -2, 1: -1, -1: -1, None: (-2, -1), (0, 1): (-2, -1)}


class Sram:
    """The SRAM of one thread block: empty when the block starts, lost when it ends.

    `load`, `store`, `zeros`, `full`, `arange` and the arithmetic of tiles are logged; counts and occupancy follow from the log.
    """

    def __init__(self, gpu: "Gpu", kernel: str, frame: FrameType) -> None:
        self._gpu, self._kernel = gpu, kernel
        self._frame: FrameType | None = frame  # the frame that holds the loop: its current line is the line of each operation
        self._code = frame.f_code
        self._acc, self._capacity = gpu.acc, gpu.machine.sram
        self._log: list[Entry] = []
        self._known = gpu._known
        self._instructions: list[int] = []  # f_lineno would search the line table at every operation
        self._touched: list[tuple[Data, int]] = []

    def load(self, array: Any) -> Tile:
        """A tile (r, c) with the values of a slice of an HBM array: `sram.load(K[j])`. Counts an HBM read."""
        if not isinstance(array, HbmArray) or array._run is not self._gpu or array._load is None:
            array._load = self._loading(array)
        data = array._data
        if array._marks is not None:
            if array._marks.max() == STORED:
                self._race(array, "loads", "stored")
            self._touched.append((array._marks, LOADED))
            data = data.copy()
        return self._do(array._load, (), data)

    def _loading(self, array: HbmArray) -> Operation:
        shape = self._slice(array, "load")
        return operations.load(array.name, shape, array.dtype)

    def store(self, array: HbmArray, tile: Tile) -> None:
        """Write a tile to a slice of an HBM array of its shape, rounded to the array's type. Counts an HBM write."""
        shape = self._slice(array, "store into")
        if not isinstance(tile, Tile):
            raise TypeError(f"store into {array.name}: {describe(tile)} is no tile; make one with sram.load or sram.full")
        if array._marks is None:
            raise TypeError(f"store into {array.name}: inputs are read-only; make an output with gpu.empty(...)")
        if tile.shape != shape:
            raise ValueError(f"store into {array.name}: the slice is {shape}, the tile {tile.shape}; they must be equal")
        if array._lanes < self._gpu._lanes:
            raise ValueError(f"store into {array.name}: its heads are shared, so several thread blocks would write one place")
        mark = array._marks.max()
        if mark:
            self._race(array, "overwrites", "stored" if mark == STORED else "loaded")
        rounded = self._do(operations.store(array.name, tile._spec, array.dtype), (self._own(tile),), tile._data)
        self._touched.append((array._marks, STORED))
        array._data[...] = rounded._data

    def zeros(self, shape: Any, dtype: Any = None) -> Tile:
        """A tile (r, c) of zeros, of type `gpu.acc` unless given."""
        return self.full(shape, 0.0, dtype)

    def full(self, shape: Any, value: float, dtype: Any = None) -> Tile:
        """A tile (r, c) of one Python scalar, of type `gpu.acc` unless given."""
        kind = self._acc if dtype is None else storage_type(dtype)
        if (
            not isinstance(shape, tuple | list)
            or len(shape) != 2
            or not all(isinstance(n, int | np.integer) and n > 0 for n in shape)
        ):
            raise ValueError(f"a tile of shape {shape}: tiles have two dimensions, each at least 1")
        operation = operations.fill("full", spec((int(shape[0]), int(shape[1])), kind))
        return self._do(operation, (), round_to(np.asarray(scalar(value), np.float64), kind))

    def arange(self, positions: Any) -> Tile:
        """The indices of a slice as a (1, n) index tile, free of bytes; `.T` is its column."""
        if not isinstance(positions, slice) or positions.stop is None:
            raise TypeError(f"arange of {positions!r}: give a slice with an end, as those of sa.blocks")
        numbers = np.arange(positions.start or 0, positions.stop, positions.step or 1, dtype=self._acc)
        if not numbers.size:
            raise ValueError(f"arange of {positions} is empty")
        if numbers.max() >= 1 << (limits(self._acc).nmant + 1):
            raise ValueError(
                f"arange of {positions}: indices from {1 << (limits(self._acc).nmant + 1):,} on are not exact in {self._acc.name}"
            )
        operation = operations.fill("arange", spec((1, numbers.size), self._acc, index=True))
        return self._do(operation, (), numbers)

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
            raise TypeError(f"{self._kernel}: this thread block has ended and its SRAM is lost; store what is to stay")
        if operation.needs > self._capacity:
            self._refuse_what_cannot_fit(operation, positions)
        try:
            result = operation.compute(*data)
        except FloatingPointError:  # somebody set a trap with np.errstate, and so looks at values
            self._gpu._account.peeked = True
            raise
        log.append((operation, positions))
        self._instructions.append(self._frame.f_lasti)
        return Tile(result, operation.result, len(log) - 1, self)  # type: ignore[arg-type]

    def _own(self, tile: Tile) -> int:
        if tile._sram is not self:
            raise TypeError(
                f"{self._kernel}: {tile!r} belongs to another thread block: SRAM does not outlive its block, and blocks "
                "meet only in HBM, in a later launch"
            )
        return tile._position

    def _slice(self, array: HbmArray, action: str) -> tuple[int, int]:
        if not isinstance(array, HbmArray):
            raise TypeError(f"{action} {describe(array)}: only arrays in HBM; pass it to gpu.run, or make it with gpu.empty")
        if array._run is not self._gpu:
            raise TypeError(f"{action} {array!r}: it belongs to another run")
        *_, rows, columns = array._data.shape
        if array._data.ndim != LANE_AXES + 2 or not rows or not columns:
            raise ValueError(f"{action} {array.name}: a slice of shape {array.shape}; tiles have two dimensions, each at least 1")
        return rows, columns

    def _race(self, array: HbmArray, does: str, did: str) -> NoReturn:
        raise RuntimeError(
            f"{self._kernel}: a thread block {does} what another of the same launch {did} (in {array.name}): "
            "on a GPU they run at once; meet in a later launch"
        )

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
            np.maximum(marks, mark, out=marks)
        return tuple(self._log)

    def _line(self, t: int) -> int:
        """The source line of operation t."""
        return next(itertools.islice(self._code.co_positions(), self._instructions[t] // 2, None))[0] or 0

    def _overflow(self, t: int, live: list[tuple[int, int]]) -> SramOverflow:
        """The error for operation `t`, at which these tiles (position of definition, bytes) were live."""
        needed = sum(size for _, size in live)
        tiles = "\n".join(f"  {size:>11,} B  {self._log[p][0]}, line {self._line(p)}" for p, size in live)
        line = self._line(t)
        return SramOverflow(
            f"{self._kernel}: {needed:,} B live, but {self._gpu.machine.name} has {self._capacity:,} B of SRAM a thread block\n"
            f"at {self._log[t][0]}, line {line} of {self._code.co_filename}:\n"
            f"    {linecache.getline(self._code.co_filename, line).strip()}\nlive there:\n{tiles}\n"
            "Load later, or use smaller blocks.",
            needed=needed,
            capacity=self._capacity,
        )
