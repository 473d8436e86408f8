"""What is counted: bytes that cross a level of the hierarchy, and arithmetic. Every figure is a sum over thread blocks and
lanes."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that thread blocks load from HBM and store to it, at the array's storage type."""

    hbm_read: int = 0
    hbm_write: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in self.__match_args__))

    def __mul__(self, times: int) -> Self:
        return type(self)(*(getattr(self, name) * times for name in self.__match_args__))


@dataclass(frozen=True, slots=True)
class Counts(Traffic):
    """The counts of one operation, thread block, kernel or run.

    sram_read, sram_write: bytes of operands and of results, at the tile's type.
    matmul_flops: 2mnk for each product. exps: exp, exp2, log, tanh. vector_flops: one for each element of other vector work.
    """

    sram_read: int = 0
    sram_write: int = 0
    matmul_flops: int = 0
    vector_flops: int = 0
    exps: int = 0


COUNTS: tuple[str, ...] = Counts.__match_args__


@dataclass(frozen=True, slots=True)
class KernelCounts(Counts):
    """One kernel's counts over all its launches: `programs` thread blocks, `peak_sram` the largest working set in bytes."""

    programs: int = 0
    peak_sram: int = 0

    @classmethod
    def of(cls, counts: Counts, programs: int, peak_sram: int) -> Self:
        return cls(**{name: getattr(counts, name) for name in COUNTS}, programs=programs, peak_sram=peak_sram)

    def __add__(self, other: Self) -> Self:
        sums = Counts.__add__(self, other)
        return type(self).of(sums, sums.programs, max(self.peak_sram, other.peak_sram))
