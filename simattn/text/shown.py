"""Results that know a small table of themselves: a terminal, a notebook and `print` show it. rich loads when something is shown."""

import importlib
import io
from typing import Any, ClassVar

WIDTH = 120


class Shown:
    """A result with a table. `_table`: where the function is that makes it, as "module:function", which may lie in a room above."""

    _table: ClassVar[str]

    def __rich__(self) -> Any:
        return self._shown_as()

    def __str__(self) -> str:
        return text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html(self)

    def _shown_as(self, **options: Any) -> Any:
        """The table, with the options of the function that makes it."""
        return named(self._table)(self, **options)


class Paged(Shown):
    """A result with a page of the documentation, too. `_page`: where the function is that writes it."""

    _page: ClassVar[str]

    def markdown(self) -> str:
        """The page."""
        return str(named(self._page)(self))


def named(place: str) -> Any:
    """What "module:function" names, which loads now."""
    module, function = place.split(":")
    return getattr(importlib.import_module(module), function)


def text(shown: Any) -> str:
    """What a terminal would show, without colour."""
    from rich.console import Console  # noqa: PLC0415

    out = io.StringIO()
    Console(file=out, width=WIDTH, color_system=None, legacy_windows=False, force_jupyter=False).print(shown)
    return out.getvalue()


def html(shown: Any) -> str:
    """What a notebook shows: an HTML table, with headings that a screen reader can follow."""
    from .layout import plain  # noqa: PLC0415

    group: Any = shown.__rich__() if hasattr(shown, "__rich__") else shown
    table, *notes = group.renderables
    cells = [[plain(cell) for cell in column.cells] for column in table.columns]
    head = "".join(f"<th scope='col' style='text-align:{c.justify}'>{_escape(plain(c.header))}</th>" for c in table.columns)
    rows = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:{c.justify}'>{_escape(cell)}</td>" for c, cell in zip(table.columns, row, strict=True))
        + "</tr>"
        for row in zip(*cells, strict=True)
    )
    below = "".join(f"<pre>{_escape(plain(note))}</pre>" for note in notes)
    return (
        f"<table><caption>{_escape(plain(table.title))}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{below}"
    )


def _escape(x: str) -> str:
    return x.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
