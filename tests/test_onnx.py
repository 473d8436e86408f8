"""ONNX's own test cases of its operator Attention, through simattn's own options: nothing is folded into one additive bias."""

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import ROOMY

import simattn as sa
from simattn.hierarchy.dtypes import limits, scores_type
from simattn.kernels.scores import Scores

onnx = pytest.importorskip("onnx")
# `collect_testcases("Attention")` would run the cases of every operator, for seconds and with warnings; this module has Attention's.
import_module("onnx.backend.test.case.node.attention")
CASES = {
    case.name: case
    for case in import_module("onnx.backend.test.case.node")._NodeTestCases
    if case.name.startswith("test_attention") and "_expanded" not in case.name
}
SCORES = [name for name, case in CASES.items() if "qk_matmul_output" in case.model.graph.node[0].output]
BLOCKS = [{"Br": 2, "Bc": 3}, {"Br": 3, "Bc": 2}]  # N and n_k are 1 to 18: several blocks, some partial, some skipped


class Case(NamedTuple):
    """A case in simattn's terms, every array with four dimensions. K and V: past and new. mode: what ONNX shows of the scores."""

    qkv: tuple[Any, Any, Any]
    options: dict[str, Any]
    mode: int
    expected: dict[str, Any]


def split_heads(x, heads):
    """(batch, N, heads·d) as (batch, heads, N, d)."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def translate(name: str) -> Case:
    """ONNX's attributes and inputs as simattn's options; an attribute or input that is not translated raises."""
    (node,), ((inputs, outputs),) = CASES[name].model.graph.node, CASES[name].data_sets
    given = dict(zip(filter(None, node.input), inputs, strict=True))
    expected = dict(zip(filter(None, node.output), outputs, strict=True))
    attribute = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    heads, kv_heads = attribute.pop("q_num_heads", None), attribute.pop("kv_num_heads", None)
    expected["Y"] = split_heads(expected["Y"], heads)
    Q, K, V = (split_heads(given.pop(x), n) for x, n in (("Q", heads), ("K", kv_heads), ("V", kv_heads)))
    past = 0
    if "past_key" in given:
        past = given["past_key"].shape[2]
        K, V = (np.concatenate([given.pop(x), new], axis=2) for x, new in (("past_key", K), ("past_value", V)))

    lens, mask = given.pop("nonpad_kv_seqlen", None), given.pop("attn_mask", None)
    options = {
        "scale": attribute.pop("scale", None),
        "softcap": attribute.pop("softcap", None),
        "causal": bool(attribute.pop("is_causal", 0)),
        "window": tuple(None if w < 0 else w for w in (attribute.pop(f"{side}_window_size", -1) for side in ("left", "right"))),
        "offset": past if lens is None else None,  # unless given, kv_lens − n_q of each batch element: ONNX's external cache
        "kv_lens": lens,
    }
    if mask is not None:  # its dimensions are aligned right; keys that it is too short for are not seen
        short = [(0, 0)] * (mask.ndim - 1) + [(0, K.shape[2] - mask.shape[-1])]
        mask = np.pad(mask, short, constant_values=False if mask.dtype == bool else -np.inf)
        options["mask" if mask.dtype == bool else "bias"] = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    mode = attribute.pop("qk_matmul_output_mode", 0)
    precision = attribute.pop("softmax_precision", onnx.TensorProto.FLOAT)  # simattn's is always float32 here; none asks for less
    assert precision in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE), name
    assert not given, name
    assert not attribute, name
    return Case((Q, K, V), options, mode, expected)


def assert_close(ours, onnxs):
    """Equal but for rounding, as a part of the largest value; −∞ only where ONNX has −∞.

    2·eps of the type: ONNX rounds S, P and Y to it, and we round Y. 16·eps of float32: both sum up to 18 terms in it, in other orders.
    """
    assert ours.dtype == onnxs.dtype
    largest = np.abs(onnxs[np.isfinite(onnxs)].astype(np.float64)).max()
    eps = 2 * float(limits(onnxs.dtype).eps) + 16 * float(limits(np.float32).eps)
    np.testing.assert_allclose(ours.astype(np.float64), onnxs.astype(np.float64), rtol=0, atol=eps * largest)


def scores_in_hbm(gpu, Q, K, V, *, Br, Bc, **options):
    """The first kernel of naive, for every block instead of those that are visited: ONNX shows hidden scores, too."""
    scores = Scores(Q, K, V, **options)
    S = gpu.empty((Q.shape[0], K.shape[0]), name="S", dtype=scores_type(Q.dtype))
    pairs = [(i, j) for i in sa.blocks(Q.shape[0], Br) for j in sa.blocks(K.shape[0], Bc)]
    for sram, (i, j) in gpu.launch("scores", pairs):
        sram.store(S[i, j], scores(sram, sram.load(Q[i]) @ sram.load(K[j]).T, i, j))
    return S


def test_there_are_cases():
    """onnx brings at least the 93 cases, 18 of them with scores, that version 1.23 has; so the tests below are not empty."""
    assert len(CASES) >= 93
    assert len(SCORES) >= 18


@pytest.mark.parametrize("name", CASES)
def test_the_output_is_onnxs(name):
    """flash2 gives ONNX's Y, whatever hides keys, and past and new keys and values together are the present ones."""
    case = translate(name)
    for blocks in BLOCKS:
        assert_close(sa.attention(*case.qkv, **case.options, **blocks).output, case.expected["Y"])
    for present, x in zip(("present_key", "present_value"), case.qkv[1:], strict=True):
        assert present not in case.expected or np.array_equal(x, case.expected[present])


@pytest.mark.parametrize("name", SCORES)
def test_the_scores_are_onnxs(name):
    """Scores gives the products that ONNX shows in mode 0, capped in 1, biased and masked in 2, and naive the probabilities of 3."""
    case = translate(name)
    expected = case.expected["qk_matmul_output"]
    options = {x: case.options[x] for x in ("scale", "softcap")[: case.mode + 1]} if case.mode < 2 else case.options
    for blocks in BLOCKS:
        if case.mode < 3:  # what is hidden is −∞ on both sides, not the type's lowest: it must be so in the same places
            assert_close(ROOMY.run(scores_in_hbm, *case.qkv, **options, **blocks).output, expected)
        else:
            run = sa.attention(*case.qkv, algorithm="naive", return_P=True, **options, **blocks)
            P = run.outputs["P"]
            P = np.where(np.isnan(P) & (expected == 0), P.dtype.type(0), P)  # blocks that nothing visits are never written
            assert_close(P, expected)
            assert_close(run.output, case.expected["Y"])
