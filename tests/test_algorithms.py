"""The algorithms compute attention: against the definition, in every type, masked rows included."""

import numpy as np
import pytest
from conftest import FORWARD, ROOMY, judged, plain_attention
from drawn import draw_qkv, problems
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.dtypes import STORAGE
from simattn.hierarchy.splits import heuristic
from simattn.kernels.combine import Partials
from simattn.reference.truth import error


def run_all(p, Br, Bc, splits, seed):
    Q, K, V = draw_qkv(p, seed)
    runs = {
        name: ROOMY.run(
            f, Q, K, V, causal=p.causal, offset=p.offset, Br=Br, Bc=Bc, **({"splits": splits} if name == "split_kv" else {})
        )
        for name, f in FORWARD.items()
    }
    return runs, sa.attention_truth(Q, K, V, causal=p.causal, offset=p.offset)


@given(p=problems(), Br=st.integers(1, 12), Bc=st.integers(1, 12), data=st.data())
def test_every_algorithm_is_exact(p, Br, Bc, data):
    """At any shape, block, head count, type and mask, rounding explains every element's error; rows that see nothing are 0."""
    splits, seed = data.draw(st.integers(1, p.n_k)), data.draw(st.integers(0, 99))
    runs, truth = run_all(p, Br, Bc, splits, seed)
    qkv = draw_qkv(p, seed)
    for name, run in runs.items():
        found = judged(run, *qkv, causal=p.causal, offset=p.offset)
        assert found.exact or (found.exact is None and STORAGE[p.dtype].itemsize < 4), (name, found.why)
        masked = np.isneginf(truth.lse)
        assert np.array_equal(np.isneginf(run.lse), masked), name
        assert not run.output[masked].astype(np.float64).any(), name


def test_naive_is_as_good_as_its_type():
    """What the column «error ÷ naive» divides by is near the truth: a few eps of its type, at unit-variance inputs."""
    for dtype, bound in {"float64": 1e-15, "float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}.items():
        p = sa.Problem(n_q=100, n_k=100, d=32, dtype=dtype, heads=2, kv_heads=2)
        Q, K, V = draw_qkv(p)
        run = ROOMY.run(sa.naive, Q, K, V)
        assert error(run.output, run.lse, sa.attention_truth(Q, K, V)).max_abs < bound, dtype


@given(p=problems(), seed=st.integers(0, 99))
def test_the_truth_is_the_definition(p, seed):
    """float64 attention by strips equals softmax(QKᵀ/√d)V written out row by row, heads shared, masked keys removed."""
    Q, K, V = draw_qkv(p, seed)
    truth = sa.attention_truth(Q, K, V, causal=p.causal, offset=p.offset)
    for b in range(p.batch):
        for h in range(p.heads):
            O, lse = plain_attention(Q[b, h], K[b, h // p.group], V[b, h // p.group], causal=p.causal, offset=p.offset)
            assert np.allclose(truth.O[b, h].astype(float), O, atol=1e-12)
            assert np.allclose(truth.lse[b, h].astype(float), lse, atol=1e-12)


def test_the_truth_is_that_of_onnx():
    """On ONNX's reference implementation of Attention, with shared heads, wide values and its upper-left causal mask, we agree."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal(shape, np.float32) for shape in ((2, 6, 7, 8), (2, 3, 9, 8), (2, 3, 9, 5)))
    for causal in (0, 1):
        node = onnx.helper.make_node("Attention", ["Q", "K", "V"], ["Y"], is_causal=causal)
        inputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "QKV"]
        output = [onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)]
        model = onnx.helper.make_model(
            onnx.helper.make_graph([node], "attention", inputs, output), opset_imports=[onnx.helper.make_opsetid("", 24)]
        )
        (Y,) = ReferenceEvaluator(model).run(None, {"Q": Q, "K": K, "V": V})
        assert np.allclose(sa.attention_truth(Q, K, V, causal=bool(causal), offset=0).O, Y, atol=1e-5)
        for f in FORWARD.values():
            assert np.allclose(ROOMY.run(f, Q, K, V, causal=bool(causal), offset=0, Br=4, Bc=4).output, Y, atol=1e-5), f.__name__


def test_a_row_that_sees_no_key_is_zero_without_a_warning():
    """With more queries than keys, causal, the first rows see nothing: O = 0, lse = −∞, in every algorithm; warnings are errors here."""
    Q, K = np.ones((6, 4), np.float32), np.ones((2, 4), np.float32)
    for name, f in FORWARD.items():
        run = ROOMY.run(f, Q, K, K, causal=True, Br=4, Bc=2)
        assert not run.output[:4].any(), name
        assert np.isneginf(run.lse[:4]).all(), name
        assert np.allclose(run.output[4:], 1), name
        assert np.isfinite(run.lse[4:]).all(), name
        assert not ROOMY.run(f, Q, K, K, causal=True, offset=-9, Br=4, Bc=2).output.any(), name


def test_large_scores_do_not_overflow():
    """Scores of ±10⁴ leave the softmax finite, as the running maximum is subtracted first."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((40, 16), np.float32) * scale for scale in (100, 100, 1))
    for name, f in FORWARD.items():
        run = ROOMY.run(f, Q, K, V, Br=16, Bc=8)
        truth = sa.attention_truth(Q[None, None], K[None, None], V[None, None])
        assert np.isfinite(run.output).all()
        assert np.allclose(run.output, truth.O[0, 0], atol=1e-2), name


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_not_a_number_where_the_truth_is_not_a_number(bad, which):
    """A NaN or infinity in Q, K or V, dense, makes NaN or infinity exactly where it makes them in the truth, and no count wrong."""
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((12, 4), np.float32) for _ in range(3)]
    clean = {name: ROOMY.run(f, *arrays, Br=4, Bc=4) for name, f in FORWARD.items()}
    arrays[which][5, 2] = bad
    truth = sa.attention_truth(*(x[None, None] for x in arrays))
    for name, f in FORWARD.items():
        run = ROOMY.run(f, *arrays, Br=4, Bc=4)
        assert np.array_equal(np.isnan(run.output), np.isnan(truth.O[0, 0])), name
        assert run.total == clean[name].total


def test_the_scale_is_an_option():
    """A given scale replaces 1/√d."""
    Q, K, V = (np.random.default_rng(i).standard_normal((10, 4), np.float32) for i in range(3))
    for name, f in FORWARD.items():
        assert np.allclose(
            ROOMY.run(f, Q, K, V, scale=0.3, Br=4, Bc=4).output, plain_attention(Q, K, V, scale=0.3)[0], atol=1e-5
        ), name


def test_one_row_of_scores_that_does_not_fit_is_read_twice():
    """naive reads S once where whole rows fit on chip, and twice where one does not; the result is the same."""
    Q, K, V = (np.random.default_rng(i).standard_normal((n, 4), np.float32) for i, n in ((0, 8), (1, 200), (2, 200)))
    roomy, tight = (sa.Machine(name="m", sram=sram).run(sa.naive, Q, K, V, Br=4, Bc=8) for sram in (1 << 20, 600))
    S = 8 * 200 * 4
    assert (roomy.tensors["S"].hbm_read, tight.tensors["S"].hbm_read) == (S, 2 * S)
    assert np.allclose(roomy.output, tight.output, atol=1e-6)


@pytest.mark.parametrize(
    ("B", "S", "splits"), [(64, 1, 3), (16, 4, 6), (8, 8, 13), (4, 16, 26), (2, 32, 52), (1, 64, 103), (1, 128, 94)]
)
def test_the_number_of_splits_is_flash_attns(B, S, splits):
    """flash-attn's own numbers of splits on an A100, d = 128, 2 packed heads, S thousand keys: all seven come out."""
    assert heuristic(B * 2, 2 * 108, S * 1024 // 128) == splits
    Q, K = np.zeros((B, 16, 1, 128), np.float16), np.zeros((B, 2, S * 1024, 128), np.float16)
    if B * S <= 64:
        run = sa.machine("a100-40gb").run(sa.split_kv, Q, K, K)
        assert run.kernels["partial"].programs == B * 2 * splits


def test_splits_beyond_the_blocks_are_empty_and_weigh_nothing():
    """With more splits than key blocks the last ones are empty: their lse is −∞, and the combined result is that of one split."""
    Q, K, V = (np.random.default_rng(i).standard_normal((n, 4), np.float32) for i, n in ((0, 3), (1, 20), (2, 20)))
    one = ROOMY.run(sa.split_kv, Q, K, V, splits=1, Br=4, Bc=8)
    many = ROOMY.run(sa.split_kv, Q, K, V, splits=20, Br=4, Bc=8)
    assert many.kernels["partial"].programs == 20
    assert "combine" not in one.kernels
    assert np.allclose(one.output, many.output, atol=1e-6)
    assert np.allclose(one.lse, many.lse, atol=1e-6)


def test_one_call_on_arrays():
    """`sa.attention` runs any algorithm by name, on any machine; unknown names come with the nearest one."""
    Q, K, V = (np.random.default_rng(i).standard_normal((10, 4), np.float32) for i in range(3))
    run = sa.attention(Q, K, V, algorithm="naive", machine="t4", causal=True)
    assert (run.algorithm, run.machine) == ("naive", "t4")
    assert np.allclose(run.output, plain_attention(Q, K, V, causal=True)[0], atol=1e-5)
    with pytest.raises(ValueError, match="did you mean 'flash2'"):
        sa.attention(Q, K, V, algorithm="flahs2")
    with pytest.raises(ValueError, match="did you mean 'h100-sxm'"):
        sa.attention(Q, K, V, machine="h100")
    with pytest.raises(TypeError, match="Q is a list"):
        sa.attention([[1.0]], K, V)
    K[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"K holds 1 values that are not finite.*at \[2, 1\]"):
        sa.attention(Q, K, V)


def test_partial_results_merge_in_any_grouping_and_empty_ones_weigh_nothing():
    """Flash-Decoding's combination is associative, and (O, lse) = (0, −∞) is its neutral element."""

    def merge(gpu, O1, L1, O2, L2, *, Br):
        partials = Partials(gpu, gpu.empty(O1.shape, name="O"), gpu.empty(L1.shape, name="lse"), 2)
        for (O, L), (x, y) in zip(partials.parts, ((O1, L1), (O2, L2)), strict=True):
            for sram, i in gpu.launch("fill", sa.blocks(O1.shape[0], Br)):
                sram.store(O[i], sram.load(x[i]))
                sram.store(L[i], sram.load(y[i]))
        return partials.combine(Br)

    def merged(x, y):
        return tuple(ROOMY.run(merge, *x, *y, Br=4).outputs.values())

    Q, K, V = (np.random.default_rng(i).standard_normal((n, 4), np.float32) * 3 for i, n in ((0, 9), (1, 30), (2, 30)))
    a, b, c = (
        (run.output, run.outputs["lse"])
        for part in (slice(0, 3), slice(3, 20), slice(20, 30))
        for run in [ROOMY.run(sa.flash2, Q, K[part], V[part], Br=4, Bc=8)]
    )
    empty = np.zeros((9, 4), np.float32), np.full((9, 1), -np.inf, np.float32)
    whole = ROOMY.run(sa.flash2, Q, K, V, Br=4, Bc=8)
    for x in (merged(merged(a, b), c), merged(a, merged(b, c)), merged(merged(c, empty), merged(b, a))):
        assert np.allclose(x[0], whole.output, atol=1e-6)
        assert np.allclose(x[1], whole.outputs["lse"], atol=1e-6)
    assert all(np.array_equal(x, y) for x, y in zip(merged(empty, empty), empty, strict=True))
    assert all(np.allclose(x, y, atol=1e-7) for x, y in zip(merged(empty, a), a, strict=True))
