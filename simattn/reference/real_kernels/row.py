"""A real kernel on a workload: what was measured, and what the simulator counts of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...hierarchy.catalogue import machine as machine_named
from ...hierarchy.catalogue import machines
from ...hierarchy.machine import Machine
from ..problem import Problem
from .counted import Counted

VARIANTS = {"sxm", "40gb", "80gb"}  # words of the catalogue's names that a device's own name may lack
NEAR = 0.15  # of the memory that the catalogue says


@dataclass(frozen=True)
class Row:
    """One kernel on one workload. counters: sums over the kernels that it launched, in bytes; None where not measured, and why_not
    says why. counted: None where nobody knows what the kernel runs, or it did not run."""

    workload: Problem
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
        return None if self.counted is None else _ratio(self.counted.read, self.counters, "sm_read")

    @property
    def write_ratio(self) -> float | None:
        """Counted stores over the bytes that the SMs sent to L2."""
        return None if self.counted is None else _ratio(self.counted.write, self.counters, "sm_write")

    @property
    def kind(self) -> str:
        """'prefill', 'backward' or 'decode'."""
        return "backward" if self.workload.backward else "decode" if self.workload.n_q == 1 else "prefill"


def _ratio(ours: int, counters: Mapping[str, int] | None, name: str) -> float | None:
    return ours / counters[name] if counters and counters[name] else None


def off(row: Row) -> float:
    """|counted / measured − 1| of the bytes read."""
    return abs((row.read_ratio or 0) - 1)


def device(measured_with: Mapping[str, Any]) -> Machine:
    """The machine of the catalogue that a measured device is, by its name, its SMs and its memory; if it is none, one of its SMs with an
    H100's SRAM."""
    name, sms, memory = (measured_with.get(key) for key in ("device", "sms", "hbm_bytes"))
    words = set(re.split(r"[^a-z0-9]+", str(name).lower()))
    alike = [m for m in machines() if set(m.name.split("-")) - VARIANTS <= words and sms in (None, m.sms)]
    alike.sort(key=lambda m: abs((m.hbm or 0) - (memory or m.hbm or 0)))
    if alike and abs((alike[0].hbm or 0) / (memory or alike[0].hbm or 1) - 1) < NEAR:
        return alike[0]
    h100 = machine_named("h100-sxm")
    return Machine(name=str(name).lower(), sram=h100.sram, sms=sms or h100.sms)
