"""Blocks of a length, for grids and loops."""

import operator


def blocks(n: int, size: int, start: int = 0) -> list[slice]:
    """Consecutive slices of range(start, n), `size` long; the last may be shorter. `blocks(5, 2)` -> 0:2, 2:4, 4:5.

    >>> sa.blocks(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    n, size = operator.index(n), operator.index(size)
    if size < 1:
        raise ValueError(f"blocks of {size}: a block has at least 1 row")
    return [slice(i, min(i + size, n)) for i in range(operator.index(start), n, size)]


def size(block: slice) -> int:
    """The length of a slice with a start and a stop.

    >>> [sa.size(i) for i in sa.blocks(5, 2)]
    [2, 2, 1]
    """
    return int(block.stop - block.start)
