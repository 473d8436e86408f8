"""Tiles in SRAM: plain NumPy to write, counted to run."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from .dtypes import DType
from .operations import ELEMENTWISE, REDUCTIONS, Spec, transposed
from .sealed import Sealed

if TYPE_CHECKING:
    from .sram import Sram

ALL = slice(None)
MISSING: Any = object()

Operand = Any  # a tile or a Python scalar; what else there is, the machine refuses


def _binary(ufunc: Any) -> "Callable[[Tile, Operand], Tile]":
    """A ufunc of a tile and another of its thread block, or a number: what `_apply` does, in fewer steps."""

    def operator(self: "Tile", other: Operand) -> "Tile":
        sram = self._sram
        operation = None
        if type(other) is Tile and other._sram is sram:
            operation = sram._known.get((ufunc, self._spec, other._spec))
            positions: tuple[int, ...] = (self._position, other._position)
            operands: tuple[Any, ...] = (self, other) if self._view or other._view else positions
        elif type(other) is float or type(other) is int:
            operation = sram._known.get((ufunc, self._spec, None))
            positions = (self._position,)
            operands = (self if self._view else self._position, float(other))
        if operation is None:
            return sram._apply(ufunc, self, other)
        return sram._record(operation, positions, operands)

    return operator


def _reflected(ufunc: Any) -> "Callable[[Tile, Operand], Tile]":
    def operator(self: "Tile", other: Operand) -> "Tile":
        return self._sram._apply(ufunc, other, self)

    return operator


def _unary(ufunc: Any) -> "Callable[[Tile], Tile]":
    def operator(self: "Tile") -> "Tile":
        operation = self._sram._known.get((ufunc, self._spec))
        return self._sram._apply(ufunc, self) if operation is None else self._sram._on(operation, self)

    return operator


class Tile(Sealed):
    """A two-dimensional array of values in one thread block's SRAM. `x += y` is `x = x + y`; slices and `.T` are views."""

    __slots__ = ("_position", "_spec", "_sram", "_view")
    _remedy: ClassVar[str] = (
        "a tile is worked on by counted operations (arithmetic, np.exp, np.where, .max, .sum, @ ...), leaves by sram.store "
        "and is looked at by gpu.peek"
    )

    def __init__(self, spec: Spec, position: int, sram: "Sram", view: tuple[Any, ...] = ()) -> None:
        self._spec = spec
        self._position = position
        self._sram = sram
        self._view = view

    @property
    def shape(self) -> tuple[int, int]:
        return self._spec.shape

    @property
    def dtype(self) -> DType:
        return self._spec.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of one lane's tile or view; 0 for an index tile."""
        return self._spec.nbytes

    @property
    def T(self) -> "Tile":
        """The transposed view: no operation, no bytes."""
        return Tile(transposed(self._spec), self._position, self._sram, (*self._view, None))

    def __getitem__(self, key: Any) -> "Tile":
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > 2 or not all(isinstance(k, slice) for k in keys):
            self._refuse("fancy or integer indexing: tiles stay two-dimensional; slice, as x[0:8] or x[:, 0:1]")
        s = self._spec
        ranges = [range(*k.indices(n)) for k, n in zip((*keys, ALL, ALL), s.shape, strict=False)]
        rows, columns = map(len, ranges)
        if rows == 0 or columns == 0:
            raise IndexError(f"{self!r}: the slice {key} of it is empty")
        plain = (slice(r.start, None if r.stop < 0 else r.stop, r.step) for r in ranges)
        whole = (rows, columns) == s.shape and all(r.step == 1 for r in ranges)
        view = (*self._view, (..., *plain))
        return Tile(s.view((rows, columns), covers=s.covers and whole), self._position, self._sram, view)

    def astype(self, dtype: Any) -> "Tile":
        """Rounded to another storage type; to its own type, the same tile and free."""
        return self._sram._cast(self, dtype)

    def sum(self, axis: Any = None, *, keepdims: bool = False) -> "Tile":
        """The sum over an axis, accumulated in `gpu.acc`. `keepdims=True` must be given."""
        return self._sram._reduce(np.add, self, axis, keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> "Tile":
        """The maximum over an axis. `keepdims=True` must be given."""
        return self._sram._reduce(np.maximum, self, axis, keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> "Tile":
        """The minimum over an axis. `keepdims=True` must be given."""
        return self._sram._reduce(np.minimum, self, axis, keepdims)

    def mean(self, axis: Any = None, *, keepdims: bool = False) -> "Tile":
        """The mean over an axis: `.sum` in `gpu.acc`, divided by the number of elements. `keepdims=True` must be given."""
        total = self._sram._reduce(np.add, self, axis, keepdims, "mean")
        return total / (math.prod(self.shape) // math.prod(total.shape))

    def clip(self, min: Any = None, max: Any = None) -> "Tile":
        """`np.minimum(np.maximum(x, min), max)`; a bound that is None is none."""
        return _clip(self, min, max)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        size = "index" if self._spec.index else f"{self.nbytes:,} B"
        return f"Tile {self.shape} {self.dtype.name} {size}"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            if len(inputs) == 2 and inputs[0] is self and ufunc in _BINARY:
                return _BINARY[ufunc](self, inputs[1])
            if len(inputs) == 1 and ufunc in _UNARY:
                return _UNARY[ufunc](self)
            return self._sram._apply(ufunc, *inputs)
        if method == "reduce" and ufunc in REDUCTIONS and set(kwargs) <= {"axis", "keepdims"}:
            return self._sram._reduce(ufunc, inputs[0], kwargs.get("axis", 0), kwargs.get("keepdims", False))
        if method != "__call__":
            self._refuse(f"np.{ufunc.__name__}.{method}")
        more = _of_several(ufunc.__name__) if kwargs.keys() == {"out"} and len(inputs) == 2 else ""
        return self._refuse(f"{'=, '.join(kwargs)}= in np.{ufunc.__name__}", more)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("conversion to a NumPy array, alone or in a list,", f"{self._remedy}; {_of_several('maximum')}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> "Tile":
        if function not in _FUNCTIONS:
            self._refuse(f"np.{function.__name__}")
        return _FUNCTIONS[function](*args, **kwargs)

    __add__, __radd__ = _binary(np.add), _reflected(np.add)
    __sub__, __rsub__ = _binary(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.divide), _reflected(np.divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder), _reflected(np.remainder)
    __pow__, __rpow__ = _binary(np.power), _reflected(np.power)
    __matmul__, __rmatmul__ = _binary(np.matmul), _reflected(np.matmul)
    __and__, __rand__ = _binary(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lt__, __le__, __gt__, __ge__ = map(_binary, (np.less, np.less_equal, np.greater, np.greater_equal))
    __eq__, __ne__ = _binary(np.equal), _binary(np.not_equal)  # type: ignore[assignment]
    __neg__, __pos__, __abs__, __invert__ = map(_unary, (np.negative, np.positive, np.absolute, np.invert))


_UFUNCS = [f for f in (*ELEMENTWISE, np.matmul) if isinstance(f, np.ufunc)]
_UNARY = {f: _unary(f) for f in _UFUNCS if f.nin == 1}
_BINARY = {f: _binary(f) for f in _UFUNCS if f.nin == 2}


def _where(condition: Any, x: Any, y: Any) -> Tile:
    tile = next(t for t in (condition, x, y) if isinstance(t, Tile))
    return tile._sram._apply(np.where, condition, x, y)


def _transpose(a: Tile) -> Tile:
    return a.T


def _of_several(name: str) -> str:
    return f"np.{name} of several tiles is functools.reduce(np.{name}, tiles)"


def _clip(a: Any, a_min: Any = MISSING, a_max: Any = MISSING, *, min: Any = None, max: Any = None) -> Any:
    if (a_min is MISSING) != (a_max is MISSING):
        raise TypeError("np.clip takes both bounds, as np.clip(x, 0, None); None is no bound")
    if a_min is not MISSING and not (min is None and max is None):
        raise ValueError("np.clip takes its bounds as a_min and a_max, or as min and max, not as both")
    lower, upper = (min, max) if a_min is MISSING else (a_min, a_max)
    a = a if lower is None else np.maximum(a, lower)
    return a if upper is None else np.minimum(a, upper)


def _concatenate(tiles: Any, axis: Any = 0) -> Tile:
    tiles = tuple(tiles)
    first = next((tile for tile in tiles if isinstance(tile, Tile)), None)
    if first is None:
        raise TypeError("concatenate takes a list or a tuple of tiles")
    return first._sram._concatenate(tiles, axis)


def _method(name: str) -> Callable[..., Tile]:
    def function(a: Tile, axis: Any = None, *, keepdims: bool = False) -> Tile:
        return getattr(a, name)(axis, keepdims=keepdims)  # type: ignore[no-any-return]

    return function


_FUNCTIONS: dict[Any, Callable[..., Tile]] = {
    np.where: _where, np.transpose: _transpose, np.sum: _method("sum"),
    np.max: _method("max"), np.amax: _method("max"), np.min: _method("min"), np.amin: _method("min"), np.mean: _method("mean"),
    np.clip: _clip, np.concatenate: _concatenate, np.vstack: _concatenate, np.hstack: partial(_concatenate, axis=1),
}  # fmt: skip
