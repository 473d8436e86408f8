"""PyTorch's scaled dot-product attention, by backend. The aten operators return the LSE, which F.scaled_dot_product_attention drops."""

import math
from functools import lru_cache
from typing import Any

from .backend import torch
from .inputs import DTYPES, Inputs
from .kernel import HALF, Kernel, first, needs_equal_lengths, needs_no_empty_row, needs_width


def _aten() -> Any:
    return torch().ops.aten


def _flash(x: Inputs) -> tuple[Any, Any]:
    O, lse, *_ = _aten()._scaled_dot_product_flash_attention(x.q, x.k, x.v, 0.0, x.causal, scale=x.scale)
    return O, lse


def _cudnn(x: Inputs) -> tuple[Any, Any]:
    O, lse, *_ = _aten()._scaled_dot_product_cudnn_attention(x.q, x.k, x.v, None, True, 0.0, x.causal, scale=x.scale)
    return O, lse[..., 0]


def _efficient(x: Inputs) -> tuple[Any, Any]:
    O, lse, *_ = _aten()._scaled_dot_product_efficient_attention(x.q, x.k, x.v, None, True, 0.0, x.causal, scale=x.scale)
    return O, lse[..., : x.n_q]  # padded to a multiple of 32


def _math(x: Inputs) -> tuple[Any, Any]:
    O, _ = _aten()._scaled_dot_product_attention_math(
        x.q, x.k, x.v, _added_mask(x) if x.causal else None, scale=x.scale, enable_gqa=x.group > 1
    )
    return O, None


def _cpu_flash(x: Inputs) -> tuple[Any, Any]:
    square = x.n_q == x.n_k
    O, lse = _aten()._scaled_dot_product_flash_attention_for_cpu(
        x.q, x.k, x.v, 0.0, x.causal and square, attn_mask=_added_mask(x) if x.causal and not square else None, scale=x.scale
    )
    return O, lse


def _unfused(x: Inputs) -> tuple[Any, Any]:
    """S, then P, then O, each through HBM: a product with the scale folded in, a mask where causal, a softmax, a product."""
    t = torch()
    k, v = (y.repeat_interleave(x.group, 1) if x.group > 1 else y for y in (x.k, x.v))
    q, k, v = (y.flatten(0, 1) for y in (x.q, k, v))
    S = t.baddbmm(t.empty((), dtype=q.dtype, device=q.device), q, k.mT, beta=0, alpha=x.scale)
    if x.causal:
        S = S.masked_fill(hidden(x), -math.inf)
    return t.bmm(S.softmax(-1), v).view(*x.q.shape[:3], x.d_v), None


def hidden(x: Inputs) -> Any:
    """(n_q, n_k): whether a key is hidden from a query; the last query sees the last key."""
    return _hidden(x.n_q, x.n_k, x.q.device)


@lru_cache(maxsize=2)
def _hidden(n_q: int, n_k: int, device: Any) -> Any:
    with torch().inference_mode(False):  # or a backward pass could not keep it
        return torch().ones(n_q, n_k, dtype=torch().bool, device=device).triu(n_k - n_q + 1)


def _added_mask(x: Inputs) -> Any:
    """0 where a query sees a key, −∞ where not: what the operators add to the scores."""
    return torch().zeros((), dtype=x.q.dtype, device=x.q.device).masked_fill(hidden(x), -math.inf)


def _of_flash(x: Inputs) -> str | None:
    return first(_one_width(x), needs_width(x), needs_no_empty_row(x))


def _of_cudnn(x: Inputs) -> str | None:
    return first(needs_width(x), needs_equal_lengths(x))


def _of_efficient(x: Inputs) -> str | None:
    groups = f"it takes as many KV heads as heads, not groups of {x.group}" if x.group > 1 else None
    return first(groups, needs_width(x, most=1 << 16), needs_equal_lengths(x))


def _one_width(x: Inputs) -> str | None:
    return None if x.d == x.d_v else f"d = {x.d} and d_v = {x.d_v}: it takes one width"


def _cudnn_missing() -> str | None:
    return _ampere() if torch().backends.cudnn.is_available() else "this torch was built without cuDNN"


def _ampere() -> str | None:
    major, minor = torch().cuda.get_device_capability()
    return None if major >= 8 else f"it needs a GPU of compute capability 8.0 or more, and this is {major}.{minor}"


KERNELS = (
    Kernel(
        name="flash", title="torch SDPA, FlashAttention-2", devices=("cuda",), dtypes=HALF, forward=_flash, launches="flash_fwd|flash_bwd",
        missing=_ampere, refuses=_of_flash,
    ),
    Kernel(
        name="cudnn", title="torch SDPA, cuDNN", devices=("cuda",), dtypes=HALF, forward=_cudnn, launches="cudnn", missing=_cudnn_missing,
        refuses=_of_cudnn,
    ),
    Kernel(
        name="efficient", title="torch SDPA, memory-efficient", devices=("cuda",), dtypes=(*HALF, "float32"), forward=_efficient,
        launches="fmha_cutlass", refuses=_of_efficient,
    ),
    Kernel(
        name="math", title="torch SDPA, math", devices=("cpu", "cuda"), dtypes=DTYPES, forward=_math, launches="gemm|gemv|bmm|nvjet|cutlass|dot",
        refuses=needs_no_empty_row, fused=False,
    ),
    Kernel(
        name="cpu_flash", title="torch SDPA, flash on the CPU", devices=("cpu",), dtypes=DTYPES, forward=_cpu_flash,
        launches="_scaled_dot_product_flash_attention_for_cpu", refuses=lambda x: first(_one_width(x), needs_no_empty_row(x)),
        exponential=1e-4,  # a fast one: the lse of a single key is off by 5e-5 in float16 and bfloat16
    ),
    Kernel(
        name="unfused", title="product, softmax, product", devices=("cpu", "cuda"), dtypes=DTYPES, forward=_unfused,
        launches="(?i)softmax", refuses=needs_no_empty_row, fused=False,
    ),
)  # fmt: skip
