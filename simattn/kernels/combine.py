"""The last step of Flash-Decoding: partial results over parts of the keys become one."""

import numpy as np

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from .softmax import lowest


class Partials:
    """O and lse of each split, in the accumulation type; the results themselves where there is but one split."""

    def __init__(self, gpu: Gpu, O: HbmArray, L: HbmArray, splits: int) -> None:
        self._gpu, self._whole = gpu, (O, L)
        if splits == 1:
            self.parts = [(O, L)]
        else:
            O_s = gpu.empty((splits, *O.shape), name="O_split", dtype=gpu.acc)
            L_s = gpu.empty((splits, *L.shape), name="lse_split", dtype=gpu.acc)
            self.parts = [(O_s[s], L_s[s]) for s in range(splits)]

    def combine(self, Br: int) -> tuple[HbmArray, HbmArray]:
        """O and lse. Each split weighs exp(lse): an empty one, whose lse is −∞, nothing."""
        O, L = self._whole
        for sram, i in self._gpu.launch("combine", blocks(O.shape[0], Br)) if len(self.parts) > 1 else ():
            Oi, l = sram.zeros((size(i), O.shape[1])), sram.zeros((size(i), 1))
            m = sram.full((size(i), 1), lowest(self._gpu.acc))
            for O_i, L_i in ((O_s[i], L_s[i]) for O_s, L_s in self.parts):
                lse = sram.load(L_i)
                m, m_old = np.maximum(m, lse), m
                p, a = np.exp(lse - m), np.exp(m_old - m)
                l = a * l + p
                Oi = a * Oi + p * sram.load(O_i)
            sram.store(O[i], Oi / np.maximum(l, 1))
            sram.store(L[i], m + np.log(l))
        return O, L
