"""Real fused kernels and hardware counters, beside the simulator. Optional: torch loads when something here is first used."""

from .backend import Unavailable, describe, has_cuda
from .call import GpuRun, attention, attention_backward
from .catalogue import kernels
from .comparison import RealComparison, compare
from .counters import Profile, profile
from .measured import measure_grid
from .workloads import grid

__all__ = [
    "GpuRun", "Profile", "RealComparison", "Unavailable", "attention", "attention_backward", "compare", "describe", "grid", "has_cuda",
    "kernels", "measure_grid", "profile",
]  # fmt: skip
