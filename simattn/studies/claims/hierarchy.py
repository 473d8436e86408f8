"""Which memory it uses: claims 8 to 10."""

from collections.abc import Iterator

from ...hierarchy.catalogue import machine
from ..reproduce.execute import MB
from . import published as p
from .claim import Check, Judgement, Quantity, Values, depends, fails, holds, share
from .execute import GPU, D, computed, counted, execute, hbm, head, published
from .mechanism import read

REGISTER = 4  # bytes
THROUGH_L2 = 0.1  # share of the on-chip traffic: below it, the work does not happen in L2


def bottleneck() -> Iterator[Quantity]:
    """The FLOPs that naive attention does for each byte that it moves, compared with the FLOPs that the GPU can do in the time of
    moving one byte; the time that it took on an H100, compared with the times that its FLOPs alone and its bytes alone would take;
    and the bytes moved when the computation is blocked."""
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
    """Holds if naive attention does fewer FLOPs per byte than the GPU could, its bytes take longer than its FLOPs, and blocking
    moves fewer bytes; depends if only some of these are true; fails if none is."""
    fewer = q["bytes of HBM, naive"] / q["bytes of HBM, flash2"]
    said = (
        f"naive attention does {q['FLOP a byte, naive']:.0f} FLOPs per byte, and the GPU could do {q['FLOP a byte, the GPU']:.0f}; "
        f"of the {q['time of unfused attention']:.1f} ms measured on an H100 its bytes account for {q['time of its bytes']:.1f} "
        f"and its FLOPs for {q['time of its FLOPs']:.1f}; FlashAttention-2 moves {fewer:.1f} times fewer bytes"
    )
    so = [
        q["FLOP a byte, naive"] < q["FLOP a byte, the GPU"],
        q["time of its bytes"] > q["time of its FLOPs"],
        q["bytes of HBM, flash2"] < q["bytes of HBM, naive"],
    ]
    return share(so, said)


def on_chip() -> Iterator[Quantity]:
    """The bytes that a thread block of FlashAttention-2 has live at once, with blocks of 128 × 128, compared with the registers
    that its threads can have, and with registers and shared memory together. Then the bytes that its operations touch on chip,
    compared with those that a hardware counter saw pass between L2 and the SMs."""
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
    """Holds if the working set fits in registers, or if more than a tenth of the on-chip traffic passes through L2; fails if it
    does not even fit in registers and shared memory together; depends if it needs shared memory, which the claim does not name, as
    well as registers."""
    live, registers, both = q["working set"], q["registers of a thread block"], q["registers and shared memory"]
    said = (
        f"a thread block has {live / 1024:.0f} KiB live at once, its registers hold {registers / 1024:.0f} KiB, registers and shared "
        f"memory together {both / 1024:.0f} KiB, and {q['share that passes L2']:.0%} of the bytes touched on chip pass through L2"
    )
    if q["share that passes L2"] > THROUGH_L2 or live <= registers:
        return holds(f"L2 or registers suffice: {said}.")
    return fails(f"Neither is large enough: {said}.") if live > both else depends(f"Registers and shared memory, not L2: {said}.")


def contiguous() -> Iterator[Quantity]:
    """What FlashAttention 1 and 2 write to HBM besides their results, the kernels that they launch, and the bytes of Q, K and V
    that they read in place: a pass that first rearranges the data would write a copy of Q, K or V."""
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
    """Holds if FlashAttention 1 and 2 both write, besides their results, at least as many bytes as a copy of one input has; fails
    if neither does; otherwise it depends."""
    copy = q["bytes of a copy of K"]
    found = [q[f"bytes written other than results and l, m, {name}"] for name in ("flash1", "flash2")]
    said = f"FlashAttention 1 and 2 write {max(found):,.0f} B besides their results, and a copy of K alone would be {copy:,.0f} B"
    return share(
        [x >= copy for x in found], said, part="One of them does", no="Nothing is rearranged; Q, K and V are read in place"
    )


CHECKS = (
    Check(8, "Memory bandwidth is the bottleneck, and blocking reduces accesses to HBM.", bottleneck, judge_bottleneck),
    Check(9, "Most of the work happens in the L2 cache or in registers.", on_chip, judge_on_chip),
    Check(10, "Data is first laid out contiguously in memory to reduce latency.", contiguous, judge_contiguous),
)
