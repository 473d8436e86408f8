"""Where the elements of an array lie in memory, and the sectors that a region of it touches.

DRAM and L2 move whole sectors of 32 B: a load of 4 B moves one, and so does a load of 32 B that lie together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .dtypes import Array
from .log import Index, LaneShape, Layout

SECTOR = 32  # bytes

Axis = tuple[tuple[int, int], ...]  # (length, stride) of each factor: rows of packed heads go by head, then by row


@dataclass(frozen=True, slots=True)
class Addresses:
    """An array in memory: strides in elements. lanes: of the axes (batch, kv_head, group), 0 where all lanes share it. axes: of what
    one lane sees. It begins at a multiple of the sector.
    """

    itemsize: int
    lanes: tuple[int, int, int]
    axes: tuple[Axis, ...]

    @classmethod
    def row_major(cls, lanes: LaneShape, shape: Sequence[int], itemsize: int) -> "Addresses":
        """Lane after lane, row after row."""
        lengths = (*lanes, *shape)
        strides = [prod(lengths[k + 1 :]) for k in range(len(lengths))]
        b, h, g = (s if n > 1 else 0 for s, n in zip(strides[:3], lanes, strict=True))
        return cls(itemsize, (b, h, g), tuple(((n, s),) for n, s in zip(shape, strides[3:], strict=True)))

    @classmethod
    def of(cls, array: Layout, lanes: LaneShape) -> "Addresses":
        """Of an array that lies on so many lanes in the whole run, in its order."""
        if array.order == "bhnd":
            return cls.row_major(lanes, array.shape, array.dtype.itemsize)
        (batch, kv_heads, side_by_side), (rows, columns), packed = lanes, array.shape, array.packed
        lengths = {"b": batch, "h": kv_heads * side_by_side * packed, "n": rows // packed, "d": columns}
        strides, stride = {}, 1
        for axis in reversed(array.order):
            strides[axis], stride = stride, stride * lengths[axis]
        b, h, n, d = (strides[axis] for axis in "bhnd")
        b, k, g = (s if x > 1 else 0 for s, x in zip((b, h * side_by_side * packed, h), lanes, strict=True))
        rows_of = ((packed, h), (rows // packed, n)) if packed > 1 else ((rows, n),)
        return cls(array.dtype.itemsize, (b, k, g), (rows_of, ((columns, d),)))

    def starts(self, numbers: Sequence[Array]) -> dict[int, int]:
        """How many lanes begin how many bytes beyond a sector. numbers: of the lanes on each axis, which broadcast."""
        begin = sum(np.asarray(n) * stride for n, stride in zip(numbers, self.lanes, strict=True)) * self.itemsize % SECTOR
        found, times = np.unique(begin, return_counts=True)
        return dict(zip(found.tolist(), times.tolist(), strict=True))

    def sectors(self, place: Index, start: int) -> int:
        """The sectors that a region touches, each once, of a lane that begins so many bytes beyond a sector."""
        if len(self.axes) == 2 and len(self.axes[0]) == 1 and self.axes[1][0][1] == 1:
            (n, stride), (width, _) = self.axes[0][0], self.axes[1][0]
            rows, columns = (range(k, k + 1) if isinstance(k, int) else range(x)[k] for k, x in zip(place, (n, width), strict=True))
            if rows.step == columns.step == 1:
                begin = start + (rows.start * stride + columns.start) * self.itemsize
                return _rectangle(begin, len(rows), len(columns) * self.itemsize, stride * self.itemsize)
        return self._any(place, start)

    def _any(self, place: Index, start: int) -> int:
        """The same for any strides."""
        at = [_offsets(axis, range(k, k + 1) if isinstance(k, int) else range(*k.indices(prod(n for n, _ in axis))))
              for k, axis in zip(place, self.axes, strict=True)]  # fmt: skip
        unit = next((k for k in reversed(range(len(at))) if len(at[k]) == 1 or (np.diff(at[k]) == 1).all()), None)
        length = 1
        if unit is not None:  # elements that lie together are one run
            length = len(at[unit])
            at[unit] = at[unit][:1]
        offsets = np.zeros(1, np.int64)
        for axis in at:
            offsets = np.add.outer(offsets, axis).ravel()
        offsets = np.sort(offsets * self.itemsize + start)
        first, last = offsets // SECTOR, (offsets + length * self.itemsize - 1) // SECTOR
        before = np.concatenate([[-1], np.maximum.accumulate(last)[:-1]])
        return int(np.maximum(last - np.maximum(first - 1, before), 0).sum())


def _rectangle(begin: int, rows: int, width: int, pitch: int) -> int:
    """The sectors of so many runs of `width` bytes, each `pitch` bytes after the one before."""
    if width == pitch:
        rows, width = 1, rows * width
    if pitch % SECTOR and rows > 1:
        first, last, found = 0, -1, 0
        for _ in range(rows):
            first, end = begin // SECTOR, (begin + width - 1) // SECTOR
            found += end - max(first - 1, last)
            begin, last = begin + pitch, end
        return found
    first, end = begin // SECTOR, (begin + width - 1) // SECTOR
    shared = rows > 1 and end == first + pitch // SECTOR  # by a row and the next one
    return rows * (end - first + 1) - (rows - 1) * shared


def _offsets(axis: Axis, indices: range) -> Array:
    """Of indices of an axis, in elements; ascending, since a region is a set."""
    left = np.sort(np.asarray(indices, np.int64))
    offset = np.zeros_like(left)
    for length, stride in reversed(axis):
        offset = offset + left % length * stride
        left = left // length
    return offset
