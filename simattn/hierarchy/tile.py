"""Tiles in SRAM: written as plain NumPy, counted when they run. A tile is a position in the log of its thread block, or a view of
one."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import numpy as np

from . import operations
from .dtypes import DType, storage_type
from .host import scalar
from .log import View
from .operations import ELEMENTWISE, REDUCTIONS, Operation, Spec, transposed
from .program import Program
from .reductions import Reductions

ALL = slice(None)
FUNCTIONS: dict[Any, "Callable[..., Tile]"] = {}  # NumPy's functions that are no ufuncs, by `functions`

Operand = Any  # a tile or a Python scalar; what else there is, the machine refuses


def _binary(ufunc: Any) -> "Callable[[Tile, Operand], Tile]":
    """A ufunc of a tile and another of its thread block, or a number: what `apply` does, in fewer steps."""

    def operator(self: "Tile", other: Operand) -> "Tile":
        program = self._program
        operation = None
        if type(other) is Tile and other._program is program:
            operation = program.known.get((ufunc, self._spec, other._spec))
            reads: tuple[int, ...] = (self._position, other._position)
            operands: tuple[Any, ...] = (self._operand, other._operand) if self._view or other._view else reads
        elif type(other) is float or type(other) is int:
            operation = program.known.get((ufunc, self._spec, None))
            reads = (self._position,)
            operands = (self._operand if self._view else self._position, float(other))
        if operation is None:
            return apply(ufunc, self, other)
        return Tile(operation.result, program.record(operation, reads, operands), program)  # type: ignore[arg-type]

    return operator


def _of_several(name: str) -> str:
    return f"np.{name} of several tiles is functools.reduce(np.{name}, tiles)"


def _reflected(ufunc: Any) -> "Callable[[Tile, Operand], Tile]":
    def operator(self: "Tile", other: Operand) -> "Tile":
        return apply(ufunc, other, self)

    return operator


def _unary(ufunc: Any) -> "Callable[[Tile], Tile]":
    def operator(self: "Tile") -> "Tile":
        return self._on(self._program.operation(ufunc, self._spec))

    return operator


class Tile(Reductions):
    """A two-dimensional array of values in one thread block's SRAM. `x += y` is `x = x + y`; slices and `.T` are views.

    >>> x = sram.load(Q[i])
    >>> x.shape, x.dtype.name, x.nbytes
    ((16, 32), 'float32', 2048)
    >>> x[:, 0:8] * 2
    Tile (16, 8) float32 512 B
    """

    __slots__ = ("_position", "_program", "_spec", "_view")
    _remedy: ClassVar[str] = (
        "a tile is worked on by counted operations (arithmetic, np.exp, np.where, .max, .sum, @ ...), leaves by sram.store "
        "and is looked at by gpu.peek"
    )

    def __init__(self, spec: Spec, position: int, program: Program, view: tuple[Any, ...] = ()) -> None:
        self._spec = spec
        self._position = position
        self._program = program
        self._view = view

    @property
    def _operand(self) -> int | View:
        """What an operation on this tile is executed on."""
        return View(self._position, self._view) if self._view else self._position

    def _of(self, program: Program) -> int:
        """The position of the tile in the log of a thread block; TypeError if it is another's."""
        if self._program is not program:
            raise TypeError(
                f"{program.kernel}: {self!r} belongs to another thread block: SRAM is lost when its block ends, and blocks "
                "exchange data only through HBM, in a later launch"
            )
        return self._position

    def _on(self, operation: Operation) -> "Tile":
        """What an operation on this tile alone gives."""
        program = self._program
        reads = (self._position,)
        position = program.record(operation, reads, (self._operand,) if self._view else reads)
        return Tile(operation.result, position, program)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, of one head."""
        return self._spec.shape

    @property
    def dtype(self) -> DType:
        """The type of its values: a storage type, `gpu.acc`, or bool."""
        return self._spec.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of one lane's tile or view; 0 for an index tile."""
        return self._spec.nbytes

    @property
    def T(self) -> "Tile":
        """The transposed view: no operation, no bytes.

        >>> sram.load(K[j]).T
        Tile (32, 16) float32 2,048 B
        """
        return Tile(transposed(self._spec), self._position, self._program, (*self._view, None))

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
        return Tile(s.view((rows, columns), covers=s.covers and whole), self._position, self._program, view)

    def astype(self, dtype: Any) -> "Tile":
        """The tile rounded to another storage type. For its own type it is the same tile and costs nothing.

        >>> sram.load(Q[i]).astype("float16")
        Tile (16, 32) float16 1,024 B
        """
        if dtype is self._spec.dtype:
            return self
        kind = storage_type(dtype)
        return self if kind == self._spec.dtype else self._on(operations.cast(self._spec, kind))

    def mean(self, axis: Any = None, *, keepdims: bool = False) -> "Tile":
        """The mean over an axis: `.sum` in `gpu.acc`, divided by the number of elements. `keepdims=True` must be given.

        >>> gpu.peek(sram.arange(slice(0, 4)).mean(axis=1, keepdims=True))
        array([[1.5]], dtype=float32)
        """
        total = self._reduce(np.add, axis, keepdims, "mean")
        return total / (math.prod(self.shape) // math.prod(total.shape))

    def clip(self, min: Any = None, max: Any = None) -> "Tile":
        """`np.minimum(np.maximum(x, min), max)`; None means no bound.

        >>> gpu.peek(sram.arange(slice(0, 4)).clip(1, 2))
        array([[1., 1., 2., 2.]], dtype=float32)
        """
        return np.clip(self, min, max)  # type: ignore[return-value]

    def __repr__(self) -> str:
        size = "index" if self._spec.index else f"{self.nbytes:,} B"
        return f"Tile {self.shape} {self.dtype.name} {size}"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            if len(inputs) == 2 and inputs[0] is self and ufunc in _BINARY:
                return _BINARY[ufunc](self, inputs[1])
            if len(inputs) == 1 and ufunc in _UNARY:
                return _UNARY[ufunc](self)
            return apply(ufunc, *inputs)
        if method == "reduce" and ufunc in REDUCTIONS and set(kwargs) <= {"axis", "keepdims"}:
            return inputs[0]._reduce(ufunc, kwargs.get("axis", 0), kwargs.get("keepdims", False))
        if method != "__call__":
            self._refuse(f"np.{ufunc.__name__}.{method}")
        more = _of_several(ufunc.__name__) if kwargs.keys() == {"out"} and len(inputs) == 2 else ""
        return self._refuse(f"{'=, '.join(kwargs)}= in np.{ufunc.__name__}", more)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("conversion to a NumPy array, alone or in a list,", f"{self._remedy}; {_of_several('maximum')}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> "Tile":
        if function not in FUNCTIONS:
            self._refuse(f"np.{function.__name__}")
        return FUNCTIONS[function](*args, **kwargs)

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


def apply(function: Any, *operands: Operand) -> Tile:
    """An allowed NumPy function, or a product, of tiles of one thread block and Python scalars."""
    operands = tuple(x if type(x) is Tile else scalar(x) for x in operands)
    tiles = [x for x in operands if type(x) is Tile]
    program = tiles[0]._program
    reads = tuple(x._of(program) for x in tiles)
    operation = program.operation(function, *(x._spec if type(x) is Tile else None for x in operands))
    position = program.record(operation, reads, tuple(x._operand if type(x) is Tile else x for x in operands))
    return Tile(operation.result, position, program)  # type: ignore[arg-type]


_UFUNCS = [f for f in (*ELEMENTWISE, np.matmul) if isinstance(f, np.ufunc)]
_UNARY = {f: _unary(f) for f in _UFUNCS if f.nin == 1}
_BINARY = {f: _binary(f) for f in _UFUNCS if f.nin == 2}
