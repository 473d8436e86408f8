"""Online softmax: accesses to memory."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...hierarchy.catalogue import machine
from . import softmax_kernels as kernels
from .row import Row

SECTION = "Online softmax (Milakov & Gimelshein 2018, arXiv 1805.02867): memory accesses an element"
ROWS, COLUMNS, K = 8, 1 << 17, 5

ACCESSES: dict[Callable[..., Any], int] = {
    kernels.naive_softmax: 3,
    kernels.safe_softmax: 4,
    kernels.online_softmax: 3,
}
ACCESSES_TOPK: dict[Callable[..., Any], int] = {
    kernels.safe_softmax_then_topk: 5,
    kernels.online_softmax_then_topk: 4,
    kernels.online_softmax_with_topk: 1,
}


def rows() -> Iterator[Row]:
    """Rows of which not one fits on chip: what is needed again is read again."""
    for softmax, published in ACCESSES.items():
        yield _row(softmax, published, 0, "")
    for softmax, published in ACCESSES_TOPK.items():
        yield _row(softmax, published, 0.005, f"the {K} values and places of each row are written, too", K=K)


def _row(softmax: Callable[..., Any], published: int, tolerance: float, note: str, **options: int) -> Row:
    x = np.zeros((ROWS, COLUMNS), np.float32)
    run = machine("a100-40gb").run(softmax, x, Br=ROWS, Bc=1024, **options)
    name = run.algorithm.replace("_", " ")
    return Row(
        section=SECTION, what=name, unit="accesses", published=published, published_is="stated", tolerance=tolerance,
        ours=(run.hbm_read + run.hbm_write) / x.nbytes, note=note,
        run=f"{name} on {run.machine}, Br = {ROWS}, Bc = 1024, {ROWS} rows of {COLUMNS:,} float32",
    )  # fmt: skip
