"""Closed forms of the FlashAttention family. Each lists its terms in the order of the algorithm's lines."""

from collections.abc import Sequence

from ...hierarchy.counts import KernelCounts
from ..sums import Kind, Pair, Sums, pairs, visited_keys
from ..symbols import Symbols
from .lines import Kernels, Lines, drop, form, over, scores


def flash_loop(L: Lines, y: Symbols, v: Sums, *, shared: bool = False) -> None:
    """FlashAttention-2's loop over the visited keys. shared: V is a part of K, as in the latent cache."""
    d, d_v, s, a = y.d, y.d_v, y.s, y.a
    L.load(s * d * v.N)
    L.fill(a * (d_v + 2) * v.N)
    L.load(s * (d if shared else d + d_v) * v.C)
    L.matmul(d * v.A, s * d * (v.R + v.C), a * v.A)
    scores(L, y, v)
    L.vector(v.A, a * v.A, a * v.R)  # rowmax
    L.vector(v.R, 2 * a * v.R, a * v.R)
    L.vector(v.A, a * (v.A + v.R), a * v.A)
    L.exp(v.A, a * v.A, a * v.A)
    L.vector(v.R, 2 * a * v.R, a * v.R)
    L.exp(v.R, a * v.R, a * v.R)
    L.vector(v.R, 2 * a * v.R, a * v.R)
    L.vector(v.A, a * v.A, a * v.R)  # rowsum
    L.vector(v.R, 2 * a * v.R, a * v.R)
    drop(L, y, v, a)
    L.vector(y.cast * v.A, y.cast * a * v.A, y.cast * s * v.A)
    L.vector(d_v * v.R, a * (1 + d_v) * v.R, a * d_v * v.R)
    L.matmul(d_v * v.A, s * (v.A + d_v * v.C), a * d_v * v.R)
    L.vector(d_v * v.R, 2 * a * d_v * v.R, a * d_v * v.R)


def flash_end(L: Lines, y: Symbols, N: int, out: int) -> None:
    """O / max(l, 1), stored at `out` bytes an element, and lse."""
    d_v, a = y.d_v, y.a
    L.vector(N, a * N, a * N)
    L.vector(d_v * N, a * (d_v + 1) * N, a * d_v * N)
    L.store(a * d_v * N, out * d_v * N)
    L.exp(N, a * N, a * N)
    L.vector(N, 2 * a * N, a * N)
    L.store(a * N, a * N)


def flash_peak(y: Symbols, v: Sums, *, shared: bool = False) -> int:
    d, d_v, s, a = y.d, y.d_v, y.s, y.a

    def at_product(b: Kind) -> int:  # Q K V O l m S
        return b.r * d * s + b.c * (d if shared else d + d_v) * s + b.r * (d_v + 2) * a + b.r * b.c * a if b.visits else 0

    def later(b: Kind) -> int:  # V O l m S, and Q unless this was its last use
        return b.r * d * s * (b.visits > 1) + b.c * (d if shared else d_v) * s + b.r * (d_v + 2) * a + b.r * b.c * a

    def at_options(b: Kind) -> int:
        return later(b) + y.extra(b.r, b.c) if b.visits else 0

    def at_rowsum(b: Kind) -> int:  # with two more columns
        return later(b) + 2 * b.r * a if b.visits else 0

    def at_end(b: Kind) -> int:
        return max(b.r * (d_v + 3) * a, b.r * d * s)

    return v.peak(at_product, at_options, at_rowsum, at_end)


def flash_kernel(y: Symbols, v: Sums, out: int, *, shared: bool = False) -> KernelCounts:
    L = Lines()
    flash_loop(L, y, v, shared=shared)
    flash_end(L, y, v.N, out)
    return L.kernel(v.T, flash_peak(y, v, shared=shared))


@form()
def flash2(y: Symbols) -> Kernels:
    return {"flash2": over(y.lanes, flash_kernel(y, y.sums(), y.s))}, 0


@form(packed=True)
def split_kv(y: Symbols) -> Kernels:
    return splitted(y, "partial", y.sums(room=y.lengths))


def splitted(y: Symbols, name: str, v: Sums, ints: int = 0) -> Kernels:
    """A kernel over parts of the keys, and their combination. ints: table entries read, by each thread block and for each visit."""
    a, d_v, n = y.a, y.d_v, y.splits
    partial = flash_kernel(y, v, y.s if n == 1 else a)
    reads = Lines()
    reads.load_int(ints * (v.T + v.P))
    kernels = {name: over(y.lanes, partial + reads.kernel(0, 0))}
    if n == 1:
        return kernels, 0
    N, T, C = v.N // n, v.T // n, Lines()
    C.fill(a * (d_v + 2) * N)
    C.load(a * (d_v + 1) * N * n)
    C.vector(N * n, 2 * a * N * n, a * N * n)
    C.vector(2 * N * n, 4 * a * N * n, 2 * a * N * n)
    C.exp(2 * N * n, 2 * a * N * n, 2 * a * N * n)
    C.vector(2 * N * n, 4 * a * N * n, 2 * a * N * n)
    C.vector(2 * d_v * N * n, 2 * a * (d_v + 1) * N * n, 2 * a * d_v * N * n)
    C.vector(d_v * N * n, 2 * a * d_v * N * n, a * d_v * N * n)
    flash_end(C, y, N, y.s)
    peak = v.peak(lambda b: b.r * (d_v + 4) * a, lambda b: b.r * (2 * d_v + 3) * a)
    kernels["combine"] = over(y.lanes, C.kernel(T, peak))
    return kernels, y.lanes * n * a * y.n * (d_v + 1)


@form()
def flash1(y: Symbols) -> Kernels:
    b = y.rows()
    kernel = _flash1_kernel(y, Sums.of(b, y.Bc), pairs(b, y.Bc, y.n_k), 0)
    return {"flash1": over(y.lanes, kernel)}, y.lanes * 2 * y.a * y.n


@form()
def block_sparse(y: Symbols) -> Kernels:
    kernel = _flash1_kernel(y, *y.under_block_mask(), y.sums().P)
    return {"block_sparse": over(y.lanes, kernel)}, y.lanes * 2 * y.a * y.n


def _flash1_kernel(y: Symbols, v: Sums, pairs: Sequence[Pair], entries: int) -> KernelCounts:
    d, d_v, s, a, L = y.d, y.d_v, y.s, y.a, Lines()
    first = v.visible  # rows on their first pass; the others have O, l and m in HBM
    again, never = v.R - first, y.n - first
    L.load_int(entries)
    L.load(s * (d + d_v) * visited_keys(pairs))
    L.load(s * d * v.R)
    L.fill(a * (d_v + 2) * first)
    L.load((s * d_v + 2 * a) * again)
    L.matmul(d * v.A, s * d * (v.R + v.C), a * v.A)
    scores(L, y, v)
    L.vector(v.A, a * v.A, a * v.R)  # rowmax
    L.vector(v.R, a * v.R, a * v.R)
    L.vector(v.A, a * (v.A + v.R), a * v.A)
    L.exp(v.A, a * v.A, a * v.A)
    L.vector(4 * v.R, 8 * a * v.R, 4 * a * v.R)  # m_new; m − m_new, and times l; m_ij − m_new
    L.exp(2 * v.R, 2 * a * v.R, 2 * a * v.R)
    L.vector(v.A, a * v.A, a * v.R)  # rowsum
    L.vector(2 * v.R, 4 * a * v.R, 2 * a * v.R)
    drop(L, y, v, a)
    L.vector(y.cast * v.A, y.cast * a * v.A, y.cast * s * v.A)
    L.matmul(d_v * v.A, s * (v.A + d_v * v.C), a * d_v * v.R)
    L.vector(d_v * v.R, a * v.R + d_v * (a * first + s * again), a * d_v * v.R)
    L.vector(d_v * v.R, a * (1 + d_v) * v.R, a * d_v * v.R)
    L.vector(d_v * v.R, 2 * a * d_v * v.R, a * d_v * v.R)
    L.vector(v.R, a * v.R, a * v.R)
    L.vector(d_v * v.R, a * (d_v + 1) * v.R, a * d_v * v.R)
    L.store(a * d_v * v.R, s * d_v * v.R)
    L.store(2 * a * v.R, 2 * a * v.R)
    L.load(2 * a * first)
    L.exp(first, a * first, a * first)
    L.vector(first, 2 * a * first, a * first)
    L.fill(a * (d_v + 1) * never)
    L.store(a * d_v * never, s * d_v * never)
    L.store(a * y.n, a * y.n)

    def peak(p: Pair) -> int:
        K, V, Q, S, column = p.c * d * s, p.c * d_v * s, p.r * d * s, p.r * p.c * a, p.r * a
        O = p.r * d_v * (a if p.first else s)
        acc = p.r * d_v * a  # a product, or O where it comes in another type
        stay = K * p.more + V + O
        rescaled = 0 if p.first or s == a or d_v == 1 else acc  # a · O takes over the bytes of O, or of a, where it can
        return max(
            K + V + Q + O + 2 * column + S, stay + 2 * column + S + y.extra(p.r, p.c, partial=p.partial), stay + 4 * column + S,
            stay + 4 * column + p.r * p.c * s + acc, (K + V) * p.more + O + 4 * column + acc + rescaled,
        )  # fmt: skip

    closing = max(2 * a * max((p.r for p in pairs), default=0), a * d_v * v.unvisited)
    return L.kernel(1, max([closing, *map(peak, pairs)]))


@form()
def flash3_fp8(y: Symbols) -> Kernels:
    """FlashAttention-2's lines, and a factor for each block of Q, K and V; O in bfloat16."""
    v, L, a, d_v, factor = y.sums(), Lines(), y.a, y.d_v, 4
    flash_loop(L, y, v)
    flash_end(L, y, v.N, 2)
    L.load(factor * (v.T + 2 * v.P))
    L.fill(factor * v.T)
    L.vector(v.P, 2 * factor * v.P, factor * v.P)  # q · k
    L.vector(v.A, a * v.A + factor * v.P, a * v.A)
    L.vector(v.R, a * v.R, a * v.R)  # m − OFFSET
    L.vector(v.P, 2 * factor * v.P, factor * v.P)  # v_old / v
    L.vector(v.R, a * v.R + factor * v.P, a * v.R)
    L.vector(v.N, a * v.N + factor * v.T, a * v.N)  # v / max(l, 1)
    L.vector(v.N, a * v.N, a * v.N)  # lse − OFFSET

    def peak(b: Kind) -> int:
        q, kv, stay, S = b.r * y.d * y.s, b.c * (y.d + d_v) * y.s, b.r * (d_v + 2) * a, b.r * b.c * a
        later = (q + factor) * (b.visits > 1) + b.c * d_v * y.s + stay + 2 * factor + S
        loop = max(q + kv + stay + 4 * factor + S, later + y.extra(b.r, b.c), later + 2 * b.r * a) if b.visits else 0
        return max(loop, q + factor, stay + factor, b.r * (d_v + 3) * a + factor)

    return {"flash3_fp8": over(y.lanes, L.kernel(v.T, v.peak(peak)))}, 0
