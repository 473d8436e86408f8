"""Transposition: no arithmetic, only traffic."""

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks
from ...hierarchy.hbm import HbmArray


def transpose(gpu: Gpu, X: HbmArray, *, Br: int, Bc: int) -> HbmArray:
    """Xᵀ tile by tile, after Ruetsch and Micikevicius, "Optimizing Matrix Transpose in CUDA" (NVIDIA 2009).

    X (m, n) -> XT (n, m). A tile is transposed on chip, where `.T` is a free view; each element is read once and written once.

    >>> machine.run(sa.transpose, Q, Br=16, Bc=16).output.shape
    (32, 64)
    """
    m, n = X.shape
    XT = gpu.empty((n, m), name="XT")
    for sram, i, j in gpu.launch("transpose", blocks(m, Br), blocks(n, Bc)):
        sram.store(XT[j, i], sram.load(X[i, j]).T)
    return XT
