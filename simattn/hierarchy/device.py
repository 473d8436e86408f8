"""A device: capacities and rates, as plain data. It runs nothing."""

from dataclasses import dataclass, field, fields
from typing import Any

from .checks import flag, instance, number, optional, whole

KiB = 1 << 10


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU as the simulator needs it. Immutable; bytes, hertz, FLOP/s.

    sram: the bytes that one thread block may have live, in shared memory and in the registers that hold accumulators. hbm: device
    memory, None for no limit. sms: the number of streaming multiprocessors, for launch heuristics. flops: dense peak by type.
    sources: the source of each figure. rounds_every_operation: sums and products, too, have the storage type, as in emulations that
    round after each operation (Golden et al. 2024, arXiv 2405.02803)."""

    name: str
    sram: int
    hbm: int | None = None
    sms: int | None = None
    title: str = ""
    shared_memory: int | None = None
    registers: int | None = None
    l2: int | None = None
    hbm_bandwidth: float | None = None
    clock: float | None = None
    flops: dict[str, float] = field(default_factory=dict, hash=False)
    sources: dict[str, str] = field(default_factory=dict, hash=False, repr=False)
    rounds_every_operation: bool = False

    def __post_init__(self) -> None:
        instance("name", self.name, str, "give a text")
        instance("flops", self.flops, dict, "give FLOP/s by type, as {'float16': 312e12}")
        checked: dict[str, Any] = {"sram": whole("sram", self.sram, 1)}
        checked |= {n: optional(whole, n, getattr(self, n), 1) for n in ("hbm", "sms", "shared_memory", "registers", "l2")}
        checked |= {n: optional(number, n, getattr(self, n), above=0) for n in ("hbm_bandwidth", "clock")}
        checked["flops"] = {dtype: number(f"flops[{dtype!r}]", rate, above=0) for dtype, rate in self.flops.items()}
        checked["rounds_every_operation"] = flag("rounds_every_operation", self.rounds_every_operation)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # a NumPy number as Python's, which does not overflow


def figures(device: Device) -> dict[str, Any]:
    """The fields of a device that files store: everything except the sources of its figures."""
    return {f.name: getattr(device, f.name) for f in fields(Device) if f.name != "sources"}
