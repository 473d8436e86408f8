"""Keeping what a run recorded: every array that was made, every launch, every thread block."""

from dataclasses import dataclass, field
from typing import Any

from ..errors import RecordingTooLarge
from ..log import Block, Layout, Place, Reader
from ..numbered import Numbered

MOST = 2_000_000  # operations that a recording may hold: some 500 MB

Step = tuple[
    str, tuple[Any, ...], tuple[Any, ...], int
]  # an operation's name, its parameters, its operands, the number of its place


@dataclass
class Launch:
    """A kernel's thread blocks, on the lanes of the array `like`, or on all."""

    kernel: str
    like: str | None
    blocks: list[list[Step]] = field(default_factory=list)


class Places(Numbered[Place]):
    """Every place once, by number: the source of a recording."""

    def place(self, instruction: int) -> Place:
        """The place with that number, which is what a record's instruction is when it is replayed."""
        return self[instruction]


@dataclass
class Program:
    """The program that a set of equal lanes ran: the arrays that were made, the launches in order, and the names of the returned
    arrays."""

    arrays: list[Layout] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(steps) for launch in self.launches for steps in launch.blocks)


class Keep(Reader):
    """Keeps the program of one group of lanes. room: the largest number of operations."""

    def __init__(self, places: Places, room: int = MOST) -> None:
        self.program = Program()
        self._places, self._room = places, room

    def array(self, array: Layout) -> None:
        self.program.arrays.append(array)

    def launch(self, kernel: str, like: str | None) -> None:
        self.program.launches.append(Launch(kernel, like))

    def block(self, block: Block) -> None:
        self._room -= len(block.records)
        if self._room < 0:
            raise RecordingTooLarge(
                f"a recording of more than {MOST:,} operations: record a shorter sequence or larger blocks; machine.count "
                "holds none"
            )
        number = self._places.number
        self.program.launches[-1].blocks.append(
            [
                (operation.name, operation.parameters, operands or (), number(place))
                for (operation, _, operands, _), place in zip(block.records, block.places(), strict=True)
            ]
        )
