"""The article's claims: a table for a terminal and a notebook, and a page of the documentation."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from ...text.layout import Columns
from ...text.units import bytes_text, count_text
from .claim import Claim, Quantity
from .collection import Claims

COLOURS = {"holds": "green", "fails": "red", "depends": "yellow", "unsupported": "magenta"}
NUMBER = re.compile(r"(?<![A-Za-z])\d[\d,.]*\d|(?<![A-Za-z])\d")  # a number that is no part of a name, as flash2 is
POWER = "power of "
HEAD = """\
# Claims about FlashAttention, tested

Made by `make claims`; `simattn claims 2 5` tests two of them, and `--json` gives the same as data.

A widely read article explains how FlashAttention and Flash-Decoding work. Here is what it says, claim by claim and in our words,
with a verdict on each. No verdict is written down: a program computes the numbers of each section, and a rule, which the section
states, turns them into the verdict and its sentence. Other numbers would give another verdict.

* **holds**: the numbers bear the claim out.
* **fails**: they contradict it.
* **depends**: they do so in part, or in some cases.
* **unsupported**: what a test would need is not stated.

## Words

* **Attention** takes a query, a key and a value for each of N tokens (n in formulas): the rows of the matrices Q, K and V, each d
  numbers wide. It gives each query a mean of the values, weighted by how well their keys match it: softmax(QKᵀ/√d)V. The N × N
  matches are the **scores**; the **heads** of a model do all this side by side.
* **Naive**, or standard, attention writes all scores to memory between its steps. **flash1** and **flash2** are FlashAttention 1
  and 2: they work on blocks of 128 × 128 scores, which stay on the chip. **Decoding** generates a text token by token, and a **KV
  cache** keeps the keys and values of the tokens so far. **split_kv** is Flash-Decoding.
* **local_global**, **block_diagonal** and **dynamic_conv** are the mechanisms that the article describes, built as it describes
  them.
* **HBM** is a GPU's large and slow memory. **SRAM**, that is shared memory and registers, is the small and fast one on the chip;
  each **thread block**, a part of the work that runs by itself on an **SM**, has its own. The **working set** is what it has there
  at once.
* **FLOP**: one arithmetic operation. **B**: one byte. **Growth** is a power: what grows as N to the power 1 doubles when N doubles,
  and what grows as N to the power 2 becomes four times as much.
* **Error**: the largest difference from attention in float64, double precision. What errs by no more than rounding to float16 can
  explain **counts as exact**. The **real tensors** are queries, keys and values of a language model (4 heads of
  layer 1 of all-MiniLM-L6-v2) reading the Declaration of Independence. **V = I**: with the identity for the values, an output is
  the weights.
* **Counted**: by the simulated GPU, in a run that was executed for the row. **Measured**: from what a run gave, or by an experiment
  on it. **Published**: printed by somebody else. **Computed**: from the other numbers, or from a GPU's data sheet.
"""


def table(claims: Claims) -> Group:
    """A row a claim: the claim, why the verdict, and the numbers; then how many there are of each verdict."""
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
    """The quantities; those whose names differ in their numbers only are one."""
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
    """The runs and tables; those that differ only in the algorithm, or in their numbers, are one."""
    alike: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for source in claim.sources:
        algorithm, on, rest = source.partition(" on ")
        alike[tuple(NUMBER.split(on + rest)) if on else (source,)].append((algorithm, on + rest))
    for same in alike.values():
        algorithms, rests = (list(dict.fromkeys(texts)) for texts in zip(*same, strict=True))
        yield ", ".join(algorithms) + _one(rests)


def _one(texts: list[str]) -> str:
    """Texts that are alike but for their numbers: 'N = 1 / 2 / 3'."""
    words = NUMBER.split(texts[0])
    numbers = [" / ".join(dict.fromkeys(found)) for found in zip(*map(NUMBER.findall, texts), strict=True)]
    return words[0] + "".join(number + word for number, word in zip(numbers, words[1:], strict=True))


def summary(claims: Claims) -> str:
    """'4 claims: fails 3, holds 1'."""
    verdicts = Counter(claim.verdict for claim in claims.claims)
    return f"{len(claims.claims)} claims: " + ", ".join(f"{verdict} {n}" for verdict, n in verdicts.most_common())


def page(claims: Claims) -> str:
    """The documentation page, in Markdown."""
    rows = "".join(f"| {c.number} | {c.text} | {c.verdict} | {c.sentence} |\n" for c in claims.claims)
    short = f"## The claims\n\n{summary(claims)}.\n\n| | claim | verdict | because |\n| ---: | --- | --- | --- |\n{rows}"
    return "\n".join([HEAD, short, *map(section, claims.claims)])


def section(claim: Claim) -> str:
    """A claim on the page: what was computed, how the verdict follows, and every number with its source."""
    sources = list(dict.fromkeys(q.source for q in claim.quantities))
    rows = "".join(f"{line(q, sources.index(q.source) + 1)}\n" for q in claim.quantities)
    listed = "".join(f"{k}. {source}\n" for k, source in enumerate(sources, 1))
    return (
        f"## {claim.number}. {claim.text}\n\n**{claim.verdict}.** {claim.sentence}\n\n**What was computed.** {claim.computed}\n\n"
        f"**How the verdict follows.** {claim.rule}\n\n| | value | unit | | from |\n| --- | ---: | --- | --- | ---: |\n{rows}\n"
        f"From:\n\n{listed}"
    )


def line(q: Quantity, source: int) -> str:
    """A quantity on the page."""
    return f"| {q.name} | {_number(q)} | {q.unit} | {q.kind} | {source} |"


def _number(q: Quantity) -> str:
    """Whole numbers whole; others to four digits, and what was measured to two."""
    x, digits = q.value, 2 if q.kind == "measured" else 4
    return f"{x:,.0f}" if x == int(x) or abs(x) >= 10**digits else f"{x:,.{digits}g}"
