"""The counted operations that bring tiles on chip, or make them there, and take them off: what the words of an SRAM cost and do."""

from functools import cache

import numpy as np

from .counts import Counts
from .dtypes import Data, DType, round_to, wide
from .given import INTEGER
from .operations import Operation, Spec, spec
from .philox import uniform


@cache
def load(name: str, shape: tuple[int, int], dtype: DType, written: bool) -> Operation:
    """A tile from HBM, of an input or of an array that is `written`: an HBM read and an SRAM write."""
    tile = spec(shape, dtype)
    values = np.ndarray.copy if written else np.ascontiguousarray  # of an input, which stays as it is, the values themselves
    return Operation("load", tile, Counts(hbm_read=tile.nbytes, sram_write=tile.nbytes), values, tensor=name)


@cache
def store(name: str, tile: Spec, dtype: DType) -> Operation:
    """A tile to HBM, rounded to the array's type on the way: an SRAM read and an HBM write."""
    counts = Counts(sram_read=tile.nbytes, hbm_write=tile.elements * dtype.itemsize)
    return Operation("store", None, counts, _write, (tile,), tensor=name)


@cache
def atomic_add(name: str, tile: Spec, dtype: DType) -> Operation:
    """A tile added to what lies in HBM: an SRAM read, and an HBM read and write of the array's bytes."""
    nbytes = tile.elements * dtype.itemsize
    return Operation("atomic_add", None, Counts(nbytes, nbytes, tile.nbytes), _add, (tile,), tensor=name)


@cache
def load_int(name: str) -> Operation:
    """An integer from HBM to a register."""
    return Operation("load_int", None, Counts(hbm_read=INTEGER.itemsize), _nothing, tensor=name)


@cache
def random(tile: Spec) -> Operation:
    """Random numbers computed from where they are: one vector operation an element."""
    return Operation("random", tile, Counts(vector_flops=tile.elements), lambda where: uniform(*where).astype(tile.dtype))


@cache
def fill(name: str, tile: Spec) -> Operation:
    """A new tile of a constant or of indices; indices are free."""
    return Operation(name, tile, Counts(sram_write=tile.nbytes), lambda x: np.full((1, 1, 1, *tile.shape), x))


def _nothing() -> None:
    """What a load of an integer, done when it was recorded, leaves to execute."""


def _write(array: Data, x: Data) -> None:
    """The array = x, rounded to its type."""
    array[...] = round_to(x, array.dtype)


def _add(heads: list[Data], x: Data) -> None:
    """The array += x for each of the heads that share it, one after another, rounded to its type each time."""
    for g, sums in enumerate(heads):
        kind = wide(sums.dtype)
        term = x[:, :, g : g + 1] if x.shape[2] == len(heads) else x
        sums[...] = round_to(sums.astype(kind, copy=False) + term.astype(kind, copy=False), sums.dtype)
