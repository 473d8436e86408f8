"""Error against traffic: the exact algorithm and every approximation, each at a ladder of parameters, on the same inputs."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.dtypes import Array
from ..hierarchy.machine import Machine
from ..kernels import algorithms
from ..kernels.approximate.features import orthogonal_features
from ..reference.problem import Problem
from ..reference.truth import attention_truth, error
from ..text.exported import Exported
from ..text.progress import Progress
from ..text.shown import Shown
from .inputs import checked_qkv, parameters


@dataclass(frozen=True)
class Point:
    """One algorithm with one choice of parameters. rmse is relative to the RMS of the exact O: 1 is what zeros would err by."""

    algorithm: str
    parameters: dict[str, int]
    hbm_bytes: int
    matmul_flops: int
    rmse: float
    max_error: float
    on_front: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The point as plain data; an error that is not finite is None."""
        return {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in asdict(self).items()}


@dataclass(frozen=True, repr=False)
class Pareto(Shown, Exported):
    """Points on the same inputs, and what did not fit on the machine. Prints as a table; `to_dicts()` is the points as plain data."""

    _table = "simattn.workbench.table:pareto_table"

    machine: Machine
    workload: Problem
    points: tuple[Point, ...]
    failures: tuple[str, ...] = ()
    title: str = ""

    @property
    def front(self) -> list[Point]:
        """The points that none beats, from the one that moves least on."""
        return sorted((p for p in self.points if p.on_front), key=lambda p: p.hbm_bytes)

    def _records(self) -> list[dict[str, Any]]:
        return [point.to_dict() for point in self.points]


def pareto(
    machine: Machine | str, Q: Array, K: Array, V: Array, *, block: int = 64, seed: int = 0, title: str = "",
    progress: Progress = lambda _: None,
) -> Pareto:  # fmt: skip
    """Run flash2 and every approximation on the same Q, K, V of one sequence, and mark those that no other beats.

    machine: a Machine or a catalogue name. Q, K, V: (N, d) or (batch, heads, N, d), dense attention. block: Br = Bc of all, and BigBird's
    block, so that traffic is compared at equal tiles. seed: of what is drawn, BigBird's pattern and the weights of Linformer,
    Performer and dynamic convolution. Performer's are meant to be drawn; **untrained** projections and kernels are not what a trained
    model would have, and their errors say nothing about one. ValueError where queries and keys are not of one sequence.

    >>> [point.algorithm for point in sa.pareto(machine, Q, K, V, block=32).front][-1]
    'flash2'
    """
    machine = catalogue_machine(machine) if isinstance(machine, str) else machine
    Q, K, V = checked_qkv(Q, K, V)
    if Q.shape[2] != K.shape[2]:
        raise ValueError(
            f"Q {Q.shape}, K {K.shape}: approximations are of attention within one sequence; give as many queries as keys"
        )
    truth = attention_truth(Q, K, V)
    rms = float(np.sqrt(np.mean(np.square(truth.O))))
    points, failures = [], []
    for name, choice, weights in ladder(Q.shape[2], Q.shape[3], Q.dtype, block, seed):
        progress(name)
        algorithm = algorithms[name]
        tiles = {size: block for size in ("Br", "Bc") if size in parameters(algorithm)}
        try:
            run = machine.run(algorithm, Q, K, V, **(weights or choice), **tiles)
        except MemoryError as overflow:
            failures.append(f"{name} {choice}: {overflow}")
            continue
        err = error(run.output, None, truth)
        points.append(Point(name, choice, run.hbm_read + run.hbm_write, run.matmul_flops, err.rmse / rms, err.max_abs))
    return Pareto(machine, Problem.of(Q, K, V), marked(points), tuple(failures), title)


def ladder(N: int, d: int, dtype: Any, block: int, seed: int = 0) -> Iterator[tuple[str, dict[str, int], dict[str, Array]]]:
    """(algorithm, parameters, weights) to try on N tokens: powers of 2, short of those that leave nothing out.

    Weights, where an algorithm has some, stand for its parameters in the call. Blocks must divide N: those that do not are left out.
    """
    rng = np.random.default_rng(seed)
    sizes = [2**x for x in range(4, 31) if 2**x < N]
    yield "flash2", {}, {}
    for name in ("block_diagonal", "local_global"):
        for size in sizes:
            if N % size == 0:
                yield name, {"block": size}, {}
    for one_sided in sizes:
        yield "longformer", {"one_sided": one_sided, "global_tokens": 1}, {}
    T = N // block
    for drawn in (0, 1, 2, 4, 8, 16, 32):
        if N % block == 0 and drawn <= T - 4:  # 1 global, 3 in the window
            yield "bigbird", {"block": block, "global_blocks": 1, "random_blocks": drawn, "seed": seed}, {}
    for k in sizes:
        E = (rng.standard_normal((k, N)) / math.sqrt(k)).astype(dtype)  # Johnson and Lindenstrauss's, as in the paper's proof
        yield "linformer", {"k": k}, {"E": E, "F": E}
    for m in sizes:
        yield "performer", {"m": m}, {"W": orthogonal_features(m, d, rng).astype(dtype)}
    for width in (3, 7, 15, 31):  # the paper's
        yield "dynamic_conv", {"width": width}, {"W": (rng.standard_normal((width, d)) / math.sqrt(d)).astype(dtype)}


def marked(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points, each told whether it is on the front: no other moves no more and errs no more, and is better in one of the two."""
    points = list(points)

    def beaten(p: Point) -> bool:
        return any(
            q.hbm_bytes <= p.hbm_bytes and q.rmse <= p.rmse and (q.hbm_bytes < p.hbm_bytes or q.rmse < p.rmse) for q in points
        )

    return tuple(replace(p, on_front=math.isfinite(p.rmse) and not beaten(p)) for p in points)
