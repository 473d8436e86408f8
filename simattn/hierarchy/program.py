"""Recording what a thread block does, for every word and operator that an algorithm uses.

Nothing is computed yet: a thread block cannot branch on values, so it does not need them.
"""

import math
from typing import Any, NoReturn, Protocol

import numpy as np

from . import operations
from .device import Device
from .dtypes import DType, wide
from .errors import SramOverflow
from .log import LaneShape, Record, Source
from .operations import Operation
from .overflow import overflow

AXES: dict[Any, int | tuple[int, int]] = {0: -2, -2: -2, 1: -1, -1: -1, None: (-2, -1), (0, 1): (-2, -1)}


class Frame(Protocol):
    """The position of an algorithm: its last instruction."""

    @property
    def f_lasti(self) -> int: ...


class Context:
    """The state that all thread blocks of a run share: the device, the types, and the operations created so far."""

    def __init__(self, device: Device, *, acc: DType, storage: DType, lanes: LaneShape, packed: bool) -> None:
        self.device, self.acc, self.storage = device, acc, storage
        self.index = wide(acc)  # the type of index tiles
        self.lanes, self.packed = lanes, packed  # a packed tile holds rows of several heads
        self.known: dict[tuple[Any, ...], Operation] = {}


class Program:
    """One thread block's log: each operation is recorded, and defines a tile by its place in the log."""

    def __init__(self, context: Context, kernel: str, launch: int, lanes: LaneShape, frame: Frame, source: Source) -> None:
        self.context, self.kernel, self.launch = context, kernel, launch
        self.lanes, self.size = lanes, math.prod(lanes)
        self.records: list[Record] = []
        self.known = context.known
        self.source = source
        self._capacity = context.device.sram
        self._frame: Frame | None = frame  # the frame that holds the loop: its current line is the line of each operation

    def record(self, operation: Operation, reads: tuple[int, ...], operands: tuple[Any, ...]) -> int:
        """Record an operation, and give the position of the tile that it defines. reads, operands: as in `log`."""
        if self._frame is None:
            self.refuse_after_the_end()
        records = self.records
        position = len(records)
        records.append((operation, reads, operands, self._frame.f_lasti))  # f_lineno would search the line table each time
        if operation.needs > self._capacity:
            self._refuse_what_cannot_fit(position)
        return position

    def operation(self, function: Any, *specs: Any) -> Operation:
        """The operation of an allowed NumPy function, or of a product, on tiles of these specs; None stands for a scalar."""
        found = self.known.get((function, *specs))
        if found is None:
            if function is not np.matmul:
                found = operations.elementwise(function, specs, self.context.acc)
            elif None in specs:
                raise TypeError("matmul takes two tiles, not a scalar; multiply by a scalar with *")
            else:
                found = operations.matmul(*specs, self.context.acc)
            self.known[(function, *specs)] = found
        return found

    def end(self) -> None:
        """Lose the SRAM: no tile of this block can be used any more."""
        self._frame = None

    def refuse_after_the_end(self) -> NoReturn:
        """TypeError: the thread block has ended."""
        raise TypeError(f"{self.kernel}: this thread block has ended and its SRAM is lost; store what you need later")

    def _refuse_what_cannot_fit(self, t: int) -> None:
        operation, reads, *_ = self.records[t]
        live = {p: self.records[p][0].result.held for p in reads}  # type: ignore[union-attr]
        if operation.result and not operation.takes:
            live[t] = operation.result.held
        if sum(live.values()) > self._capacity:
            self.records[t] = (operation, reads, None, self.records[t][3])
            raise self.overflow(t, list(live.items()))

    def overflow(self, t: int, live: list[tuple[int, int]]) -> SramOverflow:
        """The error for operation `t`, at which these tiles (position of definition, bytes) were live."""
        return overflow(self.kernel, self.context.device.name, self._capacity, self.records, self.source, t, live)
