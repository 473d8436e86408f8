"""FlashAttention-2's way of counting FLOPs."""

from collections.abc import Iterator
from dataclasses import replace

from ...hierarchy.catalogue import machine
from ...hierarchy.run import Run
from ...reference.problem import Problem
from .execute import both_passes, forward, how
from .row import Row

SECTION = "FlashAttention-2 (Dao 2023, arXiv 2307.08691), section 4.1: FLOPs of the products"
HEAD = Problem(n_q=2048, n_k=2048, d=64)
MASKED = replace(HEAD, causal=True)

FORWARD, CAUSAL, BACKWARD = 1.0, 0.5, 2.5


def rows() -> Iterator[Row]:
    """What throughput is computed from."""
    dense, backward = both_passes(machine("a100-40gb"), "flash2", HEAD, Br=128, Bc=128)
    causal = forward(machine("a100-40gb"), "flash2", MASKED, Br=128, Bc=128)
    half = "blocks on the diagonal are computed whole, which is half a block of keys more a row"
    yield _row("forward, over 4N²d", FORWARD, dense, 4 * HEAD.n_q * HEAD.n_k * HEAD.d)
    yield _row("causal, over dense", CAUSAL, causal, dense.matmul_flops, MASKED, half)
    yield _row("backward, over forward", BACKWARD, backward, dense.matmul_flops, note="five products in place of two")


def _row(what: str, published: float, run: Run, base: int, w: Problem = HEAD, note: str = "") -> Row:
    return Row(
        section=SECTION, what=what, unit="", published=published, published_is="stated", tolerance=0, ours=run.matmul_flops / base,
        run=how(w, run), note=note,
    )  # fmt: skip
