"""The symbols of the closed forms: a problem's lengths and type sizes, and sums over the pairs of blocks that it visits."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..hierarchy.dtypes import DType, accumulation_type, storage_type


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The shapes, the type and the mask of one attention. offset: n_k − n_q unless given."""

    batch: int = 1
    heads: int = 1
    kv_heads: int | None = None
    n_q: int
    n_k: int
    d: int
    d_v: int | None = None
    dtype: str = "float16"
    causal: bool = False
    offset: int | None = None

    def __post_init__(self) -> None:
        for name in ("batch", "heads", "kv_heads", "n_q", "n_k", "d", "d_v"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}={value!r}: it is a whole number from 1 on")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} KV heads evenly")

    @property
    def group(self) -> int:
        return self.heads // (self.kv_heads or self.heads)


@dataclass(frozen=True)
class Rows:
    """One row block, r rows, and the key blocks that it visits: how many, the first one's length, all keys, and those masked."""

    r: int
    visits: int
    c: int
    keys: int
    masked: int
    masked_keys: int


class Sums:
    """The symbols of the formulas, from the row blocks."""

    def __init__(self, rows: list[Rows]) -> None:
        self.rows = rows
        self.T = len(rows)
        self.N = sum(b.r for b in rows)
        self.P = sum(b.visits for b in rows)
        self.R = sum(b.r * b.visits for b in rows)
        self.C = sum(b.keys for b in rows)
        self.A = sum(b.r * b.keys for b in rows)
        self.mR = sum(b.r * b.masked for b in rows)
        self.mA = sum(b.r * b.masked_keys for b in rows)

    def peak(self, *kinds: Callable[[Rows], int]) -> int:
        return max(kind(b) for b in self.rows for kind in kinds)


class Symbols:
    """The lengths and type sizes of a problem, the block sizes, and the visited pairs. packed: a group's queries are rows of one Q."""

    def __init__(self, p: Problem, Br: int, Bc: int, *, sram: int, splits: int, packed: bool) -> None:
        storage = storage_type(p.dtype)
        acc: DType = accumulation_type([storage])
        scores = np.dtype(np.float16) if storage.itemsize == 1 else storage
        self.p, self.Br, self.Bc, self.sram, self.splits = p, Br, Bc, sram, splits
        self.d, self.d_v = p.d, p.d if p.d_v is None else p.d_v
        self.s, self.a, self.z = storage.itemsize, acc.itemsize, scores.itemsize
        self.cast = int(storage != acc)  # P is rounded to the type of V
        self.cast_s = int(scores != acc)  # S is rounded to its type in HBM
        self.cast_p = int(scores != storage)  # P from HBM is rounded to the type of V
        self.offset = p.n_k - p.n_q if p.offset is None else p.offset
        self.packed = packed and p.group > 1
        self.n = p.n_q * p.group if packed else p.n_q
        self.lanes = p.batch * p.heads // (p.group if packed else 1)

    def sums(self, start: int = 0, stop: int | None = None) -> Sums:
        """Over all row blocks, and the keys from start (a multiple of Bc) to stop."""
        stop = self.p.n_k if stop is None else min(stop, self.p.n_k)
        return Sums([self._rows(i, min(self.Br, self.n - i), start, stop) for i in range(0, self.n, self.Br)])

    def _rows(self, i: int, r: int, start: int, stop: int) -> Rows:
        first, last = i % self.p.n_q, (i + r - 1) % self.p.n_q
        if i // self.p.n_q != (i + r - 1) // self.p.n_q:
            first, last = 0, self.p.n_q - 1
        seen, seen_by_all = (min(max(q + self.offset + 1, 0), self.p.n_k) if self.p.causal else self.p.n_k for q in (last, first))
        visits = max(0, math.ceil((min(seen, stop) - start) / self.Bc))
        end = min(start + visits * self.Bc, self.p.n_k)
        whole = min(max(0, (seen_by_all - start) // self.Bc if seen_by_all < self.p.n_k else visits), visits)
        keys = end - start if visits else 0
        unmasked = min(whole * self.Bc, keys)
        return Rows(r, visits, min(self.Bc, keys), keys, visits - whole, keys - unmasked)
