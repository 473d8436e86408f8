"""The trace of a run: every step as plain data, in the order of the program. Explorer, figures and lessons read it."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from .counts import COUNTS, Counts
from .dtypes import Array
from .perfetto import Header, Traced, read, write

NO_COUNTS = Counts()
SELECTION = re.compile(r"(?P<kernel>\*|[^\[\]]+)(\[(?P<blocks>[^\[\]]*)\]\s*)?(\[(?P<heads>[^\[\]]*)\])?")
INDEX = re.compile(r"(?P<first>\d*)(?P<colon>:(?P<stop>\d*))?")


class Live(NamedTuple):
    """A tile in SRAM: its name, the bytes that it holds, and the position in the thread block at which it was made."""

    name: str
    nbytes: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a run: a launch, or an operation of one thread block, for all heads that ran side by side.

    number: in the trace, from 0. kind: launch, load, compute, store or atomic. launch: numbered from 1. block: of a launch, None.
    heads: the numbers, batch · heads + head, of those that the step stands for. position: in its thread block. reads: the positions
    at which the tiles that it reads were made. operation: its name in NumPy or `sram`. tile: the name in the source to which the
    result was bound. shape, dtype, nbytes: of the result, or of the tile that is stored. array, region: the part of HBM, (start,
    stop, step) on each axis. counts: of one head. live: what is in SRAM during the step. sram: its bytes. file, line, column: the
    source. total: the counts of all steps so far, over their heads. values: the result for the first of the heads, if the trace
    keeps values.

    >>> step = next(step for step in machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=True).trace if step.tile == "S")
    >>> step.kind, step.operation, step.shape, step.nbytes, [tile.name for tile in step.live]
    ('compute', 'multiply', (32, 32), 4096, ['Qi', 'Oi', 'l', 'm', 'Vj', 'matmul'])
    """

    number: int
    kind: str
    kernel: str
    launch: int
    block: int | None
    heads: tuple[int, ...]
    position: int
    operation: str
    reads: tuple[int, ...] = ()
    tile: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    nbytes: int = 0
    array: str | None = None
    region: tuple[tuple[int, int, int], ...] = ()
    counts: Counts = NO_COUNTS
    live: tuple[Live, ...] = ()
    sram: int = 0
    file: str = ""
    line: int = 0
    column: int = 0
    total: Counts = NO_COUNTS
    values: Array | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The step as JSON has it, but for its values; counts are those that are not 0.

        >>> next(iter(machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=True).trace)).to_dict()["kernel"]
        'flash2'
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "values"}
        return plain | {"counts": _dict(self.counts), "total": _dict(self.total)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Step":
        """The step that `to_dict` made plain.

        >>> step = next(iter(machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=True).trace))
        >>> sa.Step.from_dict(step.to_dict()) == step
        True
        """
        shape = plain["shape"]
        whole = dict(plain) | {
            "heads": tuple(plain["heads"]),
            "reads": tuple(plain["reads"]),
            "shape": None if shape is None else tuple(shape),
            "region": tuple((start, stop, step) for start, stop, step in plain["region"]),
            "counts": Counts(**plain["counts"]),
            "live": tuple(Live(*tile) for tile in plain["live"]),
            "total": Counts(**plain["total"]),
        }
        return cls(**whole)


def _dict(counts: Counts) -> dict[str, int]:
    return {name: n for name in COUNTS if (n := getattr(counts, name))}


class Trace:
    """The steps of a run, in the order of the program: iterate it as often as you like.

    algorithm: its name. machine: the figures of the device. arrays: those in HBM, by name: shape for one head, dtype, and whether
    the algorithm made them. select: what was traced.

    >>> trace = machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace="flash2[0]").trace
    >>> trace
    Trace of flash2 on a100-40gb: 43 steps of flash2[0]
    >>> [step.total.hbm_read for step in trace][-1]
    20480
    """

    def __init__(self, header: Header, arrays: Mapping[str, Traced], steps: Callable[[], Iterator[Step]]) -> None:
        self._header, self._steps = header, steps
        self.arrays = dict(arrays)
        self.algorithm, self.machine, self.select = header.algorithm, header.machine, header.select

    def __iter__(self) -> Iterator[Step]:
        return self._steps()

    def __len__(self) -> int:
        return self._header.steps

    def save(self, path: str | Path) -> None:
        """Write the trace as JSON, which https://ui.perfetto.dev opens and `sa.load_trace` reads; docs/trace.md is the schema.

        >>> machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=True).trace.save("flash.json")
        >>> sa.load_trace("flash.json")
        Trace of flash2 on a100-40gb: 85 steps of *
        """
        write(Path(path), self._header, self.arrays, (step.to_dict() for step in self))

    def __repr__(self) -> str:
        return f"Trace of {self.algorithm} on {self.machine.name}: {len(self):,} steps of {self.select}"


def load_trace(path: str | Path) -> Trace:
    """Load a saved trace. ValueError for a file that is not a trace, or of another version.

    >>> machine.run(sa.row_sum, Q, Br=32, Bc=32, trace=True).save_trace("rows.json")
    >>> len(sa.load_trace("rows.json"))
    11
    """
    path = Path(path)
    header, arrays, lines = read(path)

    def steps() -> Iterator[Step]:
        for number, plain in lines():
            try:
                yield Step.from_dict(plain)
            except (TypeError, KeyError, ValueError, AttributeError) as error:
                raise ValueError(f"{path}, line {number}: not a step of a trace ({error}); save it again") from None

    return Trace(header, arrays, steps)


@dataclass(frozen=True)
class Tracing:
    """What to trace. select: KERNEL[BLOCKS][HEADS]. values: whether to keep the values of every tile, of the first head selected.

    KERNEL is a name, the number of a launch from 1 on, or * for all; BLOCKS and HEADS are numbers or slices, all unless given.

    >>> run = machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=sa.Tracing(select="flash2[1]", values=True))
    >>> next(step for step in run.trace if step.tile == "S").values.shape
    (32, 32)
    """

    select: str = "*"
    values: bool = False

    def __post_init__(self) -> None:
        if type(self.values) is not bool:
            raise TypeError(f"Tracing: values={self.values!r}: give True or False")
        Selected.of(self.select)


def tracing(trace: Any) -> Tracing | None:
    """The tracing that a run asks for: False or None for none, True for everything, a selection, or Tracing. TypeError for anything
    else."""
    if trace is None or trace is False:
        return None
    if trace is True:
        return Tracing()
    if isinstance(trace, str):
        return Tracing(trace)
    if isinstance(trace, Tracing):
        return trace
    raise TypeError(f"trace={trace!r}: give True, a selection as 'flash2[3]', or sa.Tracing(...)")


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selection says: a kernel's name, the number of a launch or *, and the numbers of thread blocks and heads."""

    kernel: str
    blocks: range
    heads: range

    @classmethod
    def of(cls, select: Any) -> "Selected":
        """Read a selection; ValueError if it is not one."""
        found = SELECTION.fullmatch(str(select).strip())
        if found is None:
            raise ValueError(_unreadable(select))
        return cls(found["kernel"].strip(), _range(found["blocks"], select), _range(found["heads"], select))

    def names(self, kernel: str, launch: int) -> bool:
        """Whether it names a kernel, of this launch."""
        return self.kernel in ("*", kernel, str(launch))


def _range(index: str | None, select: str) -> range:
    if index is None or not index.strip():
        return range(sys.maxsize)
    found = INDEX.fullmatch(index.replace(" ", ""))
    if found is None or not (found["first"] or found["colon"]):
        raise ValueError(_unreadable(select))
    first = int(found["first"] or 0)
    stop = first + 1 if not found["colon"] else int(found["stop"]) if found["stop"] else sys.maxsize
    if stop <= first:
        raise ValueError(f"trace {select!r}: [{index}] selects nothing")
    return range(first, stop)


def _unreadable(select: Any) -> str:
    return (
        f"trace {select!r}: not a selection; write KERNEL[BLOCKS][HEADS], as 'flash2[3]', 'flash2[0:4][0]' or '*[0]': a "
        "kernel's name, "
        "the number of a launch or *, then numbers or slices from 0 on"
    )
