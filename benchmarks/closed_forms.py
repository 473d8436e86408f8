"""How long the closed forms take: milliseconds for each, the best of five, at a million tokens unless told otherwise.

Run `python benchmarks/closed_forms.py [tokens]`. One head, causal, float16, d = 64, blocks of 128 on an A100; the steps of decoding are
the last 1,024 tokens. Two forms are not here: that of `paged` is `split_kv`'s, and that of `block_sparse` is as long as its mask.
"""

import argparse
import time
from typing import Any

import simattn as sa

STEPS = 1024
FORMS: dict[str, dict[str, Any]] = {
    "unfused_chain": {}, "naive": {}, "online_softmax": {}, "flash1": {}, "flash2": {}, "split_kv": {"splits": 8}, "mla": {},
    "recompute_decode": {"steps": STEPS}, "incremental": {"steps": STEPS}, "unfused_chain_backward": {}, "naive_backward": {},
    "flash1_backward": {}, "flash2_backward": {},
}  # fmt: skip


def milliseconds(algorithm: str, problem: sa.Problem, **options: Any) -> float:
    """The best of five."""
    sram, times = sa.machine("a100-40gb").sram, []
    for _ in range(5):
        begin = time.perf_counter()
        sa.closed_form(algorithm, problem, Br=128, Bc=128, sram=sram, **options)
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokens", type=int, nargs="?", default=1 << 20)
    n = parser.parse_args().tokens
    problem = sa.Problem(n_q=n, n_k=n, d=64, causal=True)
    print(f"closed forms of {n:,} tokens, milliseconds, best of 5")
    for algorithm, options in FORMS.items():
        print(f"  {algorithm:24}{milliseconds(algorithm, problem, **options):8.2f}")


if __name__ == "__main__":
    main()
