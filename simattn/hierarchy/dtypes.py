"""The types that HBM stores, the type of sums, and rounding between types."""

from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .errors import unknown

DType = np.dtype[Any]
Array = NDArray[Any]

FLOAT64, FLOAT32, BOOL = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.bool_)
STORAGE: dict[str, DType] = {
    np.dtype(t).name: np.dtype(t)
    for t in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
}


def storage_type(dtype: object) -> DType:
    """The storage type with that name or NumPy type; TypeError if HBM cannot store it."""
    if isinstance(dtype, str) and dtype in STORAGE:
        return STORAGE[dtype]
    try:
        found: DType = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(unknown("storage type", dtype, STORAGE)) from None
    if found not in STORAGE.values():
        raise TypeError(unknown("storage type", found.str if found.name in STORAGE else found.name, STORAGE))
    return found


def accumulation_type(dtypes: Iterable[DType]) -> DType:
    """The type of sums and products: float64 for float64 inputs, float32 for everything narrower."""
    return FLOAT64 if FLOAT64 in set(dtypes) else FLOAT32


def wide(dtype: DType) -> DType:
    """The type to compute in. NumPy's own float16 arithmetic is slow, so narrow types are computed in float32 and rounded."""
    return FLOAT64 if dtype == FLOAT64 else FLOAT32


def join(dtypes: Iterable[DType]) -> DType:
    """The type of an elementwise result; TypeError where a GPU would need an explicit cast."""
    types = sorted(set(dtypes), key=lambda t: -t.itemsize)
    if len(types) > 1 and (types[0] == FLOAT64 or types[1].itemsize == types[0].itemsize or types[0] != FLOAT32 or len(types) > 2):
        names = " and ".join(t.name for t in types)
        raise TypeError(f"{names} in one operation: cast one with .astype(...) so that the rounding is visible")
    return types[0]


def limits(dtype: DType) -> Any:
    """`finfo` of any storage type: `.max`, `.eps`."""
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def round_to(x: Array, dtype: DType) -> Array:
    """`x` in another type, to nearest even. Casts to a float8 saturate (CUDA's satfinite): no infinity is ever stored."""
    if x.dtype == dtype:
        return x
    if dtype.itemsize == 1 and dtype != BOOL:
        bound = float(limits(dtype).max)
        x = np.clip(x, -bound, bound)
    return x.astype(dtype)


def scores_type(storage: DType, acc: DType | None = None) -> DType:
    """The type in which HBM stores S and P: the storage type, or float16 if that is a float8, which is too coarse for scores.

    acc: where it is a float8 too, every operation rounds to it, and so does this.
    """
    return np.dtype(np.float16) if storage.itemsize == 1 and storage != acc else storage
