"""Published figures and ours: tables for a terminal and a notebook, and a page of the documentation."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rich.console import Group
from rich.text import Text

from ...text import shown as shared
from ...text.layout import Columns
from ...text.template import filled
from .reproduction import Reproduction
from .row import Row

HEADINGS = ("unit", "published", "ours", "ratio", "within ±", "verdict")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
MANY = {"differs": "differ"}
COLOURS = {"reproduced": "green", "differs": "yellow"}


@dataclass(frozen=True)
class Section:
    """The rows of one figure or table of a paper."""

    title: str
    rows: tuple[Row, ...]

    def __rich__(self) -> Group:
        table = Columns(self.title, "", wraps=True)
        table.numbers(*HEADINGS)
        for row in self.rows:
            table.add_row(row.what, *_cells(row), Text(row.verdict, style=COLOURS.get(row.verdict, "red")))
        remarks = [*_remarks("run", self.rows), *_remarks("note", self.rows)]
        return Group(table, *(Text(remark, style="dim") for remark in remarks))


def sections(reproduction: Reproduction) -> list[Section]:
    """The rows by section, in their order."""
    return [Section(title, tuple(rows)) for title, rows in groupby(reproduction.rows, key=lambda row: row.section)]


def tables(reproduction: Reproduction) -> Group:
    """For a terminal: a table a section, what there is to say on it below, and how many rows were met."""
    shown = [part for section in sections(reproduction) for part in (section, Text())]
    return Group(*shown, Text(summary(reproduction)))


def html(reproduction: Reproduction) -> str:
    """For a notebook."""
    return "".join(map(shared.html, sections(reproduction))) + f"<p>{summary(reproduction)}</p>"


def summary(reproduction: Reproduction) -> str:
    """'58 rows: 40 reproduced, 18 differ'."""
    verdicts = Counter(row.verdict for row in reproduction.rows)
    return f"{len(reproduction.rows)} rows: " + ", ".join(
        f"{n} {MANY.get(verdict, verdict)}" for verdict, n in verdicts.most_common()
    )


def page(reproduction: Reproduction) -> str:
    """The documentation page, in Markdown."""
    return filled(__package__, summary=summary(reproduction), sections="\n\n".join(map(_markdown, sections(reproduction))))


def _markdown(section: Section) -> str:
    head = f"| | {' | '.join(HEADINGS)} | note | run |\n| --- |{' ---: |' * (len(HEADINGS) - 1)} --- | --- | --- |"
    return "\n".join([f"## {section.title}\n\n{head}", *map(line, section.rows)])


def line(row: Row) -> str:
    """A row of the page."""
    return f"| {' | '.join((row.what, *_cells(row), row.verdict, row.note, row.run))} |"


def _cells(row: Row) -> tuple[str, ...]:
    ours = "–" if row.ours is None else f"{_number(row.ours)}, {row.ours_is}"
    ratio = "–" if row.ratio is None else f"{row.ratio:.4g}×"
    return row.unit, f"{_number(row.published)}, {row.published_is}", ours, ratio, _number(row.tolerance, 3)


def _number(x: float, digits: int = 6) -> str:
    """Whole numbers whole, others to so many digits."""
    return f"{x:,.0f}" if x == int(x) or abs(x) >= 10**digits else f"{x:,.{digits}g}"


def _remarks(kind: Literal["run", "note"], rows: Iterable[Row]) -> Iterator[str]:
    """What is said of the rows: texts that differ in their numbers only become one, which lists the numbers."""
    alike: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        said: str = getattr(row, kind)
        alike[tuple(NUMBER.split(said))].append((row.what, said))
    for same in alike.values():
        whats, texts = zip(*same, strict=True)
        if texts[0]:
            yield f"{kind}: {_merged(texts)}" if len(alike) == 1 else f"{kind}, {_listed(whats)}: {_merged(texts)}"


def _listed(whats: Sequence[str]) -> str:
    return _merged(whats) if len({tuple(NUMBER.split(what)) for what in whats}) == 1 else "; ".join(whats)


def _merged(texts: Sequence[str]) -> str:
    """Texts that are alike but for their numbers: 'N = 1 / 2 / 3'."""
    words = NUMBER.split(texts[0])
    numbers = [" / ".join(found if len(set(found)) > 1 else found[:1]) for found in zip(*map(NUMBER.findall, texts), strict=True)]
    return words[0] + "".join(number + word for number, word in zip(numbers, words[1:], strict=True))
