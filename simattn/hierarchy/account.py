"""The ledger: counts and occupancy of each thread block from its log, summed by kernel and by array."""

from collections import Counter
from dataclasses import dataclass

from .counts import COUNTS, KernelCounts, Traffic
from .working_set import Lives, Log, lives

CACHED_ENTRIES = 200_000  # operations in the logs kept, so that memory stays bounded however long a run is

Plan = tuple[
    list[int | None], list[tuple[int, ...]]
]  # `takes` and `ends` of `Lives`: as long as the log, so kept no longer than it


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What follows from the log of one thread block, whatever values it worked on, for one lane."""

    counts: dict[str, int]
    tensors: dict[str, list[int]]  # bytes read and written, by array
    peak_sram: int
    peak_at: int

    @classmethod
    def of(cls, log: Log, found: Lives) -> "Block":
        counts, tensors = dict.fromkeys(COUNTS, 0), dict[str, list[int]]()
        for operation, times in Counter(operation for operation, _ in log).items():
            for name, n in operation.costs:
                counts[name] += n * times
            if operation.tensor is not None:
                moved = tensors.setdefault(operation.tensor, [0, 0])
                moved[0] += operation.counts.hbm_read * times
                moved[1] += operation.counts.hbm_write * times
        return cls(counts, tensors, *found.peak())


class Account:
    """One run's ledger, shared by its groups of lanes."""

    def __init__(self) -> None:
        self.footprint = 0
        self.peeked = False
        self._kernels: dict[str, Counter[Block]] = {}
        self._known: dict[Log, tuple[Block, Plan]] = {}
        self._entries = 0

    def kernel(self, name: str) -> None:
        """Note a launch, so that kernels stand in launch order and one without thread blocks is listed too."""
        self._kernels.setdefault(name, Counter())

    def block(self, log: Log) -> tuple[Block, Plan]:
        """The account of a log, and how to execute it, remembered: dense kernels execute the same one again and again."""
        known = self._known.get(log)
        if known is None:
            found = lives(log)
            known = Block.of(log, found), (found.takes, found.ends)
            if self._entries < CACHED_ENTRIES:
                self._entries += len(log)
                self._known[log] = known
        return known

    def enter(self, kernel: str, block: Block, lanes: int) -> None:
        """Book a thread block that was executed on so many lanes."""
        self._kernels[kernel][block] += lanes

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
