"""Times. The machine has no clock, so they come from published tables: claims 13, 14, 16, 26 and 27."""

from collections.abc import Iterator, Mapping

from . import published as p
from .claim import Check, Judgement, Quantity, Values, fails, holds, share, unsupported
from .execute import computed, published
from .published import LENGTHS

HALF = 50.0
LOW, HIGH = 2.0, 3.0
FACTOR = 1.1  # largest ratio of two factors to another table that one GPU and shape could explain

PAPER = {
    "table 18, forward": (p.PYTORCH_18, p.FLASH_18, p.TABLE_18),
    "table 20, both passes": (p.PYTORCH_20, p.FLASH_20, p.TABLE_20),
    "table 11, dropout and mask": (p.PYTORCH_11, p.FLASH_11, p.TABLE_11),
}
OWN = "the article's table 1"


def _times(what: str, standard: Mapping[int, float], flash: Mapping[int, float], source: str) -> Iterator[Quantity]:
    for N in LENGTHS:
        yield published(f"standard, {what}, N = {N:,}", standard[N], "ms", source)
        yield published(f"flash, {what}, N = {N:,}", flash[N], "ms", source)


def half() -> Iterator[Quantity]:
    """How much time FlashAttention saves at 2,048 tokens, according to three tables of its paper and to the article's own."""
    N = LENGTHS[-1]
    for what, (standard, flash, source) in {**PAPER, OWN: (p.STANDARD_1, p.FLASH_1, p.TABLE_1)}.items():
        yield from (q for q in _times(what, standard, flash, source) if q.name.endswith(f"{N:,}"))
        yield computed(f"time saved, {what}", 100 * (1 - flash[N] / standard[N]), "%", "1 − flash / standard")


def judge_half(q: Values) -> Judgement:
    """Holds if more than 50 % is saved in all three tables of the paper, fails if in none; otherwise it depends."""
    saved = {what: q[f"time saved, {what}"] for what in PAPER}
    said = ", ".join(f"{x:.0f}% ({what})" for what, x in saved.items()) + f" in the paper, {q[f'time saved, {OWN}']:.0f}% in {OWN}"
    more = [x > HALF for x in saved.values()]
    return share(more, said, part="It depends on what is timed")


def table_1() -> Iterator[Quantity]:
    """How many of the conditions that are needed to repeat a measurement (GPU, what is timed, batch, heads, width of a head, type)
    the article states with its table 1; and the factors between its times and the paper's at the same lengths."""
    yield from _stated(p.TABLE_1)
    for name, own, paper in (("standard", p.STANDARD_1, p.PYTORCH_18), ("flash", p.FLASH_1, p.FLASH_18)):
        for N in LENGTHS:
            yield computed(f"factor to the paper, {name}, N = {N:,}", own[N] / paper[N], "", f"table 1 over {p.TABLE_18}")


def judge_table_1(q: Values) -> Judgement:
    """Unsupported unless every condition is stated. If all are, it holds if a single factor, within 10 %, turns the paper's times
    into the article's, as another GPU or batch size would; otherwise it fails."""
    factors = [x for name, x in q.items() if name.startswith("factor to the paper")]
    same = max(factors) <= FACTOR * min(factors)
    said = f"its times are {min(factors):.0f} to {max(factors):.0f} times those of the paper's table 18"
    said += ", as on another GPU" if same else ", so no single factor turns one into the other"
    if q["conditions stated"] < q["conditions needed"]:
        return unsupported(_unstated(q, said))
    return holds(f"All conditions are stated, and {said}.") if same else fails(f"All conditions are stated, but {said}.")


def trend() -> Iterator[Quantity]:
    """The speed-up at each of the article's lengths, according to three tables of the paper and to the article's own."""
    for what, (standard, flash, source) in {**PAPER, OWN: (p.STANDARD_1, p.FLASH_1, p.TABLE_1)}.items():
        yield from _times(what, standard, flash, source)
        for N in LENGTHS:
            yield computed(f"speed-up, {what}, N = {N:,}", standard[N] / flash[N], "×", "standard / flash")


def judge_trend(q: Values) -> Judgement:
    """Holds if the speed-up at 2,048 tokens is above that at 512 in all three tables of the paper, fails if in none; otherwise it
    depends."""
    ends = {what: [q[f"speed-up, {what}, N = {N:,}"] for N in (LENGTHS[0], LENGTHS[-1])] for what in PAPER}
    said = "; ".join(f"{a:.2f} → {b:.2f} ({what})" for what, (a, b) in ends.items())
    grows = [b > a for a, b in ends.values()]
    return share(grows, said, part="It depends on what is timed")


def decoding_speed() -> Iterator[Quantity]:
    """The speed-ups of Flash-Decoding over FlashAttention-2 that its authors publish: of attention alone, by batch size and number
    of keys, and of whole models, on the shortest and on the longest prompts."""
    for (batch, keys), (flash, decoding) in p.DECODING_US.items():
        at = f"batch {batch}, {keys:,} keys"
        yield published(f"FlashAttention, {at}", flash, "µs", p.FLASH_DECODING)
        yield published(f"Flash-Decoding, {at}", decoding, "µs", p.FLASH_DECODING)
        yield computed(f"speed-up, {at}", flash / decoding, "×", "FlashAttention / Flash-Decoding")
    yield published("speed-up, whole model, short prompts", p.SHORTEST, "×", p.END_TO_END)
    yield published("speed-up, whole model, at most", p.LONGEST, "×", p.END_TO_END)


def judge_decoding_speed(q: Values) -> Judgement:
    """Holds if all speed-ups are between 2 and 3, fails if none is, depends if some are."""
    table = [x for name, x in q.items() if name.startswith("speed-up, batch")]
    ends = [q["speed-up, whole model, short prompts"], q["speed-up, whole model, at most"]]
    within = [LOW <= x <= HIGH for x in (*table, *ends)]
    said = (
        f"the source reports {min(table):.1f} to {max(table):.0f} times for attention alone, and about {ends[0]:.0f} (short prompts) "
        f"to {ends[1]:.0f} times for whole models; {sum(within)} of its {len(within)} figures are between 2 and 3"
    )
    return share(within, said, no="These are not the source's figures")


def table_2() -> Iterator[Quantity]:
    """How many conditions are stated with the article's table 2, as for table 1; and the speed-ups in the table itself."""
    yield from _stated(p.TABLE_2)
    for N in LENGTHS:
        yield published(f"standard, N = {N:,}", p.STANDARD_2[N], "ms", p.TABLE_2)
        yield published(f"Flash-Decoding, N = {N:,}", p.DECODING_2[N], "ms", p.TABLE_2)
        yield computed(f"speed-up, N = {N:,}", p.STANDARD_2[N] / p.DECODING_2[N], "×", "standard / Flash-Decoding")


def judge_table_2(q: Values) -> Judgement:
    """Unsupported unless every condition is stated. If all are, it holds if the table's speed-ups are between 2 and 3, as the
    article says; otherwise it fails."""
    ratios = [q[f"speed-up, N = {N:,}"] for N in LENGTHS]
    said = f"the speed-ups in the table are {', '.join(f'{x:.2f}' for x in ratios)}"
    said += "" if min(ratios) >= LOW else ", so the one at 512 tokens is below “2 to 3 times”"
    if q["conditions stated"] < q["conditions needed"]:
        return unsupported(_unstated(q, said))
    within = LOW <= min(ratios) <= max(ratios) <= HIGH
    return holds(f"All conditions are stated, and {said}.") if within else fails(f"All conditions are stated, but {said}.")


def _stated(table: str) -> Iterator[Quantity]:
    yield published("conditions stated", len(p.STATED[table]), "conditions", table)
    yield computed("conditions needed", len(p.CONDITIONS), "conditions", ", ".join(p.CONDITIONS))


def _unstated(q: Values, said: str) -> str:
    stated, needed = q["conditions stated"], q["conditions needed"]
    return f"{stated:.0f} of the {needed:.0f} conditions that a measurement needs are stated, and {said}."


CHECKS = (
    Check(13, "FlashAttention saves more than 50% of the time at 2,048 tokens.", half, judge_half),
    Check(
        14,
        "The times in table 1 (from 12.3 against 7.1 ms at 512 tokens to 178.6 against 87.3 ms at 2,048).",
        table_1,
        judge_table_1,
    ),
    Check(16, "The speed-up of FlashAttention grows with the sequence length.", trend, judge_trend),
    Check(26, "Flash-Decoding makes decoding 2 to 3 times faster.", decoding_speed, judge_decoding_speed),
    Check(
        27,
        "The times in table 2 (from 34.5 against 18.2 ms at 512 tokens to 150.2 against 65.9 ms at 2,048).",
        table_2,
        judge_table_2,
    ),
)
