"""The twins as kernels that can be asked for; Triton loads when one is first run."""

import importlib
import os
from typing import Any

import numpy as np

from ...reference.real_kernels.twins import MOST_ROWS
from ..backend import Unavailable, has, has_cuda
from ..inputs import Inputs
from ..kernel import HALF, Forward, Kernel, first

WIDTHS = (16, 32, 64, 128)
MOST_LANES = 65_535  # along the second and the third axis of a grid


def _twin(name: str) -> Forward:
    def forward(x: Inputs) -> tuple[Any, Any]:
        twin = getattr(importlib.import_module(f"{__package__}.{name}"), name)
        try:
            if x.device != "cpu":
                return twin(x)  # type: ignore[no-any-return]
            with np.errstate(all="ignore"):  # the interpreter takes the logarithm of an empty row's 0 with NumPy
                return twin(x)  # type: ignore[no-any-return]
        except importlib.import_module("triton").TritonError as error:
            raise Unavailable(f"kernel 'triton_{name}': Triton says {' '.join(str(error).split())}") from None

    return forward


def _missing() -> str | None:
    if not has("triton"):
        return "it needs the package triton: pip install triton"
    if not has_cuda() and not interpreted():
        return "on a CPU it runs in Triton's interpreter: set TRITON_INTERPRET=1 before Python starts"
    return None


def interpreted() -> bool:
    """Whether Triton runs on the CPU, in its interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _widths(x: Inputs) -> str | None:
    if x.device == "cpu" and not interpreted():
        return "on a CPU it runs in Triton's interpreter: set TRITON_INTERPRET=1 before Python starts"
    if x.device == "cpu" and x.dtype == "bfloat16":
        return "Triton's interpreter multiplies bfloat16 as if it were integers: use float16"
    if x.d not in WIDTHS or x.d_v not in WIDTHS:
        return f"d = {x.d}, d_v = {x.d_v}: its tiles have {', '.join(map(str, WIDTHS))} columns; pad with zeros"
    if x.n_k * max(x.d, x.d_v) >= 1 << 31:
        return f"{x.n_k:,} keys: its offsets within a head have 32 bits"
    if x.lanes > MOST_LANES:
        return f"{x.lanes:,} heads over the whole batch: its grid holds {MOST_LANES:,}; split the batch"
    return None


def _of_split_kv(x: Inputs) -> str | None:
    causal = "it has no causal mask for more than one query" if x.causal else None
    many = f"{x.group} × {x.n_q} rows: it packs at most {MOST_ROWS} into a tile" if x.group * x.n_q > MOST_ROWS else None
    return first(_widths(x), causal, many)


KERNELS = (
    Kernel(
        name="triton_flash2", title="the simulator's flash2, in Triton", devices=("cpu", "cuda"), dtypes=HALF, forward=_twin("flash2"),
        launches="flash2_kernel", missing=_missing, refuses=_widths, backward=False, seen_on=("cuda",),
    ),
    Kernel(
        name="triton_split_kv", title="the simulator's split_kv, in Triton", devices=("cpu", "cuda"), dtypes=HALF,
        forward=_twin("split_kv"), launches="partial", missing=_missing, refuses=_of_split_kv, backward=False, seen_on=("cuda",),
    ),
)  # fmt: skip
