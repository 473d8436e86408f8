"""Longformer: a window around each token, and a few tokens that see all and that all see."""

from typing import Any

import numpy as np

from ...hierarchy.checks import whole
from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray
from ...hierarchy.sram import Sram
from ..scores import Scores
from ..softmax import lowest, rowmax, rowsum
from .given import one_sequence


def longformer(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, one_sided: int = 256, global_tokens: int = 0, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray]:  # fmt: skip
    """Sliding-window and global attention (Beltagy et al. 2020, arXiv 2004.05150, section 3.1), as block-sparse FlashAttention-2.

    Q (N, d), K (N, d), V (N, d_v) -> O (N, d_v), lse (N, 1). Query q sees key k if |q − k| <= one_sided (the paper's 512 in all), or if
    either is among the first global_tokens. The same Q, K, V serve both, where the paper learns others for the global tokens. Blocks
    that no query sees are neither loaded nor computed. options hide more. Exact with one_sided >= N − 1.

    >>> machine.run(sa.longformer, Q, K, V, one_sided=8, global_tokens=1, Br=16, Bc=16).hbm_read
    65536
    """
    scores = Scores(Q, K, V, **options)
    one_sequence("longformer", Q, K)
    N, d_v = Q.shape[0], V.shape[1]
    pattern = Pattern(one_sided, global_tokens, N)
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    for sram, i in gpu.launch("longformer", blocks(N, Br)):
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc):
            if not pattern.shows_any(i, j):
                continue
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            S = pattern.cut(sram, scores(sram, Qi @ Kj.T, i, j), i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + scores.drop(sram, P, i, j).astype(V.dtype) @ Vj
        sram.store(O[i], Oi / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))
    return O, L


class Pattern:
    """Which keys the window and the global tokens show."""

    def __init__(self, one_sided: int, global_tokens: int, N: int) -> None:
        self.w = whole("one_sided", one_sided, 1, None, "a window has keys on either side")
        self.g = whole("global_tokens", global_tokens, 0, N, f"there are {N} tokens")

    def shows_any(self, i: slice, j: slice) -> bool:
        """Whether any of rows i sees any of keys j."""
        near: bool = i.start - (j.stop - 1) <= self.w and j.start - (i.stop - 1) <= self.w
        return near or bool(min(i.start, j.start) < self.g)

    def shows_all(self, i: slice, j: slice) -> bool:
        """Whether every row sees every key: of those that are not global, the first and the last are near enough."""
        q, k = max(i.start, self.g), max(j.start, self.g)
        return bool(q >= i.stop or k >= j.stop or max(i.stop - 1 - k, j.stop - 1 - q) <= self.w)

    def cut(self, sram: Sram, S: Any, i: slice, j: slice) -> Any:
        """−∞ where a row does not see a key."""
        if self.shows_all(i, j):
            return S
        q, k = sram.arange(i).T, sram.arange(j)
        seen = abs(q - k) <= self.w
        if self.g:
            seen = seen | (k < self.g) | (q < self.g)
        return np.where(seen, S, -np.inf)
