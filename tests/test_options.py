"""The options of the scores: what each means, which blocks they skip, what their arrays cost, and what is refused."""

import inspect
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import FORWARD, ROOMY, judged
from hypothesis import example, given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.dtypes import STORAGE
from simattn.reference import strips
from simattn.score_options import ASKED, ScoreOptions
from simattn.workbench.options import Options

OPTIONS = tuple(name for name in ASKED if name != "rng")


class Drawn(NamedTuple):
    """One attention: Q, K, V with four dimensions, options of `sa.attention`, and block sizes."""

    qkv: tuple[Any, Any, Any]
    options: dict[str, Any]
    blocks: dict[str, int]

    @property
    def group(self):
        return self.qkv[0].shape[1] // self.qkv[1].shape[1]

    @property
    def checked(self):
        """The options as the truth takes them: alibi by head, a seed for an rng."""
        return Options.of(*self.qkv[:2], **self.options).given()

    def truth(self):
        return sa.attention_truth(*self.qkv, **self.checked)

    def run(self, algorithm, **more):
        return sa.attention(*self.qkv, algorithm=algorithm, machine=ROOMY, **self.options, **self.blocks, **more)


@st.composite
def attentions(draw, allowed=OPTIONS, dtypes=tuple(STORAGE), largest=7):
    batch, kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    n_q, n_k, d, d_v = (draw(st.integers(1, most)) for most in (largest, largest, 4, 4))
    kind, rng = STORAGE[draw(st.sampled_from(dtypes))], np.random.default_rng(draw(st.integers(0, 99)))
    shapes = (kv_heads * group, n_q, d), (kv_heads, n_k, d), (kv_heads, n_k, d_v)
    qkv = tuple(rng.standard_normal((batch, *shape), np.float32).astype(kind) for shape in shapes)
    side, length = st.none() | st.integers(0, largest), st.integers(0, n_k)

    def like_scores():
        whole = batch, kv_heads * group, n_q
        shape = tuple(draw(st.sampled_from(sorted({1, n}))) for n in whole)
        return rng.random((*shape, n_k) if draw(st.booleans()) else (shape[2], n_k))

    def bias():
        u = like_scores()
        return np.where(u < 0.1, -np.inf, u).astype(kind if kind.itemsize > 1 else np.float32)

    makers = {
        "scale": lambda: draw(st.sampled_from([0.25, 1.5])),
        "softcap": lambda: draw(st.sampled_from([0.5, 4.0])),
        "bias": bias,
        "alibi": lambda: rng.random(draw(st.sampled_from([1, kv_heads * group]))).astype(np.float32),
        "mask": lambda: like_scores() < 0.7,
        "causal": lambda: True,
        "window": lambda: (draw(side), draw(side)),
        "offset": lambda: draw(st.integers(-largest, largest)),
        "kv_lens": lambda: draw(length | st.lists(length, min_size=batch, max_size=batch)),
        "dropout": lambda: draw(st.sampled_from([0.1, 0.5])),
    }
    chosen = [name for name in allowed if draw(st.booleans())]
    options = {name: make() for name, make in makers.items() if name in chosen}
    if "dropout" in options:
        options["rng"] = draw(st.integers(0, 99))
    return Drawn(qkv, options, {"Br": draw(st.integers(1, 6)), "Bc": draw(st.integers(1, 6))})


def visible(n_q, n_k, *, causal=False, window=None, offset=None, length=None):
    """Which keys causal, window and length leave to each query: the definition, key by key."""
    length = n_k if length is None else length
    offset = length - n_q if offset is None else offset
    left, right = window or (None, None)

    def sees(i, j):
        after = j - (i + offset)
        bounds = (not causal or after <= 0, left is None or after >= -left, right is None or after <= right)
        return j < length and all(bounds)

    return np.array([[sees(i, j) for j in range(n_k)] for i in range(n_q)])


def slow_attention(
    Q, K, V, *, scale=None, softcap=None, bias=0.0, alibi=0.0, mask=True, kv_lens=None, kept=1.0, **hiding
):  # fmt: skip
    """Attention by its definition, row by row in longdouble: O and lse. kept: what dropout multiplies each weight by."""
    Q, K, V = (np.asarray(x, np.longdouble) for x in (Q, K, V))
    (batch, heads, n_q, d), (kv_heads, n_k) = Q.shape, K.shape[1:3]
    bias, mask, kept = (np.broadcast_to(x, (batch, heads, n_q, n_k)) for x in (bias, mask, kept))
    slopes = np.broadcast_to(np.ravel(alibi), heads)
    O, lse = np.zeros((batch, heads, n_q, V.shape[3]), np.longdouble), np.full((batch, heads, n_q), -np.inf, np.longdouble)
    for b in range(batch):
        length = n_k if kv_lens is None else int(np.broadcast_to(kv_lens, batch)[b])
        offset = length - n_q if hiding.get("offset") is None else hiding["offset"]
        seen = visible(n_q, n_k, length=length, **hiding)
        for h, i in np.ndindex(heads, n_q):
            keys = np.flatnonzero(seen[i] & mask[b, h, i] & (bias[b, h, i] > -np.inf))
            if keys.size:
                g = h // (heads // kv_heads)
                s = K[b, g, keys] @ Q[b, h, i] * (1 / np.sqrt(np.longdouble(d)) if scale is None else scale)
                s = s if softcap is None else softcap * np.tanh(s / softcap)
                s = s + bias[b, h, i, keys].astype(np.longdouble) - np.longdouble(slopes[h]) * abs(i + offset - keys)
                p = np.exp(s - s.max())
                O[b, h, i], lse[b, h, i] = p / p.sum() * kept[b, h, i, keys] @ V[b, g, keys], s.max() + np.log(p.sum())
    return O, lse


def random_numbers(gpu, Q, *, n_k, seed):
    """The numbers that decide what dropout keeps, stored."""
    R = gpu.empty((Q.shape[0], n_k), name="R", dtype="float32")
    for sram, i in gpu.launch("random", sa.blocks(Q.shape[0], 128)):
        sram.store(R[i], sram.random(i, slice(0, n_k), seed))
    return R


def as_slow(p):
    """Drawn options as `slow_attention` takes them: dropout as the factors of the weights."""
    options = {name: x for name, x in p.options.items() if name not in ("dropout", "rng")}
    if rate := p.options.get("dropout"):
        Q, K = p.qkv[:2]
        numbers = ROOMY.run(random_numbers, Q.astype(np.float32), n_k=K.shape[2], seed=p.checked["seed"]).output
        options["kept"] = (numbers >= rate) / (1 - rate)
    return options


@given(p=attentions(), strip=st.sampled_from([1, 8, 1 << 22]))
def test_the_truth_is_the_definition_under_every_option(p, strip):
    """attention_truth, in strips of any size, equals the slow definition under any combination of options, lse and dropout included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "STRIP", strip)
        truth = p.truth()
    O, lse = slow_attention(*p.qkv, **as_slow(p))
    assert np.allclose(truth.O.astype(float), O.astype(float), rtol=1e-12, atol=1e-12)
    assert np.allclose(truth.lse.astype(float), lse.astype(float), rtol=1e-12, atol=1e-12)


def test_the_truth_takes_the_options_of_attention():
    """Options mean the same to sa.attention_truth as to sa.attention: a list of slopes, of lengths, one length for all, a flat mask."""
    rng = np.random.default_rng(0)
    Q, K = rng.standard_normal((2, 2, 5, 4)), rng.standard_normal((2, 2, 6, 4))
    for options in (dict(kv_lens=[4, 6]), dict(kv_lens=3), dict(mask=rng.random((5, 6)) < 0.5), dict(alibi=[0.25, 0.5])):
        run = sa.attention(Q, K, K, machine=ROOMY, **options)
        assert np.allclose(run.output, sa.attention_truth(Q, K, K, **options).O.astype(float)), options


def test_attention_names_the_options_that_the_dataclass_lists():
    """sa.attention's signature, written out for the reader, is ScoreOptions: each option, with its default, and rng for the seed."""
    signature = inspect.signature(sa.attention).parameters.values()
    beside = {"q", "k", "v", "algorithm", "machine", "block_mask", "blocks"}
    assert {p.name: p.default for p in signature if p.name not in beside} == {
        asked: None if asked == "rng" else f.default for asked, f in zip(ASKED, fields(ScoreOptions), strict=True)
    }
    for p in signature:
        assert p.name not in ASKED or p.name in sa.attention.__doc__, p.name


@settings(max_examples=40)
@given(p=attentions(allowed=tuple(name for name in OPTIONS if name != "kv_lens"), dtypes=("float32", "float16")))
def test_the_problem_that_arrays_pose_counts_as_their_run(p):
    """Problem.of sees in arrays and options all that moves a byte: its closed form is what the run of flash2 counts; and its nine
    fields for JSON make the same problem again, but for the options."""
    posed = sa.Problem.of(*p.qkv, Options.of(*p.qkv[:2], **p.options))
    assert sa.closed_form("flash2", posed, sram=ROOMY.sram, **p.blocks).total == p.run("flash2").total
    again = sa.Problem(**posed.to_dict())
    assert (again.to_dict(), str(again)) == (posed.to_dict(), str(posed))


@pytest.mark.parametrize("wrong", [{"scale": "x"}, {"softcap": -1}, {"causal": 1}, {"window": 3}, {"offset": 1.5}, {"dropout": 1}])
def test_the_truth_refuses_what_attention_refuses(wrong):
    """A value that sa.attention refuses gets the same message from sa.attention_truth, so that the two cannot take it differently."""
    X = np.ones((2, 4), np.float32)
    with pytest.raises((TypeError, ValueError)) as asked:
        sa.attention(X, X, X, **wrong)
    with pytest.raises(asked.type) as by_truth:
        sa.attention_truth(X, X, X, **wrong)
    assert str(by_truth.value) == str(asked.value)


def ones(batch, heads, kv_heads, n, **options):
    Q, K = np.ones((batch, heads, n, 1), np.float32), np.ones((batch, kv_heads, n, 1), np.float32)
    return Drawn((Q, K, K), options, {"Br": 2, "Bc": 2})


@pytest.mark.parametrize(
    "p",
    [ones(3, 1, 1, 2, kv_lens=[1, 2, 1]), ones(3, 2, 2, 2, kv_lens=[1, 2, 1], alibi=[0.5, 1.0]),
     ones(3, 2, 2, 2, kv_lens=[1, 2, 1], bias=np.zeros((3, 1, 2, 2), np.float32)), ones(1, 2, 1, 2, alibi=[0.5, 1.0])],
    ids=["lengths apart, one head", "and slopes", "and a bias", "slopes in a group"],
)  # fmt: skip
def test_options_by_batch_and_by_head_go_together(p):
    """Equal lengths that are not neighbours, one KV head, arrays shared by batch or heads, slopes in a packed group: all at once."""
    for algorithm in FORWARD:
        more = {"splits": 1} if algorithm == "split_kv" else {}
        assert np.allclose(p.run(algorithm, **more).output, p.truth().O.astype(float), atol=1e-6), algorithm


def test_dropout_and_packed_groups_exclude_each_other():
    """Random numbers go by head and row, which rows of packed heads are not: split_kv refuses, and says why."""
    with pytest.raises(TypeError, match="packs groups"):
        ones(1, 2, 1, 2, dropout=0.5, rng=0).run("split_kv", splits=1)


@pytest.mark.parametrize("algorithm", FORWARD)
@settings(max_examples=40)
@given(p=attentions(), data=st.data())
def test_every_algorithm_is_exact_under_every_option(algorithm, p, data):
    """Under any combination of options, rounding explains every element's error; rows that see nothing are 0, lse −∞."""
    more = {"splits": data.draw(st.integers(1, p.qkv[1].shape[2]))} if algorithm == "split_kv" else {}
    if algorithm == "split_kv" and p.group > 1:
        p = p._replace(options={name: x for name, x in p.options.items() if name != "dropout"})  # together they are refused
    truth, run, kind = p.truth(), p.run(algorithm, **more), p.qkv[0].dtype
    found = judged(run, *p.qkv, **p.options)
    assert found.exact or (found.exact is None and kind.itemsize < 4), found.why
    masked = np.isneginf(truth.lse)
    assert np.array_equal(np.isneginf(run.lse), masked)
    assert not run.output[masked].astype(float).any()
    assert run.outputs["lse"].dtype == (np.float64 if kind == np.float64 else np.float32)


@given(p=attentions(allowed=OPTIONS[:-1], dtypes=("float32",)), data=st.data())
def test_rows_by_themselves_have_the_options_of_those_rows(p, data):
    """Options.strip, by which the naive reference is computed strip by strip, leaves the truth of each row what it was."""
    (Q, K, V), options = p.qkv, Options.of(*p.qkv[:2], **p.options)
    b, start = data.draw(st.integers(0, len(Q) - 1)), data.draw(st.integers(0, Q.shape[2] - 1))
    stop = data.draw(st.integers(start + 1, Q.shape[2]))
    strip = options.strip(b, start, stop, Q.shape[2], K.shape[2]).given()
    alone = sa.attention_truth(Q[b : b + 1, :, start:stop], K[b : b + 1], V[b : b + 1], **strip)
    assert np.allclose(alone.O[0], p.truth().O[b, :, start:stop], atol=1e-12)


@settings(max_examples=10)
@given(p=attentions())
def test_a_comparison_finds_every_algorithm_exact(p):
    """sa.compare, under any combination of options, says `exact` of each algorithm; of narrow types it may be undecided."""
    names = [name for name in FORWARD if name != "split_kv" or p.group == 1 or "dropout" not in p.options]
    more = {"splits": 1} if "split_kv" in names else {}
    comparison = sa.compare(ROOMY, names, *p.qkv, **p.options, **p.blocks, **more)
    assert [(r.algorithm, r.failure) for r in comparison.results] == [(name, None) for name in names]
    for r in comparison.results:
        assert r.exact or (r.exact is None and p.qkv[0].dtype.itemsize < 4), r.judgement.why


def test_a_comparison_holds_block_sparse_against_its_mask():
    """With a block_mask the truth is attention under it, in whole blocks and in partial ones, so that exact is exact."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((2, 2, 6, 4), np.float32) for _ in range(3))
    kinds, mask = np.array([[1, 0], [2, 1]]), rng.random((6, 6)) < 0.5
    names = ["naive", "flash1", "block_sparse"]
    comparison = sa.compare(ROOMY, names, Q, K, V, block_mask=kinds, mask=mask, causal=True, Br=3, Bc=3)
    assert [r.exact for r in comparison.results] == [True, True, True]
    expected = sa.attention_truth(Q, K, V, mask=expanded(kinds, mask, 3, 3), causal=True).O
    assert all(np.allclose(r.run.output, expected, atol=1e-6) for r in comparison.results)


def visited(p, b, names=("causal", "window", "offset")):
    """The pairs of blocks of which the options of those names leave any score of batch element b, by looking at each score."""
    n_q, n_k, Br, Bc = p.qkv[0].shape[2], p.qkv[1].shape[2], *p.blocks.values()
    length = int(np.broadcast_to(p.options.get("kv_lens", n_k), p.qkv[0].shape[0])[b])
    seen = visible(n_q, n_k, length=length, **{name: p.options[name] for name in names if name in p.options})
    return [(i, j) for i in sa.blocks(n_q, Br) for j in sa.blocks(length, Bc) if seen[i, j].any()]


@example(p=Drawn(tuple(np.ones((1, 1, n, 1), np.float32) for n in (1, 3, 3)), {"window": (0, 0), "offset": 7}, {"Br": 1, "Bc": 2}))
@settings(max_examples=60)
@given(p=attentions(allowed=("causal", "window", "offset", "kv_lens", "bias", "mask", "softcap"), dtypes=("float32", "float16")))
def test_only_causal_window_and_lengths_skip_blocks(p):
    """K, V and the products shrink to the blocks of which those options leave anything; bias and mask are loaded there, and skip none."""
    (batch, heads, _, d), d_v, item = p.qkv[0].shape, p.qkv[2].shape[3], p.qkv[0].dtype.itemsize
    seen = [pair for b in range(batch) for pair in visited(p, b)]
    every = [pair for b in range(batch) for pair in visited(p, b, names=())]
    once = [pair for b in range(batch) for pair in {j.start: (i, j) for i, j in visited(p, b)}.values()]

    def scores(pairs, rows=None):
        return heads * sum((rows or sa.size(i)) * sa.size(j) for i, j in pairs)

    for algorithm in ("unfused_chain", "naive", "online_softmax", "flash1", "flash2", *["split_kv"] * (p.group == 1)):
        run = p.run(algorithm, **({"splits": 1} if algorithm == "split_kv" else {}))
        pairs = every if algorithm == "unfused_chain" else seen
        keys = scores(once if algorithm == "flash1" else pairs, rows=1)

        def read(name, tensors=run.tensors):
            return tensors[name].hbm_read if name in tensors else 0

        assert (read("K"), read("V")) == (keys * d * item, keys * d_v * item), algorithm
        assert run.matmul_flops == 2 * (d + d_v) * scores(pairs), algorithm
        for name in ("bias", "mask"):
            if name in p.options and not (algorithm == "split_kv" and heads > 1):  # which takes a row of them for each query
                x = p.options[name]
                assert read(name) == scores(pairs, rows=1 if x.shape[-2] == 1 else None) * x.itemsize, (algorithm, name)


def test_a_mask_that_hides_everything_still_costs_everything():
    """A mask of False, and a bias of −∞, leave nothing to see, and the same K is read, plus the mask or bias itself, to the byte."""
    Q = np.ones((1, 2, 8, 4), np.float32)
    dense = sa.attention(Q, Q, Q, machine=ROOMY, Br=4, Bc=4)
    for name, x in {"mask": np.zeros((8, 8), bool), "bias": np.full((8, 8), -np.inf, np.float32)}.items():
        run = sa.attention(Q, Q, Q, machine=ROOMY, Br=4, Bc=4, **{name: x})
        assert not run.output.any()
        assert run.hbm_read == dense.hbm_read + 2 * x.nbytes
        assert run.tensors[name].hbm_read == 2 * x.nbytes


def expanded(kinds, mask, Br, Bc):
    """The dense mask of a three-valued mask of blocks: 0 hides, 1 shows, 2 shows what the mask shows."""
    dense = np.zeros_like(mask)
    for (p, q), kind in np.ndenumerate(kinds):
        block = slice(p * Br, (p + 1) * Br), slice(q * Bc, (q + 1) * Bc)
        dense[block] = (False, True, mask[block])[kind]
    return dense


@settings(max_examples=60)
@given(p=attentions(allowed=("causal", "window", "offset", "softcap", "scale"), dtypes=("float32", "float64")), data=st.data())
def test_block_sparse_is_flash1_on_the_dense_mask(p, data):
    """A three-valued mask of blocks equals the dense mask that it stands for; what it skips is not read, and each look at it is 4 B."""
    (batch, heads, n_q, d), n_k, Br, Bc = p.qkv[0].shape, p.qkv[1].shape[2], *p.blocks.values()
    seen = visited(p, 0)
    shape = len(sa.blocks(n_q, Br)), len(sa.blocks(n_k, Bc))
    partial = data.draw(st.booleans())
    kinds = np.array(data.draw(st.lists(st.integers(0, 1 + partial), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])))
    kinds = kinds.reshape(shape)
    mask = np.random.default_rng(n_q).random((n_q, n_k)) < 0.5
    sparse = p.run("block_sparse", block_mask=kinds, **({"mask": mask} if partial else {}))
    dense = p.run("flash1", mask=expanded(kinds, mask, Br, Bc))
    assert np.allclose(sparse.output, dense.output, rtol=1e-5, atol=1e-6)
    assert np.allclose(sparse.lse, dense.lse, rtol=1e-5, atol=1e-6)
    taken = [(i, j) for i, j in seen if kinds[i.start // Br, j.start // Bc]]
    asked = [(i, j) for i, j in taken if kinds[i.start // Br, j.start // Bc] == 2]
    expected = {
        "block_mask": 4 * len(seen), "mask": sum(sa.size(i) * sa.size(j) for i, j in asked),
        "K": sum(sa.size(slice(*j)) for j in {(j.start, j.stop) for _, j in taken}) * d * p.qkv[1].itemsize,
    }  # fmt: skip
    for name, nbytes in expected.items():
        traffic = sparse.tensors.get(name)
        assert (traffic.hbm_read if traffic else 0) == nbytes * batch * heads, name


def test_a_mask_of_blocks_goes_with_lengths_and_differs_by_head():
    """With kv_lens the mask keeps the shape that K's rows give, for it is the same for all lengths; `sa.each` gives each head its own."""
    rng = np.random.default_rng(0)
    Q, K = rng.standard_normal((2, 2, 8, 4)), rng.standard_normal((2, 2, 8, 4))
    masks = np.array([[1, 0], [1, 1]]), np.array([[0, 1], [1, 0]])
    blocks = dict(Br=4, Bc=4, machine=ROOMY)
    run = sa.attention(Q, K, K, algorithm="block_sparse", block_mask=sa.each(masks, axis="head"), **blocks)
    dense = np.stack([np.kron(m, np.ones((4, 4))).astype(bool) for m in masks])[None]
    assert np.allclose(run.output, sa.attention_truth(Q, K, K, mask=dense).O.astype(float))
    run = sa.attention(Q, K, K, algorithm="block_sparse", block_mask=masks[0], kv_lens=[3, 8], **blocks)
    assert np.allclose(run.output, sa.attention_truth(Q, K, K, mask=dense[:, :1], kv_lens=[3, 8]).O.astype(float))


@pytest.mark.parametrize(
    ("kinds", "message"),
    [(np.ones((2, 3), int), r"block_mask has shape \(2, 3\)"), (np.array([[1, 1], [3, 1]]), r"block_mask\[1, 0\] = 3"),
     (np.array([[1, 2], [1, 1]]), r"block_mask\[0, 1\] = 2.*mask"), (np.ones((2, 2)), "block_mask.*integers")],
)  # fmt: skip
def test_a_mask_of_blocks_that_does_not_fit_is_refused(kinds, message):
    """A wrong shape, an unknown kind, a partial block without a mask, and a mask of floats get an error that names the entry."""
    Q = np.ones((8, 4), np.float32)
    with pytest.raises((ValueError, TypeError), match=message):
        sa.attention(Q, Q, Q, algorithm="block_sparse", block_mask=kinds, Br=4, Bc=4)


def test_dropout_keeps_the_expectation():
    """Over 2,048 draws the mean output is the undropped one within 5 standard errors, for P and for the share of weights dropped."""
    rng, n, rate = np.random.default_rng(0), 8, 0.3
    Q, K = (np.broadcast_to(rng.standard_normal((1, 1, n, 4), np.float32), (512, 1, n, 4)) for _ in range(2))
    V = np.broadcast_to(np.eye(n, dtype=np.float32), (512, 1, n, n))
    P = sa.attention(Q[:1], K[:1], V[:1], machine=ROOMY).output[0, 0]
    runs = [sa.attention(Q, K, V, machine=ROOMY, dropout=rate, rng=seed).output[:, 0] for seed in range(4)]
    samples = np.concatenate(runs)
    deviation = P * np.sqrt(rate / (1 - rate) / len(samples))
    assert (np.abs(samples.mean(axis=0) - P) < 5 * deviation).all()
    assert abs((samples == 0).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / samples.size)
    assert np.allclose(samples[samples != 0], np.broadcast_to(P / (1 - rate), samples.shape)[samples != 0], rtol=1e-5)
    assert len({x.tobytes() for x in samples}) == len(samples)  # every batch element drops other weights


@settings(max_examples=15)
@given(n=st.integers(1, 9), heads=st.integers(1, 2), Br=st.integers(1, 5), Bc=st.integers(1, 5), seed=st.integers(0, 99))
def test_every_algorithm_drops_the_same_weights(n, heads, Br, Bc, seed):
    """With V the identity, O shows which weights dropout kept: the same in every algorithm, at any blocks, and again by the same rng."""
    Q, V = np.ones((2, heads, n, 2), np.float32), np.broadcast_to(np.eye(n, dtype=np.float32), (2, heads, n, n))
    kept = sa.attention(Q, Q, V, machine=ROOMY, dropout=0.5, rng=seed, Br=n, Bc=n).output != 0
    for algorithm in FORWARD:
        more = {"splits": 1} if algorithm == "split_kv" else {}
        run = sa.attention(Q, Q, V, algorithm=algorithm, machine=ROOMY, dropout=0.5, rng=seed, Br=Br, Bc=Bc, **more)
        assert np.array_equal(run.output != 0, kept), algorithm
    numbers = sa.attention(Q, Q, V, machine=ROOMY, dropout=0.5, rng=np.random.default_rng(seed), Br=Br, Bc=Bc).output
    assert np.array_equal(numbers != 0, kept)


def test_heads_of_queries_are_at_least_those_of_keys():
    """More heads of K than of Q are no grouped heads: split_kv, which packs groups, refuses them and does not pack the keys."""
    Q, K = np.ones((1, 1, 4, 8), np.float32), np.ones((1, 4, 8, 8), np.float32)
    with pytest.raises(ValueError, match="heads"):
        ROOMY.run(sa.split_kv, Q, K, K, splits=1, Br=4, Bc=4)


def attention(Q, **options):
    return sa.attention(Q, np.ones((8, 4), np.float32), np.ones((8, 4), np.float32), **options)


def compare(Q, **options):
    return sa.compare(ROOMY, ["flash2"], Q, np.ones((8, 4), np.float32), np.ones((8, 4), np.float32), **options)


BAD = {
    r"bias has shape \(5, 8\)": dict(bias=np.zeros((5, 8), np.float32)),
    r"bias has shape \(6, 1\)": dict(bias=np.zeros((6, 1), np.float32)),
    "bias holds NaN": dict(bias=np.full((6, 8), np.nan, np.float32)),
    "bias has type float64": dict(bias=np.zeros((6, 8))),
    r"mask has shape \(6, 7\)": dict(mask=np.ones((6, 7), bool)),
    "mask has type int64": dict(mask=np.ones((6, 8), np.int64)),
    "mask is a list": dict(mask=[[True]]),
    r"window=\(-1, 0\)": dict(window=(-1, 0)),
    "window=3": dict(window=3),
    r"window=\(1, 2, 3\)": dict(window=(1, 2, 3)),
    r"window=\(1.5, 0\)": dict(window=(1.5, 0)),
    "softcap=0": dict(softcap=0),
    "softcap=-2": dict(softcap=-2),
    "dropout=1.0": dict(dropout=1.0),
    "dropout=-0.1": dict(dropout=-0.1),
    "dropout=nan": dict(dropout=np.nan),
    "scale=nan": dict(scale=np.nan),
    "offset=1.5": dict(offset=1.5),
    "kv_lens: 9 ": dict(kv_lens=9),
    "kv_lens: -1 ": dict(kv_lens=[-1]),
    "kv_lens.*3": dict(kv_lens=[3, 4, 5]),
    "kv_lens.*2.5": dict(kv_lens=2.5),
    r"alibi has shape \(3,\)": dict(alibi=[1, 2, 3]),
    "unknown option 'windw': did you mean 'window'": dict(windw=(1, 0)),
}


@pytest.mark.parametrize("call", [attention, compare])
@pytest.mark.parametrize("message", BAD)
def test_what_does_not_fit_is_named(message, call):
    """Each bad option gets one TypeError or ValueError that names it and its value, whether attention runs once or is compared."""
    with pytest.raises((ValueError, TypeError), match=message):
        call(np.ones((6, 4), np.float32), **BAD[message])
