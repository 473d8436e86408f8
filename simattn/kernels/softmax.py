"""The few words that every softmax uses. Rows stay columns of shape (Br, 1), so that diag(a)·O is `a * O`."""

from typing import Any

from ..hierarchy.dtypes import limits
from ..hierarchy.tile import Tile


def rowmax(S: Tile) -> Tile:
    """The maximum of each row, (Br, 1)."""
    return S.max(axis=1, keepdims=True)


def rowsum(P: Tile) -> Tile:
    """The sum of each row, (Br, 1), in the accumulation type."""
    return P.sum(axis=1, keepdims=True)


def lowest(dtype: Any) -> float:
    """The type's finite minimum: a running maximum that starts there stays finite where every key is masked."""
    return -float(limits(dtype).max)
