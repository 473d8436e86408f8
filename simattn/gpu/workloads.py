"""The workloads over which the simulator is held against the hardware: 16k tokens in all where heads and lengths allow."""

from collections.abc import Iterator

from ..reference.workload import Workload

TOKENS, HIDDEN = 16_384, 2048
LENGTHS = (512, 1024, 2048, 4096, 8192, 16_384)
LONG = ((32_768, 4), (131_072, 1))  # queries, heads
CACHES = (512, 2048, 8192, 32_768, 131_072)
ARTICLE = (512, 1024, 2048)
WIDTHS = (64, 128)
STORED = (
    1 << 31
)  # bytes of S, P and their gradients that an unfused run may hold: the profiler saves and restores what a kernel writes

PREFILL = ("flash", "cudnn", "triton_flash2", "efficient", "unfused")
LONGER = PREFILL[:3]
BACKWARD = ("flash", "cudnn", "unfused")
DECODE = ("flash", "efficient", "cudnn", "triton_split_kv", "unfused")


def grid() -> list[tuple[Workload, str]]:
    """Every workload with every kernel that is asked to run it."""
    jobs = ((w, kernel) for w, kernels in _workloads() for kernel in kernels if kernel != "unfused" or _stored(w) <= STORED)
    return list(dict.fromkeys(jobs))


def _workloads() -> Iterator[tuple[Workload, tuple[str, ...]]]:
    for n in ARTICLE:
        yield Workload(16, 8, 8, n, n, 64, "float16", causal=False), PREFILL
        yield Workload(1, 16, 16, 1, n, 128, "float16", causal=False), DECODE
    for d in WIDTHS:
        heads = HIDDEN // d
        for causal in (False, True):
            for n in LENGTHS:
                yield Workload(TOKENS // n, heads, heads, n, n, d, "float16", causal), PREFILL if n <= 2048 else LONGER
            for n in LENGTHS[:5]:
                yield Workload(TOKENS // n, heads, heads, n, n, d, "float16", causal, backward=True), BACKWARD
        yield Workload(2, heads, heads, 1000, 1000, d, "float16", causal=True), PREFILL
        yield Workload(1, heads, heads, 1000, 3001, d, "float16", causal=False), LONGER
        yield Workload(1, heads, heads // 4, 4096, 4096, d, "float16", causal=True), LONGER
        for n in CACHES:
            yield Workload(1, 16, 16, 1, n, d, "float16", causal=False), DECODE
        yield Workload(8, 32, 8, 1, 8192, d, "float16", causal=False), DECODE
    for n in CACHES:
        yield Workload(1, 16, 2, 1, n, 128, "float16", causal=False), DECODE
    for d in WIDTHS:
        for n, few in LONG:
            yield Workload(1, few, few, n, n, d, "float16", causal=False), LONGER
            yield Workload(1, few, few, n, n, d, "float16", causal=True), LONGER


def _stored(w: Workload) -> int:
    return w.batch * w.heads * w.n_q * w.n_k * 2 * (6 if w.backward else 2)
