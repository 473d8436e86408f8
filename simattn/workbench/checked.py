"""What a check found: whether it passed, why not, and a row for each input."""

import html
from dataclasses import asdict, dataclass
from typing import Any

from ..text.exported import Exported
from ..text.units import ratio_text


@dataclass(frozen=True)
class Tried:
    """One input: its shapes, whether the outputs were right (None where shapes alone were counted), HBM bytes and the working set,
    with those of the reference where it has them. wrong, too_much: in a sentence, what is wrong, and what is more than the reference's."""

    inputs: str
    right: bool | None = None
    hbm_bytes: int | None = None
    reference_hbm_bytes: int | None = None
    peak_sram: int | None = None
    reference_peak_sram: int | None = None
    wrong: str | None = None
    too_much: str | None = None


@dataclass(frozen=True, repr=False)
class Check(Exported):
    """Whether a function does what a reference does, by `sa.check`. why: what is wrong and where; empty where it passed. `to_dicts()`: a row for each input
    that was tried.

    >>> check = sa.check(sa.transpose, "row_sum")
    >>> check.passed, check.why.split(":")[0]
    (False, 'the output has shape (48, 64), not (64, 1)')
    >>> [row["right"] for row in sa.check(sa.transpose, "transpose").to_dicts()]
    [True, True, True, True, None]
    """

    passed: bool
    why: str
    function: str
    reference: str
    rows: tuple[Tried, ...] = ()

    def _records(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        head, told = self._told()
        return f"{head}\n{told}"

    def _told(self) -> tuple[str, str]:
        if not self.passed:
            right = sum(row.right is True for row in self.rows)
            before = f" The outputs were right on {right} input{'s' * (right > 1)}." if right else ""
            return f"✗ {self.function}: not yet", f"{self.why}.{before}"
        executed = sum(row.right is not None for row in self.rows)
        return f"✓ {self.function}: passed", f"As {self.reference} on {executed} hidden inputs: {', '.join(self._measures())}."

    def _measures(self) -> list[str]:
        found = ["right in each element"]
        for of, what in (("hbm_bytes", "HBM traffic"), ("peak_sram", "working set")):
            ratios = [
                getattr(row, of) / getattr(row, f"reference_{of}") for row in self.rows if getattr(row, f"reference_{of}", None)
            ]
            if ratios:
                found.append(f"at most {ratio_text(max(ratios))} its {what}")
        return found

    def _repr_html_(self) -> str:
        head, told = map(html.escape, self._told())
        edge = "solid" if self.passed else "dashed"
        style = f"border-left:4px {edge} currentColor;padding:.2em .8em;max-width:60em;white-space:pre-wrap"
        return f"<div style='{style}'><strong>{head}</strong><br>{told}</div>"
