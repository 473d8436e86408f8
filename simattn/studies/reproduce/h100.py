"""Kernels of PyTorch under the hardware counters of one H100: what L2 looked up for the SMs, which is at most what fills SRAM."""

from collections.abc import Iterator
from dataclasses import replace

from ...hierarchy.catalogue import machine
from ...hierarchy.run import Run
from ...reference.problem import Problem
from .execute import MB, both_passes, forward, how
from .row import Row

SECTION = (
    "Hardware counters of one H100 SXM (no paper; fp16, PyTorch 2.11, caches flushed before a kernel): bytes that L2 looked up"
)
MET = "L2 looked up less than the SMs received, for requests of neighbours meet: fidelity.md has both counters"
COUNTER = 0.01  # of a counter's figure, within which a count is taken to agree

HEAD = Problem(n_q=4096, n_k=4096, d=64)
HEADS = 4 * 16
SHORT, SHORT_HEADS = Problem(n_q=1024, n_k=1024, d=64), 64 * 16

UNFUSED_IN, UNFUSED_OUT = 5470.5, 4328.5
FLASH_IN, FLASH_OUT = 2025.5, 259.0
CAUSAL_IN, CAUSAL_OUT = 1140.6, 165.6
CUDNN_IN, CUDNN_OUT = 1151.7, 33.6
BACKWARD_IN, BACKWARD_OUT = 2814.7, 1107.2
DECODE_IN = {
    ("unfused", "naive", 2048): 17.5,
    ("SDPA flash", "split_kv", 2048): 16.9,
    ("SDPA efficient", "flash2", 2048): 16.8,
    ("SDPA flash", "split_kv", 32_768): 268.6,
    ("SDPA efficient", "flash2", 32_768): 269.5,
}
DECODE_NOTES = {
    "naive": "three kernels; what else they read is not known",
    "split_kv": "splits by flash-attn 2's heuristic",
    "flash2": "the keys are not split",
}
OUT_ONLY = "the output alone; lse stands apart"
SPILLS = "an Ampere kernel, which writes far more than its output: registers that spill, which fidelity.md counts"


def rows() -> Iterator[Row]:
    """Forward, causal, decoding, backward."""
    yield from _forward()
    yield from _decode()
    yield from _backward()


def _forward() -> Iterator[Row]:
    gpu, w, times = machine("h100-sxm"), HEAD, f"{HEADS} heads"
    run = forward(gpu, "naive", w, Br=128, Bc=256)
    shared = "thread blocks of the measured products share operands, and PV has blocks of its own"
    yield _row("unfused, read", UNFUSED_IN, run.hbm_read * HEADS, how(w, run, times=times), shared)
    yield _row(
        "unfused, written", UNFUSED_OUT, _written(run, "S P O") * HEADS, how(w, run, times=times), "S, P and O; lse stands apart"
    )
    run = forward(gpu, "flash2", w, Br=128, Bc=128)
    yield _row("SDPA flash, read", FLASH_IN, run.hbm_read * HEADS, how(w, run, times=times), MET)
    yield _row("SDPA flash, written", FLASH_OUT, run.hbm_write * HEADS, how(w, run, times=times), SPILLS)
    masked = replace(w, causal=True)
    run = forward(gpu, "flash2", masked, Br=128, Bc=128)
    yield _row("SDPA flash, causal, read", CAUSAL_IN, run.hbm_read * HEADS, how(masked, run, times=times))
    yield _row("SDPA flash, causal, written", CAUSAL_OUT, run.hbm_write * HEADS, how(masked, run, times=times), SPILLS)
    run = forward(gpu, "flash2", w, Br=128, Bc=128)
    yield _row("SDPA cuDNN, read", CUDNN_IN, run.hbm_read * HEADS, how(w, run, times=times), MET)
    yield _row("SDPA cuDNN, written", CUDNN_OUT, _written(run, "O") * HEADS, how(w, run, times=times), OUT_ONLY)


def _decode() -> Iterator[Row]:
    for (kernel, algorithm, n_k), published in DECODE_IN.items():
        w = Problem(heads=16, n_q=1, n_k=n_k, d=128)
        run = forward(machine("h100-sxm"), algorithm, w, Br=128, Bc=128)
        yield _row(f"{kernel}, 1 query, {n_k:,} keys, read", published, run.hbm_read, how(w, run), DECODE_NOTES[algorithm])


def _backward() -> Iterator[Row]:
    _, run = both_passes(machine("h100-sxm"), "flash2", SHORT, Br=128, Bc=128)
    atomics = run.tensors["dQ_acc"].hbm_read - run.kernels["convert dQ"].hbm_read
    text = how(SHORT, run, times=f"{SHORT_HEADS:,} heads")
    yield _row(
        "SDPA flash, backward, read", BACKWARD_IN, (run.hbm_read - atomics) * SHORT_HEADS, text,
        f"without atomics, which L2 adds up itself; {MET}",
    )  # fmt: skip
    without = (run.hbm_write - atomics) * SHORT_HEADS / MB
    yield _row(
        "SDPA flash, backward, written", BACKWARD_OUT, run.hbm_write * SHORT_HEADS, text,
        f"atomics of float32 included, {without:,.1f} without; how the counter books them is not known",
    )  # fmt: skip


def _written(run: Run, arrays: str) -> int:
    return sum(run.tensors[name].hbm_write for name in arrays.split())


def _row(what: str, published: float, nbytes: int, run: str, note: str = "") -> Row:
    return Row(
        section=SECTION, what=what, unit="MB", published=published, published_is="measured", tolerance=COUNTER * published,
        ours=nbytes / MB, run=run, note=note,
    )  # fmt: skip
