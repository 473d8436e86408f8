"""How right the estimates are that the command line gives before a run: estimated seconds over seconds of the processor, by stage.

    python benchmarks/estimate.py

Within a factor of two or so they are good enough to refuse a run of hours and to say when one takes minutes. The rates are those of
simattn/workbench/work.py.
"""

import time
from functools import partial

import simattn as sa
from simattn.reference.problem import Problem
from simattn.workbench.inputs import draw
from simattn.workbench.work import estimate

FORWARD, BACKWARD = ("naive", "online_softmax", "flash1", "flash2", "split_kv"), ("naive", "flash1", "flash2")
WORKLOADS = [
    Problem(heads=16, n_q=1024, n_k=1024, d=64),
    Problem(n_q=4096, n_k=4096, d=64, causal=True),
    Problem(heads=16, kv_heads=2, n_q=1, n_k=8192, d=128),
    Problem(heads=8, n_q=1024, n_k=1024, d=64, dtype="float32"),
    Problem(heads=4, n_q=1024, n_k=1024, d=64, dtype="float64"),
    Problem(heads=4, n_q=1024, n_k=1024, d=128, dtype="bfloat16"),
    Problem(heads=4, n_q=1024, n_k=1024, d=64, dtype="float8_e4m3fn"),
    Problem(heads=8, n_q=1024, n_k=1024, d=64, backward=True),
]


def _begin(begun: dict[str, float], name: str) -> None:
    begun[name] = time.process_time()


def main() -> None:
    gpu = sa.machine("a100-40gb")
    for w in WORKLOADS:
        Q, K, V = draw(w)
        names = BACKWARD if w.backward else FORWARD
        begun: dict[str, float] = {}
        work = estimate(names, w, gpu, backward=w.backward)
        sa.compare(gpu, names, Q, K, V, causal=w.causal, backward=w.backward, progress=partial(_begin, begun))
        ends = [*list(begun.values())[1:], time.process_time()]
        took = {name: end - begin for (name, begin), end in zip(begun.items(), ends, strict=True)}
        print(
            f"{w}: estimated {work.seconds:.1f} s, took {sum(took.values()):.1f} s, {work.seconds / sum(took.values()):.2f} of it"
        )
        print("   " + ", ".join(f"{name} {work.stages[name]:.2f} / {seconds:.2f}" for name, seconds in took.items()))


if __name__ == "__main__":
    main()
