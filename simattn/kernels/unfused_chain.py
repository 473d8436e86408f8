"""Attention as an eager framework runs it: one kernel for each step, and N² elements written and read between steps."""

from typing import Any

from ..hierarchy.dtypes import BOOL, scores_type
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .rows import softmax
from .scores import Scores


def unfused_chain(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, return_P: bool = False, **options: Any
) -> tuple[HbmArray, ...]:
    """The eager chain of FlashAttention's figure 2 (Dao et al. 2022, arXiv 2205.14135): product, mask, softmax, dropout, product.

    Q (N, d), K (n_k, d), V (n_k, d_v) -> O (N, d_v), lse (N, 1). The scale is folded into the product. The kernels "mask" (softcap,
    bias, masks) and "dropout" run if they are asked for; no block is skipped. return_P: P, what dropout kept (a byte an element)
    and P after it, too, for the backward pass.

    >>> machine.run(sa.unfused_chain, Q, K, V, Br=32, Bc=32).hbm_read
    81920
    """
    scores = Scores(Q, K, V, **options)
    N, n_k, d_v = Q.shape[0], K.shape[0], V.shape[1]
    i_blocks, j_blocks = blocks(N, Br), blocks(scores.n_k, Bc)
    kind = scores_type(Q.dtype, gpu.acc)
    S = gpu.empty((N, n_k), name="S", dtype=kind)
    for sram, i, j in gpu.launch("scores", i_blocks, j_blocks):
        sram.store(S[i, j], sram.load(Q[i]) @ sram.load(K[j]).T * scores.scale)

    if scores.masks:
        S, S_raw = gpu.empty((N, n_k), name="S_masked", dtype=kind), S
        for sram, i, j in gpu.launch("mask", i_blocks, j_blocks):
            sram.store(S[i, j], scores.after_scale(sram, sram.load(S_raw[i, j]).astype(gpu.acc), i, j))

    P, L = gpu.empty((N, n_k), name="P", dtype=kind), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    softmax(gpu, S, P, L, lambda _: j_blocks, Br)

    stored = [P]
    if scores.dropout:
        keep, P_kept = gpu.empty((N, n_k), name="keep", dtype="bool"), gpu.empty((N, n_k), name="P_kept", dtype=kind)
        for sram, i, j in gpu.launch("dropout", i_blocks, j_blocks):
            kept = scores.keep(sram, i, j)
            sram.store(keep[i, j], kept)
            sram.store(P_kept[i, j], scores.dropped(sram.load(P[i, j]), kept))
        stored = [P, keep, P_kept]

    O = gpu.empty((N, d_v), name="O")
    for sram, i in gpu.launch("output", i_blocks):
        Oi = sram.zeros((size(i), d_v))
        for j in j_blocks:
            Oi = Oi + sram.load(stored[-1][i, j]).astype(V.dtype) @ sram.load(V[j])
        sram.store(O[i], Oi)
    hidden = blocks(n_k, Bc, scores.n_k) if return_P else []
    for sram, i, j in gpu.launch("zero P", i_blocks, hidden) if hidden else ():
        zero = sram.zeros((size(i), size(j)))
        for x in stored:
            sram.store(x[i, j], zero != 0 if x.dtype == BOOL else zero)
    return (O, L, *stored) if return_P else (O, L)
