"""Closed forms of the kernels that are not attention. Of a problem they take A (n_q, d) and B (d, n_k), or one array X (n_q, d)."""

import math

from ..symbols import Symbols
from .lines import Kernels, Lines, form, over


@form()
def row_sum(y: Symbols) -> Kernels:
    m, n, s, a = y.p.n_q, y.p.d, y.s, y.a
    steps = m * math.ceil(n / y.Bc)
    L = Lines()
    L.fill(a * m)
    L.load(s * m * n)
    L.vector(m * n, s * m * n, a * steps)
    L.vector(steps, 2 * a * steps, a * steps)
    L.store(a * m, a * m)
    r, c = min(y.Br, m), min(y.Bc, n)
    return _kernel("row_sum", y, L, math.ceil(m / y.Br), s * r * c + 2 * a * r)


@form()
def transpose(y: Symbols) -> Kernels:
    m, n, s = y.p.n_q, y.p.d, y.s
    L = Lines()
    L.load(s * m * n)
    L.store(s * m * n, s * m * n)
    return _kernel("transpose", y, L, math.ceil(m / y.Br) * math.ceil(n / y.Bc), s * min(y.Br, m) * min(y.Bc, n))


@form()
def tiled_matmul(y: Symbols, *, Bk: int = 32) -> Kernels:
    m, n, k, s, a = y.p.n_q, y.p.n_k, y.p.d, y.s, y.a
    Tr, Tc, Tk = math.ceil(m / y.Br), math.ceil(n / y.Bc), math.ceil(k / Bk)
    factors = s * k * (m * Tc + n * Tr)
    L = Lines()
    L.fill(a * m * n)
    L.load(factors)
    L.matmul(m * n * k, factors, a * m * n * Tk)
    L.vector(m * n * Tk, 2 * a * m * n * Tk, a * m * n * Tk)
    L.store(a * m * n, s * m * n)
    r, c = min(y.Br, m), min(y.Bc, n)
    return _kernel("tiled_matmul", y, L, Tr * Tc, a * r * c + s * (r + c) * min(Bk, k))


@form()
def layer_norm(y: Symbols) -> Kernels:
    N, d, s, a = y.p.n_q, y.p.d, y.s, y.a
    T, x = math.ceil(N / y.Br), N * d
    L = Lines()
    L.load(s * x)
    _mean(L, N, d, s, a)
    L.vector(x, s * x + a * N, a * x)
    L.vector(x, 2 * a * x, a * x)
    _mean(L, N, d, a, a)
    L.vector(2 * N, 2 * a * N, 2 * a * N)
    L.vector(x, a * (x + N), a * x)
    L.load(2 * s * d * T)
    L.vector(2 * x, 2 * (a * x + s * d * T), 2 * a * x)
    L.store(a * x, s * x)
    r = min(y.Br, N)
    return _kernel("layer_norm", y, L, T, a * r * (2 * d + 1))


def _mean(L: Lines, rows: int, columns: int, size: int, a: int) -> None:
    """Of each row of elements of `size` bytes: the sum, and the division."""
    L.vector(rows * columns, size * rows * columns, a * rows)
    L.vector(rows, a * rows, a * rows)


def _kernel(name: str, y: Symbols, L: Lines, programs: int, peak: int) -> Kernels:
    return {name: over(y.lanes, L.kernel(programs, peak))}, 0
