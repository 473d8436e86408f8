"""Related work and applications: claims 30 and 32."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...hierarchy.dtypes import Array
from ...hierarchy.run import Run
from ...kernels import algorithms
from ...kernels.approximate.features import orthogonal_features
from ...reference.problem import Problem
from ...reference.truth import attention_truth
from ...reference.truth import error as error_against
from ...workbench.inputs import draw
from ..reproduce.execute import how
from . import published as p
from .claim import Check, Judgement, Quantity, Values, share
from .execute import GPU, SMALL, D, by_length, computed, error, growth, published, real, tolerance, weights

TOKENS, ROWS, FEATURES = 256, 256, (16, 1024)
FALL = 0.5  # the error of an unbiased estimate from m features falls as m to the power −1/2; closer to that than to 0 counts as falling
SPARSE: dict[str, dict[str, Any]] = {
    "longformer": {"one_sided": 16, "global_tokens": 4},
    "bigbird": {"block": 16, "global_blocks": 1, "random_blocks": 1},
}
DRAWN = Problem(heads=2, n_q=TOKENS, n_k=TOKENS, d=16, dtype="float32")


def kinds() -> Iterator[Quantity]:
    """One sign for each kind. Sparse: the share of weights that are 0 in Longformer, in BigBird and in attention. Projection: the
    error of Linformer on real tensors when its projection to k = N rows is the identity, and how its FLOPs grow with N for k = 256.
    Kernel: how the error of Performer falls with the number of random features, and how its FLOPs grow with N for 256 features."""
    for name, options in {**SPARSE, "flash2": {}}.items():
        P, source = weights(name, TOKENS, **options)
        yield Quantity(f"share of weights that are 0, {name}", float((P == 0).mean()), "", "measured", source)
    yield tolerance()
    identity = np.eye(real().K.shape[2], dtype=np.float16)
    yield error("linformer", "error of linformer, E = F = I", E=identity, F=identity)
    found = {}
    for m in FEATURES:
        quantity = _performer(m)
        found[m] = quantity.value
        yield quantity
    yield Quantity("growth of the error with the features", growth(found), "power of m", "measured", quantity.source)
    yield from by_length("FLOP of products", "FLOP", "linformer", _products, E=_projection, F=_projection)
    yield from by_length("FLOP of products", "FLOP", "performer", _products, W=np.zeros((ROWS, D), np.float16))


def judge_kinds(q: Values) -> Judgement:
    """Holds if all three signs are present: zeros in both sparse patterns and none in attention; a projection that is exact when it
    is the identity, at linear cost; a kernel whose error falls with the number of features, at linear cost. Fails if none is
    present, depends if some are."""
    zeros = [q[f"share of weights that are 0, {name}"] for name in (*SPARSE, "flash2")]
    identity, falls = q["error of linformer, E = F = I"], q["growth of the error with the features"]
    linear = [round(q[f"growth of FLOP of products, {name}"]) == 1 for name in ("linformer", "performer")]
    signs = [
        min(zeros[:2]) > 0 == zeros[2],
        identity <= q["largest error that counts as exact"] and linear[0],
        falls < -FALL / 2 and linear[1],
    ]
    said = (
        f"{zeros[0]:.0%} of Longformer's and {zeros[1]:.0%} of BigBird's weights are 0, Linformer with the identity as its projection "
        f"has an error of {identity:.0e}, and the error of Performer changes as the number of features to the power {falls:.1f}"
    )
    return share(signs, said)


def uses() -> Iterator[Quantity]:
    """The longest sequences in the paper's memory table; the smallest published speed-ups of training and of decoding; and how the
    bytes that attention keeps in HBM grow with N."""
    yield published("longest sequence, PyTorch", max(p.PYTORCH_21), "tokens", p.TABLE_21)
    yield published("longest sequence, FlashAttention", max(p.FLASH_21), "tokens", p.TABLE_21)
    training = {N: p.PYTORCH_20[N] / p.FLASH_20[N] for N in p.PYTORCH_20}
    source = f"standard / flash at {len(training)} lengths of {p.TABLE_20}"
    yield computed("least speed-up of training", min(training.values()), "×", source)
    decoding = [flash / split for flash, split in p.DECODING_US.values()]
    yield computed("least speed-up of decoding", min(decoding), "×", f"FlashAttention-2 / Flash-Decoding in {p.FLASH_DECODING}")
    for name in ("naive", "flash1"):
        yield from by_length("bytes kept in HBM", "B", name, lambda run: run.hbm_footprint)


def judge_uses(q: Values) -> Judgement:
    """Holds if FlashAttention reaches longer sequences and both speed-ups are above 1; fails if none of this is true; depends if
    some of it is."""
    longest = [q[f"longest sequence, {name}"] for name in ("PyTorch", "FlashAttention")]
    fast = [q["least speed-up of training"], q["least speed-up of decoding"]]
    said = (
        f"FlashAttention reaches {longest[1]:,.0f} tokens and PyTorch {longest[0]:,.0f} (the bytes kept in HBM grow as N to the power "
        f"{q['growth of bytes kept in HBM, flash1']:.0f}, not {q['growth of bytes kept in HBM, naive']:.0f}), training is at least "
        f"{fast[0]:.1f} times as fast, and attention in decoding at least {fast[1]:.1f} times"
    )
    so = [longest[1] > longest[0], fast[0] > 1, fast[1] > 1]
    return share(so, said)


def _products(run: Run) -> int:
    return run.matmul_flops


def _projection(N: int) -> Array:
    return np.zeros((ROWS, N), np.float16)


def _performer(m: int) -> Quantity:
    """The RMSE of Performer with m orthogonal features. The variance of the estimate grows with e^|q + k|², so queries and keys are
    scaled down to a quarter."""
    Q, K, V = draw(DRAWN)
    Q, K = Q / 4, K / 4
    W = orthogonal_features(m, DRAWN.d, 0).astype(np.float32)
    run = GPU.run(algorithms["performer"], Q, K, V, W=W, **SMALL)
    found = error_against(run.output, None, attention_truth(Q, K, V)).rmse
    source = f"{how(DRAWN, run)}, random; queries and keys scaled to a quarter"
    return Quantity(f"RMSE of performer, {m:,} features", found, "", "measured", source)


CHECKS = (
    Check(
        30, "BigBird and Longformer are sparse, Linformer is a projection, and Performer is a kernel method.", kinds, judge_kinds
    ),
    Check(32, "FlashAttention and Flash-Decoding allow longer sequences, faster training and faster inference.", uses, judge_uses),
)
