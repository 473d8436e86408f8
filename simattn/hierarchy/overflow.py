"""The message of an overflow: the line, the operation, and what was live there."""

import linecache
import re
from collections.abc import Sequence

from .errors import SramOverflow
from .log import Record, Source


def overflow(
    kernel: str, machine: str, capacity: int, records: Sequence[Record], source: Source, t: int, live: list[tuple[int, int]]
) -> SramOverflow:
    """The error for operation `t` of a log, at which these tiles (position of definition, bytes) were live."""

    def line(p: int) -> int:
        return source.place(records[p][3]).line

    needed, place = sum(size for _, size in live), source.place(records[t][3])
    tiles = "\n".join(f"  {size:>11,} B  {records[p][0]}, line {line(p)}" for p, size in live)
    return SramOverflow(
        f"{kernel}: {needed:,} B live, but {machine} has {capacity:,} B of SRAM a thread block\n"
        f"at {records[t][0]}, line {place.line} of {_told(place.file)}:\n"
        f"    {linecache.getline(place.file, place.line).strip()}\nlive there:\n{tiles}\n"
        "Load later, or use smaller blocks.",
        needed=needed,
        capacity=capacity,
    )


def _told(file: str) -> str:
    """The name of a file that a reader recognises: the temporary file of a notebook cell is shown as the cell."""
    return "this cell" if re.search(r"[\\/]ipykernel_\d+[\\/]", file) else file
