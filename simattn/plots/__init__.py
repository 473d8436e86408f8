"""Figures: each draws in the Axes that it is given, or in a new figure, and returns the Axes."""

from .curves import traffic_by_length, traffic_by_sram
from .error import error_by_bytes
from .files import save
from .hierarchy import hierarchy
from .occupancy import occupancy
from .pages import fidelity_figure, pareto_figure, traffic_figure
from .roofline import roofline
from .tiling import tiling
from .traffic import traffic

__all__ = [
    "error_by_bytes", "fidelity_figure", "hierarchy", "occupancy", "pareto_figure", "roofline", "save", "tiling", "traffic", "traffic_by_length",
    "traffic_by_sram", "traffic_figure",
]  # fmt: skip
