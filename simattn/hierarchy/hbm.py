"""Arrays in HBM: a shape, a type and slicing. Values come by `sram.load` and go by `sram.store`."""

import math
import operator
from typing import Any, ClassVar, NoReturn

import numpy as np

from .dtypes import Data, DType
from .operations import Operation
from .sealed import Sealed

LANE_AXES = 3  # (batch, kv_head, group) lead every array's data; the algorithm sees what follows

ALL_LANES = (slice(None),) * LANE_AXES

UNWRITTEN = 1  # a bit of each element of what `gpu.empty` made, until something is stored there
LOADED, STORED, ADDED = 2, 4, 8  # bits: what other thread blocks of the current launch did to an element


class HbmArray(Sealed):
    """An array in HBM, or a slice of one. `shape` and `dtype` are what one lane sees."""

    __slots__ = ("_data", "_load", "_marks", "_name", "_run", "_views")
    _remedy: ClassVar[str] = "it lies in HBM: load it first, with sram.load(...)"

    def __init__(self, name: str, data: Data, run: object, marks: Data | None = None) -> None:
        self._name = name
        self._data = data
        self._run = run
        self._marks = marks  # inputs have none: they are read-only, and no result may be written in their memory
        if marks is None:
            data.flags.writeable = False
        self._load: Operation | None = None  # what loading it is, once it was loaded
        self._views: dict[tuple[int | None, ...] | None, HbmArray] = {}  # by row slice, for loops come back to the same ones

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape[LANE_AXES:]

    @property
    def dtype(self) -> DType:
        return self._data.dtype

    @property
    def _lanes(self) -> int:
        return math.prod(self._data.shape[:LANE_AXES])

    def __getitem__(self, key: Any) -> "HbmArray":
        rows = (key.start, key.stop, key.step) if type(key) is slice else None
        if (known := self._views.get(rows)) is not None:
            return known
        keys = key if type(key) is tuple else (key,)
        keys = tuple(self._plain(k) for k in keys)
        marks = None if self._marks is None else self._marks[keys]
        view = HbmArray(self._name, self._data[(*ALL_LANES, *keys)], self._run, marks)
        if rows is not None:
            self._views[rows] = view
        return view

    def _plain(self, key: Any) -> int | slice:
        """A key of plain integers, so that data and marks are sliced alike."""
        if type(key) is int:
            return key
        if type(key) is not slice:
            raise TypeError(f"{self.name}[{key!r}]: arrays in HBM take slices, as {self.name}[0:64] or {self.name}[i, j]")
        return slice(*(None if part is None else operator.index(part) for part in (key.start, key.stop, key.step)))

    def __repr__(self) -> str:
        return f"HBM array {self.name} {self.shape} {self.dtype.name}"

    def __array_ufunc__(self, ufunc: Any, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse(f"np.{ufunc.__name__}")

    def __array_function__(self, function: Any, *args: Any) -> NoReturn:
        self._refuse(f"np.{function.__name__}")


def unwritten(marks: Data, whole: HbmArray) -> str:
    """How much of an array, or of the part of it that these marks are of, nothing has written, and the first slice of that."""
    never, everywhere = marks == UNWRITTEN, np.zeros(whole.shape, np.bool_)
    offset = marks.ctypes.data - whole._marks.ctypes.data  # type: ignore[union-attr]
    np.ndarray(marks.shape, np.bool_, everywhere, offset, marks.strides)[...] = never  # one byte a mark, as a truth value
    *lead, row, column = (int(i) for i in np.unravel_index(everywhere.argmax(), whole.shape))
    plane = everywhere[tuple(lead)]
    columns = _run(plane[row, column:])
    rows = _run(plane[row:, column : column + columns].all(axis=1))
    place = ", ".join([*map(str, lead), f"{row}:{row + rows}", f"{column}:{column + columns}"])
    return f"{np.count_nonzero(never):,} of {marks.size:,} elements, the first {whole.name}[{place}]"


def _run(truth: Data) -> int:
    """How many are true before the first that is not."""
    return len(truth) if truth.all() else int(truth.argmin())


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
