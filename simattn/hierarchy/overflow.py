"""What an overflow says: where, at which operation, and what was live there."""

import itertools
import linecache
from collections.abc import Sequence
from types import CodeType

from .errors import SramOverflow
from .execute import Record


def overflow(
    kernel: str, machine: str, capacity: int, log: Sequence[Record], code: CodeType, t: int, live: list[tuple[int, int]]
) -> SramOverflow:
    """The error for operation `t` of a log, at which these tiles (position of definition, bytes) were live."""

    def line(p: int) -> int:
        *_, instruction = log[p]
        return next(itertools.islice(code.co_positions(), instruction // 2, None))[0] or 0

    needed = sum(size for _, size in live)
    tiles = "\n".join(f"  {size:>11,} B  {log[p][0]}, line {line(p)}" for p, size in live)
    return SramOverflow(
        f"{kernel}: {needed:,} B live, but {machine} has {capacity:,} B of SRAM a thread block\n"
        f"at {log[t][0]}, line {line(t)} of {code.co_filename}:\n"
        f"    {linecache.getline(code.co_filename, line(t)).strip()}\nlive there:\n{tiles}\n"
        "Load later, or use smaller blocks.",
        needed=needed,
        capacity=capacity,
    )
