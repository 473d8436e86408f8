"""Where it runs: claims 8 to 10."""

from collections.abc import Iterator

from ...hierarchy.catalogue import machine
from ..reproduce.execute import MB
from . import published as p
from .claim import Check, Judgement, Quantity, Values, depends, fails, holds, share
from .execute import GPU, D, computed, counted, execute, hbm, head, published
from .mechanism import read

REGISTER = 4  # bytes
THROUGH_L2 = 0.1  # of the on-chip traffic: if less than this passes L2, L2 is not where it runs


def bottleneck() -> Iterator[Quantity]:
    """The FLOPs that naive attention does for each byte that it moves, against those that the GPU can do while it moves one; the
    time that an H100 took for it, against the times that its FLOPs and its bytes alone would take; and the bytes with blocking."""
    w = head()
    runs = {name: execute(name, w) for name in ("naive", "flash2")}
    for name, run in runs.items():
        yield counted(f"bytes of HBM, {name}", hbm(run), "B", w, run)
        yield counted(f"FLOP a byte, {name}", run.matmul_flops / hbm(run), "FLOP/B", w, run)
    balance = GPU.flops["float16"] / (GPU.hbm_bandwidth or 1)
    yield computed("FLOP a byte, the GPU", balance, "FLOP/B", f"peak over bandwidth of {GPU.name}, from the catalogue")
    h100, N = machine("h100-sxm"), p.H100_LENGTH
    yield published("time of unfused attention", p.UNFUSED_MS, "ms", p.H100)
    yield published("its bytes of DRAM", p.UNFUSED_DRAM_MB, "MB", p.H100)
    in_ms = 1e3 * p.UNFUSED_DRAM_MB * MB / (h100.hbm_bandwidth or 1)
    yield computed("time of its bytes", in_ms, "ms", f"at the bandwidth of {h100.name}, from the catalogue")
    flops = 4 * N * N * D * p.H100_HEADS
    yield computed(
        "time of its FLOPs",
        1e3 * flops / h100.flops["float16"],
        "ms",
        f"4N²d a head at the peak of {h100.name}, from the catalogue",
    )


def judge_bottleneck(q: Values) -> Judgement:
    """Holds if naive attention does fewer FLOPs a byte than the GPU could, its bytes take longer than its FLOPs, and blocking moves
    fewer bytes; depends if only some of this is so, and fails if nothing is."""
    fewer = q["bytes of HBM, naive"] / q["bytes of HBM, flash2"]
    said = (
        f"naive attention does {q['FLOP a byte, naive']:.0f} FLOP a byte where the GPU could do {q['FLOP a byte, the GPU']:.0f}; "
        f"of {q['time of unfused attention']:.1f} ms measured on an H100 its bytes need {q['time of its bytes']:.1f} and its "
        f"FLOPs {q['time of its FLOPs']:.1f}; and FlashAttention-2 moves {fewer:.1f} times fewer bytes"
    )
    so = [
        q["FLOP a byte, naive"] < q["FLOP a byte, the GPU"],
        q["time of its bytes"] > q["time of its FLOPs"],
        q["bytes of HBM, flash2"] < q["bytes of HBM, naive"],
    ]
    return share(so, said)


def on_chip() -> Iterator[Quantity]:
    """The bytes that a thread block of FlashAttention-2 has live at once, in blocks of 128 × 128, against the registers that its
    threads can have, and against registers and shared memory together. And the bytes that its operations touch on chip, against
    those that a hardware counter saw pass between L2 and the SMs."""
    w = head()
    run = execute("flash2", w)
    yield counted("working set", run.peak_sram, "B", w, run)
    yield published("threads of a thread block", p.THREADS, "threads", p.FLASH_ATTN)
    yield published("registers of a thread, at most", p.REGISTERS_A_THREAD, "registers", p.CUDA)
    registers = p.THREADS * p.REGISTERS_A_THREAD * REGISTER
    yield computed("registers of a thread block", registers, "B", "threads · registers · 4 B")
    both = registers + (GPU.shared_memory or 0)
    yield computed("registers and shared memory", both, "B", f"with the shared memory a block of {GPU.name}, from the catalogue")
    w = head(p.H100_LENGTH)
    run = execute("flash2", w)
    touched = (run.sram_read + run.sram_write) * p.H100_HEADS
    yield counted("bytes touched on chip", touched, "B", w, run, times=f"{p.H100_HEADS} heads")
    yield published("bytes between L2 and SMs", p.SDPA_FLASH_L2_MB * MB, "B", p.H100)
    yield computed("share that passes L2", p.SDPA_FLASH_L2_MB * MB / touched, "", "of the bytes touched on chip")


def judge_on_chip(q: Values) -> Judgement:
    """Holds if the working set fits in registers, or if the on-chip traffic passes L2 for more than a tenth; fails if it fits
    neither registers nor shared memory; depends if it needs shared memory, which the claim does not name, beside registers."""
    live, registers, both = q["working set"], q["registers of a thread block"], q["registers and shared memory"]
    said = (
        f"a thread block has {live / 1024:.0f} KiB live at once, its registers hold {registers / 1024:.0f} and with shared memory "
        f"{both / 1024:.0f}, and of what is touched on chip {q['share that passes L2']:.0%} passes L2"
    )
    if q["share that passes L2"] > THROUGH_L2 or live <= registers:
        return holds(f"L2 or registers suffice: {said}.")
    return fails(f"It fits neither: {said}.") if live > both else depends(f"Registers and shared memory, not L2: {said}.")


def contiguous() -> Iterator[Quantity]:
    """What FlashAttention 1 and 2 write to HBM other than their results, the kernels that they launch, and how they read Q: a pass
    that lays data out first would write a copy of Q, K or V."""
    w = head()
    for name in ("flash1", "flash2"):
        run = execute(name, w)
        results = sum(run.tensors[output].hbm_write for output in run.outputs)
        columns = sum(t.hbm_write for array, t in run.tensors.items() if array in ("l", "m"))
        yield counted(f"bytes written other than results and l, m, {name}", run.hbm_write - results - columns, "B", w, run)
        yield counted(f"kernels, {name}", len(run.kernels), "kernels", w, run)
        yield counted(f"bytes of Q, K, V read in place, {name}", read(run, "Q K V"), "B", w, run)
    yield computed("bytes of a copy of K", w.n_k * D * 2, "B", "N · d · 2 B")


def judge_contiguous(q: Values) -> Judgement:
    """Holds if FlashAttention 1 and 2 write as many bytes, beside their results, as a copy of one input has, fails if neither does;
    else it depends."""
    copy = q["bytes of a copy of K"]
    found = [q[f"bytes written other than results and l, m, {name}"] for name in ("flash1", "flash2")]
    said = f"FlashAttention 1 and 2 write {max(found):,.0f} B that are no results, where a copy of K alone has {copy:,.0f}"
    return share(
        [x >= copy for x in found], said, part="One of them is", no="Nothing is laid out anew, Q, K and V are read where they lie"
    )


CHECKS = (
    Check(8, "Memory bandwidth is the bottleneck, and blocking cuts the access to HBM.", bottleneck, judge_bottleneck),
    Check(9, "Most of the work happens in L2 cache or registers.", on_chip, judge_on_chip),
    Check(10, "Data is first laid out contiguously in memory, to cut latency.", contiguous, judge_contiguous),
)
