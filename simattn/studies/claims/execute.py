"""Runs for the claims: counts on zeros at the article's lengths, errors on real tensors, and weights (the outputs for V = I)."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ...hierarchy.catalogue import machine
from ...hierarchy.dtypes import Array
from ...hierarchy.run import Run
from ...kernels import algorithms
from ...reference.problem import Problem
from ...reference.rounding import Rounding
from ...reference.truth import Truth, attention_truth
from ...reference.truth import error as error_against
from ...reference.verdict import TIMES
from ...workbench.cases import Forward
from ...workbench.inputs import parameters
from ...workbench.options import Options
from ...workbench.tensors import tensors
from ..reproduce.execute import forward, how
from .claim import Quantity
from .published import LENGTHS

GPU = machine("a100-40gb")
BLOCKS = {"Br": 128, "Bc": 128}
SMALL = {"Br": 32, "Bc": 32}
HEADS, D = 4, 64
STEP = Problem(heads=2, n_q=1, n_k=8192, d=D)  # a decoding step: one query on the cached keys and values


def head(N: int = LENGTHS[-1], *, d: int = D, causal: bool = False, n_q: int | None = None) -> Problem:
    """One head in float16."""
    return Problem(n_q=n_q or N, n_k=N, d=d, causal=causal)


def execute(algorithm: str, w: Problem, **options: Any) -> Run:
    """A run of an algorithm of `sa.algorithms` on zeros."""
    return forward(GPU, algorithm, w, **blocked(algorithms[algorithm], BLOCKS), **options)


def blocked(algorithm: Callable[..., Any], blocks: dict[str, int]) -> dict[str, int]:
    """The block sizes that an algorithm takes."""
    return {name: size for name, size in blocks.items() if name in parameters(algorithm)}


def work(*runs: Run) -> int:
    """All arithmetic: FLOPs of products, other FLOPs, and exponentials."""
    return sum(run.matmul_flops + run.vector_flops + run.exps for run in runs)


def hbm(*runs: Run) -> int:
    """Bytes read from HBM and written to it."""
    return sum(run.hbm_read + run.hbm_write for run in runs)


def counted(name: str, value: float, unit: str, w: Problem, *runs: Run, times: str = "") -> Quantity:
    """A count, with the runs that gave it."""
    return Quantity(name, value, unit, "counted", how(w, *runs, times=times))


def computed(name: str, value: float, unit: str, source: str) -> Quantity:
    return Quantity(name, value, unit, "computed", source)


def published(name: str, value: float, unit: str, source: str) -> Quantity:
    return Quantity(name, value, unit, "published", source)


def by_length(what: str, unit: str, algorithm: str, count: Callable[[Run], float], **options: Any) -> Iterator[Quantity]:
    """A count at each of the article's lengths, and how it grows with N. An option that is a function is called with N."""
    found = {}
    for N in LENGTHS:
        w = head(N)
        run = execute(algorithm, w, **{name: value(N) if callable(value) else value for name, value in options.items()})
        found[N] = count(run)
        yield counted(f"{what}, {algorithm}, N = {N:,}", found[N], unit, w, run)
    yield grown(f"{what}, {algorithm}", found)


def grown(what: str, found: Mapping[int, float], of: str = "N") -> Quantity:
    """The power by which something grows."""
    return computed(f"growth of {what}", growth(found), f"power of {of}", f"log₂ of the last over the first, by doubling of {of}")


def growth(found: Mapping[int, float]) -> float:
    """The power of N by which a quantity grows, from its first to its last value: 1 is linear, 2 quadratic."""
    (first, *_, last), (a, *_, b) = found, found.values()
    return 0.0 if a == b else math.log2(b / a) / math.log2(last / first)


@dataclass(frozen=True)
class Real:
    """Some heads of the real tensors that come with the package, the result of attention on them, and the largest error that counts
    as exact."""

    Q: Array
    K: Array
    V: Array
    truth: Truth
    allowed: float


@cache
def real() -> Real:
    Q, K, V = (x[:, :HEADS] for x in tensors())
    case = Forward(Q, K, V, Options.of(Q, K))
    truth, moments = case.bounded()
    return Real(Q, K, V, truth, TIMES * float(moments.output(truth.O, Rounding()).likely.max()))


def on_real(run: Run, options: Mapping[str, Any] | None = None) -> str:
    """How a run on the real tensors was executed, with its options by name."""
    text = how(Problem.of(real().Q, real().K, real().V), run)
    return text.replace("batch 1", "the real tensors") + named(options or {})


def named(options: Mapping[str, Any]) -> str:
    """The options that are integers or tuples, as text."""
    return "".join(f", {name} = {value}" for name, value in options.items() if isinstance(value, int | tuple))


def tolerance() -> Quantity:
    """The largest error that an exact algorithm may have on the real tensors."""
    source = "the largest bound of any element on the real tensors: what rounding the weights and the output to float16 explains"
    return Quantity("largest error that counts as exact", real().allowed, "", "measured", source)


def error(algorithm: str, name: str = "", **options: Any) -> Quantity:
    """The largest error of an algorithm on the real tensors, against attention in float64 (causal attention with causal=True)."""
    return error_of(algorithms[algorithm], name or f"error of {algorithm}", **options)


def error_of(algorithm: Callable[..., Any], name: str, **options: Any) -> Quantity:
    """The same for any function of Q, K and V."""
    r = real()
    run = GPU.run(algorithm, r.Q, r.K, r.V, **blocked(algorithm, BLOCKS), **options)
    truth = attention_truth(r.Q, r.K, r.V, causal=True) if options.get("causal") else r.truth
    return Quantity(name, error_against(run.output, None, truth).max_abs, "", "measured", on_real(run, options))


def weights(algorithm: str, N: int, **options: Any) -> tuple[Array, str]:
    """The N × N weights that an algorithm gives to the values, and how they were found: with the identity matrix for V, the output
    is the weights."""
    rng = np.random.default_rng(0)
    Q, K = (rng.standard_normal((N, 16), np.float32) for _ in "QK")
    f = algorithms[algorithm]
    run = GPU.run(f, Q, K, np.eye(N, dtype=np.float32), **blocked(f, SMALL), **options)
    text = how(replace(head(N, d=16), dtype="float32"), run) + named(options)
    return run.output, f"{text}, random Q and K, V = I"
