"""The article's claims, tested."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...text.exported import Exported
from ...text.progress import Progress
from ...text.shown import Paged
from . import complexity, decoding, hierarchy, mechanism, neighbours, related, timings
from .claim import Check, Claim

PARTS = (mechanism, complexity, hierarchy, decoding, timings, neighbours, related)

CHECKS: dict[int, Check] = dict(sorted((check.number, check) for part in PARTS for check in part.CHECKS))
"""Number -> how that claim is tested."""


@dataclass(frozen=True, repr=False)
class Claims(Paged, Exported):
    """Claims with their verdicts. Prints as a table; `to_dicts()` is the same as plain data, `markdown()` as a page."""

    _table = "simattn.studies.claims.page:table"
    _page = "simattn.studies.claims.page:page"

    claims: tuple[Claim, ...]

    def __getitem__(self, number: int) -> Claim:
        found = {claim.number: claim for claim in self.claims}
        if number not in found:
            raise KeyError(f"claim {number} was not tested; these were: {', '.join(map(str, found))}")
        return found[number]

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON: each claim with the quantities that it rests on."""
        return {"claims": [claim.to_dict() for claim in self.claims]}

    def _records(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in claim.to_dict().items() if k != "quantities"} for claim in self.claims]


def claims(numbers: Iterable[int] | None = None, progress: Progress = lambda _: None) -> Claims:
    """Execute what the claims of those numbers need, all unless given, and judge each by its numbers.

    progress: called with each claim's text before it is tested. ValueError for a number that no claim has.

    >>> sa.claims([1])[1].verdict
    'holds'
    """
    asked = list(dict.fromkeys(CHECKS if numbers is None else numbers))
    for number in asked:
        if number not in CHECKS:
            raise ValueError(f"there is no claim {number}: they are numbered from {min(CHECKS)} to {max(CHECKS)}")
    done = []
    for number in asked:
        progress(f"{number}. {CHECKS[number].text}")
        done.append(CHECKS[number].run())
    return Claims(tuple(done))
