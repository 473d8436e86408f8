"""The L2 sectors that FlashAttention-2 reads and writes."""

from collections.abc import Iterator

from ...hierarchy.catalogue import machine
from ...hierarchy.run import Run
from ...reference.problem import Problem
from .execute import forward, how, moved
from .row import Published, Row

SECTION = "L2 sectors of FlashAttention-2 on a GB10 (arXiv 2601.16032): one head, d = 64, fp16, tiles of T = 80 rows"
SECTOR = 32  # bytes
T = 80

S = 32_768
DENSE: dict[Published, int] = {"predicted": 107_741_184, "measured": 107_729_467}
CAUSAL = {100 * T: "blocks on the diagonal are loaded whole", 8192: "S is no multiple of T, and the formula does not round up"}
COUNTER = 1e-3  # of the counter's figure, within which a count is taken to agree


def causal_formula(keys: int) -> float:
    """Their sectors of K and V under a causal mask."""
    return 8 * keys * (keys / (2 * T) + 0.5)


def rows() -> Iterator[Row]:
    """Dense, each block of rows reads all keys once, whatever Bc: the count depends on Br alone. Causal, it depends on both."""
    w, run = sectors(S, Bc=512)
    for kind, published in DENSE.items():
        yield Row(
            section=SECTION, what=f"Q, K, V and O, S = {S:,}", unit="sectors", published=published, published_is=kind,
            tolerance=COUNTER * published if kind == "measured" else 0, ours=moved("Q K V O", run) / SECTOR, run=how(w, run),
            note="all keys are read once for each block of rows, so Bc does not matter; lse stands apart",
        )  # fmt: skip
    for keys, note in CAUSAL.items():
        w, run = sectors(keys, Bc=T, causal=True)
        yield Row(
            section=SECTION, what=f"K and V, causal, S = {keys:,}", unit="sectors", published=causal_formula(keys),
            published_is="predicted", tolerance=0, ours=moved("K V", run) / SECTOR, run=how(w, run),
            note=f"{note}; Q and O, which the formula leaves out, are {moved('Q O', run) / SECTOR:,.0f} more",
        )  # fmt: skip


def sectors(keys: int, Bc: int, *, causal: bool = False) -> tuple[Problem, Run]:
    """A run of FlashAttention-2 in blocks of T rows and Bc keys."""
    w = Problem(n_q=keys, n_k=keys, d=64, causal=causal)
    return w, forward(machine("a100-40gb"), "flash2", w, Br=T, Bc=Bc)
