"""Sectors: the 32-byte pieces of HBM that loads and stores touch, each operation on its own, by array."""

from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..address import Addresses
from ..dtypes import Array
from ..lanes import Arrangement, Selection
from ..log import Block, LaneShape, Layout, Log, Reader, Region
from .working_set import Found, WorkingSets

REMEMBERED = 50_000  # regions of which it is known how many sectors they touch


class Sectors(Reader):
    """Adds them up, over all groups of lanes: `lanes` says which ones run next."""

    def __init__(self, sets: WorkingSets, arranged: Arrangement) -> None:
        self._sets, self._arranged = sets, arranged
        self.touched: Counter[str] = Counter()
        self._moves: WeakKeyDictionary[Found, list[tuple[int, int]]] = WeakKeyDictionary()
        self._known: dict[tuple[int, LaneShape], tuple[Region, int]] = {}

    def lanes(self, lanes: Selection) -> None:
        """What runs from here on."""
        arranged = self._arranged
        batch, heads, group = (np.arange(n) for n in arranged.lanes)
        self._numbers: list[Array] = [batch[lanes[0], None, None], heads[None, lanes[1], None], group[None, None]]
        self._addresses = {name: Addresses.of(x, x.lanes) for name, x in arranged.arrays.items()}
        self._whole = {name: x.lanes for name, x in arranged.arrays.items()}
        for name, table in arranged.tables_of(lanes).items():
            self._addresses[name] = Addresses.row_major((1, 1, 1), table.shape, table.dtype.itemsize)
        self._known.clear()
        self._starts: dict[tuple[str, LaneShape], dict[int, int]] = {}

    def array(self, array: Layout) -> None:
        whole = self._arranged.lanes if array.like is None else self._whole[array.like]
        self._whole[array.name] = whole
        self._addresses[array.name] = Addresses.of(array, whole)

    def block(self, block: Block) -> None:
        found = self._sets.found
        moves = self._moves.get(found)
        if moves is None:
            moves = self._moves[found] = _moves(self._sets.log)
        for position, times in moves:
            region: Any = block.records[position][2][0]  # type: ignore[index]
            known = self._known.get((id(region), block.lanes))
            if known is None:
                known = region, self._sectors(region, block.lanes)
                if len(self._known) < REMEMBERED:  # with the region, whose number is its own as long as it is there
                    self._known[id(region), block.lanes] = known
            self.touched[region.array] += known[1] * times

    def _sectors(self, region: Region, lanes: LaneShape) -> int:
        """Over so many lanes."""
        name, place = region
        addresses = self._addresses[name]
        starts = self._starts.get((name, lanes))
        if starts is None:
            numbers = [np.broadcast_to(x[tuple(map(slice, lanes))], lanes) for x in self._numbers]
            starts = self._starts[name, lanes] = addresses.starts(numbers)
        return sum(times * addresses.sectors(place, start) for start, times in starts.items())


def _moves(log: Log) -> list[tuple[int, int]]:
    """Where a log moves bytes between HBM and SRAM, and how often each: an addition reads and writes."""
    return [(k, 2 if operation.name == "atomic_add" else 1) for k, (operation, _) in enumerate(log) if operation.tensor is not None]
