"""What is not exact: each approximation against its own formula in float64, its counts, its verdict, and the parameter that makes it exact."""

import numpy as np
import pytest
from conftest import ROOMY
from drawn import Case, draw_options, draw_qkv, equal_or_overflow, problems
from hypothesis import given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.kernels import APPROXIMATE
from simattn.kernels.approximate.bigbird import pattern

SMALL = settings(max_examples=40)
PLAIN = dict(window=None, offset=None, kv_len=None, bias=None, mask=None, alibi=False, dropout=False)


@st.composite
def cases(draw, name, dtypes=None):
    """A problem that the algorithm takes, its options and matrices, the arguments of its formula, and Br and Bc."""
    Br, Bc, block = (draw(st.integers(1, 9)) for _ in range(3))
    n = draw(st.integers(1, 4)) * block if name in ("block_diagonal", "local_global", "bigbird") else draw(st.integers(1, 24))
    fixed = {"n_q": n, "n_k": n} | ({} if dtypes is None else {"dtype": draw(st.sampled_from(dtypes))})
    own = {}
    if name in ("local_global", "linformer"):
        fixed |= PLAIN
    if name == "bigbird":
        fixed, Br, Bc = fixed | {"dropout": False}, block, block
    if name in ("performer", "dynamic_conv"):
        fixed |= PLAIN | {"softcap": False}
    if name == "linformer":
        fixed |= {"causal": False, "n_q": draw(st.integers(1, 24))}
    if name == "performer" and draw(st.booleans()):
        fixed |= {"causal": False, "n_q": draw(st.integers(1, 24))}
    p = draw(problems(plain=False, **fixed))
    options = draw_options(p, seed=1)
    if name in ("block_diagonal", "local_global"):
        own = {"block": block}
    if name == "longformer":
        own = {"one_sided": draw(st.integers(1, n)), "global_tokens": draw(st.integers(0, n))}
    if name == "bigbird":
        T = n // block
        own = {"global_blocks": draw(st.integers(0, T)), "window_blocks": draw(st.sampled_from([1, 3, 5])),
               "random_blocks": draw(st.integers(0, T)), "seed": draw(st.integers(0, 9))}  # fmt: skip
    if name in ("performer", "dynamic_conv"):
        options = {"causal": p.causal}
    rng, form, blocks = np.random.default_rng(2), dict(own), {"Br": Br, "Bc": Bc}
    if name == "linformer":
        k = form["k"] = draw(st.integers(1, n))
        own = {x: (rng.standard_normal((k, n)) / 2).astype(p.dtype) for x in "EF"}
    if name in ("performer", "dynamic_conv"):
        rows = form["m" if name == "performer" else "width"] = draw(st.integers(1, 9))
        own = {"W": (rng.standard_normal((rows, p.d)) / 2).astype(p.dtype)}
    if name == "bigbird":
        own, blocks = own | {"block": block}, {}
    if name == "dynamic_conv":
        blocks = {"Br": Br}
    return p, options, own, form, (Br, Bc), blocks


@pytest.mark.parametrize("name", APPROXIMATE)
@given(data=st.data())
def test_run_equals_closed_form_to_the_byte(name, data):
    """Every count of every kernel equals the formula, at any shape, block, head count, type and option that the algorithm takes."""
    p, options, own, form, (Br, Bc), blocks = data.draw(cases(name))
    sram = data.draw(st.sampled_from([1 << 30, 2048, 1024]))
    expected = sa.closed_form(name, p, Br=Br, Bc=Bc, sram=sram, **form)
    equal_or_overflow(Case(name, p, draw_qkv(p), options | own, blocks.get("Br"), blocks.get("Bc"), {}), expected, sram)


REAL = {
    "block_diagonal": ({"block": 64}, {"block": 64}),
    "local_global": ({"block": 64}, {"block": 64}),
    "longformer": ({"global_tokens": 3}, {"global_tokens": 3}),
    "bigbird": ({}, {}),
    "linformer": ({x: np.full((256, 960), 0.01, np.float16) for x in "EF"}, {"k": 256}),
    "performer": ({"W": np.zeros((256, 64), np.float16)}, {"m": 256}),
    "dynamic_conv": ({"W": np.zeros((31, 64), np.float16)}, {"width": 31}),
}


@pytest.mark.parametrize("name", REAL)
def test_run_equals_closed_form_at_the_papers_sizes(name):
    """With the papers' defaults and a real model's head, causal where there is such a thing, execution and formula agree too."""
    p = sa.Problem(heads=2, kv_heads=1, n_q=960, n_k=960, d=64, causal=name != "linformer")
    own, form = REAL[name]
    gpu = sa.machine("a100-40gb")
    run = gpu.run(sa.algorithms[name], *draw_qkv(p), **({"causal": True} if p.causal else {}), **own)
    Br, Bc = (run.blocks.get(x, 64 if name == "bigbird" else 128) for x in ("Br", "Bc"))
    expected = sa.closed_form(name, p, Br=Br, Bc=Bc, sram=gpu.sram, **form)
    assert (run.kernels, run.hbm_footprint) == (expected.kernels, expected.hbm_footprint)


def same_block(n, block):
    at = np.arange(n) // block
    return at[:, None] == at


def near(n, one_sided, global_tokens):
    q, k = np.ogrid[:n, :n]
    return (abs(q - k) <= one_sided) | (q < global_tokens) | (k < global_tokens)


def expanded(n, block, global_blocks, window_blocks, random_blocks, seed):
    seen = pattern(n // block, global_blocks, window_blocks, random_blocks, seed)
    return np.kron([[j in row for j in range(n // block)] for row in seen], np.ones((block, block))).astype(bool)


MASKS = {"block_diagonal": same_block, "longformer": near, "bigbird": expanded}


@pytest.mark.parametrize("name", MASKS)
@SMALL
@given(data=st.data())
def test_a_sparse_pattern_is_attention_under_its_dense_mask(name, data):
    """O and lse are those of float64 attention under the boolean mask of the pattern and any other option; each block of keys of
    which a row sees any by the pattern, causal, window and length is loaded once a head and block of rows, and no other."""
    p, options, own, _, (Br, Bc), blocks = data.draw(cases(name, ("float64", "float32")))
    Q, K, V = draw_qkv(p)
    run = ROOMY.run(sa.algorithms[name], Q, K, V, **options, **own, **blocks)
    dense = MASKS[name](p.n_q, **own)
    given_ = options | {"mask": dense[None, None] & options.get("mask", np.array(True))}
    truth = sa.attention_truth(Q, K, V, **given_)
    close = dict(rtol=1e-4, atol=1e-5) if p.dtype == "float32" else dict(rtol=1e-10, atol=1e-12)
    assert np.allclose(run.output, truth.O.astype(float), **close)
    assert np.allclose(run.lse, truth.lse.astype(float), **close)
    length = p.n_k if p.kv_len is None else p.kv_len
    left, right = (np.inf if x is None else x for x in (p.window or (None, None)))
    q, k = np.ogrid[: p.n_q, : p.n_k]
    ahead = k - q - (length - p.n_q if p.offset is None else p.offset)
    seen = dense & (ahead >= -left) & (ahead <= (min(right, 0) if p.causal else right)) & (k < length)
    if name != "block_diagonal":  # whose tiles begin with its blocks
        tiles = [(i, j) for i in sa.blocks(p.n_q, Br) for j in sa.blocks(length, Bc) if seen[i, j].any()]
        traffic = run.tensors.get("K")
        read = sum(sa.size(j) for _, j in tiles) * p.d * K.itemsize * p.batch * p.heads
        # a window may pass between two tiles' rows and keys that the pattern hides one by one: then a tile is loaded for nothing
        assert read <= (traffic.hbm_read if traffic else 0)
        if p.window is None and not p.causal:
            assert read == (traffic.hbm_read if traffic else 0)


def heads(p, *arrays):
    """Per batch element and head, in float64, K and V of the head's group."""
    for b in range(p.batch):
        for h in range(p.heads):
            yield (b, h), *(np.asarray(x, np.float64)[b, h * x.shape[1] // p.heads] for x in arrays)


@SMALL
@given(data=st.data())
def test_local_global_is_its_formula(data):
    """Attention in each block; K_g and V_g, the means of its keys and of its output; and one softmax over own keys and others' K_g."""
    p, options, own, _, _, blocks = data.draw(cases("local_global", ("float64",)))
    cap = options.get("softcap")

    def scores(x, y):
        S = x @ y.T / np.sqrt(p.d)
        return cap * np.tanh(S / cap) if cap else S

    arrays = draw_qkv(p)
    run = ROOMY.run(sa.local_global, *arrays, **options, **own, **blocks)
    tiles = sa.blocks(p.n_q, own["block"])
    for head, Q, K, V in heads(p, *arrays):
        hidden = np.where(np.tri(own["block"], dtype=bool) | (not p.causal), 0, -np.inf)
        P = [np.exp(scores(Q[b], K[b]) + hidden) for b in tiles]
        local = [w @ V[b] / w.sum(1, keepdims=True) for w, b in zip(P, tiles, strict=True)]
        K_g, V_g = np.stack([K[b].mean(0) for b in tiles]), np.stack([o.mean(0) for o in local])
        for g, b in enumerate(tiles):
            other = np.arange(len(tiles)) < g if p.causal else np.arange(len(tiles)) != g
            P_g = np.exp(scores(Q[b], K_g)) * other
            l = P[g].sum(1) + P_g.sum(1)
            assert np.allclose(run.output[head][b], (P[g] @ V[b] + P_g @ V_g) / l[:, None], rtol=1e-10, atol=1e-12)
            assert np.allclose(run.lse[head][b], np.log(l))


@SMALL
@given(data=st.data())
def test_linformer_is_attention_over_projected_keys(data):
    """O and lse are float64 attention of Q, EK and FV."""
    p, options, own, _, _, blocks = data.draw(cases("linformer", ("float64",)))
    Q, K, V = draw_qkv(p)
    run = ROOMY.run(sa.linformer, Q, K, V, **options, **own, **blocks)
    truth = sa.attention_truth(Q, own["E"] @ K, own["F"] @ V, softcap=options.get("softcap"))
    assert np.allclose(run.output, truth.O.astype(float), rtol=1e-10, atol=1e-12)
    assert np.allclose(run.lse, truth.lse.astype(float))


@SMALL
@given(data=st.data())
def test_performer_is_its_formula(data):
    """O = φ(Q)φ(K)ᵀV over its row sums, whose log is lse; causal, the same with the products above the diagonal left out."""
    p, options, own, _, _, blocks = data.draw(cases("performer", ("float64",)))
    arrays = draw_qkv(p)
    run = ROOMY.run(sa.performer, *arrays, **options, **own, **blocks)

    def phi(x):
        x = x / p.d**0.25
        return np.exp(x @ own["W"].T - (x * x).sum(1, keepdims=True) / 2) / np.sqrt(len(own["W"]))

    for head, Q, K, V in heads(p, *arrays):
        A = phi(Q) @ phi(K).T
        A = np.tril(A) if p.causal else A
        assert np.allclose(run.output[head], A @ V / A.sum(1, keepdims=True), rtol=1e-9)
        assert np.allclose(run.lse[head], np.log(A.sum(1)))


@SMALL
@given(data=st.data())
def test_dynamic_convolution_is_a_band_matrix(data):
    """O = BV, where row t of the band matrix B has softmax(W q_t) from column t − pad on, cut off at the ends."""
    p, options, own, _, _, blocks = data.draw(cases("dynamic_conv", ("float64",)))
    arrays, W = draw_qkv(p), own["W"]
    run = ROOMY.run(sa.dynamic_conv, *arrays, **options, **own, **blocks)
    assert list(run.outputs) == ["O"]
    pad = len(W) - 1 if p.causal else len(W) // 2
    for head, Q, _, V in heads(p, *arrays):
        P = np.exp(Q @ W.T)
        P /= P.sum(1, keepdims=True)
        wide = np.zeros((p.n_q, p.n_q + len(W) - 1))
        for t in range(p.n_q):
            wide[t, t : t + len(W)] = P[t]
        assert np.allclose(run.output[head], wide[:, pad : pad + p.n_q] @ V, rtol=1e-10, atol=1e-12)


DRAWS, M, D = 20_000, 8, 8


def estimates(features):
    """DRAWS estimates of exp(q·k/√d) for three queries, by performer's lse over one key; x and y, which are q and k over d^¼."""
    k = np.full(D, 0.3)
    q = np.stack([k, 0.5 * k, k * np.where(np.arange(D) < 6, 1, -1)])
    W = np.stack([features(seed) for seed in range(DRAWS)])[:, None]
    Q, K = (np.broadcast_to(x, (DRAWS, 1, *x.shape)) for x in (q, k[None]))
    run = sa.Machine(name="roomy", sram=1 << 30).run(sa.performer, Q, K, K, W=W, Br=3, Bc=1)
    return np.exp(run.lse[:, 0]), q / D**0.25, k / D**0.25


def test_features_estimate_the_softmax_kernel_without_bias_and_with_the_papers_variance():
    """Over 20,000 draws of 8 Gaussian features the mean is exp(q·k/√d) within 5 standard errors and the variance is that of lemma 2,
    (exp|x + y|² − 1)·exp(2x·y)/m; orthogonal features are unbiased too, and below it by what theorem 2 says."""
    gaussian, x, y = estimates(lambda seed: np.random.default_rng(seed).standard_normal((M, D)))
    orthogonal, *_ = estimates(lambda seed: sa.orthogonal_features(M, D, seed))
    kernel = np.exp(x @ y)
    variance = kernel**2 * (np.exp(((x + y) ** 2).sum(1)) - 1) / M
    for estimate in (gaussian, orthogonal):
        assert (abs(estimate.mean(0) - kernel) < 5 * np.sqrt(variance / DRAWS)).all()
    assert gaussian.var(0) == pytest.approx(variance, rel=0.1)
    gain = 2 * (M - 1) / (M * (D + 2)) * (kernel - np.exp(-((x * x).sum(1) + (y * y).sum()) / 2)) ** 2
    assert (orthogonal.var(0) < (variance - gain) * 1.05).all()
    assert (orthogonal.var(0) < gaussian.var(0)).all()


def test_orthogonal_features_are_orthogonal_and_gaussian():
    """Rows are orthogonal within each d of them, and any entry is N(0, 1): without Q·sign(diag R) the first would never be positive."""
    W = sa.orthogonal_features(11, 4, 0)
    assert W.shape == (11, 4)
    for part in (W[:4], W[4:8], W[8:]):
        G = part @ part.T
        assert np.allclose(G, np.diag(np.diag(G)))
    entries = np.stack([sa.orthogonal_features(3, 3, seed) for seed in range(4000)])
    assert (abs(entries.mean(0)) < 5 / np.sqrt(4000)).all()
    assert entries.var(0) == pytest.approx(np.ones((3, 3)), rel=0.15)
    for m, d in ((0, 4), (4, 0), (2.5, 4)):
        with pytest.raises((TypeError, ValueError), match=r"m=|d="):
            sa.orthogonal_features(m, d)


def arrays(n=48, d=8, dtype="float32", heads=2):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, heads, n, d), np.float32).astype(dtype) for _ in range(3)]


EXACT = {
    "block_diagonal": lambda n: {"block": n},
    "local_global": lambda n: {"block": n},
    "longformer": lambda n: {"one_sided": n},
    "bigbird": lambda n: {"block": n // 6, "global_blocks": 1, "window_blocks": 1, "random_blocks": 6},
    "linformer": lambda n: {"E": np.eye(n), "F": np.eye(n)},
}
INEXACT = {
    "block_diagonal": lambda n: {"block": n // 2},
    "local_global": lambda n: {"block": n // 2},
    "longformer": lambda n: {"one_sided": n // 4},
    "bigbird": lambda n: {"block": n // 6, "global_blocks": 1, "window_blocks": 1, "random_blocks": 3},
    "linformer": lambda n: {"E": np.eye(n)[1:], "F": np.eye(n)[1:]},
    "performer": lambda n: {"W": sa.orthogonal_features(128, 8, 0)},
    "dynamic_conv": lambda n: {"W": np.ones((7, 8))},
}


def stored(own, dtype):
    return {name: x.astype(dtype) if isinstance(x, np.ndarray) else x for name, x in own.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", INEXACT)
def test_the_verdict_comes_from_the_error(name, dtype):
    """With the parameter that leaves nothing out an approximation is exact, within twice naive's error; with less, `sa.compare` says
    that it is not; causal, too, where there is such a thing."""
    for causal in (False, True)[: 1 if name == "linformer" else 2]:
        for exact, own in ((True, EXACT.get(name)), (False, INEXACT[name])):
            if own is not None:
                qkv = arrays(dtype=dtype)
                compared = sa.compare(ROOMY, ["naive", name], *qkv, causal=causal, Br=16, Bc=16, **stored(own(48), dtype))
                assert compared[name].exact is exact, (causal, own)


def test_bigbird_takes_all_blocks_with_any_of_its_three():
    """All blocks global, a window over all, or as many random ones as there are: each is exact."""
    for more in ({"global_blocks": 6}, {"window_blocks": 11}, {"random_blocks": 6}):
        none = {"global_blocks": 0, "window_blocks": 1, "random_blocks": 0}
        assert sa.compare(ROOMY, ["bigbird"], *arrays(), block=8, **(none | more))["bigbird"].exact


def test_bigbird_sees_what_its_paper_says():
    """Of 20 blocks a row sees 2 global, 3 around its own and 3 random ones, all different; global rows all; seeds differ."""
    seen = pattern(20, 2, 3, 3, 0)
    assert seen[0] == seen[1] == set(range(20))
    for i in range(4, 19):
        assert {0, 1, i - 1, i, i + 1} < seen[i]
        assert len(seen[i]) == 8
    assert pattern(20, 2, 3, 3, 1) != seen == pattern(20, 2, 3, 3, 0)


def test_what_lowers_computation_and_what_does_not():
    """Blocks alone do N·block·d of the products where FlashAttention does all N²·d: it is they that lower computation."""
    compared = sa.compare(ROOMY, ["flash2", "block_diagonal", "local_global"], *arrays(), block=12, Br=12, Bc=12)
    flash, alone, both = (compared[name].run.matmul_flops for name in ("flash2", "block_diagonal", "local_global"))
    assert alone * 4 == flash
    assert both * 16 == alone * (16 + 4)  # and 3 summaries of others, where a block has 12 keys
    assert compared["flash2"].exact


Q1, E1, W1 = np.ones((12, 4), np.float32), np.ones((6, 12), np.float32), np.ones((5, 4), np.float32)
BAD = [
    ("block_diagonal", {"block": 5}, "block=5: .*nearest valid value is 4"),
    ("block_diagonal", {"block": 0}, "block=0: .*nearest valid value is 1"),
    ("block_diagonal", {"block": 13}, "block=13: .*nearest valid value is 12"),
    ("block_diagonal", {"block": 2.0}, r"block=2\.0: .*whole number from 1 to 12"),
    ("block_diagonal", {"block": 4, "n_q": 8}, r"Q \(8, 4\), K \(12, 4\): .*nearest valid number of queries is 12"),
    ("local_global", {"block": -3}, "block=-3: .*nearest valid value is 1"),
    ("local_global", {"block": 7}, "block=7: .*nearest valid value is 6"),
    ("local_global", {"block": 4, "window": (1, 1)}, r"window=\(1, 1\): local_global does not support it"),
    ("local_global", {"block": 4, "dropout": 0.5}, r"dropout=0.5: local_global does not support it"),
    ("longformer", {"one_sided": 0}, "one_sided=0: .*nearest valid value is 1"),
    ("longformer", {"one_sided": -4}, "one_sided=-4: .*nearest valid value is 1"),
    ("longformer", {"one_sided": 1.5}, r"one_sided=1\.5: .*whole number from 1"),
    ("longformer", {"global_tokens": 13}, "global_tokens=13: .*nearest valid value is 12"),
    ("longformer", {"global_tokens": -1}, "global_tokens=-1: .*nearest valid value is 0"),
    ("longformer", {"n_q": 8}, "Q .*longformer is attention within one sequence"),
    ("bigbird", {"block": 5}, "block=5: .*nearest valid value is 4"),
    ("bigbird", {"block": 4, "random_blocks": 4}, "random_blocks=4: there are 3 blocks; the nearest valid value is 3"),
    ("bigbird", {"block": 4, "global_blocks": 4}, "global_blocks=4: there are 3 blocks; the nearest valid value is 3"),
    ("bigbird", {"block": 4, "window_blocks": 0}, "window_blocks=0: .*nearest valid value is 1"),
    ("bigbird", {"block": 4, "window_blocks": 4}, "window_blocks=4: .*nearest valid value is 3"),
    ("bigbird", {"block": 4, "seed": -1}, "seed=-1: .*nearest valid value is 0"),
    ("bigbird", {"block": 4, "dropout": 0.5}, "dropout=0.5: bigbird has no dropout"),
    ("linformer", {"E": np.ones((13, 12), np.float32), "F": E1}, "E has shape .*k=13 is more than the 12 keys; .*is 12"),
    ("linformer", {"E": E1, "F": np.ones((5, 12), np.float32)}, r"E \(6, 12\), F \(5, 12\): .*nearest valid shape of F is \(6, 12\)"),
    ("linformer", {"E": E1[:, :8], "F": E1}, r"E has shape \(6, 8\): .*nearest valid shape is \(6, 12\)"),
    ("linformer", {"E": E1, "F": E1.tolist()}, "F is a list"),
    ("linformer", {"E": E1.astype(np.float16), "F": E1}, "E has type float16, K float32"),
    ("linformer", {"E": E1, "F": E1, "causal": True}, "causal=True: linformer does not support it"),
    ("performer", {"W": W1[:, :3]}, r"W has shape \(5, 3\): .*nearest valid shape is \(5, 4\)"),
    ("performer", {"W": W1[:0]}, r"W has shape \(0, 4\): no length may be 0"),
    ("performer", {"W": W1.astype(np.float64)}, "W has type float64, Q float32"),
    ("performer", {"W": W1, "causal": True, "n_q": 8}, "Q .*causal performer is attention within one sequence"),
    ("performer", {"W": W1, "window": (1, 1)}, "performer: unknown option 'window'"),
    ("dynamic_conv", {"W": W1[:, :3]}, r"W has shape \(5, 3\): .*nearest valid shape is \(5, 4\)"),
    ("dynamic_conv", {"W": W1[:0]}, r"W has shape \(0, 4\): no length may be 0"),
    ("dynamic_conv", {"W": W1, "n_q": 8}, "Q .*nearest valid number of queries is 12"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "own", "message"), BAD)
def test_what_makes_no_sense_is_named(name, own, message):
    """Each bad parameter gets one ValueError or TypeError that names it, its value, and the nearest that would do."""
    own = dict(own)
    Q = Q1[: own.pop("n_q", 12)]
    with pytest.raises((ValueError, TypeError), match=message):
        ROOMY.run(sa.algorithms[name], Q, Q1, Q1, **own)
