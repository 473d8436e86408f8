"""The result of a comparison: one row for each algorithm, as a table and as plain data."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..hierarchy.counts import KernelCounts
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..reference.problem import Problem
from ..reference.truth import Error
from ..reference.verdict import Judgement
from ..text.exported import Exported
from ..text.shown import Shown, html


@dataclass(frozen=True)
class Result:
    """One algorithm's row: its run, its error against float64 and what that says of it, or why there is none.

    counted_by: "execution"; of a run that was counted only, which has no error, "closed form" or "recording"; None where there is
    no run."""

    algorithm: str
    run: Run | None = None
    error: Error | None = None
    judgement: Judgement | None = None
    times_naive: float | None = None
    failure: str | None = None
    outcome: str | None = None  # "did not fit", "refused" or "failed", where there is no run
    counted_by: str | None = None

    @property
    def exact(self) -> bool | None:
        """Whether rounding explains every element's error; None where that is undecided, or nothing ran."""
        return None if self.judgement is None else self.judgement.exact

    @property
    def verdict(self) -> str | None:
        """ "exact", "not exact" or "undecided"; None where nothing ran."""
        return None if self.judgement is None else self.judgement.verdict

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, by the names of the command line's JSON; what a run does not have is None."""
        run, err, judged = self.run, self.error, self.judgement

        def count(name: str) -> Any:
            return None if run is None else getattr(run, name)

        return {
            "algorithm": self.algorithm,
            "exact": self.exact,
            "verdict": self.verdict,
            "resolution": judged and finite(judged.resolution),
            "error_over_bound": judged and finite(judged.error_over_bound),
            "hbm_read_bytes": count("hbm_read"),
            "hbm_write_bytes": count("hbm_write"),
            "l2_read_bytes": count("l2_read"),
            "l2_write_bytes": count("l2_write"),
            "sram_read_bytes": count("sram_read"),
            "sram_write_bytes": count("sram_write"),
            "matmul_flops": count("matmul_flops"),
            "vector_flops": count("vector_flops"),
            "exps": count("exps"),
            "peak_sram_bytes": count("peak_sram"),
            "hbm_footprint_bytes": count("hbm_footprint"),
            "programs": count("programs"),
            "max_abs_error": None if err is None else finite(err.max_abs),
            "rmse": None if err is None else finite(err.rmse),
            "lse_error": None if err is None else finite(err.lse),
            "error_over_naive": None if self.times_naive is None else finite(self.times_naive),
            "blocks": None if run is None else run.blocks,
            "predicted_ms": count("predicted_ms"),
            "counted_by": self.counted_by,
            "error": self.failure,
            "kernels": [] if run is None else [{"name": name, **_kernel(k)} for name, k in run.kernels.items()],
        }


@dataclass(frozen=True, repr=False)
class Comparison(Shown, Exported):
    """Algorithms on the same inputs. Prints as a table; `to_dicts()` and `to_csv()` give its rows, `to_dict()` all of it, as JSON
    has it.

    >>> comparison = sa.compare("t4", ["naive", "flash2"], Q, K, V)
    >>> comparison["naive"].run.hbm_write > comparison["flash2"].run.hbm_write
    True
    """

    _table = "simattn.workbench.table:comparison_table"

    machine: Machine
    workload: Problem
    results: tuple[Result, ...]
    title: str = ""

    def __getitem__(self, algorithm: str) -> Result:
        found = [r for r in self.results if r.algorithm == algorithm]
        if not found:
            raise KeyError(unknown("algorithm of this comparison", algorithm, [r.algorithm for r in self.results]))
        return found[0]

    def _records(self) -> list[dict[str, Any]]:
        return [result.to_dict() for result in self.results]

    def to_dict(self) -> dict[str, Any]:
        """Machine, workload and rows, as the command line's JSON has them.

        >>> sa.compare(machine, ["flash2"], Q, K, V).to_dict()["workload"]["n_q"]
        64
        """
        machine = {name: value for name, value in asdict(self.machine).items() if name != "sources"}
        return {"machine": machine, "workload": self.workload.to_dict(), "results": self._records()}

    def _repr_html_(self) -> str:
        return html(self._shown_as(wide=True))


def _kernel(k: KernelCounts) -> dict[str, int]:
    return asdict(k)


def finite(x: float | None) -> float | None:
    """A number as JSON can hold it: None where it is none."""
    return x if x is not None and math.isfinite(x) else None
