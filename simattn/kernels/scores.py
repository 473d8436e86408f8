"""What happens between QKᵀ and the softmax, and which blocks of keys a block of queries visits."""

import math
import operator
from typing import Any

import numpy as np

from ..hierarchy.dtypes import DType
from ..hierarchy.errors import unknown
from ..hierarchy.grid import blocks
from ..hierarchy.hbm import HbmArray
from ..hierarchy.sram import Sram
from ..hierarchy.tile import Tile


class Scores:
    """The options that algorithms share: a scale and a causal mask, in that order.

    scale: 1/√d unless given. causal: query i sees keys up to i + offset, where offset is n_k − n_q unless given (the last query sees
    the last key); 0 is PyTorch's and ONNX's upper left. Blocks of which nothing is seen are neither loaded nor computed.
    group: of queries packed as rows, row r is query r mod n_q.
    """

    def __init__(
        self, Q: HbmArray, K: HbmArray, V: HbmArray, group: int = 1, /, *, scale: float | None = None, causal: bool = False,
        offset: int | None = None, **others: Any,
    ) -> None:  # fmt: skip
        if others:
            raise TypeError(unknown("option", next(iter(others)), ["scale", "causal", "offset"]))
        shapes = f"Q {Q.shape}, K {K.shape}, V {V.shape}"
        if Q.shape[1] != K.shape[1]:
            raise ValueError(f"{shapes}: Q and K must have the same width d")
        if K.shape[0] != V.shape[0]:
            raise ValueError(f"{shapes}: K and V must have the same number of keys")
        self.n_q, self.n_k, self.packed = Q.shape[0] // group, K.shape[0], group > 1
        self.rows = Q.shape[0]
        self.scale = Q.shape[1] ** -0.5 if scale is None else float(scale)
        if not math.isfinite(self.scale):
            raise ValueError(f"scale={scale}: it must be finite")
        self.causal = bool(causal)
        self.offset = self.n_k - self.n_q if offset is None else operator.index(offset)

    def visits(self, i: slice, Bc: int, within: slice | None = None) -> list[slice]:
        """The blocks of keys of which rows i see any; of a range that begins at a multiple of Bc, if one is given."""
        seen = self._seen_by(self._queries(i)[1])
        start, stop = (0, seen) if within is None else (within.start, min(within.stop, seen))
        return [slice(j.start + start, min(j.stop + start, self.n_k)) for j in blocks(_up(stop - start, Bc), Bc)]

    def pairs(self, Br: int, Bc: int) -> list[tuple[slice, slice]]:
        """Every block of queries with every block of keys that it visits."""
        return [(i, j) for i in blocks(self.rows, Br) for j in self.visits(i, Bc)]

    def __call__(self, sram: Sram, S: Tile, i: slice, j: slice) -> Any:
        """The products of rows i and keys j, scaled, and −∞ where a row does not see the key."""
        S = S * self.scale
        if self.causal and self._seen_by(self._queries(i)[0]) < j.stop:
            query = sram.arange(i).T % self.n_q if self.packed else sram.arange(i).T
            return np.where(sram.arange(j) <= query + self.offset, S, -np.inf)
        return S

    def _queries(self, i: slice) -> tuple[int, int]:
        """The first and the last query among rows i."""
        first, last = i.start % self.n_q, (i.stop - 1) % self.n_q
        return (first, last) if i.start // self.n_q == (i.stop - 1) // self.n_q else (0, self.n_q - 1)

    def _seen_by(self, query: int) -> int:
        return min(max(query + self.offset + 1, 0), self.n_k) if self.causal else self.n_k


def _up(n: int, size: int) -> int:
    """n, up to the next multiple of size; 0 if negative."""
    return max(0, -(-n // size) * size)


def scores_type(storage: DType) -> DType:
    """The type in which S and P lie in HBM: the storage type, or float16 for a float8, in which no score would survive."""
    return np.dtype(np.float16) if storage.itemsize == 1 else storage
