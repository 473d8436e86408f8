"""Softmax over rows of scores that lie in HBM, and its gradient: one read of each where whole rows fit on chip, two where not."""

from collections.abc import Callable

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .softmax import lowest, rowmax, rowsum

Visits = Callable[[slice], list[slice]]  # the blocks of keys of a block of rows


def strips(gpu: Gpu, N: int, Br: int, row: int, visits: Visits) -> list[tuple[slice, list[slice]]]:
    """Strips of as many whole rows, of `row` bytes each, as fit, within blocks of Br, with the one range of keys that they see."""
    rows = min(Br, gpu.machine.sram // row)
    seen = [(i, [slice(v[0].start, v[-1].stop) for v in [visits(i)] if v]) for i in blocks(N, Br)]
    return [(slice(i.start + r.start, i.start + r.stop), j) for i, j in seen for r in blocks(size(i), rows)] if rows else []


def softmax(gpu: Gpu, S: HbmArray, P: HbmArray, L: HbmArray, visits: Visits, Br: int) -> None:
    """P = softmax(S) and L = lse(S), rows of which blocks were visited."""
    N, n_k = S.shape
    a = gpu.acc.itemsize
    wide = strips(gpu, N, Br, n_k * (a + S.dtype.itemsize * (S.dtype != gpu.acc)) + 3 * a, visits)  # S − m, S, three columns
    for sram, (i, visible) in gpu.launch("softmax", wide) if wide else ():
        l, m = sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in visible:  # one range of keys, or none where every key is masked
            Sij = sram.load(S[i, j])
            m = np.maximum(m, rowmax(Sij))
            Pij = np.exp(Sij - m)
            l = rowsum(Pij)
            sram.store(P[i, j], Pij / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))

    for sram, i in () if wide else gpu.launch("softmax", blocks(N, Br)):
        l, m = sram.zeros((size(i), 1)), sram.full((size(i), 1), lowest(gpu.acc))
        for j in visits(i):
            Sij = sram.load(S[i, j])
            m, m_old = np.maximum(m, rowmax(Sij)), m
            l = np.exp(m_old - m) * l + rowsum(np.exp(Sij - m))
        for j in visits(i):
            sram.store(P[i, j], np.exp(sram.load(S[i, j]) - m) / np.maximum(l, 1))
        sram.store(L[i], m + np.log(l))


def softmax_backward(gpu: Gpu, P: HbmArray, dP: HbmArray, dS: HbmArray, visits: Visits, Br: int, scale: float) -> None:
    """dS = P ∘ (dP − rowsum(P ∘ dP)) · scale, rows of which blocks were visited."""
    N, n_k = P.shape
    wide = strips(gpu, N, Br, n_k * (2 * gpu.acc.itemsize + dP.dtype.itemsize) + gpu.acc.itemsize, visits)  # P, P ∘ dP, dP, D
    for sram, (i, visible) in gpu.launch("softmax_backward", wide) if wide else ():
        for j in visible:
            Pij, dPij = sram.load(P[i, j]).astype(gpu.acc), sram.load(dP[i, j])
            D = rowsum(Pij * dPij)
            sram.store(dS[i, j], Pij * (dPij - D) * scale)

    for sram, i in () if wide else gpu.launch("softmax_backward", blocks(N, Br)):
        D = sram.zeros((size(i), 1))
        for j in visits(i):
            D = D + rowsum(sram.load(P[i, j]).astype(gpu.acc) * sram.load(dP[i, j]))
        for j in visits(i):
            sram.store(dS[i, j], sram.load(P[i, j]).astype(gpu.acc) * (sram.load(dP[i, j]) - D) * scale)
