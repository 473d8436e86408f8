"""Algorithms that do not compute softmax(QKᵀ/√d)V: what they leave out is counted, and what they err by is measured."""

from .bigbird import bigbird
from .block_diagonal import block_diagonal
from .dynamic_conv import dynamic_conv
from .features import orthogonal_features
from .linformer import linformer
from .local_global import local_global
from .longformer import longformer
from .performer import performer

__all__ = [
    "APPROXIMATE", "bigbird", "block_diagonal", "dynamic_conv", "linformer", "local_global", "longformer", "orthogonal_features", "performer",
]  # fmt: skip

APPROXIMATE = (block_diagonal, local_global, longformer, bigbird, linformer, performer, dynamic_conv)
