"""Closed forms of the backward passes that read P from HBM. Each lists its terms in the order of the algorithm's lines."""

import math

from ...hierarchy.counts import KernelCounts
from ..sums import Kind, Sums
from ..symbols import Symbols
from .gradient import gather, shared
from .lines import Kernels, Lines, drop, form, over, uncap


@form()
def naive_backward(y: Symbols) -> Kernels:
    v, L = y.sums(), Lines()
    kernels = _unfused(y, v, regenerated=y.p.dropout)
    L.load(y.s * y.d_v * (v.R + v.C))
    L.matmul(y.d_v * v.A, y.s * y.d_v * (v.R + v.C), y.a * v.A)
    drop(L, y, v, y.a)
    L.store(y.a * v.A, y.z * v.A)
    kernels["dP"] = L.kernel(v.P, _product_peak(y, v, y.d_v))
    kernels = {name: over(y.lanes, k) for name, k in kernels.items()}
    return kernels, y.lanes * 2 * y.z * y.n * y.p.n_k + shared(kernels, y)


@form()
def unfused_chain_backward(y: Symbols) -> Kernels:
    v, L, z = y.sums(dense=True), Lines(), y.z
    kernels = _unfused(y, v, regenerated=False)
    L.load(y.s * y.d_v * (v.R + v.C))
    L.matmul(y.d_v * v.A, y.s * y.d_v * (v.R + v.C), y.a * v.A)
    L.store(y.a * v.A, z * v.A)
    kernels["dP"] = L.kernel(v.P, _product_peak(y, v, y.d_v))
    if y.p.dropout:
        L = Lines()
        L.load((z + 1) * v.A)
        L.vector(v.A, z * v.A, z * v.A)
        L.vector(v.A, (1 + z) * v.A, z * v.A)
        L.store(z * v.A, z * v.A)
        kernels["dropout_backward"] = L.kernel(v.P, v.peak(lambda b: b.r * b.c * (z + 1)))
    kernels = {name: over(y.lanes, k) for name, k in kernels.items()}
    return kernels, y.lanes * (2 + y.p.dropout) * z * y.n * y.p.n_k + shared(kernels, y)


def _unfused(y: Symbols, v: Sums, *, regenerated: bool) -> dict[str, KernelCounts]:
    """What the backward passes that keep P in HBM have in common, for one lane: dV, the softmax's gradient, dQ, dK."""
    d, d_v, s, a, z = y.d, y.d_v, y.s, y.a, y.z
    kernels = {"dV": _sum_over_rows(y, v, d_v, regenerated=regenerated), "softmax_backward": _softmax_backward(y, v)}
    if y.p.softcap:
        L = Lines()
        L.load(z * v.A)
        L.load(s * d * (v.R + v.C))
        L.matmul(d * v.A, s * d * (v.R + v.C), a * v.A)
        uncap(L, y, v, z)
        L.store(a * v.A, z * v.A)
        peak = v.peak(lambda b: b.r * b.c * (z + a) + s * d * (b.r + b.c) if b.visits else 0)
        kernels["softcap"] = L.kernel(v.P, peak)
    L = Lines()
    L.fill(a * d * y.n)
    L.load(z * v.A)
    L.vector(y.cast_p * v.A, y.cast_p * z * v.A, y.cast_p * s * v.A)
    L.load(s * d * v.C)
    L.matmul(d * v.A, s * (v.A + d * v.C), a * d * v.R)
    L.vector(d * v.R, 2 * a * d * v.R, a * d * v.R)
    L.store(a * d * y.n, s * d * y.n)
    kernels["dQ"] = L.kernel(v.T, v.peak(lambda b: a * d * b.r + max(z * b.r * b.c, s * b.r * b.c + s * d * b.c)))
    kernels["dK"] = _sum_over_rows(y, v, d, regenerated=False)
    return kernels


def _sum_over_rows(y: Symbols, v: Sums, width: int, *, regenerated: bool) -> KernelCounts:
    """dV = PᵀdO or dK = dSᵀQ, a thread block for each block of keys. regenerated: dropout is drawn again."""
    s, a, z = y.s, y.a, y.z
    L = Lines()
    L.fill(a * width * y.n_k)
    L.load(z * v.A)
    if regenerated:
        drop(L, y, v, z)
    L.vector(y.cast_p * v.A, y.cast_p * z * v.A, y.cast_p * s * v.A)
    L.load(s * width * v.R)
    L.matmul(width * v.A, s * (v.A + width * v.R), a * width * v.C)
    L.vector(width * v.C, 2 * a * width * v.C, a * width * v.C)
    gather(L, y, width * y.n_k)
    alone = a * width * min(y.Bc, y.n_k)
    peak = v.peak(lambda b: a * width * b.c + max(z * b.r * b.c, s * b.r * b.c + s * width * b.r) if b.visits else 0)
    return L.kernel(math.ceil(y.n_k / y.Bc), max(alone, peak))


def _product_peak(y: Symbols, v: Sums, width: int) -> int:
    return v.peak(lambda b: y.s * width * (b.r + b.c) + y.a * b.r * b.c if b.visits else 0)


def _softmax_backward(y: Symbols, v: Sums) -> KernelCounts:
    """P and dP once where whole rows fit, and twice where not."""
    a, z = y.a, y.z
    rows = min(y.Br, y.sram // (y.p.n_k * (2 * a + z) + a))
    passes = 1 if rows else 2
    visible = v.visible if rows else v.R
    L = Lines()
    L.fill(0 if rows else a * v.N)
    L.load(passes * 2 * z * v.A)
    L.vector(passes * y.cast_s * v.A, passes * y.cast_s * z * v.A, passes * y.cast_s * a * v.A)
    L.vector(v.A, (a + z) * v.A, a * v.A)
    L.vector(v.A, a * v.A, a * visible)
    if not rows:
        L.vector(v.R, 2 * a * v.R, a * v.R)
    L.vector(v.A, z * v.A + a * visible, a * v.A)
    L.vector(v.A, 2 * a * v.A, a * v.A)
    L.vector(v.A, a * v.A, a * v.A)
    L.store(a * v.A, z * v.A)

    def of_rows(b: Kind) -> int:
        r = min(rows, b.r)
        return r * b.keys * (2 * a + z) + a * r if b.visits else 0

    def in_two_passes(b: Kind) -> int:
        own = z != a and not b.c == b.visits == 1  # dP − D has bytes of its own, unless it can take over those of dP, or of D
        return a * b.r + b.r * b.c * (a + z + own * a) if b.visits else a * b.r

    if rows:
        return L.kernel(v.strips(rows), v.peak(of_rows))
    return L.kernel(v.T, v.peak(in_two_passes, lambda b: a * b.r * 2 + a * b.r * b.c if b.visits else 0))
