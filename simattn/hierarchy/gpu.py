"""What an algorithm receives as `gpu`: HBM to allocate and thread blocks to launch, for one group of lanes."""

import contextvars
import itertools
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .account import Account, Plan
from .dtypes import BOOL, Data, DType, storage_type
from .errors import HbmOverflow
from .hbm import LANE_AXES, UNWRITTEN, HbmArray, unwritten
from .host import describe
from .operations import Operation
from .sram import Sram
from .tile import Tile
from .working_set import lives

if TYPE_CHECKING:
    from .machine import Machine
BATCH = 1000  # operations recorded before they are executed: Python's and NumPy's work push each other out of the CPU's cache
LARGE = 1 << 30  # bytes from which on it is worth asking whether this computer has them


class Gpu:
    """The machine as one run of an algorithm sees it."""

    def __init__(
        self,
        machine: "Machine",
        *,
        acc: DType,
        storage: DType,
        numbers: Data,
        packs: bool,
        lanes: int,
        common: frozenset[str],
        inputs: int,
        account: Account,
    ) -> None:
        self._machine, self._acc, self._total = machine, acc, lanes
        self._storage, self._shape, self._lanes = storage, numbers.shape, numbers.size
        self._numbers = None if packs else numbers  # of the lanes; a packed tile holds rows of several
        self._common, self._inputs, self._account = common, inputs, account
        self._known: dict[tuple[Any, ...], Operation] = {}
        self._made: dict[str, HbmArray] = {}
        self._taken: set[str] = set()
        self._open: str | None = None
        self._ended: deque[tuple[Sram, Plan]] = deque()
        with np.errstate(all="ignore"):
            self._context = contextvars.copy_context()

    @property
    def machine(self) -> "Machine":
        """The machine that runs this."""
        return self._machine

    @property
    def acc(self) -> DType:
        """The type of sums, products, `zeros` and `full`: float64 for float64 inputs, else float32."""
        return self._acc

    @property
    def lanes(self) -> int:
        """How many heads, over the whole batch, run the same program; for launch heuristics."""
        return self._total

    def empty(self, shape: Any, *, name: str | None = None, dtype: Any = None, like: HbmArray | None = None) -> HbmArray:
        """An array in HBM of that shape a head; of the first input's type unless given, with the heads of `like`.

        It can be loaded where something was stored, and returned when all of it was.
        """
        name = name or f"array{len(self._made)}"
        if name in self._made or name in self._taken:
            raise ValueError(f"gpu.empty: there is an array {name!r} already")
        if (
            not isinstance(shape, tuple | list)
            or len(shape) < 2
            or not all(isinstance(n, int | np.integer) and n > 0 for n in shape)
        ):
            raise ValueError(f"gpu.empty {name!r} of shape {shape}: at least two dimensions, each at least 1")
        self._check_like(like, f"gpu.empty {name!r}")
        kind = self._storage if dtype is None else BOOL if dtype == BOOL else storage_type(dtype)
        lanes = self._shape if like is None else like._data.shape[:LANE_AXES]
        nbytes = math.prod((*lanes, *map(int, shape))) * kind.itemsize
        self._refuse_beyond_memory(name, nbytes)
        refuse_beyond_host(name, nbytes)
        made = HbmArray(name, np.full((*lanes, *shape), np.nan, kind), self, np.full(shape, UNWRITTEN, np.uint8))
        self._made[name] = made
        return made

    def shares(self, array: HbmArray) -> bool:
        """Whether several heads read this array, as grouped heads do K and V: then dK and dV are sums over them."""
        return array._lanes < self._lanes or array.name in self._common

    def launch(self, kernel: str, *grid: Iterable[Any], like: HbmArray | None = None) -> Iterator[Any]:
        """A kernel's thread blocks: `for sram, i in gpu.launch("flash2", blocks(N, Br))`. Several axes make a product of them.

        Thread blocks are parallel on a GPU: each starts with empty SRAM, and what one stores, only a later launch may load. They run
        for each head, or for those of `like`: each KV head once, where it is K.
        """
        self._refuse_open(f"launch {kernel!r}")
        if not grid:
            raise TypeError(f"launch {kernel!r}: say over what, as gpu.launch({kernel!r}, blocks(N, Br))")
        self._check_like(like, f"launch {kernel!r}")
        self._open = kernel
        self._account.kernel(kernel)
        return self._programs(kernel, grid, self._shape if like is None else like._data.shape[:LANE_AXES])

    def peek(self, tile: Any) -> Data:
        """A copy of a tile's values, for looking: nothing is counted, but the run says that it was peeked into.

        What the thread block recorded so far is executed, and all its tiles are kept until it ends, for what is read again is not known
        yet. Of shape (r, c), or (batch, heads, r, c) of the heads that run side by side.
        """
        if not isinstance(tile, Tile):
            raise TypeError(f"peek at {describe(tile)}: give a tile")
        if tile._sram._gpu is not self:
            raise TypeError(f"peek at {tile!r}: it belongs to another run")
        self._execute()
        data = np.broadcast_to(tile._sram._look(tile), (*self._shape, *tile.shape))
        self._account.peeked = True
        return np.array(data[0, 0, 0] if self._lanes == 1 else data.reshape(self._shape[0], -1, *tile.shape))

    def _programs(self, kernel: str, grid: tuple[Iterable[Any], ...], lanes: tuple[int, ...]) -> Iterator[Any]:
        for made in self._made.values():
            np.bitwise_and(made._marks, UNWRITTEN, out=made._marks)  # type: ignore[arg-type]
        recorded = 0
        for index in zip(*grid, strict=True) if len(grid) == 1 else itertools.product(*grid):
            sram = Sram(self, kernel, sys._getframe(1), lanes)
            yield (sram, *index)
            log = sram._end()
            block, plan = self._account.block(log)
            if block.peak_sram > self.machine.sram:
                raise sram._overflow(block.peak_at, lives(log).at(block.peak_at))
            self._account.enter(kernel, block, math.prod(lanes))
            self._ended.append((sram, plan))
            recorded += len(log)
            if recorded >= BATCH:
                self._execute()
                recorded = 0
        self._execute()
        self._open = None

    def _execute(self) -> None:
        """Execute the thread blocks that have ended, in order."""
        while self._ended:
            sram, plan = self._ended.popleft()
            sram._execute(*plan)

    def _finish(self, result: Any) -> list[HbmArray]:
        """The arrays that the algorithm returned; the rest is its footprint."""
        self._refuse_open("the end of the run")
        outputs = list(result) if isinstance(result, tuple) else [result]
        for output in outputs:
            if not isinstance(output, HbmArray) or self._made.get(output.name) is not output:
                raise TypeError(f"the algorithm returned {output!r}: return arrays made with gpu.empty, whole")
        if not outputs:
            raise TypeError("the algorithm returned no array: return at least one made with gpu.empty")
        returned = {output.name for output in outputs}
        if len(returned) < len(outputs):
            raise TypeError(f"the algorithm returned {', '.join(output.name for output in outputs)}: each array once")
        for output in outputs:
            marks: Data = output._marks
            if np.bitwise_and(marks, UNWRITTEN).any():
                raise RuntimeError(
                    f"output {output.name} {output.shape}: nothing wrote {unwritten(marks, output)}; store every slice of it"
                )
        self._account.footprint += sum(made._data.nbytes for name, made in self._made.items() if name not in returned)
        self._made.clear()  # arrays know their run: without this they would wait for the garbage collector, S and P among them
        return outputs

    def _check_like(self, like: Any, what: str) -> None:
        if like is None:
            return
        if not isinstance(like, HbmArray):
            raise TypeError(f"{what}: like={like!r} is no array in HBM")
        if like.name in self._common:
            raise ValueError(f"{what}: {like.name} is shared by other heads than those of a group, or by the whole batch")

    def _refuse_open(self, what: str) -> None:
        if self._open is not None:
            raise RuntimeError(f"{what}: launch {self._open!r} is still open; run its loop over thread blocks to the end first")

    def _refuse_beyond_memory(self, name: str, nbytes: int) -> None:
        everywhere = sum(made._data.nbytes for made in self._made.values()) + nbytes
        used = self._inputs + everywhere * self.lanes // self._lanes
        if self.machine.hbm is not None and used > self.machine.hbm:
            raise HbmOverflow(
                f"array {name!r} brings HBM to {used:,} B, but {self.machine.name} has {self.machine.hbm:,} B; a shorter sequence, "
                "fewer heads or another algorithm"
            )


def refuse_beyond_host(name: str, nbytes: int) -> None:
    """MemoryError for an array that this computer could not hold, before the system ends the process for it."""
    if nbytes < LARGE or not (meminfo := Path("/proc/meminfo")).exists():
        return
    available = next(int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
    if nbytes > available:
        raise MemoryError(
            f"array {name!r} takes {nbytes:,} B of this computer's memory, of which {available:,} B are free: a shorter "
            "sequence, or an algorithm that keeps less"
        )
