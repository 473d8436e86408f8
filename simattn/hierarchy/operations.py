"""The closed set of counted operations: for each, its result, its costs and what the working-set rule needs to know.

An `Operation` holds no values and no identities, so equal operations are one object and a thread block's log is a short tuple.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from .counts import COUNTS, Counts
from .dtypes import BOOL, FLOAT64, Array, DType, join, round_to, wide
from .shapes import broadcast, turning

Scalar = float | int | bool

TRANSCENDENTAL = frozenset({np.exp, np.exp2, np.log, np.tanh})
ARITHMETIC = frozenset({
    np.add, np.subtract, np.multiply, np.divide, np.floor_divide, np.remainder, np.power, np.negative, np.positive,
    np.absolute, np.sign, np.square, np.sqrt, np.reciprocal, np.floor, np.ceil, np.rint, np.maximum, np.minimum,
})  # fmt: skip
COMPARISONS = frozenset({
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal,
    np.isnan, np.isinf, np.isfinite,
})  # fmt: skip
LOGICAL = frozenset({np.logical_and, np.logical_or, np.logical_xor, np.logical_not})
BITWISE = {np.bitwise_and: np.logical_and, np.bitwise_or: np.logical_or, np.bitwise_xor: np.logical_xor,
           np.invert: np.logical_not}  # fmt: skip
ELEMENTWISE = TRANSCENDENTAL | ARITHMETIC | COMPARISONS | LOGICAL | BITWISE.keys() | {np.where}
ALLOWED = ", ".join(sorted(f.__name__ for f in ELEMENTWISE))
REDUCTIONS = {np.add: "sum", np.maximum: "max", np.minimum: "min"}


@dataclass(frozen=True, eq=False, slots=True)
class Spec:
    """What is known about a tile without its values. Made by `spec`, which returns the same object for equal arguments.

    An index tile occupies nothing and moves nothing: hardware computes it in registers from the thread's number.
    A view has its own `nbytes`, and `held` bytes stay live for it; it `covers` its tile if no element is left out.
    """

    shape: tuple[int, int]
    dtype: DType
    index: bool
    held: int
    covers: bool
    turned: bool
    nbytes: int = field(init=False)
    elements: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", self.shape[0] * self.shape[1])
        object.__setattr__(self, "nbytes", 0 if self.index else self.elements * self.dtype.itemsize)

    def view(self, shape: tuple[int, int], *, covers: bool) -> "Spec":
        """The spec of a slice."""
        return _spec(shape, self.dtype, self.index, self.held, covers, self.turned)

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype.name}" + (" index" if self.index else "")


_spec = cache(Spec)


@cache
def transposed(s: Spec) -> Spec:
    """The spec of the transposed view."""
    return _spec(s.shape[::-1], s.dtype, s.index, s.held, s.covers, not s.turned)


def spec(shape: tuple[int, int], dtype: DType, index: bool = False) -> Spec:
    """The spec of a new tile."""
    return _spec(shape, dtype, index, 0 if index else shape[0] * shape[1] * dtype.itemsize, True, False)


@dataclass(frozen=True, eq=False, slots=True)
class Operation:
    """An operation on tiles of given specs. `takes`: the operands whose bytes the result may take over if they die there."""

    name: str
    result: Spec | None
    counts: Counts
    compute: Callable[..., Array | None]
    operands: tuple[Spec, ...] = ()
    tensor: str | None = None
    takes: tuple[int, ...] = ()
    is_matmul: bool = False
    is_addition: bool = False  # of two whole tiles of one shape and type: where a product may accumulate
    in_place: bool = False  # whether NumPy can write the result in the memory of an operand whose bytes it takes over
    parameters: tuple[Any, ...] = ()  # what tells it from others of its name, beside its operands: an axis, a type
    needs: int = field(init=False)  # bytes live for this operation alone, were its operands distinct tiles
    costs: tuple[tuple[str, int], ...] = field(init=False)  # the counts that are not 0

    def __post_init__(self) -> None:
        operands = sum(
            s.held for s in self.operands[: 1 if self.is_addition else None]
        )  # a product accumulates: no bytes of its own
        object.__setattr__(self, "costs", tuple((name, n) for name in COUNTS if (n := getattr(self.counts, name))))
        object.__setattr__(self, "needs", operands + (self.result.held if self.result and not self.takes else 0))

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.tensor, str(self.result or "".join(map(str, self.operands))))))


@cache
def elementwise(function: Any, operands: tuple[Spec | None, ...], acc: DType) -> Operation:
    """An allowed ufunc or `np.where` over tiles that broadcast; None stands for a Python scalar, which does not determine the
    type."""
    if function not in ELEMENTWISE:
        raise TypeError(f"np.{function.__name__} is not counted, so it is not allowed on tiles; allowed are {ALLOWED}")
    if function is np.power and operands[1] is not None:
        raise TypeError(
            "a power takes a scalar exponent, as x ** 2; write an exponential with np.exp or np.exp2, which are counted as such"
        )
    function = BITWISE.get(function, function)
    tiles = tuple(s for s in operands if s is not None)
    valued = operands[1:] if function is np.where else operands
    for s in operands if function in LOGICAL else operands[:1] if function is np.where else ():
        if s is None or s.dtype != BOOL:
            raise TypeError(f"np.{function.__name__} takes boolean tiles, not {s or 'a scalar'}: compare first")
    values = [s for s in valued if s is not None and s.dtype != BOOL]
    number = join(s.dtype for s in [v for v in values if not v.index] or values) if values else acc
    all_bool = bool(valued) and all(s is not None and s.dtype == BOOL for s in valued)
    boolean = function in COMPARISONS or function in LOGICAL or (function is np.where and all_bool)
    result = spec(_broadcast(function, tiles), BOOL if boolean else number, all(s.index for s in tiles))
    wide_enough = number == wide(number) and all(s.dtype == number for s in values)
    plain = boolean or (wide_enough and bool(values))  # NumPy makes float64 of booleans and a scalar
    takes = tuple(k for k, s in enumerate(tiles) if s.covers and 0 < result.held <= s.held)
    same = {(s.shape, s.dtype, s.covers, s.turned, s.index) for s in tiles}
    return Operation(
        name=function.__name__,
        result=result,
        counts=_vector(tiles, result, result.elements, "exps" if function in TRANSCENDENTAL else "vector_flops"),
        compute=function if plain else _rounded(function, number, result.dtype),
        operands=tiles,
        takes=takes,
        in_place=plain and all(tiles[k].dtype == result.dtype and not tiles[k].turned for k in takes) and function is not np.where,
        is_addition=function is np.add and len(tiles) == 2 and same == {(result.shape, result.dtype, True, False, False)},
    )


def _broadcast(function: Any, tiles: tuple[Spec, ...]) -> tuple[int, int]:
    shapes = [s.shape for s in tiles]
    if not broadcast(shapes):
        advice = turning(tiles, broadcast)
        raise ValueError(f"np.{function.__name__} of tiles {' and '.join(map(str, shapes))}: the shapes do not broadcast{advice}")
    rows, columns = (max(lengths) for lengths in zip(*shapes, strict=True))
    return rows, columns


def _vector(tiles: tuple[Spec, ...], result: Spec, work: int, field: str = "vector_flops") -> Counts:
    return Counts(sram_read=sum(s.nbytes for s in tiles), sram_write=result.nbytes, **{field: work})


def _rounded(function: Any, number: DType, result: DType) -> Callable[..., Array]:
    """`function` on values of type `number`, computed wide, then rounded. A scalar is rounded first, as NumPy does (NEP 50)."""
    first = 1 if function is np.where else 0

    def widen(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return x.astype(wide(number), copy=False)
        return round_to(np.asarray(x, FLOAT64), number).astype(wide(number))

    def compute(*operands: Any) -> Array:
        return round_to(function(*operands[:first], *map(widen, operands[first:])), result)

    return compute


@cache
def reduction(function: Any, tile: Spec, axis: int | tuple[int, int], acc: DType) -> Operation:
    """Sum, max or min over one axis or both, kept as a length of 1; accumulated in `acc` and of that type."""
    rows, columns = tile.shape
    axes = axis if isinstance(axis, tuple) else (axis,)
    result = spec((1 if -2 in axes else rows, 1 if -1 in axes else columns), acc, tile.index)

    reduce, number = partial(function.reduce, axis=axis, keepdims=True), wide(acc)

    def compute(x: Array) -> Array:
        return round_to(reduce(x.astype(number, copy=False)), acc)

    counts = _vector((tile,), result, tile.elements)
    reading = reduce if tile.dtype == acc == number else compute
    return Operation(REDUCTIONS[function], result, counts, reading, (tile,), parameters=axes)


@cache
def concatenation(tiles: tuple[Spec, ...], axis: Any) -> Operation:
    """Tiles of one type, concatenated: a copy that reads and writes bytes but computes nothing. Index tiles do not determine the
    type."""
    shapes = [s.shape for s in tiles]
    types = {s.dtype for s in [t for t in tiles if not t.index] or tiles}
    if len(types) > 1 or BOOL in {s.dtype for s in tiles} - types:
        names = " and ".join(dict.fromkeys(s.dtype.name for s in tiles))
        raise TypeError(f"concatenate of {names}: it takes tiles of one type; cast with .astype(...)")
    other = -3 - axis  # the axis that does not grow
    if len({shape[other] for shape in shapes}) > 1:
        grow, equal = ("rows", "columns") if axis == -2 else ("columns", "rows")
        advice = turning(tiles, lambda shapes: len({shape[other] for shape in shapes}) == 1)
        raise ValueError(f"concatenate of {grow} of tiles {' and '.join(map(str, shapes))}: their {equal} must be equal{advice}")
    length, number = sum(shape[axis] for shape in shapes), types.pop()
    shape = (length, shapes[0][1]) if axis == -2 else (shapes[0][0], length)
    result = spec(shape, number, all(s.index for s in tiles))

    def compute(*parts: Array) -> Array:
        lanes = np.broadcast_shapes(*(x.shape[:-2] for x in parts))
        return np.concatenate([np.broadcast_to(round_to(x, number), (*lanes, *x.shape[-2:])) for x in parts], axis=axis)

    return Operation("concatenate", result, _vector(tiles, result, 0), compute, tiles, parameters=(axis,))


@cache
def matmul(a: Spec, b: Spec, acc: DType) -> Operation:
    """The product of two tiles of one storage type, of their rounded values, in `acc`."""
    if a.index or b.index or BOOL in (a.dtype, b.dtype):
        raise TypeError(f"matmul of {a} and {b}: it takes tiles of numbers; convert a boolean tile with .astype(...)")
    if a.dtype != b.dtype:
        raise TypeError(f"matmul of {a.dtype.name} and {b.dtype.name}: it takes two tiles of one type; write P.astype(V.dtype) @ V")
    if a.shape[1] != b.shape[0]:
        advice = "; `.T` of the second would fit" if a.shape[1] == b.shape[1] else ""
        raise ValueError(f"matmul of tiles {a.shape} and {b.shape}: {a.shape[1]} columns do not match {b.shape[0]} rows{advice}")
    (m, k), n = a.shape, b.shape[1]
    result = spec((m, n), acc)

    number = wide(acc)

    def compute(x: Array, y: Array) -> Array:
        return round_to(np.asarray(np.matmul(x.astype(number, copy=False), y.astype(number, copy=False))), acc)

    counts = Counts(sram_read=a.nbytes + b.nbytes, sram_write=result.nbytes, matmul_flops=2 * m * n * k)
    return Operation("matmul", result, counts, np.matmul if a.dtype == acc == number else compute, (a, b), is_matmul=True)


@cache
def cast(tile: Spec, dtype: DType) -> Operation:
    """Rounding to another type: one vector operation for each element."""
    result = spec(tile.shape, dtype, tile.index)
    takes = (0,) if tile.covers and 0 < result.held <= tile.held else ()
    counts = _vector((tile,), result, result.elements)
    return Operation("astype", result, counts, lambda x: round_to(x, dtype), (tile,), takes=takes, parameters=(dtype.name,))
