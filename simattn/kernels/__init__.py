"""Attention algorithms, and the basics that are none: one idea, one file."""

from collections.abc import Callable
from typing import Any

from ..score_options import OPTIONS
from .approximate import (
    APPROXIMATE,
    bigbird,
    block_diagonal,
    dynamic_conv,
    linformer,
    local_global,
    longformer,
    orthogonal_features,
    performer,
)
from .basics import BASICS, layer_norm, row_sum, tiled_matmul, transpose
from .block_sparse import block_sparse
from .flash1 import flash1
from .flash1_backward import flash1_backward
from .flash2 import flash2
from .flash2_backward import flash2_backward
from .flash3_fp8 import flash3_fp8
from .incremental import incremental
from .mla import mla
from .naive import naive
from .naive_backward import naive_backward
from .online_softmax import online_softmax
from .paged import paged
from .recompute_decode import recompute_decode
from .split_kv import split_kv
from .synonyms import IN_RUN
from .unfused_chain import unfused_chain
from .unfused_chain_backward import unfused_chain_backward

__all__ = [
    "APPROXIMATE",
    "BACKWARD",
    "BASICS",
    "DECODING",
    "FORWARD",
    "GROUPS",
    "algorithms",
    "bigbird",
    "block_diagonal",
    "block_sparse",
    "dynamic_conv",
    "flash1",
    "flash1_backward",
    "flash2",
    "flash2_backward", "flash3_fp8",
    "incremental",
    "layer_norm",
    "linformer",
    "local_global",
    "longformer",
    "mla",
    "naive",
    "naive_backward",
    "online_softmax",
    "orthogonal_features",
    "paged",
    "performer",
    "recompute_decode",
    "row_sum",
    "split_kv",
    "tiled_matmul",
    "transpose",
    "unfused_chain",
    "unfused_chain_backward",
]  # fmt: skip

FORWARD = (unfused_chain, naive, online_softmax, flash1, flash2, split_kv)  # of any Q, K, V; from the one that moves most bytes on
DECODING = (recompute_decode, incremental)  # causal attention of Q, K, V, step by step
BACKWARD = (unfused_chain_backward, naive_backward, flash1_backward, flash2_backward)

GROUPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "exact": (*FORWARD, block_sparse),
    "decoding": DECODING,
    "of other inputs": (paged, mla, flash3_fp8),
    "approximate": APPROXIMATE,
    "backward": BACKWARD,
    "basics": BASICS,
}
"""What an algorithm is for -> the algorithms."""

algorithms: dict[str, Callable[..., Any]] = {f.__name__: f for group in GROUPS.values() for f in group}
"""Name -> function."""

for _algorithm in algorithms.values():  # so that the machine refuses another option before it begins
    vars(_algorithm).update(options=OPTIONS, synonyms=IN_RUN)
