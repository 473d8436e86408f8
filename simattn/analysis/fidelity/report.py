"""Measured rows and counted ones side by side."""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...hierarchy.catalogue import machines
from ...hierarchy.machine import Machine
from ..inputs import Workload
from .counted import Counted, counted

COUNTERS = ("sm_read", "sm_write", "l2_read", "l2_write", "dram_read", "dram_write", "ns")


@dataclass(frozen=True)
class Row:
    """One kernel on one workload. counters: sums over the kernels that it launched, in bytes; None where not measured, and why_not
    says why. counted: None where nobody knows what the kernel runs, or it did not run."""

    workload: Workload
    kernel: str
    ms: float | None
    peak_bytes: int | None
    counters: dict[str, int] | None
    counted: Counted | None
    launched: tuple[str, ...]
    why_not: str | None

    @property
    def read_ratio(self) -> float | None:
        """Counted loads over the bytes that the SMs received from L2."""
        return None if self.counted is None or self.counters is None else self.counted.read / self.counters["sm_read"]

    @property
    def write_ratio(self) -> float | None:
        """Counted stores over the bytes that the SMs sent to L2."""
        return None if self.counted is None or self.counters is None else self.counted.write / self.counters["sm_write"]

    @property
    def kind(self) -> str:
        """'prefill', 'backward' or 'decode'."""
        return "backward" if self.workload.backward else "decode" if self.workload.n_q == 1 else "prefill"


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


@dataclass(frozen=True)
class Fidelity:
    """All rows of one device."""

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


def off(row: Row) -> float:
    """|counted / measured − 1| of the bytes read."""
    return abs((row.read_ratio or 0) - 1)


def loaded(path: Path) -> dict[str, Any]:
    """Measurements from a file. ValueError for one that does not hold any."""
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(measured, dict) or {"measured_with", "rows"} - measured.keys():
        raise ValueError(
            f"{path} holds no measurements: one object with 'measured_with' and 'rows', as `simattn gpu fidelity` writes it"
        )
    return measured


def fidelity(measured: Mapping[str, Any]) -> Fidelity:
    """What `sa.gpu` measured, with the simulator's counts beside it."""
    machine = device(measured["measured_with"])
    return Fidelity(measured["measured_with"], tuple(_row(fields, machine) for fields in measured["rows"]))


def device(measured_with: Mapping[str, Any]) -> Machine:
    """The machine of the catalogue that a measured device is; one of its SMs, with an H100's SRAM, if it is none."""
    name = str(measured_with.get("device", "")).lower()
    known = {m.name: m for m in machines()}
    found = next((m for key, m in known.items() if key.split("-")[0] in name.replace("nvidia ", "").replace(" ", "-")), None)
    sms = measured_with.get("sms")
    if found is not None and sms in (None, found.sms):
        return found
    return Machine(name=name or "unknown", sram=known["h100-sxm"].sram, sms=sms or known["h100-sxm"].sms)


def _row(fields: Mapping[str, Any], machine: Machine) -> Row:
    w, kernels = Workload(**fields["workload"]), fields.get("counters")
    launched = tuple(k["name"] for k in kernels or ())
    return Row(
        w, fields["kernel"], fields["ms"], fields["peak_bytes"],
        None if not kernels else {name: sum(k[name] for k in kernels) for name in COUNTERS},
        None if fields["why_not"] else counted(fields["kernel"], w, launched, machine), launched, fields["why_not"] or fields["not_counted"],
    )  # fmt: skip
