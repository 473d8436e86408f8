"""A traced run as the page has it: tables of names, and a short row for each step."""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ..hierarchy.counts import COUNTS
from ..hierarchy.dtypes import Array
from ..hierarchy.numbered import Numbered
from ..hierarchy.perfetto import Traced
from ..hierarchy.trace import Step, Trace
from .running import Running
from .source import functions

KINDS = ("load", "compute", "store", "atomic")
SHOWN = 12  # numbers of a tile that are shown
THIN = 20_000  # steps that a page holds of one run; of a longer one it has some thread blocks, and of a longer block its beginning


class Row(NamedTuple):
    """A step on the page, in the order that page/model.js names. tile, operation: numbers of names. named: whether the source names the tile.

    box: an array's number, and the rows and columns of it that are moved. live: position and bytes of each tile. cell: the queries and
    keys of a product. values: the first numbers, the extremes, whether it is a column. running: the output so far.
    """

    kind: int
    operation: int
    tile: int
    named: int
    shape: list[int] | None
    nbytes: int
    dtype: str | None
    box: list[int] | None
    line: int
    counts: list[int]
    live: list[int]
    sram: int
    cell: list[int] | None
    reads: list[int]
    values: list[Any] | None
    running: list[Any] | None


def panel(trace: Trace, outputs: Sequence[str] = ()) -> dict[str, Any]:
    """What the page shows of a run. outputs: the names of the arrays that it returned."""
    return _Panel(trace, outputs).plain()


class _Panel:
    def __init__(self, trace: Trace, outputs: Sequence[str]) -> None:
        self._trace, self._outputs = trace, outputs
        self._tiles, self._operations, self._kernels, self._files = (Numbered[str]() for _ in range(4))
        self._arrays = Numbered(trace.arrays)
        self._blocks: list[dict[str, Any]] = []
        self._steps: list[Row] = []
        self._lines: dict[str, set[int]] = {}

    def plain(self) -> dict[str, Any]:
        trace = self._trace
        whole = thread_blocks = longest = 0
        keep = _kept(len(trace))
        for block, group in groupby(trace, lambda step: (step.launch, step.block, step.heads)):
            if block[1] is None:
                continue
            steps = list(group)
            whole += len(steps)
            thread_blocks += 1
            total = steps[-1].total
            if keep(thread_blocks, len(self._steps)):
                self._block(steps, steps[:THIN])
                longest = max(longest, len(steps))
        shown = len(self._steps)
        machine = trace.machine
        return {
            "algorithm": trace.algorithm,
            "select": trace.select,
            "machine": {name: getattr(machine, name) for name in ("name", "title", "sram", "hbm", "l2", "sms")},
            "arrays": [
                {"name": name, "shape": list(x.shape), "dtype": x.dtype, "made": x.made} for name, x in trace.arrays.items()
            ],
            "tiles": self._tiles.things, "operations": self._operations.things, "kernels": self._kernels.things,
            "source": functions(self._files.things, self._lines),
            "blocks": self._blocks, "steps": self._steps,
            "total": [getattr(total, name) for name in COUNTS] if thread_blocks else [0] * len(COUNTS),
            "peak": max((step.sram for step in self._steps), default=0),
            "note": None if shown == whole else (
                f"{shown:,} of {whole:,} steps are here: those of {len(self._blocks):,} of {thread_blocks:,} thread blocks. "
                + (f"One of {longest:,} steps is cut after {THIN:,}. " if longest > THIN else "")
                + "Bytes moved are those of the whole run; what was touched is shown for these thread blocks only."
            ),
        }  # fmt: skip

    def _block(self, steps: list[Step], shown: list[Step]) -> None:
        first, arrays = steps[0], self._trace.arrays
        running = Running(steps, self._outputs)
        self._blocks.append({
            "kernel": self._kernels.number(first.kernel), "launch": first.launch, "number": first.block, "heads": len(first.heads),
            "first": len(self._steps), "length": len(shown), "file": self._files.number(first.file),
            "base": [getattr(first.total, name) - getattr(first.counts, name) * len(first.heads) for name in COUNTS],
            "final": running.final,
        })  # fmt: skip
        for step in shown:
            self._lines.setdefault(step.file, set()).add(step.line)
            self._steps.append(Row(
                kind=KINDS.index(step.kind), operation=self._operations.number(step.operation), tile=self._tiles.number(name_of(step)),
                named=int(step.tile is not None), shape=None if step.shape is None else list(step.shape), nbytes=step.nbytes,
                dtype=step.dtype, line=step.line, counts=[getattr(step.counts, name) for name in COUNTS],
                box=None if step.array is None else [self._arrays.number(step.array), *_box(step, arrays[step.array])],
                live=[x for tile in step.live for x in (tile.position, tile.nbytes)], sram=step.sram, cell=_cell(step, steps),
                reads=list(step.reads), values=numbers(step.values), running=running.at.get(step.position),
            ))  # fmt: skip


def name_of(step: Step) -> str:
    """What a step's tile is called."""
    return step.tile or (f"{step.operation} {step.array}" if step.array else step.operation)


def _kept(steps: int) -> Any:
    """Whether a page has a thread block: all, or of a long run every so many, as long as there is room."""
    every = max(1, math.ceil(steps / THIN))
    return lambda number, held: (number - 1) % every == 0 and held < THIN


def _box(step: Step, array: Traced) -> list[int]:
    """The rows and columns that a step touches: of an array with more axes, rows lie one after another."""
    *leading, (c0, c1, c_step) = step.region
    first = last = 0
    for (start, stop, stride), n in zip(leading, array.shape, strict=False):
        ends = sorted((start, start + (len(range(start, stop, stride)) - 1) * stride))
        first, last = first * n + ends[0], last * n + ends[1]
    columns = sorted((c0, c0 + (len(range(c0, c1, c_step)) - 1) * c_step))
    return [first, last + 1, columns[0], columns[1] + 1]


def _cell(step: Step, steps: Sequence[Step]) -> list[int] | None:
    """The queries and keys whose product a step is: both operands were loaded, a row for each row and column of it."""
    if step.operation != "matmul" or len(step.reads) != 2 or step.shape is None:
        return None
    a, b = (steps[k] for k in step.reads)
    if a.kind != "load" or b.kind != "load" or not a.region or not b.region:
        return None
    (r0, r1, _), (c0, c1, _) = a.region[-2], b.region[-2]
    fits = (r1 - r0, c1 - c0) == tuple(step.shape) and a.array != b.array and a.region[-1] == b.region[-1]
    return [r0, r1, c0, c1] if fits else None


def numbers(x: Array | None) -> list[Any] | None:
    """The first numbers of a tile, and its extremes: of its first row, or of a single column."""
    if x is None:
        return None
    some = x[:, 0] if x.shape[1] == 1 else x[0]
    wide = np.asarray(x, np.float64)
    return [rounded(some[:SHOWN]), rounded([wide.min(), wide.max()]), x.shape[1] == 1]


def rounded(x: Iterable[Any]) -> list[Any]:
    """To four digits; what JSON has no number for, as text: the largest float64 rounds to infinity."""
    texts = [f"{float(v):.4g}" for v in x]
    return [float(text) if np.isfinite(float(text)) else text for text in texts]
