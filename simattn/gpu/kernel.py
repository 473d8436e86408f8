"""What simattn knows of a kernel: what runs it, what it takes, and by which name a profiler sees it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..reference.rounding import UNFUSED, Rounding
from .backend import has_cuda
from .inputs import Inputs

HALF = ("float16", "bfloat16")
Forward = Callable[[Inputs], tuple[Any, Any]]


def _nothing() -> None:
    return None


def _takes_all(_: Inputs) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One kernel, by the name under which it is asked for.

    forward: Inputs -> O (batch, heads, n_q, d_v) and lse (batch, heads, n_q), None where the kernel gives none. launches: what the
    profiler's name of a launched kernel must match. missing: why this machine cannot run it; refuses: why it cannot run these inputs,
    both None if it can. fused: whether scores stay on chip; only such kernels are chosen unasked. seen_on: where the profiler sees it.
    exponential: by what share its exponential errs in the half types, beyond float32's roundoff.
    """

    name: str
    title: str
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    forward: Forward
    launches: str
    missing: Callable[[], str | None] = _nothing
    refuses: Callable[[Inputs], str | None] = _takes_all
    backward: bool = True
    fused: bool = True
    seen_on: tuple[str, ...] = ("cpu", "cuda")
    exponential: float = 0.0

    def rounding(self, dtype: str) -> Rounding:
        """What it rounds on the way from scores of that type's inputs to the output."""
        own = self.exponential if dtype in HALF else 0.0
        return replace(Rounding() if self.fused else UNFUSED, exponential=own)

    def unavailable(self) -> str | None:
        """Why this machine cannot run it, in one line; None if it can."""
        if self.devices == ("cuda",) and not has_cuda():
            return "it needs a CUDA GPU, and torch sees none here"
        return self.missing()

    def why_not(self, x: Inputs, *, backward: bool = False) -> str | None:
        """Why it cannot run these inputs, in one line; None if it can."""
        if (reason := self.unavailable()) is not None:
            return reason
        if x.device not in self.devices:
            return f"it runs on {' and '.join(self.devices)}, and the inputs are on {x.device}"
        if x.dtype not in self.dtypes:
            return f"it takes {', '.join(self.dtypes)}, not {x.dtype}: convert the inputs"
        if backward and not self.backward:
            return "it has no backward pass"
        return self.refuses(x)


def needs_equal_lengths(x: Inputs) -> str | None:
    """Of kernels whose causal mask aligns the first query with the first key."""
    if x.causal and x.n_q != x.n_k:
        return f"its causal mask aligns the first query with the first key, which differs where n_q = {x.n_q} and n_k = {x.n_k}"
    return None


def needs_no_empty_row(x: Inputs) -> str | None:
    """Of kernels that give no 0 and −∞ for a query that sees no key."""
    if x.causal and x.n_q > x.n_k:
        return f"{x.n_q - x.n_k} of {x.n_q} queries see none of {x.n_k} keys, for which it gives no zeros"
    return None


def needs_width(x: Inputs, multiple: int = 8, most: int = 256) -> str | None:
    """Of kernels that are built for some head sizes."""
    if x.d % multiple or x.d_v % multiple or max(x.d, x.d_v) > most:
        return f"d = {x.d}, d_v = {x.d_v}: it takes multiples of {multiple} up to {most}; pad with zeros"
    return None


def first(*reasons: str | None) -> str | None:
    """The first reason that there is."""
    return next((reason for reason in reasons if reason is not None), None)
