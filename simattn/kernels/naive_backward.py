"""The backward pass of naive attention: it reads the P that the forward pass left in HBM."""

from typing import Any

from ..hierarchy.dtypes import scores_type
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .gradient import Gradient
from .rows import softmax_backward
from .scores import Scores


def naive_backward(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, O: HbmArray, lse: HbmArray, dO: HbmArray, *, P: HbmArray, Br: int, Bc: int,
    **options: Any,
) -> tuple[HbmArray, HbmArray, HbmArray]:  # fmt: skip
    """Standard attention's backward pass, algorithm 3 of FlashAttention (Dao et al. 2022, arXiv 2205.14135).

    Q, dO and O (N, d), K (n_k, d), V (n_k, d_v), P (N, n_k) of `naive(..., return_P=True)` -> dQ, dK, dV. O and lse are not needed:
    rowsum(P ∘ dP) stands in for D.

    >>> O, lse, P = machine.run(sa.naive, Q, K, V, return_P=True).outputs.values()
    >>> machine.run(sa.naive_backward, Q, K, V, O, lse, V, P=P, Br=32, Bc=32).hbm_read
    163840
    """
    scores = Scores(Q, K, V, **options)
    N, n_k = Q.shape[0], K.shape[0]
    dQ = Gradient(gpu, Q, "dQ", Br)
    dK, dV = (Gradient(gpu, x, name, Bc, scores.n_k) for x, name in ((K, "dK"), (V, "dV")))
    dP, dS = (gpu.empty((N, n_k), name=name, dtype=scores_type(Q.dtype, gpu.acc)) for name in ("dP", "dS"))

    for sram, j in gpu.launch("dV", blocks(scores.n_k, Bc)):
        dVj = sram.zeros((size(j), V.shape[1]))
        for i in scores.visitors(j, Br):
            dVj = dVj + scores.drop(sram, sram.load(P[i, j]), i, j).astype(dO.dtype).T @ sram.load(dO[i])
        dV.add(sram, j, dVj)

    for sram, (i, j) in gpu.launch("dP", scores.pairs(Br, Bc)):
        sram.store(dP[i, j], scores.drop(sram, sram.load(dO[i]) @ sram.load(V[j]).T, i, j))

    softmax_backward(gpu, P, dP, dS, lambda i: scores.visits(i, Bc), Br, scores.scale)
    if scores.softcap is not None:
        for sram, (i, j) in gpu.launch("softcap", scores.pairs(Br, Bc)):
            sram.store(dS[i, j], scores.uncap(sram.load(dS[i, j]), sram.load(Q[i]) @ sram.load(K[j]).T))

    for sram, i in gpu.launch("dQ", blocks(N, Br)):
        dQi = sram.zeros((size(i), Q.shape[1]))
        for j in scores.visits(i, Bc):
            dQi = dQi + sram.load(dS[i, j]).astype(K.dtype) @ sram.load(K[j])
        dQ.add(sram, i, dQi)

    for sram, j in gpu.launch("dK", blocks(scores.n_k, Bc)):
        dKj = sram.zeros((size(j), K.shape[1]))
        for i in scores.visitors(j, Br):
            dKj = dKj + sram.load(dS[i, j]).astype(Q.dtype).T @ sram.load(Q[i])
        dK.add(sram, j, dKj)
    return dQ.whole(), dK.whole(), dV.whole()
