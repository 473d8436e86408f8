"""Closed forms of how gradients gather: stored, or added up in an array that is zeroed first and converted last."""

import math

from ...hierarchy.counts import KernelCounts
from ..symbols import Symbols
from .lines import Lines, over


def gather(L: Lines, y: Symbols, elements: int) -> None:
    """dK or dV: stored, or added where the heads of a group share it."""
    if y.p.group > 1:
        L.atomic_add(y.a * elements, y.a * elements)
    else:
        L.store(y.a * elements, y.s * elements)


def atomic(kernels: dict[str, KernelCounts], name: str, n: int, width: int, y: Symbols, block: int, lanes: int) -> int:
    """The kernels that zero and convert an array in which parts are added up, and its bytes, unless it is the output itself."""
    a, s, programs, peak = y.a, y.s, math.ceil(n / block), min(block, n) * width * y.a
    zero, convert = Lines(), Lines()
    zero.fill(a * n * width)
    zero.store(a * n * width, a * n * width)
    kernels[f"zero {name}"] = over(lanes, zero.kernel(programs, peak))
    if s == a:
        return 0
    convert.load(a * n * width)
    convert.store(a * n * width, s * n * width)
    kernels[f"convert {name}"] = over(lanes, convert.kernel(programs, peak))
    return lanes * a * n * width


def shared(kernels: dict[str, KernelCounts], y: Symbols) -> int:
    """What dK and dV need beside their sums: arrays to add in, where heads share them, or zeros beyond the keys that there are."""
    footprint = 0
    for name, width in (("dK", y.d), ("dV", y.d_v)):
        beyond = y.p.n_k - y.n_k
        if y.p.group > 1:
            footprint += atomic(kernels, name, y.p.n_k, width, y, y.Bc, y.p.kv_lanes)
        elif beyond:
            L = Lines()
            L.fill(y.a * beyond * width)
            L.store(y.a * beyond * width, y.s * beyond * width)
            kernels[f"zero {name}"] = over(y.p.kv_lanes, L.kernel(math.ceil(beyond / y.Bc), min(y.Bc, beyond) * width * y.a))
    return footprint
