"""The symbols of the closed forms: a problem's lengths and type sizes, and sums over the pairs of blocks that it visits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..hierarchy.checks import flag, optional, shown, sides, whole
from ..hierarchy.dtypes import DType, accumulation_type, storage_type

Shape = Literal["pairs", "keys"] | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The shapes, the type and the options of one attention. offset: the number of keys − n_q unless given.

    bias, mask: "pairs" for one of shape (n_q, n_k) a head, "keys" for (1, n_k). block_mask: as `block_sparse` takes it.
    """

    batch: int = 1
    heads: int = 1
    kv_heads: int | None = None
    n_q: int
    n_k: int
    d: int
    d_v: int | None = None
    dtype: str = "float16"
    causal: bool = False
    window: tuple[int | None, int | None] | None = None
    offset: int | None = None
    kv_len: int | None = None
    softcap: bool = False
    bias: Shape = None
    mask: Shape = None
    alibi: bool = False
    dropout: bool = False
    block_mask: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        storage_type(self.dtype)
        checked: dict[str, Any] = {n: whole(n, getattr(self, n), 1) for n in ("batch", "heads", "n_q", "n_k", "d")}
        checked |= {n: optional(whole, n, getattr(self, n), 1) for n in ("kv_heads", "d_v")}
        checked |= {n: flag(n, getattr(self, n)) for n in ("causal", "softcap", "alibi", "dropout")}
        checked["offset"] = optional(whole, "offset", self.offset)
        checked["kv_len"] = optional(whole, "kv_len", self.kv_len, 0, checked["n_k"], f"there are {self.n_k} keys")
        checked["window"] = None if self.window is None else sides("window", self.window)
        checked["block_mask"] = None if self.block_mask is None else _kinds(self.block_mask)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # a NumPy number as Python's, which does not overflow
        for name in ("bias", "mask"):
            if getattr(self, name) not in ("pairs", "keys", None):
                raise ValueError(
                    f"{name}={shown(getattr(self, name))}: give 'pairs' for one of shape (n_q, n_k), 'keys' for (1, n_k), or None"
                )
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} KV heads evenly")

    @property
    def group(self) -> int:
        return self.heads // (self.kv_heads or self.heads)

    @property
    def lanes(self) -> int:
        return self.batch * self.heads

    @property
    def kv_lanes(self) -> int:
        return self.lanes // self.group


def _kinds(block_mask: Any) -> tuple[tuple[int, ...], ...]:
    kinds = np.asarray(block_mask)
    if kinds.ndim != 2 or kinds.dtype.kind not in "iu" or not set(kinds.ravel().tolist()) <= {0, 1, 2}:
        raise ValueError(
            f"block_mask={shown(block_mask)}: give rows of 0, 1 and 2, for blocks to skip, to take whole, and under the mask"
        )
    return tuple(map(tuple, kinds.tolist()))


@dataclass(frozen=True)
class Rows:
    """One row block, r rows, and the key blocks that it visits: how many, the first one's length, all keys, and those masked."""

    r: int
    visits: int
    c: int
    keys: int
    masked: int
    masked_keys: int


@dataclass(frozen=True)
class Pair:
    """A visited pair: r rows and c keys; whether a mask cuts through it, whether the boolean mask is loaded for it, whether it is the
    first of its rows, and whether more rows follow that visit its keys."""

    i: int
    j: int
    r: int
    c: int
    cut: bool
    partial: bool
    first: bool
    more: bool


@dataclass(frozen=True)
class Sums:
    """Over visited pairs: how many P, the sum R of rows, C of keys, A of rows × keys; the same of those that a mask cuts (m) and of those
    for which the boolean mask is loaded (p). T row blocks have N rows in all."""

    P: int
    R: int
    C: int
    A: int
    mR: int
    mA: int
    pC: int
    pA: int
    T: int = 0
    N: int = 0
    rows: tuple[Rows, ...] = ()

    @classmethod
    def of_rows(cls, rows: Sequence[Rows]) -> "Sums":
        C, A = sum(b.keys for b in rows), sum(b.r * b.keys for b in rows)
        return cls(
            sum(b.visits for b in rows), sum(b.r * b.visits for b in rows), C, A, sum(b.r * b.masked for b in rows),
            sum(b.r * b.masked_keys for b in rows), C, A, len(rows), sum(b.r for b in rows), tuple(rows),
        )  # fmt: skip

    @classmethod
    def of_pairs(cls, pairs: Sequence[Pair]) -> "Sums":
        cut, partial = [p for p in pairs if p.cut], [p for p in pairs if p.partial]
        return cls(
            len(pairs), sum(p.r for p in pairs), sum(p.c for p in pairs), sum(p.r * p.c for p in pairs), sum(p.r for p in cut),
            sum(p.r * p.c for p in cut), sum(p.c for p in partial), sum(p.r * p.c for p in partial),
        )  # fmt: skip

    def peak(self, *kinds: Callable[[Rows], int]) -> int:
        return max((kind(b) for b in self.rows for kind in kinds), default=0)


class Symbols:
    """The lengths and type sizes of a problem, the block sizes, and the visited pairs. packed: a group's queries are rows of one Q."""

    def __init__(
        self,
        p: Problem,
        Br: int,
        Bc: int,
        *,
        sram: int,
        splits: int = 1,
        packed: bool = False,
        steps: int | None = None,
        tokens: int = 1,
    ) -> None:
        storage = storage_type(p.dtype)
        acc: DType = accumulation_type([storage])
        scores = np.dtype(np.float16) if storage.itemsize == 1 else storage
        self.p, self.Br, self.Bc, self.sram, self.splits, self.tokens = p, Br, Bc, sram, splits, tokens
        self.prompt = p.n_k - (p.n_k // tokens if steps is None else steps) * tokens
        self.d, self.d_v = p.d, p.d if p.d_v is None else p.d_v
        self.s, self.a, self.z = storage.itemsize, acc.itemsize, scores.itemsize
        self.cast = int(storage != acc)  # P is rounded to the type of V
        self.cast_s = int(scores != acc)  # S is rounded to its type in HBM
        self.cast_p = int(scores != storage)  # P from HBM is rounded to the type of V
        self.n_k = p.n_k if p.kv_len is None else p.kv_len
        self.offset = self.n_k - p.n_q if p.offset is None else p.offset
        self.left, right = p.window or (None, None)
        self.right = (0 if right is None else min(right, 0)) if p.causal else right
        self.sides = (self.left is not None) + (self.right is not None)
        self.packed = packed and p.group > 1
        self.n = p.n_q * p.group if packed else p.n_q
        self.lanes = p.kv_lanes if packed else p.lanes
        self.bias_rows, self.mask_rows = p.bias == "pairs", p.mask == "pairs"

    def seen_by(self, query: int) -> tuple[int, int]:
        at = query + self.offset
        start = 0 if self.left is None else min(max(at - self.left, 0), self.n_k)
        return start, self.n_k if self.right is None else min(max(at + self.right + 1, 0), self.n_k)

    def queries(self, i: int, r: int) -> tuple[int, int]:
        """The first and the last query among r rows from i on."""
        n = self.p.n_q
        return (i % n, (i + r - 1) % n) if i // n == (i + r - 1) // n else (0, n - 1)

    def block(self, r: int, union: tuple[int, int], own: tuple[int, int], start: int = 0, stop: int | None = None) -> Rows:
        """r rows with queries `own`, that visit what queries `union` see of the keys from start (a multiple of Bc) to stop."""
        end = self.n_k if stop is None else min(stop, self.n_k)
        first, last = max(self.seen_by(union[0])[0] // self.Bc * self.Bc, start), min(self.seen_by(union[1])[1], end)
        seen = self.seen_by(union[0])[0] < self.seen_by(union[1])[1]
        visits = max(0, math.ceil((last - first) / self.Bc)) if seen else 0
        keys = min(first + visits * self.Bc, end) - first if visits else 0
        low, high = self.seen_by(own[1])[0], self.seen_by(own[0])[1]  # what every row sees
        from_ = max(0, math.ceil((low - first) / self.Bc))
        to = visits if end <= high else min(visits, (high - first) // self.Bc)
        whole = max(0, to - from_)
        unmasked = min(first + to * self.Bc, end) - (first + from_ * self.Bc) if whole else 0
        return Rows(r, visits, min(self.Bc, keys), keys, visits - whole, keys - unmasked)

    def sums(self, start: int = 0, stop: int | None = None, rows: int | None = None) -> Sums:
        """Over the row blocks of the first `rows` rows, and the keys from start to stop."""
        n = self.n if rows is None else rows
        starts = [(i, min(self.Br, n - i)) for i in range(0, n, self.Br)]
        return Sums.of_rows([self.block(r, *(self.queries(i, r),) * 2, start, stop) for i, r in starts])

    def pairs(self, *, dense: bool = False) -> list[Pair]:
        """The visited pairs, keys outermost; dense: all of them."""
        found: list[tuple[int, int, bool, bool]] = []
        Tr, Tc = math.ceil(self.n / self.Br), math.ceil(self.n_k / self.Bc)
        for j in range(Tc):
            low, high = j * self.Bc, min((j + 1) * self.Bc, self.n_k)
            for i in range(Tr):
                first, last = self.queries(i * self.Br, min(self.Br, self.n - i * self.Br))
                visited = dense or (self.seen_by(first)[0] < high and self.seen_by(last)[1] > low)
                kind = 2 if self.p.block_mask is None else self.p.block_mask[i][j]
                if visited and kind:
                    found.append((j, i, not (self.seen_by(last)[0] <= low and high <= self.seen_by(first)[1]), kind == 2))
        begun: set[int] = set()
        pairs = []
        for k, (j, i, cut, partial) in enumerate(found):
            more = k + 1 < len(found) and found[k + 1][0] == j
            r, c = min(self.Br, self.n - i * self.Br), min(self.Bc, self.n_k - j * self.Bc)
            pairs.append(Pair(i, j, r, c, cut, partial, i not in begun, more))
            begun.add(i)
        return pairs

    def columns(self, pairs: Sequence[Pair]) -> list[tuple[int, list[Pair]]]:
        """Each block of keys, its length, and the pairs that visit it."""
        lengths = [min(self.Bc, self.n_k - j) for j in range(0, self.n_k, self.Bc)]
        return [(c, [p for p in pairs if p.j == j]) for j, c in enumerate(lengths)]

    def extra(self, r: int, c: int, *, partial: bool = True) -> int:
        """Bytes beside S, at most, while bias, slopes and mask are applied to r × c scores."""
        bias = self.s * (r if self.bias_rows else 1) * c if self.p.bias else 0
        alibi = self.a * (r * c + (r * c > 1)) if self.p.alibi else 0  # the slope, and the product, which may take its place
        mask = (r if self.mask_rows else 1) * c if self.p.mask and partial else 0
        return max(bias, alibi, mask)
