"""The counted operations that load tiles, create them on chip and store them: what each word of `sram` costs and does."""

from functools import cache

import numpy as np

from .counts import Counts
from .dtypes import FLOAT64, Array, DType, round_to, wide
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
    """Add a tile to a slice in HBM: an SRAM read, and an HBM read and write of the array's bytes."""
    nbytes = tile.elements * dtype.itemsize
    return Operation("atomic_add", None, Counts(nbytes, nbytes, tile.nbytes), add, (tile,), tensor=name)


@cache
def load_int(name: str) -> Operation:
    """An integer from HBM to a register."""
    return Operation("load_int", None, Counts(hbm_read=INTEGER.itemsize), _nothing, tensor=name)


@cache
def random(tile: Spec, seed: int) -> Operation:
    """Random numbers computed from their lane, row and column: one vector operation for each element."""

    def draw(numbers: Array, rows: range, columns: range) -> Array:
        return uniform(seed, numbers, np.asarray(rows), np.asarray(columns)).astype(tile.dtype)

    return Operation("random", tile, Counts(vector_flops=tile.elements), draw, parameters=(seed,))


@cache
def fill(name: str, tile: Spec) -> Operation:
    """A new tile of a constant, or of the indices of a range, which are free."""

    def make(x: float | range) -> Array:
        values = np.asarray(x, None if isinstance(x, range) else FLOAT64)
        return np.full(tile.shape, round_to(values, tile.dtype))

    return Operation(name, tile, Counts(sram_write=tile.nbytes), make, parameters=(*tile.shape, tile.dtype.name))


def _nothing(_: Array) -> None:
    """Nothing to execute: the integer was loaded when it was recorded."""


def _write(array: Array, x: Array) -> None:
    """The array = x, rounded to its type."""
    array[...] = round_to(x, array.dtype)


def add(array: Array, x: Array, heads: int) -> None:
    """The array += x for each of the heads that run side by side and may share it, one after another, rounded to its type each
    time."""
    if heads > 1 and array.shape[2] > 1:
        heads = 1
    kind = wide(array.dtype)
    for g in range(heads):
        term = x[:, :, g : g + 1] if heads > 1 and x.ndim > 2 and x.shape[2] > 1 else x
        array[...] = round_to(array.astype(kind, copy=False) + term.astype(kind, copy=False), array.dtype)
