"""Multi-head latent attention: one latent vector for each token is both key and value of every head."""

from typing import Any

import numpy as np

from ..hierarchy.checks import whole
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from ..hierarchy.lanes import packs_groups
from .scores import Scores
from .softmax import lowest, rowmax, rowsum


@packs_groups
def mla(
    gpu: Gpu, Q: HbmArray, C: HbmArray, *, scale: float, latent: int = 512, Br: int, Bc: int, group: int = 1, **options: Any
) -> tuple[HbmArray, HbmArray]:
    """Decoding from DeepSeek-V2's latent cache (2024, arXiv 2405.04434, section 2.1), with the projections of K and V absorbed.

    Q (N, latent + rope), C (n_k, latent + rope), one head for all of Q's -> O (N, latent), lse (N, 1). A head's query is its own
    times W_UK, beside its rotary part; a token's cache is c_KV beside the rotary key: loaded once, it is the key, and its first
    `latent` columns are the value; W_UV is applied to O. scale: 1/√(d + rope) of the unabsorbed head, for the width here is
    another.

    >>> machine.run(sa.mla, Q, K, scale=0.25, latent=24, Br=32, Bc=32).hbm_read
    24576
    """
    whole("latent", latent, 1, C.shape[1], f"the cache C {C.shape} has {C.shape[1]} columns, of which the first are the value")
    scores = Scores(Q, C, C, group, scale=scale, **options)
    scores.refuse_dropout("mla")
    N = Q.shape[0]
    O, L = gpu.empty((N, latent), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    for sram, i in gpu.launch("mla", blocks(N, Br)):
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), latent)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc):
            Cj = sram.load(C[j])
            S = scores(sram, Qi @ Cj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + P.astype(C.dtype) @ Cj[:, :latent]
        sram.store(O[i], Oi / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))
    return O, L
