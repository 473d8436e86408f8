"""The article's claims, tested."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ...text.exported import Exported
from ...text.progress import Progress
from ...text.shown import Paged, named
from . import complexity, decoding, hierarchy, mechanism, neighbours, related, timings
from .claim import Check, Claim

PARTS = (mechanism, complexity, hierarchy, decoding, timings, neighbours, related)

CHECKS: dict[int, Check] = dict(sorted((check.number, check) for part in PARTS for check in part.CHECKS))
"""Number -> how that claim is tested."""


@dataclass(frozen=True, repr=False)
class Claims(Paged, Exported):
    """Claims with their verdicts. Prints as a table; `to_dicts()` is the same as plain data, `markdown()` as a page in English,
    `markdown("zh")` in Chinese.
    """

    _table = "simattn.studies.claims.page:table"
    _page = "simattn.studies.claims.page:page"

    claims: tuple[Claim, ...]

    def __getitem__(self, number: int) -> Claim:
        found = {claim.number: claim for claim in self.claims}
        if number not in found:
            raise KeyError(f"claim {number} was not tested; the tested claims are {', '.join(map(str, found))}")
        return found[number]

    def markdown(self, language: Literal["en", "zh"] = "en") -> str:
        """The page, in English or in Chinese."""
        return str(named(self._page)(self, language))

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON: each claim with the quantities that it rests on."""
        return {"claims": [claim.to_dict() for claim in self.claims]}

    def _records(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in claim.to_dict().items() if k != "quantities"} for claim in self.claims]


def claims(numbers: Iterable[int] | None = None, progress: Progress = lambda _: None) -> Claims:
    """Test the claims with the given numbers (all of them by default): run what each needs, and judge it by the results.

    progress: called with the text of each claim before it is tested. A number that no claim has raises a ValueError.

    >>> sa.claims([1])[1].verdict
    'holds'
    """
    asked = list(dict.fromkeys(CHECKS if numbers is None else numbers))
    for number in asked:
        if number not in CHECKS:
            raise ValueError(f"there is no claim {number}; choose a number from {min(CHECKS)} to {max(CHECKS)}")
    done = []
    for number in asked:
        progress(f"{number}. {CHECKS[number].text}")
        done.append(CHECKS[number].run())
    return Claims(tuple(done))
