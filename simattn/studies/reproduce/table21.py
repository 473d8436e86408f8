"""FlashAttention, table 21: memory."""

from collections.abc import Iterator

from ...hierarchy.catalogue import machine
from ...hierarchy.run import Run
from ...reference.problem import Problem
from .execute import MIB, both_passes, how, qkv
from .row import Row

SECTION = "FlashAttention (Dao et al. 2022, arXiv 2205.14135v2), table 21: memory of forward + backward, batch 16, 8 heads, d = 64"
LANES = 16 * 8
LONGEST = 8192

LENGTHS = tuple(128 << k for k in range(10))
PYTORCH_MIB = dict(zip(LENGTHS, (36, 104, 336, 1184, 4416, 17024), strict=False))
FLASH_MIB = dict(zip(LENGTHS, (22, 44, 104, 209, 418, 836, 1672, 3344, 6688, 13376), strict=True))


def rows() -> Iterator[Row]:
    """Inputs, outputs and everything else that both passes allocate, each array once, nothing freed."""
    yield from (_row("PyTorch", "naive", N, published, Br=128, Bc=128) for N, published in PYTORCH_MIB.items())
    yield from (_row("FlashAttention", "flash1", N, published, Br=64, Bc=256) for N, published in FLASH_MIB.items())


def _pytorch(N: int) -> int:
    """Bytes of one head by a formula that fits what was printed and that nobody has stated: U = N² scores, u = N × d numbers."""
    return 4 * N * N * 2 + 10 * N * 64 * 2


def _flash(N: int) -> int:
    """The same; a column has N numbers of float32."""
    return (11 if N <= 256 else 13) * N * 64 * 2 + 2 * N * 4


FITTED = {
    "PyTorch": ("4U + 10u", _pytorch),
    "FlashAttention": ("13u and two columns (11u to N = 256)", _flash),
}


def _row(name: str, algorithm: str, N: int, published: float, **blocks: int) -> Row:
    w = Problem(n_q=N, n_k=N, d=64)
    formula, fitted = FITTED[name]
    ours, run, note = None, "none", "a run takes N² time, for memory that grows as N"
    if N <= LONGEST:
        runs = both_passes(machine("a100-40gb"), algorithm, w, **blocks)
        ours, run = held(w, *runs) * LANES / MIB, how(w, *runs, times=f"{LANES} heads")
        freed = held(w, runs[1], given=runs[0]) * LANES / MIB
        note = f"their allocator holds temporaries that no algorithm needs; with the dead freed before the backward pass, ours is {freed:,.1f}"
    return Row(
        section=SECTION, what=f"{name}, N = {N:,}", unit="MiB", published=published, published_is="measured", tolerance=0.5, ours=ours,
        run=run, note=f"{note}; {formula}, fitted to the print, gives {fitted(N) * LANES / MIB:,.1f}",
    )  # fmt: skip


def held(w: Problem, *runs: Run, given: Run | None = None) -> int:
    """Bytes of Q, K, V, dO, of every output of the runs (and of `given`, which they took), and of what else the runs allocated."""
    inputs = qkv(w)
    every = {**inputs, "dO": inputs["Q"]}
    for run in (*runs, given):
        every |= run.outputs if run else {}
    return sum(x.nbytes for x in every.values()) + sum(run.hbm_footprint for run in runs)
