"""Measured rows and counted ones side by side."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...hierarchy.machine import Machine
from ...reference.problem import Problem
from ...reference.real_kernels.counted import counted
from ...reference.real_kernels.row import Row, device, off
from ...text.exported import Exported
from ...text.shown import Shown

COUNTERS = ("sm_read", "sm_write", "l2_read", "l2_write", "dram_read", "dram_write", "ns")


@dataclass(frozen=True)
class Summary:
    """Of one kernel on one kind of workload: how many were compared, and how the counted bytes stand to the measured."""

    kernel: str
    kind: str
    n: int
    median_off: float
    worst: Row

    @classmethod
    def of(cls, kernel: str, kind: str, rows: list[Row]) -> "Summary":
        return cls(kernel, kind, len(rows), statistics.median(map(off, rows)), max(rows, key=off))


@dataclass(frozen=True, repr=False)
class Fidelity(Shown, Exported):
    """All rows of one device. Prints as a table of its summaries; `to_dicts()` is a dictionary a measured row."""

    _table = "simattn.studies.fidelity.table:summary_table"

    measured_with: Mapping[str, Any]
    rows: tuple[Row, ...]

    def compared(self) -> list[Row]:
        """The rows that have both sides."""
        return [row for row in self.rows if row.read_ratio is not None]

    def summaries(self) -> list[Summary]:
        """By kind and kernel, in the order of the rows."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.compared():
            groups.setdefault((row.kind, row.kernel), []).append(row)
        return [Summary.of(kernel, kind, rows) for (kind, kernel), rows in groups.items()]

    def median_off(self, kind: str, kernels: Iterable[str] | None = None) -> float:
        """How far counted loads are from measured ones, in the median over rows of a kind: 0.08 is 8 %."""
        chosen = None if kernels is None else set(kernels)
        return statistics.median(off(r) for r in self.compared() if r.kind == kind and (chosen is None or r.kernel in chosen))

    def _records(self) -> list[dict[str, Any]]:
        return [
            {
                "kind": row.kind, "kernel": row.kernel, **row.workload.to_dict(), "ms": row.ms, "peak_bytes": row.peak_bytes,
                "simulated_as": row.counted and row.counted.algorithm, "counted_read_bytes": row.counted and row.counted.read,
                "counted_write_bytes": row.counted and row.counted.write,
                **{name if name == "ns" else f"{name}_bytes": (row.counters or {}).get(name) for name in COUNTERS},
                "read_ratio": row.read_ratio, "write_ratio": row.write_ratio, "why_not": row.why_not,
            }
            for row in self.rows
        ]  # fmt: skip


def loaded(path: str | Path) -> dict[str, Any]:
    """Measurements from a file. ValueError for one that does not hold any."""
    try:
        measured = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(measured, dict) or {"measured_with", "rows"} - measured.keys():
        raise ValueError(
            f"{path} holds no measurements: one object with 'measured_with' and 'rows', as `simattn gpu fidelity` writes it"
        )
    return measured


def fidelity(measured: Mapping[str, Any] | str | Path) -> Fidelity:
    """What `sa.gpu` measured, with the simulator's counts beside it. ValueError names a row that is none.

    measured: a file that `simattn gpu fidelity` wrote, or what it holds.

    >>> sa.fidelity("docs/fidelity.json").median_off("prefill") < 0.001
    True
    """
    measured = loaded(measured) if isinstance(measured, str | Path) else measured
    with_, found = measured["measured_with"], measured["rows"]
    if not isinstance(with_, Mapping) or not isinstance(found, Sequence) or not found:
        raise ValueError("measurements without rows: 'measured_with' is an object, and 'rows' a list of at least one")
    machine, rows = device(with_), []
    for number, fields in enumerate(found):
        try:
            rows.append(_row(fields, machine))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"row {number} of the measurements is no row of `simattn gpu fidelity`: {error!r}") from None
    return Fidelity(with_, tuple(rows))


def _row(fields: Mapping[str, Any], machine: Machine) -> Row:
    w, kernels = Problem(**fields["workload"]), fields.get("counters")
    launched = tuple(k["name"] for k in kernels or ())
    return Row(
        w, fields["kernel"], fields["ms"], fields["peak_bytes"],
        None if not kernels else {name: sum(k[name] for k in kernels) for name in COUNTERS},
        None if fields["why_not"] else counted(fields["kernel"], w, launched, machine), launched, fields["why_not"] or fields["not_counted"],
    )  # fmt: skip
