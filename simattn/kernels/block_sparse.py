"""Block-sparse FlashAttention: blocks that the block mask leaves out are neither loaded nor computed."""

from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from ..hierarchy.sram import Sram
from .scores import Scores
from .softmax import lowest, rowmax, rowsum

SKIP, FULL, PARTIAL = range(3)


def block_sparse(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, block_mask: HbmArray, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray]:
    """FlashAttention, algorithm 5 (Dao et al. 2022, arXiv 2205.14135): algorithm 1 without the blocks that the mask leaves out.

    Q (N, d), K (n_k, d), V (n_k, d_v), block_mask (⌈N/Br⌉, ⌈n_k/Bc⌉) of integers -> O (N, d_v), lse (N, 1). 0 skips a block, 1
    computes all of it, 2 computes it under the boolean `mask`, which is loaded only there. One entry is read for each block that is
    not hidden otherwise.

    >>> machine.run(sa.block_sparse, Q, K, V, block_mask=np.eye(2, dtype=int), Br=32, Bc=32).hbm_read
    25104
    """
    scores = Scores(Q, K, V, **options)
    N, d_v = Q.shape[0], V.shape[1]
    kind = block_kinds(block_mask, scores, Br, Bc)
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    l_, m_ = (gpu.empty((N, 1), name=name, dtype=gpu.acc) for name in "lm")
    for sram, _ in gpu.launch("block_sparse", [0]):
        begun = set()
        for j in blocks(scores.n_k, Bc):
            visitors = [(i, k) for i in scores.visitors(j, Br) if (k := kind(sram, i, j)) != SKIP]
            if not visitors:
                continue
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            for i, k in visitors:
                Qi = sram.load(Q[i])
                if i.start in begun:
                    Oi, l, m = sram.load(O[i]), sram.load(l_[i]), sram.load(m_[i])
                else:
                    Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
                begun.add(i.start)
                S = scores(sram, Qi @ Kj.T, i, j, masked=k == PARTIAL)
                m_ij = np.maximum(rowmax(S), lowest(gpu.acc))  # finite where the block hides every key of a row
                P = np.exp(S - m_ij)
                m_new = np.maximum(m, m_ij)
                a, b = np.exp(m - m_new) * l, np.exp(m_ij - m_new)
                l_new = a + b * rowsum(P)
                PV = scores.drop(sram, P, i, j).astype(V.dtype) @ Vj
                sram.store(O[i], (a * Oi + b * PV) / np.maximum(l_new, 1))
                sram.store(l_[i], l_new)
                sram.store(m_[i], m_new)
        for i in blocks(N, Br):
            if i.start not in begun:
                sram.store(O[i], sram.zeros((size(i), d_v)))
            sram.store(L[i], sram.load(m_[i]) + np.log(sram.load(l_[i])) if i.start in begun else sram.full((size(i), 1), -np.inf))
    return O, L


def block_kinds(block_mask: Any, scores: Scores, Br: int, Bc: int) -> Any:
    """A function that reads the kind of block (i, j) from a mask of the right shape, and refuses what is no kind."""
    shape = (len(blocks(scores.rows, Br)), len(blocks(scores.keys, Bc)))
    if not isinstance(block_mask, HbmArray) or block_mask.shape != shape:
        raise ValueError(
            f"block_mask has shape {getattr(block_mask, 'shape', None)}: blocks of {Br} × {Bc} make {shape} of {scores.rows} "
            f"queries and {scores.keys} keys; give whole numbers of that shape, or other Br and Bc"
        )

    def kind(sram: Sram, i: slice, j: slice) -> int:
        k = sram.load_int(block_mask[i.start // Br, j.start // Bc])
        if k not in (SKIP, FULL, PARTIAL) or (k == PARTIAL and scores.mask is None):
            raise ValueError(
                f"block_mask[{i.start // Br}, {j.start // Bc}] = {k}: 0 skips a block, 1 computes all of it, 2 computes "
                "it under `mask`" + (", which was not given" if k == PARTIAL else "")
            )
        return k

    return kind
