"""Flash-Decoding: with few queries, the keys are what is parallel."""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..hierarchy.checks import whole
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from ..hierarchy.lanes import packs_groups
from ..hierarchy.machine import Machine
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


def num_splits(machine: Machine, lanes: int, N: int, d: int, n_k: int, Br: int) -> int:
    """flash-attn's number of splits on a machine, which runs two thread blocks an SM."""
    if machine.sms is None:
        raise ValueError(f"{machine.name} has no number of SMs for the heuristic: give splits=")
    return heuristic(lanes * len(blocks(N, Br)), 2 * machine.sms, math.ceil(n_k / key_block(d)))


def key_block(d: int) -> int:
    """The keys in one block of flash-attn's split kernel, for heads of width d."""
    return 256 if d <= 64 else 128 if d <= 128 else 64


@lru_cache(1 << 14)
def heuristic(programs: int, slots: int, key_blocks: int, most: int = 128) -> int:
    """`num_splits_heuristic` of flash-attn 2: the fewest splits whose last wave is within 0.85 of the best filled."""
    if programs >= 0.8 * slots:
        return 1
    eligible = [
        s
        for s in range(1, min(most, slots, key_blocks) + 1)
        if s == 1 or math.ceil(key_blocks / s) != math.ceil(key_blocks / (s - 1))
    ]
    waves = {s: programs * s / slots for s in eligible}
    efficiency = {s: waves[s] / math.ceil(waves[s]) for s in eligible}
    best = max(efficiency.values())
    return next(s for s in eligible if efficiency[s] >= 0.85 * best)


def checked(splits: int, most: int, of: str = "keys") -> int:
    """A given number of splits, or an error."""
    return whole("splits", splits, 1, most, f"there are {most} {of}")
