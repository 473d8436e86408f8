"""Accumulating gradients: one thread block that has the whole sum stores it, or several that have parts add them with atomics."""

from ..hierarchy.gpu import Gpu
from ..hierarchy.grid import blocks, size
from ..hierarchy.hbm import HbmArray
from ..hierarchy.sram import Sram
from ..hierarchy.tile import Tile


def check_lse(lse: HbmArray, Q: HbmArray) -> None:
    """ValueError if lse is not a column with a row for each of Q's: as a row it would broadcast against the wrong axis."""
    if lse.shape != (Q.shape[0], 1):
        raise ValueError(
            f"lse has shape {lse.shape}: it is a column of Q's rows, {(Q.shape[0], 1)}; lse[..., None] of run.lse is one"
        )


class Gradient:
    """dQ, dK or dV, of the shape, type and heads of `like`, by blocks of Br or Bc rows; `rows` of them have a gradient, the rest 0.

    atomic: several thread blocks have parts of a row. They have, too, where the heads of a group share K and V. Then the parts are
    added in `gpu.acc`, in an array that is zeroed first and converted last, by kernels of their own, as flash-attn does.
    """

    def __init__(self, gpu: Gpu, like: HbmArray, name: str, size_: int, rows: int | None = None, *, atomic: bool = False) -> None:
        n, width = like.shape
        self._gpu, self._like, self._name, self._blocks = gpu, like, name, blocks(n, size_)
        self._whole = gpu.empty(like.shape, name=name, dtype=like.dtype, like=like)
        self._sum = None
        if atomic or gpu.shares(like):
            exact = like.dtype == gpu.acc
            self._sum = self._whole if exact else gpu.empty(like.shape, name=f"{name}_acc", dtype=gpu.acc, like=like)
        empty = self._blocks if self._sum is not None else blocks(n, size_, n if rows is None else rows)
        for sram, i in gpu.launch(f"zero {name}", empty, like=like) if empty else ():
            sram.store((self._whole if self._sum is None else self._sum)[i], sram.zeros((size(i), width)))

    def add(self, sram: Sram, i: slice, x: Tile) -> None:
        """Rows i: all that there is to store, or a part to add."""
        if self._sum is None:
            sram.store(self._whole[i], x)
        else:
            sram.atomic_add(self._sum[i], x)

    def whole(self) -> HbmArray:
        """The gradient, once every part was added."""
        if self._sum is not None and self._sum is not self._whole:
            for sram, i in self._gpu.launch(f"convert {self._name}", self._blocks, like=self._like):
                sram.store(self._whole[i], sram.load(self._sum[i]))
        return self._whole
