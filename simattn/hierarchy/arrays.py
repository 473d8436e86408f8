"""The arrays that are passed to a run, checked and copied."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from .checks import array
from .dtypes import Array
from .given import ArraySpec

ALIGNMENT = 64


def checked(name: str, given: Array | ArraySpec, values: bool) -> Array | ArraySpec:
    """An array in the form that HBM stores; TypeError or ValueError if it cannot be stored. values: whether a spec is refused."""
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
    """Read-only copies that the caller cannot reach. They share one block of memory: several large blocks would be returned to the
    operating system after each run, and the next run would fault their pages in again."""
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
    """The shapes, as text for a message."""
    return ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
