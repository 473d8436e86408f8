"""Closed form of random features: terms in the order of the algorithm's lines."""

import math

from ...hierarchy.counts import KernelCounts
from ..symbols import Symbols
from .lines import Kernels, Lines, form, over


def phi(L: Lines, y: Symbols, m: int, n: int, tiles: int) -> None:
    """The features of n rows, by `tiles` tiles; W is on chip."""
    d, s, a = y.d, y.s, y.a
    L.vector(y.cast * d * n, y.cast * s * d * n, y.cast * a * d * n)
    L.vector(d * n, 2 * a * d * n, a * d * n)
    L.vector(d * n, a * d * n, a * n)
    L.vector(n, a * n, a * n)
    L.matmul(d * m * n, s * d * (n + m * tiles), a * m * n)
    L.vector(m * n, a * m * n, a * m * n)
    L.vector(m * n, a * (m + 1) * n, a * m * n)
    L.exp(m * n, a * m * n, a * m * n)
    L.vector(m * n, a * m * n, a * m * n)


def phi_peak(y: Symbols, m: int, r: int) -> int:
    """The rows, and either their copy and the squares' sum, or that sum and the products; without W."""
    return r * y.d * y.s + r * y.a + r * y.a * max(y.d, m)


def sums(L: Lines, y: Symbols, m: int, n: int, tiles: int) -> None:
    """S and z of the features and the values of n keys."""
    d_v, s, a = y.d_v, y.s, y.a
    L.load(s * d_v * n)
    L.vector(y.cast * d_v * n, y.cast * s * d_v * n, y.cast * a * d_v * n)
    L.matmul(m * d_v * n, a * (m + d_v) * n, a * m * d_v * tiles)
    L.vector(m * d_v * tiles, 2 * a * m * d_v * tiles, a * m * d_v * tiles)
    L.vector(m * n, a * m * n, a * m * tiles)
    L.vector(m * tiles, 2 * a * m * tiles, a * m * tiles)


def quotient(L: Lines, y: Symbols, n: int) -> None:
    """O and the log of n rows, of numerators and denominators."""
    d_v, s, a = y.d_v, y.s, y.a
    L.vector(d_v * n, a * (d_v + 1) * n, a * d_v * n)
    L.store(a * d_v * n, s * d_v * n)
    L.exp(n, a * n, a * n)
    L.store(a * n, a * n)


@form()
def performer(y: Symbols, m: int) -> Kernels:
    if y.p.causal:
        return {"prefix_sums": over(y.lanes, _prefix_sums(y, m))}, 0
    n, n_k, d, d_v, s, a = y.n, y.p.n_k, y.d, y.d_v, y.s, y.a
    W, state, T, c, L = m * d * s, m * (d_v + 1) * a, math.ceil(n_k / y.Bc), min(y.Bc, n_k), Lines()
    L.load(W)
    L.fill(state)
    L.load(s * d * n_k)
    phi(L, y, m, n_k, T)
    sums(L, y, m, n_k, T)
    L.store(state, state)
    later = W * (T > 1) + c * m * a + max(m * a, c * d_v * (s + y.cast * a))
    kernels = {"sums": over(y.p.kv_lanes, L.kernel(1, state + max(W + phi_peak(y, m, c), later)))}
    T, r, L = math.ceil(n / y.Br), min(y.Br, n), Lines()
    L.load(s * d * n + W * T)
    phi(L, y, m, n, T)
    L.load(state * T)
    L.matmul(m * n, a * m * (n + T), a * n)
    L.matmul(m * d_v * n, a * m * (n + d_v * T), a * d_v * n)
    quotient(L, y, n)
    kernels["divide"] = over(y.lanes, L.kernel(T, max(W + phi_peak(y, m, r), a * (r * m + m * d_v + r * (d_v + 1)))))
    return kernels, y.p.kv_lanes * state


def _prefix_sums(y: Symbols, m: int) -> KernelCounts:
    n, d, d_v, s, a = y.n, y.d, y.d_v, y.s, y.a
    W, state, T, r, L = m * d * s, m * (d_v + 1) * a, math.ceil(n / y.Br), min(y.Br, n), Lines()
    A = sum(min(y.Br, n - i) ** 2 for i in range(0, n, y.Br))
    L.load(W)
    L.fill(state)
    L.load(2 * s * d * n)
    phi(L, y, m, n, T)
    phi(L, y, m, n, T)
    L.matmul(m * A, 2 * a * m * n, a * A)
    L.vector(A, 0, 0)
    L.vector(A, a * A, a * A)
    L.vector(A, a * A, a * n)  # rowsum
    L.matmul(m * n, a * m * (n + T), a * n)
    L.vector(n, 2 * a * n, a * n)
    L.matmul(m * d_v * n, a * m * (n + d_v * T), a * d_v * n)
    L.matmul(d_v * A, a * (A + d_v * n), a * d_v * n)
    L.vector(d_v * n, 2 * a * d_v * n, a * d_v * n)
    quotient(L, y, n)
    sums(L, y, m, n, T)
    at_output = W * (T > 1) + a * r * (2 * m + 2 * d_v + r + 1)  # f, g, V, O, A, l
    return L.kernel(1, state + max(W + r * m * a + phi_peak(y, m, r), at_output))
