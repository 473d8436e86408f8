"""Closed forms of the backward passes that recompute P. Each lists its terms in the order of the algorithm's lines."""

import math
from collections.abc import Callable, Sequence

from ..sums import Pair, Sums, pairs, visited_keys
from ..symbols import Symbols
from .gradient import atomic, gather, shared
from .lines import Kernels, Lines, drop, form, over, scores, uncap


@form()
def flash2_backward(y: Symbols) -> Kernels:
    d, d_v, s, a, N = y.d, y.d_v, y.s, y.a, y.n
    L = Lines()
    L.load(2 * s * d_v * N)
    L.vector(y.cast * d_v * N, y.cast * s * d_v * N, y.cast * a * d_v * N)
    L.vector(d_v * N, (a + s) * d_v * N, a * d_v * N)
    L.vector(d_v * N, a * d_v * N, a * N)
    L.store(a * N, a * N)
    r = min(y.Br, N)
    preprocess = L.kernel(math.ceil(N / y.Br), max((a + s) * d_v * r, a * (d_v + 1) * r))

    v, visited = _visited(y)
    L = Lines()
    _keys(L, y, visited)
    L.load(s * (d + d_v) * v.R)
    _weights(L, y, v)
    L.load(a * v.R)
    _dS(L, y, v)
    L.matmul(d * v.A, s * (v.A + d * v.C), a * d * v.R)
    L.atomic_add(a * d * v.R, a * d * v.R)
    _dK_and_dV(L, y, v)

    def peak(p: Pair) -> int:
        K, V, Q, dO, S, column = p.c * d * s, p.c * d_v * s, p.r * d * s, p.r * d_v * s, p.r * p.c * a, p.r * a
        sums = (d + d_v) * p.c * a
        X = S * y.p.softcap
        return sums + max(
            K + V + Q + dO + column + S + max(X, X + y.extra(p.r, p.c)), K + V + Q + dO + X + S + _rounded(y, p),
            K + V + Q + dO + X + 2 * S, K + V * p.more + Q + X + 2 * S + column, K + V * p.more + Q + p.r * p.c * s + p.r * d * a,
        )  # fmt: skip

    main = L.kernel(math.ceil(y.n_k / y.Bc), _peak(y, visited, peak))
    kernels = {"preprocess": over(y.lanes, preprocess), "flash2_backward": over(y.lanes, main)}
    footprint = y.lanes * a * N
    footprint += atomic(kernels, "dQ", N, d, y, y.Br, y.lanes) + shared(kernels, y)
    return kernels, footprint


@form()
def flash1_backward(y: Symbols) -> Kernels:
    d, d_v, s, a = y.d, y.d_v, y.s, y.a
    v, visited = _visited(y)
    L, first = Lines(), v.visible  # rows on their first pass; the others have D and dQ in HBM
    again, never = v.R - first, y.n - first
    _keys(L, y, visited)
    L.load(s * (d + d_v) * v.R)
    L.load((a + s * d) * again)
    L.load(s * d_v * first)
    L.vector(y.cast * d_v * first, y.cast * s * d_v * first, y.cast * a * d_v * first)
    L.vector(d_v * first, (a + s) * d_v * first, a * d_v * first)
    L.vector(d_v * first, a * d_v * first, a * first)
    L.store(a * first, a * first)
    L.fill(a * d * first)
    _weights(L, y, v)
    _dS(L, y, v)
    L.matmul(d * v.A, s * (v.A + d * v.C), a * d * v.R)
    L.vector(d * v.R, d * (a * v.R + a * first + s * again), a * d * v.R)
    L.store(a * d * v.R, s * d * v.R)
    _dK_and_dV(L, y, v)
    L.fill(a * d * never)
    L.store(a * d * never, s * d * never)

    def peak(p: Pair) -> int:
        K, V, Q, dO, S, column = p.c * d * s, p.c * d_v * s, p.r * d * s, p.r * d_v * s, p.r * p.c * a, p.r * a
        sums = (d + d_v) * p.c * a
        X = S * y.p.softcap
        dQ = p.r * d * (a if p.first else s)
        product = 0 if p.first or s == a else p.r * d * a  # accumulates in a dQ of its own type
        begin = max(y.cast * p.r * d_v * a + p.r * d_v * s, p.r * d_v * a + column) if p.first else 0
        stay = K + V + Q + dO + column + dQ
        return sums + max(
            K + V + Q + dO + begin, stay + column + S + max(X, X + y.extra(p.r, p.c)), stay + X + S + _rounded(y, p),
            stay + X + 2 * S, K + V * p.more + Q + dQ + p.r * p.c * s + product,
        )  # fmt: skip

    kernels = {"flash1_backward": over(y.lanes, L.kernel(1, max(v.unvisited * d * a, _peak(y, visited, peak))))}
    return kernels, y.lanes * a * y.n + shared(kernels, y)


def _visited(y: Symbols) -> tuple[Sums, Sequence[Pair]]:
    b = y.rows()
    return Sums.of(b, y.Bc), pairs(b, y.Bc, y.n_k)


def _keys(L: Lines, y: Symbols, visited: Sequence[Pair]) -> None:
    """K and V of every block of keys that is visited, and room for dK and dV."""
    L.load(y.s * (y.d + y.d_v) * visited_keys(visited))
    L.fill(y.a * (y.d + y.d_v) * y.n_k)


def _weights(L: Lines, y: Symbols, v: Sums) -> None:
    """P again, from lse; and dV."""
    d, d_v, s, a = y.d, y.d_v, y.s, y.a
    L.load(a * v.R)
    L.vector(v.R, a * v.R, a * v.R)
    L.matmul(d * v.A, s * d * (v.R + v.C), a * v.A)
    scores(L, y, v)
    L.vector(v.A, a * (v.A + v.R), a * v.A)
    L.exp(v.A, a * v.A, a * v.A)
    drop(L, y, v, a)
    L.vector(y.cast * v.A, y.cast * a * v.A, y.cast * s * v.A)
    L.matmul(d_v * v.A, s * (v.A + d_v * v.R), a * d_v * v.C)
    L.vector(d_v * v.C, 2 * a * d_v * v.C, a * d_v * v.C)


def _dS(L: Lines, y: Symbols, v: Sums) -> None:
    s, a = y.s, y.a
    L.matmul(y.d_v * v.A, s * y.d_v * (v.R + v.C), a * v.A)
    drop(L, y, v, a)
    L.vector(v.A, a * (v.A + v.R), a * v.A)
    L.vector(v.A, 2 * a * v.A, a * v.A)
    L.vector(v.A, a * v.A, a * v.A)
    if y.p.softcap:
        uncap(L, y, v, a)
    L.vector(y.cast * v.A, y.cast * a * v.A, y.cast * s * v.A)


def _dK_and_dV(L: Lines, y: Symbols, v: Sums) -> None:
    L.matmul(y.d * v.A, y.s * (v.A + y.d * v.R), y.a * y.d * v.C)
    L.vector(y.d * v.C, 2 * y.a * y.d * v.C, y.a * y.d * v.C)
    gather(L, y, (y.d + y.d_v) * y.n_k)


def _rounded(y: Symbols, p: Pair) -> int:
    """P as it is multiplied, beside the P that is needed again: dropped, or rounded, or itself."""
    return p.r * p.c * (y.a if y.p.dropout else y.s * y.cast)


def _peak(y: Symbols, visited: Sequence[Pair], of_pair: Callable[[Pair], int]) -> int:
    """Over the pairs; a block of keys that nobody sees has dK and dV only."""
    alone = max(min(y.Bc, y.n_k) * (y.d + y.d_v) * y.a if y.n_k else 0, 0)
    return max([alone, *map(of_pair, visited)])
