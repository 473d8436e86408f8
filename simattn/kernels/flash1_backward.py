"""FlashAttention's backward pass as first published: keys outermost, and dQ makes a round trip through HBM each pass."""

from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .gradient import Gradient, check_lse
from .scores import Scores
from .softmax import lowest, rowsum


def flash1_backward(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, O: HbmArray, lse: HbmArray, dO: HbmArray, *, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray, HbmArray]:
    """FlashAttention, algorithm 4 (Dao et al. 2022, arXiv 2205.14135): one thread block a head, P recomputed; lse for l and m.

    Q (N, d), K (n_k, d), V (n_k, d_v), O and dO (N, d_v), lse (N, 1) -> dQ, dK, dV. D = rowsum(dO ∘ O) is computed on a row's first
    pass and kept in HBM, so O is read once; dQ is not read on that pass.

    >>> run = machine.run(sa.flash2, Q, K, V)
    >>> machine.run(sa.flash1_backward, Q, K, V, run.output, run.outputs["lse"], V, Br=32, Bc=32).hbm_read
    66304
    """
    scores = Scores(Q, K, V, **options)
    check_lse(lse, Q)
    (N, d), d_v = Q.shape, V.shape[1]
    D, dQ = gpu.empty((N, 1), name="D", dtype=gpu.acc), gpu.empty((N, d), name="dQ")
    dK, dV = (Gradient(gpu, x, name, Bc, scores.n_k) for x, name in ((K, "dK"), (V, "dV")))
    for sram, _ in gpu.launch("flash1_backward", [0]):
        begun = set()
        for j in blocks(scores.n_k, Bc):
            visitors = scores.visitors(j, Br)
            if visitors:
                Kj, Vj = sram.load(K[j]), sram.load(V[j])
            dKj, dVj = sram.zeros((size(j), d)), sram.zeros((size(j), d_v))
            for i in visitors:
                Qi, dOi = sram.load(Q[i]), sram.load(dO[i])
                if i.start in begun:
                    Di, dQi = sram.load(D[i]), sram.load(dQ[i])
                else:
                    Di, dQi = rowsum(dOi.astype(gpu.acc) * sram.load(O[i])), sram.zeros((size(i), d))
                    sram.store(D[i], Di)
                begun.add(i.start)
                L = np.maximum(sram.load(lse[i]), lowest(gpu.acc))  # finite where a row sees no key
                X = Qi @ Kj.T
                P = np.exp(scores(sram, X, i, j) - L)
                dVj = dVj + scores.drop(sram, P, i, j).astype(dO.dtype).T @ dOi
                dP = scores.drop(sram, dOi @ Vj.T, i, j)
                dS = scores.gradient(P * (dP - Di), X).astype(Q.dtype)
                sram.store(dQ[i], dQi + dS @ Kj)
                dKj = dKj + dS.T @ Qi
            dK.add(sram, j, dKj)
            dV.add(sram, j, dVj)
        for i in blocks(N, Br):
            if i.start not in begun:
                sram.store(dQ[i], sram.zeros((size(i), d)))
    return dQ, dK.whole(), dV.whole()
