"""Blocks alone: each block of tokens attends only within itself."""

from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray
from ..scores import Scores
from ..softmax import lowest, rowmax, rowsum
from .given import one_sequence, whole_blocks


def block_diagonal(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, block: int, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray]:
    """softmax(QᵦKᵦᵀ/√d)Vᵦ for each block b of `block` tokens: what FlashAttention's blocks are often mistaken for.

    Q (N, d), K (N, d), V (N, d_v) -> O (N, d_v), lse (N, 1). O(N·block·d): this does lower computation, by leaving out every pair of
    tokens in different blocks. Each block is FlashAttention-2 in tiles of Br × Bc. Exact with block = N.

    >>> machine.run(sa.block_diagonal, Q, K, V, block=16, Br=16, Bc=16).hbm_read
    24576
    """
    scores = Scores(Q, K, V, **options)
    one_sequence("block_diagonal", Q, K)
    N, d_v = Q.shape[0], V.shape[1]
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    tiles = [(b, i) for b in whole_blocks(block, N) for i in blocks(b.stop, Br, b.start)]
    for sram, (b, i) in gpu.launch("block_diagonal", tiles):
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc, within=b):  # flash2 visits all keys
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            S = scores(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + scores.drop(sram, P, i, j).astype(V.dtype) @ Vj
        sram.store(O[i], Oi / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))
    return O, L
