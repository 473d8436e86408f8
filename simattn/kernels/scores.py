"""The steps between QKᵀ and the softmax, and the key blocks that a block of queries visits."""

from typing import Any

import numpy as np

from ..hierarchy.checks import kind, whole
from ..hierarchy.dtypes import BOOL
from ..hierarchy.grid import blocks
from ..hierarchy.hbm import HbmArray
from ..hierarchy.sram import Sram
from ..hierarchy.tile import Tile
from ..score_options import ScoreOptions
from .synonyms import IN_RUN


class Scores:
    """What the options that algorithms share (`ScoreOptions`) do to one head.

    Of the arrays, bias and mask are (N | 1, n_k), and alibi is (1, 1), the head's slope. Query i stands at position i + offset, and
    the window says how many keys before and after that it sees. With an offset of n_k − n_q, the default, the last query sees the
    last key; 0 is PyTorch's and ONNX's upper left. Blocks of which causal, window and kv_lens leave nothing are neither loaded nor
    computed. group: of queries packed as rows, row r is query r mod n_q. n_k: where K is a page of a longer cache."""

    def __init__(self, Q: HbmArray, K: HbmArray, V: HbmArray, group: int = 1, n_k: int | None = None, /, **options: Any) -> None:
        asked = ScoreOptions.of_keywords(options, IN_RUN)
        shapes = f"Q {Q.shape}, K {K.shape}, V {V.shape}"
        if Q.shape[1] != K.shape[1]:
            raise ValueError(f"{shapes}: Q and K must have the same width d")
        if K.shape[0] != V.shape[0]:
            raise ValueError(f"{shapes}: K and V must have the same number of keys")
        self.rows, self.n_q, self.packed = Q.shape[0], Q.shape[0] // group, group > 1
        self.keys = keys = K.shape[0] if n_k is None else n_k
        self.n_k = keys
        if asked.kv_lens is not None:
            self.n_k = whole("kv_lens", asked.kv_lens, 0, keys, f"K has {keys} rows, and sa.each gives lengths")
        self.scale = Q.shape[1] ** -0.5 if asked.scale is None else asked.scale
        self.softcap, self.bias, self.alibi, self.mask = asked.softcap, asked.bias, asked.alibi, asked.mask
        for name, x, columns in (("bias", self.bias, keys), ("mask", self.mask, keys), ("alibi", self.alibi, 1)):
            if x is not None:
                _check(name, x, self.rows, columns)
        self.left, self.right = asked.reach
        self.offset = self.n_k - self.n_q if asked.offset is None else asked.offset
        shaping = (self.softcap, self.bias, self.alibi, self.mask, self.left, self.right)
        self.masks = any(x is not None for x in shaping)  # whether anything but the scale is
        self.dropout, self.seed = asked.dropout, asked.seed

    def refuse_dropout(self, name: str) -> None:
        """ValueError if dropout is asked of an algorithm that has none."""
        if self.dropout:
            raise ValueError(f"dropout={self.dropout}: {name} has no dropout")

    def refuse_offset(self, name: str) -> None:
        """ValueError if a query sees beyond its own key, in an algorithm that decodes token by token."""
        if self.offset > 0:
            raise ValueError(f"offset={self.offset}: in {name}, token i sees only the keys up to its own; leave offset out")

    def visits(self, i: slice, Bc: int, within: slice | None = None) -> list[slice]:
        """The blocks of keys of which rows i see any. within: of these keys only, in blocks that begin where they do."""
        low, high = (0, self.n_k) if within is None else (within.start, min(within.stop, self.n_k))
        seen = [(max(start, low), min(stop, high)) for start, stop in self._seen(i)]
        visited = {j.start for start, stop in seen if start < stop for j in blocks(stop, Bc, start - (start - low) % Bc)}
        return [slice(j, min(j + Bc, high)) for j in sorted(visited)]

    def hidden(self, i: slice, Bc: int) -> list[slice]:
        """The other keys, by blocks."""
        edges = [0, *(edge for j in self.visits(i, Bc) for edge in (j.start, j.stop)), self.keys]
        return [j for start, stop in zip(edges[::2], edges[1::2], strict=True) for j in blocks(stop, Bc, start)]

    def visitors(self, j: slice, Br: int) -> list[slice]:
        """The blocks of rows that see any of keys j."""
        return [i for i in blocks(self.rows, Br) if any(start < j.stop and j.start < stop for start, stop in self._seen(i))]

    def pairs(self, Br: int, Bc: int) -> list[tuple[slice, slice]]:
        """Every block of queries with every block of keys that it visits."""
        return [(i, j) for i in blocks(self.rows, Br) for j in self.visits(i, Bc)]

    def __call__(self, sram: Sram, S: Any, i: slice, j: slice, *, masked: bool = True) -> Any:
        """The products of rows i and keys j, scaled, capped and biased, and −∞ where a row does not see the key.

        masked: False leaves the boolean mask out, where a block is known to be whole.
        """
        S = S * self.scale
        return self.after_scale(sram, S, i, j, masked=masked) if self.masks else S

    def after_scale(self, sram: Sram, S: Any, i: slice, j: slice, *, masked: bool = True) -> Any:
        """The same of products that are scaled already."""
        if self.softcap is not None:
            S = np.tanh(S * (1 / self.softcap)) * self.softcap
        if self.bias is not None:
            S = S + sram.load(_part(self.bias, i, j))
        if self.alibi is not None:
            S = S - sram.load(_part(self.alibi, i, slice(0, 1))) * abs(self._query(sram, i) + self.offset - sram.arange(j))
        if self.mask is not None and masked:
            S = np.where(sram.load(_part(self.mask, i, j)), S, -np.inf)
        return self.cut(sram, S, i, j)

    def cut(self, sram: Sram, S: Tile, i: slice, j: slice) -> Any:
        """−∞ where causal and window hide keys j from rows i, if they hide any."""
        first, last = self._queries(i)[0][0], self._queries(i)[-1][1]
        if self._seen_by(last)[0] <= j.start and j.stop <= self._seen_by(first)[1]:  # what the first and the last see, all do
            return S
        query = self._query(sram, i)
        if self.left is None:
            seen = sram.arange(j) <= query + (self.offset + (self.right or 0))
        elif self.right is None:
            seen = sram.arange(j) >= query + (self.offset - self.left)
        else:
            seen = (sram.arange(j) >= query + (self.offset - self.left)) & (sram.arange(j) <= query + (self.offset + self.right))
        return np.where(seen, S, -np.inf)

    def drop(self, sram: Sram, P: Tile, i: slice, j: slice) -> Tile:
        """P with weights dropped and the others scaled up by 1/(1 − dropout); the same weights whenever it is asked."""
        return self.dropped(P, self.keep(sram, i, j)) if self.dropout else P

    def keep(self, sram: Sram, i: slice, j: slice) -> Tile:
        """Where dropout keeps a weight."""
        return sram.random(i, j, self.seed) >= self.dropout

    def dropped(self, P: Tile, keep: Tile) -> Any:
        """P with the weights that are not kept at 0, and the others scaled up."""
        return np.where(keep, P * (1 / (1 - self.dropout)), 0.0)

    def gradient(self, dS: Any, X: Tile) -> Any:
        """The gradient of the products X = QKᵀ, from that of the scores."""
        dS = dS * self.scale
        return dS if self.softcap is None else self.uncap(dS, X)

    def uncap(self, dS: Tile, X: Tile) -> Any:
        """Through the softcap of the products X: c·tanh(x/c) grows by 1 − tanh²."""
        t: Any = np.tanh(X * (self.scale / float(self.softcap or 1)))
        return dS * (1 - t * t)

    def _query(self, sram: Sram, i: slice) -> Tile:
        return sram.arange(i).T % self.n_q if self.packed else sram.arange(i).T

    def _queries(self, i: slice) -> list[tuple[int, int]]:
        """The queries among rows i, in runs from a first to a last. Of packed rows, those that end one head begin the next."""
        n = self.n_q
        first, last = i.start % n, (i.start if i.step == n else i.stop - 1) % n  # rows n_q apart are one query, of several heads
        if i.step == n or i.start // n == (i.stop - 1) // n:
            return [(first, last)]
        return [(0, n - 1)] if i.stop - i.start >= n else [(0, last), (first, n - 1)]

    def _seen(self, i: slice) -> list[tuple[int, int]]:
        """The ranges of keys of which each is seen by any of rows i; a run of queries sees one range, for neighbours' ranges
        meet."""
        ranges = [(self._seen_by(first)[0], self._seen_by(last)[1]) for first, last in self._queries(i)]
        return [(start, stop) for start, stop in ranges if start < stop]

    def _seen_by(self, query: int) -> tuple[int, int]:
        """The range of keys that a query sees."""
        position = query + self.offset
        start = 0 if self.left is None else min(max(position - self.left, 0), self.n_k)
        return start, self.n_k if self.right is None else min(max(position + self.right + 1, 0), self.n_k)


def _part(x: HbmArray, i: slice, j: slice) -> HbmArray:
    """Rows i and columns j of a bias or mask, which may have one row for all."""
    return x[slice(0, 1) if x.shape[0] == 1 else i, j]


def _check(name: str, x: Any, rows: int, columns: int) -> None:
    if not isinstance(x, HbmArray):
        raise TypeError(f"{name} is {kind(x)}: give a NumPy array")
    if (x.dtype == BOOL) != (name == "mask"):
        raise TypeError(f"{name} has type {x.dtype.name}: a mask is boolean, and added scores are a bias")
    if x.shape[0] not in (1, rows) or x.shape[1] != columns:
        raise ValueError(f"{name} has shape {x.shape}: give {(rows, columns)}, or {(1, columns)} for the same row everywhere")
