"""The shape of one attention, as tables and JSON say it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    """The shape of one attention."""

    batch: int
    heads: int
    kv_heads: int
    n_q: int
    n_k: int
    d: int
    dtype: str
    causal: bool
    backward: bool = False

    @classmethod
    def of(cls, Q: Any, K: Any, causal: bool, backward: bool = False) -> "Workload":
        return cls(Q.shape[0], Q.shape[1], K.shape[1], Q.shape[2], K.shape[2], Q.shape[3], Q.dtype.name, causal, backward)

    def __str__(self) -> str:
        heads = _many(self.heads, "head") + (f" on {_many(self.kv_heads, 'KV head')}" if self.kv_heads != self.heads else "")
        tokens = f"N = {self.n_q:,}" if self.n_q == self.n_k else f"{_many(self.n_q, 'query')} on {_many(self.n_k, 'key')}"
        more = ", causal" * self.causal + ", backward" * self.backward
        return f"batch {self.batch}, {heads}, {tokens}, d = {self.d}, {self.dtype}{more}"


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun.removesuffix('y')}ies" if noun == "query" else f"{n:,} {noun}s"
