"""Attention by a real kernel: the output and the LSE, and what the call took."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..hierarchy.checks import flag, number
from ..hierarchy.errors import unknown
from ..kernels.synonyms import SYNONYMS
from ..text.exported import Exported
from ..text.shown import html
from ..text.shown import named as function_named
from . import auto, timing
from .backend import Unavailable, one_line, several, torch
from .catalogue import named, refused
from .inputs import Inputs, array, check, check_device, check_finite, tensor
from .kernel import Kernel
from .timing import Measurement

STRIP = 1 << 24  # elements of S that are held for the lse of a kernel that gives none
_plans: dict[tuple[Any, ...], tuple[Kernel, str]] = {}  # what was checked and chosen before, so that a call costs a look-up


@dataclass(eq=False)
class GpuRun(Exported):
    """One call of a real kernel.

    kernel: the name of the one that ran. measured: milliseconds, peak memory and the profiler's names of what was launched; None
    where no measurement was asked for. Outputs are NumPy arrays if the inputs were, else tensors.
    """

    kernel: str
    measured: Measurement | None
    _outputs: dict[str, Any] = field(repr=False)
    _numpy: bool = field(repr=False)
    _flat: bool = field(repr=False)

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """O; or dQ, dK and dV: of the inputs' shapes."""
        return {name: self._given_back(x) for name, x in self._outputs.items() if name != "lse"}

    @property
    def output(self) -> Any:
        """The first output."""
        return next(iter(self.outputs.values()))

    @cached_property
    def lse(self) -> Any:
        """The log-sum-exp of the scores, (..., n_q)."""
        if "lse" not in self._outputs:
            raise KeyError("a backward pass has no lse")
        return self._given_back(self._outputs["lse"])

    @property
    def ms(self) -> float | None:
        """Milliseconds: the median of repeated calls; None where not measured."""
        return None if self.measured is None else self.measured.ms

    @property
    def peak_bytes(self) -> int | None:
        """Memory that the call needed beside its inputs; None where not measured."""
        return None if self.measured is None else self.measured.peak_bytes

    def _records(self) -> list[dict[str, Any]]:
        launched = None if self.measured is None else self.measured.launched
        return [{"kernel": self.kernel, "ms": self.ms, "peak_bytes": self.peak_bytes, "launched": launched}]

    def _repr_html_(self) -> str:
        return html(function_named("simattn.gpu.table:run_table")(self))

    def _given_back(self, x: Any) -> Any:
        x = x[0, 0] if self._flat else x
        return array(x) if self._numpy else x.detach()


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    kernel: str = "auto",
    causal: bool = False,
    scale: float | None = None,
    measure: bool = True,
    **others: Any,
) -> GpuRun:
    """softmax(QKᵀ·scale)V by a real kernel: `sa.gpu.attention(q, k, v, kernel="flash").ms`.

    q (N, d) or (batch, heads, N, d), NumPy arrays or torch tensors; k and v may have fewer heads. NumPy arrays go to the GPU, or
    stay on the CPU where there is none; tensors that do not lie in one piece are copied. causal: the last query sees the last key.
    scale: 1/√d unless given. kernel: a name of `sa.gpu.kernels()`, or "auto" for the fastest, by a table that is measured once for
    each class of shapes. measure: False runs the kernel once; True runs it many times, for the median, and once under the profiler,
    which must see the kernel that was asked for.

    ValueError or TypeError names what does not fit; sa.gpu.Unavailable, in one line, what this machine lacks.
    """
    _check_options(measure, others)
    flat, x = _inputs(q, k, v, causal, scale)
    chosen, device = _planned(x, kernel, lambda found: partial(found.forward, x))
    check_finite(q=x.q, k=x.k, v=x.v)
    O, lse = _enough(chosen.forward, device, x)
    if lse is None:  # of a kernel that gives none: beside it, and not in its time
        lse = _enough(logsumexp, device, x)
    taken = _measured(chosen, device, partial(chosen.forward, x)) if measure else None
    return GpuRun(chosen.name, taken, {"O": O, "lse": lse}, isinstance(q, np.ndarray), flat)


def attention_backward(
    q: Any, k: Any, v: Any, do: Any, *, kernel: str = "auto", causal: bool = False, scale: float | None = None, measure: bool = True,
    **others: Any,
) -> GpuRun:  # fmt: skip
    """dQ, dK and dV of sum(O ∘ dO): `sa.gpu.attention_backward(q, k, v, do).outputs["dQ"]`. do: of the shape of O.

    The forward pass runs first, for a kernel keeps what it needs; only the backward pass is measured. The rest as `attention`.
    """
    _check_options(measure, others)
    flat, x = _inputs(q, k, v, causal, scale)
    dO = tensor("do", do)
    dO = dO[None, None] if flat and dO.ndim == 2 else dO
    if tuple(dO.shape) != (*x.q.shape[:3], x.d_v) or dO.dtype != x.q.dtype or dO.device != x.q.device:
        wanted = (*x.q.shape[:3], x.d_v)[2 * flat :]
        raise ValueError(f"do is {dO.dtype} {tuple(do.shape)} on {dO.device}: give {x.q.dtype} {wanted} on {x.q.device}, as O is")
    chosen, device = _planned(x, kernel, lambda found: differentiated(found, x, dO), backward=True)
    check_finite(q=x.q, k=x.k, v=x.v, do=dO)
    call = _enough(differentiated, device, chosen, x, dO)
    gradients = _enough(call, device)
    taken = _measured(chosen, device, call) if measure else None
    return GpuRun(chosen.name, taken, dict(zip(("dQ", "dK", "dV"), gradients, strict=True)), isinstance(q, np.ndarray), flat)


def differentiated(kernel: Kernel, x: Inputs, dO: Any) -> Callable[[], tuple[Any, ...]]:
    """The backward pass, after a forward pass: a call that can be repeated, in inference mode, too."""
    t = torch()
    with t.inference_mode(False), t.enable_grad():
        q, k, v = ((y.clone() if y.is_inference() else y.detach()).requires_grad_() for y in (x.q, x.k, x.v))
        dO = dO.clone() if dO.is_inference() else dO
        O, _ = kernel.forward(Inputs(q, k, v, x.causal, x.scale))

    def call() -> tuple[Any, ...]:
        with t.inference_mode(False):
            return t.autograd.grad(O, (q, k, v), dO, retain_graph=True)  # type: ignore[no-any-return]

    return call


def _inputs(q: Any, k: Any, v: Any, causal: bool, scale: float | None) -> tuple[bool, Inputs]:
    """Tensors (batch, heads, N, d), and whether they came without batch and heads."""
    q, k, v = tensor("q", q), tensor("k", k), tensor("v", v)
    shape = q.shape
    flat = len(shape) == 2 and k.ndim == v.ndim == 2
    if flat:
        q, k, v = q[None, None], k[None, None], v[None, None]
    elif len(shape) < 2:
        check(Inputs(q, k, v, False, 1.0))
    # Kernels take the maximum of scores before they scale them, and hide keys by −∞ before that: so the factor is above 0.
    factor = (shape[-1] or 1) ** -0.5 if scale is None else number("scale", scale, above=0)
    return flat, Inputs(q, k, v, flag("causal", causal) and shape[-2] > 1, factor)


def _check_options(measure: Any, others: dict[str, Any]) -> None:
    if others:
        raise TypeError(unknown("option", next(iter(others)), ("kernel", "causal", "scale", "measure"), SYNONYMS))
    flag("measure", measure)


def _planned(x: Inputs, kernel: str, call: Callable[[Kernel], Callable[[], Any]], *, backward: bool = False) -> tuple[Kernel, str]:
    """The kernel to run, after every check, and the type of its device."""
    if not isinstance(kernel, str):
        raise TypeError(f"kernel is {kernel!r:.60}: give a name of sa.gpu.kernels(), or 'auto'")
    q, k, v, causal, _ = x
    key = (kernel, backward, causal, q.shape, k.shape, v.shape, q.dtype, k.dtype, v.dtype, q.device, k.device, v.device)
    plan = _plans.get(key)
    if plan is None:
        check(x)
        found = auto.fastest(x, call, backward=backward) if kernel == "auto" else named(kernel)
        if (reason := found.why_not(x, backward=backward)) is not None:
            raise refused(found, reason)
        plan = _plans[key] = found, x.device
    elif several():
        check_device(q)
    return plan


def _measured(kernel: Kernel, device: str, call: Callable[[], Any]) -> Measurement:
    """The measurement, if what was launched is what was asked for."""
    m = _enough(timing.measure, device, call, device)
    if device in kernel.seen_on and not any(re.search(kernel.launches, name) for name in m.launched):
        raise RuntimeError(
            f"kernel {kernel.name!r} was requested, but the kernels that ran are {', '.join(m.launched) or 'nothing'}"
        )
    return m  # type: ignore[no-any-return]


def _enough(call: Callable[..., Any], device: str, *arguments: Any) -> Any:
    """What the call returns, in the types of its inputs; Unavailable, in one line, if memory runs out."""
    t = torch()
    try:
        if t.is_autocast_enabled(device):
            with t.autocast(device, enabled=False):
                return call(*arguments)
        return call(*arguments)
    except (RuntimeError, MemoryError) as error:
        message = one_line(error)
        if isinstance(error, Unavailable) or not (
            isinstance(error, t.OutOfMemoryError | MemoryError) or "allocate memory" in message
        ):
            raise
        raise Unavailable(
            f"{message.split('. ')[0]}: use a shorter sequence, a smaller batch, or a kernel that does not keep scores"
        ) from None


def logsumexp(x: Inputs) -> Any:
    """lse in float64, rounded to float32 where the inputs are narrower; by strips of rows, so that no S need fit in memory."""
    t = torch()
    lse = t.empty(x.q.shape[:3], dtype=t.promote_types(x.q.dtype, t.float32), device=x.q.device)
    rows, keys = max(1, STRIP // x.n_k), t.arange(x.n_k, device=x.q.device)
    for b, h, i in itertools.product(range(x.q.shape[0]), range(x.q.shape[1]), range(0, x.n_q, rows)):
        S = x.q[b, h, i : i + rows].double() @ x.k[b, h // x.group].double().mT * x.scale
        if x.causal:
            last = t.arange(i, i + len(S), device=S.device)[:, None] + (x.n_k - x.n_q)
            S = S.masked_fill(keys > last, -math.inf)
        lse[b, h, i : i + rows] = S.logsumexp(-1)
    return lse
