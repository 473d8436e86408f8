"""Tables that fit the terminal: a table that is too wide is printed in parts, below one another, and no number is ever cut."""

from copy import copy
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

GAP = 2  # characters between columns
WORD = 24  # characters of a word from which on it may be broken


class Columns(Table):
    """A table whose columns of numbers keep their width. What is wider than the terminal goes on below, beside the same first column."""

    def __init__(self, title: str, first: str, *, wraps: bool = False) -> None:
        super().__init__(
            title=title, title_justify="left", title_style="bold", header_style="", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False,
            collapse_padding=True,
        )  # fmt: skip
        self.add_column(first, no_wrap=not wraps)

    def numbers(self, *headings: str) -> None:
        """Columns of numbers, or of single words, to the right."""
        for heading in headings:
            self.add_column(heading, justify="right", no_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(str(self.title), style="bold")
        for k, columns in enumerate(self.parts(options.max_width)):
            if k:
                yield ""
            part = copy(self)
            part.title, part.columns = None, [copy(column) for column in columns]
            for n, column in enumerate(part.columns):
                column._index = n
            yield from Table.__rich_console__(part, console, options)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)

    def parts(self, width: int) -> list[list[Column]]:
        """The columns of each part, of which every one begins with the first column. One part, where all fit side by side."""
        first, *others = self.columns
        parts = [[first]]
        for column in others:
            if _wide([*parts[-1], column]) > width and len(parts[-1]) > 1:
                parts.append([first])
            parts[-1].append(column)
        return parts


def _wide(columns: list[Column]) -> int:
    return sum(map(_needs, columns)) + GAP * (len(columns) - 1)


def _needs(column: Column) -> int:
    """The characters below which a column would break a number; of a text, which wraps, its longest word."""
    lines = [line for cell in (column.header, *column.cells) for line in plain(cell).split("\n")]
    if column.no_wrap:
        return max(map(cell_len, lines), default=0)
    return min(WORD, max((cell_len(word) for line in lines for word in line.split()), default=0))


def plain(x: Any) -> str:
    """A cell without its style."""
    return x.plain if isinstance(x, Text) else str(x)
