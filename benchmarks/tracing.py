"""What tracing costs: a run that is traced against the same run that is not, as a ratio within one run of this file.

    OPENBLAS_NUM_THREADS=1 python benchmarks/tracing.py

flash2, causal, d = 64, float32, one worker; interleaved, medians. "to a file": every step goes to the temporary file at once, which a run
does only beyond 200,000 steps. "control" is the untraced run against itself. Nothing is traced unless asked for, so off costs nothing.
"""

import statistics
import time
from functools import partial

import numpy as np

import simattn as sa
from simattn.hierarchy.interpret import tracer

RUNS = 7


def main() -> None:
    print(f"{'heads':>5} {'N':>6} {'block':>6} {'steps':>8} {'control':>8} {'traced':>8} {'to a file':>10}")
    for heads, N, block in ((1, 1024, 128), (8, 1024, 128), (8, 2048, 64), (1, 2048, 32)):
        rng = np.random.default_rng(0)
        Q, K, V = (rng.standard_normal((1, heads, N, 64), dtype=np.float32) for _ in range(3))
        run = partial(sa.machine("a100-40gb").run, sa.flash2, Q, K, V, Br=block, Bc=block, causal=True, workers=1)
        taken: dict[str, list[float]] = {"off": [], "control": [], "traced": [], "file": []}
        for _ in range(RUNS + 1):
            for way, seconds in taken.items():
                kept, tracer.IN_MEMORY = tracer.IN_MEMORY, 0 if way == "file" else tracer.IN_MEMORY
                start = time.perf_counter()
                found = run(trace=way in ("traced", "file"))
                seconds.append(time.perf_counter() - start)
                tracer.IN_MEMORY = kept
        off, *others = (statistics.median(seconds[1:]) for seconds in taken.values())
        control, traced, file = (seconds / off for seconds in others)
        print(f"{heads:>5} {N:>6} {block:>6} {len(found.trace or ()):>8,} {control:>8.2f} {traced:>8.2f} {file:>10.2f}")


if __name__ == "__main__":
    main()
