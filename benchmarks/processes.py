"""What whole processes take: importing simattn against importing NumPy, counting on shapes alone, and executing by several threads.

Run `make bench`. "import" is the least of ten whole processes of each, in turn. "count" is the first call of a fresh process. "threads" is the
speed-up of flash2 by as many threads as there are cores, beside that of the same plain NumPy, whose heads are dealt to as many threads, all in
turn in one run with one BLAS thread each.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from step_by_step import B, plain_flash2
from threadpoolctl import threadpool_limits

import simattn as sa

COUNT = """
import time
import simattn as sa
specs = [sa.spec((1, 16, 16384, 64), "float16")] * 3
start = time.perf_counter()
sa.machine("a100-40gb").count(sa.flash2, *specs, causal=True)
print(time.perf_counter() - start)
"""


def process(*arguments: str) -> tuple[float, float, str]:
    """Seconds, peak megabytes and what it printed, of a fresh Python."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    said = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{arguments} ended with {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, said


def imports(runs: int = 10) -> None:
    numpy, ours = [], []
    for _ in range(runs):
        numpy.append(process("-c", "import numpy")[0])
        ours.append(process("-c", "import simattn")[0])
    print(f"import: {min(ours):.3f} s, numpy {min(numpy):.3f} s, ratio {min(ours) / min(numpy):.2f}")


def count(runs: int = 5) -> None:
    found = [process("-c", COUNT) for _ in range(runs)]
    seconds = min(float(said) for _, _, said in found)
    whole, most = min(s for s, _, _ in found), max(mb for _, mb, _ in found)
    print(f"count: flash2, causal, N = 16,384, 16 heads: {seconds:.2f} s (whole process {whole:.2f} s), {most:.0f} MB at most")


def threads(heads: int = 8, N: int = 4096, runs: int = 5) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((1, heads, N, 64), dtype=np.float32) for _ in range(3))
    machine, workers = sa.machine("a100-40gb"), len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(workers)
    parts = [slice(heads * w // workers, heads * (w + 1) // workers) for w in range(workers)]

    def ours(n: int) -> Callable[[], object]:
        return lambda: machine.run(sa.flash2, Q, K, V, Br=B, Bc=B, workers=n)

    def plain() -> None:
        plain_flash2(Q, K, V, causal=False)

    def dealt() -> None:
        for done in [pool.submit(plain_flash2, Q[:, p], K[:, p], V[:, p], causal=False) for p in parts]:
            done.result()

    taken: list[list[float]] = [[], [], [], []]
    with threadpool_limits(1):
        for _ in range(runs):
            for function, times in zip((ours(1), ours(workers), plain, dealt), taken, strict=True):
                start = time.perf_counter()
                function()
                times.append(time.perf_counter() - start)
    one, several, alone, together = map(statistics.median, taken)
    print(
        f"threads: {workers}, {heads} heads, N = {N:,}: machine {one / several:.2f} × as fast, plain NumPy {alone / together:.2f} ×; "
        f"ratio {one / several / (alone / together):.2f}"
    )


if __name__ == "__main__":
    imports()
    count()
    threads()
