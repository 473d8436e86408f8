"""The inputs of a check, which its reader does not choose: ragged shapes, several types, heads that share keys, and one long shape."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..hierarchy.checks import shown
from ..hierarchy.dtypes import Array, storage_type
from ..hierarchy.given import spec
from ..kernels import APPROXIMATE, BACKWARD, BASICS, DECODING, algorithms
from ..reference.problem import Problem
from .cases import UNLIMITED, stored_by_forward
from .defaults import defaults
from .inputs import parameters

Function = Callable[..., Any]
BLOCKS = {"Br": 16, "Bc": 16, "Bk": 16}


@dataclass(frozen=True, eq=False)
class Hidden:
    """One input: arrays by name, in the order in which the function takes them; what both sides get by keyword; sizes of blocks."""

    arrays: dict[str, Any]
    given: dict[str, Any] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)

    @property
    def counted(self) -> bool:
        """Whether it is shapes alone."""
        return not isinstance(next(iter(self.arrays.values())), np.ndarray)

    def text(self) -> str:
        """As a sentence names it: 'Q (70, 24), K (53, 24), V (53, 20), float32, Br = 16'."""
        shapes = [f"{name} {tuple(x.shape)}" for name, x in self.arrays.items()]
        sizes = [f"{name} = {size}" for name, size in self.blocks.items()]
        return ", ".join([*shapes, str(next(iter(self.arrays.values())).dtype), *sizes])

    def widened(self) -> "Hidden":
        """In float64, for the truth."""
        return Hidden(_wide(self.arrays), _wide(self.given), self.blocks)

    def options(self, function: Function) -> dict[str, Any]:
        """The keywords that a function takes of these."""
        takes = inspect.signature(function).parameters
        passes = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        own = {name: x for name, x in self.given.items() if name in takes or passes}
        return own | {name: size for name, size in self.blocks.items() if name in takes}


def _wide(named: dict[str, Any]) -> dict[str, Any]:
    return {n: x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind not in "biu" else x for n, x in named.items()}


def hidden(reference: str, dtypes: Sequence[str], seed: int, given: dict[str, Any]) -> list[Hidden]:
    """The inputs for a check against an algorithm of simattn's. given: options that both sides get."""
    rng = np.random.default_rng(seed)
    if reference in BASICS:
        drawn = [_basic(reference, rng, dtype, i) for i, dtype in enumerate([dtypes[0], *dtypes, dtypes[0]])]
        return [Hidden(arrays, given, blocks) for arrays, blocks in drawn] + [_long_basic(reference, dtypes[-1], given)]
    name = reference.removesuffix("_backward")
    made = []
    for i, dtype in enumerate([dtypes[0], *dtypes, dtypes[0]]):
        p, blocks = _problem(name, rng, dtype, i)
        own = defaults(name, p, given) | given if reference not in BACKWARD else given
        blocks |= {x: own[x] for x in ("Br", "Bc") if x in own}
        arrays = _qkv(p, rng, flat=p.heads == 1)
        made.append(Hidden(_backward(arrays, own, rng) if reference in BACKWARD else arrays, own, blocks))
    if name not in DECODING:
        made.append(_long(reference, name, dtypes[-1], given))
    return [_stored(reference, x) for x in made] if reference in BACKWARD else made


def _problem(name: str, rng: np.random.Generator, dtype: str, i: int) -> tuple[Problem, dict[str, int]]:
    """Even sizes first, then ragged ones, then several heads."""
    even = i == 0 or name in APPROXIMATE or name == "block_sparse"
    n_q, n_k, d, d_v = (64, 64, 32, 32) if even else (int(rng.integers(*x)) for x in ((33, 60), (65, 95), (9, 15), (17, 23)))
    if name in DECODING:
        n_q = n_k = min(n_q, 24 + i)
    heads = (4, 2) if i >= 2 else (1, 1)
    blocks = {"Br": (16, 16, 32)[i % 3], "Bc": (16, 32, 16)[i % 3]}
    return Problem(heads=heads[0], kv_heads=heads[1], n_q=n_q, n_k=n_k, d=d, d_v=d_v, dtype=dtype), blocks


def _qkv(p: Problem, rng: np.random.Generator, *, flat: bool) -> dict[str, Array]:
    shapes = {"Q": (p.heads, p.n_q, p.d), "K": (p.kv_heads, p.n_k, p.d), "V": (p.kv_heads, p.n_k, p.d_v or p.d)}
    return {name: _drawn(rng, shape[1:] if flat else (1, *shape), p.dtype) for name, shape in shapes.items()}


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    return rng.standard_normal(shape, np.float32).astype(storage_type(dtype))


def _backward(arrays: dict[str, Array], given: dict[str, Any], rng: np.random.Generator) -> dict[str, Array]:
    Q = arrays["Q"]
    run = UNLIMITED.run(algorithms["flash2"], *arrays.values(), **given, Br=16, Bc=16)
    O, lse = run.outputs.values()
    return arrays | {"O": O, "lse": lse, "dO": _drawn(rng, O.shape, Q.dtype.name)}


def _stored(reference: str, x: Hidden) -> Hidden:
    """With P, where the backward pass reads it."""
    if "P" not in parameters(algorithms[reference]):
        return x
    Q, K, V = (x.arrays[name] for name in "QKV")
    if x.counted:
        return Hidden(x.arrays, x.given | {"P": spec((*Q.shape[:-1], K.shape[-2]), Q.dtype.name)}, x.blocks)
    wide = tuple(a if a.ndim == 4 else a[None, None] for a in (Q, K, V))
    found = stored_by_forward(algorithms[reference], wide, x.given, x.blocks)
    return Hidden(x.arrays, x.given | {n: a[0, 0] if Q.ndim == 2 else a for n, a in found.items()}, x.blocks)


def _long(reference: str, name: str, dtype: str, given: dict[str, Any]) -> Hidden:
    """2,048 queries and keys, of which the shapes are counted: what is not tiled does not fit."""
    p = Problem(n_q=2048, n_k=2048, d=64, d_v=64, dtype=dtype)
    arrays = {x: spec((2048, 64), dtype) for x in "QKV"}
    own = given if reference in BACKWARD else defaults(name, p, given, values=False) | given
    if reference in BACKWARD:
        acc = "float64" if dtype == "float64" else "float32"
        arrays |= {"O": spec((2048, 64), dtype), "lse": spec((2048, 1), acc), "dO": spec((2048, 64), dtype)}
    return Hidden(arrays, own, {x: own[x] for x in ("Br", "Bc") if x in own})


def _basic(name: str, rng: np.random.Generator, dtype: str, i: int) -> tuple[dict[str, Array], dict[str, int]]:
    m, n, k = (64, 48, 32) if i == 0 else (int(rng.integers(*x)) for x in ((33, 60), (65, 95), (19, 31)))
    shapes = _shapes(name, m, n, k)
    return {x: _drawn(rng, shape, dtype) for x, shape in shapes.items()}, BLOCKS | {"Br": (16, 32)[i % 2]}


def _long_basic(name: str, dtype: str, given: dict[str, Any]) -> Hidden:
    m, n = (1024, 2048) if name == "layer_norm" else (1024, 1024) if name == "tiled_matmul" else (1024, 8192)
    blocks = {"Br": 16} if name == "layer_norm" else {"Br": 64, "Bc": 64, "Bk": 32}
    return Hidden({x: spec(shape, dtype) for x, shape in _shapes(name, m, n, 1024).items()}, given, blocks)


def _shapes(name: str, m: int, n: int, k: int) -> dict[str, tuple[int, ...]]:
    if name == "tiled_matmul":
        return {"A": (m, k), "B": (k, n)}
    return {"X": (m, n)} | ({"gamma": (n,), "beta": (n,)} if name == "layer_norm" else {})


def like(shapes: Any, names: Sequence[str], dtype: str, seed: int) -> list[Hidden]:
    """Inputs for a check against a NumPy function: of these shapes, and of others in which equal lengths stay equal."""
    if not isinstance(shapes, tuple | list) or not shapes or not all(_is_shape(x) for x in shapes):
        raise ValueError(f"shapes={shown(shapes)}: give the shape of each array, as ((64, 32), (32, 48))")
    if len(shapes) > len(names):
        raise ValueError(f"shapes={shown(shapes)}: {len(shapes)} arrays, but the function takes {len(names)}")
    rng, made = np.random.default_rng(seed), []
    for i in range(3):
        lengths = {n: n if i == 0 or n == 1 else n // 2 + int(rng.integers(1, n)) for shape in shapes for n in shape}
        drawn = {name: _drawn(rng, tuple(lengths[n] for n in shape), dtype) for name, shape in zip(names, shapes, strict=False)}
        made.append(Hidden(drawn, {}, BLOCKS | {"Br": (16, 16, 32)[i]}))
    return made


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple | list) and len(x) in (1, 2, 4) and all(type(n) is int and n > 0 for n in x)
