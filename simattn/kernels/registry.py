"""Every algorithm, a line each: its name, which is that of its file and its function, and its kind.

The lines are declarations without values: type checkers read a name and its type, `kernels` reads names and kinds, and nothing loads.
Help pages, tables and documents keep this order.
"""

from __future__ import annotations

from .kinds import Approximate, Backward, Basic, Decoding, Forward, OfOtherInputs, UnderBlockMask

# From the one that moves most bytes on.
unfused_chain: Forward
naive: Forward
online_softmax: Forward
flash1: Forward
flash2: Forward
split_kv: Forward
block_sparse: UnderBlockMask

recompute_decode: Decoding
incremental: Decoding

paged: OfOtherInputs
mla: OfOtherInputs
flash3_fp8: OfOtherInputs

block_diagonal: Approximate
local_global: Approximate
longformer: Approximate
bigbird: Approximate
linformer: Approximate
performer: Approximate
dynamic_conv: Approximate

unfused_chain_backward: Backward
naive_backward: Backward
flash1_backward: Backward
flash2_backward: Backward

row_sum: Basic
transpose: Basic
tiled_matmul: Basic
layer_norm: Basic
