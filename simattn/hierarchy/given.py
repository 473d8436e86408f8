"""The inputs of `machine.run` besides plain arrays: values that differ from lane to lane, and pools of pages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import kind, shown
from .dtypes import BOOL, Array, DType, storage_type
from .errors import unknown

AXES = ("batch", "head")
INTEGER = np.dtype(np.int32)  # in which HBM stores page tables and block masks


@dataclass(frozen=True)
class ArraySpec:
    """The shape and type of an array without its values, which is all that counting needs."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def spec(shape: Any, dtype: Any = "float32") -> ArraySpec:
    """An array for `machine.count` and `machine.record`: a shape (N, d) or (batch, heads, N, d), and a storage type or bool,
    without values.

    >>> sa.spec((4, 16, 1024, 64), "float16").nbytes
    8388608
    """
    lengths = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    if not lengths or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in lengths):
        raise ValueError(f"spec of shape {shape!r}: give whole numbers from 1 on, as (batch, heads, N, d)")
    return ArraySpec(tuple(map(int, lengths)), BOOL if dtype in (bool, "bool", BOOL) else storage_type(dtype))


@dataclass(frozen=True, eq=False)
class Each:
    """A value for each batch element or head. The algorithm runs once for each distinct value, and sees that value."""

    values: tuple[Any, ...]
    axis: str

    def key(self, k: int) -> Any:
        """Equal for equal values."""
        x = self.values[k]
        return (x.shape, x.tobytes()) if isinstance(x, np.ndarray) else (type(x), x)


def each(values: Sequence[Any] | Array, axis: str = "batch") -> Each:
    """A value for each batch element, or each head: lengths, page tables, block masks. `sa.each([100, 80], axis="batch")`.

    The algorithm receives numbers as they are; arrays of integers are in HBM, and `sram.load_int` reads them. ValueError for an
    unknown axis.

    >>> x = np.ones((2, 1, 64, 32), np.float32)
    >>> machine.run(sa.flash2, x, x, x, kv_lens=sa.each([64, 32]), Br=32, Bc=32).tensors["K"].hbm_read
    24576
    """
    if axis not in AXES:
        raise ValueError(unknown("axis", axis, AXES))
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise TypeError(f"each({shown(values)}): give a list or an array with a value for each {axis}, not {kind(values)}")
    taken = tuple(table("each", np.asarray(x)) if np.ndim(x) else x.item() if isinstance(x, np.generic) else x for x in values)
    if not taken:
        raise ValueError("each was given no values; give one for each batch element or head")
    return Each(taken, axis)


@dataclass(frozen=True, eq=False)
class Pool:
    """Pages of keys or values, shared by the whole batch: (pages, page, kv_heads, d)."""

    values: Array | ArraySpec


def pool(x: Any) -> Pool:
    """A pool of pages (pages, page, kv_heads, d), as vLLM lays them out; the algorithm sees (pages, page, d) of its KV head.

    >>> pages = np.zeros((8, 16, 2, 64), np.float16)
    >>> sa.pool(pages).values.shape
    (8, 16, 2, 64)
    """
    if not isinstance(x, np.ndarray | ArraySpec) or x.ndim != 4:
        raise ValueError(f"a pool of {shown(x)}: give an array (pages, page, kv_heads, d)")
    return Pool(x)


@dataclass(frozen=True, eq=False)
class Laid:
    """An array, and the order of its axes in memory, the fastest last."""

    values: Array | ArraySpec
    order: str


def layout(x: Any, order: str) -> Laid:
    """How an array lies in HBM, where not row after row: the order of its axes in memory, the fastest last.

    x: an array or a spec, (N, d) or (batch, heads, N, d). order: "nd" or "dn" for the first; for the second any order of "bhnd", as
    "bnhd" for (batch, N, heads, d), in which frameworks keep Q, K and V. The algorithm sees the same array, and moves the same bytes; the
    sectors of 32 B that these lie in are others.

    >>> run = machine.run(sa.row_sum, sa.layout(Q, "dn"), Br=1, Bc=32)
    >>> run.coalescing["X"]
    0.125
    """
    if not isinstance(x, np.ndarray | ArraySpec) or x.ndim not in (2, 4):
        raise ValueError(f"layout of {shown(x)}: give an array or a spec, (N, d) or (batch, heads, N, d)")
    check_order(order, "nd" if x.ndim == 2 else "bhnd")
    return Laid(x, order)


def check_order(order: Any, axes: str) -> None:
    """ValueError for what is no order of these axes."""
    if not isinstance(order, str) or sorted(order) != sorted(axes):
        raise ValueError(
            f"layout {order!r}: give each of the letters {', '.join(axes)} once; the axis that is fastest in memory comes last"
        )


Given = ArraySpec | Pool | Each | Laid | Array


def table(name: str, x: Array) -> Array:
    """Integers in the form that HBM stores; TypeError or ValueError for anything else."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: give {name}.filled(...)")
    if x.dtype.kind not in "iub" or not x.size:
        raise TypeError(f"{name}: {x.dtype} of shape {x.shape}; a table in HBM holds integers, at least one")
    limit = np.iinfo(INTEGER)
    if int(x.min()) < limit.min or int(x.max()) > limit.max:
        raise ValueError(f"{name}: {int(x.min())} to {int(x.max())}; a table in HBM holds 32-bit integers")
    return np.array(x, INTEGER)
