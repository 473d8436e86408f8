"""The words of the closed forms: what each kind of line costs, by docs/counting.md, summed over all the times that it is executed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...hierarchy.counts import COUNTS, KernelCounts
from ..sums import Sums
from ..symbols import Symbols

Kernels = tuple[dict[str, KernelCounts], int]  # counts by kernel, and the footprint, over all lanes


@dataclass(frozen=True)
class Formula:
    """The closed form of an algorithm. packed: the queries of a group are rows of one tile. causal: by what the algorithm does,
    whatever the problem says."""

    of: Callable[..., Kernels]
    packed: bool
    causal: bool


F = TypeVar("F", bound=Callable[..., Kernels])
FORMS: dict[str, Formula] = {}
"""Algorithm -> formula."""


def form(*, packed: bool = False, causal: bool = False) -> Callable[[F], F]:
    """Makes a function the closed form of the algorithm of its name."""

    def registered(function: F) -> F:
        FORMS[function.__name__] = Formula(function, packed, causal)
        return function

    return registered


@dataclass
class Lines:
    """A kernel's counts, line by line. Lengths are totals over the kernel: bytes, elements, FLOPs."""

    hbm_read: int = 0
    hbm_write: int = 0
    sram_read: int = 0
    sram_write: int = 0
    matmul_flops: int = 0
    vector_flops: int = 0
    exps: int = 0

    def load(self, nbytes: int) -> None:
        self.hbm_read += nbytes
        self.sram_write += nbytes

    def load_int(self, n: int) -> None:
        self.hbm_read += 4 * n

    def fill(self, nbytes: int) -> None:
        self.sram_write += nbytes

    def store(self, tile: int, array: int) -> None:
        self.sram_read += tile
        self.hbm_write += array

    def atomic_add(self, tile: int, array: int) -> None:
        self.store(tile, array)
        self.hbm_read += array

    def matmul(self, mnk: int, reads: int, writes: int) -> None:
        self.matmul_flops += 2 * mnk
        self.sram_read += reads
        self.sram_write += writes

    def vector(self, n: int, reads: int, writes: int) -> None:
        """n elements of arithmetic, a comparison, `where` or a cast; or a reduction of n elements."""
        self.vector_flops += n
        self.sram_read += reads
        self.sram_write += writes

    def exp(self, n: int, reads: int, writes: int) -> None:
        """n elements of exp, log or tanh."""
        self.exps += n
        self.sram_read += reads
        self.sram_write += writes

    def kernel(self, programs: int, peak_sram: int) -> KernelCounts:
        return KernelCounts(**{name: getattr(self, name) for name in COUNTS}, programs=programs, peak_sram=peak_sram)


def over(lanes: int, k: KernelCounts) -> KernelCounts:
    """A lane's counts, over all lanes."""
    return KernelCounts.of(k * lanes, k.programs * lanes, k.peak_sram)


def scores(L: Lines, y: Symbols, v: Sums) -> None:
    """S of the products of the visited pairs: scale, softcap, bias, slopes, mask, cuts."""
    L.vector(v.A, y.a * v.A, y.a * v.A)
    after_scale(L, y, v)


def after_scale(L: Lines, y: Symbols, v: Sums) -> None:
    a = y.a
    if y.p.softcap:
        L.vector(2 * v.A, 2 * a * v.A, 2 * a * v.A)
        L.exp(v.A, a * v.A, a * v.A)
    if y.p.bias:
        bias = y.s * (v.A if y.bias_rows else v.C)
        L.load(bias)
        L.vector(v.A, a * v.A + bias, a * v.A)
    if y.p.alibi:
        L.load(a * v.P)
        L.vector(v.R * (2 if y.packed else 1) + 2 * v.A, 0, 0)  # the query's position, the distance and its magnitude: indices
        L.vector(v.A, a * v.P, a * v.A)
        L.vector(v.A, 2 * a * v.A, a * v.A)
    if y.p.mask:
        mask = v.pA if y.mask_rows else v.pC
        L.load(mask)
        L.vector(v.pA, mask + a * v.pA, a * v.pA)
    if y.sides:
        L.vector(y.sides * (v.mR + v.mA) + (v.mR if y.packed else 0) + (v.mA if y.sides == 2 else 0), 0, 0)
        L.vector(v.mA, a * v.mA, a * v.mA)


def drop(L: Lines, y: Symbols, v: Sums, size: int) -> None:
    """Dropout of weights of `size` bytes each, by random numbers, which are indices."""
    if y.p.dropout:
        L.vector(2 * v.A, 0, 0)
        L.vector(2 * v.A, 2 * size * v.A, 2 * size * v.A)


def uncap(L: Lines, y: Symbols, v: Sums, size: int) -> None:
    """Through the softcap, dS of `size` bytes an element."""
    a = y.a
    L.vector(v.A, a * v.A, a * v.A)
    L.exp(v.A, a * v.A, a * v.A)
    L.vector(3 * v.A, (2 * a + a + size + a) * v.A, 3 * a * v.A)
