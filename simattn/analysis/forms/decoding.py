"""Closed forms of decoding: step by step without and with a cache, over pages, and from a latent cache."""

import math

from ...hierarchy.counts import KernelCounts
from ..symbols import Rows, Sums, Symbols
from .flash import flash_end, flash_kernel, flash_loop, flash_peak, splitted
from .lines import Kernels, Lines, over


def paged(y: Symbols) -> Kernels:
    chunk = math.ceil(math.ceil(y.p.n_k / y.Bc) / y.splits) * y.Bc  # the table has pages for n_k keys, of which kv_len are there
    return splitted(y, "paged", [y.sums(k * chunk, (k + 1) * chunk) for k in range(y.splits)], ints=1)


def mla(y: Symbols) -> Kernels:
    return {"mla": over(y.lanes, flash_kernel(y, y.sums(), y.s, shared=True))}, 0


def recompute_decode(y: Symbols) -> Kernels:
    kernels: dict[str, KernelCounts] = {}
    for prefix in range(max(y.prompt, 1), y.p.n_k + 1):
        name = "prefill" if prefix == y.prompt else "step"
        k = flash_kernel(y, y.sums(0, prefix, prefix), y.s)
        kernels[name] = kernels.get(name, KernelCounts()) + over(y.lanes, k)
    return kernels, 0


def incremental(y: Symbols) -> Kernels:
    """With K and V of the prompt and of each step copied into the cache."""
    p, s, width, group = y.p, y.s, y.d + y.d_v, y.p.group
    n, most = p.n_k, max(y.d, y.d_v)
    L, steps = Lines(), range(y.prompt, n, y.tokens)
    L.load(s * width * n)
    L.store(s * width * n, s * width * n)
    longest = max(min(y.Bc, y.prompt), y.tokens if steps else 0)
    kernels = {"append": over(y.lanes, L.kernel(math.ceil(y.prompt / y.Bc) + len(steps), s * most * longest))}
    if y.prompt:
        starts = [(i, min(y.Br, y.prompt - i)) for i in range(0, y.prompt, y.Br)]
        blocks = [y.block(r, *((i, i + r - 1),) * 2, 0, y.prompt) for i, r in starts]
        kernels["prefill"] = over(y.lanes * group, flash_kernel(y, Sums.of_rows(blocks), s))
    decode = KernelCounts()
    for t in steps:
        new = (t, t + y.tokens - 1)
        own = [(y.tokens, new)] if group == 1 else [(group, (q, q)) for q in range(t, t + y.tokens)]
        decode = decode + _step(y, [y.block(r, new, of, 0, t + y.tokens) for r, of in own])
    if steps:
        kernels["decode"] = over(y.lanes, decode)
    return kernels, y.lanes * s * width * n


def _step(y: Symbols, tiles: list[Rows]) -> KernelCounts:
    """A thread block with several tiles of queries, for which each block of the cache is read once."""
    d, d_v, s, a = y.d, y.d_v, y.s, y.a
    v, L = Sums.of_rows(tiles), Lines()
    flash_loop(L, y, v)
    L.load(-s * (d + d_v) * tiles[0].keys * (len(tiles) - 1))
    flash_end(L, y, v.N, s)
    if len(tiles) == 1:
        return L.kernel(1, flash_peak(y, v))
    b, n = tiles[0], len(tiles)
    q, kv, state, S = b.r * d * s, b.c * (d + d_v) * s, b.r * (d_v + 2) * a, b.r * b.c * a
    left = n if b.visits > 1 else n - 1  # tiles of queries still to be used, once the first was
    at_product, after = n * q + kv + n * state + S, left * q + kv + n * state + S
    peak = max(at_product, after + y.extra(b.r, b.c), after + 2 * b.r * a) if b.visits else n * (q + state)
    return L.kernel(1, max(peak, n * q + n * state, n * state + b.r * a))
