"""What a run gives back: outputs and counts, as plain data."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .counts import COUNTS, KernelCounts, Traffic
from .dtypes import Data


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of an algorithm. Byte counts are in bytes, summed over all lanes.

    outputs: NumPy arrays by name. kernels, tensors: the counts by kernel, in launch order, and by array. blocks: the block
    sizes that were chosen or given. peeked: whether the algorithm looked at values.
    """

    algorithm: str
    machine: str
    outputs: dict[str, Data] = field(repr=False)
    kernels: dict[str, KernelCounts]
    tensors: dict[str, Traffic]
    hbm_footprint: int
    blocks: dict[str, int]
    peeked: bool
    l2_read: int | None = None
    l2_write: int | None = None
    predicted_ms: float | None = None
    total: KernelCounts = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.kernels.values(), KernelCounts()))

    def __getattr__(self, name: str) -> int:
        if name in (*COUNTS, "programs", "peak_sram"):
            return int(getattr(self.total, name))
        raise AttributeError(f"a run has no {name!r}")

    @property
    def output(self) -> Data:
        """The first output."""
        return next(iter(self.outputs.values()))

    @property
    def lse(self) -> Data:
        """The log-sum-exp of the scores, (..., N)."""
        if "lse" not in self.outputs:
            raise KeyError(f"{self.algorithm} returns no 'lse'; it returns {', '.join(self.outputs)}")
        return np.asarray(self.outputs["lse"][..., 0])

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {getattr(self, name):,}" for name in (*COUNTS, "peak_sram", "programs"))
        return f"Run of {self.algorithm} on {self.machine}: {counts}"

    def __dir__(self) -> list[Any]:
        return [*object.__dir__(self), *COUNTS, "programs", "peak_sram"]
