"""FlashAttention-3 in FP8: products of 8-bit numbers, and one factor per block that scales it into the range of the type."""

import math
from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from ..hierarchy.sram import Sram
from ..hierarchy.tile import Tile
from .scores import Scores
from .softmax import lowest, rowmax, rowsum

OFFSET = 8 * math.log(2)  # P = 2⁸·exp(S − m): up to 256 of float8_e4m3fn's 448, so that fewer weights fall below its least, 2⁻⁹


def flash3_fp8(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, sQ: HbmArray, sK: HbmArray, sV: HbmArray, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray]:
    """FlashAttention-3's forward pass in FP8 (Shah et al. 2024, arXiv 2407.08608, section 3.3), without the overlapping that the
    paper describes.

    Q (N, d), K (n_k, d), V (n_k, d_v) in float8; sQ (⌈N/Br⌉ | 1, 1), sK, sV (⌈n_k/Bc⌉ | 1, 1): what each block was divided by, as
    `sa.quantize` gives them for blocks of Br rows of Q and Bc of K and V, or one factor for all -> O (N, d_v) in bfloat16, lse (N,
    1).

    >>> (q, sQ), (k, sK), (v, sV) = (sa.quantize(x, 32) for x in (Q, K, V))
    >>> machine.run(sa.flash3_fp8, q, k, v, sQ=sQ, sK=sK, sV=sV, Br=32, Bc=32).hbm_read
    10280
    """
    scores = Scores(Q, K, V, **options)
    if Q.dtype.itemsize != 1:
        raise TypeError(f"Q has type {Q.dtype.name}: flash3_fp8 takes float8, as sa.quantize gives it")
    scores.refuse_dropout("flash3_fp8")  # P/(1 − dropout) would leave the range of float8
    N, n_k, d_v = Q.shape[0], K.shape[0], V.shape[1]
    O, L = gpu.empty((N, d_v), name="O", dtype="bfloat16"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    for sram, i in gpu.launch("flash3_fp8", blocks(N, Br)):  # thread blocks: parallel on a GPU
        Qi, q = sram.load(Q[i]), factor(sram, sQ, i, Br, N)
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        v = sram.full((1, 1), 1.0)
        for j in scores.visits(i, Bc):
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            k, v, v_old = factor(sram, sK, j, Bc, n_k), factor(sram, sV, j, Bc, n_k), v
            S = scores(sram, (Qi @ Kj.T) * (q * k), i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - (m - OFFSET))
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * (v_old / v) * Oi + P.astype(V.dtype) @ Vj  # in units of v, so that the product accumulates in Oi
        sram.store(O[i], Oi * (v / np.maximum(l, 1)))  # l >= 2⁸, but 0 where every key is masked
        sram.store(L[i], m + np.log(l) - OFFSET)
    return O, L


def factor(sram: Sram, factors: HbmArray, block: slice, Bx: int, n: int) -> Tile:
    """What a block of n rows was divided by, (1, 1): its own factor, or the only one; ValueError for other numbers of factors."""
    count = len(blocks(n, Bx))
    if factors.shape not in ((count, 1), (1, 1)):
        raise ValueError(f"{factors.name} has shape {factors.shape}: give ({count}, 1), one for each block of {Bx} rows, or (1, 1)")
    b = block.start // Bx if factors.shape[0] > 1 else 0
    return sram.load(factors[b : b + 1])
