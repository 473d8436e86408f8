"""The inputs of a comparison: the shape of a workload, checked arrays and drawn arrays."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.checks import array, flag, whole
from ..hierarchy.dtypes import Array, storage_type
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..kernels.synonyms import SYNONYMS
from ..reference.problem import Problem
from ..score_options import ASKED


def parameters(algorithm: Callable[..., Any]) -> set[str]:
    """The keywords that an algorithm names."""
    return {p.name for p in inspect.signature(algorithm).parameters.values() if p.kind is p.KEYWORD_ONLY} - {"group"}


def check_names(names: Collection[str], own: Collection[str], known: Mapping[str, Callable[..., Any]]) -> None:
    """TypeError for an option that neither belongs to the scores nor to any of these algorithms. known: all that could be asked
    for."""
    for option in own:
        if any(option in parameters(known[name]) for name in names):
            continue
        takers = [name for name, f in known.items() if option in parameters(f)]
        if takers and option not in SYNONYMS:
            raise TypeError(f"no option of {', '.join(names)}: {option}; it is one of {', '.join(takers)}")
        everything = dict.fromkeys(
            [*ASKED, *sorted(set().union(*(parameters(known[name]) for name in names))), "algorithm", "machine"]
        )
        raise TypeError(unknown("option", option, everything, SYNONYMS))


def check_values(own: Mapping[str, Any], n_k: int) -> None:
    """TypeError or ValueError for a value that is wrong for any algorithm on n_k keys; one that only some refuse is theirs to
    refuse."""
    there, bounds = f"there are {n_k} keys", {"splits": (1, n_k), "steps": (0, n_k), "tokens": (1, n_k), "capacity": (n_k, None)}
    bounds |= {"block": (1, n_k), "global_tokens": (0, n_k), "global_blocks": (0, n_k), "random_blocks": (0, n_k)}
    for name, value in own.items():
        if name in bounds and not (value is None and name in ("splits", "steps", "capacity")):
            whole(name, value, *bounds[name], there)
        elif name in ("Br", "Bc", "one_sided", "window_blocks"):
            whole(name, value, 1)
        elif name == "seed":
            whole(name, value, 0)
        elif name == "return_P":
            flag(name, value)


def checked_machine(machine: Any) -> Machine:
    """A Machine, or that of the catalogue by its name."""
    return machine if isinstance(machine, Machine) else catalogue_machine(machine)


def checked_qkv(Q: Any, K: Any, V: Any) -> tuple[Array, Array, Array]:
    """Q, K, V as (batch, heads, N, d) arrays of one storage type; an error that names what does not fit."""
    given = {name: array(name, x, shape="(N, d) or (batch, heads, N, d)") for name, x in {"Q": Q, "K": K, "V": V}.items()}
    Q, K, V = given.values()
    for name, x in given.items():
        if 0 in x.shape:
            raise ValueError(f"{name} has shape {x.shape}: no length may be 0")
    shapes = ", ".join(f"{name} {x.shape}" for name, x in given.items())
    if {Q.ndim, K.ndim, V.ndim} not in ({2}, {4}):
        raise ValueError(f"{shapes}: give all as (N, d), or all as (batch, heads, N, d)")
    if len({x.dtype for x in given.values()}) > 1:
        raise TypeError(f"types {', '.join(f'{name} {x.dtype}' for name, x in given.items())}: they must be equal")
    q, k, v = (x if x.ndim == 4 else x[None, None] for x in given.values())
    if (
        q.shape[3] != k.shape[3]
        or k.shape[2] != v.shape[2]
        or k.shape[1] != v.shape[1]
        or not q.shape[0] == k.shape[0] == v.shape[0]
    ):
        raise ValueError(f"{shapes}: Q and K share d; K and V share keys and heads; all share the batch")
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"{shapes}: {q.shape[1]} heads cannot share {k.shape[1]} KV heads evenly")
    for name, x in given.items():
        wrong = ~np.isfinite(x)
        if wrong.any():
            first = tuple(map(int, np.argwhere(wrong)[0]))
            raise ValueError(f"{name} holds {int(wrong.sum())} values that are not finite, the first, {x[first]}, at {list(first)}")
    return q, k, v


def draw(workload: Problem, seed: int = 0) -> tuple[Array, Array, Array]:
    """Q, K, V of a workload's shapes, N(0, 1) in float32, rounded to its type."""
    rng = np.random.default_rng(seed)
    kind = storage_type(workload.dtype)
    shapes = [
        (workload.batch, heads, n, workload.d)
        for heads, n in ((workload.heads, workload.n_q), (workload.kv_heads, workload.n_k), (workload.kv_heads, workload.n_k))
    ]
    q, k, v = (rng.standard_normal(shape, np.float32).astype(kind) for shape in shapes)
    return q, k, v
