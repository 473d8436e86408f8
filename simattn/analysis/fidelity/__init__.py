"""The simulator's counts beside what hardware counters saw of real kernels."""

from .counted import Counted, compulsory, counted
from .report import Fidelity, Row, device, fidelity, loaded, off

__all__ = ["Counted", "Fidelity", "Row", "compulsory", "counted", "device", "fidelity", "loaded", "off"]
