"""Closed forms of decoding: step by step without and with a cache, over pages, and from a latent cache."""

import math

import numpy as np

from ...hierarchy.counts import KernelCounts
from ..sums import Kind, Sums, blocks_in, total
from ..symbols import Symbols
from .flash import flash_end, flash_kernel, flash_loop, flash_peak, splitted
from .lines import Kernels, Lines, form, over


@form(packed=True)
def paged(y: Symbols) -> Kernels:
    """The splits share the table's pages, of which the sequence may fill some only."""
    return splitted(y, "paged", y.sums(room=y.room), ints=1)


@form(packed=True)
def mla(y: Symbols) -> Kernels:
    return {"mla": over(y.lanes, flash_kernel(y, y.sums(), y.s, shared=True))}, 0


@form(causal=True)
def recompute_decode(y: Symbols) -> Kernels:
    kernels: dict[str, KernelCounts] = {}
    if y.prompt:
        kernels["prefill"] = over(y.lanes, flash_kernel(y, Sums.of(y.rows(y.prompt), y.Bc), y.s))
    if y.prompt < y.p.n_k:
        kernels["step"] = over(y.lanes, flash_kernel(y, _prefixes(y), y.s))
    return kernels, 0


def _prefixes(y: Symbols) -> Sums:
    """Over the prefixes that follow the prompt, and the row blocks of each.

    The last row block of a prefix is summed by itself. Those before it visit the same key blocks in every prefix that has them, for
    no row sees beyond its own key: so a prefix takes them from running sums. Only its last block of keys ends where the prefix does;
    of the rows that visit it none sees all of it. The longest prefix has the largest of each row block, so its peak is the peak.
    """
    prefix = np.arange(y.prompt + 1, y.p.n_k + 1)
    whole = (prefix - 1) // y.Br  # row blocks before the last one
    r = prefix - whole * y.Br
    b, last = y.rows(y.p.n_k), y.visited(r, [(whole * y.Br, prefix - 1)], stop=prefix)
    visits, keys, masked, masked_keys = (np.append(0, np.cumsum(x))[whole] for x in (b.visits, b.keys, b.masked, b.masked_keys))
    end = np.minimum(prefix, y.n_k)
    at = blocks_in(end, y.Bc)  # the prefix's key blocks
    first, n = b.ranges[0]
    reach = np.maximum.accumulate(np.where(n > 0, first + n, 0))
    visitors = np.maximum(whole - np.searchsorted(reach, at), 0)  # of the prefix's last block of keys
    missing = visitors * (np.minimum(at * y.Bc, y.n_k) - end)
    keys, masked_keys = keys - missing, masked_keys - missing
    C, A = total(keys + last.keys), total(y.Br * keys + r * last.keys)
    return Sums(
        total(visits + last.visits), total(y.Br * visits + r * last.visits), C, A, total(y.Br * masked + r * last.masked),
        total(y.Br * masked_keys + r * last.masked_keys), C, A, total(whole + 1), total(prefix), Sums.of(b, y.Bc).kinds,
    )  # fmt: skip


@form(packed=True, causal=True)
def incremental(y: Symbols) -> Kernels:
    """With K and V of the prompt and of each step copied into the cache."""
    p, s, width, group = y.p, y.s, y.d + y.d_v, y.p.group
    n, most, steps = p.n_k, max(y.d, y.d_v), (p.n_k - y.prompt) // y.tokens
    L = Lines()
    L.load(s * width * n)
    L.store(s * width * n, s * width * n)
    longest = max(min(y.Bc, y.prompt), y.tokens if steps else 0)
    kernels = {"append": over(y.lanes, L.kernel(math.ceil(y.prompt / y.Bc) + steps, s * most * longest))}
    if y.prompt:
        kernels["prefill"] = over(y.lanes * group, flash_kernel(y, Sums.of(y.rows(y.prompt), y.Bc), s))
    if steps:
        kernels["decode"] = over(y.lanes, _steps(y, steps))
    return kernels, y.lanes * s * width * n


def _steps(y: Symbols, steps: int) -> KernelCounts:
    """A thread block a step, with a tile of a head's tokens, or one of a token's heads for each token. It reads the cache once for all."""
    d, d_v, s, a = y.d, y.d_v, y.s, y.a
    tiles, r = (1, y.tokens) if y.p.group == 1 else (y.tokens, y.p.group)
    q = np.arange(y.prompt, y.p.n_k, y.tokens // tiles)  # a tile's first query
    new = q - (q - y.prompt) % y.tokens  # its step's
    b = y.visited(q * 0 + r, [(new, new + y.tokens - 1)], (q, q + y.tokens // tiles - 1), stop=new + y.tokens)
    v, L = Sums.of(b, y.Bc), Lines()
    flash_loop(L, y, v)
    L.load(-s * (d + d_v) * (v.C - v.C // tiles))
    flash_end(L, y, v.N, s)
    if tiles == 1:
        return L.kernel(steps, flash_peak(y, v))

    def peak(b: Kind) -> int:
        q, kv, state, S = b.r * d * s, b.c * (d + d_v) * s, b.r * (d_v + 2) * a, b.r * b.c * a
        if not b.visits:
            return max((tiles - 1) * state + q, tiles * state + b.r * a)
        left = tiles if b.visits > 1 else tiles - 1  # tiles of queries still to be used, once the first was
        at_product, after = tiles * q + kv + tiles * state + S, left * q + kv + tiles * state + S
        return max(at_product, after + y.extra(b.r, b.c), after + 2 * b.r * a)

    return L.kernel(steps, v.peak(peak))
