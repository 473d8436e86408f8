"""FlashAttention as first published: keys and values outermost, and O, l, m make a round trip through HBM each pass."""

from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .scores import Scores
from .softmax import lowest, rowmax, rowsum


def flash1(gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, **options: Any) -> tuple[HbmArray, HbmArray]:
    """FlashAttention, algorithm 1 (Dao et al. 2022, arXiv 2205.14135): one thread block a head, O kept normalised.

    Q (N, d), K (n_k, d), V (n_k, d_v) -> O (N, d_v), lse (N, 1). O, l and m are not read on a row's first pass.

    >>> machine.run(sa.flash1, Q, K, V, Br=32, Bc=32).hbm_read
    41984
    """
    scores = Scores(Q, K, V, **options)
    N, d_v = Q.shape[0], V.shape[1]
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    l_, m_ = (gpu.empty((N, 1), name=name, dtype=gpu.acc) for name in "lm")
    for sram, _ in gpu.launch("flash1", [0]):
        begun = set()
        for j in blocks(scores.n_k, Bc):
            visitors = scores.visitors(j, Br)
            if not visitors:
                continue
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            for i in visitors:
                Qi = sram.load(Q[i])
                if i.start in begun:
                    Oi, l, m = sram.load(O[i]), sram.load(l_[i]), sram.load(m_[i])
                else:
                    Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
                begun.add(i.start)
                S = scores(sram, Qi @ Kj.T, i, j)
                m_ij = np.maximum(rowmax(S), lowest(gpu.acc))  # finite where the block hides every key of a row
                P = np.exp(S - m_ij)
                m_new = np.maximum(m, m_ij)
                a, b = np.exp(m - m_new) * l, np.exp(m_ij - m_new)
                l_new = a + b * rowsum(P)
                PV = scores.drop(sram, P, i, j).astype(V.dtype) @ Vj
                sram.store(O[i], (a * Oi + b * PV) / np.maximum(l_new, 1))
                sram.store(l_[i], l_new)
                sram.store(m_[i], m_new)
        for i in blocks(N, Br):
            if i.start not in begun:
                sram.store(O[i], sram.zeros((size(i), d_v)))
            sram.store(L[i], sram.load(m_[i]) + np.log(sram.load(l_[i])) if i.start in begun else sram.full((size(i), 1), -np.inf))
    return O, L
