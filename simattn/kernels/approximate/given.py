"""Checks of an approximation's arguments: each error names the value and the nearest valid one."""

from collections.abc import Collection, Mapping
from typing import Any

from ...hierarchy.checks import kind, whole
from ...hierarchy.grid import blocks
from ...hierarchy.hbm import HbmArray
from ...score_options import OPTIONS, ScoreOptions


def whole_blocks(block: Any, N: int) -> list[slice]:
    """The blocks of N tokens, which `block` must divide."""
    whole("block", block, 1, N, f"there are {N} tokens")
    if N % block:
        nearest = min((n for n in range(1, N + 1) if N % n == 0), key=lambda n: abs(n - block))
        raise ValueError(f"block={block}: {N} tokens do not divide into blocks of this size; the nearest valid value is {nearest}")
    return blocks(N, int(block))


def one_sequence(name: str, Q: HbmArray, K: HbmArray) -> None:
    """An error where queries and keys are not of the same tokens."""
    if Q.shape[0] != K.shape[0]:
        raise ValueError(
            f"Q {Q.shape}, K {K.shape}: {name} is attention within one sequence; the nearest valid number of queries is "
            f"{K.shape[0]}"
        )


def only(name: str, options: Mapping[str, Any], allowed: Collection[str], why: str) -> None:
    """An error for an option of the scores that an approximation cannot have."""
    for option, value in ScoreOptions(**{x: options[x] for x in options.keys() & OPTIONS}).given().items():
        if option not in (*allowed, "seed"):
            raise ValueError(f"{option}={value!r}: {name} does not support it, because {why}; it takes {' and '.join(allowed)}")


def weights(name: str, x: Any, like: HbmArray, columns: int, why: str) -> None:
    """An error for a matrix of weights that is not of the type of `like`, or has another number of columns."""
    if not isinstance(x, HbmArray):
        raise TypeError(f"{name} is {kind(x)}: give a NumPy array")
    if len(x.shape) != 2 or x.shape[1] != columns:
        raise ValueError(f"{name} has shape {x.shape}: {why}; the nearest valid shape is {(x.shape[0], columns)}")
    if x.dtype != like.dtype:
        raise TypeError(
            f"{name} has type {x.dtype.name}, {like.name} {like.dtype.name}: both factors of a product need one type; "
            f"{name}.astype(...)"
        )
