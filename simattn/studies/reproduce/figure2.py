"""FlashAttention, figure 2: GPT-2 medium's attention, batch 64."""

from collections.abc import Iterator

import numpy as np

from ...hierarchy.catalogue import machine
from ...hierarchy.machine import Machine
from ...hierarchy.run import Run
from ...reference.problem import Problem
from .execute import GB, both_passes, forward, how, moved
from .row import Row

MIDDLE = "FlashAttention (Dao et al. 2022, arXiv 2205.14135v2), figure 2, middle: HBM traffic of the forward pass, by Bc"
LEFT = "FlashAttention (Dao et al. 2022, arXiv 2205.14135v2), figure 2, left: HBM traffic and GFLOPs, forward + backward"
ONE_ELEMENT = Problem(heads=16, n_q=1024, n_k=1024, d=64)
BATCH = 64
TIMES = f"{BATCH} batch elements"
COLUMNS = "l m lse D"

FORWARD_GB = {64: 6.577, 128: 3.355, 256: 1.745, 512: 0.940}
FLASH_GB, FLASH_GFLOP = 4.4, 75.2
STANDARD_GB, STANDARD_GFLOP = 40.3, 66.6
CONFERENCE_GB = 35.3  # of the conference version: padding mask, no dropout


def middle() -> Iterator[Row]:
    """Traffic falls as Bc grows, for Q and O make fewer round trips."""
    for Bc, published in FORWARD_GB.items():
        run = forward(machine("a100-40gb"), "flash1", ONE_ELEMENT, Br=64, Bc=Bc)
        columns = moved(COLUMNS, run) * BATCH / GB
        yield Row(
            section=MIDDLE, what=f"flash1, Bc = {Bc}", unit="GB", published=published, published_is="digitised", tolerance=0.0005,
            ours=moved("Q K V O", run) * BATCH / GB, run=how(ONE_ELEMENT, run, times=TIMES),
            note=f"Q, K, V and O; l, m and lse, {columns:.3f} GB more, stand apart",
        )  # fmt: skip


def left() -> Iterator[Row]:
    """The whole comparison of figure 2: traffic, and FLOPs that do not fit the workload."""
    flash = both_passes(machine("a100-40gb"), "flash1", ONE_ELEMENT, Br=64, Bc=256)
    columns = moved(COLUMNS, *flash) * BATCH / GB
    yield Row(
        section=LEFT, what="FlashAttention: HBM", unit="GB", published=FLASH_GB, published_is="measured", tolerance=0.05,
        ours=moved("Q K V O dO dQ dK dV", *flash) * BATCH / GB, run=how(ONE_ELEMENT, *flash, times=TIMES),
        note=f"the blocks are not known: Bc = 256 is the nearest of the middle plot's four; l, m, lse and D, {columns:.3f} GB more, stand apart",
    )  # fmt: skip
    chain = standard(dropout=0.1)
    yield _standard(
        "standard: HBM, mask and dropout", STANDARD_GB, chain, "on chip is what the A100's L2 holds, for the paper counts DRAM"
    )
    yield _standard(
        "the same, SRAM in place of L2", STANDARD_GB, standard(0.1, l2=False), "each block of a product reads its operands"
    )
    yield _standard("standard: HBM, mask (conference)", CONFERENCE_GB, standard(0), "nobody has explained the figure")
    yield _flops("FlashAttention: FLOPs", FLASH_GFLOP, flash)
    yield _flops("standard: FLOPs", STANDARD_GFLOP, chain)


def standard(dropout: float, *, l2: bool = True) -> tuple[Run, Run]:
    """The eager chain, with a padding mask: an added row of n_k numbers.

    l2: the A100's L2 is what is on chip, and a thread block has a whole head, so that a kernel reads each operand once.
    """
    a100, N = machine("a100-40gb"), ONE_ELEMENT.n_k
    gpu, size = (Machine(name="a100-l2", sram=a100.l2 or 0), N) if l2 else (a100, 128)
    return both_passes(
        gpu, "unfused_chain", ONE_ELEMENT, bias=np.zeros((1, 1, 1, N), np.float16), dropout=dropout, Br=size, Bc=size
    )


def _standard(what: str, published: float, runs: tuple[Run, Run], note: str) -> Row:
    """Traffic of the eager chain, without the columns and the padding row, which are small."""
    small = moved("lse bias", *runs)
    return Row(
        section=LEFT, what=what, unit="GB", published=published, published_is="measured", tolerance=0.05,
        ours=(sum(run.hbm_read + run.hbm_write for run in runs) - small) * BATCH / GB, run=how(ONE_ELEMENT, *runs, times=TIMES),
        note=f"{note}; lse and the padding, {small * BATCH / GB:.3f} GB more, stand apart; {_by_kernel(runs)}",
    )  # fmt: skip


def _by_kernel(runs: tuple[Run, Run]) -> str:
    """Traffic by kernel, in units of one array of N² scores."""
    w = ONE_ELEMENT
    scores = w.heads * w.n_q * w.n_k * np.dtype(w.dtype).itemsize
    kernels = (f"{name} {(k.hbm_read + k.hbm_write) / scores:.2f}" for run in runs for name, k in run.kernels.items())
    return "in units of N² scores: " + ", ".join(kernels)


def _flops(what: str, published: float, runs: tuple[Run, Run]) -> Row:
    """GFLOP of the products, forward and backward."""
    return Row(
        section=LEFT, what=what, unit="GFLOP", published=published, published_is="stated", tolerance=0.05,
        ours=sum(run.matmul_flops for run in runs) * BATCH / 1e9, run=how(ONE_ELEMENT, *runs, times=TIMES), otherwise="not reproducible",
        note="products alone; what was printed does not fit the workload that was stated with it, and no other is known to fit",
    )  # fmt: skip
