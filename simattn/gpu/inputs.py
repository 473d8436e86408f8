"""What a kernel is given: tensors on one device, of one type, whose shapes fit."""

from typing import Any, NamedTuple

import numpy as np

from ..hierarchy.checks import kind, native
from ..hierarchy.dtypes import STORAGE
from .backend import Unavailable, has_cuda, torch

DTYPES = ("float16", "bfloat16", "float32", "float64")
BFLOAT16 = STORAGE["bfloat16"]
ALIGNED = 16  # bytes


class Inputs(NamedTuple):
    """q (batch, heads, n_q, d), k (batch, kv_heads, n_k, d), v (batch, kv_heads, n_k, d_v): tensors of one type on one device, each
    in one piece that begins at a multiple of 16 bytes.

    causal: the last query sees the last key; False where one query sees every key anyway.
    """

    q: Any
    k: Any
    v: Any
    causal: bool
    scale: float

    @property
    def n_q(self) -> int:
        return int(self.q.shape[2])

    @property
    def n_k(self) -> int:
        return int(self.k.shape[2])

    @property
    def d(self) -> int:
        return int(self.q.shape[3])

    @property
    def d_v(self) -> int:
        return int(self.v.shape[3])

    @property
    def lanes(self) -> int:
        """Heads over the whole batch."""
        return int(self.q.shape[0] * self.q.shape[1])

    @property
    def group(self) -> int:
        return int(self.q.shape[1] // self.k.shape[1])

    @property
    def dtype(self) -> str:
        return str(self.q.dtype)[6:]  # without "torch."

    @property
    def device(self) -> str:
        return self.q.device.type  # type: ignore[no-any-return]


def check(x: Inputs) -> None:
    """TypeError or ValueError names what does not fit."""
    q, k, v = x.q, x.k, x.v
    if not (
        q.ndim == k.ndim == v.ndim == 4
        and q.shape[3] == k.shape[3]
        and k.shape[:3] == v.shape[:3]
        and q.shape[0] == k.shape[0]
        and q.numel() and v.numel()
        and q.shape[1] % k.shape[1] == 0
    ):  # fmt: skip
        _refuse_shapes(q, k, v)
    if not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"types {q.dtype}, {k.dtype}, {v.dtype} of q, k, v: they must be equal")
    if not q.device == k.device == v.device:
        raise ValueError(f"q is on {q.device}, k on {k.device}, v on {v.device}: move all to one device, as k.to(q.device)")
    check_device(q)
    if x.dtype not in DTYPES:
        raise TypeError(f"q has type {x.dtype}: real kernels take {', '.join(DTYPES)}")


def check_device(q: Any) -> None:
    """ValueError for a GPU that is not torch's current one."""
    if q.device.type == "cuda" and q.device.index != torch().cuda.current_device():
        raise ValueError(f"q is on {q.device}, which is not the current device: torch.cuda.set_device({q.device.index}) first")


def check_finite(**tensors: Any) -> None:
    """ValueError for values that are not finite, as everywhere in simattn: a NaN would be in every row, and say nothing."""
    for name, x in tensors.items():
        if not (finite := torch().isfinite(x)).all():
            wrong = (~finite).nonzero()
            first = tuple(wrong[0].tolist())
            raise ValueError(
                f"{name} holds {len(wrong)} values that are not finite, the first, {x[first].item()}, at {list(first)}"
            )


def _refuse_shapes(q: Any, k: Any, v: Any) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if {q.ndim, k.ndim, v.ndim} not in ({2}, {4}):
        raise ValueError(f"{shapes}: give all as (N, d), or all as (batch, heads, N, d)")
    if 0 in (*q.shape, *k.shape, *v.shape):
        raise ValueError(f"{shapes}: no length may be 0")
    if q.ndim == 4 and k.shape[1] and q.shape[1] % k.shape[1]:
        raise ValueError(f"{shapes}: {q.shape[1]} heads cannot share {k.shape[1]} KV heads evenly")
    raise ValueError(f"{shapes}: q and k share d; k and v share keys and heads; all share the batch")


def tensor(name: str, x: Any) -> Any:
    """A tensor as it is if it lies in one piece, else a copy; a NumPy array copied to the GPU, or to the CPU where there is
    none."""
    t = torch()
    if isinstance(x, t.Tensor):
        if x.layout is not t.strided or x.is_nested:
            raise TypeError(f"{name} is {'nested' if x.is_nested else x.layout}: give a dense tensor of one shape")
        # Some kernels take the last stride for 1, and load 16 bytes at a time, without asking.
        return x if x.data_ptr() % ALIGNED == 0 and x.is_contiguous() else x.clone(memory_format=t.contiguous_format)
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is {kind(x)}: give a NumPy array or a torch tensor")
    if x.dtype != BFLOAT16 and x.dtype.name not in DTYPES:
        raise TypeError(f"{name} has type {x.dtype}: real kernels take {', '.join(DTYPES)}; convert it with .astype(...)")
    x = np.ascontiguousarray(x, native(x.dtype))
    made = t.tensor(x.view(np.int16), device="cpu").view(t.bfloat16) if x.dtype == BFLOAT16 else t.tensor(x, device="cpu")
    try:
        return made.cuda() if has_cuda() else made
    except t.cuda.OutOfMemoryError:
        raise Unavailable(
            f"{name} takes {x.nbytes:,} B, more than is free on the GPU; use a shorter sequence or a smaller batch"
        ) from None


def array(x: Any) -> Any:
    """A tensor as a NumPy array."""
    t = torch()
    x = x.detach().cpu()
    return x.contiguous().view(t.int16).numpy().view(BFLOAT16) if x.dtype == t.bfloat16 else x.numpy()
