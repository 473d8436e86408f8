"""The backward pass of the eager chain: a kernel for each step, as automatic differentiation runs them."""

from typing import Any

from ..hierarchy.dtypes import scores_type
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .gradient import Gradient
from .rows import softmax_backward
from .scores import Scores


def unfused_chain_backward(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, O: HbmArray, lse: HbmArray, dO: HbmArray, *, P: HbmArray,
    keep: HbmArray | None = None, P_kept: HbmArray | None = None, Br: int, Bc: int, **options: Any,
) -> tuple[HbmArray, HbmArray, HbmArray]:  # fmt: skip
    """The eager chain of FlashAttention's figure 2 (Dao et al. 2022, arXiv 2205.14135), backward.

    Q, dO and O (N, d), K (n_k, d), V (n_k, d_v); P (N, n_k) and, with dropout, keep and P_kept, of `unfused_chain(..., return_P=True)`
    -> dQ, dK, dV. An added mask has nothing to do backward; O and lse are not needed.

    >>> O, lse, P = machine.run(sa.unfused_chain, Q, K, V, return_P=True).outputs.values()
    >>> machine.run(sa.unfused_chain_backward, Q, K, V, O, lse, V, P=P, Br=32, Bc=32).hbm_read
    163840
    """
    scores = Scores(Q, K, V, **options)
    N, n_k = Q.shape[0], K.shape[0]
    i_blocks, j_blocks = blocks(N, Br), blocks(scores.n_k, Bc)
    if bool(scores.dropout) != (keep is not None and P_kept is not None):
        raise ValueError(f"dropout={scores.dropout}: with dropout, and only then, give keep and P_kept of the forward pass")
    dQ = Gradient(gpu, Q, "dQ", Br)
    dK, dV = (Gradient(gpu, x, name, Bc, scores.n_k) for x, name in ((K, "dK"), (V, "dV")))
    kind = scores_type(Q.dtype, gpu.acc)
    weights = P if P_kept is None else P_kept

    for sram, j in gpu.launch("dV", j_blocks):
        dVj = sram.zeros((size(j), V.shape[1]))
        for i in i_blocks:
            dVj = dVj + sram.load(weights[i, j]).astype(dO.dtype).T @ sram.load(dO[i])
        dV.add(sram, j, dVj)

    dP = gpu.empty((N, n_k), name="dP", dtype=kind)
    for sram, i, j in gpu.launch("dP", i_blocks, j_blocks):
        sram.store(dP[i, j], sram.load(dO[i]) @ sram.load(V[j]).T)
    if keep is not None:
        dP, dP_kept = gpu.empty((N, n_k), name="dP_dropped", dtype=kind), dP
        for sram, i, j in gpu.launch("dropout_backward", i_blocks, j_blocks):
            sram.store(dP[i, j], scores.dropped(sram.load(dP_kept[i, j]), sram.load(keep[i, j])))

    dS = gpu.empty((N, n_k), name="dS", dtype=kind)
    softmax_backward(gpu, P, dP, dS, lambda _: j_blocks, Br, scores.scale)
    if scores.softcap is not None:
        for sram, i, j in gpu.launch("softcap", i_blocks, j_blocks):
            sram.store(dS[i, j], scores.uncap(sram.load(dS[i, j]), sram.load(Q[i]) @ sram.load(K[j]).T))

    for sram, i in gpu.launch("dQ", i_blocks):
        dQi = sram.zeros((size(i), Q.shape[1]))
        for j in j_blocks:
            dQi = dQi + sram.load(dS[i, j]).astype(K.dtype) @ sram.load(K[j])
        dQ.add(sram, i, dQi)
    for sram, j in gpu.launch("dK", j_blocks):
        dKj = sram.zeros((size(j), K.shape[1]))
        for i in i_blocks:
            dKj = dKj + sram.load(dS[i, j]).astype(Q.dtype).T @ sram.load(Q[i])
        dK.add(sram, j, dKj)
    return dQ.whole(), dK.whole(), dV.whole()
