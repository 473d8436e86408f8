"""The options of one attention, checked: for a run, for the truth, and for a strip of rows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np

from ..hierarchy.checks import array, kind, native, shown
from ..hierarchy.dtypes import STORAGE, Array
from ..hierarchy.errors import unknown
from ..hierarchy.given import each
from ..kernels import DECODING, algorithms
from ..kernels.synonyms import SYNONYMS
from ..score_options import ASKED, ScoreOptions


class Options(ScoreOptions):
    """What `sa.attention` may be asked for beside Q, K and V. Made by `Options.of`: bias, alibi and mask are arrays, kv_lens a
    tuple."""

    @classmethod
    def of(cls, Q: Array, K: Array, *, rng: Any = None, **asked: Any) -> Self:
        """Check options for Q (batch, heads, n_q, d) and K; TypeError or ValueError names the one that does not fit.

        A default is a default however it is written: dropout=0, window=(None, None), every key in kv_lens, scale=1/√d.
        kv_lens: a length for each batch element, or one for all. alibi: a slope for each head. rng: as NumPy's default_rng takes
        it (SPEC 7); one seed is drawn from it, so the same whole number drops the same weights again, as a backward pass must.
        """
        for name in asked:
            if name not in ASKED:
                raise TypeError(unknown("option", name, ASKED, SYNONYMS))
        (batch, heads, n_q, d), n_k = Q.shape, K.shape[2]
        fits: dict[str, Callable[[Any], Any]] = {
            "bias": lambda x: _scores("bias", x, Q, (batch, heads, n_q, n_k)),
            "alibi": lambda x: _slopes(x, heads, Q),
            "mask": lambda x: _scores("mask", x, Q, (batch, heads, n_q, n_k)),
            "kv_lens": lambda x: _lengths(x, batch, n_k),
        }
        asked |= {name: fit(asked[name]) for name, fit in fits.items() if asked.get(name) is not None}
        options, drawn = cls(**asked), _generator(rng)
        return replace(
            options,
            scale=None if options.scale == d**-0.5 else options.scale,
            kv_lens=None if options.kv_lens == (n_k,) * batch else options.kv_lens,
            seed=int(drawn.integers(1 << 63)) if options.dropout else 0,
        )

    def for_run(self, algorithm: Callable[..., Any] | None = None, heads: int = 1, n_q: int = 1) -> dict[str, Any]:
        """The options that are not at their defaults, for `machine.run`. An algorithm that packs groups takes a bias or mask of all
        rows."""
        given = self.given()
        if algorithm in [algorithms[name] for name in DECODING] and not self.causal:
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
    """The boolean mask (n_q, n_k), or one for each head, that a mask of blocks stands for; TypeError or ValueError if it does not
    fit."""
    if Br is None or Bc is None:
        raise ValueError("a block_mask is for blocks of one size: give Br and Bc")
    kinds, blocks = _numbers("block_mask", block_mask), (-(-shape[0] // Br), -(-shape[1] // Bc))
    if kinds.shape != blocks:
        raise ValueError(
            f"block_mask has shape {kinds.shape}: blocks of {Br} × {Bc} make {blocks} of {shape[0]} queries and {shape[1]} keys"
        )
    remedy = "0 skips a block, 1 takes it whole, 2 takes it under `mask`"
    if kinds.dtype.kind not in "iu":
        raise TypeError(f"block_mask has type {kinds.dtype}: give whole numbers; {remedy}")
    found = sorted(set(kinds.ravel().tolist()))
    if not set(found) <= {0, 1, 2} or (mask is None and 2 in found):
        raise ValueError(f"block_mask holds {found}: {remedy}" + ", which was not given" * (mask is None and 2 in found))
    every = np.repeat(np.repeat(kinds, Br, axis=0), Bc, axis=1)[: shape[0], : shape[1]]
    return np.asarray((every == 1) | ((every == 2) & (True if mask is None else mask)))


def _generator(rng: Any) -> np.random.Generator:
    remedy = "give a whole number from 0 on, a NumPy Generator, or None for another draw each time"
    if isinstance(rng, bool | float | str):
        raise TypeError(f"rng={shown(rng)}: {remedy}, not {kind(rng)}")
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng={shown(rng)}: {remedy}") from None


def _scores(name: str, given: Any, Q: Array, shape: tuple[int, int, int, int]) -> Array:
    """A bias or mask that fits scores of that shape."""
    if isinstance(given, np.ndarray) and name == "mask" and given.dtype != bool:
        raise TypeError(f"mask has type {given.dtype}: give a boolean mask, True where a key is seen; pass added scores as bias")
    x = array(name, given, shape=f"{shape[2:]} or {shape}", boolean=name == "mask")
    if name == "bias" and x.dtype not in ({Q.dtype, STORAGE["float32"]} if Q.dtype.itemsize < 4 else {Q.dtype}):
        raise TypeError(f"bias has type {x.dtype}: give it the type of Q, {Q.dtype}, with .astype(...), or float32 to a narrower Q")
    wide = x.shape if x.ndim == 4 else (1, 1, *x.shape)
    if len(wide) != 4 or wide[3] != shape[3] or any(n not in (1, m) for n, m in zip(wide, shape, strict=True)):
        raise ValueError(f"{name} has shape {x.shape}: give {shape} or {shape[2:]}; all but the last length may be 1")
    if name == "bias" and (wrong := np.isnan(x) | (x == np.inf)).any():
        raise ValueError(f"bias holds {'NaN' if np.isnan(x[wrong].flat[0]) else '+∞'}: give finite values, or −∞ to hide a key")
    return x


def _lengths(kv_lens: Any, batch: int, n_k: int) -> tuple[int, ...]:
    lengths = _numbers("kv_lens", kv_lens)
    if lengths.dtype.kind not in "iu" or lengths.shape not in ((), (1,), (batch,)):
        raise ValueError(f"kv_lens={shown(kv_lens)}: give a whole number of keys for each of {batch} batch elements")
    wrong = lengths[(lengths < 0) | (lengths > n_k)]
    if wrong.size:
        raise ValueError(f"kv_lens: {int(wrong.flat[0])} is not from 0 to the {n_k} keys that K has room for")
    return tuple(int(n) for n in np.broadcast_to(lengths, (batch,)))


def _slopes(alibi: Any, heads: int, Q: Array) -> Array:
    slopes = _numbers("alibi", alibi)
    if slopes.dtype.kind not in "iu" and native(slopes.dtype) not in STORAGE.values():
        raise TypeError(f"alibi={shown(alibi)}: give the slope of each head, {heads} in all, not {kind(alibi)}")
    if slopes.size not in (1, heads) or not np.isfinite(slopes).all():
        raise ValueError(f"alibi has shape {slopes.shape}: give the finite slope of each head, {heads} in all")
    return slopes.astype(np.float64 if Q.dtype == np.float64 else np.float32).reshape(1, -1, 1, 1)


def _numbers(name: str, given: Any) -> Array:
    """A number, or a list of them, as an array."""
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: give {name}.filled(...)")
    try:
        return np.asarray(given)
    except ValueError:  # lists of different lengths
        raise ValueError(f"{name}={shown(given)}: give a number, or a list of numbers") from None
