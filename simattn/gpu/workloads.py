"""The workloads over which the simulator is held against the hardware: 16k tokens in all where heads and lengths allow."""

from collections.abc import Iterator

from ..reference.problem import Problem

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


def grid() -> list[tuple[Problem, str]]:
    """Every workload with every kernel that is asked to run it."""
    jobs = ((w, kernel) for w, kernels in _workloads() for kernel in kernels if kernel != "unfused" or _stored(w) <= STORED)
    return list(dict.fromkeys(jobs))


def _workloads() -> Iterator[tuple[Problem, tuple[str, ...]]]:
    for n in ARTICLE:
        yield Problem(batch=16, heads=8, n_q=n, n_k=n, d=64), PREFILL
        yield Problem(heads=16, n_q=1, n_k=n, d=128), DECODE
    for d in WIDTHS:
        heads = HIDDEN // d
        for causal in (False, True):
            for n in LENGTHS:
                yield Problem(batch=TOKENS // n, heads=heads, n_q=n, n_k=n, d=d, causal=causal), PREFILL if n <= 2048 else LONGER
            for n in LENGTHS[:5]:
                yield Problem(batch=TOKENS // n, heads=heads, n_q=n, n_k=n, d=d, causal=causal, backward=True), BACKWARD
        yield Problem(batch=2, heads=heads, n_q=1000, n_k=1000, d=d, causal=True), PREFILL
        yield Problem(heads=heads, n_q=1000, n_k=3001, d=d), LONGER
        yield Problem(heads=heads, kv_heads=heads // 4, n_q=4096, n_k=4096, d=d, causal=True), LONGER
        for n in CACHES:
            yield Problem(heads=16, n_q=1, n_k=n, d=d), DECODE
        yield Problem(batch=8, heads=32, kv_heads=8, n_q=1, n_k=8192, d=d), DECODE
    for n in CACHES:
        yield Problem(heads=16, kv_heads=2, n_q=1, n_k=n, d=128), DECODE
    for d in WIDTHS:
        for n, few in LONG:
            yield Problem(heads=few, n_q=n, n_k=n, d=d), LONGER
            yield Problem(heads=few, n_q=n, n_k=n, d=d, causal=True), LONGER


def _stored(w: Problem) -> int:
    return w.batch * w.heads * w.n_q * w.n_k * 2 * (6 if w.backward else 2)
