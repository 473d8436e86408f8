"""Attention over a paged KV cache: a table gives the page of a pool that holds the next keys."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from ..hierarchy.lanes import packs_groups
from ..hierarchy.sram import Sram
from .combine import Partials
from .scores import Scores
from .softmax import lowest, rowmax, rowsum
from .split_kv import checked


@packs_groups
def paged(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, table: HbmArray, lens: HbmArray, Br: int, splits: int = 1, group: int = 1,
    **options: Any,
) -> tuple[HbmArray, HbmArray]:  # fmt: skip
    """PagedAttention (Kwon et al. 2023, arXiv 2309.06180), with Flash-Decoding's splits: a block of keys is a page.

    Q (N, d), K (pages, page, d) and V (pages, page, d_v) of `sa.pool`, table (n,) and lens (1,) of whole numbers -> O (N, d_v),
    lse. The splits share the table's room evenly. A sequence has lens[0] keys; those of its p-th page are in page table[p]. Per
    sequence: `table=sa.each(tables)` of an array (batch, n), `lens=sa.each(lengths)` of one (batch, 1).

    >>> pages, where = sa.pool(K.reshape(4, 16, 1, 32)), {"table": sa.each([[2, 0, 3, 1]]), "lens": sa.each([[60]])}
    >>> machine.run(sa.paged, Q[None, None, -1:], pages, pages, **where, Br=16).tensors["K"].hbm_read
    7680
    """
    _check("table", table, "(n,)")
    _check("lens", lens, "(1,)")
    if K.shape[:2] != V.shape[:2]:
        raise ValueError(
            f"pools of {K.shape[0]} pages of {K.shape[1]} and {V.shape[0]} pages of {V.shape[1]}: K and V must have the same pages"
        )
    page, room = K.shape[1], table.shape[0] * K.shape[1]
    N, d_v = Q.shape[0], V.shape[2]
    chunk = math.ceil(table.shape[0] / checked(splits, table.shape[0], "pages")) * page
    O, L = gpu.empty((N, d_v), name="O"), gpu.empty((N, 1), name="lse", dtype=gpu.acc)
    partials, find = Partials(gpu, O, L, splits), finder(table, K.shape[0])
    for sram, i, s in gpu.launch("paged", blocks(N, Br), range(splits)):
        n_k = sram.load_int(lens[0])
        if not 0 <= n_k <= room:
            raise ValueError(f"lens[0] = {n_k}: the table's {table.shape[0]} pages of {page} hold at most {room} keys")
        scores = Scores(Q, K[0], V[0], group, n_k, **options)
        scores.refuse_dropout("paged")
        Qi = sram.load(Q[i])
        Oi, l, m = sram.zeros((size(i), d_v)), sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in scores.visits(i, page, within=slice(s * chunk, (s + 1) * chunk)):
            p = find(sram, j.start // page)
            Kj, Vj = sram.load(K[p][: size(j)]), sram.load(V[p][: size(j)])
            S = scores(sram, Qi @ Kj.T, i, j)
            m, m_old = np.maximum(m, rowmax(S)), m
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + rowsum(P)
            Oi = a * Oi + P.astype(V.dtype) @ Vj
        O_split, L_split = partials.parts[s]
        sram.store(O_split[i], Oi / np.maximum(l, 1))
        sram.store(L_split[i], m + np.log(l))
    return partials.combine(Br)


def finder(table: HbmArray, pages: int) -> Callable[[Sram, int], int]:
    """A function that reads where the p-th page is, and refuses a page that the pool does not have, or that was there before."""
    holds: dict[int, int] = {}

    def find(sram: Sram, p: int) -> int:
        found = sram.load_int(table[p])
        if not 0 <= found < pages:
            raise ValueError(f"table[{p}] = {found}: the pool has pages 0 to {pages - 1}")
        if holds.setdefault(found, p) != p:
            raise ValueError(f"table[{p}] = {found}, but so is table[{holds[found]}]: a page can appear only once")
        return found

    return find


def _check(name: str, x: Any, shape: str) -> None:
    if not isinstance(x, HbmArray) or len(x.shape) != 1 or (name == "lens" and x.shape != (1,)):
        raise ValueError(f"{name} is {x!r}: give whole numbers of shape {shape} a sequence, as {name}=sa.each(array, axis='batch')")
