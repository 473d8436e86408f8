"""Decoding with a KV cache: a step computes only the attention of its own tokens, and reads the keys of all earlier tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hierarchy.checks import whole
from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks
from ..hierarchy.hbm import HbmArray
from ..hierarchy.lanes import packs_groups
from ..hierarchy.sram import Sram
from .recompute_decode import checked_steps
from .scores import Scores
from .softmax import lowest, rowmax, rowsum


@packs_groups
def incremental(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, Br: int, Bc: int, steps: int | None = None, tokens: int = 1,
    capacity: int | None = None, causal: bool = True, group: int = 1, **options: Any,
) -> tuple[HbmArray, HbmArray]:  # fmt: skip
    """Causal attention of N tokens, of which the last steps · tokens are generated, with a KV cache.

    Q (N, d), K (N, d), V (N, d_v) -> O (N, d_v), lse (N, 1). A kernel computes the prompt; each step appends `tokens` keys and
    values to the cache, which has room for `capacity` (N unless given), and attends to it: one token, or several as speculative
    decoding checks them. The queries of a group of heads are rows of one tile, so the cache is read once a group. steps: all unless
    given.

    >>> machine.run(sa.incremental, Q, K, V, steps=8, Br=32, Bc=32).hbm_read
    171008
    """
    n, d_v = K.shape[0], V.shape[1]
    prompt = n - checked_steps(Q.shape[0] // group, n, steps, tokens, causal) * tokens
    why = f"the cache holds the {n} keys of {prompt} prompt and {n - prompt} new tokens"
    room = n if capacity is None else whole("capacity", capacity, n, None, why)
    scores = Scores(Q, K, V, group, causal=True, **options)
    scores.refuse_dropout("incremental")
    scores.refuse_offset("incremental")
    K_cache, V_cache = gpu.empty((room, K.shape[1]), name="K_cache", like=K), gpu.empty((room, d_v), name="V_cache", like=V)
    O, L = gpu.empty((group * n, d_v), name="O"), gpu.empty((group * n, 1), name="lse", dtype=gpu.acc)

    step = Step(gpu, scores, Q, (K_cache, V_cache), (O, L), Bc)

    def append(new: list[slice]) -> None:
        for sram, j in gpu.launch("append", new):
            sram.store(K_cache[j], sram.load(K[j]))
            sram.store(V_cache[j], sram.load(V[j]))

    if prompt:
        append(blocks(prompt, Bc))
        for sram, g, i in gpu.launch("prefill", range(group), blocks(prompt, Br)):
            step.attend(sram, i, [slice(g * n + i.start, g * n + i.stop)], prompt)
    for t in blocks(n, tokens, prompt):
        append([t])
        for sram, new in gpu.launch("decode", [t]):  # a tile of a head's tokens, or of a token's heads
            tiles = [new] if group == 1 else [slice(q, group * n, n) for q in range(new.start, new.stop)]
            step.attend(sram, new, tiles, new.stop)
    return O, L


@dataclass(frozen=True)
class Step:
    """Attention of some queries to what the cache holds."""

    gpu: Gpu
    scores: Scores
    Q: HbmArray
    cache: tuple[HbmArray, HbmArray]
    out: tuple[HbmArray, HbmArray]
    Bc: int

    def attend(self, sram: Sram, queries: slice, tiles: list[slice], keys: int) -> None:
        """flash2's loop over the first `keys` keys, which are read once for all tiles of these queries."""
        (K, V), (O, L) = self.cache, self.out
        state: list[Any] = []
        for i in tiles:
            rows = len(range(i.start, i.stop, i.step or 1))
            Qi, Oi = sram.load(self.Q[i]), sram.zeros((rows, V.shape[1]))
            state.append((Qi, Oi, sram.zeros((rows, 1)), sram.full((rows, 1), lowest(self.gpu.acc))))
        for j in self.scores.visits(queries, self.Bc, within=slice(0, keys)):
            Kj, Vj = sram.load(K[j]), sram.load(V[j])
            for k, i in enumerate(tiles):
                Qi, Oi, l, m = state[k]
                S = self.scores(sram, Qi @ Kj.T, i, j)
                m, m_old = np.maximum(m, rowmax(S)), m
                P = np.exp(S - m)
                a = np.exp(m_old - m)
                l = a * l + rowsum(P)
                Oi = a * Oi + P.astype(V.dtype) @ Vj
                state[k] = Qi, Oi, l, m
        for i, (_, Oi, l, m) in zip(tiles, state, strict=True):
            sram.store(O[i], Oi / np.maximum(l, 1))
            sram.store(L[i], m + np.log(l))
