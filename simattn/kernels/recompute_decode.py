"""Decoding without a KV cache: every step repeats the attention over the whole prefix."""

from typing import Any

import numpy as np

from ..hierarchy.checks import whole
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .scores import Scores
from .softmax import lowest, rowmax, rowsum


def recompute_decode(
    gpu: Gpu,
    Q: HbmArray,
    K: HbmArray,
    V: HbmArray,
    *,
    Br: int,
    Bc: int,
    steps: int | None = None,
    causal: bool = True,
    **options: Any,
) -> tuple[HbmArray, HbmArray]:
    """Causal attention of N tokens, of which the last `steps` are generated one by one, by flash2 over the prefix at each.

    Q (N, d), K (N, d), V (N, d_v) -> O (N, d_v), lse (N, 1). steps: all unless given. A step computes every row again, and only its
    last is new: what a cache saves.

    >>> machine.run(sa.recompute_decode, Q, K, V, steps=8, Br=32, Bc=32).hbm_read
    281088
    """
    n, d_v = K.shape[0], V.shape[1]
    scores = Scores(Q, K, V, causal=True, **options)
    scores.refuse_dropout("recompute_decode")
    O, L = gpu.empty((n, d_v), name="O"), gpu.empty((n, 1), name="lse", dtype=gpu.acc)
    prompt = n - checked_steps(Q.shape[0], n, steps, 1, causal)
    scores.refuse_offset("recompute_decode")
    for prefix in range(max(prompt, 1), n + 1):
        for sram, i in gpu.launch("prefill" if prefix == prompt else "step", blocks(prefix, Br)):
            Qi = sram.load(Q[i])
            Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
            for j in scores.visits(i, Bc, within=slice(0, prefix)):
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


def checked_steps(queries: int, n: int, steps: int | None, tokens: int, causal: bool) -> int:
    """How many steps of so many tokens, or an error."""
    if queries != n:
        raise ValueError(
            f"{queries} queries on {n} keys: decoding needs a query, a key and a value for each token, including those of "
            "the prompt"
        )
    if not causal:
        raise ValueError("causal=False: a token cannot see those decoded after it, so leave causal out")
    whole("tokens", tokens, 1, None, "a step decodes at least 1")
    return n // tokens if steps is None else whole("steps", steps, 0, n // tokens, f"of {n} tokens, {tokens} a step are generated")
