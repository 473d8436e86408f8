"""The simulator's counts beside what hardware counters saw of real kernels."""

from .report import Fidelity, fidelity, loaded

__all__ = ["Fidelity", "fidelity", "loaded"]
