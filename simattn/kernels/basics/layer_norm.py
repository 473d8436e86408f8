"""Layer normalisation, fused: each row is read once and written once."""

import math
from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks
from ...hierarchy.hbm import HbmArray


def layer_norm(gpu: Gpu, X: HbmArray, gamma: HbmArray, beta: HbmArray, *, Br: int, eps: float = 1e-5) -> HbmArray:
    """(x − mean(x))/√(var(x) + eps)·gamma + beta for each row x (Ba, Kiros and Hinton 2016, arXiv 1607.06450).

    X (N, d), gamma and beta (d,), which lie in HBM as rows (1, d) -> Y (N, d). Whole rows are on chip; every thread block reads
    gamma and beta. The variance is the mean of squared distances: E[x²] − E[x]² would cancel.

    >>> machine.run(sa.layer_norm, Q, np.ones(32, np.float32), np.zeros(32, np.float32), Br=16).tensors["gamma"].hbm_read
    512
    """
    N, d = X.shape
    for row in (gamma, beta):
        if row.shape != (1, d):
            raise ValueError(f"{row.name} has shape {row.shape}: X {X.shape} takes one number for each column, ({d},)")
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps={eps!r}: give a number from 0 on; it keeps the divisor away from 0")
    Y = gpu.empty((N, d), name="Y")
    for sram, i in gpu.launch("layer_norm", blocks(N, Br)):
        x: Any = sram.load(X[i])
        z = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((z * z).mean(axis=1, keepdims=True) + eps)
        sram.store(Y[i], z / deviation * sram.load(gamma) + sram.load(beta))
    return Y
