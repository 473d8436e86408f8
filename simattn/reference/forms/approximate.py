"""Closed forms of the algorithms that are not exact. Each lists its terms in the order of the algorithm's lines."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...hierarchy.counts import KernelCounts
from ..sums import Rows, Sums
from ..symbols import Symbols
from .flash import flash_kernel, flash_loop
from .lines import Kernels, Lines, form, over
from .performer import quotient

Key = tuple[int, int]  # the first key of a block, and the first after it


def within_blocks(y: Symbols, block: int) -> Sums:
    """Over tiles of Br rows, each of which visits keys of its own block only."""
    within = np.arange(0, block, y.Br)
    b, i = np.repeat(np.arange(0, y.n, block), len(within)), np.tile(within, y.n // block)
    r = np.minimum(y.Br, block - i)
    return Sums.of(y.visited(r, [(b + i, b + i + r - 1)], start=b, stop=b + block), y.Bc)


@form()
def block_diagonal(y: Symbols, block: int) -> Kernels:
    return {"block_diagonal": over(y.lanes, flash_kernel(y, within_blocks(y, block), y.s))}, 0


@form()
def local_global(y: Symbols, block: int) -> Kernels:
    v, n, s, a, d, d_v = within_blocks(y, block), y.n, y.s, y.a, y.d, y.d_v
    T = n // block
    kernels = {"local": over(y.lanes, flash_kernel(y, v, s if T == 1 else a))}
    if T == 1:
        return kernels, 0
    parts, c, L = T * math.ceil(block / y.Bc), min(y.Bc, block), Lines()
    L.fill(a * (d + d_v) * T)
    L.load(s * d * n)
    L.vector(d * n, s * d * n, a * d * parts)
    L.vector(d * parts, 2 * a * d * parts, a * d * parts)
    L.load(a * d_v * n)
    L.vector(d_v * n, a * d_v * n, a * d_v * parts)
    L.vector(d_v * parts, 2 * a * d_v * parts, a * d_v * parts)
    L.vector((d + d_v) * T, a * (d + d_v) * T, a * (d + d_v) * T)
    L.store(a * (d + d_v) * T, s * (d + d_v) * T)
    kernels["summary"] = over(y.lanes, L.kernel(T, max(a * (2 * d + d_v) + c * d * s, a * (d + 2 * d_v) + c * d_v * a)))
    kernels["global"] = over(y.lanes, _global(y, v, block))
    return kernels, y.lanes * (a * (d_v + 1) * n + s * (d + d_v) * T)


def _global(y: Symbols, v: Sums, block: int) -> KernelCounts:
    d, d_v, s, a, T, N, L = y.d, y.d_v, y.s, y.a, y.n // block, v.N, Lines()
    tiles, summaries, peak = [min(y.Br, block - i) for i in range(0, block, y.Br)], [], 0
    for g in range(T):  # those before it, and those after it
        visits = [min(y.Bc, n - j) for n in (g, 0 if y.p.causal else T - 1 - g) for j in range(0, n, y.Bc)]
        for r in tiles:
            summaries.append((r, len(visits), sum(visits), 0, 0))
            state, q = r * (d_v + 2) * a, r * d * s
            peak = max(peak, q, state)
            for k, c in enumerate(visits):
                later = q * (k + 1 < len(visits)) + c * d_v * s + 2 * r * a
                peak = max(peak, state + r * c * a + max(q + c * (d + d_v) * s, later))
    flash_loop(L, y, Sums.of(Rows(*np.array(summaries).T), y.Bc))
    L.hbm_read += a * (d_v + 1) * N  # O_local and lse_local where there were zeros and the lowest number
    quotient(L, y, N)
    L.vector(N, 2 * a * N, a * N)
    return L.kernel(len(summaries), peak)


def sparse(y: Symbols, shown: Callable[[Key, Key], bool]) -> tuple[Sums, list[tuple[Key, Key]]]:
    """Over the pairs that the options leave, and of which a pattern shows any; and those pairs."""
    rows, pairs = [], []
    for i in range(0, y.n, y.Br):
        stop = min(i + y.Br, y.n)
        (first, whole_start), (whole_stop, last) = (x.tolist() for x in y.seen_by(np.array([i, stop - 1])))
        keys = [(j, min(j + y.Bc, y.n_k)) for j in range(0, y.n_k, y.Bc)]
        seen = [k for k in keys if first < last and k[0] < last and k[1] > first and shown((i, stop), k)]
        cut = [k[1] - k[0] for k in seen if k[0] < whole_start or k[1] > whole_stop]
        rows.append((stop - i, len(seen), sum(k[1] - k[0] for k in seen), len(cut), sum(cut)))
        pairs += [((i, stop), k) for k in seen]
    return Sums.of(Rows(*np.array(rows).T), y.Bc), pairs


@form()
def longformer(y: Symbols, one_sided: int = 256, global_tokens: int = 0) -> Kernels:
    w, g = one_sided, global_tokens

    def shown(i: Key, j: Key) -> bool:
        return min(i[0], j[0]) < g or max(i[0] - j[1], j[0] - i[1]) < w

    def cut(i: Key, j: Key) -> bool:
        q, k = range(max(i[0], g), i[1]), range(max(j[0], g), j[1])
        return bool(q and k) and max(q[-1] - k[0], k[-1] - q[0]) > w

    v, pairs = sparse(y, shown)
    L, a = Lines(), y.a
    for (q, r), (k, c) in ((i, j) for i, j in pairs if cut(i, j)):
        R, C = r - q, c - k
        L.vector(3 * R * C + (2 * R * C + R + C if g else 0), 0, 0)  # distance, magnitude, near; global keys, rows, either: indices
        L.vector(R * C, a * R * C, a * R * C)
    return {"longformer": over(y.lanes, flash_kernel(y, v, y.s) + L.kernel(0, 0))}, 0


@form()
def bigbird(y: Symbols, global_blocks: int = 2, window_blocks: int = 3, random_blocks: int = 3, seed: int = 0) -> Kernels:
    """Blocks of Br = Bc tokens; the pattern is a boolean matrix, of which each row draws its random blocks."""
    T, rng = y.n // y.Br, np.random.default_rng(seed)
    at = np.arange(T)
    taken = (abs(at[:, None] - at) <= window_blocks // 2) | (at < global_blocks) | (at[:, None] < global_blocks)
    for row in taken:
        rest = np.flatnonzero(~row)
        if rest.size:
            row[rng.choice(rest, min(random_blocks, rest.size), replace=False)] = True
    v, _ = sparse(y, lambda i, j: bool(taken[i[0] // y.Br, j[0] // y.Bc]))
    return {"bigbird": over(y.lanes, flash_kernel(y, v, y.s))}, 0


@form()
def linformer(y: Symbols, k: int) -> Kernels:
    n, d, d_v, s, a, p = y.p.n_k, y.d, y.d_v, y.s, y.a, y.p
    columns, steps, L = math.ceil(k / y.Bc), math.ceil(n / y.Br), Lines()
    L.fill(a * (d + d_v) * k)
    L.load(s * (2 * k * n + (d + d_v) * n * columns))
    L.matmul((d + d_v) * k * n, s * (2 * k * n + (d + d_v) * n * columns), a * (d + d_v) * k * steps)
    L.vector((d + d_v) * k * steps, 2 * a * (d + d_v) * k * steps, a * (d + d_v) * k * steps)
    L.store(a * (d + d_v) * k, s * (d + d_v) * k)
    c, r = min(y.Bc, k), min(y.Br, n)
    project = L.kernel(columns, a * (d + d_v) * c + s * r * (c + max(d, d_v)))
    over_k = Symbols(replace(p, n_k=k, offset=None), y.Br, y.Bc, sram=y.sram)
    attend = flash_kernel(over_k, over_k.sums(), s)
    return {"project": over(p.kv_lanes, project), "linformer": over(y.lanes, attend)}, p.kv_lanes * s * (d + d_v) * k


@form()
def dynamic_conv(y: Symbols, width: int) -> Kernels:
    n, d, d_v, s, a, w = y.n, y.d, y.d_v, y.s, y.a, width
    after = 0 if y.p.causal else (w - 1) // 2
    before, peak, tiles, L = w - 1 - after, 0, math.ceil(n / y.Br), Lines()

    def near(start: int, stop: int) -> int:
        return min(stop + after, n) - max(start - before, 0)

    for i in range(0, n, y.Br):
        stop = min(i + y.Br, n)
        r, middle = stop - i, max(0, min(stop, n - after) - max(i, before))
        ends = [t for t in range(i, stop) if not before <= t < n - after]
        for length, offsets in [(1, near(t, t + 1)) for t in ends] + [(middle, w)] * (middle > 0):
            L.vector(offsets * d_v * length, offsets * length * (a + s * d_v), offsets * a * d_v * length)
            L.vector(offsets * d_v * length, 2 * offsets * a * d_v * length, offsets * a * d_v * length)
        L.load(s * d_v * near(i, stop))
        taken = near(i, stop) == r and (r == 1 or w == 1) and (s == a or w == d_v == 1)  # the one product takes over V, or P
        loop = r * w * a + near(i, stop) * d_v * s + max(middle, 1) * d_v * a * (1 if taken else 2)
        peak = max(peak, r * d * s + w * d * s + r * w * a, r * (w + 1) * a, loop)
    L.load(s * d * (n + w * tiles))
    L.matmul(d * w * n, s * d * (n + w * tiles), a * w * n)
    L.vector(w * n, a * w * n, a * n)  # rowmax
    L.vector(w * n, a * (w + 1) * n, a * w * n)
    L.exp(w * n, a * w * n, a * w * n)
    L.vector(w * n, a * w * n, a * n)  # rowsum
    L.vector(w * n, a * (w + 1) * n, a * w * n)
    L.fill(a * d_v * n)
    L.store(a * d_v * n, s * d_v * n)
    return {"dynamic_conv": over(y.lanes, L.kernel(tiles, peak))}, 0
