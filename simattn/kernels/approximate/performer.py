"""Performer: the softmax kernel as a product of random features, so that no N × N scores exist at all."""

from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks
from ...hierarchy.hbm import HbmArray
from ...hierarchy.tile import Tile
from ..softmax import rowsum
from .given import one_sequence, weights


def performer(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, W: HbmArray, causal: bool = False, Br: int, Bc: int
) -> tuple[HbmArray, HbmArray]:
    """FAVOR+ (Choromanski et al. 2021, arXiv 2009.14794): exp(q·k/√d) is the mean of φ(q)·φ(k), φ(x) = exp(Wx − |x|²/2)/√m.

    Q (N, d), K (n_k, d), V (n_k, d_v), W (m, d) -> O (N, d_v), lse (N, 1): log of the estimated row sums. Linear in N. φ spans many
    powers of e, so its products are taken in `gpu.acc`; beyond |x|² ≈ 170 float32 loses it (the paper's code subtracts maxima).

    >>> W = sa.orthogonal_features(16, 32, rng=0).astype(np.float32)
    >>> machine.run(sa.performer, Q, K, V, W=W, Br=32, Bc=32).hbm_read
    34944
    """
    weights("W", W, Q, Q.shape[1], f"its rows are as wide as those of Q {Q.shape}")
    if Q.shape[1] != K.shape[1] or K.shape[0] != V.shape[0]:
        raise ValueError(f"Q {Q.shape}, K {K.shape}, V {V.shape}: Q and K share d; K and V share keys")
    N, n_k, m, d_v = Q.shape[0], K.shape[0], W.shape[0], V.shape[1]
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    if causal:
        one_sequence("causal performer", Q, K)
        return prefix_sums(gpu, Q, K, V, W, O, L, Br)

    S_, z_ = gpu.empty((m, d_v), name="S", dtype=gpu.acc, like=K), gpu.empty((m, 1), name="z", dtype=gpu.acc, like=K)
    for sram, _ in gpu.launch("sums", [0], like=K):  # a thread block a KV head
        Wm, S, z = sram.load(W), sram.zeros((m, d_v)), sram.zeros((m, 1))
        for j in blocks(n_k, Bc):
            f = phi(sram.load(K[j]), Wm, gpu.acc)
            S = S + f.T @ sram.load(V[j]).astype(gpu.acc)
            z = z + rowsum(f.T)
        sram.store(S_, S)
        sram.store(z_, z)

    for sram, i in gpu.launch("divide", blocks(N, Br)):
        f = phi(sram.load(Q[i]), sram.load(W), gpu.acc)
        l = f @ sram.load(z_)
        sram.store(O[i], (f @ sram.load(S_)) / l)
        sram.store(L[i], np.log(l))
    return O, L


def prefix_sums(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, W: HbmArray, O: HbmArray, L: HbmArray, Br: int
) -> tuple[HbmArray, HbmArray]:
    """Causal: one thread block a head carries S and z along the sequence, so that they never leave the chip.

    That is one pass over Q, K and V. Through HBM, blocks of rows could run at once, but S and z, m·(d_v + 1) numbers, would cross for
    each of them. Within a block of Br tokens, φ(Q)φ(K)ᵀ is masked as usual; Bc has no say.
    """
    m, d_v = W.shape[0], V.shape[1]
    for sram, _ in gpu.launch("prefix_sums", [0]):
        Wm, S, z = sram.load(W), sram.zeros((m, d_v)), sram.zeros((m, 1))
        for i in blocks(Q.shape[0], Br):
            f, g = phi(sram.load(Q[i]), Wm, gpu.acc), phi(sram.load(K[i]), Wm, gpu.acc)
            Vi = sram.load(V[i]).astype(gpu.acc)
            A: Any = np.where(sram.arange(i) <= sram.arange(i).T, f @ g.T, 0.0)
            l = rowsum(A) + f @ z
            sram.store(O[i], (f @ S + A @ Vi) / l)
            sram.store(L[i], np.log(l))
            S = S + g.T @ Vi
            z = z + rowsum(g.T)
    return O, L


def phi(X: Tile, W: Tile, acc: Any) -> Tile:
    """exp(Wx − |x|²/2)/√m of each row, x = row/d^¼, (rows, m)."""
    d, m = X.shape[1], W.shape[0]
    x: Any = X.astype(acc)
    half: Any = rowsum(x * x) * (0.5 * d**-0.5)
    products: Any = X @ W.T
    return np.exp(products * d**-0.25 - half) * m**-0.5  # type: ignore[no-any-return]
