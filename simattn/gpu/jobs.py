"""A workload as a call on the GPU: what is timed, and what is profiled."""

from collections.abc import Callable
from typing import Any

from ..reference.problem import Problem
from .backend import torch
from .call import differentiated
from .catalogue import named, refused
from .inputs import Inputs


def tensors(w: Problem, device: str, seed: int = 0) -> Inputs:
    """q, k, v of a workload, N(0, 1) in float32, rounded to its type."""
    t = torch()
    source = t.Generator(device=device).manual_seed(seed)

    def drawn(heads: int, n: int) -> Any:
        return t.randn(w.batch, heads, n, w.d, generator=source, device=device).to(getattr(t, w.dtype))

    return Inputs(drawn(w.heads, w.n_q), drawn(w.kv_heads, w.n_k), drawn(w.kv_heads, w.n_k), w.causal and w.n_q > 1, w.d**-0.5)


def prepare(w: Problem, kernel: str, x: Inputs) -> Callable[[], Any]:
    """The call of a kernel on a workload's tensors; Unavailable if it does not take them."""
    chosen = named(kernel)
    if (reason := chosen.why_not(x, backward=w.backward)) is not None:
        raise refused(chosen, reason)
    if w.backward:
        return differentiated(chosen, x, torch().randn_like(x.q))
    return lambda: chosen.forward(x)
