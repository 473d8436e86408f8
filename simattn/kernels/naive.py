"""Naive attention: three kernels that pass the N × N scores and probabilities through HBM."""

from typing import Any

from ..hierarchy.dtypes import scores_type
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .rows import softmax
from .scores import Scores


def naive(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, return_P: bool = False, **options: Any
) -> tuple[HbmArray, ...]:
    """Standard attention, algorithm 0 of FlashAttention (Dao et al. 2022, arXiv 2205.14135): S = QKᵀ, P = softmax(S), O = PV.

    Q (N, d), K (n_k, d), V (n_k, d_v) -> O (N, d_v), lse (N, 1). N² elements cross HBM four times: S and P are each written and
    read. S is read twice if a row of it does not fit on chip. return_P: P (N, n_k) before dropout, too.

    >>> machine.run(sa.naive, Q, K, V, Br=32, Bc=32).hbm_read
    81920
    """
    scores = Scores(Q, K, V, **options)
    N, n_k, d_v = Q.shape[0], K.shape[0], V.shape[1]
    S, P = (gpu.empty((N, n_k), name=name, dtype=scores_type(Q.dtype, gpu.acc)) for name in "SP")
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)

    for sram, (i, j) in gpu.launch("scores", scores.pairs(Br, Bc)):
        sram.store(S[i, j], scores(sram, sram.load(Q[i]) @ sram.load(K[j]).T, i, j))

    softmax(gpu, S, P, L, lambda i: scores.visits(i, Bc), Br)

    for sram, i in gpu.launch("output", blocks(N, Br)):
        Oi = sram.zeros((size(i), d_v))
        for j in scores.visits(i, Bc):
            Pij = scores.drop(sram, sram.load(P[i, j]), i, j)
            Oi = Oi + Pij.astype(V.dtype) @ sram.load(V[j])
        sram.store(O[i], Oi)
    hidden = [(i, j) for i in blocks(N, Br) for j in scores.hidden(i, Bc)] if return_P else []
    for sram, (i, j) in gpu.launch("zero P", hidden) if hidden else ():
        sram.store(P[i, j], sram.zeros((size(i), size(j))))
    return (O, L, P) if return_P else (O, L)
