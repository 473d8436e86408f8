"""Kernels of other packages, where they are installed: FlashAttention-3 and -4, FlashInfer. They take (batch, N, heads, d)."""

import importlib
import math
from typing import Any

from .backend import has, torch
from .inputs import Inputs
from .kernel import HALF, Kernel, first, needs_no_empty_row

WIDTHS = (64, 128)


def _flash_attn_3(x: Inputs) -> tuple[Any, Any]:
    function = importlib.import_module("flash_attn_interface").flash_attn_func
    O, lse = function(*_by_token(x), softmax_scale=x.scale, causal=x.causal, return_attn_probs=True)
    return O.transpose(1, 2), lse


def _flash_attn_4(x: Inputs) -> tuple[Any, Any]:
    function = importlib.import_module("flash_attn.cute").flash_attn_func
    O, lse = function(*_by_token(x), softmax_scale=x.scale, causal=x.causal, return_lse=True)
    return O.transpose(1, 2), lse


def _flashinfer(x: Inputs) -> tuple[Any, Any]:
    """One request a call, so the batch goes one by one; its lse is to base 2."""
    function = importlib.import_module("flashinfer").single_prefill_with_kv_cache
    done = [
        function(q, k, v, causal=x.causal, kv_layout="NHD", sm_scale=x.scale, return_lse=True)
        for q, k, v in zip(*_by_token(x), strict=True)
    ]
    O, lse = (torch().stack(parts).transpose(1, 2) for parts in zip(*done, strict=True))
    return O, lse * math.log(2)


def _by_token(x: Inputs) -> tuple[Any, Any, Any]:
    """Views, not copies: all of them take any strides but the last."""
    return x.q.transpose(1, 2), x.k.transpose(1, 2), x.v.transpose(1, 2)


def _needs(package: str, module: str, remedy: str, *majors: int) -> Any:
    """What is missing: the package, or a GPU of the compute capability that it is built for."""

    def missing() -> str | None:
        if not has(package) or (module != package and not has(module)):
            return f"it needs the package {package}: {remedy}"
        major, minor = torch().cuda.get_device_capability()
        built = " or ".join(f"{m}.x" for m in majors)
        return None if major in majors else f"it needs a GPU of compute capability {built}, and this is {major}.{minor}"

    return missing


def _refuses(x: Inputs) -> str | None:
    built = (
        None
        if x.d == x.d_v and x.d in WIDTHS
        else f"d = {x.d}, d_v = {x.d_v}: one width of {', '.join(map(str, WIDTHS))} is what is tested"
    )
    return first(built, needs_no_empty_row(x))


KERNELS = (
    Kernel(
        name="flash_attn_3", title="FlashAttention-3", devices=("cuda",), dtypes=HALF, forward=_flash_attn_3, launches="(?i)flash",
        missing=_needs("flash_attn_interface", "flash_attn_interface", "build it from the folder hopper of Dao-AILab/flash-attention", 9),
        refuses=_refuses,
    ),
    Kernel(
        name="flash_attn_4", title="FlashAttention-4", devices=("cuda",), dtypes=HALF, forward=_flash_attn_4, launches="(?i)flash",
        missing=_needs("flash_attn", "flash_attn.cute", "pip install flash-attn-4", 9, 10, 12), refuses=_refuses,
    ),
    Kernel(
        name="flashinfer", title="FlashInfer", devices=("cuda",), dtypes=HALF, forward=_flashinfer, launches="(?i)prefill|decode|attention",
        missing=_needs("flashinfer", "flashinfer", "pip install flashinfer-python", 8, 9, 10, 12), refuses=_refuses, backward=False,
    ),
)  # fmt: skip
