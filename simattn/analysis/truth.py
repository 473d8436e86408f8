"""The truth: attention in float64 by the definition, and how far an output is from it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hierarchy.dtypes import limits, storage_type

Array = NDArray[Any]
STRIP = 1 << 22  # elements of a strip of scores: memory grows with N, never N²


@dataclass(frozen=True)
class Truth:
    """Exact attention of the stored inputs: O (batch, heads, n_q, d_v), lse (batch, heads, n_q)."""

    O: Array
    lse: Array


@dataclass(frozen=True)
class Error:
    """How far outputs are from the truth. NaN where either has a NaN that the other has not."""

    max_abs: float
    rmse: float
    lse: float


def attention_truth(
    Q: Array, K: Array, V: Array, *, scale: float | None = None, causal: bool = False, offset: int | None = None
) -> Truth:
    """softmax(QKᵀ·scale)V in float64 (longdouble for float64 inputs), row strip by row strip, masked keys removed.

    Q (batch, heads, n_q, d); K, V may have fewer heads. A row that sees no key has O = 0 and lse = −∞.
    """
    kind = np.longdouble if Q.dtype == np.float64 else np.float64
    q, k, v = (np.asarray(x, kind) for x in (Q, K, V))
    batch, heads, n_q, d = q.shape
    kv_heads, n_k, d_v = v.shape[1:]
    scale = d**-0.5 if scale is None else scale
    offset = n_k - n_q if offset is None else offset
    O, lse = np.zeros((batch, heads, n_q, d_v), kind), np.full((batch, heads, n_q), -np.inf, kind)
    rows = max(1, STRIP // n_k)
    for b, h in np.ndindex(batch, heads):
        kv = h * kv_heads // heads
        for i in range(0, n_q, rows):
            query = np.arange(i, min(i + rows, n_q))
            keys = min(max(int(query[-1]) + offset + 1, 0), n_k) if causal else n_k
            if keys:
                seen = np.arange(keys) <= query[:, None] + offset if causal else np.True_
                O[b, h, query], lse[b, h, query] = _rows(q[b, h, query], k[b, kv, :keys], v[b, kv, :keys], kind(scale), seen)
    return Truth(O, lse)


def _rows(q: Array, k: Array, v: Array, scale: Any, seen: Any) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        S = np.where(seen, (q @ k.T) * scale, -np.inf)
        m = S.max(axis=1, keepdims=True)
        P = np.exp(S - np.where(m == -np.inf, 0, m))
        l = P.sum(axis=1, keepdims=True)
        finite = np.isfinite(v).all()
        weighted = P @ v if finite else np.stack([p[s] @ v[s] for p, s in zip(P, np.broadcast_to(seen, P.shape), strict=True)])
        return weighted / np.where(l == 0, 1, l), (m + np.log(l))[:, 0]


def error(O: Array, lse: Array, truth: Truth) -> Error:
    """The error of outputs against the truth; equal infinities and rows of NaN in both differ by nothing."""
    return Error(*_distance(O, truth.O), _distance(lse, truth.lse)[0])


def _distance(x: Array, y: Array) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        wide = x.astype(y.dtype)
        same = (wide == y) | (np.isnan(wide) & np.isnan(y))
        difference = np.where(same, 0, np.abs(wide - y))
        return float(difference.max()), float(np.sqrt(np.mean(difference**2)))


def tolerance(reference: Error, truth: Truth, dtype: Any) -> float:
    """What an exact algorithm may err by: twice the naive algorithm in the same type, and 4·eps·max|O|."""
    largest = float(np.max(np.abs(truth.O), initial=0, where=np.isfinite(truth.O)))
    naive = reference.max_abs if math.isfinite(reference.max_abs) else 0.0  # where naive overflows, it excuses nobody
    return 2 * naive + 4 * float(limits(storage_type(dtype)).eps) * largest
