"""The shape, the type and the options of one attention: what closed forms are asked about, and what tables and JSON name."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..hierarchy.checks import flag, optional, shown, sides, whole
from ..hierarchy.dtypes import Array, storage_type
from ..score_options import ScoreOptions

Shape = Literal["pairs", "keys"] | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The shapes, the type and the options of one attention. kv_heads: heads unless given; d_v: d; offset: the number of keys −
    n_q.

    bias, mask: "pairs" for one of shape (n_q, n_k) a head, "keys" for (1, n_k). block_mask: as `block_sparse` takes it. backward:
    whether the pass that is compared is the backward one; a closed form is of the pass that its algorithm is.

    >>> problem = sa.Problem(heads=16, kv_heads=4, n_q=1024, n_k=1024, d=64, causal=True)
    >>> problem.group, problem.lanes, problem.kv_lanes
    (4, 16, 4)
    """

    batch: int = 1
    heads: int = 1
    kv_heads: int = None  # type: ignore[assignment]  # as many as heads unless given
    n_q: int
    n_k: int
    d: int
    d_v: int | None = None
    dtype: str = "float16"
    causal: bool = False
    backward: bool = False
    window: tuple[int | None, int | None] | None = None
    offset: int | None = None
    kv_len: int | None = None
    softcap: bool = False
    bias: Shape = None
    mask: Shape = None
    alibi: bool = False
    dropout: bool = False
    block_mask: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        storage_type(self.dtype)
        checked: dict[str, Any] = {n: whole(n, getattr(self, n), 1) for n in ("batch", "heads", "n_q", "n_k", "d")}
        checked |= {n: optional(whole, n, getattr(self, n), 1) for n in ("kv_heads", "d_v")}
        checked["kv_heads"] = checked["kv_heads"] or checked["heads"]
        checked |= {n: flag(n, getattr(self, n)) for n in ("causal", "backward", "softcap", "alibi", "dropout")}
        checked["offset"] = optional(whole, "offset", self.offset)
        checked["kv_len"] = optional(whole, "kv_len", self.kv_len, 0, checked["n_k"], f"there are {self.n_k} keys")
        checked["window"] = None if self.window is None else sides("window", self.window)
        checked["block_mask"] = None if self.block_mask is None else _kinds(self.block_mask)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # a NumPy number as Python's, which does not overflow
        for name in ("bias", "mask"):
            if getattr(self, name) not in ("pairs", "keys", None):
                raise ValueError(
                    f"{name}={shown(getattr(self, name))}: give 'pairs' for one of shape (n_q, n_k), 'keys' for (1, n_k), or None"
                )
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} KV heads evenly")

    @classmethod
    def of(cls, Q: Array, K: Array, V: Array, options: ScoreOptions | None = None, *, backward: bool = False) -> "Problem":
        """The problem that arrays (batch, heads, N, d) and their options pose.

        >>> q, k, v = sa.tensors()
        >>> sa.Problem.of(q, k, v).heads
        12
        """
        o = options or ScoreOptions()
        shapes: dict[str, Any] = {
            name: "pairs" if x.shape[-2] > 1 else "keys" for name, x in (("bias", o.bias), ("mask", o.mask)) if x is not None
        }
        return cls(
            batch=Q.shape[0], heads=Q.shape[1], kv_heads=K.shape[1], n_q=Q.shape[2], n_k=K.shape[2], d=Q.shape[3], d_v=V.shape[3],
            dtype=Q.dtype.name, causal=o.causal, backward=backward, window=o.window, offset=o.offset, softcap=o.softcap is not None,
            kv_len=None if o.kv_lens is None else max(1, *np.ravel(o.kv_lens).tolist()), alibi=o.alibi is not None, dropout=o.dropout > 0, **shapes,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Shape, type and pass, as JSON's `workload` has them; `Problem(**these)` is a problem without other options.

        >>> sa.Problem(n_q=1, n_k=8192, d=128).to_dict()["n_k"]
        8192
        """
        return {
            name: getattr(self, name) for name in ("batch", "heads", "kv_heads", "n_q", "n_k", "d", "dtype", "causal", "backward")
        }

    def __str__(self) -> str:
        heads = _many(self.heads, "head") + (f" on {_many(self.kv_heads, 'KV head')}" if self.kv_heads != self.heads else "")
        tokens = f"N = {self.n_q:,}" if self.n_q == self.n_k else f"{_many(self.n_q, 'query')} on {_many(self.n_k, 'key')}"
        more = ", causal" * self.causal + ", backward" * self.backward
        return f"batch {self.batch}, {heads}, {tokens}, d = {self.d}, {self.dtype}{more}"

    @property
    def group(self) -> int:
        """Heads that share one KV head."""
        return self.heads // self.kv_heads

    @property
    def lanes(self) -> int:
        """Heads over the whole batch."""
        return self.batch * self.heads

    @property
    def kv_lanes(self) -> int:
        """KV heads over the whole batch."""
        return self.lanes // self.group


def _kinds(block_mask: Any) -> tuple[tuple[int, ...], ...]:
    kinds = np.asarray(block_mask)
    if kinds.ndim != 2 or kinds.dtype.kind not in "iu" or not set(kinds.ravel().tolist()) <= {0, 1, 2}:
        raise ValueError(
            f"block_mask={shown(block_mask)}: give rows of 0, 1 and 2, for blocks to skip, to compute whole, and to compute under the mask"
        )
    return tuple(map(tuple, kinds.tolist()))


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun.removesuffix('y')}ies" if noun == "query" else f"{n:,} {noun}s"
