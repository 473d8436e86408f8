"""FlashAttention-3's numerical error: one configuration for all its rows."""

from collections.abc import Callable, Iterator
from statistics import median

import numpy as np

from ...hierarchy.dtypes import Array
from ...hierarchy.machine import Machine
from ...kernels import algorithms
from ...workbench.quantize import hadamard, quantize
from .row import Row

SECTION = "FlashAttention-3 (Shah et al. 2024, arXiv 2407.08608), table 3: RMSE of the forward pass against float64"
HEADS, QUERIES, KEYS, D, BLOCK = 16, 1024, 8192, 128, 128
OUTLIERS, DEVIATION = 0.001, 10.0  # N(0, 1) + N(0, 100) · Bernoulli(0.001)
TOLERANCE = 0.35  # the paper states neither N nor d nor what the errors are against
ROOMY = Machine(name="roomy", sram=1 << 30)
UNSTATED = "within 35%: the paper states neither N nor d nor what the errors are against"
NOISE = "with and without block quantisation differ by less than the spread between heads: their order is not significant"

QKV = tuple[Array, Array, Array]


def half(*qkv: Array) -> QKV:
    q, k, v = (x.astype(np.float16) for x in qkv)
    return q, k, v


def standard(Q: Array, K: Array, V: Array) -> Array:
    return ROOMY.run(algorithms["naive"], *half(Q, K, V), Br=BLOCK, Bc=KEYS).output


def flash(Q: Array, K: Array, V: Array) -> Array:
    return ROOMY.run(algorithms["flash2"], *half(Q, K, V), Br=BLOCK, Bc=BLOCK).output


def per_tensor(Q: Array, K: Array, V: Array) -> Array:
    """Standard attention of 8-bit values with one factor a head; its intermediates are float16, as the baseline's are."""
    quantised = (quantize(x, x.shape[-2]) for x in (Q, K, V))
    return standard(*(x.astype(np.float32) * factor for x, factor in quantised))


def fp8(Q: Array, K: Array, V: Array, *, blocks: bool, rotated: bool) -> Array:
    if rotated:
        Q, K = hadamard(Q, K, 0)
    (q, sQ), (k, sK), (v, sV) = (quantize(x, BLOCK if blocks else x.shape[-2]) for x in (Q, K, V))
    return ROOMY.run(algorithms["flash3_fp8"], q, k, v, sQ=sQ, sK=sK, sV=sV, Br=BLOCK, Bc=BLOCK).output


METHODS: dict[str, tuple[float, Callable[[Array, Array, Array], Array], str]] = {
    "FP16, standard": (3.2e-4, standard, "naive in float16, which rounds S once; PyTorch rounds the product and the scaled S"),
    "FP16, FlashAttention-2 and -3": (1.9e-4, flash, ""),
    "FP8, standard, a factor per tensor": (2.4e-2, per_tensor, "a factor a head"),
    "FP8, FlashAttention-3": (9.1e-3, lambda *x: fp8(*x, blocks=True, rotated=True), NOISE),
    "FP8, without block quantisation": (9.3e-3, lambda *x: fp8(*x, blocks=False, rotated=True), NOISE),
    "FP8, without incoherent processing": (2.4e-2, lambda *x: fp8(*x, blocks=True, rotated=False), ""),
}


def rows() -> Iterator[Row]:
    """The median over heads of each method's RMSE, on the same inputs."""
    errors: dict[str, list[float]] = {name: [] for name in METHODS}
    for head in range(HEADS):
        Q, K, V = drawn(head)
        truth = exact(Q, K, V)
        for name, (_, method, _) in METHODS.items():
            difference = method(Q, K, V)[0, 0].astype(np.float64) - truth
            errors[name].append(float(np.sqrt(np.mean(difference**2))))
    for name, (published, _, note) in METHODS.items():
        yield Row(
            section=SECTION, what=name, unit="RMSE", published=published, published_is="measured", tolerance=TOLERANCE * published,
            ours=float(f"{median(errors[name]):.2g}"), ours_is="measured", note="; ".join(filter(None, (UNSTATED, note))),
            run=f"the median of {HEADS} heads, {QUERIES:,} queries on {KEYS:,} keys, d = {D}, blocks of {BLOCK}; "
            "against float64 of the unrounded inputs",
        )  # fmt: skip


def drawn(seed: int) -> QKV:
    """A head's Q, K and V in float64, with the paper's outliers."""
    rng = np.random.default_rng(seed)
    q, k, v = (
        rng.standard_normal(shape) + DEVIATION * rng.standard_normal(shape) * (rng.random(shape) < OUTLIERS)
        for shape in ((1, 1, n, D) for n in (QUERIES, KEYS, KEYS))
    )
    return q, k, v


def exact(Q: Array, K: Array, V: Array) -> Array:
    """Attention in float64, which for float64 inputs `attention_truth` would compute in longdouble."""
    S = Q[0, 0] @ K[0, 0].T * D**-0.5
    P = np.exp(S - S.max(axis=1, keepdims=True))
    return np.asarray(P @ V[0, 0] / P.sum(axis=1, keepdims=True))
