"""Sums over the pairs of blocks that are visited, for closed forms: an array has an entry for each block of rows, never one for each pair."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
N = TypeVar("N", int, Ints)


@dataclass(frozen=True)
class Rows:
    """Blocks of rows, an array for each of: how many rows; how many key blocks they visit, and the keys of these; how many of them a mask
    cuts through, and their keys. ranges: the key blocks that are visited, by the first and how many they are."""

    r: Ints
    visits: Ints
    keys: Ints
    masked: Ints
    masked_keys: Ints
    ranges: tuple[tuple[Ints, Ints], ...] = ()

    def together(self, part: Ints) -> Mask:
        """Whether two of the key blocks visited, which then are neighbours, lie in one part of so many key blocks."""
        found = self.r < 0
        for first, n in self.ranges:  # of three in a row, two lie together, unless a part is one block
            for k in (0, 1):
                found |= (n > k + 1) & ((first + k) // part == (first + k + 1) // part)
        for (first, n), (again, more) in pairwise(self.ranges):
            found |= (n > 0) & (more > 0) & ((first + n - 1) // part == again // part)
        return found


@dataclass(frozen=True)
class Kind:
    """Blocks of rows that need the same room: r rows, and 0, 1 or more (2) visits by a thread block; c keys in the longest. How many
    `times` there is such a block of rows, and the most keys that one of them visits."""

    r: int
    visits: int
    c: int
    keys: int
    times: int


@dataclass(frozen=True)
class Pair:
    """Visited pairs of one kind: r rows and c keys; whether it is the first of its rows, whether more rows follow that visit its keys,
    whether the boolean mask is loaded for it. How many `times` there is such a pair."""

    r: int
    c: int
    first: bool
    more: bool
    partial: bool
    times: int


@dataclass(frozen=True)
class Sums:
    """Over visited pairs: how many P, the sum R of rows, C of keys, A of rows × keys; the same of those that a mask cuts (m) and of those
    for which the boolean mask is loaded (p). T thread blocks have N rows in all."""

    P: int
    R: int
    C: int
    A: int
    mR: int
    mA: int
    pC: int
    pA: int
    T: int
    N: int
    kinds: tuple[Kind, ...] = field(repr=False)

    @classmethod
    def of(cls, b: Rows, Bc: int, splits: int = 1, part: Ints | None = None) -> "Sums":
        """splits: as many thread blocks share the visits of a row block, of which each takes a part, of so many key blocks.

        All of them together visit what one would; only rows come once for each.
        """
        C, A = total(b.keys), total(b.r * b.keys)
        most = b.visits if part is None else np.where(b.together(part), b.visits, np.minimum(b.visits, 1))
        return cls(
            total(b.visits), total(b.r * b.visits), C, A, total(b.r * b.masked), total(b.r * b.masked_keys), C, A, len(b.r) * splits,
            total(b.r) * splits, tuple(kinds(b, np.minimum(most, 2), Bc)),
        )  # fmt: skip

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})

    def peak(self, *of_kind: Callable[[Kind], int]) -> int:
        return max((peak(kind) for kind in self.kinds for peak in of_kind), default=0)

    def strips(self, rows: int) -> int:
        """The number of strips of so many rows, within blocks of rows."""
        return sum(kind.times * math.ceil(kind.r / rows) for kind in self.kinds)

    @property
    def visible(self) -> int:
        """Rows of the blocks that visit any keys."""
        return sum(kind.times * kind.r for kind in self.kinds if kind.visits)

    @property
    def unvisited(self) -> int:
        """The length of the longest block of rows that visits none."""
        return max((kind.r for kind in self.kinds if not kind.visits), default=0)


def blocks_in(n: N, size: int) -> N:
    """How many blocks of a size hold n."""
    return -(-n // size)


def total(x: Ints) -> int:
    """The sum, exactly: in two halves, for over 2²⁰ tokens it may be more than 64 bits hold."""
    return (int((x >> 32).sum()) << 32) + int((x & 0xFFFFFFFF).sum())


def kinds(b: Rows, visits: Ints, Bc: int) -> Iterator[Kind]:
    """The kinds of row blocks: a handful, for all but the last have as many rows."""
    c = np.minimum(b.keys, Bc)
    width = int(c.max(initial=0)) + 1
    code = (b.r * 3 + visits) * width + c
    for one in np.unique(code):
        of_kind = code == one
        r, v = divmod(int(one) // width, 3)
        yield Kind(r, v, int(one) % width, int(b.keys[of_kind].max()), int(np.count_nonzero(of_kind)))


def pairs(b: Rows, Bc: int, n_k: int) -> Sequence[Pair]:
    """The kinds of visited pairs, where row blocks visit ranges of which neither end goes back from one to the next.

    Then a row block is the last to visit those of its key blocks, `left` of them, that come before the first of the next row block.
    """
    seen = b.visits > 0
    r, begin, visits = b.r[seen], b.ranges[0][0][seen], b.visits[seen]
    ends = begin + visits
    left = np.minimum(np.append(begin[1:], ends[-1:]) - begin, visits)
    one = np.ones_like(left)
    edges = [one * 0, np.minimum(left, 1), one, np.maximum(left, 1), visits]  # of its visits, by number
    short = n_k % Bc  # keys in the last block of keys, if that is not a whole one
    at_end = (ends * Bc > n_k) if short else one < 0
    found = []
    for k, (first, more) in enumerate(((True, False), (True, True), (False, False), (False, True))):
        count = edges[k + 1] - edges[k]
        last = at_end & (count > 0) & (edges[k + 1] == visits)
        for size in {int(x) for x in (*r[:1], *r[-1:])}:
            rows = r == size
            n = int(np.count_nonzero(last & rows))
            found += [Pair(size, Bc, first, more, True, total(count[rows]) - n), Pair(size, short, first, more, True, n)]
    return [pair for pair in found if pair.times]


def under_mask(r: Ints, c: Ints, visited: Mask, cut: Mask, partial: Mask) -> tuple[Sums, Sequence[Pair]]:
    """Sums over the pairs that a mask of blocks leaves, and their kinds, of r rows and c keys each.

    visited: which pairs are left, (row blocks, key blocks); of them cut by causal or window, or partial by the boolean mask.
    """
    keys, masked, halved = (of @ c for of in (visited, visited & cut, visited & partial))
    visits = visited.sum(axis=1)
    b = Rows(r, visits, keys, (visited & cut).sum(axis=1), masked)
    v = replace(Sums.of(b, int(c.max(initial=0))), pC=total(halved), pA=total(r * halved))
    first = visited & (visited.cumsum(axis=1) == 1)
    more = visited & (visited[::-1].cumsum(axis=0)[::-1] > 1)
    code = (r[:, None] < r[:1]) + 2 * (c < c[:1]) + 4 * first + 8 * more + 16 * partial  # only the last of r and c may be short
    times = np.bincount(code[visited], minlength=32).tolist()
    found = [(np.flatnonzero([k & bit for bit in (1, 2, 4, 8, 16)]), n) for k, n in enumerate(times) if n]
    return v, [Pair(int(r[-(0 in bits)]), int(c[-(1 in bits)]), 2 in bits, 3 in bits, 4 in bits, n) for bits, n in found]


def visited_keys(pairs: Sequence[Pair]) -> int:
    """How many keys lie in blocks that are visited at all: each such block has one last visitor."""
    return sum(pair.times * pair.c for pair in pairs if not pair.more)
