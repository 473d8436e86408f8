"""BigBird: blocks of global, neighbouring and random keys."""

from typing import Any

import numpy as np

from ...hierarchy.checks import whole
from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import size
from ...hierarchy.hbm import HbmArray
from ..scores import Scores
from ..softmax import lowest, rowmax, rowsum
from .given import one_sequence, whole_blocks


def bigbird(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, block: int = 64, global_blocks: int = 2, window_blocks: int = 3,
    random_blocks: int = 3, seed: int = 0, **options: Any,
) -> tuple[HbmArray, HbmArray]:  # fmt: skip
    """BigBird-ITC (Zaheer et al. 2020, arXiv 2007.14062, section 2), as block-sparse FlashAttention-2, Br = Bc = block.

    Q (N, d), K (N, d), V (N, d_v) -> O (N, d_v), lse (N, 1). A block of queries sees the first global_blocks blocks of keys,
    window_blocks around its own (fewer at the ends), and random_blocks of the others; the global blocks' own queries see all. The
    pattern is drawn when the kernel is made, one for all heads, so nothing is read for it. options hide more. Exact when all blocks
    are taken.

    >>> machine.run(sa.bigbird, Q, K, V, block=8, global_blocks=1, random_blocks=1).hbm_read
    92160
    """
    scores = Scores(Q, K, V, **options)
    scores.refuse_dropout("bigbird")  # whose seed is the pattern's
    one_sequence("bigbird", Q, K)
    N, d_v, tiles = Q.shape[0], V.shape[1], whole_blocks(block, Q.shape[0])
    seen = pattern(len(tiles), global_blocks, window_blocks, random_blocks, seed)
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    for sram, i in gpu.launch("bigbird", tiles):
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, block):
            if j.start // block not in seen[i.start // block]:
                continue
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            S = scores(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + P.astype(V.dtype) @ Vj
        sram.store(O[i], Oi / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))
    return O, L


def pattern(T: int, global_blocks: int, window_blocks: int, random_blocks: int, seed: int) -> list[set[int]]:
    """The blocks of keys that each of T blocks of queries sees. Random ones are drawn, block by block, from those not there
    already."""
    there = f"there are {T} blocks"
    whole("global_blocks", global_blocks, 0, T, there)
    whole("random_blocks", random_blocks, 0, T, there)
    side = whole("window_blocks", window_blocks, 1, None, "a block sees itself") // 2
    if window_blocks % 2 == 0:
        raise ValueError(
            f"window_blocks={window_blocks}: give an odd number, as many on either side as the block itself; the nearest "
            f"valid value is {window_blocks - 1}"
        )
    rng = np.random.default_rng(whole("seed", seed, 0, None, "a seed is not negative"))
    seen = []
    for i in range(T):
        fixed = {*range(T if i < global_blocks else global_blocks), *range(max(i - side, 0), min(i + side + 1, T))}
        others = [j for j in range(T) if j not in fixed]
        drawn = rng.choice(others, min(random_blocks, len(others)), replace=False).tolist() if others else []
        seen.append(fixed | set(drawn))
    return seen
