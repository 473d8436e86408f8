"""The third witness: what each exact algorithm moves and multiplies, by brute force over the matrix of what is visible.

A kernel and its closed form can agree and both be wrong. This file imports neither. It writes out which query sees which key, cuts the
matrix into blocks, and walks through the algorithms' loops as the papers and docs/counting.md have them: a pair of blocks is loaded
where it holds a True. It adds up bytes by array, and the FLOPs of products.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

INT = 4


def visible(p):
    """Which of n_q queries sees which of n_k keys, by the definitions of lengths, causal, window and offset."""
    n_k = p.n_k if p.kv_len is None else p.kv_len
    position = np.arange(p.n_q)[:, None] + (n_k - p.n_q if p.offset is None else p.offset)
    key = np.arange(n_k)
    seen = np.ones((p.n_q, n_k), bool)
    left, right = p.window or (None, None)
    if p.causal:
        seen &= key <= position
    if left is not None:
        seen &= key >= position - left
    if right is not None:
        seen &= key <= position + right
    return seen


def cut(n, size):
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def length(block):
    return block.stop - block.start


@dataclass
class Witness:
    """Bytes read and written by array, and FLOPs of products, over all heads. lanes: heads, or KV heads where a group is packed."""

    p: object
    Br: int
    Bc: int
    sram: int
    read: Counter = field(default_factory=Counter)
    written: Counter = field(default_factory=Counter)
    flops: int = 0

    def __post_init__(self):
        p = self.p
        self.s = {"float64": 8, "float32": 4}.get(p.dtype, 1 if p.dtype.startswith("float8") else 2)  # of an element in storage,
        self.a, self.z = max(4, self.s), max(2, self.s)  # in a sum, and of a score in HBM
        self.group = p.heads // p.kv_heads
        self.heads, self.d, self.d_v = p.batch * p.heads, p.d, p.d_v or p.d
        self.lanes = self.heads
        self.seen = visible(p)

    def pack(self):
        """A group's queries are rows of one matrix."""
        self.seen, self.lanes = np.tile(self.seen, (self.group, 1)), self.heads // self.group

    @property
    def n(self):
        return len(self.seen)

    @property
    def rows(self):
        return cut(self.n, self.Br)

    @property
    def keys(self):
        return cut(self.seen.shape[1], self.Bc)

    def load(self, name, nbytes):
        self.read[name] += nbytes * self.lanes

    def store(self, name, nbytes):
        self.written[name] += nbytes * self.lanes

    def add(self, name, nbytes):
        """By atomic addition."""
        self.load(name, nbytes)
        self.store(name, nbytes)

    def multiply(self, m, n, k):
        self.flops += 2 * m * n * k * self.lanes

    def visits(self, i, seen=None):
        """The blocks of keys of which some row of block i sees one."""
        seen = self.seen if seen is None else seen
        return [j for j in cut(seen.shape[1], self.Bc) if seen[i, j].any()]

    def visitors(self, j):
        return [i for i in self.rows if self.seen[i, j].any()]

    @property
    def softmax_passes(self):
        """Over S: one where a row of it fits on chip, beside its own type's copy and three columns, and two where not."""
        row = self.p.n_k * (self.a + self.z * (self.z != self.a)) + 3 * self.a
        return 1 if row <= self.sram else 2

    @property
    def gradient_passes(self):
        """Over P and dP: one where rows of both, and of their product, fit beside a column."""
        return 1 if self.p.n_k * (2 * self.a + self.z) + self.a <= self.sram else 2

    def options(self, r, c, *, mask=True):
        """What is loaded to make scores of products."""
        p = self.p
        if p.bias:
            self.load("bias", self.s * (r if p.bias == "pairs" else 1) * c)
        if p.alibi:
            self.load("alibi", self.a)
        if p.mask and mask:
            self.load("mask", (r if p.mask == "pairs" else 1) * c)

    # forward

    def naive(self):
        for i in self.rows:
            r = length(i)
            for j in self.visits(i):
                c = length(j)
                self.load("Q", r * self.d * self.s)
                self.load("K", c * self.d * self.s)
                self.multiply(r, c, self.d)
                self.options(r, c)
                self.store("S", r * c * self.z)
                self.load("S", self.softmax_passes * r * c * self.z)
                self.store("P", r * c * self.z)
                self.load("P", r * c * self.z)
                self.load("V", c * self.d_v * self.s)
                self.multiply(r, self.d_v, c)
            self.store("lse", r * self.a)
            self.store("O", r * self.d_v * self.s)

    def online_softmax(self):
        for i in self.rows:
            r = length(i)
            self.load("Q", r * self.d * self.s)
            for j in self.visits(i):
                c = length(j)
                self.load("K", c * self.d * self.s)
                self.multiply(r, c, self.d)
                self.options(r, c)
                self.store("S", r * c * self.z)
                self.load("S", r * c * self.z)
                self.load("V", c * self.d_v * self.s)
                self.multiply(r, self.d_v, c)
            for name in "ml":
                self.store(name, r * self.a)
                self.load(name, r * self.a)
            self.store("lse", r * self.a)
            self.store("O", r * self.d_v * self.s)

    def unfused_chain(self):
        p = self.p
        masked = p.causal or p.window not in (None, (None, None)) or p.softcap or p.bias or p.alibi or p.mask
        S, P = "S_masked" if masked else "S", "P_kept" if p.dropout else "P"
        for i in self.rows:
            r = length(i)
            for j in self.keys:
                c = length(j)
                self.load("Q", r * self.d * self.s)
                self.load("K", c * self.d * self.s)
                self.multiply(r, c, self.d)
                self.store("S", r * c * self.z)
                if masked:
                    self.load("S", r * c * self.z)
                    self.options(r, c)
                    self.store("S_masked", r * c * self.z)
                self.load(S, self.softmax_passes * r * c * self.z)
                self.store("P", r * c * self.z)
                if p.dropout:
                    self.store("keep", r * c)
                    self.load("P", r * c * self.z)
                    self.store("P_kept", r * c * self.z)
                self.load(P, r * c * self.z)
                self.load("V", c * self.d_v * self.s)
                self.multiply(r, self.d_v, c)
            self.store("lse", r * self.a)
            self.store("O", r * self.d_v * self.s)

    def flash1(self, kinds=None):
        """kinds: of pairs of blocks, 0 skipped, 1 whole, 2 under the mask."""
        begun = set()
        for j in self.keys:
            visitors = self.visitors(j)
            if kinds is not None:
                self.load("block_mask", INT * len(visitors))
                visitors = [i for i in visitors if kinds[i.start // self.Br][j.start // self.Bc]]
            if visitors:
                self.load("K", length(j) * self.d * self.s)
                self.load("V", length(j) * self.d_v * self.s)
            for i in visitors:
                r, c = length(i), length(j)
                self.load("Q", r * self.d * self.s)
                if i.start in begun:
                    self.load("O", r * self.d_v * self.s)
                    self.load("l", r * self.a)
                    self.load("m", r * self.a)
                begun.add(i.start)
                self.multiply(r, c, self.d)
                self.options(r, c, mask=kinds is None or kinds[i.start // self.Br][j.start // self.Bc] == 2)
                self.multiply(r, self.d_v, c)
                self.store("O", r * self.d_v * self.s)
                self.store("l", r * self.a)
                self.store("m", r * self.a)
        for i in self.rows:
            if i.start in begun:
                self.load("l", length(i) * self.a)
                self.load("m", length(i) * self.a)
            else:
                self.store("O", length(i) * self.d_v * self.s)
            self.store("lse", length(i) * self.a)

    def block_sparse(self):
        self.flash1(self.p.block_mask)

    def attend(self, i, visits, *, K="K", V="V", out=("O", "lse"), size=None):
        """One thread block of FlashAttention-2: a block of queries, and the blocks of keys that it visits."""
        r = length(i)
        self.load("Q", r * self.d * self.s)
        for j in visits:
            c = length(j)
            self.load(K, c * self.d * self.s)
            if V:
                self.load(V, c * self.d_v * self.s)
            self.multiply(r, c, self.d)
            self.options(r, c)
            self.multiply(r, self.d_v, c)
        self.store(out[0], r * self.d_v * (size or self.s))
        self.store(out[1], r * self.a)

    def flash2(self):
        for i in self.rows:
            self.attend(i, self.visits(i))

    def flash3_fp8(self):
        for i in self.rows:
            self.load("sQ", 4)
            self.load("sK", 4 * len(self.visits(i)))
            self.load("sV", 4 * len(self.visits(i)))
            self.attend(i, self.visits(i), size=2)

    def mla(self):
        self.pack()
        for i in self.rows:
            self.attend(i, self.visits(i), K="C", V=None)

    def split_kv(self, splits):
        self.pack()
        self.by_parts(splits, len(self.keys))

    def paged(self, splits):
        self.pack()
        for i in self.rows:
            self.load("lens", INT * splits)
            self.load("table", INT * len(self.visits(i)))
        self.by_parts(splits, -(-self.p.n_k // self.Bc))

    def by_parts(self, splits, blocks):
        """Each of the splits takes as many of the blocks of keys; then they are combined."""
        chunk = -(-blocks // splits) * self.Bc
        for i in self.rows:
            for k in range(splits):
                part = [j for j in self.visits(i) if k * chunk <= j.start < (k + 1) * chunk]
                if splits == 1:
                    self.attend(i, part)
                    continue
                self.attend(i, part, out=("O_split", "lse_split"), size=self.a)
                self.load("O_split", length(i) * self.d_v * self.a)
                self.load("lse_split", length(i) * self.a)
            if splits > 1:
                self.store("O", length(i) * self.d_v * self.s)
                self.store("lse", length(i) * self.a)

    def recompute_decode(self, steps):
        for prefix in range(max(self.p.n_k - steps, 1), self.p.n_k + 1):
            seen = self.seen[:prefix, :prefix]
            for i in cut(prefix, self.Br):
                self.attend(i, self.visits(i, seen))

    def incremental(self, steps, tokens):
        n, prompt = self.p.n_k, self.p.n_k - steps * tokens
        cache = {"K": "K_cache", "V": "V_cache"}
        self.lanes //= self.group
        for name, width in (("K", self.d), ("V", self.d_v)):
            self.load(name, n * width * self.s)
            self.store(cache[name], n * width * self.s)
        for _ in range(self.group):
            for i in cut(prompt, self.Br):
                self.attend(i, self.visits(i, self.seen[:prompt, :prompt]), **cache)
        for t in range(prompt, n, tokens):
            step = slice(t, t + tokens)
            visits = self.visits(step, self.seen[: step.stop, : step.stop])
            for j in visits:
                self.load("K_cache", length(j) * self.d * self.s)
                self.load("V_cache", length(j) * self.d_v * self.s)
            tiles = [tokens] if self.group == 1 else [self.group] * tokens  # of a head's tokens, or of a token's heads
            for r in tiles:
                self.load("Q", r * self.d * self.s)
                for c in map(length, visits):
                    self.multiply(r, c, self.d)
                    self.options(r, c)
                    self.multiply(r, self.d_v, c)
                self.store("O", r * self.d_v * self.s)
                self.store("lse", r * self.a)

    # backward

    def gather(self, name, n, width):
        """n rows of dK or dV: stored, or added where the heads of a group share them."""
        if self.group == 1:
            self.store(name, n * width * self.s)
        else:
            self.add(self.sum_of(name), n * width * self.a)

    def sum_of(self, name):
        return name if self.s == self.a else f"{name}_acc"

    def zeroed_and_converted(self, name, n, width, lanes):
        """An array in which parts are added up."""
        per_head, self.lanes = self.lanes, lanes
        self.store(self.sum_of(name), n * width * self.a)
        if self.s != self.a:
            self.load(f"{name}_acc", n * width * self.a)
            self.store(name, n * width * self.s)
        self.lanes = per_head

    def shared(self):
        """What dK and dV need beside their sums; zeros, where there are fewer keys than K has rows."""
        for name, width in (("dK", self.d), ("dV", self.d_v)):
            if self.group > 1:
                self.zeroed_and_converted(name, self.p.n_k, width, self.heads // self.group)
            else:
                self.store(name, (self.p.n_k - self.seen.shape[1]) * width * self.s)

    def stored_backward(self, visits, P, dP):
        """dV, the softmax's gradient, dQ and dK of P and dP in HBM. P: what V was multiplied by."""
        for i in self.rows:
            r = length(i)
            for c in map(length, visits(i)):
                for name, width, of in (("dO", self.d_v, P), ("Q", self.d, "dS")):  # dV and dK
                    self.load(of, r * c * self.z)
                    self.load(name, r * width * self.s)
                    self.multiply(c, width, r)
                self.load("dO", r * self.d_v * self.s)
                self.load("V", c * self.d_v * self.s)
                self.multiply(r, c, self.d_v)
                self.store("dP", r * c * self.z)
                self.load("P", self.gradient_passes * r * c * self.z)
                self.load(dP, self.gradient_passes * r * c * self.z)
                self.store("dS", r * c * self.z)
                if self.p.softcap:
                    self.load("dS", r * c * self.z)
                    self.load("Q", r * self.d * self.s)
                    self.load("K", c * self.d * self.s)
                    self.multiply(r, c, self.d)
                    self.store("dS", r * c * self.z)
                self.load("dS", r * c * self.z)
                self.load("K", c * self.d * self.s)
                self.multiply(r, self.d, c)
            self.store("dQ", r * self.d * self.s)
        for j in self.keys:
            self.gather("dK", length(j), self.d)
            self.gather("dV", length(j), self.d_v)
        self.shared()

    def naive_backward(self):
        self.stored_backward(self.visits, "P", "dP")

    def unfused_chain_backward(self):
        kept = self.p.dropout
        self.stored_backward(lambda _: self.keys, "P_kept" if kept else "P", "dP_dropped" if kept else "dP")
        if kept:
            elements = self.n * self.seen.shape[1]
            self.load("dP", elements * self.z)
            self.load("keep", elements)
            self.store("dP_dropped", elements * self.z)

    def recomputed(self, r, c):
        """QKᵀ again, dV, dP, dQ and dK of a pair."""
        self.load("Q", r * self.d * self.s)
        self.load("dO", r * self.d_v * self.s)
        self.load("lse", r * self.a)
        self.options(r, c)
        for width in (self.d, self.d_v, self.d_v, self.d, self.d):
            self.multiply(r, c, width)

    def keys_and_sums(self, j):
        if self.visitors(j):
            self.load("K", length(j) * self.d * self.s)
            self.load("V", length(j) * self.d_v * self.s)
        self.gather("dK", length(j), self.d)
        self.gather("dV", length(j), self.d_v)

    def flash1_backward(self):
        begun = set()
        for j in self.keys:
            self.keys_and_sums(j)
            for i in self.visitors(j):
                r = length(i)
                self.recomputed(r, length(j))
                if i.start in begun:
                    self.load("D", r * self.a)
                    self.load("dQ", r * self.d * self.s)
                else:
                    self.load("O", r * self.d_v * self.s)
                    self.store("D", r * self.a)
                begun.add(i.start)
                self.store("dQ", r * self.d * self.s)
        for i in self.rows:
            if i.start not in begun:
                self.store("dQ", length(i) * self.d * self.s)
        self.shared()

    def flash2_backward(self):
        self.load("dO", self.n * self.d_v * self.s)
        self.load("O", self.n * self.d_v * self.s)
        self.store("D", self.n * self.a)
        for j in self.keys:
            self.keys_and_sums(j)
            for i in self.visitors(j):
                self.recomputed(length(i), length(j))
                self.load("D", length(i) * self.a)
                self.add(self.sum_of("dQ"), length(i) * self.d * self.a)
        self.zeroed_and_converted("dQ", self.n, self.d, self.heads)
        self.shared()
