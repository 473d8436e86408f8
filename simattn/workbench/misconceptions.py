"""Attention with one fault, as people write it: an output that equals one of these says what is wrong with its source."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array


def named_fault(found: Array, Q: Array, K: Array, V: Array, blocks: dict[str, int], given: dict[str, Any]) -> str | None:
    """The fault whose output this is; None where it is none of those that are known. Q, K, V: (N, d), float64."""
    if given.keys() - {"causal", "scale"}:
        return None
    causal, scale = bool(given.get("causal")), given.get("scale") or Q.shape[1] ** -0.5
    visible = _visible(Q, K, K.shape[0] - Q.shape[0]) if causal else None
    with np.errstate(all="ignore"):
        right = _attend(Q @ K.T * scale, V, visible)
        for said, make in _faults(Q, K, V, blocks, scale, visible):
            wrong = make()
            differs = not np.allclose(wrong, right, rtol=1e-2, atol=1e-2, equal_nan=True)
            if differs and np.allclose(found, wrong, rtol=1e-2, atol=1e-2, equal_nan=True):
                return said
    return None


def _faults(
    Q: Array, K: Array, V: Array, blocks: dict[str, int], scale: float, visible: Array | None
) -> Iterator[tuple[str, Callable[[], Array]]]:  # fmt: skip
    S, Br, Bc = Q @ K.T, blocks.get("Br", 16), blocks.get("Bc", 16)
    if visible is not None:
        yield "the causal mask is missing: each query sees every key", lambda: _attend(S * scale, V, None)
        within = "the causal mask is missing within the blocks that the diagonal cuts; only whole blocks are skipped"
        yield within, lambda: _attend(S * scale, V, _visible_blocks(Q, K, Br, Bc))
        if K.shape[0] != Q.shape[0]:
            upper = "query i sees the keys up to i, but the last query should see the last key: up to i + n_k − n_q"
            yield upper, lambda: _attend(S * scale, V, _visible(Q, K, 0))
        strict = "no query sees its own key: the mask is i ≥ j, with the diagonal"
        yield strict, lambda: _attend(S * scale, V, _visible(Q, K, K.shape[0] - Q.shape[0] - 1))
    yield "the scores are not divided by √d", lambda: _attend(S, V, visible)
    yield "the scores are divided by d instead of √d", lambda: _attend(S / Q.shape[1], V, visible)
    yield "the output is not divided by the row sum l", lambda: _attend(S * scale, V, visible, divide=False)
    for said, what in (
        ("O is not rescaled when the maximum m grows: O = a·O + PV with a = exp(m_old − m)", {"O": 0}),
        ("l is not rescaled when the maximum m grows: l = a·l + rowsum(P) with a = exp(m_old − m)", {"l": 0}),
        ("neither O nor l is rescaled when the maximum m grows: both are multiplied by a = exp(m_old − m)", {"O": 0, "l": 0}),
        ("O is divided by a = exp(m_old − m) where it must be multiplied", {"O": -1}),
        ("the rescale has the wrong sign: a = exp(m_old − m), not exp(m − m_old)", {"O": -1, "l": -1}),
    ):
        yield said, lambda powers=what: _online(S * scale, V, Bc, visible, **powers)  # type: ignore[misc]
    yield "each row is the last block of keys alone: the running O, m and l are lost", lambda: _last(S * scale, V, Bc, visible)


def _visible(Q: Array, K: Array, offset: int) -> Array:
    return np.asarray(np.arange(Q.shape[0])[:, None] + offset >= np.arange(K.shape[0]))


def _visible_blocks(Q: Array, K: Array, Br: int, Bc: int) -> Array:
    """What is left where blocks of which no query sees a key are skipped, and no other is masked."""
    last = np.minimum((np.arange(Q.shape[0]) // Br + 1) * Br, Q.shape[0]) - 1
    first = np.arange(K.shape[0]) // Bc * Bc
    return np.asarray(last[:, None] + K.shape[0] - Q.shape[0] >= first)


def _attend(S: Array, V: Array, visible: Array | None, *, divide: bool = True) -> Array:
    S = S if visible is None else np.where(visible, S, -np.inf)
    m = S.max(axis=1, keepdims=True)
    P = np.exp(S - np.where(np.isneginf(m), 0, m))
    l = P.sum(axis=1, keepdims=True)
    return np.asarray(P @ V / np.where(l == 0, 1, l) if divide else P @ V)


def _online(S: Array, V: Array, Bc: int, visible: Array | None, O: int = 1, l: int = 1) -> Array:
    """The online softmax in which O and l are multiplied by that power of a. The first block has nothing to rescale."""
    S = S if visible is None else np.where(visible, S, -np.inf)
    m, total, out = np.full((S.shape[0], 1), -np.inf), np.zeros((S.shape[0], 1)), np.zeros((S.shape[0], V.shape[1]))
    for j in range(0, S.shape[1], Bc):
        m_new = np.maximum(m, S[:, j : j + Bc].max(axis=1, keepdims=True))
        P = np.exp(S[:, j : j + Bc] - np.where(np.isneginf(m_new), 0, m_new))
        a = np.where(np.isneginf(m), 1, np.exp(m - m_new))
        total, out, m = a**l * total + P.sum(axis=1, keepdims=True), a**O * out + P @ V[j : j + Bc], m_new
    return np.asarray(out / np.where(total == 0, 1, total))


def _last(S: Array, V: Array, Bc: int, visible: Array | None) -> Array:
    start = (S.shape[1] - 1) // Bc * Bc
    return _attend(S[:, start:], V[start:], None if visible is None else visible[:, start:])
