"""How costs grow: claims 6, 7, 15, 17 and 18."""

from collections.abc import Iterator
from itertools import pairwise

from ..reproduce.execute import both_passes
from ..reproduce.table21 import held
from . import published as p
from .claim import Check, Judgement, Quantity, Values, depends, fails, holds, share
from .execute import BLOCKS, GPU, D, by_length, computed, counted, execute, grown, growth, hbm, head, published, work
from .published import LENGTHS

BLOCK = 128
SAVED, NEAR = 40.0, 5.0  # percent of memory that the article says is saved, and the tolerance in percentage points


def scores() -> Iterator[Quantity]:
    """How many scores (entries of QKᵀ) are computed at the article's lengths, derived from the FLOPs of the products: by
    FlashAttention-2, and by attention within blocks of 128, which is what O(m·b²) describes."""
    yield from by_length("scores", "scores", "flash2", lambda run: run.matmul_flops / (4 * D))
    yield from by_length("scores", "scores", "block_diagonal", lambda run: run.matmul_flops / (4 * D), block=BLOCK)


def judge_scores(q: Values) -> Judgement:
    """Holds if FlashAttention's scores grow as n (m blocks of a fixed size b: m·b² = n·b); fails if they grow as n²."""
    return _linear(q["growth of scores, flash2"], q["growth of scores, block_diagonal"], "scores")


def everything() -> Iterator[Quantity]:
    """All arithmetic at the article's lengths, vector work and exponentials included; and how the matrix products of
    FlashAttention-2 grow with d."""
    yield from by_length("all FLOP", "FLOP", "flash2", work)
    yield from by_length("all FLOP", "FLOP", "block_diagonal", work, block=BLOCK)
    w = {d: head(512, d=d) for d in (32, 64, 128)}
    runs = {d: execute("flash2", w[d]) for d in w}
    for d, run in runs.items():
        yield counted(f"FLOP of products, flash2, d = {d}", run.matmul_flops, "FLOP", w[d], run)
    yield grown("FLOP of products with d", {d: run.matmul_flops for d, run in runs.items()}, "d")


def judge_everything(q: Values) -> Judgement:
    """Holds if all arithmetic of FlashAttention grows as n and its products grow as d; fails if its arithmetic grows as n²."""
    said = _linear(q["growth of all FLOP, flash2"], q["growth of all FLOP, block_diagonal"], "total FLOPs")
    if said.verdict == "holds" and round(q["growth of FLOP of products with d"]) != 1:
        return depends(
            f"The growth with d is not linear: the products grow as d to the power {q['growth of FLOP of products with d']:.2f}."
        )
    return said


def _linear(flash: float, blocks: float, what: str) -> Judgement:
    said = f"The {what} of FlashAttention-2 grow as n to the power {flash:.2f}, those of attention within blocks as n to the power {blocks:.2f}"
    return holds(f"{said}: both are linear.") if round(flash) == 1 else fails(f"{said}: only the other algorithm is linear.")


def own_table() -> Iterator[Quantity]:
    """How the article's own times of FlashAttention grow from each length to its double. With blocks of a fixed size b there are
    m = n/b of them, so O(m·b²) is linear in n."""
    for N, ms in p.FLASH_1.items():
        yield published(f"flash, N = {N:,}", ms, "ms", p.TABLE_1)
    for short, long in pairwise(LENGTHS):
        found = growth({short: p.FLASH_1[short], long: p.FLASH_1[long]})
        yield computed(f"growth of flash, {short:,} to {long:,}", found, "power of N", "log₂ of the ratio of the times")


def judge_own_table(q: Values) -> Judgement:
    """Holds if both steps are closer to the power 1 than to 2, fails if both are closer to 2; otherwise it depends."""
    steps = [q[f"growth of flash, {a:,} to {b:,}"] for a, b in pairwise(LENGTHS)]
    linear = [round(step) == 1 for step in steps]
    said = f"its flash column grows as n to the power {steps[0]:.2f}, then {steps[1]:.2f}, but O(m·b²) requires the power 1"
    return share(linear, said, yes="The table is linear", no="The article contradicts itself")


def memory() -> Iterator[Quantity]:
    """How much memory FlashAttention saves according to the table in its paper; and how the bytes that both passes hold in HBM
    (inputs, outputs and everything in between) grow over the article's lengths."""
    for N in (128, *LENGTHS):
        standard, flash = p.PYTORCH_21[N], p.FLASH_21[N]
        yield published(f"PyTorch, N = {N:,}", standard, "MiB", p.TABLE_21)
        yield published(f"FlashAttention, N = {N:,}", flash, "MiB", p.TABLE_21)
        yield computed(f"saved, N = {N:,}", 100 * (1 - flash / standard), "%", "1 − FlashAttention / PyTorch")
    for name in ("naive", "flash2"):
        found = {}
        for N in LENGTHS:
            runs = both_passes(GPU, name, head(N), **BLOCKS)
            found[N] = held(head(N), *runs)
            yield counted(f"bytes held, {name}, N = {N:,}", found[N], "B", head(N), *runs)
        yield grown(f"bytes held, {name}", found)


def judge_memory(q: Values) -> Judgement:
    """Holds if the saving is within 5 percentage points of 40 % at each of the article's lengths, fails if it is at none of them;
    otherwise it depends."""
    saved = [q[f"saved, N = {N:,}"] for N in LENGTHS]
    near = [abs(x - SAVED) <= NEAR for x in saved]
    said = (
        f"the paper's table shows a saving of {q['saved, N = 128']:.0f}% at N = 128 and of {', '.join(f'{x:.0f}' for x in saved)}% "
        f"at 512, 1,024 and 2,048, because memory grows as N to the power {q['growth of bytes held, naive']:.2f} in naive attention "
        f"and as N to the power {q['growth of bytes held, flash2']:.2f} in FlashAttention-2"
    )
    return share(near, said, no="Not a constant")


def training() -> Iterator[Quantity]:
    """For the forward and backward pass together: all arithmetic, the HBM traffic and the memory held, by naive attention and by
    FlashAttention 1 and 2."""
    w = head()
    for name in ("naive", "flash1", "flash2"):
        runs = both_passes(GPU, name, w, **BLOCKS)
        product = 2 * w.n_q * w.n_k * D
        yield counted(f"products, {name}", sum(run.matmul_flops for run in runs) / product, "products", w, *runs)
        yield counted(f"all FLOP, {name}", work(*runs), "FLOP", w, *runs)
        yield counted(f"bytes of HBM, {name}", hbm(*runs), "B", w, *runs)
        yield counted(f"bytes held, {name}", held(w, *runs), "B", w, *runs)


def judge_training(q: Values) -> Judgement:
    """Holds if FlashAttention 1 and 2 both do less arithmetic than naive attention, fails if both do as much or more; otherwise it
    depends."""
    less = [q[f"all FLOP, {name}"] < q["all FLOP, naive"] for name in ("flash1", "flash2")]
    flop, moved, kept = (q[f"{what}, flash2"] / q[f"{what}, naive"] for what in ("all FLOP", "bytes of HBM", "bytes held"))
    said = (
        f"FlashAttention-2 computes {q['products, flash2']:.0f} matrix products (naive attention: {q['products, naive']:.0f}) and does "
        f"{flop:.2f} times the FLOPs of naive attention; its HBM traffic is {moved:.2g} times and its memory {kept:.2g} times that of "
        "naive attention"
    )
    return share(less, said)


CHECKS = (
    Check(6, "The cost falls from O(n²) to O(m·b²), for m blocks of b tokens.", scores, judge_scores),
    Check(7, "The total cost falls from O(n²d) to O(m·b²·d).", everything, judge_everything),
    Check(15, "The article's table 1 shows the complexity O(m·b²) that it claims.", own_table, judge_own_table),
    Check(17, "FlashAttention takes about 40% less memory.", memory, judge_memory),
    Check(18, "FlashAttention reduces the computation needed to train large models.", training, judge_training),
)
