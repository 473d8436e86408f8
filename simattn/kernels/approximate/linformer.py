"""Linformer: keys and values projected to a fixed number of rows."""

from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray
from ..scores import Scores
from ..softmax import lowest, rowmax, rowsum
from .given import only, weights


def linformer(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, E: HbmArray, F: HbmArray, Br: int, Bc: int, **options: Any
) -> tuple[HbmArray, HbmArray]:
    """softmax(Q(EK)ᵀ/√d)·FV (Wang et al. 2020, arXiv 2006.04768): linear in n, for k is fixed (256 there).

    Q (N, d), K (n, d), V (n, d_v), E, F (k, n) -> O (N, d_v), lse (N, 1). Each KV head is projected once, by blocks of Bc rows of E
    and F, in steps of Br tokens. Every row of EK mixes all tokens, so none can be hidden. Exact with E = F = I.

    >>> E = np.ones((8, 64), np.float32) / 64
    >>> machine.run(sa.linformer, Q, K, V, E=E, F=E, Br=16, Bc=16).hbm_read
    36864
    """
    only("linformer", options, ("scale", "softcap"), "each projected key mixes all tokens")
    (n, d), d_v = K.shape, V.shape[1]
    for name, x, like in (("E", E, K), ("F", F, V)):
        weights(name, x, like, n, f"it projects the {n} rows of {like.name}")
        if x.shape[0] > n:
            raise ValueError(
                f"{name} has shape {x.shape}: k={x.shape[0]} is more than the {n} keys; the nearest valid value is {n}"
            )
    if E.shape != F.shape:
        raise ValueError(f"E {E.shape}, F {F.shape}: both project to k rows; the nearest valid shape of F is {E.shape}")
    k = E.shape[0]
    EK, FV = gpu.empty((k, d), name="EK", like=K), gpu.empty((k, d_v), name="FV", like=V)
    scores = Scores(Q, EK, FV, **options)
    for sram, c in gpu.launch("project", blocks(k, Bc), like=K):
        X, Y = sram.zeros((size(c), d)), sram.zeros((size(c), d_v))
        for t in blocks(n, Br):
            X = X + sram.load(E[c, t]) @ sram.load(K[t])
            Y = Y + sram.load(F[c, t]) @ sram.load(V[t])
        sram.store(EK[c], X)
        sram.store(FV[c], Y)

    N = Q.shape[0]
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    for sram, i in gpu.launch("linformer", blocks(N, Br)):  # from here on flash2, over k keys
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, Bc):
            Kj, Vj = sram.load(EK[j]), sram.load(FV[j])
            S = scores(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + P.astype(V.dtype) @ Vj
        sram.store(O[i], Oi / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))
    return O, L
