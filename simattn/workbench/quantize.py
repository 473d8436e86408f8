"""Preparation for attention in FP8: factors that scale blocks into the range of the type, and a rotation that spreads outliers."""

from typing import Any

import ml_dtypes
import numpy as np

from ..hierarchy.checks import array, whole
from ..hierarchy.dtypes import Array, limits, round_to

FP8 = np.dtype(ml_dtypes.float8_e4m3fn)
FACTORS = np.finfo(np.float32)


def quantize(x: Array, rows: int) -> tuple[Array, Array]:
    """x (..., N, d) -> float8_e4m3fn (..., N, d), and what each block of `rows` rows was divided by, float32 (..., ⌈N/rows⌉, 1).

    The largest magnitude of a block becomes 448, the type's largest; rows = N is one factor a head. A block of zeros, as padding
    makes them, has the factor 1. Block quantisation as in FlashAttention-3 (Shah et al. 2024, arXiv 2407.08608, section 3.3).
    ValueError for a block whose factor is no normal float32.

    >>> q8, factors = sa.quantize(Q, 16)
    >>> q8.dtype.name, factors.shape, float(np.abs(q8.astype(np.float32)).max())
    ('float8_e4m3fn', (4, 1), 448.0)
    """
    x, rows = array("x", x, shape="(..., N, d)"), whole("rows", rows, 1, None, "a block has at least 1 row")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"x has shape {x.shape}: give (..., N, d), no length 0")
    if not np.isfinite(x).all():
        raise ValueError("x holds values that are not finite: quantisation scales by the largest, which must be finite")
    largest = np.abs(x.astype(np.float64)).max(axis=-1, keepdims=True)
    exact = np.maximum.reduceat(largest, range(0, x.shape[-2], rows), axis=-2) / float(limits(FP8).max)
    exact = np.where(exact == 0, 1, exact)
    wrong = np.argwhere((exact < FACTORS.tiny) | (exact > FACTORS.max))
    if wrong.size:
        *head, block, _ = map(int, wrong[0])
        value = float(exact[tuple(wrong[0])]) * float(limits(FP8).max)
        where = f"block {block}" + (f" of head {head}" if head else "") + f", from row {block * rows} on"
        raise ValueError(
            f"x has a block whose largest value is {value:.3g}: {where}; its factor is not a normal float32, so scale x first"
        )
    factors = exact.astype(np.float32)
    return round_to(x / np.repeat(factors, rows, axis=-2)[..., : x.shape[-2], :].astype(np.float64), FP8), factors


def hadamard(Q: Array, K: Array, rng: Any = None) -> tuple[Array, Array]:
    """Q and K (..., N, d), each times one orthogonal matrix, in float64: random signs, then Hadamard/√d. QKᵀ stays; outliers spread
    over d.

    Incoherent processing as in FlashAttention-3 (Shah et al. 2024, arXiv 2407.08608, section 3.3). rng: as NumPy's default_rng
    takes it. ValueError unless d is a power of two.

    >>> Q_turned, K_turned = sa.hadamard(Q, K, rng=0)
    >>> np.allclose(Q_turned @ K_turned.T, Q @ K.T, atol=1e-4)
    True
    """
    Q, K = (array(name, x, shape="(..., N, d)") for name, x in (("Q", Q), ("K", K)))
    if Q.ndim < 2 or K.ndim < 2 or Q.shape[-1] != K.shape[-1]:
        raise ValueError(f"Q {Q.shape}, K {K.shape}: give (..., N, d), of one d")
    d = Q.shape[-1]
    if d < 1 or d & (d - 1):
        raise ValueError(f"d={d}: a Hadamard matrix made by doubling has a power of two of rows")
    H = np.ones((1, 1))
    while len(H) < d:
        H = np.block([[H, H], [H, -H]])
    M = np.random.default_rng(rng).choice([-1.0, 1.0], (d, 1)) * H / np.sqrt(d)
    return Q @ M, K @ M
