"""What real kernels run, as far as anybody knows, and what the simulator counts of it."""

from .counted import Counted, compulsory, counted
from .row import Row, device, off

__all__ = ["Counted", "Row", "compulsory", "counted", "device", "off"]
