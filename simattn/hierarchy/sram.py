"""One thread block's SRAM: the words in which an algorithm loads, makes and stores tiles."""

import operator
from typing import Any, NoReturn

import numpy as np

from . import transfers
from .dtypes import BOOL, Data, limits, round_to, storage_type
from .given import INTEGER
from .hbm import ADDED, LANE_AXES, LOADED, STORED, UNWRITTEN, HbmArray, unwritten
from .host import describe, scalar
from .operations import Operation, spec
from .program import Program
from .shapes import turning
from .tile import Tile


class Sram(Program):
    """The SRAM of one thread block: empty when the block starts, lost when it ends.

    `load`, `store`, `zeros`, `full`, `arange` and the arithmetic of tiles are logged; counts and occupancy follow from the log, and
    the values when it is executed, after the block's last line.
    """

    def load(self, array: Any) -> Tile:
        """A tile (r, c) with the values of a slice of an HBM array: `sram.load(K[j])`. Counts an HBM read."""
        if self._narrow or not isinstance(array, HbmArray) or array._run is not self._gpu or array._load is None:
            array._load = self._loading(array)
        data = array._data
        if array._marks is not None:
            if (mark := array._marks.max()) > LOADED:
                self._race(array, "loads", mark)
            if np.bitwise_and(array._marks, UNWRITTEN).any():
                self._refuse_unwritten(array, "loads")
            self._touch(array, LOADED)
        return self._record(array._load, (), (data,))

    def _loading(self, array: HbmArray) -> Operation:
        shape = self._slice(array, "load")
        return transfers.load(array.name, shape, array.dtype, array._marks is not None)

    def store(self, array: HbmArray, tile: Tile) -> None:
        """Write a tile to a slice of an HBM array of its shape, rounded to the array's type. Counts an HBM write."""
        operation = self._storing(array, tile, "store into", transfers.store)
        if array._lanes < self._size:
            raise ValueError(
                f"store into {array.name}: its heads are shared, so several thread blocks would write one place; add with "
                "sram.atomic_add"
            )
        marks: Data = array._marks  # type: ignore[assignment]
        if (mark := marks.max()) > UNWRITTEN:
            self._race(array, "overwrites", mark)
        self._record(operation, (self._own(tile),), (array._data, tile))
        marks.fill(0)
        self._touch(array, STORED)

    def atomic_add(self, array: HbmArray, tile: Tile) -> None:
        """Add a tile to a slice of an HBM array, to which other thread blocks of the launch may add too. An HBM read and a write.

        Where heads share the array (`gpu.empty(shape, like=K)`), all of them add to it. Each addition rounds to the array's type.
        """
        operation = self._storing(array, tile, "atomic_add to", transfers.atomic_add)
        marks: Data = array._marks  # type: ignore[assignment]
        if other := np.bitwise_and(marks, LOADED | STORED).max():
            self._race(array, "adds to", other)
        if np.bitwise_and(marks, UNWRITTEN).any():
            self._refuse_unwritten(array, "adds to")
        batch, heads, shared, *_ = array._data.shape
        if (batch, heads) != self._lanes[:2]:
            raise ValueError(f"atomic_add to {array.name}: it is shared by other heads than those of a group")
        self._record(operation, (self._own(tile),), ([array._data] * (self._lanes[2] if shared == 1 else 1), tile))
        self._touch(array, ADDED)

    def load_int(self, element: Any) -> int:
        """An integer that steers the program, from a table in HBM: `sram.load_int(table[p])`. Counts an HBM read of 4 bytes."""
        if not isinstance(element, HbmArray) or element._run is not self._gpu:
            raise TypeError(f"load_int of {describe(element)}: give an element of a table that was passed to gpu.run, as table[p]")
        if element.dtype != INTEGER or element.shape:
            raise TypeError(f"load_int of {element!r}: give one element of a table of integers, as table[p] or mask[p, q]")
        self._record(transfers.load_int(element.name), (), ())
        return int(element._data.flat[0])

    def random(self, rows: Any, columns: Any, seed: int) -> Tile:
        """Uniform numbers in [0, 1) as an index tile: Philox of (seed, head, row, column), whatever the blocks and their order."""
        bounded = all(isinstance(s, slice) and s.stop is not None and 0 <= (s.start or 0) < s.stop for s in (rows, columns))
        if not bounded:
            raise ValueError(f"random of rows {rows} and columns {columns}: give slices with an end, as those of sa.blocks")
        if self._lanes != self._gpu._shape:
            raise TypeError(
                f"{self._kernel}: random numbers go by head, and this launch runs once for several; launch without like="
            )
        if self._gpu._numbers is None:
            raise TypeError(f"{self._kernel}: random numbers go by head and row, which an algorithm that packs groups does not see")
        if not 0 <= (number := operator.index(seed)) < 1 << 64:
            raise ValueError(f"random: seed={seed!r}; it is a whole number of 64 bits, not negative")
        r, c = (np.arange(s.start or 0, s.stop, s.step or 1) for s in (rows, columns))
        operation = transfers.random(spec((len(r), len(c)), self._index, index=True))
        return self._record(operation, (), ((number, self._gpu._numbers, r, c),))

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
        operation = transfers.fill("full", spec((int(shape[0]), int(shape[1])), kind))
        return self._record(operation, (), (round_to(np.asarray(scalar(value), np.float64), kind),))

    def arange(self, positions: Any) -> Tile:
        """The indices of a slice as a (1, n) index tile, free of bytes; `.T` is its column."""
        if not isinstance(positions, slice) or positions.stop is None:
            raise TypeError(f"arange of {positions!r}: give a slice with an end, as those of sa.blocks")
        numbers = np.arange(positions.start or 0, positions.stop, positions.step or 1, dtype=self._index)
        if not numbers.size:
            raise ValueError(f"arange of {positions} is empty")
        if numbers.max() >= (most := 1 << (limits(self._index).nmant + 1)):
            raise ValueError(f"arange of {positions}: indices from {most:,} on are not exact in {self._index.name}")
        operation = transfers.fill("arange", spec((1, numbers.size), self._index, index=True))
        return self._record(operation, (), (numbers,))

    def _storing(self, array: HbmArray, tile: Tile, action: str, kind: Any) -> Operation:
        shape = self._slice(array, action)
        if not isinstance(tile, Tile):
            raise TypeError(f"{action} {array.name}: {describe(tile)} is no tile; make one with sram.load or sram.full")
        if array._marks is None:
            raise TypeError(f"{action} {array.name}: inputs are read-only; make an output with gpu.empty(...)")
        if tile.shape != shape:
            advice = turning([tile._spec], lambda shapes: shapes[0] == shape)
            raise ValueError(f"{action} {array.name}: the slice is {shape}, the tile {tile.shape}; they must be equal{advice}")
        if (array.dtype == BOOL) != (tile.dtype == BOOL) or (array.dtype == BOOL and kind is transfers.atomic_add):
            raise TypeError(f"{action} {array.name}: a {tile.dtype.name} tile, but the array is {array.dtype.name}")
        return kind(array.name, tile._spec, array.dtype)  # type: ignore[no-any-return]

    def _touch(self, array: HbmArray, mark: int) -> None:
        """Mark what this thread block did: at once, where heads share the array, for their thread blocks run at once too."""
        if array._lanes < self._size:
            np.bitwise_or(array._marks, mark, out=array._marks)  # type: ignore[arg-type]
        else:
            self._touched.append((array._marks, mark))  # type: ignore[arg-type]

    def _slice(self, array: HbmArray, action: str) -> tuple[int, int]:
        if not isinstance(array, HbmArray):
            raise TypeError(f"{action} {describe(array)}: only arrays in HBM; pass it to gpu.run, or make it with gpu.empty")
        if array._run is not self._gpu:
            raise TypeError(f"{action} {array!r}: it belongs to another run")
        *_, rows, columns = array._data.shape
        if array._lanes > self._size:
            raise TypeError(f"{action} {array.name}: this launch runs once for several of its heads; launch without like=")
        if array.dtype == INTEGER:
            raise TypeError(f"{action} {array.name}: it holds integers, which steer the program: sram.load_int({array.name}[p])")
        if array._data.ndim != LANE_AXES + 2 or not rows or not columns:
            raise ValueError(f"{action} {array.name}: a slice of shape {array.shape}; tiles have two dimensions, each at least 1")
        return rows, columns

    def _refuse_unwritten(self, array: HbmArray, does: str) -> NoReturn:
        never = unwritten(array._marks, self._gpu._made[array.name])  # type: ignore[arg-type]
        raise RuntimeError(f"{self._kernel}: a thread block {does} what nothing has stored yet: {never}")

    def _race(self, array: HbmArray, does: str, mark: int) -> NoReturn:
        did = "added to" if mark & ADDED else "stored" if mark & STORED else "loaded"
        raise RuntimeError(
            f"{self._kernel}: a thread block {does} what another of the same launch {did} (in {array.name}): "
            "on a GPU they run at once; meet in a later launch"
        )
