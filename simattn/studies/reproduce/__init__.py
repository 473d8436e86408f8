"""Published figures, and what executed runs give in their place. The published numbers stand in the group's own file."""

from .groups import GROUPS
from .reproduction import Reproduction, reproduce
from .row import Row

__all__ = ["GROUPS", "Reproduction", "Row", "reproduce"]
