"""A prediction: the reader enters a number first, and sees the true one then."""

import html
import math
import numbers
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..hierarchy.checks import kind, shown
from ..text.exported import Exported
from ..text.units import bytes_text

RIGHT, CLOSE = 1.1, 2.0  # times the truth, or a part of it
WORDS = {1.0: "right", 0.5: "close", 0.0: "off"}


@dataclass(frozen=True, repr=False)
class Guess(Exported):
    """A question, and once a prediction was entered, how near it came.

    mine: what was entered, None before. score: 1.0 within 10 % of the truth, 0.5 within a factor of 2, else 0.0; None before. truth: None
    before, so that nothing gives the answer away.

    >>> guess = sa.guess("How many bytes are 256 float32 numbers?", 1024, 1000, unit="B")
    >>> guess.score, guess.truth
    (1.0, 1024)
    """

    question: str
    mine: float | str | None = None
    unit: str = ""
    truth: float | str | None = None
    score: float | None = None
    why: str = field(default="", compare=False)

    def _records(self) -> list[dict[str, Any]]:
        return [asdict(self)]

    def __repr__(self) -> str:
        if self.score is None:
            return f"{self.question}\nEnter your prediction: mine=… in this call, then run it again."
        mine, truth = (_said(x, self.unit) for x in (self.mine, self.truth))
        off = f", {self.why}" if self.why else ""
        return f"{self.question}\nYou said {mine}. It is {truth}: {WORDS[self.score]}{off}."

    def _repr_html_(self) -> str:
        question, told = map(html.escape, repr(self).rsplit("\n", 1))
        style = "border-left:4px solid currentColor;padding:.2em .8em;max-width:60em"
        return f"<div style='{style}'><strong>{question}</strong><br>{told}</div>"


def guess(question: str, truth: float | str | Callable[[], float | str], mine: Any = None, *, unit: str = "") -> Guess:
    """Ask for a prediction, and score it once it is entered; the truth is not shown before.

    truth: a number or a word, or a function that gives it, which is called only then. mine: the reader's. unit: "B" for bytes, "×" for
    a ratio, or any other. TypeError or ValueError for what is neither a finite number nor a word.

    >>> sa.guess("How often does an N × N array cross HBM in naive attention?", 4, unit="times")
    How often does an N × N array cross HBM in naive attention?
    Enter your prediction: mine=… in this call, then run it again.
    >>> sa.guess("How often does an N × N array cross HBM in naive attention?", 4, 3, unit="times")
    How often does an N × N array cross HBM in naive attention?
    You said 3 times. It is 4 times: close, 0.75 × the truth.
    """
    if not str(question).strip() or not isinstance(question, str):
        raise TypeError(f"question={shown(question)}: give the question as text")
    if mine is None or mine is ...:
        return Guess(question, unit=unit)
    mine = _value("mine", mine)
    truth = _value("truth", truth() if callable(truth) else truth)
    if isinstance(truth, str) != isinstance(mine, str):
        wanted = "a word" if isinstance(truth, str) else "a number"
        raise TypeError(f"mine={shown(mine)}: the answer is {wanted}; enter {wanted}")
    if isinstance(truth, str) or isinstance(mine, str):
        same = str(truth).strip().casefold() == str(mine).strip().casefold()
        return Guess(question, mine, unit, truth, float(same))
    return Guess(question, mine, unit, truth, *_scored(mine, truth))


def _scored(mine: float, truth: float) -> tuple[float, str]:
    if mine == truth:
        return 1.0, ""
    if mine == 0 or truth == 0 or (mine > 0) != (truth > 0):
        return 0.0, ""
    times = mine / truth
    far = max(times, 1 / times)
    return (1.0 if far <= RIGHT else 0.5 if far <= CLOSE else 0.0), f"{times:.3g} × the truth"


def _value(name: str, x: Any) -> float | str:
    """A finite number as Python's own, or a word."""
    if isinstance(x, str):
        return x
    if hasattr(x, "item") and getattr(x, "size", 0) == 1:
        x = x.item()
    if isinstance(x, bool) or not isinstance(x, numbers.Real):
        raise TypeError(f"{name}={shown(x)}: give a number or a word, not {kind(x)}")
    if not math.isfinite(x):
        raise ValueError(f"{name}={x}: give a finite number")
    return int(x) if isinstance(x, numbers.Integral) else float(x)


def _said(x: Any, unit: str) -> str:
    if isinstance(x, str):
        return x
    number = f"{x:,}" if isinstance(x, int) else f"{x:,.4g}"
    if unit == "B":
        return f"{number} B" + (f" ({bytes_text(x)})" if abs(x) >= 10_000 else "")
    return number + (f" {unit}" if unit else "")
