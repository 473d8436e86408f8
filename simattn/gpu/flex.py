"""FlexAttention: attention that torch.compile writes in Triton; and its decoding kernel, which has to be asked for."""

from functools import cache, lru_cache
from typing import Any

from .backend import has, torch
from .inputs import Inputs
from .kernel import HALF, Kernel, first, needs_width

MASK = 1 << 30  # elements of the dense mask from which a causal block mask is made


def _flex(x: Inputs, backend: str) -> tuple[Any, Any]:
    compiled, aux = _compiled(backend, x.q.shape, x.k.shape, x.v.shape, x.q.dtype, x.q.requires_grad)
    mask = _block_mask(x.causal, x.n_q, x.n_k, x.q.device, backend == "TRITON_DECODE")
    O, returned = compiled(x.q, x.k, x.v, block_mask=mask, scale=x.scale, enable_gqa=x.group > 1, return_aux=aux)
    return O, returned.lse


@cache
def _compiled(backend: str, *_key: Any) -> tuple[Any, Any]:
    """The compiled function for these shapes. One for each: shapes made dynamic would be slower, and torch gives up after eight."""
    from torch.nn.attention.flex_attention import AuxRequest, flex_attention  # noqa: PLC0415 - torch loads when first used

    compiled = torch().compile(
        lambda q, k, v, **options: flex_attention(q, k, v, kernel_options={"BACKEND": backend}, **options), dynamic=False
    )

    def call(*args: Any, **options: Any) -> Any:
        with torch()._dynamo.config.patch(recompile_limit=1 << 10, accumulated_recompile_limit=1 << 14):
            return compiled(*args, **options)

    return call, AuxRequest(lse=True)


@lru_cache(maxsize=8)
def _block_mask(causal: bool, n_q: int, n_k: int, device: Any, decoding: bool) -> Any:
    """Which blocks are visited; made once a shape, for making it takes longer than a decoding step, whose kernel splits the blocks."""
    from torch.nn.attention import flex_attention as flex  # noqa: PLC0415 - torch loads when first used

    t = torch()
    if not causal and not decoding:
        with t.inference_mode(False):
            return flex._create_empty_block_mask(t.empty(1, 1, n_q, 1, device=device), t.empty(1, 1, n_k, 1, device=device))
    seen = (lambda _b, _h, i, j: i + (n_k - n_q) >= j) if causal else flex.noop_mask
    with t.inference_mode(False):
        return flex.create_block_mask(seen, None, None, n_q, n_k, device=device)


def _missing() -> str | None:
    return None if has("triton") else "it needs the package triton: pip install triton"


def _refuses(x: Inputs) -> str | None:
    large = f"its block mask is made from {x.n_q:,} × {x.n_k:,} elements, more than {MASK:,}"
    powers = (
        None if x.d & (x.d - 1) == 0 and x.d_v & (x.d_v - 1) == 0 else f"d = {x.d}, d_v = {x.d_v}: powers of two are what is tested"
    )
    return first(needs_width(x, 16), powers, large if x.causal and x.n_q * x.n_k > MASK else None)


def _refuses_decoding(x: Inputs) -> str | None:
    many = f"{x.n_q} queries: its decoding kernel takes fewer than 128" if x.n_q >= 128 else None
    groups = f"groups of {x.group}: its decoding kernel takes powers of two" if x.group & (x.group - 1) else None
    return first(many, groups, _refuses(x))


KERNELS = (
    Kernel(
        name="flex", title="FlexAttention", devices=("cuda",), dtypes=HALF, forward=lambda x: _flex(x, "TRITON"),
        launches="triton_tem_fused", missing=_missing, refuses=_refuses,
    ),
    Kernel(
        name="flex_decoding", title="FlexAttention, decoding", devices=("cuda",), dtypes=HALF, forward=lambda x: _flex(x, "TRITON_DECODE"),
        launches="triton_tem_fused", missing=_missing, refuses=_refuses_decoding, backward=False,
    ),
)  # fmt: skip
