"""What a run gives back: outputs and counts, as plain data."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .counts import COUNTS, KernelCounts, Traffic
from .dtypes import Array
from .trace import Trace


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of an algorithm. Byte counts are in bytes, summed over all lanes.

    outputs: NumPy arrays by name. kernels, tensors: the counts by kernel, in launch order, and by array. blocks: the block
    sizes that were chosen or given. peeked: whether the algorithm looked at values. trace: its steps, where the run was asked for them.

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
        """Bytes that they stored to it."""
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
        """2mnk a product."""
        return self.total.matmul_flops

    @property
    def vector_flops(self) -> int:
        """One an element of other arithmetic, but for exponentials."""
        return self.total.vector_flops

    @property
    def exps(self) -> int:
        """One an element of exp, exp2, log and tanh."""
        return self.total.exps

    @property
    def programs(self) -> int:
        """Thread blocks."""
        return self.total.programs

    @property
    def peak_sram(self) -> int:
        """The largest working set of a thread block, in bytes."""
        return self.total.peak_sram

    @property
    def output(self) -> Array:
        """The first output; ValueError for a run that was counted only."""
        if not self.outputs:
            raise ValueError(f"this run of {self.algorithm} was counted, not executed: it has no output; machine.run executes")
        return next(iter(self.outputs.values()))

    @property
    def lse(self) -> Array:
        """The log-sum-exp of the scores, (..., N)."""
        if self.outputs and "lse" not in self.outputs:
            raise KeyError(f"{self.algorithm} returns no 'lse'; it returns {', '.join(self.outputs)}")
        return np.asarray((self.outputs or {"lse": self.output})["lse"][..., 0])

    def save_trace(self, path: str | Path) -> None:
        """Write the trace as JSON, which https://ui.perfetto.dev opens: a track a thread block, with counters for SRAM and traffic.

        ValueError for a run that was not traced.

        >>> machine.run(sa.flash2, Q, K, V, Br=32, Bc=32, trace=True).save_trace("flash.json")
        """
        if self.trace is None:
            raise ValueError(f"this run of {self.algorithm} was not traced; run it with trace=True, or trace='{self.algorithm}[0]'")
        self.trace.save(path)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {getattr(self, name):,}" for name in (*COUNTS, "peak_sram", "programs"))
        return f"Run of {self.algorithm} on {self.machine}: {counts}"
