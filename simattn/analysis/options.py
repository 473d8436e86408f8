"""The options of one attention, checked: for a run, for the truth, and for a strip of rows."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..hierarchy.errors import unknown
from ..hierarchy.given import each
from ..kernels import DECODING
from ..kernels.scores import checked_window

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `sa.attention` may be asked for beside Q, K and V. Made by `Options.of`."""

    scale: float | None = None
    softcap: float | None = None
    bias: Array | None = None
    alibi: Array | None = None
    mask: Array | None = None
    causal: bool = False
    window: tuple[int | None, int | None] | None = None
    offset: int | None = None
    kv_lens: tuple[int, ...] | None = None
    dropout: float = 0.0
    seed: int = 0

    @classmethod
    def of(cls, Q: Array, K: Array, *, kv_lens: Any = None, alibi: Any = None, rng: Any = None, **others: Any) -> Self:
        """Check options for Q (batch, heads, n_q, d) and K; TypeError or ValueError names the one that does not fit.

        kv_lens: a length for each batch element, or one for all. alibi: a slope for each head. rng: as NumPy's default_rng takes
        it (SPEC 7); one seed is drawn from it, so the same whole number drops the same weights again, as a backward pass must.
        """
        known = [f.name for f in fields(cls)]
        for name in others:
            if name not in known or name == "seed":
                raise TypeError(unknown("option", name, [*known, "rng"]))
        (batch, heads, n_q, _), n_k = Q.shape, K.shape[2]
        for name, x in (("bias", others.get("bias")), ("mask", others.get("mask"))):
            if x is not None:
                _check_scores(name, x, Q, (batch, heads, n_q, n_k))
        dropout = others.get("dropout", 0.0)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: a probability from 0 to below 1")
        if dropout:
            others["seed"] = int(np.random.default_rng(rng).integers(1 << 63))
        checked_window(others.get("window"))
        offset = others.get("offset")
        if offset is not None and not isinstance(offset, int | np.integer):
            raise TypeError(f"offset={offset!r}: a whole number of keys")
        return cls(
            kv_lens=None if kv_lens is None else _lengths(kv_lens, batch, n_k),
            alibi=None if alibi is None else _slopes(alibi, heads, Q),
            **others,
        )

    def given(self) -> dict[str, Any]:
        """The options that are not at their defaults, for the truth."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not f.default}

    def for_run(self, algorithm: Callable[..., Any] | None = None, heads: int = 1, n_q: int = 1) -> dict[str, Any]:
        """The options that are not at their defaults, for `gpu.run`. An algorithm that packs groups takes a bias or mask of all rows."""
        given = self.given()
        if algorithm in DECODING and not self.causal:
            raise ValueError(
                f"{getattr(algorithm, '__name__', '')} decodes, and a token sees only those before it: give causal=True"
            )
        if self.kv_lens is not None:
            given["kv_lens"] = each(self.kv_lens, axis="batch")
        for name in ("bias", "mask", "alibi") if getattr(algorithm, "packs_groups", False) else ():
            x = given.get(name)
            x = x[None, None] if x is not None and x.ndim == 2 else x
            if x is not None and x.shape[1:3] != (1, 1):
                given[name] = np.broadcast_to(x, (x.shape[0], heads, n_q, x.shape[3]))
        return given

    def strip(self, b: int, start: int, stop: int, n_q: int, n_k: int) -> Self:
        """For the queries start to stop of batch element b, alone."""
        length = n_k if self.kv_lens is None else self.kv_lens[b]
        offset = length - n_q if self.offset is None else self.offset

        def part(x: Array | None) -> Array | None:
            if x is None:
                return None
            x = x if x.ndim == 4 else x[None, None]
            x = x[b : b + 1] if x.shape[0] > 1 else x
            return x[:, :, start:stop] if x.shape[2] > 1 else x

        lengths = None if self.kv_lens is None else (length,)
        return replace(self, bias=part(self.bias), mask=part(self.mask), offset=offset + start, kv_lens=lengths)


def elementwise(block_mask: Any, mask: Array | None, Br: Any, Bc: Any, shape: tuple[int, int]) -> Array:
    """The boolean mask (n_q, n_k), or one for each head, that a mask of blocks stands for; ValueError where the shapes do not fit."""
    if Br is None or Bc is None:
        raise ValueError("a block_mask is for blocks of one size: give Br and Bc")
    kinds = np.asarray(block_mask)
    blocks = (-(-shape[0] // Br), -(-shape[1] // Bc))
    if kinds.shape != blocks:
        raise ValueError(
            f"block_mask has shape {kinds.shape}: blocks of {Br} × {Bc} make {blocks} of {shape[0]} queries and {shape[1]} keys"
        )
    whole = np.repeat(np.repeat(kinds, Br, axis=0), Bc, axis=1)[: shape[0], : shape[1]]
    return np.asarray((whole == 1) | ((whole == 2) & (True if mask is None else mask)))


def _check_scores(name: str, x: Any, Q: Array, shape: tuple[int, int, int, int]) -> None:
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name} is a {type(x).__name__}: give a NumPy array")
    if name == "mask" and x.dtype != bool:
        raise TypeError(f"mask has type {x.dtype}: it is boolean, True where a key is seen; added scores are a bias")
    if name == "bias" and x.dtype not in ({Q.dtype, np.dtype(np.float32)} if Q.dtype.itemsize < 4 else {Q.dtype}):
        raise TypeError(f"bias has type {x.dtype}: give it the type of Q, {Q.dtype}, with .astype(...), or float32 to a narrower Q")
    wide = x.shape if x.ndim == 4 else (1, 1, *x.shape)
    if len(wide) != 4 or wide[3] != shape[3] or any(n not in (1, m) for n, m in zip(wide, shape, strict=True)):
        raise ValueError(f"{name} has shape {x.shape}: give {shape} or {shape[2:]}; all but the last length may be 1")
    if name == "bias" and (wrong := np.isnan(x) | (x == np.inf)).any():
        raise ValueError(f"bias holds {'NaN' if np.isnan(x[wrong].flat[0]) else '+∞'}: it is finite, or −∞, which hides a key")


def _lengths(kv_lens: Any, batch: int, n_k: int) -> tuple[int, ...]:
    lengths = np.asarray(kv_lens)
    if lengths.dtype.kind not in "iu" or lengths.shape not in ((), (1,), (batch,)):
        raise ValueError(f"kv_lens={kv_lens!r}: give a whole number of keys for each of {batch} batch elements")
    wrong = lengths[(lengths < 0) | (lengths > n_k)]
    if wrong.size:
        raise ValueError(f"kv_lens: {int(wrong.flat[0])} is not from 0 to the {n_k} keys that K has room for")
    return tuple(int(n) for n in np.broadcast_to(lengths, (batch,)))


def _slopes(alibi: Any, heads: int, Q: Array) -> Array:
    slopes = np.asarray(alibi, np.float64 if Q.dtype == np.float64 else np.float32)
    if slopes.size not in (1, heads) or not np.isfinite(slopes).all():
        raise ValueError(f"alibi has shape {slopes.shape}: give a finite slope for each of {heads} heads")
    return slopes.reshape(1, -1, 1, 1)
