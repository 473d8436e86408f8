"""Blocks, and one summary of each: the mechanism that popular articles describe as FlashAttention."""

from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray
from ..scores import Scores
from ..softmax import lowest, rowmax, rowsum
from .given import one_sequence, only, whole_blocks


def local_global(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, block: int, Br: int, Bc: int, causal: bool = False, **options: Any
) -> tuple[HbmArray, HbmArray]:  # fmt: skip
    """Local attention in each block, global attention over a summary K_g, V_g of every other block, and a merge of the two.

    Q (N, d), K (N, d), V (N, d_v) -> O (N, d_v), lse (N, 1). The articles leave open how K_g and V_g come about, and how local and
    global meet; ours: one token a block, K_g the mean of the block's keys, V_g the mean of its output, and a merge by log-sum-exp.
    A summary weighs as one token; weighing it as its block would be kinder, and as far from exact as lesson 11 shows.
    Causal: a query sees the summaries of earlier blocks only. Exact with block = N, where there is no other block.

    >>> machine.run(sa.local_global, Q, K, V, block=16, Br=16, Bc=16).hbm_read
    60672
    """
    only("local_global", options, ("scale", "softcap"), "a summary has no position")
    scores = Scores(Q, K, V, causal=causal, **options)
    one_sequence("local_global", Q, K)
    N, d_v, whole = Q.shape[0], V.shape[1], whole_blocks(block, Q.shape[0])
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    O_local, L_local = O, L
    if len(whole) > 1:
        O_local, L_local = (gpu.empty((N, n), name=name, dtype=gpu.acc) for name, n in (("O_local", d_v), ("lse_local", 1)))
    tiles = [(g, b, i) for g, b in enumerate(whole) for i in blocks(b.stop, Br, b.start)]
    for sram, (_, b, i) in gpu.launch("local", tiles):
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc, within=b):
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            S = scores(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + P.astype(V.dtype) @ Vj
        sram.store(O_local[i], Oi / np.maximum(l, 1))
        sram.store(L_local[i], m + np.log(l))
    if len(whole) == 1:
        return O, L

    K_g, V_g = gpu.empty((len(whole), K.shape[1]), name="K_g"), gpu.empty((len(whole), d_v), name="V_g")
    far = Scores(Q, K_g, V_g, **options)
    for sram, g in gpu.launch("summary", range(len(whole))):
        k, v = sram.zeros((1, K.shape[1])), sram.zeros((1, d_v))
        for j in blocks(whole[g].stop, Bc, whole[g].start):
            k = k + sram.load(K[j]).sum(axis=0, keepdims=True)
            v = v + sram.load(O_local[j]).sum(axis=0, keepdims=True)
        sram.store(K_g[g : g + 1], k / size(whole[g]))
        sram.store(V_g[g : g + 1], v / size(whole[g]))

    for sram, (g, _, i) in gpu.launch("global", tiles):
        Qi = sram.load(Q[i])
        Oi, m, l = sram.load(O_local[i]), sram.load(L_local[i]), sram.full((size(i), 1), 1.0)  # where the local loop ended
        for j in blocks(g, Bc) + ([] if causal else blocks(len(whole), Bc, g + 1)):
            Kj, Vj = sram.load(K_g[j]), sram.load(V_g[j])
            S = far(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + P.astype(V.dtype) @ Vj
        sram.store(O[i], Oi / l)
        sram.store(L[i], m + np.log(l))
    return O, L
