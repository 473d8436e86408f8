"""What decoding repeats, and what Flash-Decoding adds: claims 11, 12, 19, 20, 22, 28 and 29."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...hierarchy.dtypes import Array
from ...hierarchy.run import Run
from ...kernels import algorithms
from ...reference.truth import error as error_against
from ..reproduce.execute import forward
from .claim import Check, Judgement, Quantity, Values, depends, fails, holds, share
from .execute import (
    BLOCKS,
    GPU,
    SMALL,
    STEP,
    computed,
    counted,
    error,
    execute,
    hbm,
    head,
    on_real,
    real,
    tolerance,
    weights,
    work,
)  # fmt: skip

TOKENS, STEPS, PARTS = 256, 64, 4


def new_token() -> Iterator[Quantity]:
    """The FLOPs of the products for one new token after 2,047 others, by naive attention and by FlashAttention-2: with the keys and
    values of the other tokens cached, so that there is one query, and without a cache, so that all rows are computed again."""
    cached, whole = head(n_q=1), head(causal=True)
    for name in ("naive", "flash2"):
        for case, w in (("with a cache", cached), ("without", whole)):
            run = execute(name, w)
            yield counted(f"FLOP of {name}, {case}", run.matmul_flops, "FLOP", w, run)


def judge_new_token(q: Values) -> Judgement:
    """Holds if, without a cache, FlashAttention does fewer FLOPs than naive attention, as it would if it computed only the new
    token. Fails if both do the same number with a cache and the same number without: then the cache makes the saving. Otherwise it
    depends."""
    with_, without = ([q[f"FLOP of {name}, {case}"] for name in ("naive", "flash2")] for case in ("with a cache", "without"))
    if without[1] < without[0]:
        return holds(f"Without a cache FlashAttention-2 does {without[1]:,.0f} FLOPs and naive attention {without[0]:,.0f}.")
    if with_[0] == with_[1] and without[0] == without[1]:
        return fails(
            f"False attribution: the KV cache makes this saving, for both algorithms alike ({with_[0]:,.0f} FLOPs per token with a "
            f"cache and {without[0] / with_[0]:,.0f} times as many without); FlashAttention plays no part in it."
        )
    return depends("A cache saves different amounts for the two.")


def own_token() -> Iterator[Quantity]:
    """How many keys a token sees when tokens are decoded one by one with a cache, read from the weights that it gives to the
    values; and the error, on real tensors, of attention that leaves out the token itself."""
    P, source = weights("incremental", STEPS)
    for n in (1, STEPS):
        yield Quantity(f"keys seen by token {n}", int((P[n - 1] > 0).sum()), "keys", "measured", source)
    yield Quantity("least weight of a token on itself", float(np.diag(P).min()), "", "measured", source)
    yield error("flash2", "error, itself included", causal=True)
    yield error("flash2", "error, itself left out", causal=True, offset=-1)


def judge_own_token(q: Values) -> Judgement:
    """Holds if the n-th token sees n − 1 keys; fails if it sees n keys, its own among them; otherwise it depends."""
    seen = q[f"keys seen by token {STEPS}"]
    if seen == STEPS - 1:
        return holds(f"Token {STEPS} sees {seen:.0f} keys.")
    if seen == STEPS and q["least weight of a token on itself"] > 0:
        return fails(
            f"Off by one: token {STEPS} sees {seen:.0f} keys, and token 1 sees {q['keys seen by token 1']:.0f}, its own; without its "
            f"own key the error on real tensors is {q['error, itself left out']:.2g} instead of {q['error, itself included']:.0e}."
        )
    return depends(f"Token {STEPS} sees {seen:.0f} keys.")


def repeated() -> Iterator[Quantity]:
    """The rows of attention that are computed when 64 tokens are generated after 192 others, derived from the bytes written to O:
    without a cache (`recompute_decode`) and with one (`incremental`); and the FLOPs of the products in these steps."""
    w = head(TOKENS, causal=True)
    for name, step in (("recompute_decode", "step"), ("incremental", "decode")):
        run = forward(GPU, name, w, steps=STEPS, **SMALL)
        rows = run.tensors["O"].hbm_write / (w.d * np.dtype(w.dtype).itemsize)
        yield counted(f"rows computed again, {name}", rows - TOKENS, "rows", w, run)
        yield counted(f"FLOP of the steps, {name}", run.kernels[step].matmul_flops, "FLOP", w, run)


def judge_repeated(q: Values) -> Judgement:
    """Standard decoding has a KV cache. Holds if as many rows are computed again with a cache as without; fails if none is;
    otherwise it depends."""
    with_, without = q["rows computed again, incremental"], q["rows computed again, recompute_decode"]
    said = (
        f"{STEPS} steps compute {without:,.0f} rows again without a cache and {with_:,.0f} with one, which does "
        f"{q['FLOP of the steps, recompute_decode'] / q['FLOP of the steps, incremental']:.0f} times fewer FLOPs"
    )
    if with_ == 0:
        return fails(f"Not with a KV cache: {said}.")
    return holds(f"Yes: {said}.") if with_ >= without else depends(f"In part: {said}.")


def one_query() -> Iterator[Quantity]:
    """How many tokens a step of Flash-Decoding decodes, derived from the FLOPs of its products (a token takes 4·n_k·d per head);
    and how many thread blocks it uses per head, compared with FlashAttention-2 on the same query."""
    for name in ("flash2", "split_kv"):
        run = execute(name, STEP)
        yield counted(f"tokens decoded in a step, {name}", run.matmul_flops / _one_token(), "tokens", STEP, run)
        yield counted(f"thread blocks a head, {name}", _reading(run) / STEP.heads, "thread blocks", STEP, run)


def judge_one_query(q: Values) -> Judgement:
    """Holds if a step decodes more than one token. Fails if it decodes one token in more thread blocks than FlashAttention-2 uses.
    If it uses no more thread blocks, the test has not found what is parallel, and the verdict is "depends"."""
    tokens, blocks, before = (q[name] for name in ("tokens decoded in a step, split_kv", *_BLOCKS))
    if tokens > 1:
        return holds(f"A step decodes {tokens:.0f} tokens.")
    said = f"a step decodes {tokens:.0f} token in {blocks:.0f} thread blocks per head; FlashAttention-2 uses {before:.0f}"
    if blocks > before:
        return fails(f"It processes parts of the KV cache in parallel, not tokens: {said}.")
    return depends(f"Nothing is parallel: {said}.")


_BLOCKS = ("thread blocks a head, split_kv", "thread blocks a head, flash2")


def prerequisite() -> Iterator[Quantity]:
    """The FLOPs of the products of one decoding step on cached keys, by algorithms older than Flash-Decoding (naive attention,
    FlashAttention-2 and attention with a KV cache) and by Flash-Decoding; and the number of thread blocks that read the keys."""
    for name in ("naive", "flash2", "split_kv"):
        run = execute(name, STEP)
        yield counted(f"FLOP a step, {name}", run.matmul_flops, "FLOP", STEP, run)
        if name != "naive":
            yield counted(f"thread blocks a head, {name}", _reading(run) / STEP.heads, "thread blocks", STEP, run)
    w = replace(STEP, n_q=STEP.n_k, causal=True)
    run = execute("incremental", w, steps=1)
    yield counted("FLOP a step, incremental", run.kernels["decode"].matmul_flops, "FLOP", w, run)


def judge_prerequisite(q: Values) -> Judgement:
    """Holds if Flash-Decoding does fewer FLOPs per step than every older algorithm; fails if one of them does as few."""
    older = [q[f"FLOP a step, {name}"] for name in ("naive", "flash2", "incremental")]
    ours = q["FLOP a step, split_kv"]
    if ours < min(older):
        return holds(f"A step takes {ours:,.0f} FLOPs; older algorithms take at least {min(older):,.0f}.")
    return fails(
        f"It is an older technique that Flash-Decoding builds on: with a KV cache every algorithm takes {min(older):,.0f} FLOPs per "
        f"step; Flash-Decoding raises the number of thread blocks per head from {q[_BLOCKS[1]]:.0f} to {q[_BLOCKS[0]]:.0f}."
    )


def cost() -> Iterator[Quantity]:
    """What a decoding step costs with FlashAttention-2 and with Flash-Decoding: all arithmetic, the memory besides inputs and
    outputs (partial results in float32), the HBM traffic, and the numbers of kernels and thread blocks."""
    for name in ("flash2", "split_kv"):
        run = execute(name, STEP)
        yield counted(f"all FLOP, {name}", work(run), "FLOP", STEP, run)
        yield counted(f"bytes kept in HBM, {name}", run.hbm_footprint, "B", STEP, run)
        yield counted(f"bytes of HBM, {name}", hbm(run), "B", STEP, run)
        yield counted(f"kernels, {name}", len(run.kernels), "kernels", STEP, run)
        yield counted(f"thread blocks, {name}", _reading(run), "thread blocks", STEP, run)


def judge_cost(q: Values) -> Judgement:
    """Holds if Flash-Decoding does less arithmetic and keeps fewer bytes; fails if it does neither; depends if it does one of the
    two."""
    less = [q[f"{what}, split_kv"] < q[f"{what}, flash2"] for what in ("all FLOP", "bytes kept in HBM")]
    said = (
        f"Flash-Decoding does {q['all FLOP, split_kv'] / q['all FLOP, flash2']:.3f} times the FLOPs of FlashAttention-2, keeps "
        f"{q['bytes kept in HBM, split_kv']:,.0f} B of partial results (FlashAttention-2: {q['bytes kept in HBM, flash2']:,.0f} B) "
        f"and launches {q['kernels, split_kv']:.0f} kernels ({q['kernels, flash2']:.0f}); in return it has "
        f"{q['thread blocks, split_kv']:.0f} thread blocks ({q['thread blocks, flash2']:.0f})"
    )
    return share(less, said, no="It needs more of both")


def missing() -> Iterator[Quantity]:
    """Flash-Decoding without each of its two steps, which the article does not mention: the error on real tensors when the results
    over four parts of the keys are averaged instead of merged by log-sum-exp; and the number of thread blocks in a step when the
    keys are not split."""
    yield tolerance()
    yield error("split_kv", "error, merged by log-sum-exp", splits=PARTS)
    yield _averaged()
    for name, splits in (("split", None), ("not split", 1)):
        run = execute("split_kv", STEP, splits=splits)
        yield counted(f"thread blocks, {name}", _reading(run), "thread blocks", STEP, run)
    yield computed("SMs to be kept busy", GPU.sms or 0, "SMs", f"{GPU.name}, from the catalogue")


def judge_missing(q: Values) -> Judgement:
    """Holds if the description is complete without these steps: averaging counts as exact, and splitting adds no thread blocks.
    Fails if both steps are needed; depends if one is."""
    merge = q["error, averaged"] > q["largest error that counts as exact"] >= q["error, merged by log-sum-exp"]
    split = q["thread blocks, split"] > q["thread blocks, not split"]
    said = (
        f"averaging the parts gives an error of {q['error, averaged']:.2g}, merging them {q['error, merged by log-sum-exp']:.0e}; "
        f"without splits a step has {q['thread blocks, not split']:.0f} thread blocks instead of "
        f"{q['thread blocks, split']:.0f}, on a GPU with {q['SMs to be kept busy']:.0f} SMs"
    )
    lead = {"yes": "Neither step is needed", "part": "One of the two steps is needed", "no": "The algorithm itself is missing"}
    return share([not merge, not split], said, **lead)


def _averaged() -> Quantity:
    """The error of the mean of attention over parts of the keys."""
    r = real()
    keys = np.array_split(np.arange(r.K.shape[2]), PARTS)
    runs = [GPU.run(algorithms["flash2"], r.Q, r.K[:, :, part], r.V[:, :, part], **BLOCKS) for part in keys]
    O: Array = np.mean([run.output.astype(np.float64) for run in runs], axis=0)
    source = f"the mean of {PARTS} runs, each on {len(keys[0])} of the keys: {on_real(runs[0])}"
    return Quantity("error, averaged", error_against(O, None, r.truth).max_abs, "", "measured", source)


def _one_token() -> int:
    """FLOPs of the products of one query of each head."""
    return 4 * STEP.n_k * STEP.d * STEP.heads


def _reading(run: Run) -> int:
    """Thread blocks of the kernel that reads the keys."""
    return run.kernels["partial" if "partial" in run.kernels else run.algorithm].programs


CHECKS = (
    Check(
        11,
        "FlashAttention computes only the new token, whereas standard attention recomputes everything.",
        new_token,
        judge_new_token,
    ),
    Check(12, "In decoding, token n attends to tokens 1 to n − 1.", own_token, judge_own_token),
    Check(19, "Standard decoding repeats the whole forward pass for each token.", repeated, judge_repeated),
    Check(20, "Flash-Decoding decodes several tokens at once.", one_query, judge_one_query),
    Check(22, "Incremental attention is a contribution of Flash-Decoding.", prerequisite, judge_prerequisite),
    Check(28, "Flash-Decoding lowers computation and memory.", cost, judge_cost),
    Check(
        29,
        "The article describes Flash-Decoding (without mentioning that the keys are split or that the parts are merged).",
        missing,
        judge_missing,
    ),
)
