"""FlashAttention-2's backward pass: a thread block for each block of keys, and dQ by atomic adds."""

from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .gradient import Gradient, check_lse
from .scores import Scores
from .softmax import lowest, rowsum


def flash2_backward(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, O: HbmArray, lse: HbmArray, dO: HbmArray, *, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray, HbmArray]:
    """FlashAttention-2, algorithm 2 (Dao 2023, arXiv 2307.08691): P is recomputed from lse, dK and dV stay on chip.

    Q (N, d), K (n_k, d), V (n_k, d_v), O and dO (N, d_v), lse (N, 1) -> dQ, dK, dV. D = rowsum(dO ∘ O) has its own kernel; dQ is added
    up in the accumulation type and converted by another.

    >>> run = machine.run(sa.flash2, Q, K, V)
    >>> machine.run(sa.flash2_backward, Q, K, V, run.output, run.outputs["lse"], V, Br=32, Bc=32).hbm_read
    82944
    """
    scores = Scores(Q, K, V, **options)
    check_lse(lse, Q)
    D = gpu.empty(lse.shape, name="D", dtype=gpu.acc)
    dQ = Gradient(gpu, Q, "dQ", Br, atomic=True)
    dK, dV = (Gradient(gpu, x, name, Bc, scores.n_k) for x, name in ((K, "dK"), (V, "dV")))
    for sram, i in gpu.launch("preprocess", blocks(Q.shape[0], Br)):
        sram.store(D[i], rowsum(sram.load(dO[i]).astype(gpu.acc) * sram.load(O[i])))
    for sram, j in gpu.launch("flash2_backward", blocks(scores.n_k, Bc)):
        visitors = scores.visitors(j, Br)
        if visitors:
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
        dKj, dVj = sram.zeros((size(j), K.shape[1])), sram.zeros((size(j), V.shape[1]))
        for i in visitors:
            Qi, dOi = sram.load(Q[i]), sram.load(dO[i])
            L = np.maximum(sram.load(lse[i]), lowest(gpu.acc))  # finite where a row sees no key
            X = Qi @ Kj.T
            P = np.exp(scores(sram, X, i, j) - L)
            dVj = dVj + scores.drop(sram, P, i, j).astype(dO.dtype).T @ dOi
            dP = scores.drop(sram, dOi @ Vj.T, i, j)
            dS = scores.gradient(P * (dP - sram.load(D[i])), X).astype(Q.dtype)
            dQ.add(sram, i, dS @ Kj)
            dKj = dKj + dS.T @ Qi
        dK.add(sram, j, dKj)
        dV.add(sram, j, dVj)
    return dQ.whole(), dK.whole(), dV.whole()
