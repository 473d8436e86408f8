"""What a thread block did, as plain data: no tile, no array, no machine. Every reader of a run reads this.

A record is (operation, reads, operands, instruction):

* operation: a row of the closed table (`operations`, `transfers`), with its result and its costs;
* reads: the positions in the log at which the tiles that it reads were defined;
* operands: what it is executed on, in its order: the position of a whole tile, a `View` of one, a scalar, a `Region` of HBM, a
  range of indices, a type, or `LANES`. None: the operation was refused, and the algorithm went on;
* instruction: where it was written. `Block.source` knows its line and column, and the name that its tile was bound to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from .dtypes import DType
from .operations import Operation

Index = tuple[int | slice, ...]  # of an array in HBM, an entry for each of its axes
LaneShape = tuple[int, int, int]  # how many lanes on the axes (batch, kv_head, group)
Entry = tuple[Operation, tuple[int, ...]]
Log = Sequence[Entry]
Record = tuple[Operation, tuple[int, ...], tuple[Any, ...] | None, int]
entry = itemgetter(0, 1)


class Lanes(Enum):
    """The numbers of the lanes that run side by side: an operand that is known when a block is executed."""

    NUMBERS = "lanes"


LANES = Lanes.NUMBERS


class View(NamedTuple):
    """A part of the tile defined at `position`: a sequence of slices, and None for each transposition."""

    position: int
    keys: tuple[Any, ...]


class Region(NamedTuple):
    """A part of an array in HBM."""

    array: str
    place: Index


@dataclass(frozen=True, slots=True)
class Layout:
    """An array in HBM: the part that one lane sees, and its number of lanes. `made`: by gpu.empty, with the lanes of `like`; else
    it is an input."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    lanes: LaneShape
    made: bool
    like: str | None = None
    order: str = "bhnd"  # of the axes in memory, the fastest last; further axes of what a lane sees follow the lanes
    packed: int = 1  # heads whose rows a lane sees one after another

    @property
    def nbytes(self) -> int:
        """Bytes over its lanes."""
        n = self.dtype.itemsize
        for length in (*self.lanes, *self.shape):
            n *= length
        return n


class Place(NamedTuple):
    """Where an operation was written, and the name that its tile was bound to, if it was."""

    file: str
    line: int
    column: int
    name: str | None = None


class Source(Protocol):
    """Anything that knows where instructions were written."""

    def place(self, instruction: int) -> Place:
        """Of an instruction that a record names."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One thread block: what it did, on how many lanes at once, in which launch (numbered over the run)."""

    kernel: str
    launch: int
    number: int
    lanes: LaneShape
    records: Sequence[Record]
    source: Source
    arrays: Mapping[str, Layout]

    def entries(self) -> tuple[Entry, ...]:
        """Operations and what they read: equal for blocks with equal counts."""
        return tuple(map(entry, self.records))

    def places(self) -> list[Place]:
        """Of each record. Of those that one expression made, only the last is what the name is bound to."""
        found = [self.source.place(record[3]) for record in self.records]
        last = [k + 1 == len(found) or self.records[k + 1][3] != record[3] for k, record in enumerate(self.records)]
        return [place if bound else place._replace(name=None) for place, bound in zip(found, last, strict=True)]


class Reader:
    """A reader of a run while it is recorded, in the order of the program, one thread block at a time. The methods here do
    nothing."""

    def array(self, array: Layout) -> None:
        """An array was made in HBM."""

    def launch(self, kernel: str, like: str | None) -> None:
        """A launch begins, on the lanes of the array `like`, or on all."""

    def block(self, block: Block) -> None:
        """A thread block has ended."""

    def end(self) -> None:
        """The program has ended, for the lanes that ran side by side."""
