"""The sum of each row: one pass over the array, with one column on chip."""

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray


def row_sum(gpu: Gpu, X: HbmArray, *, Br: int, Bc: int) -> HbmArray:
    """The sum of each row, after Harris, "Optimizing Parallel Reduction in CUDA" (NVIDIA 2007): partial sums stay on chip.

    X (m, n) -> sums (m, 1), in the accumulation type. Each element crosses HBM once, whatever the blocks.

    >>> machine.run(sa.row_sum, Q, Br=16, Bc=16).hbm_read
    8192
    """
    m, n = X.shape
    sums = gpu.empty((m, 1), name="sums", dtype=gpu.acc)
    for sram, i in gpu.launch("row_sum", blocks(m, Br)):
        s = sram.zeros((size(i), 1))
        for j in blocks(n, Bc):
            s = s + sram.load(X[i, j]).sum(axis=1, keepdims=True)
        sram.store(sums[i], s)
    return sums
