"""Every published figure that the simulator can speak to, held against a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...hierarchy.errors import unknown
from ...text.exported import Exported
from ...text.progress import Progress
from ...text.shown import Paged, named
from .groups import GROUPS
from .row import Row


@dataclass(frozen=True, repr=False)
class Reproduction(Paged, Exported):
    """Published figures and ours, by group. Prints as tables; `to_dicts()` is the same as plain data, `markdown()` as a page."""

    _table = "simattn.studies.reproduce.page:tables"
    _page = "simattn.studies.reproduce.page:page"

    groups: dict[str, tuple[Row, ...]]

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.groups.values() for row in rows]

    def _records(self) -> list[dict[str, Any]]:
        return [{"group": name, **row.to_dict()} for name, rows in self.groups.items() for row in rows]

    def _repr_html_(self) -> str:
        return str(named("simattn.studies.reproduce.page:html")(self))


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
