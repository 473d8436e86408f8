"""What counting costs: flash2 and its backward pass on the machine against the same loops in plain NumPy, as a ratio within one run.

Run `make bench`. Interleaved runs, single-threaded (one worker), blocks of 128, d = 64, float32. Every run begins without a log of another, so its
counts and working sets are computed anew; "first" is a run for which the operations of earlier runs are forgotten, too. The plain loop
copies tiles as a load does, with its heads as a leading axis, or one head after another ("by head"); "control" is the plain loop
against itself, which is how far to trust the others.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import simattn as sa
from simattn.hierarchy import operations, transfers

Array = NDArray[np.float32]
B = 128


def plain_flash2(Q: Array, K: Array, V: Array, causal: bool) -> tuple[Array, Array]:
    """FlashAttention-2 in plain NumPy on (..., N, d): the loop that the machine runs, without the machine."""
    N, n_k = Q.shape[-2], K.shape[-2]
    scale = Q.shape[-1] ** -0.5
    O = np.empty((*Q.shape[:-1], V.shape[-1]), np.float32)
    L = np.empty((*Q.shape[:-1], 1), np.float32)
    for i in range(0, N, B):
        Qi = Q[..., i : i + B, :].copy()
        rows = Qi.shape[:-1]
        Oi = np.zeros((*rows, V.shape[-1]), np.float32)
        l, m = np.zeros((*rows, 1), np.float32), np.full((*rows, 1), np.finfo(np.float32).min, np.float32)
        for j in range(0, min(i + B, n_k) if causal else n_k, B):
            Kj, Vj = K[..., j : j + B, :].copy(), V[..., j : j + B, :].copy()
            S = Qi @ Kj.swapaxes(-1, -2)
            S = S * scale
            if causal and j + B > i:
                seen = np.arange(j, j + Kj.shape[-2]) <= np.arange(i, i + rows[-1])[:, None]
                S = np.where(seen, S, np.float32(-np.inf))
            m_old, m = m, np.maximum(m, S.max(axis=-1, keepdims=True))
            P = np.exp(S - m)
            a = np.exp(m_old - m)
            l = a * l + P.sum(axis=-1, keepdims=True)
            Oi = a * Oi + P @ Vj
        O[..., i : i + B, :] = Oi / np.maximum(l, 1)
        L[..., i : i + B, :] = m + np.log(l)
    return O, L


def plain_flash2_backward(Q: Array, K: Array, V: Array, O: Array, L: Array, dO: Array) -> tuple[Array, Array, Array]:
    """FlashAttention-2's backward pass, dense, in plain NumPy: the loops that the machine runs, without the machine."""
    N, n_k, scale = Q.shape[-2], K.shape[-2], Q.shape[-1] ** -0.5
    dQ, dK, dV, D = np.empty_like(Q), np.empty_like(K), np.empty_like(V), np.empty_like(L)
    for i in range(0, N, B):
        dQ[..., i : i + B, :] = np.zeros_like(Q[..., i : i + B, :])
        D[..., i : i + B, :] = (dO[..., i : i + B, :].copy() * O[..., i : i + B, :].copy()).sum(axis=-1, keepdims=True)
    for j in range(0, n_k, B):
        Kj, Vj = K[..., j : j + B, :].copy(), V[..., j : j + B, :].copy()
        dKj, dVj = np.zeros_like(Kj), np.zeros_like(Vj)
        for i in range(0, N, B):
            Qi, dOi = Q[..., i : i + B, :].copy(), dO[..., i : i + B, :].copy()
            Li = np.maximum(L[..., i : i + B, :].copy(), np.finfo(np.float32).min)
            X = Qi @ Kj.swapaxes(-1, -2)
            P = np.exp(X * scale - Li)
            dVj = dVj + P.swapaxes(-1, -2) @ dOi
            dP = dOi @ Vj.swapaxes(-1, -2)
            dS = P * (dP - D[..., i : i + B, :].copy()) * scale
            dQ[..., i : i + B, :] += dS @ Kj
            dKj = dKj + dS.swapaxes(-1, -2) @ Qi
        dK[..., j : j + B, :] = dKj
        dV[..., j : j + B, :] = dVj
    return dQ, dK, dV


def by_head(Q: Array, K: Array, V: Array, causal: bool) -> list[tuple[Array, Array]]:
    return [plain_flash2(*qkv, causal) for qkv in zip(Q[0], K[0], V[0], strict=True)]


def forget() -> None:
    """Forget every operation that the machine remembers, so that each run starts cold."""
    for remembered in (*vars(operations).values(), *vars(transfers).values()):
        if hasattr(remembered, "cache_clear"):
            remembered.cache_clear()


def interleaved(runs: int, *functions: Callable[[], object]) -> list[float]:
    """The median seconds of each function, run in turn, after two rounds to warm up."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(runs + 2):
        for function, taken in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[2:]) for taken in seconds]


def measure(heads: int, N: int, causal: bool, runs: int) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((1, heads, N, 64), dtype=np.float32) for _ in range(3))
    gpu = sa.machine("a100-40gb")

    def counted() -> None:
        gpu.run(sa.flash2, Q, K, V, Br=B, Bc=B, causal=causal, workers=1)

    def plain() -> None:
        plain_flash2(Q, K, V, causal)

    report(heads, N, "causal" if causal else "dense", runs, counted, plain, lambda: by_head(Q, K, V, causal))


def measure_backward(heads: int, N: int, runs: int) -> None:
    rng = np.random.default_rng(0)
    Q, K, V, dO = (rng.standard_normal((1, heads, N, 64), dtype=np.float32) for _ in range(4))
    gpu = sa.machine("a100-40gb")
    forward = gpu.run(sa.flash2, Q, K, V, Br=B, Bc=B)
    O, L = forward.outputs["O"], forward.outputs["lse"]

    def counted() -> None:
        gpu.run(sa.flash2_backward, Q, K, V, O, L, dO, Br=B, Bc=B, workers=1)

    def plain() -> None:
        plain_flash2_backward(Q, K, V, O, L, dO)

    def one_by_one() -> None:
        for h in range(heads):
            plain_flash2_backward(*(x[0, h] for x in (Q, K, V, O, L, dO)))

    report(heads, N, "backward", runs, counted, plain, one_by_one)


Work = Callable[[], object]


def report(heads: int, N: int, kind: str, runs: int, counted: Work, plain: Work, one_by_one: Work) -> None:
    def first() -> None:
        forget()
        counted()

    ours, base, cold, single, control = interleaved(runs, counted, plain, first, one_by_one, plain)
    ratios = "".join(f"{x:9.2f}" for x in (ours / base, cold / base, ours / single, control / base))
    print(f"{heads:5} {N:6} {kind:>9} {ours * 1e3:11.1f} {base * 1e3:10.1f}{ratios}", flush=True)


def memory(N: int) -> None:
    """The peak memory of a process that runs flash2 at N, one head; in a child, so that nothing else counts."""
    script = (
        "import numpy as np, resource, simattn as sa\n"
        f"Q, K, V = (np.random.default_rng(s).standard_normal(({N}, 64), dtype=np.float32) for s in range(3))\n"
        "sa.machine('a100-40gb').run(sa.flash2, Q, K, V)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    start = time.perf_counter()
    kib = int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
    print(f"memory: flash2, N = {N:,}, one head: {kib / 1024:.0f} MB at most, in {time.perf_counter() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=21, help="rounds at N = 1024; a third as many at 4096")
    parser.add_argument("--quick", action="store_true", help="without N = 4096 and the memory test")
    options = parser.parse_args()
    print("heads      N              machine ms   plain ms    ratio    first  by head  control")
    with threadpool_limits(1):  # as the machine has it
        for heads in (1, 8, 16):
            for N in (1024,) if options.quick else (1024, 4096):
                for causal in (False, True):
                    measure(heads, N, causal, options.runs if N < 4096 else max(3, options.runs // 3))
        for heads in (1, 8):
            for N in (1024,) if options.quick else (1024, 2048):
                measure_backward(heads, N, options.runs if N < 2048 else max(3, options.runs // 3))
    if not options.quick:
        memory(65_536)


if __name__ == "__main__":
    main()
