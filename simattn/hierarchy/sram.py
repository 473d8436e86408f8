"""One thread block's SRAM: the words in which an algorithm loads, makes and stores tiles."""

import operator
from typing import Any

import numpy as np

from . import functions, transfers  # noqa: F401 - functions allow themselves on tiles
from .area import Area, Box
from .dtypes import BOOL, limits, storage_type
from .given import INTEGER
from .hbm import HbmArray, Touched
from .host import describe, scalar
from .log import LANES
from .operations import Operation, spec
from .program import Program
from .races import check_written, refuse_race
from .shapes import turning
from .tile import Tile


class Sram:
    """The SRAM of one thread block: empty when the block starts, lost when it ends.

    `load`, `store`, `zeros`, `full`, `arange` and the arithmetic of tiles are logged; counts, occupancy and values follow from the
    log.

    >>> S = sram.load(Q[i]) @ sram.load(K[j]).T
    >>> np.exp(S - S.max(axis=1, keepdims=True))
    Tile (16, 16) float32 1,024 B
    """

    def __init__(self, program: Program) -> None:
        self._program, self._context = program, program.context
        self._narrow = program.lanes != self._context.lanes  # this launch runs once for several heads
        self._pending: list[tuple[Area, list[Box]]] = []  # what this thread block touched

    def load(self, array: Any) -> Tile:
        """A tile (r, c) with the values of a slice of an HBM array: `sram.load(K[j])`. Counts an HBM read.

        >>> sram.load(K[j])
        Tile (16, 32) float32 2,048 B
        """
        if self._narrow or not isinstance(array, HbmArray) or array._run is not self._context or array._load is None:
            array._load = self._loading(array)
        operation = array._load
        if array._touched is not None:
            self._check_load(array)
        return Tile(operation.result, self._program.record(operation, (), (array._region,)), self._program)  # type: ignore[arg-type]

    def store(self, array: HbmArray, tile: Tile) -> None:
        """Write a tile to a slice of an HBM array of its shape, rounded to the array's type. Counts an HBM write.

        >>> O = gpu.empty(Q.shape, name="O")
        >>> sram.store(O[i], sram.load(Q[i]) / 2)
        """
        operation = self._storing(array, tile, "store into", transfers.store)
        if array._lanes < self._program.size:
            raise ValueError(
                f"store into {array.name}: several heads share it, so several thread blocks would write to the same place; use "
                "sram.atomic_add"
            )
        touched = self._touched(array)
        for box in array._places():
            refuse_race(
                self._program.kernel, array, "overwrites", box, added=touched.added, stored=touched.stored, loaded=touched.loaded
            )
        self._program.record(operation, (tile._of(self._program),), (array._region, tile._operand))
        self._touch(array, "stored")
        for box in array._places():
            touched.written.add(box)

    def atomic_add(self, array: HbmArray, tile: Tile) -> None:
        """Add a tile to a slice of an HBM array, to which other thread blocks of the launch may add too. Counts an HBM read and a
        write.

        Where heads share the array (`gpu.empty(shape, like=K)`), all of them add to it. Each addition rounds to the array's type.

        >>> def total(gpu, X):
        ...     T = gpu.empty((1, X.shape[1]), name="T")
        ...     for sram, _ in gpu.launch("zero", [0]):
        ...         sram.store(T, sram.zeros(T.shape))
        ...     for sram, i in gpu.launch("add", sa.blocks(X.shape[0], 16)):
        ...         sram.atomic_add(T, sram.load(X[i]).sum(axis=0, keepdims=True))
        ...     return T
        >>> machine.run(total, np.ones((64, 32), np.float32)).tensors["T"]
        Traffic(hbm_read=512, hbm_write=640)
        """
        operation = self._storing(array, tile, "atomic_add to", transfers.atomic_add)
        touched = self._touched(array)
        for box in array._places():
            refuse_race(self._program.kernel, array, "adds to", box, stored=touched.stored, loaded=touched.loaded)
        if array._lane_shape[:2] != self._program.lanes[:2]:
            raise ValueError(f"atomic_add to {array.name}: the heads that share it are not those of one group")
        check_written(self._program.kernel, array, "adds to")
        self._program.record(operation, (tile._of(self._program),), (array._region, tile._operand))
        self._touch(array, "added")

    def load_int(self, element: Any) -> int:
        """An integer on which the program depends, from a table in HBM: `sram.load_int(table[p])`. Counts an HBM read of 4 bytes.

        >>> sram.load_int(table[0])
        3
        """
        if not isinstance(element, HbmArray) or element._run is not self._context:
            raise TypeError(
                f"load_int of {describe(element)}: give an element of a table that was passed to machine.run, as table[p]"
            )
        if element.dtype != INTEGER or element.shape:
            raise TypeError(f"load_int of {element!r}: give one element of a table of integers, as table[p] or mask[p, q]")
        if element._table is None:
            raise TypeError(
                f"load_int of {element.name}: the program depends on its integers, so counting needs them; give the "
                "array, not its spec"
            )
        self._program.record(transfers.load_int(element.name), (), (element._region,))
        return int(element._table)

    def random(self, rows: Any, columns: Any, seed: int) -> Tile:
        """Uniform numbers in [0, 1) as an index tile: Philox of (seed, head, row, column), whatever the blocks and their order.

        >>> sram.random(i, j, seed=0) < 0.1
        Tile (16, 16) bool index
        """
        bounded = all(isinstance(s, slice) and s.stop is not None and 0 <= (s.start or 0) < s.stop for s in (rows, columns))
        if not bounded:
            raise ValueError(f"random of rows {rows} and columns {columns}: give slices with an end, as those of sa.blocks")
        if self._narrow:
            raise TypeError(
                f"{self._program.kernel}: random numbers differ by head, but this launch runs once for several heads; "
                "launch without like="
            )
        if self._context.packed:
            raise TypeError(
                f"{self._program.kernel}: random numbers differ by head and row, which an algorithm that packs groups does not see"
            )
        if not 0 <= (number := operator.index(seed)) < 1 << 64:
            raise ValueError(f"random: seed={seed!r}; give a whole number from 0 to 2^64 - 1")
        r, c = (range(s.start or 0, s.stop, s.step or 1) for s in (rows, columns))
        return self._made(transfers.random(spec((len(r), len(c)), self._context.index, index=True), number), LANES, r, c)

    def zeros(self, shape: Any, dtype: Any = None) -> Tile:
        """A tile (r, c) of zeros, of type `gpu.acc` unless given.

        >>> sram.zeros((16, 1))
        Tile (16, 1) float32 64 B
        """
        return self.full(shape, 0.0, dtype)

    def full(self, shape: Any, value: float, dtype: Any = None) -> Tile:
        """A tile (r, c) of one Python scalar, of type `gpu.acc` unless given.

        >>> sram.full((16, 1), -np.inf)
        Tile (16, 1) float32 64 B
        """
        kind = self._context.acc if dtype is None else storage_type(dtype)
        if (
            not isinstance(shape, tuple | list)
            or len(shape) != 2
            or not all(isinstance(n, int | np.integer) and n > 0 for n in shape)
        ):
            raise ValueError(f"a tile of shape {shape}: tiles have two dimensions, each at least 1")
        operation = transfers.fill("full", spec((int(shape[0]), int(shape[1])), kind))
        return self._made(operation, scalar(value))

    def arange(self, positions: Any) -> Tile:
        """The indices of a slice as a (1, n) index tile, free of bytes; `.T` is its column.

        >>> sram.arange(i).T >= sram.arange(j)  # which keys a query may see
        Tile (16, 16) bool index
        """
        if not isinstance(positions, slice) or positions.stop is None:
            raise TypeError(f"arange of {positions!r}: give a slice with an end, as those of sa.blocks")
        start, stop, step = (
            None if part is None else operator.index(part) for part in (positions.start, positions.stop, positions.step)
        )
        numbers = range(start or 0, stop, step or 1)  # type: ignore[arg-type]
        if not numbers:
            raise ValueError(f"arange of {positions} is empty")
        kind = self._context.index
        if max(numbers[0], numbers[-1]) >= (most := 1 << (limits(kind).nmant + 1)):
            raise ValueError(f"arange of {positions}: indices from {most:,} on are not exact in {kind.name}")
        return self._made(transfers.fill("arange", spec((1, len(numbers)), kind, index=True)), numbers)

    def _made(self, operation: Operation, *operands: Any) -> Tile:
        """A tile that is created on chip."""
        return Tile(operation.result, self._program.record(operation, (), operands), self._program)  # type: ignore[arg-type]

    def _loading(self, array: HbmArray) -> Operation:
        shape = self._slice(array, "load")
        return transfers.load(array.name, shape, array.dtype, array._touched is not None)

    def _storing(self, array: HbmArray, tile: Tile, action: str, kind: Any) -> Operation:
        shape = self._slice(array, action)
        if not isinstance(tile, Tile):
            raise TypeError(f"{action} {array.name}: {describe(tile)} is not a tile; make one with sram.load or sram.full")
        if array._touched is None:
            raise TypeError(f"{action} {array.name}: inputs are read-only; make an output with gpu.empty(...)")
        if tile.shape != shape:
            advice = turning([tile._spec], lambda shapes: shapes[0] == shape)
            raise ValueError(f"{action} {array.name}: the slice is {shape}, the tile {tile.shape}; they must be equal{advice}")
        if (array.dtype == BOOL) != (tile.dtype == BOOL) or (array.dtype == BOOL and kind is transfers.atomic_add):
            raise TypeError(f"{action} {array.name}: a {tile.dtype.name} tile, but the array is {array.dtype.name}")
        return kind(array.name, tile._spec, array.dtype)  # type: ignore[no-any-return]

    def _check_load(self, array: HbmArray) -> None:
        touched = self._touched(array)
        for box in array._places():
            refuse_race(self._program.kernel, array, "loads", box, added=touched.added, stored=touched.stored)
        check_written(self._program.kernel, array, "loads")
        self._touch(array, "loaded")

    def _touched(self, array: HbmArray) -> Touched:
        """What other thread blocks of this launch did to an array."""
        touched: Touched = array._touched  # type: ignore[assignment]
        return touched if touched.launch == self._program.launch else touched.in_launch(self._program.launch)

    def _touch(self, array: HbmArray, how: str) -> None:
        """Note what this thread block did: for later, or immediately if heads share the array, because their thread blocks run at
        the same time."""
        touched: Touched = array._touched  # type: ignore[assignment]
        if array._lanes < self._program.size:
            for box in array._places():
                getattr(touched, how).add(box)
        else:
            self._pending.append((getattr(touched, how), array._places()))

    def _end(self) -> None:
        """Drop the SRAM, and note which slices the other thread blocks of the launch must not touch."""
        self._program.end()
        for area, places in self._pending:
            for box in places:
                area.add(box)

    def _slice(self, array: HbmArray, action: str) -> tuple[int, int]:
        if not isinstance(array, HbmArray):
            raise TypeError(
                f"{action} {describe(array)}: this takes only arrays in HBM; pass it to machine.run, or make it with gpu.empty"
            )
        if array._run is not self._context:
            raise TypeError(f"{action} {array!r}: it belongs to another run")
        if array._lanes > self._program.size:
            raise TypeError(f"{action} {array.name}: this launch runs once for several of its heads; launch without like=")
        if array.dtype == INTEGER:
            raise TypeError(f"{action} {array.name}: it holds integers; read one with sram.load_int({array.name}[p])")
        shape = array.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"{action} {array.name}: a slice of shape {array.shape}; tiles have two dimensions, each at least 1")
        return shape
