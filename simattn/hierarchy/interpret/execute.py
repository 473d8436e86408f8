"""Executing what thread blocks recorded, in order. A result reuses the memory of a tile that dies there, if possible.

The thread blocks of a launch are independent, so several threads execute them. Additions to a shared array keep the order of the
thread blocks, so results are bitwise the same for any number of threads."""

import contextvars
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from math import prod
from typing import Any

import numpy as np

from ..dtypes import Array
from ..host import refuse_beyond_host
from ..log import LANES, Block, Layout, Reader, Record, Region, View
from ..transfers import add
from .threads import Threads, Turns
from .tracer import Tracer
from .working_set import WorkingSets

ALL_LANES = (slice(None),) * 3
Plan = tuple[
    Iterable[int | None], Iterable[Sequence[int]]
]  # the tile whose bytes a result takes over, and the tiles that die there
KEEP: Plan = (repeat(None), repeat(()))


class Execute(Reader):
    """Executes on the arrays of one group of lanes. data: the inputs by name. numbers: of the lanes, for random numbers."""

    def __init__(
        self, sets: WorkingSets, data: Mapping[str, Array], numbers: Array, threads: Threads, tracer: Tracer | None = None
    ) -> None:
        self._sets, self._threads, self._tracer = sets, threads, tracer
        self._lead = ALL_LANES if numbers.size > 1 else ()  # a lane alone has two axes, which NumPy takes faster than five
        self._numbers = numbers if self._lead else numbers[0, 0, 0]
        self._storage = {name: x if self._lead else x[0, 0, 0] for name, x in data.items()}
        for x in self._storage.values():
            x.flags.writeable = False  # inputs are read-only, and no result may be written in their memory
        with np.errstate(all="ignore"):
            self._context = contextvars.copy_context()  # in which no trap for floating-point errors tells anything about values
        self._waiting: list[tuple[Block, Plan, list[Any]]] = []
        self._launch = self._operations = 0
        self._looked: tuple[Sequence[Record], list[Any]] = ((), [])  # the thread block that was looked into, and all its tiles
        self.peeked = False

    def array(self, array: Layout) -> None:
        refuse_beyond_host(array.name, array.nbytes)
        lanes = array.lanes if self._lead else ()
        self._storage[array.name] = np.full((*lanes, *array.shape), np.nan, array.dtype)

    def block(self, block: Block) -> None:
        if block.launch != self._launch:
            self._flush()
            self._launch = block.launch
        looked, values = self._looked
        if looked is not block.records:
            values = []
        lives = self._sets.found.lives
        traced = self._tracer is not None and self._tracer.wants_values(block)
        plan = KEEP if traced else (lives.takes[len(values) :], lives.ends[len(values) :])
        self._waiting.append((block, plan, values))
        self._looked = (), []
        self._operations += len(block.records)
        if self._threads.enough(self._operations, len(self._waiting)):
            self._flush()

    def end(self) -> None:
        self._flush()

    def output(self, name: str) -> Array:
        """An array, over the lanes that ran."""
        return self._storage[name] if self._lead else self._storage[name][None, None, None]

    def look(self, block: Block, operand: int | View) -> Array:
        """A tile of the current thread block. What it recorded is executed and kept, because it is not known yet which tiles are
        read again."""
        self._flush()
        if self._looked[0] is not block.records:
            self._looked = block.records, []
        self.peeked = True
        values = self._looked[1]
        self._context.run(self._execute, block, KEEP, values, Turns(), 0)
        return _operand(operand, values)

    def _flush(self) -> None:
        """Execute the waiting thread blocks, which belong to one launch."""
        waiting, self._waiting, self._operations = self._waiting, [], 0
        turns = Turns()

        def work(k: int) -> None:
            block, plan, values = waiting[k]
            try:
                self._execute(block, plan, values, turns, k)
                if self._tracer is not None and self._tracer.wants_values(block):
                    self._tracer.values(block, values)
            finally:
                turns.over(k)
                values.clear()

        self._threads.each(work, len(waiting), self._context)

    def _execute(self, block: Block, plan: Plan, values: list[Any], turns: Turns, k: int) -> None:
        """Execute the records from len(values) on. Append their results to `values`, and drop what is not read again."""
        storage, lead, lanes, late = self._storage, self._lead, prod(block.lanes), Late(turns, k, block.lanes[2])
        axes = len(lead) + 2
        for (operation, reads, operands, _), taken, ended in zip(block.records[len(values) :], *plan, strict=False):
            if operands is None:
                values.append(None)
                continue
            data: list[Any] = []
            for x in operands:
                kind = type(x)
                if kind is int:
                    data.append(values[x])
                elif kind is Region:
                    if late.arrays and x.array in late.arrays and operation.name != "atomic_add":
                        late.add()
                    data.append(storage[x.array][lead + x.place])
                elif kind is View:
                    data.append(_operand(x, values))
                else:
                    data.append(self._numbers if x is LANES else x)
            if taken is not None:
                memory = values[taken]
                fits = operation.in_place and memory.size == operation.result.elements * lanes  # type: ignore[union-attr]
                if fits and memory.ndim == axes and memory.flags.carray:  # inputs are read-only, fills without lanes
                    values.append(operation.compute(*data, out=memory))
                else:
                    values.append(operation.compute(*data))
            elif operation.result is None and operation.name == "atomic_add":
                late.append(operands[0].array, *data, dies=reads[0] in ended)
                values.append(None)
            else:
                values.append(operation.compute(*data))
            for position in ended:
                values[position] = None
        late.add()


class Late:
    """Additions to arrays in HBM that a thread block makes before its turn."""

    def __init__(self, turns: Turns, k: int, heads: int) -> None:
        self._turns, self._k, self._heads = turns, k, heads
        self._kept: list[tuple[Array, Array]] = []
        self.arrays: set[str] = set()

    def append(self, name: str, array: Array, x: Array, *, dies: bool) -> None:
        """Add x to the array, or keep it until this thread block's turn. dies: nothing else will write to its memory."""
        if not self._kept and self._turns.now(self._k):
            add(array, x, self._heads)
        else:
            self._kept.append((array, x if dies else x.copy()))
            self.arrays.add(name)

    def add(self) -> None:
        """Add what was kept, once it is this thread block's turn."""
        if self._kept:
            self._turns.wait(self._k)
            for array, x in self._kept:
                add(array, x, self._heads)
            self._kept.clear()
            self.arrays.clear()


def _operand(x: int | View, values: list[Any]) -> Array:
    """A tile, or what a view shows of it: slices, and None for a transposition, one after another."""
    if isinstance(x, int):
        return values[x]  # type: ignore[no-any-return]
    data: Array = values[x.position]
    for key in x.keys:
        data = data.swapaxes(-1, -2) if key is None else data[key]
    return data
