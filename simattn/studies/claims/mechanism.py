"""What attention is, and what FlashAttention computes: claims 1 to 5."""

from collections.abc import Iterator
from typing import Any

from ...hierarchy.run import Run
from ..reproduce.execute import both_passes
from .ablated import flash2_without_rescaling
from .claim import Check, Judgement, Quantity, Values, depends, fails, holds, share
from .execute import BLOCKS, GPU, D, by_length, computed, counted, error, error_of, execute, grown, hbm, head, tolerance, work
from .published import LENGTHS

BLOCK = 128
LESS = 0.99  # of naive attention's forward FLOPs: block sizes alone change the vector work by a few thousandths of them
WIDTHS = (32, 64, 128)


def definition() -> Iterator[Quantity]:
    """The errors of two exact algorithms against softmax(QKᵀ/√d)V in float64 on real tensors, and how the FLOPs of their matrix
    products grow with the number of tokens n and with the width d."""
    yield tolerance()
    for name in ("online_softmax", "flash2"):
        yield error(name)
    yield from by_length("FLOP of products", "FLOP", "naive", lambda run: run.matmul_flops)
    by_width = {}
    for d in WIDTHS:
        w = head(512, d=d)
        run = execute("naive", w)
        by_width[d] = run.matmul_flops
        yield counted(f"FLOP of products, naive, d = {d}", run.matmul_flops, "FLOP", w, run)
    yield grown("FLOP of products with d", by_width, "d")


def judge_definition(q: Values) -> Judgement:
    """Holds if the errors count as exact and the FLOPs grow as n² and as d; otherwise fails."""
    n, d = q["growth of FLOP of products, naive"], q["growth of FLOP of products with d"]
    worst = max(q["error of online_softmax"], q["error of flash2"])
    grow = f"the FLOPs of the matrix products grow as n to the power {n:.2f} and as d to the power {d:.2f}"
    if worst <= q["largest error that counts as exact"] and round(n) == 2 and round(d) == 1:
        return holds(f"Exact algorithms agree with the formula to {worst:.0e} in float16, and {grow}.")
    return fails(f"Algorithms that are called exact have an error of {worst:.0e}, and {grow}.")


def computation() -> Iterator[Quantity]:
    """The arithmetic of naive attention and of FlashAttention-2: first the matrix products alone (each, such as QKᵀ, takes 2N²d
    FLOPs), then all arithmetic including exponentials, at the article's lengths; and the bytes that each moves to and from HBM."""
    w = head()
    for name in ("naive", "flash2"):
        there, back = both_passes(GPU, name, w, **BLOCKS)
        product = 2 * w.n_q * w.n_k * D
        both = there.matmul_flops + back.matmul_flops
        yield counted(f"products forward, {name}", there.matmul_flops / product, "products", w, there)
        yield counted(f"products of both passes, {name}", both / product, "products", w, there, back)
    for name in ("naive", "flash2"):
        yield from by_length("FLOP forward", "FLOP", name, work)
    for name in ("naive", "flash2"):
        yield from by_length("bytes of HBM", "B", name, hbm)


def judge_computation(q: Values) -> Judgement:
    """Holds if FlashAttention does less arithmetic (by more than 1 %) at every length and computes fewer products in both passes
    together; fails if it never does either; otherwise it depends."""
    less = [q[f"FLOP forward, flash2, N = {N:,}"] < LESS * q[f"FLOP forward, naive, N = {N:,}"] for N in LENGTHS]
    less.append(q["products of both passes, flash2"] < q["products of both passes, naive"])
    N = LENGTHS[-1]
    moved = q[f"bytes of HBM, naive, N = {N:,}"] / q[f"bytes of HBM, flash2, N = {N:,}"]
    work = q[f"FLOP forward, flash2, N = {N:,}"] / q[f"FLOP forward, naive, N = {N:,}"]
    said = (
        f"its forward pass computes {q['products forward, flash2']:.0f} matrix products (naive attention: "
        f"{q['products forward, naive']:.0f}) and both passes compute {q['products of both passes, flash2']:.0f} (naive attention: "
        f"{q['products of both passes, naive']:.0f}); at N = {N:,} its forward pass does {work:.3f} times the FLOPs of naive "
        f"attention, vector work included, and moves {moved:.1f} times fewer bytes to and from HBM"
    )
    return share(less, said)


def pairs() -> Iterator[Quantity]:
    """How many pairs of a query block and a key block are computed, derived from the FLOPs of the products: by FlashAttention-2,
    with and without a causal mask, and by attention within blocks, which is what the article describes."""
    w, masked = head(), head(causal=True)
    a_pair = 4 * BLOCK * BLOCK * D
    m = w.n_q // BLOCK
    yield computed("blocks", m, "blocks", f"N = {w.n_q:,} in blocks of {BLOCK}")
    yield computed("all pairs", m * m, "pairs", "blocks, squared")
    for name, run, shape in (
        ("flash2", execute("flash2", w), w),
        ("flash2, causal", execute("flash2", masked), masked),
        ("block_diagonal", execute("block_diagonal", w, block=BLOCK), w),
    ):
        yield counted(f"pairs of {name}", run.matmul_flops / a_pair, "pairs", shape, run)


def judge_pairs(q: Values) -> Judgement:
    """Holds if FlashAttention computes one pair for each block, fails if it computes every pair; in between it depends."""
    found, every, m = q["pairs of flash2"], q["all pairs"], q["blocks"]
    if found >= every:
        return fails(
            f"Every block of queries meets every block of keys: {found:.0f} pairs of {every:.0f} "
            f"({q['pairs of flash2, causal']:.0f} under a causal mask), whereas attention within blocks computes "
            f"{q['pairs of block_diagonal']:.0f}."
        )
    said = f"{found:.0f} of {every:.0f} pairs are computed, and {m:.0f} lie within a block."
    return holds(f"Each block meets only itself: {said}") if found <= m else depends(f"Some blocks meet other blocks: {said}")


def summaries() -> Iterator[Quantity]:
    """What FlashAttention-2 reads from HBM besides Q, K and V, and what it keeps there besides its outputs; the same for the
    mechanism that the article describes (`local_global`, with one summary for each block). Then the error of FlashAttention-2 on
    real tensors, with and without the step that carries information from block to block: the rescaling by the running maximum m
    and the running sum l."""
    w = head()
    for name in ("flash2", "local_global"):
        run = execute(name, w, **described(name))
        yield counted(f"bytes read other than Q, K, V, {name}", run.hbm_read - read(run, "Q K V"), "B", w, run)
        yield counted(f"bytes kept in HBM, {name}", run.hbm_footprint, "B", w, run)
    yield tolerance()
    yield error("flash2")
    yield error_of(flash2_without_rescaling, "error without rescaling")


def judge_summaries(q: Values) -> Judgement:
    """Holds if FlashAttention keeps or reads anything besides Q, K, V and its outputs. Fails if it does not, and the result is
    wrong without the rescaling. If the result is right even without it, nothing that was tested carries the information, and the
    verdict is "depends"."""
    extra = q["bytes read other than Q, K, V, flash2"] + q["bytes kept in HBM, flash2"]
    without = q["error without rescaling"]
    if extra:
        return holds(f"FlashAttention-2 keeps or reads {extra:,.0f} B besides Q, K, V and its outputs.")
    if without <= q["largest error that counts as exact"]:
        return depends("FlashAttention-2 keeps nothing in HBM, but its result is right even without the rescaling by m and l.")
    return fails(
        "FlashAttention-2 reads only Q, K and V and keeps nothing else in HBM (the described mechanism keeps "
        f"{q['bytes kept in HBM, local_global']:,.0f} B): a running maximum and a running sum carry the information, and without "
        f"rescaling by them the error is {without:.2g} instead of {q['error of flash2']:.0e}; block summaries resemble the global "
        "tokens of sparse attention."
    )


def combination() -> Iterator[Quantity]:
    """The largest error on real tensors against attention in float64: of FlashAttention-2, of the mechanism that the article
    describes (attention within blocks and to one summary of each block, merged by log-sum-exp; the article does not say how to
    merge them, so this choice is ours), and of attention within blocks alone."""
    yield tolerance()
    yield error("flash2")
    yield error("local_global", block=BLOCK)
    yield error("block_diagonal", block=BLOCK)


def judge_combination(q: Values) -> Judgement:
    """Holds if the described mechanism gives the result of attention, so that it could be FlashAttention; fails if only
    FlashAttention gives it; depends if neither does."""
    described, flash, allowed = q["error of local_global"], q["error of flash2"], q["largest error that counts as exact"]
    if described <= allowed:
        return holds(f"The described mechanism has an error of {described:.0e}, which counts as exact.")
    said = f"on real tensors the error of FlashAttention-2 is {flash:.0e} and that of the described mechanism {described:.2g}"
    if flash > allowed:
        return depends(f"Neither is exact: {said}.")
    return fails(f"FlashAttention is exact and the described mechanism is not: {said}.")


def described(name: str) -> dict[str, Any]:
    """The blocks within which the described mechanism attends."""
    return {"block": BLOCK} if name in ("block_diagonal", "local_global") else {}


def read(run: Run, arrays: str) -> int:
    """Bytes read of the named arrays."""
    return sum(run.tensors[name].hbm_read for name in arrays.split() if name in run.tensors)


CHECKS = (
    Check(1, "Attention is softmax(QKᵀ/√d)V, and costs O(n²d).", definition, judge_definition),
    Check(2, "FlashAttention lowers the amount of computation.", computation, judge_computation),
    Check(3, "The n tokens are split into blocks, and each block attends only within itself.", pairs, judge_pairs),
    Check(
        4,
        "Global matrices K_g and V_g, extracted from each block's output, carry information across blocks.",
        summaries,
        judge_summaries,
    ),
    Check(5, "The output combines a local part and a global part.", combination, judge_combination),
)
