"""Results that know a small table of themselves: `__rich__` gives it, and a terminal or a notebook shows it."""


class Shown:
    """As text, and as HTML in a notebook. rich loads when something is shown."""

    def __str__(self) -> str:
        from ..show.tables import text  # noqa: PLC0415

        return text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ..show.tables import html  # noqa: PLC0415

        return html(self)
