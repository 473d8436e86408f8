"""The groups of rows, by the names that the command line takes. A group executes its runs as its rows are asked for."""

from collections.abc import Callable, Iterator

from . import cache, figure2, flops, gpus, h100, precision, sectors, softmax, splits, table21
from .row import Row

Rows = Callable[[], Iterator[Row]]

GROUPS: dict[str, Rows] = {
    "figure2-middle": figure2.middle,
    "figure2-left": figure2.left,
    "table21": table21.rows,
    "flops": flops.rows,
    "splits": splits.rows,
    "softmax": softmax.rows,
    "sectors": sectors.rows,
    "cache": cache.rows,
    "precision": precision.rows,
    "gpus": gpus.rows,
    "h100": h100.rows,
}
