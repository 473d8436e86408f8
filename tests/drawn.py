"""Problems that Hypothesis draws, of any shape, type and option, for every exact algorithm; with the arrays and options of a run."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import strategies as st

import simattn as sa
from simattn import kernels
from simattn.hierarchy.dtypes import STORAGE
from simattn.workbench.cases import stored_by_forward

EXACT = [name for name in sa.algorithms if name not in (*kernels.APPROXIMATE, *kernels.BASICS)]


@st.composite
def problems(draw, largest=24, plain=True, packed=False, **fixed):
    """A problem of any shape, type and mask; plain=False: with any options, too."""
    kv_heads, group = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    length, width = st.integers(1, largest), st.integers(1, 9)
    n_q, n_k = (fixed[name] if name in fixed else draw(length) for name in ("n_q", "n_k"))
    options = {} if plain else dict(
        window=draw(st.one_of(st.none(), st.tuples(*(st.one_of(st.none(), st.integers(0, 12)),) * 2))), softcap=draw(st.booleans()),
        kv_len=draw(st.one_of(st.none(), st.integers(0, n_k))), bias=draw(st.sampled_from([None, "pairs", "keys"])),
        mask=draw(st.sampled_from([None, "pairs", "keys"])), alibi=draw(st.booleans()) and not (packed and group > 1),
        dropout=draw(st.booleans()) and not (packed and group > 1),
    )  # fmt: skip
    return sa.Problem(**{
        **dict(
            batch=draw(st.integers(1, 2)), heads=kv_heads * group, kv_heads=kv_heads, n_q=n_q, n_k=n_k, d=draw(width), d_v=draw(width),
            dtype=draw(st.sampled_from(sorted(STORAGE))), causal=draw(st.booleans()),
            offset=draw(st.one_of(st.none(), st.integers(-largest - 1, largest + 1))),
        ), **options, **fixed,
    })  # fmt: skip


def draw_qkv(p, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((p.heads, p.n_q, p.d), (p.kv_heads, p.n_k, p.d), (p.kv_heads, p.n_k, p.d_v or p.d))
    return [rng.standard_normal((p.batch, *shape), np.float32).astype(STORAGE[p.dtype]) for shape in shapes]


def draw_options(p, seed=0):
    """The options of a problem, as `machine.run` takes them."""
    rng = np.random.default_rng(seed)
    shapes = {"pairs": (1, p.heads, p.n_q, p.n_k), "keys": (1, 1, 1, p.n_k)}
    options = {"causal": p.causal, "offset": p.offset, "window": p.window, "kv_lens": p.kv_len}
    if p.softcap:
        options["softcap"] = 2.0
    if p.bias:
        options["bias"] = rng.standard_normal(shapes[p.bias], np.float32).astype(STORAGE[p.dtype])
    if p.mask:
        options["mask"] = rng.random(shapes[p.mask]) > 0.3
    if p.alibi:
        options["alibi"] = rng.random((1, p.heads, 1, 1), np.float32).astype(np.float64 if p.dtype == "float64" else np.float32)
    if p.dropout:
        options |= {"dropout": 0.25, "seed": seed}
    if p.block_mask is not None:
        options["block_mask"] = np.array(p.block_mask)
    return options


def equal_or_overflow(case, form, sram):
    """An execution counts what the formula says, and so does counting on shapes alone; or it does not fit, and both say so too."""
    machine = sa.Machine(name="m", sram=sram, sms=4)
    try:
        run = case.run(machine)
    except sa.SramOverflow:
        assert form.total.peak_sram > sram
        with pytest.raises(sa.SramOverflow):
            case.count(machine)
    else:
        counted = case.count(machine)
        assert (counted.kernels, counted.tensors, counted.hbm_footprint) == (run.kernels, run.tensors, run.hbm_footprint)
        assert run.kernels == form.kernels
        assert run.hbm_footprint == form.hbm_footprint
        assert form.total.peak_sram <= sram


def spec_of(x):
    return sa.spec(x.shape, x.dtype)


@dataclass(frozen=True)
class Case:
    """An algorithm on a problem: what a run takes, and what of it the closed form is told. Bc: the page, for `paged`."""

    algorithm: str
    p: sa.Problem
    arrays: list[Any]
    options: dict[str, Any]
    Br: int | None
    Bc: int | None
    own: dict[str, int]  # splits, steps, tokens

    @property
    def named(self):
        """What is given by name."""
        blocks = {"Br": self.Br, "Bc": None if self.algorithm == "paged" else self.Bc}
        return self.options | self.own | {name: size for name, size in blocks.items() if size is not None}

    def run(self, machine):
        return machine.run(sa.algorithms[self.algorithm], *self.arrays, **self.named)

    def on_specs(self):
        """The same with specs in place of arrays, for counting."""
        specs = [sa.pool(spec_of(x.values)) if not isinstance(x, np.ndarray) else spec_of(x) for x in self.arrays]
        named = {
            name: spec_of(x) if isinstance(x, np.ndarray) and x.dtype.kind not in "iu" else x for name, x in self.named.items()
        }
        return (sa.algorithms[self.algorithm], *specs), named

    def count(self, machine):
        args, named = self.on_specs()
        return machine.count(*args, **named)

    def record(self, machine):
        args, named = self.on_specs()
        return machine.record(*args, **named)

    def values(self):
        """What a recording is run on: the arrays, and those among the options that do not steer."""
        return self.arrays, {name: x for name, x in self.options.items() if isinstance(x, np.ndarray) and x.dtype.kind not in "iu"}

    def form(self, sram):
        return sa.closed_form(self.algorithm, self.p, Br=self.Br, Bc=self.Bc, sram=sram, **self.own)


@st.composite
def cases(draw, algorithm, **fixed):
    """An algorithm on any problem that it takes; fixed: what of the problem is not drawn."""
    Br, Bc = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    if algorithm in DRAWN:
        return DRAWN[algorithm](draw, algorithm, Br, Bc, **fixed)
    p = draw(problems(plain=False, packed=algorithm == "split_kv", **fixed))
    own = {"splits": draw(st.integers(1, p.n_k))} if algorithm == "split_kv" else {}
    return Case(algorithm, p, draw_qkv(p), draw_options(p), Br, Bc, own)


def backward(draw, algorithm, Br, Bc, **fixed):
    p = draw(problems(plain=False, **fixed))
    qkv, options = draw_qkv(p), draw_options(p)
    forward = ROOMY.run(sa.flash2, *qkv, **options, Br=Br, Bc=Bc)
    stored = stored_by_forward(sa.algorithms[algorithm], tuple(qkv), options, {"Br": Br, "Bc": Bc})
    arrays = [*qkv, forward.output, forward.outputs["lse"], forward.output]
    return Case(algorithm, p, arrays, options | stored, Br, Bc, {})


def decoding(draw, algorithm, Br, Bc, **fixed):
    """Prompt and steps, one token a step or several."""
    n = draw(st.integers(1, 14))
    tokens = draw(st.integers(1, n)) if algorithm == "incremental" else 1
    own = {"steps": draw(st.integers(0, n // tokens))} | ({"tokens": tokens} if algorithm == "incremental" else {})
    p = draw(problems(
        plain=False, packed=True, n_q=n, n_k=n, causal=True, dropout=False, alibi=False,
        **{"kv_len": draw(st.none() | st.integers(1, n)), "offset": draw(st.integers(-n, 0)), **fixed},
    ))  # fmt: skip
    return Case(algorithm, p, draw_qkv(p), draw_options(p), Br, Bc, own)


def paged(draw, algorithm, Br, page, **fixed):
    splits = draw(st.integers(1, 4))
    pages = draw(st.integers(splits, 6))
    without = dict(bias=None, mask=None, alibi=False, dropout=False)
    p = draw(problems(plain=False, packed=True, n_k=pages * page, batch=1, **without, **fixed))
    Q, K, V = draw_qkv(p)
    pool = [sa.pool(x[0].reshape(p.kv_heads, pages, page, -1).transpose(1, 2, 0, 3)) for x in (K, V)]
    options = {name: x for name, x in draw_options(p).items() if name != "kv_lens"}
    options |= {"table": np.arange(pages), "lens": np.array([p.n_k if p.kv_len is None else p.kv_len])}
    return Case(algorithm, p, [Q, *pool], options, Br, page, {"splits": splits})


def mla(draw, algorithm, Br, Bc, **fixed):
    p = draw(problems(plain=False, packed=True, kv_heads=1, dropout=False, alibi=False, **fixed))
    p = dataclasses.replace(p, heads=draw(st.integers(1, 4)), d_v=draw(st.integers(1, p.d)))
    return Case(algorithm, p, draw_qkv(p)[:2], draw_options(p) | {"scale": 0.3, "latent": p.d_v}, Br, Bc, {})


def flash3_fp8(draw, algorithm, Br, Bc, **fixed):
    p = draw(problems(plain=False, dtype="float8_e4m3fn", dropout=False, **fixed))
    Q, K, V = draw_qkv(p)
    factors = {
        f"s{name}": np.ones((*x.shape[:2], -(-x.shape[2] // B), 1), np.float32)
        for name, x, B in (("Q", Q, Br), ("K", K, Bc), ("V", V, Bc))
    }
    return Case(algorithm, p, [Q, K, V], draw_options(p) | factors, Br, Bc, {})


def block_sparse(draw, algorithm, Br, Bc, **fixed):
    """Blocks that are skipped, whole and partial, beside any other option."""
    n_q, n_k = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    kinds = st.lists(st.integers(0, 2), min_size=-(-n_k // Bc), max_size=-(-n_k // Bc))
    block_mask = tuple(tuple(draw(kinds)) for _ in range(-(-n_q // Br)))
    mask = draw(st.sampled_from(["pairs", "keys"]))
    p = draw(problems(plain=False, n_q=n_q, n_k=n_k, block_mask=block_mask, mask=mask, **fixed))
    return Case(algorithm, p, draw_qkv(p), draw_options(p), Br, Bc, {})


DRAWN = {
    "block_sparse": block_sparse, "recompute_decode": decoding, "incremental": decoding, "paged": paged, "mla": mla, "flash3_fp8": flash3_fp8,
    **dict.fromkeys(kernels.BACKWARD, backward),
}  # fmt: skip
