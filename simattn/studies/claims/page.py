"""The article's claims as a table for a terminal or notebook, and as a page of the documentation."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from ...text.layout import Columns
from ...text.template import filled
from ...text.units import bytes_text, count_text
from .claim import Claim, Quantity
from .collection import Claims
from .language import LANGUAGES, English

COLOURS = {"holds": "green", "fails": "red", "depends": "yellow", "unsupported": "magenta"}
NUMBER = re.compile(r"(?<![A-Za-z])\d[\d,.]*\d|(?<![A-Za-z])\d")  # a number that is not part of a name such as flash2
POWER = "power of "


def table(claims: Claims) -> Group:
    """One row for each claim (the claim, its verdict, the reason and the numbers), then the number of claims with each verdict."""
    shown = Columns("Claims about FlashAttention and Flash-Decoding", "")
    shown.add_column("claim, reason, numbers and runs")
    shown.add_column("verdict", no_wrap=True)
    for claim in claims.claims:
        shown.add_row(str(claim.number), _cell(claim), Text(claim.verdict, style=COLOURS[claim.verdict]))
    return Group(shown, Text(summary(claims)))


def _cell(claim: Claim) -> Text:
    numbers, runs = "; ".join(_numbers(claim)), "; ".join(_runs(claim))
    return Text.assemble((claim.text, "bold"), f"\n{claim.sentence}", (f"\n{numbers}\nfrom: {runs}\n", "dim"))


def _numbers(claim: Claim) -> Iterator[str]:
    """The quantities; those whose names differ only in numbers are joined."""
    alike: dict[tuple[str, ...], list[Quantity]] = defaultdict(list)
    for q in claim.quantities:
        alike[(*NUMBER.split(q.name), q.unit)].append(q)
    for same in alike.values():
        name, unit = _one([q.name for q in same]), same[0].unit
        shown = unit in name or unit == "B" or unit.startswith(POWER)
        yield f"{name}: {' / '.join(map(_readable, same))}{'' if shown else f' {unit}'}"


def _readable(q: Quantity) -> str:
    if q.unit.startswith(POWER):
        return f"{q.unit.removeprefix(POWER)}^{_number(q)}"
    return bytes_text(q.value) if q.unit == "B" else count_text(q.value) if q.unit in ("FLOP", "scores") else _number(q)


def _runs(claim: Claim) -> Iterator[str]:
    """The runs and tables; those that differ only in the algorithm or in numbers are joined."""
    alike: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for source in claim.sources:
        algorithm, on, rest = source.partition(" on ")
        alike[tuple(NUMBER.split(on + rest)) if on else (source,)].append((algorithm, on + rest))
    for same in alike.values():
        algorithms, rests = (list(dict.fromkeys(texts)) for texts in zip(*same, strict=True))
        yield ", ".join(algorithms) + _one(rests)


def _one(texts: list[str]) -> str:
    """Texts that differ only in numbers, as one: 'N = 1 / 2 / 3'."""
    words = NUMBER.split(texts[0])
    numbers = [" / ".join(dict.fromkeys(found)) for found in zip(*map(NUMBER.findall, texts), strict=True)]
    return words[0] + "".join(number + word for number, word in zip(numbers, words[1:], strict=True))


def summary(claims: Claims) -> str:
    """'4 claims: fails 3, holds 1'."""
    verdicts = Counter(claim.verdict for claim in claims.claims)
    return f"{len(claims.claims)} claims: " + ", ".join(f"{verdict} {n}" for verdict, n in verdicts.most_common())


def page(claims: Claims, language: str = "en") -> str:
    """The documentation page, in Markdown, in English or in Chinese ("zh")."""
    said = LANGUAGES[language]
    rows = (
        f"| {c.number} | {said.field(c, 'text')} | {said.verdict(c.verdict)} | {said.sentence(c.sentence)} |" for c in claims.claims
    )
    counts = Counter(claim.verdict for claim in claims.claims).most_common()
    return filled(
        __package__,
        said.template,
        total=len(claims.claims),
        counts=", ".join(f"{said.verdict(verdict)} {n}" for verdict, n in counts),
        rows="\n".join(rows),
        sections="\n\n".join(section(claim, said) for claim in claims.claims),
    )


def section(claim: Claim, said: English = LANGUAGES["en"]) -> str:
    """A claim on the page: what was computed, how the verdict follows, and every number with its source."""
    sources = list(dict.fromkeys(q.source for q in claim.quantities))
    rows = "".join(f"{line(q, sources.index(q.source) + 1, said)}\n" for q in claim.quantities)
    listed = "\n".join(f"{k}. {said.phrase(source)}" for k, source in enumerate(sources, 1))
    return (
        f"## {claim.number}. {said.field(claim, 'text')}\n\n**{said.verdict(claim.verdict)}{said.stop}** {said.sentence(claim.sentence)}\n\n"
        f"**{said.computed}** {said.field(claim, 'computed')}\n\n**{said.rule}** {said.field(claim, 'rule')}\n\n"
        f"{said.columns}\n| --- | ---: | --- | --- | ---: |\n{rows}\n{said.sources}\n\n{listed}"
    )


def line(q: Quantity, source: int, said: English = LANGUAGES["en"]) -> str:
    """A quantity on the page."""
    return f"| {said.phrase(q.name)} | {_number(q)} | {said.phrase(q.unit)} | {said.kind(q.kind)} | {source} |"


def _number(q: Quantity) -> str:
    """Integers in full; other numbers to four digits, measured ones to two."""
    x, digits = q.value, 2 if q.kind == "measured" else 4
    return f"{x:,.0f}" if x == int(x) or abs(x) >= 10**digits else f"{x:,.{digits}g}"
