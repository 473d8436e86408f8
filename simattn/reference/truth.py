"""The truth: attention and its gradients in float64 by the definition, and how far an output is from it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array, DType
from ..score_options import ScoreOptions
from .bound import Moments
from .gradient_bound import GradientBound
from .rounding import Units
from .strips import Strip, scale_of, strips, widened


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


def attention_truth(Q: Array, K: Array, V: Array, **options: Any) -> Truth:
    """softmax(QKᵀ·scale)V in float64 (longdouble for float64 inputs), row strip by row strip, masked keys removed.

    Q (batch, heads, n_q, d), K, V may have fewer heads; or all (N, d). options: those of `sa.attention` that belong to the scores. A
    row that sees no key has O = 0 and lse = −∞.

    >>> truth = sa.attention_truth(Q, K, V, causal=True)
    >>> truth.O.dtype.name, truth.O.shape, truth.lse.shape
    ('float64', (64, 32), (64,))
    """
    if Q.ndim == K.ndim == V.ndim == 2:
        one = attention_truth(Q[None, None], K[None, None], V[None, None], **options)
        return Truth(one.O[0, 0], one.lse[0, 0])
    q, k, v = widened(Q, K, V)
    truth = _unseen(q, v)
    for s in strips(q, k, ScoreOptions.of_keywords(options)):
        _attend(truth, s, v)
    return truth


def attention_bounded(Q: Array, K: Array, V: Array, acc: DType, **options: Any) -> tuple[Truth, Moments]:
    """The truth of four-dimensional inputs, and in the same pass what rounding in that accumulation type can do to each element."""
    q, k, v = widened(Q, K, V)
    asked = ScoreOptions.of_keywords(options)
    truth, moments = _unseen(q, v), Moments(Units.of(Q.dtype, acc), q, k, v, asked)
    for s in strips(q, k, asked):
        _attend(truth, s, v)
        moments.add(s, truth.O[s.head][s.rows])
    return truth, moments


def gradients_truth(Q: Array, K: Array, V: Array, dO: Array, **options: Any) -> Gradients:
    """The gradients of sum(O ∘ dO) with respect to Q, K and V in float64; where heads share K and V, the sum over them."""
    return gradients_bounded(Q, K, V, dO, **options)


def gradients_bounded(Q: Array, K: Array, V: Array, dO: Array, *bounds: GradientBound, **options: Any) -> Gradients:
    """The same; each of the bounds has what it bounds added in the same pass."""
    q, k, v, do = widened(Q, K, V, dO)
    asked = ScoreOptions.of_keywords(options)
    scale = scale_of(q.shape[3], asked.scale)
    dQ, dK, dV = (np.zeros_like(x) for x in (q, k, v))
    for s in strips(q, k, asked):
        grown = do[s.head][s.rows]
        dV[s.kv_head][s.keys] += (s.P * s.kept).T @ grown
        dP = grown @ v[s.kv_head][s.keys].T * s.kept
        dX = s.P * (dP - (s.P * dP).sum(axis=1, keepdims=True)) * s.fade * scale
        dQ[s.head][s.rows] = dX @ k[s.kv_head][s.keys]
        dK[s.kv_head][s.keys] += dX.T @ q[s.head][s.rows]
        for bound in bounds:
            bound.add(s, dP, dX)
    return Gradients(dQ, dK, dV)


def _unseen(q: Array, v: Array) -> Truth:
    return Truth(np.zeros((*q.shape[:3], v.shape[3]), q.dtype), np.full(q.shape[:3], -np.inf, q.dtype))


def _attend(truth: Truth, s: Strip, v: Array) -> None:
    """Rows of the truth."""
    values, P = v[s.kv_head][s.keys], s.P * s.kept
    with np.errstate(all="ignore"):
        if np.isfinite(values).all():
            truth.O[s.head][s.rows] = P @ values
        else:  # 0 · ∞: a key that is not seen is not there
            truth.O[s.head][s.rows] = np.stack([p[seen] @ values[seen] for p, seen in zip(P, s.seen, strict=True)])
    truth.lse[s.head][s.rows] = s.lse


def error(O: Array, lse: Array | None, truth: Truth) -> Error:
    """The error of outputs against the truth; equal infinities and rows of NaN in both differ by nothing."""
    return Error(*_distance(O, truth.O), None if lse is None else _distance(lse, truth.lse)[0])


def gradient_error(outputs: dict[str, Array], truth: Gradients) -> Error:
    """The largest error of dQ, dK and dV, and the RMSE over all of them."""
    distances = [(*_distance(outputs[name], x), x.size) for name, x in vars(truth).items()]
    total = sum(n for *_, n in distances)
    return Error(max(largest for largest, *_ in distances), math.sqrt(sum(r**2 * n for _, r, n in distances) / total))


def difference(x: Array, y: Array) -> Array:
    """|x − y| by element in the type of y, 0 where both are the same infinity or both NaN."""
    with np.errstate(all="ignore"):
        wide = x.astype(y.dtype).reshape(y.shape)
        same = (wide == y) | (np.isnan(wide) & np.isnan(y))
        return np.where(same, 0, np.abs(wide - y))


def _distance(x: Array, y: Array) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        found = difference(x, y)
        return float(found.max()), float(np.sqrt(np.mean(found**2)))
