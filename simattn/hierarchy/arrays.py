"""Arrays as they are given to a run: checked, and copied."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from .checks import array
from .dtypes import Array
from .given import ArraySpec

ALIGNMENT = 64


def checked(name: str, given: Array | ArraySpec, values: bool) -> Array | ArraySpec:
    """An array as HBM holds it; TypeError or ValueError for another. values: whether a spec will not do."""
    if isinstance(given, ArraySpec) and values:
        raise TypeError(f"{name} is a spec, which has no values: give an array, or count with machine.count")
    x = given if isinstance(given, ArraySpec) else array(name, given, boolean=True)
    if x.ndim not in (1, 2, 4):
        remedy = {0: f"for one number, give float({name})", 3: f"{name}[None] adds a batch of one"}.get(x.ndim, "or (n,) for a row")
        raise ValueError(f"{name} has shape {x.shape}: give (N, d) or (batch, heads, N, d); {remedy}")
    if 0 in x.shape:
        raise ValueError(f"{name} has shape {x.shape}: no length may be 0")
    return x


def copied(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """Read-only copies, which the caller cannot reach. They lie in one block, for several large ones would go back to the
    operating system after each run, and their pages be faulted in again at the next.
    """
    ends = list(itertools.accumulate(-(-x.nbytes // ALIGNMENT) * ALIGNMENT for x in arrays.values()))
    block = np.empty(ends[-1] if ends else 0, np.uint8)
    copies = {}
    for (name, x), start in zip(arrays.items(), [0, *ends], strict=False):
        copy = block[start : start + x.nbytes].view(x.dtype.type).reshape(x.shape)
        copy[...] = x
        copy.flags.writeable = False
        copies[name] = copy
    return copies


def shapes(arrays: Mapping[str, Any]) -> str:
    """For a message."""
    return ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
