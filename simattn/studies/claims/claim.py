"""A claim of the article: what was computed to test it, and the verdict that follows from the numbers."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

Verdict = Literal["holds", "fails", "depends", "unsupported"]
Kind = Literal["counted", "measured", "published", "computed"]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Quantity:
    """A number that a verdict is based on.

    kind: counted (by the machine, in a run), measured (from the outputs of a run), published (by a source) or computed (from data
    or from other quantities). source: the run, the table, or the data that it was computed from.
    """

    name: str
    value: float
    unit: str
    kind: Kind
    source: str


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim, and the reason in one sentence."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One of the article's claims. `judge` derives the verdict and its sentence from the values of the quantities, and from nothing
    else.

    text: the claim, in our words. computed: what the test computes. rule: how the numbers determine the verdict.
    """

    number: int
    text: str
    computed: str
    rule: str
    quantities: tuple[Quantity, ...]
    judge: Callable[[Values], Judgement]

    @property
    def values(self) -> dict[str, float]:
        """The quantities by name."""
        return {q.name: q.value for q in self.quantities}

    @property
    def verdict(self) -> Verdict:
        """holds, fails, depends or unsupported."""
        return self.judge(self.values).verdict

    @property
    def sentence(self) -> str:
        """Why."""
        return self.judge(self.values).sentence

    @property
    def sources(self) -> list[str]:
        """The runs and tables that the quantities come from, each once."""
        return list(dict.fromkeys(q.source for q in self.quantities if q.kind != "computed"))

    def but(self, changed: Values) -> Self:
        """The claim as it would be if the named quantities had other values. An unknown name raises a KeyError."""
        if unknown := changed.keys() - self.values.keys():
            raise KeyError(
                f"claim {self.number} has no quantity {', '.join(map(repr, sorted(unknown)))}; it has {', '.join(self.values)}"
            )
        return replace(self, quantities=tuple(replace(q, value=changed.get(q.name, q.value)) for q in self.quantities))

    def to_dict(self) -> dict[str, Any]:
        """The claim as plain data, with its verdict and the quantities behind it."""
        return {
            "claim": self.number, "text": self.text, "verdict": self.verdict, "sentence": self.sentence, "computed": self.computed,
            "rule": self.rule, "runs": self.sources, "quantities": [asdict(q) for q in self.quantities],
        }  # fmt: skip


@dataclass(frozen=True)
class Check:
    """How a claim is tested. `measure` yields the quantities, `judge` turns their values into a verdict, and the docstrings of both
    are printed on the page."""

    number: int
    text: str
    measure: Callable[[], Iterator[Quantity]]
    judge: Callable[[Values], Judgement]

    def run(self) -> Claim:
        """Run the test of the claim."""
        return Claim(
            number=self.number, text=self.text, computed=_told(self.measure), rule=_told(self.judge),
            quantities=tuple(self.measure()), judge=self.judge,
        )  # fmt: skip


def holds(sentence: str) -> Judgement:
    return Judgement("holds", sentence)


def fails(sentence: str) -> Judgement:
    return Judgement("fails", sentence)


def depends(sentence: str) -> Judgement:
    return Judgement("depends", sentence)


def unsupported(sentence: str) -> Judgement:
    return Judgement("unsupported", sentence)


def share(so: Sequence[bool], said: str, yes: str = "Yes", part: str = "In part", no: str = "No") -> Judgement:
    """Holds if all conditions are true, depends if some are, fails if none is; `said` follows the matching lead."""
    return holds(f"{yes}: {said}.") if all(so) else depends(f"{part}: {said}.") if any(so) else fails(f"{no}: {said}.")


def _told(function: Callable[..., Any]) -> str:
    """The docstring on one line."""
    return " ".join((inspect.getdoc(function) or "").split())
