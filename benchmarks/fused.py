"""What the fused backend adds to the kernel that it calls, and how fast its kernels are: ratios within one run.

Run `make bench-fused`; the tables of kernels need a GPU. "wrapper" is sa.gpu.attention without measurement against the bare operator,
in microseconds a call, as the median of interleaved rounds, for a kernel by its name and for the one that "auto" runs; "auto" is that one
against the fastest of all kernels that can be called, each by the median of CUDA events; then the simulator's algorithms in Triton against
torch's flash SDPA.
"""

import importlib
import statistics
import time
from collections.abc import Callable

import torch

import simattn as sa
from simattn.gpu.backend import has_cuda
from simattn.gpu.catalogue import KERNELS
from simattn.gpu.jobs import tensors
from simattn.gpu.timing import milliseconds
from simattn.reference.problem import Problem

WORKLOADS = [
    *(
        Problem(batch=16_384 // n, heads=2048 // d, n_q=n, n_k=n, d=d, causal=causal)
        for d in (64, 128)
        for n in (1024, 4096)
        for causal in (False, True)
    ),
    Problem(heads=32, kv_heads=8, n_q=4096, n_k=4096, d=128, dtype="bfloat16", causal=True),
    Problem(heads=16, n_q=1, n_k=8192, d=128),
    Problem(heads=16, kv_heads=2, n_q=1, n_k=32_768, d=128),
    Problem(batch=8, heads=32, kv_heads=8, n_q=1, n_k=8192, d=128, dtype="bfloat16"),
]
TWIN = [
    Problem(batch=max(1, 16_384 // n), heads=2048 // d, n_q=n, n_k=n, d=d, causal=causal)
    for d in (64, 128)
    for n in (2048, 4096, 16_384)
    for causal in (False, True)
]
SPLIT = [Problem(heads=16, kv_heads=kv, n_q=1, n_k=n, d=d) for d in (64, 128) for n in (8192, 32_768, 131_072) for kv in (16, 2)]
ROUNDS, CALLS = 31, 200


def microseconds(*calls: Callable[[], object]) -> list[float]:
    """The median host time of a call of each, in interleaved rounds."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            times.append((time.perf_counter() - start) / CALLS * 1e6)
            if has_cuda():
                torch.cuda.synchronize()
    return [statistics.median(times) for times in taken]


def wrapper() -> None:
    x = tensors(Problem(n_q=64, n_k=64, d=64), "cuda" if has_cuda() else "cpu")
    chosen = sa.gpu.attention(x.q, x.k, x.v, measure=False).kernel
    for kernel, asked in (("flash" if has_cuda() else "cpu_flash",) * 2, (chosen, "auto")):
        calls = [
            lambda bare=KERNELS[kernel].forward: bare(x),
            lambda asked=asked: sa.gpu.attention(x.q, x.k, x.v, kernel=asked, measure=False),
            lambda bare=KERNELS[kernel].forward: bare(x),
        ]
        for call in calls:
            call()
        bare, ours, control = microseconds(*calls)
        print(
            f"wrapper, {asked}: {kernel} {bare:.1f} us bare, {ours - bare:+.1f} us by sa.gpu.attention, control {control - bare:+.1f} us"
        )


def auto(w: Problem) -> None:
    x = tensors(w, "cuda")
    chosen = sa.gpu.attention(x.q, x.k, x.v, causal=w.causal, measure=False).kernel
    able = [k for k in KERNELS.values() if k.why_not(x) is None and k.fused]
    rounds = [{k.name: milliseconds(lambda k=k: k.forward(x), "cuda") for k in able} for _ in range(3)]
    times = {k.name: statistics.median(r[k.name] for r in rounds) for k in able}
    best = min(times, key=lambda name: times[name])
    others = ", ".join(f"{name} {ms:.4f}" for name, ms in sorted(times.items(), key=lambda item: item[1]))
    print(f"auto {times[chosen] / times[best]:.3f} x fastest: {chosen} | {w} | ms: {others}", flush=True)


def twin(w: Problem, name: str) -> None:
    x = tensors(w, "cuda")
    rounds = [[milliseconds(lambda k=k: KERNELS[k].forward(x), "cuda") for k in (name, "flash")] for _ in range(3)]
    ours, flash = (statistics.median(times) for times in zip(*rounds, strict=True))
    graph = [_replayed(lambda k=k: KERNELS[k].forward(x)) for k in (name, "flash")]
    print(
        f"{name} {flash / ours:.2f} x flash ({ours:.4f}, {flash:.4f} ms; without launches {graph[1] / graph[0]:.2f} x) | {w}",
        flush=True,
    )


def _replayed(call: Callable[[], object]) -> float:
    """Milliseconds of the device alone: the call replayed from a CUDA graph."""
    testing = importlib.import_module("triton.testing")  # where there is a GPU, there is Triton
    return float(testing.do_bench_cudagraph(call, rep=30, return_mode="median"))


if __name__ == "__main__":
    device = sa.gpu.describe()
    print(device)
    wrapper()
    if has_cuda():
        for w in WORKLOADS:
            auto(w)
        for w in TWIN:
            twin(w, "triton_flash2")
        for w in SPLIT:
            twin(w, "triton_split_kv")
