"""The backward passes: their truth by finite differences, their exactness, the weights that they drop, and what they refuse."""

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given, settings
from hypothesis import strategies as st
from test_options import as_slow, attentions, ones, slow_attention

import simattn as sa
from simattn.hierarchy.dtypes import STORAGE
from simattn.reference.truth import gradient_error, gradients_truth
from simattn.workbench.cases import Backward
from simattn.workbench.options import Options

BACKWARD = ("unfused_chain", "naive", "flash1", "flash2")
GRADIENTS = ("dQ", "dK", "dV")


def finite_differences(qkv, dO, **options):
    """The gradients of sum(O ∘ dO) by central differences in longdouble, one element at a time."""
    arrays, step = [np.array(x, np.longdouble) for x in qkv], np.longdouble(1e-5)
    gradients = [np.empty_like(x) for x in arrays]
    for x, gradient in zip(arrays, gradients, strict=True):
        for at in np.ndindex(x.shape):
            value, sides = x[at], []
            for moved in (value + step, value - step):
                x[at] = moved
                sides.append((slow_attention(*arrays, **options)[0] * dO).sum())
            x[at] = value
            gradient[at] = (sides[0] - sides[1]) / (2 * step)
    return gradients


@settings(max_examples=15)
@given(p=attentions(dtypes=("float64",), largest=4), seed=st.integers(0, 9))
def test_the_truth_is_the_slope_of_the_definition(p, seed):
    """gradients_truth equals central finite differences of the slow definition, under any combination of options and head counts."""
    dO = np.random.default_rng(seed).standard_normal((*p.qkv[0].shape[:3], p.qkv[2].shape[3]))
    truth = gradients_truth(*p.qkv, dO, **p.checked)
    for name, by_differences in zip(GRADIENTS, finite_differences(p.qkv, dO, **as_slow(p)), strict=True):
        assert np.allclose(getattr(truth, name).astype(float), by_differences.astype(float), rtol=1e-6, atol=1e-8), name


def test_the_truth_is_torchs():
    """On PyTorch's autograd through scaled_dot_product_attention, dense, causal, masked, biased, heads shared, the gradients agree."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((2, 4, 6, 5), (2, 2, 6, 5), (2, 2, 6, 3), (2, 4, 6, 3))]
    bias, mask = rng.standard_normal((6, 6)), rng.random((6, 6)) < 0.6
    mask[:, 0] = True  # torch gives NaN for a row that sees nothing
    for ours, theirs in (
        ({}, {}), ({"causal": True}, {"is_causal": True}), ({"bias": bias}, {"attn_mask": torch.tensor(bias)}),
        ({"mask": mask, "scale": 0.3}, {"attn_mask": torch.tensor(mask), "scale": 0.3}),
    ):  # fmt: skip
        q, k, v = (torch.tensor(x, requires_grad=True) for x in arrays[:3])
        shared = (x.repeat_interleave(2, dim=1) for x in (k, v))
        torch.nn.functional.scaled_dot_product_attention(q, *shared, **theirs).backward(torch.tensor(arrays[3]))
        truth = gradients_truth(*arrays, **ours)
        for name, x in zip(GRADIENTS, (q, k, v), strict=True):
            assert np.allclose(getattr(truth, name).astype(float), x.grad.numpy(), atol=1e-12), (name, ours)


@pytest.mark.parametrize("algorithm", BACKWARD)
@settings(max_examples=40)
@given(p=attentions(), seed=st.integers(0, 9))
def test_every_backward_pass_is_exact_under_every_option(algorithm, p, seed):
    """From attention's own output, rounding explains the error of every gradient; what nothing sees has gradients of 0, no NaN."""
    Q = p.qkv[0]
    dO = np.random.default_rng(seed).standard_normal((*Q.shape[:3], p.qkv[2].shape[3]), np.float32).astype(Q.dtype)
    case, forward = Backward(*p.qkv, Options.of(*p.qkv[:2], **p.options), dO), p.run("flash2")
    given = (forward.output, forward.lse, dO)
    run = sa.attention_backward(*p.qkv, *given, algorithm=algorithm, machine=ROOMY, **p.options, **p.blocks)
    judgement = case.judge(run, *case.bounded([run]))
    assert judgement.exact or (judgement.exact is None and Q.dtype.itemsize < 4), judgement.why
    unseen = ~gradients_truth(*p.qkv, np.ones_like(dO), **(p.checked | {"dropout": 0.0})).dV.any(axis=-1)
    for name, like, zero in zip(GRADIENTS, p.qkv, (np.isneginf(p.truth().lse), unseen, unseen), strict=True):
        found = run.outputs[name]
        assert (found.shape, found.dtype) == (like.shape, like.dtype)
        assert not found[zero].astype(float).any(), name


@pytest.mark.parametrize("algorithm", BACKWARD)
def test_a_softcap_that_is_all_but_flat_is_judged_by_what_its_slope_may_be(algorithm):
    """With one key every gradient of a score cancels, and at the end of tanh the slope is rounding alone: the run is not called wrong."""
    q, k, v, do = (
        np.array(x, np.float32).reshape(1, 1, -1, 1) for x in ([1.72656, -1.42969, 1.03125], [1.88281], [0.0751953], [1, -1, 0.5])
    )
    q, k, v, do = (x.astype(STORAGE["bfloat16"]) for x in (q, k, v, do))
    options = {"scale": 1.5, "softcap": 0.5, "dropout": 0.1, "rng": 0}
    verdict = sa.compare(ROOMY, [algorithm], q, k, v, dO=do, backward=True, Br=1, Bc=1, **options)[algorithm].verdict
    assert verdict != "not exact"


@settings(max_examples=20)
@given(n=st.integers(1, 9), Br=st.integers(1, 5), Bc=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_backward_pass_drops_what_the_forward_pass_dropped(n, Br, Bc, seed):
    """With V and dO the identity, O is P after dropout and dV its transpose: the same weights are 0, at other blocks than forward's."""
    rng = np.random.default_rng(seed)
    Q, K = (rng.standard_normal((2, 2, n, 3), np.float32) for _ in range(2))
    V = np.broadcast_to(np.eye(n, dtype=np.float32), (2, 2, n, n)).copy()
    forward = sa.attention(Q, K, V, machine=ROOMY, dropout=0.5, rng=seed, Br=4, Bc=3)
    for algorithm in BACKWARD:
        run = sa.attention_backward(
            Q, K, V, forward.output, forward.lse, V, algorithm=algorithm, machine=ROOMY, dropout=0.5, rng=seed, Br=Br, Bc=Bc
        )
        dropped = run.outputs["dV"].swapaxes(2, 3)
        assert np.array_equal(dropped == 0, forward.output == 0), algorithm
        assert np.allclose(dropped, forward.output, atol=1e-6), algorithm


@pytest.mark.parametrize("algorithm", BACKWARD)
def test_from_the_output_of_attention_to_its_gradients(algorithm):
    """Two calls, with one rng and the blocks that the machine chooses, on the flat and the four-dimensional form, give the gradients."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((n, 16)) for n in (150, 140, 140))
    options = dict(causal=True, dropout=0.1, rng=7)
    forward = sa.attention(q, k, v, **options)
    do = rng.standard_normal(forward.output.shape)
    run = sa.attention_backward(q, k, v, forward.output, forward.lse, do, algorithm=algorithm, **options)
    seed = int(np.random.default_rng(7).integers(1 << 63))
    truth = gradients_truth(*(x[None, None] for x in (q, k, v, do)), causal=True, dropout=0.1, seed=seed)
    for name in GRADIENTS:
        assert np.allclose(run.outputs[name], getattr(truth, name)[0, 0].astype(float), atol=1e-12), name
    again = [x[None, None] for x in (q, k, v, forward.output, forward.lse, do)]
    whole = sa.attention_backward(*again, algorithm=algorithm, **options)
    assert all(np.array_equal(whole.outputs[name][0, 0], run.outputs[name]) for name in GRADIENTS)


@pytest.mark.parametrize("algorithm", BACKWARD)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_heads_share_is_added_up_by_atomics(algorithm, dtype):
    """dK and dV of grouped heads are sums over the group, of 4 B an element and head read and written; alone, each is stored once."""
    rng, group, n = np.random.default_rng(0), 3, 8
    Q, dO = (rng.standard_normal((1, group, n, 4), np.float32).astype(dtype) for _ in range(2))
    K, V = (rng.standard_normal((1, 1, n, 4), np.float32).astype(dtype) for _ in range(2))
    options = dict(algorithm=algorithm, machine=ROOMY, Br=4, Bc=4)
    forward = sa.attention(Q, K, V, machine=ROOMY)
    shared = sa.attention_backward(Q, K, V, forward.output, forward.lse, dO, **options)
    copies = [x.repeat(group, axis=1) for x in (K, V)]
    alone = sa.attention_backward(Q, *copies, forward.output, forward.lse, dO, **options)
    for name in ("dK", "dV"):
        total = alone.outputs[name].astype(np.float32).sum(axis=1, keepdims=True)
        assert np.allclose(shared.outputs[name], total, atol=1e-5 if dtype == "float32" else 2e-2), name
        parts = shared.tensors[name if dtype == "float32" else f"{name}_acc"]
        assert parts.hbm_write == (group + 1) * K.size * 4, name  # zeroed once, then a part a head
        assert parts.hbm_read == (group + (dtype == "float16")) * K.size * 4, name  # and read to be converted
        assert (alone.tensors[name].hbm_read, alone.tensors[name].hbm_write) == (0, group * K.nbytes), name


def test_naive_takes_the_P_of_any_blocks():
    """P is an array, whatever blocks made it: those that its forward pass did not visit hold zeros to the backward pass, not NaN."""
    rng = np.random.default_rng(0)
    q, k, v, do = (rng.standard_normal((32, 8)) for _ in range(4))
    forward = sa.attention(q, k, v, algorithm="naive", causal=True, return_P=True, Br=4, Bc=4)
    own = sa.attention_backward(q, k, v, forward.output, forward.lse, do, algorithm="naive", causal=True)
    given = sa.attention_backward(q, k, v, forward.output, forward.lse, do, algorithm="naive", causal=True, p=forward.outputs["P"])
    assert all(np.allclose(given.outputs[name], own.outputs[name]) for name in GRADIENTS)


def backward(algorithm="flash2", **changed):
    arrays = {name: np.ones((6, 4), np.float32) for name in ("q", "k", "v", "o", "do")} | {"lse": np.ones(6, np.float32)} | changed
    options = {name: x for name, x in arrays.items() if name not in ("q", "k", "v", "o", "lse", "do")}
    return sa.attention_backward(*(arrays[name] for name in ("q", "k", "v", "o", "lse", "do")), algorithm=algorithm, **options)


@pytest.mark.parametrize("algorithm", ["online_softmax", "split_kv", "block_sparse", "incremental", "paged", "flash3"])
def test_an_algorithm_without_a_backward_pass_says_which_have_one(algorithm):
    """One ValueError that names it and the four that have one."""
    with pytest.raises(ValueError, match=f"{algorithm} has no backward pass.*unfused_chain, naive, flash1, flash2"):
        backward(algorithm)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("o", np.ones((6, 5), np.float32)), ("lse", np.ones((6, 1), np.float32)), ("lse", np.ones(5, np.float32)),
     ("do", np.ones((5, 4), np.float32)), ("do", np.ones((1, 1, 6, 4), np.float32)), ("p", np.ones((6, 5), np.float32)),
     ("o", [[1.0]]), ("lse", [1.0]), ("do", [[1.0]]), ("do", np.ones((6, 4))), ("lse", np.ones(6)),
     ("causl", True), ("window", (-1, 0)), ("splits", 2)],
    ids=lambda x: x if isinstance(x, str) else f"{type(x).__name__} {getattr(x, 'shape', x)} {getattr(x, 'dtype', '')}",
)  # fmt: skip
def test_what_does_not_fit_is_named(name, wrong):
    """An o, lse, do or p of another shape, type or kind than the forward pass gives, and a bad option, raise an error with its name."""
    with pytest.raises((ValueError, TypeError), match=rf"(^|['\s]){name}\b"):
        backward("naive" if name == "p" else "flash2", **{name: wrong})


def test_a_row_that_sees_nothing_sends_nothing_back():
    """A mask without a True, and lengths of 0, give gradients of 0 and no NaN in every pass, without a warning."""
    hidden = ones(2, 2, 1, 5, mask=np.zeros((5, 5), bool)), ones(2, 2, 1, 5, kv_lens=0), ones(2, 2, 1, 5, causal=True, offset=-9)
    for p in hidden:
        forward = p.run("flash2")
        for algorithm in BACKWARD:
            run = sa.attention_backward(*p.qkv, forward.output, forward.lse, p.qkv[0], algorithm=algorithm, **p.options, **p.blocks)
            assert not any(run.outputs[name].any() for name in GRADIENTS), (algorithm, p.options)


def test_naive_gradients_do_not_hide_behind_themselves():
    """Where keys end within a block, naive's stored P is whole, and its gradients are those of the definition."""
    rng = np.random.default_rng(0)
    q, k, v, do = (rng.standard_normal((n, 8)) for n in (4, 32, 32, 4))
    run = sa.attention(q, k, v, kv_lens=20)
    truth = gradients_truth(*(x[None, None] for x in (q, k, v, do)), kv_lens=20)
    for algorithm in ("naive", "unfused_chain", "flash1", "flash2"):
        backward = sa.attention_backward(q, k, v, run.output, run.lse, do, algorithm=algorithm, kv_lens=20)
        assert gradient_error(backward.outputs, truth).max_abs < 1e-14, algorithm
    P = ROOMY.run(sa.naive, q, k, v, return_P=True, kv_lens=20, Br=16, Bc=16).outputs["P"]
    assert np.allclose(P.sum(axis=1), 1)


def test_a_wrong_naive_is_called_not_exact(substitute):
    """The verdict does not excuse naive: one that forgets half of the keys is not exact, and neither is who agrees with it."""
    plain = sa.algorithms["naive"]

    def wrong(gpu, Q, K, V, *, Br, Bc, **options):
        return plain(gpu, Q, K[: K.shape[0] // 2], V[: K.shape[0] // 2], Br=Br, Bc=Bc, **options)

    substitute("naive", wrong)
    substitute("alike", wrong)
    Q, K, V = (np.random.default_rng(i).standard_normal((1, 2, 64, 16)).astype(np.float16) for i in range(3))
    compared = sa.compare(ROOMY, ["naive", "alike", "flash2"], Q, K, V, Br=16, Bc=16)
    assert [r.exact for r in compared.results] == [False, False, True]
