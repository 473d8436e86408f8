"""Kernels that are not attention: the machine is general, and what one learns first is a sum, a transposition and a product."""

from .layer_norm import layer_norm
from .row_sum import row_sum
from .tiled_matmul import tiled_matmul
from .transpose import transpose

__all__ = ["BASICS", "layer_norm", "row_sum", "tiled_matmul", "transpose"]

BASICS = (row_sum, transpose, tiled_matmul, layer_norm)
