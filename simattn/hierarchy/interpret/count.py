"""The ledger: counts and occupancy of each thread block from its log, summed by kernel and by array."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from weakref import WeakKeyDictionary

from ..counts import COUNTS, KernelCounts, Traffic
from ..log import Block, Layout, Log, Reader
from .working_set import Found, WorkingSets


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The counts of one thread block for one lane."""

    counts: dict[str, int]
    tensors: dict[str, list[int]]  # bytes read and written, by array
    peak_sram: int

    @classmethod
    def of(cls, log: Log, found: Found) -> "Sums":
        counts, tensors = dict.fromkeys(COUNTS, 0), dict[str, list[int]]()
        for operation, times in Counter(operation for operation, _ in log).items():
            for name, n in operation.costs:
                counts[name] += n * times
            if operation.tensor is not None:
                moved = tensors.setdefault(operation.tensor, [0, 0])
                moved[0] += operation.counts.hbm_read * times
                moved[1] += operation.counts.hbm_write * times
        return cls(counts, tensors, found.peak)


class Count(Reader):
    """Counts every thread block, over all groups of lanes that it reads."""

    def __init__(self, sets: WorkingSets) -> None:
        self._sets = sets
        self._known: WeakKeyDictionary[Found, Sums] = WeakKeyDictionary()
        self._kernels: dict[str, Counter[Sums]] = {}
        self._made: dict[str, int] = {}
        self.footprint = 0

    def array(self, array: Layout) -> None:
        self._made[array.name] = array.nbytes

    def launch(self, kernel: str, like: str | None) -> None:  # noqa: ARG002
        """Note the launch, so that kernels are listed in launch order, including one without thread blocks."""
        self._kernels.setdefault(kernel, Counter())

    def block(self, block: Block) -> None:
        found = self._sets.found
        sums = self._known.get(found)
        if sums is None:
            sums = self._known[found] = Sums.of(self._sets.log, found)
        self._kernels[block.kernel][sums] += prod(block.lanes)

    def returned(self, names: set[str]) -> None:
        """Note the outputs of a group of lanes; all other arrays that were made are footprint."""
        self.footprint += sum(nbytes for name, nbytes in self._made.items() if name not in names)
        self._made.clear()

    def kernels(self) -> dict[str, KernelCounts]:
        """Counts by kernel, in launch order."""
        return {
            name: KernelCounts(
                **{count: sum(block.counts[count] * lanes for block, lanes in blocks.items()) for count in COUNTS},
                programs=blocks.total(),
                peak_sram=max((block.peak_sram for block in blocks), default=0),
            )
            for name, blocks in self._kernels.items()
        }

    def tensors(self) -> dict[str, Traffic]:
        """Traffic by array, in the order of first use."""
        total: dict[str, list[int]] = {}
        for blocks in self._kernels.values():
            for block, lanes in blocks.items():
                for name, (read, written) in block.tensors.items():
                    moved = total.setdefault(name, [0, 0])
                    moved[0] += read * lanes
                    moved[1] += written * lanes
        return {name: Traffic(*moved) for name, moved in total.items()}
