"""Runs whose counts are wanted: on zeros, for no count depends on a value."""

from typing import Any

import numpy as np

from ...hierarchy.dtypes import Array, storage_type
from ...hierarchy.machine import Machine
from ...hierarchy.run import Run
from ...kernels import algorithms
from ...reference.problem import Problem
from ...workbench.inputs import parameters

GB, MB, MIB = 1e9, 1e6, float(1 << 20)
STORED = ("P", "keep", "P_kept")  # what a forward pass leaves for the backward pass, beside O and lse


def qkv(w: Problem) -> dict[str, Array]:
    """Q, K and V of a workload, zeros."""
    shapes = {"Q": (w.heads, w.n_q), "K": (w.kv_heads, w.n_k), "V": (w.kv_heads, w.n_k)}
    return {name: np.zeros((w.batch, heads, n, w.d), storage_type(w.dtype)) for name, (heads, n) in shapes.items()}


def forward(gpu: Machine, algorithm: str, w: Problem, **options: Any) -> Run:
    """An executed forward pass of an algorithm of `sa.algorithms`."""
    return gpu.run(algorithms[algorithm], *qkv(w).values(), **_causal(w), **options)


def both_passes(gpu: Machine, algorithm: str, w: Problem, **options: Any) -> tuple[Run, Run]:
    """An executed forward pass, and the backward pass on what it left in HBM."""
    keeps = {"return_P": True} if "return_P" in parameters(algorithms[algorithm]) else {}
    there = forward(gpu, algorithm, w, **keeps, **options)
    left: dict[str, Any] = {name: there.outputs[name] for name in STORED if name in there.outputs}
    arrays = (*qkv(w).values(), there.output, there.outputs["lse"], np.zeros_like(there.output))
    return there, gpu.run(algorithms[f"{algorithm}_backward"], *arrays, **left, **_causal(w), **options)


def _causal(w: Problem) -> dict[str, bool]:
    return {"causal": True} if w.causal else {}


def moved(arrays: str, *runs: Run) -> int:
    """Bytes read and written of the named arrays, in all the runs; 0 for one that a run does not have."""
    tensors = [run.tensors[name] for run in runs for name in arrays.split() if name in run.tensors]
    return sum(t.hbm_read + t.hbm_write for t in tensors)


def how(w: Problem, *runs: Run, times: str = "") -> str:
    """How runs of one workload were executed; times: the factor by which counts were multiplied, with what it stands for."""
    blocks = "".join(f", {name} = {size}" for name, size in runs[0].blocks.items())
    return f"{' + '.join(run.algorithm for run in runs)} on {runs[0].machine}{blocks}, {w}{times and f'; × {times}'}"
