"""What is read of near and far tokens: claims 21, 23, 24, 25 and 31."""

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
    """How much an output on real tensors changes when keys and values are shuffled together, so that neighbours are neighbours no
    more: that of Flash-Decoding, and that of attention within blocks, which does use neighbourhood."""
    yield tolerance()
    yield _shuffled("split_kv")
    yield _shuffled("block_diagonal", block=BLOCK)


def judge_order(q: Values) -> Judgement:
    """Fails if Flash-Decoding's output changes by no more than two errors that count as exact (one for each order); else it
    holds."""
    change, allowed = q["change by shuffling, split_kv"], 2 * q["largest error that counts as exact"]
    blocks = q["change by shuffling, block_diagonal"]
    said = f"shuffled keys and values change its output by {change:.0e}, and that of attention within blocks by {blocks:.2g}"
    return fails(f"The order of the keys is not used: {said}.") if change <= allowed else holds(f"Neighbourhood matters: {said}.")


def convolution() -> Iterator[Quantity]:
    """The largest error on real tensors, against attention in float64, of Flash-Decoding and of a dynamic convolution of width 31
    (whose weights are drawn from N(0, 1/d), for the model has none); and the bytes of K that each reads."""
    yield tolerance()
    yield error("split_kv")
    yield error("dynamic_conv", W=_kernel(real().Q.shape[3]))
    for name, options, w in (("split_kv", {}, STEP), ("dynamic_conv", {"W": _kernel(head().d)}, head())):
        run = execute(name, w, **options)
        yield counted(f"bytes of K read, {name}", read(run, "K"), "B", w, run)


def judge_convolution(q: Values) -> Judgement:
    """Holds if a dynamic convolution gives what Flash-Decoding gives; fails if Flash-Decoding is exact and it is not; else it
    depends."""
    conv, split, allowed = q["error of dynamic_conv"], q["error of split_kv"], q["largest error that counts as exact"]
    said = (
        f"Flash-Decoding errs by {split:.0e} and reads {q['bytes of K read, split_kv']:,.0f} B of keys, a dynamic convolution errs "
        f"by {conv:.2g} and reads {q['bytes of K read, dynamic_conv']:,.0f}"
    )
    if conv <= allowed:
        return holds(f"The two agree: {said}.")
    return fails(f"Another mechanism (Wu et al. 2019): {said}.") if split <= allowed else depends(f"Neither is attention: {said}.")


def width() -> Iterator[Quantity]:
    """The widths of the kernels in the paper on dynamic convolutions; and how many values an output takes in, by the weights that
    it gives them, at three lengths and the largest of those widths."""
    for layer, wide in enumerate(p.WIDTHS, 1):
        yield published(f"width {layer} of {len(p.WIDTHS)}", wide, "tokens", p.DYNAMIC_CONV)
    found = {}
    for N in (TOKENS, 2 * TOKENS, 4 * TOKENS):
        P, source = weights("dynamic_conv", N, W=_kernel(16, np.float32))
        found[N] = int((P > 0).sum(axis=1).max())
        yield Quantity(f"values an output takes in, N = {N}", found[N], "values", "measured", source)
    yield grown("values an output takes in", found)


def judge_width(q: Values) -> Judgement:
    """Holds if an output takes in more values as the length grows; fails if as many at every length, and no more than the largest
    width, and depends if more than that."""
    grows, most = q["growth of values an output takes in"], q[f"values an output takes in, N = {4 * TOKENS}"]
    widths = sorted(value for name, value in q.items() if name.startswith("width "))
    listed = ", ".join(f"{w:.0f}" for w in widths)
    said = f"an output takes in {most:.0f} values, as the length to the power {grows:.0f}, and the paper's widths are {listed}"
    if grows > 0:
        return holds(f"The kernel grows: {said}.")
    fits = most <= widths[-1]
    return fails(f"The widths are fixed, by layer: {said}.") if fits else depends(f"Fixed, but wider than in the paper: {said}.")


def recent() -> Iterator[Quantity]:
    """The share of the cached keys and values that a step of Flash-Decoding reads from HBM; the share of keys that a query gives
    weight to; and errors on real tensors, of Flash-Decoding and of attention to the nearest 64 tokens on either side only."""
    run = execute("split_kv", STEP)
    cached = sum(x.nbytes for name, x in qkv(STEP).items() if name in ("K", "V"))
    yield counted("share of K and V read", read(run, "K V") / cached, "", STEP, run)
    P, source = weights("split_kv", TOKENS, splits=4)
    yield Quantity("least share of keys with weight", float((P > 0).mean(axis=1).min()), "", "measured", source)
    yield tolerance()
    yield error("split_kv")
    yield error("flash2", f"error of the nearest {NEAR} alone", window=(NEAR, NEAR))


def judge_recent(q: Values) -> Judgement:
    """Holds if Flash-Decoding reads less than all keys and values, or gives some no weight; fails if it reads all and counts as
    exact; else it depends."""
    share = min(q["share of K and V read"], q["least share of keys with weight"])
    said = f"{share:.0%} of the keys and values are read and weighed"
    if share < 1:
        return holds(f"Some are left out: {said}.")
    alone = q[f"error of the nearest {NEAR} alone"]
    said += f", and it errs by {q['error of split_kv']:.0e} where the nearest {NEAR} alone err by {alone:.2g}"
    exact = q["error of split_kv"] <= q["largest error that counts as exact"]
    return fails(f"It is exact over all keys: {said}.") if exact else depends(f"All keys, but not exactly: {said}.")


def reach() -> Iterator[Quantity]:
    """How far away the farthest value lies that an output depends on: in a dynamic convolution of width 31, and in attention."""
    for name, options in (("dynamic_conv", {"W": _kernel(16, np.float32)}), ("flash2", {})):
        P, source = weights(name, TOKENS, **options)
        query, key = np.nonzero(P)
        yield Quantity(f"reach of {name}", int(abs(query - key).max()), "tokens", "measured", source)
    yield computed("width of the kernel", WIDTH, "tokens", p.DYNAMIC_CONV)


def judge_reach(q: Values) -> Judgement:
    """Holds if a dynamic convolution reaches less far than its kernel is wide, fails if it reaches as far as attention; else it
    depends."""
    conv, attention = q["reach of dynamic_conv"], q["reach of flash2"]
    said = f"an output depends on values up to {conv:.0f} tokens away, and attention's of {TOKENS} tokens up to {attention:.0f}"
    if conv >= attention:
        return fails(f"It sees as far as attention: {said}.")
    if conv >= q["width of the kernel"]:
        return depends(f"It sees beyond its width: {said}.")
    return holds(f"True of dynamic convolution, which Flash-Decoding is not: {said}.")


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
    Check(21, "Flash-Decoding uses the correlation of neighbouring tokens.", order, judge_order),
    Check(23, "Flash-Decoding uses dynamic convolution in place of autoregressive attention.", convolution, judge_convolution),
    Check(24, "The size of the dynamic kernel follows the length.", width, judge_width),
    Check(25, "Flash-Decoding looks only at recent text and at summaries.", recent, judge_recent),
    Check(31, "Dynamic convolution sees local context only.", reach, judge_reach),
)
