"""Closed forms of the algorithms whose scores lie in HBM. Each lists its terms in the order of the algorithm's lines."""

from collections.abc import Callable

from ...hierarchy.counts import KernelCounts
from ..sums import Kind, Sums
from ..symbols import Symbols
from .lines import Kernels, Lines, after_scale, drop, form, over, scores


@form()
def online_softmax(y: Symbols) -> Kernels:
    v = y.sums()
    d, d_v, s, a, z = y.d, y.d_v, y.s, y.a, y.z

    def scores_peak(b: Kind) -> int:
        q = b.r * d * s
        if not b.visits:
            return max(q, 3 * b.r * a)
        x, x_hbm, later = b.r * b.c * a, b.r * b.c * z, q * (b.visits > 1)
        return max(
            q + b.c * d * s + 2 * b.r * a + x, later + x + y.extra(b.r, b.c) + 2 * b.r * a, later + x_hbm + 3 * b.r * a,
            later + x + (x_hbm if z != a else 0) + 2 * b.r * a, later + x + 3 * b.r * a,
        )  # fmt: skip

    def output_peak(b: Kind) -> int:
        o = b.r * d_v * a
        if not b.visits:
            return max(b.r * a, o)
        x, x_hbm = b.r * b.c * a, b.r * b.c * z
        columns = 2 * b.r * a * (b.visits > 1)  # m and l, until their last use
        own = z != a and not b.c == b.visits == 1  # S − m has bytes of its own, unless it can take over those of S, or of m
        return o + max(2 * b.r * a + x_hbm + own * x, columns + b.r * b.c * s + b.c * d_v * s)

    L = Lines()
    L.load(s * d * v.N)
    L.fill(2 * a * v.N)
    L.load(s * d * v.C)
    L.matmul(d * v.A, s * d * (v.R + v.C), a * v.A)
    scores(L, y, v)
    L.vector(y.cast_s * v.A, y.cast_s * a * v.A, y.cast_s * z * v.A)
    L.store(z * v.A, z * v.A)
    L.vector(v.A, z * v.A, a * v.R)
    L.vector(2 * v.R, 4 * a * v.R, 2 * a * v.R)
    L.exp(v.R, a * v.R, a * v.R)
    L.vector(v.R, 2 * a * v.R, a * v.R)
    L.vector(v.A, z * v.A + a * v.R, a * v.A)
    L.exp(v.A, a * v.A, a * v.A)
    L.vector(v.A, a * v.A, a * v.R)
    L.vector(v.R, 2 * a * v.R, a * v.R)
    L.store(2 * a * v.N, 2 * a * v.N)
    L.vector(v.N, a * v.N, a * v.N)
    L.exp(v.N, a * v.N, a * v.N)
    L.vector(v.N, 2 * a * v.N, a * v.N)
    L.store(a * v.N, a * v.N)

    O = Lines()
    O.load(2 * a * v.N)
    O.fill(a * d_v * v.N)
    O.load(z * v.A)
    O.vector(v.A, z * v.A + a * v.R, a * v.A)
    O.exp(v.A, a * v.A, a * v.A)
    O.vector(v.A, a * (v.A + v.R), a * v.A)
    drop(O, y, v, a)
    _weighted(O, y, v, y.cast, a)
    O.store(a * d_v * v.N, s * d_v * v.N)
    kernels = {"scores": L.kernel(v.T, v.peak(scores_peak)), "output": O.kernel(v.T, v.peak(output_peak))}
    return {name: over(y.lanes, k) for name, k in kernels.items()}, y.lanes * (z * y.n * y.p.n_k + 2 * a * y.n)


def _weighted(L: Lines, y: Symbols, v: Sums, cast: int, size: int) -> None:
    """O + PV, of weights of `size` bytes that may be rounded first."""
    L.vector(cast * v.A, cast * size * v.A, cast * y.s * v.A)
    L.load(y.s * y.d_v * v.C)
    L.matmul(y.d_v * v.A, y.s * (v.A + y.d_v * v.C), y.a * y.d_v * v.R)
    L.vector(y.d_v * v.R, 2 * y.a * y.d_v * v.R, y.a * y.d_v * v.R)


@form()
def naive(y: Symbols) -> Kernels:
    v = y.sums()
    d, d_v, s, a, z = y.d, y.d_v, y.s, y.a, y.z
    L, O = Lines(), Lines()
    L.load(s * d * (v.R + v.C))
    L.matmul(d * v.A, s * d * (v.R + v.C), a * v.A)
    scores(L, y, v)
    L.store(a * v.A, z * v.A)
    product = v.peak(
        lambda b: (b.r + b.c) * d * s + b.r * b.c * a if b.visits else 0,
        lambda b: b.r * b.c * a + y.extra(b.r, b.c) if b.visits else 0,
    )
    O.fill(a * d_v * v.N)
    O.load(z * v.A)
    drop(O, y, v, z)
    _weighted(O, y, v, y.cast_p, z)
    O.store(a * d_v * v.N, s * d_v * v.N)
    kernels = {"scores": L.kernel(v.P, product), "softmax": softmax(y, v), "output": O.kernel(v.T, output_peak(y, v))}
    return {name: over(y.lanes, k) for name, k in kernels.items()}, y.lanes * 2 * z * y.n * y.p.n_k


def output_peak(y: Symbols, v: Sums) -> int:
    d_v, s, a, z = y.d_v, y.s, y.a, y.z
    return v.peak(lambda b: b.r * d_v * a + max(b.r * b.c * z, b.r * b.c * s + b.c * d_v * s))


@form()
def unfused_chain(y: Symbols) -> Kernels:
    p, d, d_v, s, a, z = y.p, y.d, y.d_v, y.s, y.a, y.z
    v = y.sums(dense=True)

    def peak(of: Callable[[int, int], int]) -> int:
        return v.peak(lambda b: of(b.r, b.c) if b.visits else 0)

    kernels = {}
    L = Lines()
    L.load(s * d * (v.R + v.C))
    L.matmul(d * v.A, s * d * (v.R + v.C), a * v.A)
    L.vector(v.A, a * v.A, a * v.A)
    L.store(a * v.A, z * v.A)
    kernels["scores"] = L.kernel(v.P, peak(lambda r, c: (r + c) * d * s + r * c * a))
    masked = bool(y.sides or p.softcap or p.bias or p.alibi or p.mask)
    if masked:
        L = Lines()
        L.load(z * v.A)
        L.vector(y.cast_s * v.A, y.cast_s * z * v.A, y.cast_s * a * v.A)
        after_scale(L, y, v)
        L.store(a * v.A, z * v.A)
        kernels["mask"] = L.kernel(v.P, peak(lambda r, c: r * c * a + max(r * c * z * y.cast_s, y.extra(r, c))))
    kernels["softmax"] = softmax(y, v)
    if p.dropout:
        L = Lines()
        L.vector(2 * v.A, 0, 0)
        L.store(0, v.A)
        L.load(z * v.A)
        L.vector(2 * v.A, 2 * z * v.A, 2 * z * v.A)
        L.store(z * v.A, z * v.A)
        kernels["dropout"] = L.kernel(v.P, peak(lambda r, c: r * c * z))
    O = Lines()
    O.fill(a * d_v * v.N)
    O.load(z * v.A)
    _weighted(O, y, v, y.cast_p, z)
    O.store(a * d_v * v.N, s * d_v * v.N)
    kernels["output"] = O.kernel(v.T, output_peak(y, v))
    footprint = y.n * p.n_k * (z * (2 + masked) + (z + 1) * p.dropout)
    return {name: over(y.lanes, k) for name, k in kernels.items()}, y.lanes * footprint


def longest_row(y: Symbols) -> int:
    """The keys of the longest row of S that fits on chip, beside a copy in another type, and three columns."""
    return (y.sram - 3 * y.a) // (y.z * y.cast_s + y.a)


def softmax(y: Symbols, v: Sums) -> KernelCounts:
    """Rows of S once where whole rows fit, and twice where not."""
    rows = min(y.Br, y.sram // (y.p.n_k * (y.z * y.cast_s + y.a) + 3 * y.a))
    return _softmax_of_rows(y, v, rows) if rows else _softmax_in_two_passes(y, v)


def _softmax_of_rows(y: Symbols, v: Sums, rows: int) -> KernelCounts:
    a, z = y.a, y.z
    visible, L = v.visible, Lines()
    L.fill(2 * a * v.N)
    L.load(z * v.A)
    L.vector(v.A, z * v.A, a * visible)
    L.vector(visible, 2 * a * visible, a * visible)
    L.vector(v.A, z * v.A + a * visible, a * v.A)
    L.exp(v.A, a * v.A, a * v.A)
    L.vector(v.A, a * v.A, a * visible)
    L.vector(visible, a * visible, a * visible)
    L.vector(v.A, a * (v.A + visible), a * v.A)
    L.store(a * v.A, z * v.A)
    L.exp(v.N, a * v.N, a * v.N)
    L.vector(v.N, 2 * a * v.N, a * v.N)
    L.store(a * v.N, a * v.N)

    def peak(b: Kind) -> int:
        r = min(rows, b.r)
        narrow = r * b.keys * (z + a) + r * a if y.cast_s else 0
        return max(r * b.keys * z + 2 * r * a, narrow, r * b.keys * a + 3 * r * a if b.visits else 0)

    return L.kernel(v.strips(rows), v.peak(peak))


def _softmax_in_two_passes(y: Symbols, v: Sums) -> KernelCounts:
    a, z = y.a, y.z
    L = Lines()
    L.fill(2 * a * v.N)
    L.load(2 * z * v.A)
    L.vector(v.A, z * v.A, a * v.R)
    L.vector(2 * v.R, 4 * a * v.R, 2 * a * v.R)
    L.exp(v.R, a * v.R, a * v.R)
    L.vector(v.R, 2 * a * v.R, a * v.R)
    L.vector(2 * v.A, 2 * (z * v.A + a * v.R), 2 * a * v.A)
    L.exp(2 * v.A, 2 * a * v.A, 2 * a * v.A)
    L.vector(v.A, a * v.A, a * v.R)
    L.vector(2 * v.R, 3 * a * v.R, 2 * a * v.R)
    L.vector(v.A, a * (v.A + v.R), a * v.A)
    L.store(a * v.A, z * v.A)
    L.exp(v.N, a * v.N, a * v.N)
    L.vector(v.N, 2 * a * v.N, a * v.N)
    L.store(a * v.N, a * v.N)

    def peak(b: Kind) -> int:
        x, x_hbm, column = b.r * b.c * a, b.r * b.c * z, b.r * a
        return max(x_hbm + 3 * column, x + x_hbm + 2 * column if y.cast_s else 0, x + 3 * column) if b.visits else 2 * column

    return L.kernel(v.T, v.peak(peak))
