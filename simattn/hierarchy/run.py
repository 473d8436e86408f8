"""The result of a run: outputs and counts, as plain data."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..text.exported import Exported
from ..text.shown import html, named
from .address import SECTOR
from .counts import COUNTS, KernelCounts, Traffic
from .dtypes import Array
from .trace import Trace


@dataclass(frozen=True, kw_only=True)
class Run(Exported):
    """One execution of an algorithm. Byte counts are in bytes, summed over all lanes.

    outputs: NumPy arrays by name. kernels, tensors: the counts by kernel, in launch order, and by array. sectors: by array, the
    32-byte sectors that loads and stores touch. blocks: the block sizes that were chosen or given. peeked: whether the algorithm
    looked at values. trace: the steps, if the run was traced. A notebook shows a table; `to_dicts()` and `to_csv()` give one row
    for the run, one for each kernel and one for each array.

    >>> run = machine.run(sa.flash2, Q, K, V, Br=32, Bc=32)
    >>> run.hbm_read, run.hbm_write, run.sram_read, run.sram_write
    (40960, 8448, 220160, 176896)
    >>> run.matmul_flops, run.vector_flops, run.exps
    (524288, 27264, 4288)
    >>> run.peak_sram, run.hbm_footprint, run.programs
    (20736, 0, 2)
    >>> run.output.shape, run.lse.shape
    ((64, 32), (64,))
    >>> run.tensors["K"].hbm_read, run.kernels["flash2"].programs
    (16384, 2)
    """

    algorithm: str
    machine: str
    outputs: dict[str, Array] = field(repr=False)
    kernels: dict[str, KernelCounts]
    tensors: dict[str, Traffic]
    hbm_footprint: int
    blocks: dict[str, int]
    peeked: bool
    l2_read: int | None = None
    l2_write: int | None = None
    predicted_ms: float | None = None
    sectors: dict[str, int] = field(default_factory=dict, repr=False)
    trace: Trace | None = field(default=None, repr=False, compare=False)
    total: KernelCounts = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.kernels.values(), KernelCounts()))

    @property
    def hbm_read(self) -> int:
        """Bytes that thread blocks loaded from HBM."""
        return self.total.hbm_read

    @property
    def hbm_write(self) -> int:
        """Bytes that thread blocks stored to HBM."""
        return self.total.hbm_write

    @property
    def sram_read(self) -> int:
        """Bytes of the operands of every operation."""
        return self.total.sram_read

    @property
    def sram_write(self) -> int:
        """Bytes of the results of every operation, loads included."""
        return self.total.sram_write

    @property
    def matmul_flops(self) -> int:
        """2mnk for each product."""
        return self.total.matmul_flops

    @property
    def vector_flops(self) -> int:
        """One for each element of other arithmetic, except exponentials."""
        return self.total.vector_flops

    @property
    def exps(self) -> int:
        """One for each element of exp, exp2, log and tanh."""
        return self.total.exps

    @property
    def coalescing(self) -> dict[str, float]:
        """By array, the bytes that loads and stores use over those of the sectors that they touch: 1 where these are used whole.

        >>> machine.run(sa.flash2, sa.layout(Q, "dn"), K, V, Br=1, Bc=32).coalescing["Q"]
        0.125
        """
        return {
            name: (moved.hbm_read + moved.hbm_write) / (SECTOR * self.sectors[name])
            for name, moved in self.tensors.items()
            if self.sectors.get(name)
        }

    @property
    def programs(self) -> int:
        """The number of thread blocks."""
        return self.total.programs

    @property
    def peak_sram(self) -> int:
        """The largest working set of a thread block, in bytes."""
        return self.total.peak_sram

    @property
    def output(self) -> Array:
        """The first output; ValueError for a run that was counted only."""
        if not self.outputs:
            raise ValueError(f"this run of {self.algorithm} was counted, not executed, so it has no output; use machine.run")
        return next(iter(self.outputs.values()))

    @property
    def lse(self) -> Array:
        """The log-sum-exp of the scores, (..., N)."""
        if self.outputs and "lse" not in self.outputs:
            raise KeyError(f"{self.algorithm} returns no 'lse'; it returns {', '.join(self.outputs)}")
        return np.asarray((self.outputs or {"lse": self.output})["lse"][..., 0])

    def save_trace(self, path: str | Path) -> None:
        """Write the trace as JSON, which https://ui.perfetto.dev opens: one track for each thread block, with counters for SRAM and
        traffic.

        ValueError for a run that was not traced.

        >>> machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=True).save_trace("flash.json")
        """
        if self.trace is None:
            raise ValueError(f"this run of {self.algorithm} was not traced; run it with trace=True, or trace='{self.algorithm}[0]'")
        self.trace.save(path)

    def explore(self, path: str | Path | None = None) -> Any:
        """The run as a page that plays it step by step. A notebook shows it; it is written to `path`, if one is given. See `sa.explore`.

        ValueError for a run that was not traced.

        >>> run = machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=sa.Tracing(values=True))
        >>> run.explore("flash2.html").title
        'flash2'
        """
        page = named("simattn.explorer.explorer:explore")(self)
        if path is not None:
            page.save(path)
        return page

    def _records(self) -> list[dict[str, Any]]:
        whole = {"algorithm": self.algorithm, "machine": self.machine, **self.blocks}
        footprint = {"hbm_footprint": self.hbm_footprint, "l2_read": self.l2_read, "l2_write": self.l2_write}
        times = {"predicted_ms": self.predicted_ms}
        parts = [("run", self.algorithm, asdict(self.total) | footprint | times)]
        parts += [("kernel", name, asdict(counts)) for name, counts in self.kernels.items()]
        parts += [("tensor", name, asdict(moved) | {"sectors": self.sectors.get(name)}) for name, moved in self.tensors.items()]
        return [{**whole, "of": of, "name": name, **{_field(n): x for n, x in counts.items()}} for of, name, counts in parts]

    def _repr_html_(self) -> str:
        return html(named("simattn.workbench.table:run_table")(self))

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {getattr(self, name):,}" for name in (*COUNTS, "peak_sram", "programs"))
        return f"Run of {self.algorithm} on {self.machine}: {counts}"


def _field(count: str) -> str:
    """The name of a count where its unit is said: as in the command line's JSON."""
    return f"{count}_bytes" if count.startswith(("hbm", "l2", "sram", "peak")) else count
