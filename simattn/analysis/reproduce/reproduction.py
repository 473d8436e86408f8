"""Every published figure that the simulator can speak to, held against a run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...hierarchy.errors import unknown
from .groups import GROUPS
from .row import Row

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction:
    """Published figures and ours, by group. Prints as tables; `to_dicts()` is the same as plain data, `markdown()` as a page."""

    groups: dict[str, tuple[Row, ...]]

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.groups.values() for row in rows]

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary a row."""
        return [{"group": name, **row.to_dict()} for name, rows in self.groups.items() for row in rows]

    def markdown(self) -> str:
        """A page of the documentation."""
        from ...show.reproduction import page  # noqa: PLC0415 - results know their tables, but rich loads when they are shown

        return page(self)

    def __rich__(self) -> Any:
        from ...show.reproduction import tables  # noqa: PLC0415

        return tables(self)

    def __str__(self) -> str:
        from ...show.tables import text  # noqa: PLC0415

        return text(self)

    def _repr_html_(self) -> str:
        from ...show.reproduction import html  # noqa: PLC0415

        return html(self)


def reproduce(groups: Iterable[str] | None = None, progress: Progress = lambda _: None) -> Reproduction:
    """Execute the runs of the named groups of `GROUPS`, all unless given, and hold what they count against what was published.

    progress: called with each group's name before it runs. ValueError for a group that nobody knows.
    """
    names = list(dict.fromkeys(GROUPS if groups is None else groups))
    for name in names:
        if name not in GROUPS:
            raise ValueError(unknown("group", name, GROUPS))
    done: dict[str, tuple[Row, ...]] = {}
    for name in names:
        progress(name)
        done[name] = tuple(GROUPS[name]())
    return Reproduction(done)
