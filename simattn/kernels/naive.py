"""Naive attention: three kernels, between which the N × N scores and probabilities lie in HBM."""

from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .scores import Scores, scores_type
from .softmax import lowest, rowmax, rowsum


def naive(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, return_P: bool = False, **options: Any
) -> tuple[HbmArray, ...]:
    """Standard attention, algorithm 0 of FlashAttention (Dao et al. 2022, arXiv 2205.14135): S = QKᵀ, P = softmax(S), O = PV.

    Q (N, d), K (n_k, d), V (n_k, d_v) -> O (N, d_v), lse (N, 1). N² elements cross HBM four times: S and P, each out and in; S
    comes in twice where a row of it does not fit on chip. return_P: P (N, n_k), before dropout, too; NaN in blocks that nothing visits.
    """
    scores = Scores(Q, K, V, **options)
    N, n_k, d_v = Q.shape[0], K.shape[0], V.shape[1]
    S, P = (gpu.empty((N, n_k), name=name, dtype=scores_type(Q.dtype)) for name in "SP")
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)

    for sram, (i, j) in gpu.launch("scores", scores.pairs(Br, Bc)):
        sram.store(S[i, j], scores(sram, sram.load(Q[i]) @ sram.load(K[j]).T, i, j))

    row = n_k * (gpu.acc.itemsize + S.dtype.itemsize * (S.dtype != gpu.acc)) + 3 * gpu.acc.itemsize  # S − m, S, three columns
    rows = min(Br, gpu.machine.sram // row)
    (softmax_of_rows if rows else softmax_in_two_passes)(gpu, scores, S, P, L, Br, Bc, rows)

    for sram, i in gpu.launch("output", blocks(N, Br)):
        Oi = sram.zeros((size(i), d_v))
        for j in scores.visits(i, Bc):
            Pij = scores.drop(sram, sram.load(P[i, j]), i, j)
            Oi = Oi + Pij.astype(V.dtype) @ sram.load(V[j])
        sram.store(O[i], Oi)
    return (O, L, P) if return_P else (O, L)


def softmax_of_rows(gpu: Gpu, scores: Scores, S: HbmArray, P: HbmArray, L: HbmArray, Br: int, Bc: int, rows: int) -> None:
    """P = softmax(S) by strips of as many whole rows as fit: S is read once."""
    strips = [
        (slice(i.start + r.start, i.start + r.stop), [slice(v[0].start, v[-1].stop) for v in [scores.visits(i, Bc)] if v])
        for i in blocks(S.shape[0], Br)
        for r in blocks(size(i), rows)
    ]
    for sram, (i, visible) in gpu.launch("softmax", strips):
        l, m = sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in visible:  # one range of keys, or none where every key is masked
            Sij = sram.load(S[i, j])
            m = np.maximum(m, rowmax(Sij))
            Pij = np.exp(Sij - m)
            l = rowsum(Pij)
            sram.store(P[i, j], Pij / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))


def softmax_in_two_passes(gpu: Gpu, scores: Scores, S: HbmArray, P: HbmArray, L: HbmArray, Br: int, Bc: int, _: int) -> None:
    """P = softmax(S) by blocks of a row that does not fit: S is read for m and l, and again for P."""
    for sram, i in gpu.launch("softmax", blocks(S.shape[0], Br)):
        l, m = sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc):
            Sij = sram.load(S[i, j])
            m, m_old = np.maximum(m, rowmax(Sij)), m
            l = np.exp(m_old - m) * l + rowsum(np.exp(Sij - m))
        for j in scores.visits(i, Bc):
            sram.store(P[i, j], np.exp(sram.load(S[i, j]) - m) / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))
