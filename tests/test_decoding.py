"""Decoding: with and without a cache, from pages, and from a latent cache; what each computes, reads and refuses."""

import numpy as np
import pytest
from conftest import ROOMY, judged, plain_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from test_options import Drawn, attentions

import simattn as sa
from simattn.hierarchy.dtypes import STORAGE


def draw_qkv(batch, kv_heads, group, n, d=4, d_v=3, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    shapes = (kv_heads * group, n, d), (kv_heads, n, d), (kv_heads, n, d_v)
    return [rng.standard_normal((batch, *shape), np.float32).astype(STORAGE[dtype]) for shape in shapes]


@pytest.mark.parametrize("algorithm", ["recompute_decode", "incremental"])
@settings(max_examples=60)
@given(
    p=attentions(allowed=("scale", "softcap", "bias", "alibi", "mask", "window", "offset", "kv_lens"), largest=8), data=st.data()
)
def test_step_by_step_is_causal_attention(algorithm, p, data):
    """Whatever part is generated, in steps of however many tokens, under any option, each row is that of causal attention, exactly."""
    Q, K, V = p.qkv
    n, kind = min(Q.shape[2], K.shape[2]), Q.dtype
    options = {"causal": True} | p.options
    for name in {"bias", "mask"} & options.keys():
        options[name] = options[name][..., :n, :n]
    if "kv_lens" in options:
        options["kv_lens"] = np.minimum(options["kv_lens"], n).tolist()
    if "offset" in options:
        options["offset"] = min(options["offset"], 0)  # above 0, a token would see those that come after it
    p = Drawn((Q[:, :, :n], K[:, :, :n], V[:, :, :n]), options, p.blocks)
    more = {"tokens": data.draw(st.integers(1, n)), "capacity": data.draw(st.none() | st.integers(n, 2 * n))}
    more = more if algorithm == "incremental" else {}
    more["steps"] = data.draw(st.none() | st.integers(0, n // more.get("tokens", 1)))
    truth, run = p.truth(), p.run(algorithm, **more)
    found = judged(run, *p.qkv, **p.options)
    assert found.exact or (found.exact is None and kind.itemsize < 4), found.why
    assert np.array_equal(np.isneginf(run.lse), np.isneginf(truth.lse))


@pytest.mark.parametrize("algorithm", ["recompute_decode", "incremental"])
def test_a_token_does_not_see_those_that_come_after_it(algorithm):
    """An offset above 0 asks for keys that do not exist yet: refused, or exact, but not computed from those that happen to be there."""
    Q = np.random.default_rng(0).standard_normal((1, 1, 6, 4), np.float32)
    try:
        run = sa.attention(Q, Q, Q, algorithm=algorithm, machine=ROOMY, causal=True, offset=1, Br=2, Bc=2)
    except ValueError:
        return
    assert np.allclose(run.output, sa.attention_truth(Q, Q, Q, causal=True, offset=1).O, atol=1e-6)


@given(
    batch=st.integers(1, 2), kv_heads=st.integers(1, 2), group=st.integers(1, 3), n=st.integers(1, 12), tokens=st.integers(1, 4),
    room=st.integers(0, 4), dtype=st.sampled_from(["float32", "float16"]),
)  # fmt: skip
def test_bytes_a_token(batch, kv_heads, group, n, tokens, room, dtype):
    """A step reads the cache so far once a group of heads and writes its own tokens once; without a cache it reads every prefix anew."""
    d, d_v, item, heads = 4, 3, STORAGE[dtype].itemsize, batch * kv_heads
    Q, K, V = draw_qkv(batch, kv_heads, group, n, d, d_v, dtype)
    prompt = n % tokens
    ends = [step.stop for step in sa.blocks(n, tokens, prompt)]
    run = ROOMY.run(sa.incremental, Q, K, V, tokens=tokens, capacity=n + room, Br=16, Bc=16)
    cached = run.tensors
    read = sum(ends) + prompt * group * bool(prompt)  # the prompt is computed a head at a time
    for name, array, width in (("K", K, d), ("V", V, d_v)):
        assert cached[name].hbm_read == array.nbytes
        assert cached[f"{name}_cache"].hbm_write == array.nbytes
        assert cached[f"{name}_cache"].hbm_read == heads * read * width * item
    assert cached["Q"].hbm_read == Q.nbytes
    assert run.hbm_footprint == heads * (n + room) * (d + d_v) * item
    anew = ROOMY.run(sa.recompute_decode, Q, K, V, Br=16, Bc=16).tensors
    assert anew["K"].hbm_read == heads * group * sum(range(1, n + 1)) * d * item
    assert anew["Q"].hbm_read == heads * group * sum(range(1, n + 1)) * d * item


def test_what_a_decoder_cannot_do_is_named():
    """A cache too small, steps beyond the sequence, no tokens, and attention that is not causal each raise one error with the value."""
    Q, K, V = (x[0, 0] for x in draw_qkv(1, 1, 1, 8))
    for algorithm, wrong in (
        ("incremental", {"capacity": 7}), ("incremental", {"steps": 9}), ("incremental", {"steps": -1}),
        ("incremental", {"tokens": 0}), ("incremental", {"steps": 5, "tokens": 2}), ("incremental", {"causal": False}),
        ("recompute_decode", {"steps": 9}), ("recompute_decode", {"causal": False}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="|".join(f"{name}={value}" for name, value in wrong.items())):
            ROOMY.run(sa.algorithms[algorithm], Q, K, V, Br=4, Bc=4, **wrong)


@pytest.mark.parametrize("algorithm", ["recompute_decode", "incremental"])
@pytest.mark.parametrize(("n_q", "n_k"), [(5, 8), (8, 5), (1, 8)])
def test_decoding_has_as_many_queries_as_keys(algorithm, n_q, n_k):
    """Other numbers of queries than of keys raise a ValueError with both; they do not come out in a wrong shape, or in part."""
    Q, K = np.ones((n_q, 4), np.float32), np.ones((n_k, 4), np.float32)
    with pytest.raises(ValueError, match=rf"{n_q}.*{n_k}|{n_k}.*{n_q}"):
        sa.attention(Q, K, K, algorithm=algorithm, machine=ROOMY, causal=True, Br=4, Bc=4)


def decode(algorithm, **options):
    """A small run of each decoder, all with one head."""
    Q, K, V = (x[0, 0] for x in draw_qkv(1, 1, 1, 4, d_v=4))
    if algorithm == "mla":
        return ROOMY.run(sa.mla, Q, K, scale=0.5, latent=2, Br=4, Bc=4, **options)
    if algorithm == "paged":
        pages = sa.pool(K.reshape(2, 2, 1, 4)), sa.pool(V.reshape(2, 2, 1, 4))
        return ROOMY.run(sa.paged, Q, *pages, table=np.array([0, 1]), lens=np.array([4]), Br=4, **options)
    return ROOMY.run(sa.algorithms[algorithm], Q, K, V, Br=4, Bc=4, **options)


@pytest.mark.parametrize("algorithm", ["recompute_decode", "incremental", "paged", "mla"])
def test_dropout_is_not_passed_over_in_silence(algorithm):
    """A decoder has no dropout, which belongs to training: asked for it, it refuses, and does not give the undropped result."""
    with pytest.raises((ValueError, TypeError), match="dropout"):
        decode(algorithm, dropout=0.9, seed=1)


@st.composite
def caches(draw):
    """Sequences in a pool of pages in any order: Q, pools, tables, lengths, and each sequence's rows in their order, by itself.

    What lies beyond a length is NaN, which nobody may read. Tables have entries to spare where there is one split.
    """
    batch, kv_heads, group, page = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
        draw(st.integers(1, 2)),
        draw(st.integers(1, 4)),
    )
    dtype = STORAGE[draw(st.sampled_from(["float64", "float32", "float16", "bfloat16"]))]
    lens = draw(st.lists(st.integers(0, 10), min_size=batch, max_size=batch))
    used = [max(1, -(-n // page)) for n in lens]
    splits = draw(st.integers(1, min(used)))
    entries = [u + draw(st.integers(0, 2)) * (splits == 1) for u in used]
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    tables = np.split(rng.permutation(sum(entries) + 1), np.cumsum(entries))[:batch]
    pools = [np.full((sum(entries) + 1, page, kv_heads, width), np.nan).astype(dtype) for width in (4, 3)]
    sequences = [[rng.standard_normal((1, kv_heads, u * page, x.shape[3]), np.float32).astype(dtype) for x in pools] for u in used]
    for rows, table, n in zip(sequences, tables, lens, strict=True):
        for x, pool in zip(rows, pools, strict=True):
            for r in range(n):
                pool[table[r // page], r % page] = x[0, :, r]
    Q = rng.standard_normal((batch, kv_heads * group, draw(st.integers(1, 4)), 4), np.float32).astype(dtype)
    return Q, [sa.pool(x) for x in pools], tables, lens, sequences, page, splits


@settings(max_examples=50)
@given(
    cache=caches(), Br=st.integers(1, 5),
    options=st.sampled_from([{}, {"causal": True}, {"window": (2, 0)}, {"window": (None, 3), "offset": 1}, {"softcap": 2.0}]),
)  # fmt: skip
def test_pages_are_the_gathered_cache_to_the_bit(cache, Br, options):
    """Pages in any order, last ones partial, lengths from 0 to full, a table a sequence: the bits and bytes of each cache by itself."""
    Q, pools, tables, lens, sequences, page, splits = cache
    lengths = sa.each([np.array([n]) for n in lens])
    run = ROOMY.run(sa.paged, Q, *pools, table=sa.each(tables), lens=lengths, Br=Br, splits=splits, **options)
    read = {"K": 0, "V": 0}
    for b, (rows, n) in enumerate(zip(sequences, lens, strict=True)):
        for algorithm in ["split_kv"] + ["flash2"] * (splits == 1 and Q.shape[1] == rows[0].shape[1]):
            more = {"splits": splits} if algorithm == "split_kv" else {}
            alone = sa.attention(
                Q[b : b + 1], *rows, algorithm=algorithm, machine=ROOMY, kv_lens=n, Br=Br, Bc=page, **more, **options
            )
            assert run.output[b].tobytes() == alone.output[0].tobytes(), algorithm
            assert run.lse[b].tobytes() == alone.lse[0].tobytes(), algorithm
        read = {name: nbytes + (alone.tensors[name].hbm_read if name in alone.tensors else 0) for name, nbytes in read.items()}
    assert {name: run.tensors[name].hbm_read if name in run.tensors else 0 for name in read} == read


def test_what_pages_cost():
    """A decode step on sequences of 5 and 8 keys, pages of 4: each key once a group, and 4 B for each length and each page's place."""
    Q = np.ones((2, 6, 1, 16), np.float16)
    pool = sa.pool(np.ones((9, 4, 2, 16), np.float16))
    tables, lens = sa.each([np.array([7, 2]), np.array([0, 5])]), sa.each([np.array([5]), np.array([8])])
    run = ROOMY.run(sa.paged, Q, pool, pool, table=tables, lens=lens, Br=16)
    assert run.tensors["K"].hbm_read == run.tensors["V"].hbm_read == 2 * (5 + 8) * 16 * 2
    assert run.tensors["table"].hbm_read == 2 * (2 + 2) * 4
    assert run.tensors["lens"].hbm_read == 2 * 2 * 4


PAGES = {
    r"table\[1\] = 9.*pages 0 to 3": {"table": np.array([0, 9])},
    r"table\[1\] = -1.*pages 0 to 3": {"table": np.array([0, -1])},
    r"table\[1\] = 2, but so is table\[0\]": {"table": np.array([2, 2])},
    r"lens\[0\] = 9.*8 keys": {"lens": np.array([9])},
    r"lens\[0\] = -1": {"lens": np.array([-1])},
    "splits=3.*2": {"splits": 3},
    "splits=0": {"splits": 0},
    "table": {"table": np.array([[0, 1]])},
    "lens": {"lens": 5},
    "V.*2.*pages|pages.*2": {"V": sa.pool(np.ones((2, 4, 1, 8), np.float32))},
}


@pytest.mark.parametrize("message", PAGES)
def test_a_table_that_does_not_fit_is_named(message):
    """A page that the pool has not, or has twice, a length beyond the table, and other misfits raise one error with place and value."""
    Q, pool = np.ones((1, 1, 2, 8), np.float32), sa.pool(np.ones((4, 4, 1, 8), np.float32))
    given = {"V": pool, "table": np.array([0, 3]), "lens": np.array([8])} | PAGES[message]
    with pytest.raises((ValueError, TypeError), match=message):
        ROOMY.run(sa.paged, Q, pool, given.pop("V"), Br=4, **given)


@settings(max_examples=30)
@given(
    heads=st.integers(1, 3), n=st.integers(1, 6), n_k=st.integers(1, 9), latent=st.integers(1, 4), rope=st.integers(0, 3),
    causal=st.booleans(), Br=st.integers(1, 8), Bc=st.integers(1, 5), seed=st.integers(0, 9),
)  # fmt: skip
def test_mla_is_attention_with_the_projections_unabsorbed(heads, n, n_k, latent, rope, causal, Br, Bc, seed):
    """With K = c·W_UK beside the rotary key and V = c·W_UV for each head, plain attention in float64 gives what mla gives."""
    rng, d, d_v = np.random.default_rng(seed), 3, 5
    c, k_rope, q, q_rope, W_UK, W_UV = (
        rng.standard_normal(shape)
        for shape in ((n_k, latent), (n_k, rope), (heads, n, d), (heads, n, rope), (heads, latent, d), (heads, latent, d_v))
    )
    Q, C = np.concatenate([q @ W_UK.swapaxes(1, 2), q_rope], axis=2), np.hstack([c, k_rope])
    scale = (d + rope) ** -0.5
    run = ROOMY.run(sa.mla, Q[None], C[None, None], scale=scale, latent=latent, causal=causal, Br=Br, Bc=Bc)
    for h in range(heads):
        K, V = np.hstack([c @ W_UK[h], k_rope]), c @ W_UV[h]
        O, lse = plain_attention(np.hstack([q[h], q_rope[h]]), K, V, causal=causal, scale=scale)
        assert np.allclose(run.output[0, h] @ W_UV[h], O, rtol=1e-9, atol=1e-12)
        assert np.allclose(run.lse[0, h], lse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("latent", [0, 9])
def test_a_latent_width_that_the_cache_has_not_is_refused(latent):
    """The value is the first columns of the cache, so there are from 1 to all of them."""
    with pytest.raises(ValueError, match=f"latent={latent}"):
        ROOMY.run(sa.mla, np.ones((2, 8)), np.ones((4, 8)), scale=1.0, latent=latent)


def test_the_latent_cache_is_read_once_for_all_heads():
    """16 heads decode from one latent vector a token: (latent + rope) numbers each, where 16 heads of K and V are 16·(d + d) of them."""
    n_k, latent, rope, heads, d = 64, 32, 8, 16, 16
    C = np.ones((1, 1, n_k, latent + rope), np.float16)
    run = ROOMY.run(sa.mla, np.ones((1, heads, 1, latent + rope), np.float16), C, scale=0.1, latent=latent, Br=16, Bc=16)
    assert run.tensors["C"].hbm_read == C.nbytes
    K = np.ones((1, heads, n_k, d), np.float16)
    plain = ROOMY.run(sa.split_kv, K[:, :, :1], K, K, splits=1, Br=16, Bc=16)
    assert plain.tensors["K"].hbm_read + plain.tensors["V"].hbm_read == n_k * heads * (d + d) * 2
