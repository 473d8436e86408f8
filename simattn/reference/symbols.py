"""The symbols of the closed forms: a problem's lengths and type sizes, and the pairs of blocks that it visits."""

from collections.abc import Sequence

import numpy as np

from ..hierarchy.dtypes import DType, accumulation_type, storage_type
from .problem import Problem
from .sums import Ints, Pair, Rows, Sums, blocks_in, under_mask

AT_ONCE = 1 << 14  # row blocks, of which the arrays stay in the CPU's cache
Run = tuple[Ints, Ints]  # the first and the last of consecutive queries


class Symbols:
    """The lengths and type sizes of a problem, the block sizes, and the visited pairs. packed: a group's queries are rows of one Q.

    lengths: of the keys in each of several launches that are summed, of a problem without causal and window; n_k is the largest.
    """

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
        lengths: Ints | None = None,
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
        self.lengths = np.array([self.n_k]) if lengths is None else lengths
        self.room = np.array([p.n_k]) if lengths is None else lengths
        self.offset = self.n_k - p.n_q if p.offset is None else p.offset
        self.left, right = p.window or (None, None)
        self.right = (0 if right is None else min(right, 0)) if p.causal else right
        self.sides = (self.left is not None) + (self.right is not None)
        self.packed = packed and p.group > 1
        self.n = p.n_q * p.group if packed else p.n_q
        self.lanes = p.kv_lanes if packed else p.lanes
        self.bias_rows, self.mask_rows = p.bias == "pairs", p.mask == "pairs"

    def seen_by(self, queries: Ints) -> tuple[Ints, Ints]:
        """The range of keys that each query sees."""
        at, none = queries + self.offset, np.zeros_like(queries)
        start = none if self.left is None else np.minimum(np.maximum(at - self.left, 0), self.n_k)
        return start, none + self.n_k if self.right is None else np.minimum(np.maximum(at + self.right + 1, 0), self.n_k)

    def rows(self, n: int | None = None, *, dense: bool = False, of: slice = slice(None)) -> Rows:
        """The blocks of all rows, for each of the lengths of keys; or of the first n queries, on the first n keys.

        dense: every block of keys is visited. of: the blocks meant, by number.
        """
        rows, lengths = (self.n, self.lengths) if n is None else (n, np.array([n]))
        T = blocks_in(rows, self.Br)
        launch, i = np.divmod(np.arange(*of.indices(T * len(lengths))), T)
        i, stop = i * self.Br, lengths[launch]
        r = np.minimum(self.Br, rows - i)
        if n is not None or not self.packed:
            return self.visited(r, [(i, i + r - 1)], stop=stop, dense=dense)
        n_q = self.p.n_q
        first, last = i % n_q, (i + r - 1) % n_q
        wraps = i // n_q != (i + r - 1) // n_q  # rows that end one head and begin the next are two runs of queries, or all
        runs = [(np.where(wraps, 0, first), np.where(r < n_q, last, n_q - 1)), (first, np.where(wraps, n_q - 1, last))]
        return self.visited(r, runs, stop=stop)

    def visited(
        self, r: Ints, runs: Sequence[Run], own: Run | None = None, *, start: Ints | int = 0, stop: Ints, dense: bool = False,
    ) -> Rows:  # fmt: skip
        """Blocks of r rows, that visit what runs of queries see of the keys from start to stop, in blocks of Bc keys from start on.

        runs: arrays of first and last queries, in order. own: the rows' own queries, which decide what a mask cuts through.
        """
        Bc, keys = self.Bc, np.maximum(np.minimum(self.n_k, stop) - start, 0)
        most, end = blocks_in(keys, Bc), np.zeros_like(r)
        ranges = []
        for low, high in runs:
            seen, seen_to = np.maximum(self.seen_by(low)[0] - start, 0), np.minimum(self.seen_by(high)[1] - start, keys)
            first, to = np.maximum(seen // Bc, end), np.where(seen < seen_to, blocks_in(seen_to, Bc), 0)
            ranges.append((first, np.maximum(to - first, 0)))
            end = np.maximum(end, to)
        if dense:
            ranges, end = [(r * 0, most)], most
        visits = sum(n for _, n in ranges)
        low, high = (runs[0][0], runs[-1][1]) if own is None else own
        whole = blocks_in(np.maximum(self.seen_by(high)[0] - start, 0), Bc)  # from here on, every row sees every key
        by_all = np.minimum(self.seen_by(low)[1] - start, keys)
        whole_to = np.where(by_all < keys, by_all // Bc, most)
        whole_blocks = np.maximum(whole_to - whole, 0)
        whole_keys = np.where(whole_blocks > 0, np.minimum(whole_to * Bc, keys) - whole * Bc, 0)
        visited_keys = visits * Bc - np.where((end == most) & (visits > 0), most * Bc - keys, 0)
        return Rows(r, visits, visited_keys, visits - whole_blocks, visited_keys - whole_keys, tuple(ranges))

    def sums(self, *, dense: bool = False, room: Ints | None = None) -> Sums:
        """Over all rows and keys. room: for how many keys `splits` thread blocks share the blocks of keys, for each of the lengths."""
        T = blocks_in(self.n, self.Br)
        keys, splits = (self.lengths, 1) if room is None else (room, self.splits)
        part = np.maximum(blocks_in(blocks_in(keys, self.Bc), splits), 1)  # key blocks of a thread block
        sums = []
        for k in range(0, T * len(self.lengths), AT_ONCE):
            b = self.rows(dense=dense, of=slice(k, k + AT_ONCE))
            sums.append(Sums.of(b, self.Bc, splits, None if room is None else part[np.arange(k, k + len(b.r)) // T]))
        return sum(sums[1:], sums[0])

    def under_block_mask(self) -> tuple[Sums, Sequence[Pair]]:
        """Sums over the pairs that the mask of blocks leaves of those visited, and the kinds of these pairs."""
        i, j = np.arange(0, self.n, self.Br), np.arange(0, self.n_k, self.Bc)
        r, c = np.minimum(self.Br, self.n - i), np.minimum(self.Bc, self.n_k - j)
        (start, by_all), (from_all, stop) = ([x[:, None] for x in self.seen_by(at)] for at in (i, i + r - 1))
        kind = np.array(self.p.block_mask, np.int64)[:, : len(j)]
        visited = (kind > 0) & (start < j + c) & (stop > j)
        return under_mask(r, c, visited, ~((from_all <= j) & (j + c <= by_all)), kind == 2)

    def extra(self, r: int, c: int, *, partial: bool = True) -> int:
        """Bytes beside S, at most, while bias, slopes and mask are applied to r × c scores."""
        bias = self.s * (r if self.bias_rows else 1) * c if self.p.bias else 0
        alibi = self.a * (r * c + (r * c > 1)) if self.p.alibi else 0  # the slope, and the product, which may take its place
        mask = (r if self.mask_rows else 1) * c if self.p.mask and partial else 0
        return max(bias, alibi, mask)
