"""How right the estimates are that the command line gives before a run: estimated seconds over seconds of the processor, by stage.

    python benchmarks/estimate.py

Within a factor of two or so they are good enough to refuse a run of hours and to say when one takes minutes. The rates are those of
simattn/workbench/work.py.
"""

import time
from functools import partial

import simattn as sa
from simattn.reference.workload import Workload
from simattn.workbench.inputs import draw
from simattn.workbench.options import Options
from simattn.workbench.work import estimate, problem

FORWARD, BACKWARD = ("naive", "online_softmax", "flash1", "flash2", "split_kv"), ("naive", "flash1", "flash2")
WORKLOADS = [
    Workload(1, 16, 16, 1024, 1024, 64, "float16", causal=False),
    Workload(1, 1, 1, 4096, 4096, 64, "float16", causal=True),
    Workload(1, 16, 2, 1, 8192, 128, "float16", causal=False),
    Workload(1, 8, 8, 1024, 1024, 64, "float32", causal=False),
    Workload(1, 4, 4, 1024, 1024, 64, "float64", causal=False),
    Workload(1, 4, 4, 1024, 1024, 128, "bfloat16", causal=False),
    Workload(1, 4, 4, 1024, 1024, 64, "float8_e4m3fn", causal=False),
    Workload(1, 8, 8, 1024, 1024, 64, "float16", causal=False, backward=True),
]


def _begin(begun: dict[str, float], name: str) -> None:
    begun[name] = time.process_time()


def main() -> None:
    gpu = sa.machine("a100-40gb")
    for w in WORKLOADS:
        Q, K, V = draw(w)
        names = BACKWARD if w.backward else FORWARD
        begun: dict[str, float] = {}
        work = estimate(names, problem(Q, K, V, Options.of(Q, K, causal=w.causal)), gpu, backward=w.backward)
        sa.compare(gpu, names, Q, K, V, causal=w.causal, backward=w.backward, progress=partial(_begin, begun))
        ends = [*list(begun.values())[1:], time.process_time()]
        took = {name: end - begin for (name, begin), end in zip(begun.items(), ends, strict=True)}
        print(
            f"{w}: estimated {work.seconds:.1f} s, took {sum(took.values()):.1f} s, {work.seconds / sum(took.values()):.2f} of it"
        )
        print("   " + ", ".join(f"{name} {work.stages[name]:.2f} / {seconds:.2f}" for name, seconds in took.items()))


if __name__ == "__main__":
    main()
