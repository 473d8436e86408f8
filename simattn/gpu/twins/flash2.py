"""FlashAttention-2 in Triton: `simattn/kernels/flash2.py` with the same names, in the same order."""

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from ...reference.real_kernels.twins import FLASH2_ROWS, ROOMY, flash2_keys
from ..inputs import Inputs
from .step import LOG2E, visit


@triton.jit
def flash2_kernel(
    Q, K, V, O, L, N, n_k, scale, offset, group,
    Br: tl.constexpr, Bc: tl.constexpr, d: tl.constexpr, d_v: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    i, head = tl.program_id(0) * Br, tl.program_id(1)  # thread blocks: parallel on a GPU
    kv = head // group
    rows, keys = i + tl.arange(0, Br), tl.arange(0, Bc)
    Qi = Q.load([head, i, 0]).reshape(Br, d)
    Oi, l, m = tl.zeros((Br, d_v), tl.float32), tl.zeros((Br,), tl.float32), tl.full((Br,), -3.4028234663852886e38, tl.float32)
    whole, stop = n_k // Bc * Bc, n_k  # keys that every row sees, in whole blocks; keys that some row sees
    if CAUSAL:
        whole, stop = min(whole, max(i + offset + 1, 0) // Bc * Bc), min(n_k, max(i + Br + offset, 0))
    for j in tl.range(0, whole, Bc):
        Kj, Vj = K.load([kv, j, 0]).reshape(Bc, d), V.load([kv, j, 0]).reshape(Bc, d_v)
        Oi, l, m = visit(Qi, Kj, Vj, Oi, l, m, scale, None, False)
    for j in tl.range(whole, stop, Bc):
        Kj, Vj = K.load([kv, j, 0]).reshape(Bc, d), V.load([kv, j, 0]).reshape(Bc, d_v)
        seen = (j + keys)[None, :] < n_k
        if CAUSAL:
            seen = seen & ((j + keys)[None, :] <= rows[:, None] + offset)
        Oi, l, m = visit(Qi, Kj, Vj, Oi, l, m, scale, seen, True)
    O.store([head, i, 0], (Oi / tl.maximum(l, 1)[:, None]).to(O.dtype).reshape(1, Br, d_v))  # l >= 1, but 0 where all is masked
    tl.store(L + head.to(tl.int64) * N + rows, m * 0.6931472 + tl.log(l), mask=rows < N)  # m is to base 2: × ln 2


def flash2(x: Inputs, Br: int = FLASH2_ROWS, Bc: int | None = None) -> tuple[Any, Any]:
    """O and lse of flash2_kernel. The stages are the fastest that were measured on an H100, and one less on smaller GPUs."""
    memory = shared_memory(x.q.device)
    Bc = Bc or flash2_keys(max(x.d, x.d_v), memory)
    O = torch.empty((*x.q.shape[:3], x.d_v), dtype=x.q.dtype, device=x.q.device)
    L = torch.empty(x.q.shape[:3], dtype=torch.float32, device=x.q.device)
    grid = (triton.cdiv(x.n_q, Br), x.lanes)
    flash2_kernel[grid](
        tiles(x.q, Br), tiles(x.k, Bc), tiles(x.v, Bc), tiles(O, Br), L, x.n_q, x.n_k, x.scale * LOG2E, x.n_k - x.n_q, x.group,
        Br, Bc, x.d, x.d_v, x.causal, num_warps=8, num_stages=3 if memory >= ROOMY else 2,
    )  # fmt: skip
    return O, L


def tiles(x: Any, rows: int) -> Any:
    """A tensor (batch, heads, N, d) as tiles (1, rows, d): rows beyond N read as zeros, and are not written."""
    return TensorDescriptor.from_tensor(x.view(-1, *x.shape[2:]), [1, rows, x.shape[3]])


@cache
def shared_memory(device: Any) -> int:
    """Bytes that a thread block can have; without a GPU, as many as an H100's."""
    return int(torch.cuda.get_device_properties(device).shared_memory_per_block_optin) if device.type == "cuda" else ROOMY
