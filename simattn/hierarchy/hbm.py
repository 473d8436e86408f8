"""Arrays in HBM, as an algorithm sees them: a shape, a type and slicing. `sram.load` reads values and `sram.store` writes them."""

import math
import operator
from typing import Any, ClassVar, NoReturn

from .area import Area, Box, boxes
from .dtypes import Array, DType
from .log import LaneShape, Layout, Region
from .operations import Operation
from .sealed import Sealed

Axes = tuple[int | range, ...]


class Touched:
    """What thread blocks did to an array that an algorithm made: in the whole run (`written`), and in one launch, except for the
    current block."""

    __slots__ = ("added", "launch", "loaded", "stored", "written")

    def __init__(self) -> None:
        self.written = Area()
        self.in_launch(0)

    def in_launch(self, launch: int) -> "Touched":
        """What happened in this launch; a new launch starts with nothing."""
        self.launch = launch
        self.loaded, self.stored, self.added = Area(), Area(), Area()
        return self


class HbmArray(Sealed):
    """An array in HBM, or a slice of one. `shape` and `dtype` are what one lane sees.

    >>> Q[0:16].name, Q[0:16].shape, Q.dtype.name
    ('Q', (16, 32), 'float32')
    >>> Q + 1
    Traceback (most recent call last):
        ...
    TypeError: HBM array Q (64, 32) float32: no '+' here; it lies in HBM: load it first, with sram.load(...)
    """

    __slots__ = ("_array", "_axes", "_boxes", "_load", "_region", "_run", "_table", "_touched", "_views")
    _remedy: ClassVar[str] = "it lies in HBM: load it first, with sram.load(...)"

    def __init__(
        self, array: Layout, run: object, axes: Axes | None = None, touched: Touched | None = None, table: Array | None = None
    ) -> None:
        self._array, self._run = array, run
        self._axes = tuple(map(range, array.shape)) if axes is None else axes
        self._region = Region(array.name, tuple(axis if isinstance(axis, int) else _slice(axis) for axis in self._axes))
        self._touched = touched  # of an input nothing: it is read-only
        self._table = table  # integers, which steer the program
        self._boxes: list[Box] | None = None
        self._load: Operation | None = None  # what loading it is, once it was loaded
        self._views: dict[tuple[int | None, ...], HbmArray] = {}  # by row slice, for loops come back to the same ones

    @property
    def name(self) -> str:
        """The name of the parameter, or the name that was passed to `gpu.empty`."""
        return self._array.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the slice, for one head."""
        return tuple(len(axis) for axis in self._axes if isinstance(axis, range))

    @property
    def dtype(self) -> DType:
        """The storage type, or int32 for a table."""
        return self._array.dtype

    @property
    def _lane_shape(self) -> LaneShape:
        return self._array.lanes

    @property
    def _lanes(self) -> int:
        return math.prod(self._array.lanes)

    def __getitem__(self, key: Any) -> "HbmArray":
        rows = (key.start, key.stop, key.step) if type(key) is slice else None
        if rows is not None and (known := self._views.get(rows)) is not None:
            return known
        keys = key if type(key) is tuple else (key,)
        axes, left = [], list(map(self._plain, keys))
        for number, axis in enumerate(self._axes):
            axes.append(self._cut(number, axis, left.pop(0)) if isinstance(axis, range) and left else axis)
        if left:
            raise IndexError(f"{self!r}: {len(keys)} indices; it has {len(self.shape)} dimensions")
        view = HbmArray(self._array, self._run, tuple(axes), self._touched, None if self._table is None else self._table[keys])
        if rows is not None:
            self._views[rows] = view
        return view

    def _cut(self, number: int, axis: range, key: int | slice) -> int | range:
        try:
            return axis[key]
        except IndexError:
            raise IndexError(f"{self!r}: index {key} on axis {number}, which has {len(axis)} elements") from None

    def _plain(self, key: Any) -> int | slice:
        """A key of plain integers."""
        if type(key) is int:
            return key
        if type(key) is not slice:
            raise TypeError(f"{self.name}[{key!r}]: arrays in HBM take slices, as {self.name}[0:64] or {self.name}[i, j]")
        return slice(*(None if part is None else operator.index(part) for part in (key.start, key.stop, key.step)))

    def _places(self) -> list[Box]:
        """The boxes that this slice is."""
        if self._boxes is None:
            self._boxes = list(boxes(self._axes))
        return self._boxes

    def __repr__(self) -> str:
        return f"HBM array {self.name} {self.shape} {self.dtype.name}"

    def __array_ufunc__(self, ufunc: Any, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse(f"np.{ufunc.__name__}")

    def __array_function__(self, function: Any, *args: Any) -> NoReturn:
        self._refuse(f"np.{function.__name__}")


def _slice(axis: range) -> slice:
    return slice(axis.start, None if axis.stop < 0 else axis.stop, axis.step)


def _refused(symbol: str) -> Any:
    def refuse(self: HbmArray, *_: object) -> NoReturn:
        self._refuse(f"'{symbol}'")

    return refuse


for _symbol, _names in {
    "+": "add radd", "-": "sub rsub neg", "*": "mul rmul", "@": "matmul rmatmul", "/": "truediv rtruediv",
    "//": "floordiv rfloordiv", "%": "mod rmod", "**": "pow rpow", "divmod": "divmod rdivmod", "+x": "pos", "abs": "abs",
    "~": "invert", "&": "and rand", "|": "or ror", "^": "xor rxor", "<<": "lshift rlshift", ">>": "rshift rrshift",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
}.items():  # fmt: skip
    for _name in _names.split():
        setattr(HbmArray, f"__{_name}__", _refused(_symbol))
