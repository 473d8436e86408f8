"""Flash-Decoding: with few queries, the work is parallel over the keys."""

import math
from typing import Any

import numpy as np

from ..hierarchy.checks import whole
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from ..hierarchy.lanes import packs_groups
from ..hierarchy.splits import num_splits
from .combine import Partials
from .scores import Scores
from .softmax import lowest, rowmax, rowsum


@packs_groups
def split_kv(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, splits: int | None = None, group: int = 1, **options: Any
) -> tuple[HbmArray, HbmArray]:
    """Flash-Decoding (Dao, Haziza, Massa, Sizov 2023): a thread block per block of queries and split of the keys, then a combine.

    Q (N, d), K (n_k, d), V (n_k, d_v) -> O (N, d_v), lse (N, 1). The heads of a group are rows of one Q, so that K and V are read
    once a group. splits: given, or flash-attn's heuristic; each takes ⌈blocks/splits⌉ blocks of Bc keys, so the last may be empty.

    >>> machine.run(sa.split_kv, Q[-1:], K, V, Br=16, Bc=16, splits=4).kernels["partial"].programs
    4
    """
    scores = Scores(Q, K, V, group, **options)
    N, n_k, d_v = Q.shape[0], K.shape[0], V.shape[1]
    splits = num_splits(gpu.machine, gpu.lanes, N, Q.shape[1], n_k, Br) if splits is None else checked(splits, n_k)
    chunk = math.ceil(len(blocks(scores.n_k, Bc)) / splits) * Bc
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    partials = Partials(gpu, O, L, splits)
    for sram, i, s in gpu.launch("partial", blocks(N, Br), range(splits)):
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc, within=slice(s * chunk, (s + 1) * chunk)):
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            S = scores(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + scores.drop(sram, P, i, j).astype(V.dtype) @ Vj
        O_split, L_split = partials.parts[s]
        sram.store(O_split[i], Oi / np.maximum(l, 1))
        sram.store(L_split[i], m + np.log(l))
    return partials.combine(Br)


def checked(splits: int, most: int, of: str = "keys") -> int:
    """A given number of splits, or an error."""
    return whole("splits", splits, 1, most, f"there are {most} {of}")
