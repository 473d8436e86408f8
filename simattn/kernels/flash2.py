"""FlashAttention-2: scores never leave the chip."""

from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .scores import Scores
from .softmax import lowest, rowmax, rowsum


def flash2(gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, **options: Any) -> tuple[HbmArray, HbmArray]:
    """FlashAttention-2, algorithm 1 (Dao 2023, arXiv 2307.08691): one thread block per block of queries.

    Q (N, d), K (n_k, d), V (n_k, d_v) -> O (N, d_v), lse (N, 1).

    >>> machine.run(sa.flash2, Q, K, V, Br=32, Bc=32).hbm_read
    40960
    """
    scores = Scores(Q, K, V, **options)
    N, d_v = Q.shape[0], V.shape[1]
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    for sram, i in gpu.launch("flash2", blocks(N, Br)):  # thread blocks: parallel on a GPU
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc):
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            S = scores(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + scores.drop(sram, P, i, j).astype(V.dtype) @ Vj
        sram.store(O[i], Oi / np.maximum(l, 1))  # l >= 1, but 0 where every key is masked
        sram.store(L[i], m + np.log(l))
    return O, L
