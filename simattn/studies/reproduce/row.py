"""One published figure, and ours beside it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["reproduced", "differs", "not reproducible", "not run"]
Published = Literal["measured", "digitised", "predicted", "stated"]
Ours = Literal["counted", "measured", "computed"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A published figure and ours, both in `unit`.

    section: the paper, its arXiv number, its figure or table. published_is: measured (by a counter or an allocator), digitised (off a
    plot), predicted (by the source's formula) or stated (in its text). ours: from a run that was executed for this row, None where
    there was none. ours_is: counted (by the machine), measured (the error of a run) or computed (from data, without a run). tolerance: absolute; where nothing else is
    said, half the last digit that was printed. run: algorithm, machine, blocks, workload, and the factor for heads or batch elements
    that count alike. note: one line on a difference, or on what stands apart. otherwise: the verdict on a figure that is not met.
    """

    section: str
    what: str
    unit: str
    published: float
    published_is: Published
    ours: float | None
    ours_is: Ours = "counted"
    tolerance: float
    run: str
    note: str = ""
    otherwise: Verdict = "differs"

    @property
    def ratio(self) -> float | None:
        """Ours over the published figure."""
        return None if self.ours is None else self.ours / self.published

    @property
    def verdict(self) -> Verdict:
        """Whether ours is within the tolerance of the published figure."""
        if self.ours is None:
            return "not run"
        return "reproduced" if abs(self.ours - self.published) <= self.tolerance else self.otherwise

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, with its ratio and its verdict."""
        fields = {name: value for name, value in asdict(self).items() if name != "otherwise"}
        return {**fields, "ratio": self.ratio, "verdict": self.verdict}
