"""Flash-Decoding in Triton: `simattn/kernels/split_kv.py` and its combine with the same names, in the same order."""

import math
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

from ...hierarchy.splits import heuristic, key_block
from ...reference.real_kernels.twins import SPLIT_KV_KEYS, split_kv_rows
from ..inputs import Inputs
from .step import LOG2E, visit

_compiled: dict[Any, Any] = {}


@triton.jit(do_not_specialize=["N", "n_k", "chunk"])
def partial(
    Q, K, V, O_split, L_split, N, n_k, chunk, scale,
    Br: tl.constexpr, Bc: tl.constexpr, d: tl.constexpr, d_v: tl.constexpr,
):  # fmt: skip
    s, head = tl.program_id(0), tl.program_id(1)  # one block of rows, which holds all queries of a group
    rows, keys = tl.arange(0, Br)[:, None], tl.arange(0, Bc)
    K += head.to(tl.int64) * n_k * d
    V += head.to(tl.int64) * n_k * d_v
    Qi = tl.load(Q + (head * N + rows) * d + tl.arange(0, d), mask=rows < N, other=0.0)
    Oi, l, m = tl.zeros((Br, d_v), tl.float32), tl.zeros((Br,), tl.float32), tl.full((Br,), -3.4028234663852886e38, tl.float32)
    stop = min(n_k, (s + 1) * chunk)
    for j in tl.range(s * chunk, stop, Bc):
        seen = j + keys < stop
        Kj = tl.load(K + (j + keys)[:, None] * d + tl.arange(0, d), mask=seen[:, None], other=0.0)
        Vj = tl.load(V + (j + keys)[:, None] * d_v + tl.arange(0, d_v), mask=seen[:, None], other=0.0)
        Oi, l, m = visit(Qi, Kj, Vj, Oi, l, m, scale, seen[None, :], True)
    row = (s * tl.num_programs(1) + head).to(tl.int64) * N + rows
    tl.store(O_split + row * d_v + tl.arange(0, d_v), Oi / tl.maximum(l, 1)[:, None], mask=rows < N)
    tl.store(L_split + row, (m * 0.6931472 + tl.log(l))[:, None], mask=rows < N)  # m is to base 2: × ln 2


@triton.jit(do_not_specialize=["N", "splits"])
def combine(O_split, L_split, O, L, N, splits, d_v: tl.constexpr):  # a thread block a row, where the simulator takes Br rows
    i, c = tl.program_id(0), tl.arange(0, d_v)
    Oi, l, m = tl.zeros((d_v,), tl.float32), 0.0, -3.4028234663852886e38
    for s in tl.range(0, splits, loop_unroll_factor=4):
        lse = tl.load(L_split + s * N + i)
        m_old = m
        m = tl.maximum(m, lse)
        p, a = tl.exp(lse - m), tl.exp(m_old - m)
        l = a * l + p
        Oi = a * Oi + p * tl.load(O_split + (s * N + i) * d_v + c)
    tl.store(O + i * d_v + c, (Oi / tl.maximum(l, 1)).to(O.dtype.element_ty))
    tl.store(L + i, m + tl.log(l))


def split_kv(x: Inputs, splits: int | None = None, Bc: int = SPLIT_KV_KEYS) -> tuple[Any, Any]:
    """O and lse of partial and combine. The queries of a group are rows of one tile, so K and V are read once a group."""
    (batch, heads, n_q, d), (_, kv_heads, n_k, d_v), dtype, device = x.q.shape, x.v.shape, x.q.dtype, x.q.device
    N, lanes = heads // kv_heads * n_q, batch * kv_heads
    splits = splits or number(lanes, d, n_k, slots(device))
    Br = split_kv_rows(N)
    O = torch.empty((batch, heads, n_q, d_v), dtype=dtype, device=device)
    L = torch.empty((batch, heads, n_q), dtype=torch.float32, device=device)
    if splits == 1:
        O_split, L_split = O, L
    else:
        O_split = torch.empty((splits, *O.shape), dtype=torch.float32, device=device)
        L_split = torch.empty((splits, *L.shape), dtype=torch.float32, device=device)
    chunk = math.ceil(math.ceil(n_k / Bc) / splits) * Bc
    variant = (device, dtype, Br, Bc, d, d_v, splits == 1)
    launch(
        partial, variant, (splits, lanes, 1), x.q, x.k, x.v, O_split, L_split, N, n_k, chunk, x.scale * LOG2E, Br, Bc, d, d_v,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    if splits > 1:
        launch(combine, variant, (lanes * N, 1, 1), O_split, L_split, O, L, lanes * N, splits, d_v, num_warps=1)
    return O, L


def launch(kernel: Any, variant: Any, grid: tuple[int, int, int], *args: Any, **options: Any) -> None:
    """Launch a kernel, from the second time on as it was compiled: what Triton asks of each argument anew takes longer than a short cache.

    variant: what the compiled code depends on, beside the kernel. Integers are not specialized, and tensors begin at multiples of 16 bytes.
    """
    compiled = _compiled.get((kernel, variant))
    if compiled is None:
        _compiled[kernel, variant] = kernel[grid](*args, **options)  # None from the interpreter
    else:
        compiled[grid](*args)


@cache
def number(lanes: int, d: int, n_k: int, slots: int) -> int:
    """flash-attn's number of splits: the simulator's own heuristic, for one block of queries."""
    return heuristic(lanes, slots, math.ceil(n_k / key_block(d)))


@cache
def slots(device: Any) -> int:
    """Thread blocks that a GPU runs at once, two to an SM; a CPU stands in for one with a few."""
    return 2 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 8
