"""Attention algorithms: one idea, one file."""

from collections.abc import Callable
from typing import Any

from .flash2 import flash2
from .naive import naive
from .online_softmax import online_softmax
from .split_kv import split_kv

__all__ = ["algorithms", "flash2", "naive", "online_softmax", "split_kv"]

algorithms: dict[str, Callable[..., Any]] = {f.__name__: f for f in (naive, online_softmax, flash2, split_kv)}
"""Name -> function, from the one that moves most bytes on."""
