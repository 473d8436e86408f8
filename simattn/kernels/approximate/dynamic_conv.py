"""Dynamic convolution: weights from the query alone, over the nearest tokens."""

from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray
from ..softmax import rowmax, rowsum
from .given import weights


def dynamic_conv(
    gpu: Gpu, Q: HbmArray, K: HbmArray, V: HbmArray, *, W: HbmArray, Br: int, causal: bool = False  # noqa: ARG001 - no keys
) -> HbmArray:  # fmt: skip
    """Dynamic convolution (Wu et al. 2019, arXiv 1901.10430, section 4): out[t] = Σⱼ softmax(W q_t)[j]·v[t + j − pad].

    Q (N, d), V (N, d_v), W (width, d) -> O (N, d_v). K is not used: no token looks at another's key. pad = ⌊width/2⌋, or width − 1 if
    causal; beyond the ends v is 0. The paper's widths are fixed, 3, 7, 15 and 31 by layer; a width that follows the length, of which
    articles speak, is this kernel with another W. Rows near an end go one by one, and leave out what is beyond.

    >>> machine.run(sa.dynamic_conv, Q, K, V, W=np.ones((3, 32), np.float32), Br=32).hbm_read
    17408
    """
    weights("W", W, Q, Q.shape[1], f"its rows are as wide as those of Q {Q.shape}")
    if Q.shape[0] != V.shape[0]:
        raise ValueError(
            f"Q {Q.shape}, V {V.shape}: each token has its own kernel; the nearest valid number of queries is {V.shape[0]}"
        )
    N, d_v, width = Q.shape[0], V.shape[1], W.shape[0]
    pad = width - 1 if causal else width // 2
    first, last = pad, N - (width - 1 - pad)  # between which every row has `width` tokens around it
    O = gpu.empty((N, d_v), name="O")
    for sram, i in gpu.launch("dynamic_conv", blocks(N, Br)):
        X: Any = sram.load(Q[i]) @ sram.load(W).T
        P = np.exp(X - rowmax(X))
        P = P / rowsum(P)
        near = slice(max(i.start - pad, 0), min(i.stop + width - 1 - pad, N))
        Vi = sram.load(V[near])
        left, right = min(max(first, i.start), i.stop), max(min(last, i.stop), i.start)
        for t in [*blocks(left, 1, i.start), *blocks(right, Br, left), *blocks(i.stop, 1, max(left, right))]:
            Ot = sram.zeros((size(t), d_v))
            for j in range(width):
                v = t.start + j - pad  # where the first of these rows looks
                if 0 <= v <= N - size(t):
                    Ot = Ot + P[_from(t, i.start), j : j + 1] * Vi[_from(slice(v, v + size(t)), near.start)]
            sram.store(O[t], Ot)
    return O


def _from(rows: slice, start: int) -> slice:
    """Rows, counted from `start`."""
    return slice(rows.start - start, rows.stop - start)
