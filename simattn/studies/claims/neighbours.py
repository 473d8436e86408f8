"""Which tokens are read, near and far: claims 21, 23, 24, 25 and 31."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...hierarchy.dtypes import Array
from ...hierarchy.run import Run
from ...kernels import algorithms
from ..reproduce.execute import qkv
from . import published as p
from .claim import Check, Judgement, Quantity, Values, depends, fails, holds
from .execute import (
    BLOCKS,
    GPU,
    STEP,
    blocked,
    computed,
    counted,
    error,
    execute,
    grown,
    head,
    on_real,
    published,
    real,
    tolerance,
    weights,
)  # fmt: skip
from .mechanism import read

BLOCK, NEAR, TOKENS = 128, 64, 128
WIDTH = max(p.WIDTHS)


def order() -> Iterator[Quantity]:
    """How much the output on real tensors changes when keys and values are shuffled together, so that tokens lose their neighbours:
    the output of Flash-Decoding, and that of attention within blocks, which does depend on neighbours."""
    yield tolerance()
    yield _shuffled("split_kv")
    yield _shuffled("block_diagonal", block=BLOCK)


def judge_order(q: Values) -> Judgement:
    """Fails if the output of Flash-Decoding changes by no more than twice the largest error that counts as exact (once for each
    order); otherwise it holds."""
    change, allowed = q["change by shuffling, split_kv"], 2 * q["largest error that counts as exact"]
    blocks = q["change by shuffling, block_diagonal"]
    said = f"shuffling keys and values changes its output by {change:.0e}, and that of attention within blocks by {blocks:.2g}"
    return fails(f"It does not use the order of the keys: {said}.") if change <= allowed else holds(f"Neighbours matter: {said}.")


def convolution() -> Iterator[Quantity]:
    """The largest error on real tensors, against attention in float64, of Flash-Decoding and of a dynamic convolution of width 31
    (its weights are drawn from N(0, 1/d), because the model has none); and the bytes of K that each reads."""
    yield tolerance()
    yield error("split_kv")
    yield error("dynamic_conv", W=_kernel(real().Q.shape[3]))
    for name, options, w in (("split_kv", {}, STEP), ("dynamic_conv", {"W": _kernel(head().d)}, head())):
        run = execute(name, w, **options)
        yield counted(f"bytes of K read, {name}", read(run, "K"), "B", w, run)


def judge_convolution(q: Values) -> Judgement:
    """Holds if a dynamic convolution gives the result of attention; fails if Flash-Decoding gives it and the convolution does not;
    depends if neither does."""
    conv, split, allowed = q["error of dynamic_conv"], q["error of split_kv"], q["largest error that counts as exact"]
    said = (
        f"Flash-Decoding has an error of {split:.0e} and reads {q['bytes of K read, split_kv']:,.0f} B of keys; a dynamic convolution "
        f"has an error of {conv:.2g} and reads {q['bytes of K read, dynamic_conv']:,.0f} B of keys"
    )
    if conv <= allowed:
        return holds(f"The two agree: {said}.")
    return (
        fails(f"That is another mechanism (Wu et al. 2019): {said}.")
        if split <= allowed
        else depends(f"Neither is attention: {said}.")
    )


def width() -> Iterator[Quantity]:
    """The kernel widths in the paper on dynamic convolutions; and, for the largest of them and at three lengths, how many values an
    output depends on, read from the weights that it gives to the values."""
    for layer, wide in enumerate(p.WIDTHS, 1):
        yield published(f"width {layer} of {len(p.WIDTHS)}", wide, "tokens", p.DYNAMIC_CONV)
    found = {}
    for N in (TOKENS, 2 * TOKENS, 4 * TOKENS):
        P, source = weights("dynamic_conv", N, W=_kernel(16, np.float32))
        found[N] = int((P > 0).sum(axis=1).max())
        yield Quantity(f"values an output depends on, N = {N}", found[N], "values", "measured", source)
    yield grown("values an output depends on", found)


def judge_width(q: Values) -> Judgement:
    """Holds if an output depends on more values as the length grows; fails if the number is the same at every length and no larger
    than the largest width; depends if it is larger than that."""
    grows, most = q["growth of values an output depends on"], q[f"values an output depends on, N = {4 * TOKENS}"]
    widths = sorted(value for name, value in q.items() if name.startswith("width "))
    listed = ", ".join(f"{w:.0f}" for w in widths)
    said = (
        f"an output depends on {most:.0f} values, a number that grows as the length to the power {grows:.0f}, and the widths in the "
        f"paper are {listed}"
    )
    if grows > 0:
        return holds(f"The kernel grows: {said}.")
    fits = most <= widths[-1]
    return (
        fails(f"The width is fixed for each layer: {said}.")
        if fits
        else depends(f"The width is fixed, but larger than in the paper: {said}.")
    )


def recent() -> Iterator[Quantity]:
    """The share of the cached keys and values that a step of Flash-Decoding reads from HBM; the share of the keys that a query
    gives weight to; and the errors on real tensors of Flash-Decoding and of attention to the nearest 64 tokens on either side
    only."""
    run = execute("split_kv", STEP)
    cached = sum(x.nbytes for name, x in qkv(STEP).items() if name in ("K", "V"))
    yield counted("share of K and V read", read(run, "K V") / cached, "", STEP, run)
    P, source = weights("split_kv", TOKENS, splits=4)
    yield Quantity("least share of keys with weight", float((P > 0).mean(axis=1).min()), "", "measured", source)
    yield tolerance()
    yield error("split_kv")
    yield error("flash2", f"error of the nearest {NEAR} alone", window=(NEAR, NEAR))


def judge_recent(q: Values) -> Judgement:
    """Holds if Flash-Decoding does not read all keys and values, or gives some of them no weight; fails if it reads and weighs all
    of them and counts as exact; otherwise it depends."""
    share = min(q["share of K and V read"], q["least share of keys with weight"])
    said = f"{share:.0%} of the keys and values are read and given weight"
    if share < 1:
        return holds(f"Some are left out: {said}.")
    alone = q[f"error of the nearest {NEAR} alone"]
    said += f", and the error is {q['error of split_kv']:.0e}, against {alone:.2g} with the nearest {NEAR} alone"
    exact = q["error of split_kv"] <= q["largest error that counts as exact"]
    return fails(f"It is exact over all keys: {said}.") if exact else depends(f"It uses all keys, but is not exact: {said}.")


def reach() -> Iterator[Quantity]:
    """The distance to the farthest value that an output depends on, in a dynamic convolution of width 31 and in attention."""
    for name, options in (("dynamic_conv", {"W": _kernel(16, np.float32)}), ("flash2", {})):
        P, source = weights(name, TOKENS, **options)
        query, key = np.nonzero(P)
        yield Quantity(f"reach of {name}", int(abs(query - key).max()), "tokens", "measured", source)
    yield computed("width of the kernel", WIDTH, "tokens", p.DYNAMIC_CONV)


def judge_reach(q: Values) -> Judgement:
    """Holds if the reach of a dynamic convolution is less than the width of its kernel; fails if it reaches as far as attention;
    otherwise it depends."""
    conv, attention = q["reach of dynamic_conv"], q["reach of flash2"]
    said = (
        f"its output depends on values up to {conv:.0f} tokens away, that of attention over {TOKENS} tokens up to {attention:.0f}"
    )
    if conv >= attention:
        return fails(f"It sees as far as attention: {said}.")
    if conv >= q["width of the kernel"]:
        return depends(f"It sees beyond its width: {said}.")
    return holds(f"True of dynamic convolution, but Flash-Decoding is not one: {said}.")


def _kernel(d: int, dtype: Any = np.float16) -> Array:
    """W (width, d) of a dynamic convolution."""
    W: Array = np.random.default_rng(0).standard_normal((WIDTH, d)) * d**-0.5
    return W.astype(dtype)


def _shuffled(name: str, **options: Any) -> Quantity:
    """How much an output changes when keys and values are shuffled."""
    r = real()
    shuffled = np.random.default_rng(0).permutation(r.K.shape[2])
    f = algorithms[name]

    def run(K: Array, V: Array) -> Run:
        return GPU.run(f, r.Q, K, V, **blocked(f, BLOCKS), **options)

    plain, other = run(r.K, r.V), run(r.K[:, :, shuffled], r.V[:, :, shuffled])
    change = np.abs(plain.output.astype(np.float64) - other.output).max()
    return Quantity(f"change by shuffling, {name}", float(change), "", "measured", f"{on_real(plain, options)}, and shuffled")


CHECKS = (
    Check(21, "Flash-Decoding exploits the correlation between neighbouring tokens.", order, judge_order),
    Check(23, "Flash-Decoding uses dynamic convolution instead of autoregressive attention.", convolution, judge_convolution),
    Check(24, "The size of the dynamic kernel depends on the sequence length.", width, judge_width),
    Check(25, "Flash-Decoding looks only at recent text and at summaries of earlier text.", recent, judge_recent),
    Check(31, "Dynamic convolution sees only local context.", reach, judge_reach),
)
