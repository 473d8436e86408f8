"""The product of two matrices, tile by tile: a tile of C stays on chip while strips of A and B are loaded."""

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray


def tiled_matmul(gpu: Gpu, A: HbmArray, B: HbmArray, *, Br: int, Bc: int, Bk: int = 32) -> HbmArray:
    """C = AB, C-stationary, as the CUDA programming guide's shared-memory product and Volkov and Demmel (SC 2008).

    A (m, k), B (k, n) -> C (m, n). A thread block owns Br × Bc of C, and steps through k by Bk. A is read for each of the n/Bc
    columns of tiles, B for each of the m/Br rows: mnk·(1/Br + 1/Bc) elements. With M elements on chip no schedule moves fewer than
    about 2mnk/√M (Hong and Kung 1981; the constant: Smith et al. 2019, arXiv 1702.02017), which Br = Bc ≈ √M attains.

    >>> machine.run(sa.tiled_matmul, Q, K.T, Br=32, Bc=32, Bk=16).hbm_read
    32768
    """
    (m, k), n = A.shape, B.shape[1]
    if B.shape[0] != k:
        raise ValueError(f"A {A.shape}, B {B.shape}: A has {k} columns, so B must have {k} rows")
    C = gpu.empty((m, n), name="C")
    for sram, i, j in gpu.launch("tiled_matmul", blocks(m, Br), blocks(n, Bc)):
        Cij = sram.zeros((size(i), size(j)))
        for p in blocks(k, Bk):
            Cij = Cij + sram.load(A[i, p]) @ sram.load(B[p, j])
        sram.store(C[i, j], Cij)
    return C
