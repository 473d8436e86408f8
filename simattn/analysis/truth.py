"""The truth: attention and its gradients in float64 by the definition, and how far an output is from it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hierarchy.dtypes import limits, storage_type
from ..hierarchy.philox import uniform

Array = NDArray[Any]
STRIP = 1 << 22  # elements of a strip of scores: memory grows with N, never N²


@dataclass(frozen=True)
class Truth:
    """Exact attention of the stored inputs: O (batch, heads, n_q, d_v), lse (batch, heads, n_q)."""

    O: Array
    lse: Array


@dataclass(frozen=True)
class Gradients:
    """Exact gradients of the stored inputs, of their shapes."""

    dQ: Array
    dK: Array
    dV: Array


@dataclass(frozen=True)
class Error:
    """How far outputs are from the truth. NaN where either has a NaN that the other has not; lse None where there is none."""

    max_abs: float
    rmse: float
    lse: float | None = None


@dataclass(frozen=True)
class _Strip:
    """Rows of one head: the keys that any of them sees, their weights P, and what dropout and the scores' options do to them."""

    head: tuple[int, int]
    kv_head: tuple[int, int]
    rows: Array
    keys: slice
    seen: Array
    P: Array
    lse: Array
    kept: Array  # 0 where dropped, 1/(1 − dropout) where not
    slope: Array  # dS/d(QKᵀ)


def attention_truth(Q: Array, K: Array, V: Array, **options: Any) -> Truth:
    """softmax(QKᵀ·scale)V in float64 (longdouble for float64 inputs), row strip by row strip, masked keys removed.

    Q (batch, heads, n_q, d), K, V may have fewer heads; or all (N, d). options: those of `sa.attention` that belong to the scores. A
    row that sees no key has O = 0 and lse = −∞.
    """
    if Q.ndim == K.ndim == V.ndim == 2:
        one = attention_truth(Q[None, None], K[None, None], V[None, None], **options)
        return Truth(one.O[0, 0], one.lse[0, 0])
    q, k, v = _widened(Q, K, V)
    O, lse = np.zeros((*q.shape[:3], v.shape[3]), q.dtype), np.full(q.shape[:3], -np.inf, q.dtype)
    for s in _strips(q, k, **options):
        values, P = v[s.kv_head][s.keys], s.P * s.kept
        with np.errstate(all="ignore"):
            if np.isfinite(values).all():
                O[s.head][s.rows] = P @ values
            else:  # 0 · ∞: a key that is not seen is not there
                O[s.head][s.rows] = np.stack([p[seen] @ values[seen] for p, seen in zip(P, s.seen, strict=True)])
        lse[s.head][s.rows] = s.lse
    return Truth(O, lse)


def gradients_truth(Q: Array, K: Array, V: Array, dO: Array, **options: Any) -> Gradients:
    """The gradients of sum(O ∘ dO) with respect to Q, K and V in float64; where heads share K and V, the sum over them."""
    q, k, v, do = _widened(Q, K, V, dO)
    dQ, dK, dV = (np.zeros_like(x) for x in (q, k, v))
    for s in _strips(q, k, **options):
        grown = do[s.head][s.rows]
        dV[s.kv_head][s.keys] += (s.P * s.kept).T @ grown
        dP = grown @ v[s.kv_head][s.keys].T * s.kept
        dX = s.P * (dP - (s.P * dP).sum(axis=1, keepdims=True)) * s.slope
        dQ[s.head][s.rows] = dX @ k[s.kv_head][s.keys]
        dK[s.kv_head][s.keys] += dX.T @ q[s.head][s.rows]
    return Gradients(dQ, dK, dV)


def _widened(*arrays: Array) -> list[Array]:
    kind = np.longdouble if arrays[0].dtype == np.float64 else np.float64
    return [np.asarray(x, kind) for x in arrays]


def _strips(
    q: Array, k: Array, *, scale: float | None = None, softcap: float | None = None, bias: Array | None = None,
    alibi: Array | None = None, mask: Array | None = None, causal: bool = False, window: Any = None, offset: int | None = None,
    kv_lens: Any = None, dropout: float = 0.0, seed: int = 0,
) -> Iterator[_Strip]:  # fmt: skip
    """The rows of all heads, by strips of which some row sees some key."""
    batch, heads, n_q, d = q.shape
    kv_heads, n_k = k.shape[1:3]
    kind, scale = q.dtype.type, d**-0.5 if scale is None else scale
    lengths = np.broadcast_to(n_k if kv_lens is None else np.asarray(kv_lens), (batch,))
    left, right = window or (None, None)
    right = min(0, 0 if right is None else right) if causal else right
    rows = max(1, STRIP // n_k)
    for b, h in np.ndindex(batch, heads):
        length, kv_head = int(lengths[b]), (b, h * kv_heads // heads)
        shift = length - n_q if offset is None else offset
        for i in range(0, n_q, rows):
            query = np.arange(i, min(i + rows, n_q))
            start = 0 if left is None else max(int(query[0]) + shift - left, 0)
            stop = length if right is None else min(int(query[-1]) + shift + right + 1, length)
            if start >= stop:
                continue
            key, at = np.arange(start, stop), query[:, None] + shift
            seen = np.ones((len(query), len(key)), bool)
            if left is not None:
                seen &= key >= at - left
            if right is not None:
                seen &= key <= at + right
            if mask is not None:
                seen &= _of(mask, b, h, heads, query, key).astype(bool)
            with np.errstate(all="ignore"):
                S = (q[b, h, query] @ k[kv_head][start:stop].T) * kind(scale)
                slope = np.full_like(S, scale)
                if softcap is not None:
                    t = np.tanh(S / kind(softcap))
                    S, slope = softcap * t, slope * (1 - t * t)
                if bias is not None:
                    S = S + _of(bias, b, h, heads, query, key).astype(kind)
                if alibi is not None:
                    S = S - kind(np.ravel(alibi)[h if np.size(alibi) > 1 else 0]) * np.abs(at - key)
                S = np.where(seen, S, -np.inf)
                m = S.max(axis=1, keepdims=True)
                P = np.exp(S - np.where(m == -np.inf, 0, m))
                l = P.sum(axis=1, keepdims=True)
                lse = (m + np.log(l))[:, 0]
            kept = np.ones_like(P)
            if dropout:
                numbers = uniform(seed, np.array(b * heads + h), query, key)
                kept = np.where(numbers >= np.float32(dropout), kind(1 / (1 - dropout)), kind(0))
            yield _Strip((b, h), kv_head, query, slice(start, stop), seen, P / np.where(l == 0, 1, l), lse, kept, slope)


def _of(x: Array, b: int, h: int, heads: int, query: Array, key: Array) -> Array:
    """Rows and columns of a bias or mask, which may be the same for all batch elements, heads or rows."""
    x = x if x.ndim == 4 else x[None, None]
    part = x[b if x.shape[0] > 1 else 0, h * x.shape[1] // heads]
    return np.asarray(part[query[:, None] if part.shape[0] > 1 else 0, key])


def error(O: Array, lse: Array | None, truth: Truth) -> Error:
    """The error of outputs against the truth; equal infinities and rows of NaN in both differ by nothing."""
    return Error(*_distance(O, truth.O), None if lse is None else _distance(lse, truth.lse)[0])


def gradient_error(outputs: dict[str, Array], truth: Gradients) -> Error:
    """The largest error of dQ, dK and dV, and the RMSE over all of them."""
    distances = [(*_distance(outputs[name], x), x.size) for name, x in vars(truth).items()]
    total = sum(n for *_, n in distances)
    return Error(max(largest for largest, *_ in distances), math.sqrt(sum(r**2 * n for _, r, n in distances) / total))


def _distance(x: Array, y: Array) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        wide = x.astype(y.dtype).reshape(y.shape)
        same = (wide == y) | (np.isnan(wide) & np.isnan(y))
        difference = np.where(same, 0, np.abs(wide - y))
        return float(difference.max()), float(np.sqrt(np.mean(difference**2)))


def tolerance(reference: Error, largest: float, dtype: Any) -> float:
    """What an exact algorithm may err by: twice the naive algorithm in the same type, and 4·eps·max|O|."""
    naive = reference.max_abs if math.isfinite(reference.max_abs) else 0.0  # where naive overflows, it excuses nobody
    return 2 * naive + 4 * float(limits(storage_type(dtype)).eps) * largest


def credible(reference: Error, largest: float, lse: Array, dtype: Any) -> Error:
    """naive's error, as far as rounding explains it: 8·eps·(1 + max|lse|) of the largest magnitude, for a score is rounded relative to
    itself. A naive that errs by more is wrong, and excuses nobody.
    """
    bound = 8 * float(limits(storage_type(dtype)).eps) * (1 + largest_of(lse)) * largest
    return replace(reference, max_abs=min(reference.max_abs, bound))


def gradient_tolerance(reference: Error, truth: Gradients, dtype: Any) -> float:
    """The same for gradients, which pass through five products and a difference that cancels: 8·eps of the largest."""
    return tolerance(reference, 2 * largest_of(*vars(truth).values()), dtype)


def largest_of(*arrays: Array) -> float:
    """The largest finite magnitude."""
    return max(float(np.max(np.abs(x), initial=0, where=np.isfinite(x))) for x in arrays)
