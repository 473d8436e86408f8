"""Executing what a thread block recorded: in order, each result in the memory of a tile that dies there if it can be."""

from collections.abc import Iterable
from typing import Any

from .dtypes import Data
from .operations import Operation
from .tile import Tile

# An operation, the tiles that it reads by their positions, what it is executed on, and the instruction that wrote it.
Record = tuple[Operation, tuple[int, ...], tuple[Any, ...] | None, int]  # None: it was refused, and the algorithm went on


def execute(
    records: Iterable[Record], takes: Iterable[int | None], ends: Iterable[tuple[int, ...]], values: list[Any], lanes: int
) -> None:
    """Append to `values`, the data of each tile by its position, what the operations give, and drop what is not read again.

    takes, ends: for each operation the tile whose bytes its result takes over, and the tiles that die there.
    """
    for (operation, _, operands, _), taken, ended in zip(records, takes, ends, strict=True):
        if operands is None:
            values.append(None)
            continue
        data = []
        for x in operands:
            if type(x) is int:
                data.append(values[x])
            elif type(x) is Tile:
                data.append(seen(values[x._position], x._view))
            else:
                data.append(x)
        if (
            taken is not None
            and operation.in_place
            and (memory := values[taken]).size == operation.result.elements * lanes  # type: ignore[union-attr]
            and memory.flags.carray  # inputs are read-only
        ):
            values.append(operation.compute(*data, out=memory))
        else:
            values.append(operation.compute(*data))
        for position in ended:
            values[position] = None


def seen(data: Data, view: tuple[Any, ...]) -> Data:
    """What a view shows of a tile: slices, and None for a transposition, one after another."""
    for key in view:
        data = data.swapaxes(-1, -2) if key is None else data[key]
    return data
