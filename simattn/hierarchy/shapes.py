"""Shapes that do not fit, and whether transposing a row or a column would help."""

from collections.abc import Callable, Sequence
from typing import Protocol

Shape = tuple[int, int]


class Shaped(Protocol):
    """What is known of a tile: its shape, and whether it is an index tile."""

    @property
    def shape(self) -> Shape: ...
    @property
    def index(self) -> bool: ...


def broadcast(shapes: Sequence[Shape]) -> bool:
    """Whether tiles of these shapes broadcast, by NumPy's rule."""
    rows, columns = (max(lengths) for lengths in zip(*shapes, strict=True))
    return all(r in (1, rows) and c in (1, columns) for r, c in shapes)


def turning(tiles: Sequence[Shaped], fit: Callable[[Sequence[Shape]], bool]) -> str:
    """The advice to add to a message if the tiles would fit after one row or column is transposed; preferably an index tile."""
    shapes = [tile.shape for tile in tiles]
    for k in sorted(range(len(tiles)), key=lambda k: not tiles[k].index):
        rows, columns = shapes[k]
        if (rows == 1) != (columns == 1) and fit([*shapes[:k], (columns, rows), *shapes[k + 1 :]]):
            tile = f"the tile {shapes[k]}"
            if rows == 1:
                return f"; {'arange' if tiles[k].index else tile} is a row: `.T` makes a column"
            return f"; {'arange.T' if tiles[k].index else tile} is a column: `.T` makes a row"
    return ""
