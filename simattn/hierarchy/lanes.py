"""Lanes: batch and heads, which an algorithm never sees. Arrays become (batch, kv_head, group, rows, columns).

K and V have size 1 on `group` and broadcast: they are shared in memory, while counts stay per thread block.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .dtypes import BOOL, STORAGE, Data

CACHE = 4 << 20  # bytes of tiles that should stay in the CPU's cache while lanes run side by side
ALIGNMENT = 64

Function = TypeVar("Function", bound=Callable[..., Any])


def packs_groups(algorithm: Function) -> Function:
    """Declare that an algorithm takes the queries of a group of heads as rows of one array, and the keyword `group`.

    Q then has group·n_q rows, row r being query r mod n_q, and K and V are read once a group.
    """
    algorithm.packs_groups = True  # type: ignore[attr-defined]
    return algorithm


@dataclass(frozen=True)
class Workload:
    """The arrays of a run, with their lane axes. `flat`: they came as (N, d), without batch and heads."""

    arrays: dict[str, Data]
    batch: int
    kv_heads: int
    group: int
    packed: bool
    flat: bool

    @classmethod
    def of(cls, positional: Mapping[str, Data], keywords: Mapping[str, Data], pack: bool) -> "Workload":
        """Arrange arrays of shape (N, d) or (batch, heads, N, d); ValueError or TypeError names the one that does not fit."""
        for name, x in {**positional, **keywords}.items():
            _check(name, x)
        dimensions = {x.ndim for x in positional.values()}
        if len(dimensions) > 1:
            raise ValueError(f"{_shapes(positional)}: give all of them as (N, d) or all as (batch, heads, N, d)")
        four = {name: x if x.ndim == 4 else x[None, None] for name, x in positional.items()}
        batches = {x.shape[0] for x in four.values()} or {1}
        heads = {x.shape[1] for x in four.values()} or {1}
        most, least = max(heads), min(heads)
        if len(batches) > 1:
            raise ValueError(f"{_shapes(positional)}: the batch sizes {sorted(batches)} differ")
        if not heads <= {most, least} or most % least:
            raise ValueError(f"{_shapes(positional)}: {most} heads cannot share {sorted(heads - {most})} KV heads evenly")
        batch, group = batches.pop(), most // least

        def arrange(name: str, x: Data) -> Data:
            b, h, rows, columns = x.shape
            if b not in (1, batch) or h not in (1, least, most):
                raise ValueError(
                    f"{name} has shape {x.shape}: it broadcasts to neither {batch} × {least} nor {batch} × {most} heads"
                )
            shared = (1, 1) if h == 1 else (least, 1) if h == least else (least, group)
            if pack and shared == (least, group):
                return x.reshape(b, least, 1, group * rows, columns)
            return x.reshape(b, *shared, rows, columns)

        four |= {name: x if x.ndim == 4 else x[None, None] for name, x in keywords.items()}
        arrays = {name: arrange(name, x) for name, x in _copied(four).items()}
        return cls(arrays, batch, least, group, pack, dimensions == {2})

    @property
    def lanes(self) -> tuple[int, int, int]:
        """How many lanes there are on each axis."""
        return self.batch, self.kv_heads, 1 if self.packed else self.group

    def groups(self, lane_bytes: int) -> Iterator[tuple[slice, slice]]:
        """Slices of (batch, kv_head) that run side by side: whole groups of heads, evenly dealt, whose tiles stay in cache."""
        inputs = sum(x.size // math.prod(x.shape[:3]) * 8 for x in self.arrays.values())
        room = max(1, CACHE // max(1, min(lane_bytes, inputs)) // self.lanes[2])
        for b in _deal(self.batch, room // self.kv_heads):
            for k in _deal(self.kv_heads, room):
                yield b, k

    def take(self, name: str, lanes: tuple[slice, slice]) -> Data:
        """The part of an array that a group of lanes sees; an axis of length 1 broadcasts."""
        x = self.arrays[name]
        return x[tuple(s if n > 1 else slice(None) for s, n in zip(lanes, x.shape, strict=False))]

    def unpack(self, x: Data) -> Data:
        """An output with the batch and the heads of the inputs: (batch, heads, ..., rows, columns), or (..., rows, columns)."""
        if self.packed and self.group > 1:
            *lead, rows, columns = x.shape
            x = np.moveaxis(x.reshape(*lead, self.group, rows // self.group, columns)[:, :, 0], -3, 2)
        batch, kv_heads, group = x.shape[:3]
        return x[0, 0, 0] if self.flat else x.reshape(batch, kv_heads * group, *x.shape[3:])


def _check(name: str, x: Data) -> None:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill it, and give the mask apart")
    if x.dtype.newbyteorder("=") not in (*STORAGE.values(), BOOL):
        raise TypeError(f"{name} has type {x.dtype}: HBM stores {', '.join(STORAGE)} or bool; convert it with .astype(...)")
    if x.ndim not in (2, 4):
        raise ValueError(f"{name} has shape {x.shape}: give (N, d) or (batch, heads, N, d); {name}[None] adds a batch of one")
    if 0 in x.shape:
        raise ValueError(f"{name} has shape {x.shape}: no length may be 0")


def _copied(arrays: Mapping[str, Data]) -> dict[str, Data]:
    """Read-only copies, which the caller cannot reach. They lie in one block, for several large ones would go back to the
    operating system after each run, and their pages be faulted in again at the next.
    """
    ends = list(itertools.accumulate(-(-x.nbytes // ALIGNMENT) * ALIGNMENT for x in arrays.values()))
    block = np.empty(ends[-1] if ends else 0, np.uint8)
    copies = {}
    for (name, x), start in zip(arrays.items(), [0, *ends], strict=False):
        copy = block[start : start + x.nbytes].view(x.dtype.newbyteorder("=")).reshape(x.shape)
        copy[...] = x
        copy.flags.writeable = False
        copies[name] = copy
    return copies


def _shapes(arrays: Mapping[str, Data]) -> str:
    return ", ".join(f"{name} {x.shape}" for name, x in arrays.items())


def _deal(n: int, most: int) -> Iterator[slice]:
    """Slices of range(n), as few and as equal as can be, of at most `most` (at least 1)."""
    parts = math.ceil(n / max(1, most))
    return (slice(n * p // parts, n * (p + 1) // parts) for p in range(parts))
