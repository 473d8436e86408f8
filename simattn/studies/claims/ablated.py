"""FlashAttention-2 with a step left out, to see what that step is for."""

from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray
from ...kernels.scores import Scores
from ...kernels.softmax import rowmax, rowsum


def flash2_without_rescaling(gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, **options: Any) -> HbmArray:
    """Each block of keys has a maximum of its own, and what was summed before is not rescaled to it. Q, K (N, d), V (N, d_v) ->
    O."""
    scores = Scores(Q, K, V, **options)
    N, d_v = Q.shape[0], V.shape[1]
    O = gpu.empty((N, d_v), name="O")
    for sram, i in gpu.launch("flash2_without_rescaling", blocks(N, Br)):
        Qi = sram.load(Q[i])
        Oi, l = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1))
        for j in scores.visits(i, Bc):
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            S = scores(sram, Qi @ Kj.T, i, j)
            P = np.exp(S - rowmax(S))
            l = l + rowsum(P)
            Oi = Oi + P.astype(V.dtype) @ Vj
        sram.store(O[i], Oi / l)
    return O
