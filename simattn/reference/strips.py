"""The scores of attention by the definition, in strips of rows: memory grows with N, never N²."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array
from ..hierarchy.philox import uniform
from ..score_options import ScoreOptions

STRIP = 1 << 22  # elements of a strip of scores


@dataclass(frozen=True)
class Strip:
    """Rows of one head, (r,), and the keys that any of them sees, (c,): what stands between QKᵀ and the weights, each (r, c).

    X: the products, scaled. S: capped and biased, −∞ where a row does not see the key. fade: dS/dX. added: what bias and ALiBi add, as
    a magnitude. P: softmax(S). kept: 0 where dropped, 1/(1 − dropout) where not. m, l, lse (r,). first, last (r,): the keys from first
    to before last are those that causal, window and length leave to a row.
    """

    head: tuple[int, int]
    kv_head: tuple[int, int]
    rows: Array
    keys: slice
    seen: Array
    X: Array
    S: Array
    fade: Any
    added: Any
    P: Array
    kept: Any
    m: Array
    l: Array
    lse: Array
    first: Array
    last: Array

    @property
    def visible(self) -> Array:
        """Where a row sees a key, by its mask and by a bias that is not −∞."""
        return np.asarray(-np.inf != self.S)

    @property
    def scores(self) -> Array:
        """S, 0 where a row does not see the key."""
        return np.where(self.visible, self.S, 0)


def widened(*arrays: Array) -> list[Array]:
    """Arrays in the type of the truth: longdouble where the first is float64, else float64."""
    kind = np.longdouble if arrays[0].dtype == np.float64 else np.float64
    return [np.asarray(x, kind) for x in arrays]


def strips(q: Array, k: Array, o: ScoreOptions) -> Iterator[Strip]:
    """The rows of all heads of q (batch, heads, n_q, d) on k, by strips of which some row sees some key."""
    batch, heads, n_q, d = q.shape
    kv_heads, n_k = k.shape[1:3]
    kind, scale = q.dtype.type, scale_of(d, o.scale)
    lengths = np.broadcast_to(n_k if o.kv_lens is None else np.asarray(o.kv_lens), (batch,))
    left, right = o.reach
    rows = max(1, STRIP // n_k)
    for b, h in np.ndindex(batch, heads):
        length, kv_head = int(lengths[b]), (b, h * kv_heads // heads)
        shift = length - n_q if o.offset is None else o.offset
        for i in range(0, n_q, rows):
            query = np.arange(i, min(i + rows, n_q))
            at = query + shift
            first = np.clip(np.zeros_like(at) if left is None else at - left, 0, length)
            last = np.clip(np.full_like(at, length) if right is None else at + right + 1, first, length)
            start, stop = int(first.min()), int(last.max())
            if start >= stop or not (first < last).any():
                continue
            key = np.arange(start, stop)
            seen = (key >= first[:, None]) & (key < last[:, None])
            if o.mask is not None:
                seen &= _of(o.mask, b, h, heads, query, key).astype(bool)
            with np.errstate(all="ignore"):
                S = X = (q[b, h, query] @ k[kv_head][start:stop].T) * kind(scale)
                fade, added = 1.0, 0.0
                if o.softcap is not None:
                    t = np.tanh(X / kind(o.softcap))
                    S, fade = o.softcap * t, 1 - t * t
                if o.bias is not None:
                    term = _of(o.bias, b, h, heads, query, key).astype(kind)
                    S, added = S + term, np.abs(term)
                if o.alibi is not None:
                    term = kind(np.ravel(o.alibi)[h if np.size(o.alibi) > 1 else 0]) * np.abs(at[:, None] - key)
                    S, added = S - term, added + np.abs(term)
                S = np.where(seen, S, -np.inf)
                m = S.max(axis=1, keepdims=True)
                P = np.exp(S - np.where(m == -np.inf, 0, m))
                l = P.sum(axis=1, keepdims=True)
                lse = (m + np.log(l))[:, 0]
            kept: Any = 1.0
            if o.dropout:
                numbers = uniform(o.seed, np.array(b * heads + h), query, key)
                kept = np.where(numbers >= np.float32(o.dropout), kind(1 / (1 - o.dropout)), kind(0))
            yield Strip(
                (b, h), kv_head, query, slice(start, stop), seen, X, S, fade, added, P / np.where(l == 0, 1, l), kept, m[:, 0],
                l[:, 0], lse, first, last,
            )  # fmt: skip


def scale_of(d: int, scale: float | None) -> float:
    """1/√d unless given."""
    return float(d**-0.5 if scale is None else scale)


def _of(x: Array, b: int, h: int, heads: int, query: Array, key: Array) -> Array:
    """Rows and columns of a bias or mask, which may be the same for all batch elements, heads or rows."""
    x = x if x.ndim == 4 else x[None, None]
    part = x[b if x.shape[0] > 1 else 0, h * x.shape[1] // heads]
    return np.asarray(part[query[:, None] if part.shape[0] > 1 else 0, key])
