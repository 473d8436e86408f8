"""Attention with the online softmax: the row sums are ready when the scores are, so P never goes to HBM."""

from typing import Any

import numpy as np

from ..hierarchy.dtypes import scores_type
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .scores import Scores
from .softmax import lowest, rowmax, rowsum


def online_softmax(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray]:
    """Algorithm 3 of Milakov and Gimelshein (2018, arXiv 1805.02867) inside attention: max and sum in one pass over the scores.

    Q (N, d), K (n_k, d), V (n_k, d_v) -> O (N, d_v), lse (N, 1). N² elements cross HBM twice: S is written and read.

    >>> machine.run(sa.online_softmax, Q, K, V, Br=32, Bc=32).hbm_read
    57856
    """
    scores = Scores(Q, K, V, **options)
    N, n_k, d_v = Q.shape[0], K.shape[0], V.shape[1]
    S = gpu.empty((N, n_k), name="S", dtype=scores_type(Q.dtype, gpu.acc))
    M, D = (gpu.empty((N, 1), name=name, dtype=gpu.acc) for name in "ml")
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)

    for sram, i in gpu.launch("scores", blocks(N, Br)):
        Qi = sram.load(Q[i])
        l, m = sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc):
            Sij = scores(sram, Qi @ sram.load(K[j]).T, i, j).astype(S.dtype)  # m and l are of the S that will be read
            sram.store(S[i, j], Sij)
            m, m_old = np.maximum(m, rowmax(Sij)), m
            l = np.exp(m_old - m) * l + rowsum(np.exp(Sij - m))
        sram.store(M[i], m)
        sram.store(D[i], np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))

    for sram, i in gpu.launch("output", blocks(N, Br)):
        m, l, Oi = sram.load(M[i]), sram.load(D[i]), sram.zeros((size(i), d_v))
        for j in scores.visits(i, Bc):
            P = np.exp(sram.load(S[i, j]) - m) / l
            Oi = Oi + scores.drop(sram, P, i, j).astype(V.dtype) @ sram.load(V[j])
        sram.store(O[i], Oi)
    return O, L
