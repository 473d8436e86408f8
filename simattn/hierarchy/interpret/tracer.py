"""Tracing: the thread blocks that a selection names, and their steps, which are created when they are read."""

import marshal
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from ..counts import COUNTS, Counts
from ..device import Device, figures
from ..dtypes import Array
from ..errors import RecordingTooLarge
from ..liveness import Lives, lives
from ..log import Block, Layout, Place, Reader, Region, Source
from ..numbered import Numbered
from ..operations import Operation
from ..perfetto import Header, Traced
from ..trace import Live, Selected, Step, Trace, Tracing
from .working_set import WorkingSets

IN_MEMORY = 200_000  # steps that are kept as they were recorded; those before them go to a temporary file
MOST_VALUES = 256 << 20  # bytes of tiles that a trace may hold

KINDS = {"load": "load", "load_int": "load", "store": "store", "atomic_add": "atomic"}


@dataclass(slots=True)
class Kept:
    """A thread block that is traced, for these heads; `values` of each of its tiles for the first of them."""

    block: Block
    lives: Lives
    heads: tuple[int, ...]
    values: Sequence[Array | None] = ()


@dataclass(frozen=True, slots=True)
class Launched:
    """A launch."""

    kernel: str
    number: int
    heads: tuple[int, ...]


class Moved(NamedTuple):
    """What of an array an operation moves: (start, stop, step) on each axis."""

    array: str
    axes: tuple[tuple[int, int, int], ...]


class Tracer(Reader):
    """Keeps what a selection names, over all groups of lanes: `lanes` says which ones run next."""

    def __init__(self, tracing: Tracing, sets: WorkingSets) -> None:
        self._tracing, self._sets = tracing, sets
        self._selection = Selected.of(tracing.select)
        self._kept: list[Kept | Launched] = []
        self._held = 0  # steps among them
        self._found = False  # whether a thread block was selected
        self._file: IO[bytes] | None = None
        self._in_file = 0  # steps in it
        self._operations, self._sources = Numbered[Operation](), Numbered[Source]()
        self._nbytes = 0
        self._awaited: dict[int, Kept] = {}  # thread blocks whose values are to come
        self._arrays: dict[str, Traced] = {}
        self._kernels: dict[str, int] = {}

    def lanes(self, numbers: Array) -> None:
        """The numbers of the heads that run side by side from here on."""
        self._numbers, self._launch = numbers, 0

    def launch(self, kernel: str, like: str | None) -> None:  # noqa: ARG002 - the thread blocks know their lanes
        self._launch += 1
        self._kernels.setdefault(kernel, 0)
        heads = self._selected(self._numbers.shape)
        if heads and self._selection.names(kernel, self._launch):
            self._keep(Launched(kernel, self._launch, heads), 1)

    def block(self, block: Block) -> None:
        for name, x in block.arrays.items():
            known = self._arrays.get(name)
            if known is None or known.shape != x.shape:  # where heads run apart, an array may be longer for some of them
                shape = x.shape if known is None else tuple(map(max, x.shape, known.shape))
                self._arrays[name] = Traced(shape, x.dtype.name, x.made)
        self._kernels[block.kernel] += 1
        heads = self._selected(block.lanes)
        if heads and block.number in self._selection.blocks and self._selection.names(block.kernel, block.launch):
            self._found = True
            kept = Kept(block, self._sets.found.lives, heads)
            if self._tracing.values:
                self._awaited[id(block.records)] = kept
            self._keep(kept, len(block.records))

    def wants_values(self, block: Block) -> bool:
        """Whether all tiles of a thread block are to be given to `values`."""
        return id(block.records) in self._awaited

    def values(self, block: Block, tiles: Sequence[Array | None]) -> None:
        """The values of a thread block's tiles, over its lanes, where its records wanted them."""
        kept = self._awaited.pop(id(block.records))
        numbers = self._numbers[tuple(slice(n) for n in block.lanes)]
        where = tuple(k[0] for k in (numbers == kept.heads[0]).nonzero())
        kept.values = [None if x is None else _of_head(x, where) for x in tiles]
        self._nbytes += sum(x.nbytes for x in kept.values if x is not None)
        if self._nbytes > MOST_VALUES:
            raise RecordingTooLarge(
                f"the values of all tiles that trace {self._tracing.select!r} selects take more than {MOST_VALUES >> 20} MiB: {LESS}"
            )

    def trace(self, algorithm: str, device: Device) -> Trace:
        """The trace of the whole run. ValueError where nothing was selected."""
        if not self._found:
            kernels = ", ".join(f"{name} ({n} thread blocks)" for name, n in self._kernels.items())
            heads = "" if self._selection.heads.start < self._numbers.max() + 1 else f" for {self._numbers.max() + 1} heads"
            raise ValueError(f"trace {self._tracing.select!r} selects nothing: {algorithm} launched {kernels or 'nothing'}{heads}")
        header = Header(algorithm, Device(**figures(device)), self._tracing.select, self._in_file + self._held)
        return Trace(header, self._arrays, self._steps)

    def _selected(self, lanes: Sequence[int]) -> tuple[int, ...]:
        """The numbers of the heads on so many lanes that are selected."""
        numbers = self._numbers[tuple(slice(n) for n in lanes)].ravel().tolist()
        return tuple(n for n in numbers if n in self._selection.heads)

    def _keep(self, what: Kept | Launched, steps: int) -> None:
        if self._held + steps > IN_MEMORY and self._kept:
            if self._tracing.values:
                raise RecordingTooLarge(f"{self._tracing.select} takes more than {IN_MEMORY:,} steps with their values: {LESS}")
            self._spill()
        self._kept.append(what)
        self._held += steps

    def _spill(self) -> None:
        """Move what is kept to a file, by thread block; operations and sources stay in memory, by number."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="simattn-trace-")  # noqa: SIM115 - it stays as long as the trace
            weakref.finalize(self, self._file.close)
        for what in self._kept:
            marshal.dump(self._plain(what), self._file)
        self._in_file += self._held
        self._kept, self._held = [], 0

    def _plain(self, what: Kept | Launched) -> tuple[Any, ...]:
        if isinstance(what, Launched):
            return what.kernel, what.number, what.heads
        block = what.block
        records = [
            (self._operations.number(operation), reads, at, (moved := _moved(operands, block.arrays)) and tuple(moved))
            for operation, reads, operands, at in block.records
        ]
        return block.kernel, block.launch, what.heads, block.number, self._sources.number(block.source), records

    def _again(self, plain: tuple[Any, ...]) -> Kept | Launched:
        kernel, launch, heads, *rest = plain
        if not rest:
            return Launched(kernel, launch, heads)
        number, source, records = rest
        found = [(self._operations[k], reads, () if moved is None else (Moved(*moved),), at) for k, reads, at, moved in records]
        block = Block(kernel, launch, number, (1, 1, 1), found, self._sources[source], {})
        return Kept(block, lives(block.entries()), heads)

    def _everything(self) -> Iterator[Kept | Launched]:
        place = 0
        while self._file is not None:
            self._file.seek(place)  # somebody else may read it in between
            try:
                plain = marshal.load(self._file)
            except EOFError:
                break
            place = self._file.tell()
            yield self._again(plain)
        yield from self._kept

    def _steps(self) -> Iterator[Step]:
        number, total = 0, [0] * len(COUNTS)
        for what in self._everything():
            if isinstance(what, Launched):
                yield Step(number=number, kind="launch", kernel=what.kernel, launch=what.number, block=None, heads=what.heads,
                           position=0, operation="launch", total=Counts(*total))  # fmt: skip
                number += 1
                continue
            for step in _steps_of(what, number, total):
                yield step
                number += 1


LESS = "take a shorter sequence, or select fewer thread blocks or heads, as trace=sa.Tracing('flash2[0][0]', values=True)"


def _steps_of(kept: Kept, number: int, total: list[int]) -> Iterator[Step]:
    """The steps of a thread block. total: the running counts, which it goes on with."""
    block, lives, heads = kept.block, kept.lives, len(kept.heads)
    records, places = block.records, block.places()
    live: dict[int, Live] = {}
    for t, (operation, reads, operands, _) in enumerate(records):
        place, result = places[t], operation.result
        name = _name(operation.name, operation.tensor, place)
        during = (*live.values(), Live(name, lives.own[t], t)) if lives.own[t] else tuple(live.values())
        for k, count in enumerate(COUNTS):
            total[k] += getattr(operation.counts, count) * heads
        tile = result or (operation.operands[0] if operation.operands else None)
        moved = _moved(operands, block.arrays)
        yield Step(
            number=number + t, kind=KINDS.get(operation.name, "compute"), kernel=block.kernel, launch=block.launch, block=block.number,
            heads=kept.heads, position=t, operation=operation.name, reads=reads, tile=place.name,
            shape=tile.shape if tile else None, dtype=tile.dtype.name if tile else None,
            nbytes=tile.nbytes if tile else operation.counts.hbm_read,
            array=moved and moved.array, region=moved.axes if moved else (), counts=operation.counts,
            live=during, sram=sum(x.nbytes for x in during),
            file=place.file, line=place.line, column=place.column, total=Counts(*total),
            values=kept.values[t] if kept.values else None,
        )  # fmt: skip
        if lives.after[t] and lives.dies[t] > t:
            live[t] = Live(name, lives.after[t], t)
        for position in lives.ends[t]:
            live.pop(position, None)


def _name(operation: str, tensor: str | None, place: Place) -> str:
    """What a tile is called: its name in the source, or how it was made."""
    return place.name or (f"{operation} {tensor}" if tensor else operation)


def _moved(operands: Sequence[Any] | None, arrays: Mapping[str, Layout]) -> Moved | None:
    """The array that an operation moves, and what of it."""
    for x in operands or ():
        if type(x) is Moved:
            return x
        if type(x) is Region:
            return Moved(x.array, tuple(_axis(k, n) for k, n in zip(x.place, arrays[x.array].shape, strict=True)))
    return None


def _axis(k: int | slice, n: int) -> tuple[int, int, int]:
    if isinstance(k, int):
        return k, k + 1, 1
    axis = range(n)[k]
    return axis.start, axis.stop, axis.step


def _of_head(x: Array, where: tuple[int, ...]) -> Array:
    """The part of a tile that belongs to one head; all heads share an axis of length 1."""
    lanes = x.shape[:-2]
    return x[tuple(k if n > 1 else 0 for k, n in zip(where, lanes, strict=True))] if lanes else x
