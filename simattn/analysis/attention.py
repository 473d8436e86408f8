"""One call on arrays."""

from typing import Any

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import algorithms
from .inputs import Array, checked_qkv


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    algorithm: str = "flash2",
    machine: Machine | str | None = None,
    causal: bool = False,
    scale: float | None = None,
    offset: int | None = None,
    **blocks: Any,
) -> Run:
    """softmax(QKᵀ·scale)V of NumPy arrays, by an algorithm of `sa.algorithms` on a machine: `sa.attention(q, k, v).output`.

    q (N, d) or (batch, heads, N, d); k and v may have fewer heads, and v another width. machine: a Machine or a catalogue name,
    "a100-40gb" unless given. causal, offset: query i sees keys up to i + offset, n_k − n_q unless given. blocks: Br, Bc, splits.
    """
    if algorithm not in algorithms:
        raise ValueError(unknown("algorithm", algorithm, algorithms))
    checked_qkv(q, k, v)
    gpu = machine if isinstance(machine, Machine) else catalogue_machine(machine or "a100-40gb")
    return gpu.run(algorithms[algorithm], q, k, v, causal=causal, scale=scale, offset=offset, **blocks)
