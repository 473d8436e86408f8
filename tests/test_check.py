"""`sa.check` and `sa.guess`: every fault that students make is found and named, and nothing that is right is called wrong."""

import html

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.workbench.check import NO_INPUTS


def student(fault="", dtype=None):
    """FlashAttention-2 as a student writes it, with one fault."""

    def mine(gpu, Q, K, V, *, Br, Bc, causal=False):
        (N, d), n_k = Q.shape, K.shape[0]
        O = gpu.empty((N, V.shape[1]), name="O", dtype=dtype)
        if fault == "returns nothing":
            return None
        if fault == "raises":
            return 1 / (N - N)
        for sram, i in gpu.launch("mine", sa.blocks(N, Br)):
            Qi, rows = sram.load(Q[i]), sa.size(i)
            m, l, Oi = sram.full((rows, 1), -1e30), sram.zeros((rows, 1)), sram.zeros((rows, V.shape[1]))
            for j in sa.blocks(n_k if fault != "no last block" else n_k // Bc * Bc, n_k if fault == "whole rows" else Bc):
                if causal and j.start > i.stop - 1 + n_k - N:
                    continue
                if fault == "reads Q again":
                    Qi = sram.load(Q[i])
                S = Qi @ sram.load(K[j]).T
                S = S if fault == "no scale" else S * d**-0.5
                if causal and fault != "no mask":
                    offset = 0 if fault == "upper left" else n_k - N
                    S = np.where(sram.arange(i).T + offset >= sram.arange(j), S, -1e30)
                m, m_old = np.maximum(m, S.max(axis=1, keepdims=True)), m
                P, a = np.exp(S - m), np.exp(m_old - m)
                l = (1 if fault in ("l not rescaled", "no rescale") else a) * l + P.sum(axis=1, keepdims=True)
                PV = (P if fault == "no astype" else P.astype(V.dtype)) @ sram.load(V[j])
                if fault == "inverse" and j.start:
                    Oi = Oi / a + PV
                else:
                    Oi = (1 if fault in ("O not rescaled", "no rescale") else a) * Oi + PV
            if fault == "peeks":
                gpu.peek(l)
            if fault != "no store" or i.start:
                sram.store(O[i], Oi if fault == "no division" else Oi / l)
        return O

    return mine


FAULTS = {
    "no scale": "not divided by √d",
    "no division": "not divided by the row sum",
    "O not rescaled": "O is not rescaled",
    "l not rescaled": "l is not rescaled",
    "no rescale": "neither O nor l is rescaled",
    "inverse": "multiplied",
    "no last block": "wrong",
    "reads Q again": "of Q are read",
    "whole rows": "its working set is",
    "no astype": "TypeError",
    "no store": "O",
    "returns nothing": "returned",
    "raises": "ZeroDivisionError: division by zero, at line",
    "peeks": "peek",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(fault):
    """Each fault fails the check, which says what it is and on which input."""
    found = sa.check(student(fault), "flash2")
    assert not found.passed
    assert FAULTS[fault] in found.why, found.why
    assert "on Q (" in found.why


@pytest.mark.parametrize(
    ("fault", "said"), [("no mask", "the causal mask is missing"), ("upper left", "the last query should see the last key")]
)
def test_a_wrong_mask_is_named(fault, said):
    """A causal mask that is missing or in another corner is told from any other wrong output."""
    assert said in sa.check(student(fault), "flash2", causal=True).why


@given(st.integers(0, 1 << 20), st.booleans())
def test_what_is_right_passes(seed, causal):
    """A student's own flash2 passes on whatever inputs a seed draws, causal or not."""
    found = sa.check(student(), "flash2", seed=seed, causal=causal)
    assert found.passed, found
    assert repr(found).startswith("✓ mine: passed")


@pytest.mark.parametrize("name", [name for name in sa.algorithms if name not in NO_INPUTS])
def test_every_algorithm_passes_against_itself(name):
    """Forward, decoding, approximate, backward and basic: the reference is right, with its own bytes and its own working set."""
    found = sa.check(sa.algorithms[name], name)
    assert found.passed, found
    assert {row["hbm_bytes"] == row["reference_hbm_bytes"] for row in found.to_dicts()} == {True}


def test_traffic_is_held_against_the_closed_form():
    """What a check calls the reference's bytes is what its formula says."""
    row = sa.check(sa.flash2, "flash2").rows[0]
    problem = sa.Problem(n_q=64, n_k=64, d=32, dtype="float32")
    form = sa.closed_form("flash2", problem, Br=16, Bc=16, sram=1 << 20).total
    assert row.inputs.startswith("Q (64, 32)")
    assert row.reference_hbm_bytes == form.hbm_read + form.hbm_write
    assert row.reference_peak_sram == form.peak_sram


def test_another_type_is_named():
    """An output in float32 for inputs in float16 is not right, though its values are."""
    why = sa.check(student(dtype="float32"), "flash2").why
    assert "type float32, not float16" in why


def test_a_machine_that_is_too_small_is_named():
    """The overflow has its line, what was live, and the input."""
    why = sa.check(student(), "flash2", sa.Machine(name="tiny", sram=2 * sa.KiB)).why
    assert "tiny has 2,048 B of SRAM" in why
    assert "S" in why


def test_what_is_not_written_yet_is_said():
    """Dots where code goes, in a line or as a whole body; what is no function; dots in an index are none."""

    def blank(gpu, X, *, Br):
        Y = gpu.empty(X.shape)
        for sram, i in gpu.launch("blank", sa.blocks(X.shape[0], Br)):
            y = ...
            sram.store(Y[i], y)
        return Y

    def empty(gpu, X): ...

    def indexed(gpu, X):
        X[..., 0]

    assert "unfinished: line" in sa.check(blank, "transpose").why
    assert "y = ..." in sa.check(blank, "transpose").why
    assert "unfinished" in sa.check(empty, "transpose").why
    assert "unfinished" not in sa.check(indexed, "transpose").why
    for thing in (..., None, 3):
        assert "no function" in sa.check(thing, "flash2").why


def test_a_function_may_take_fewer_blocks_than_the_reference():
    """All keys at once takes Br alone: right, and more than flash2 has on chip."""

    def all_keys(gpu, Q, K, V, *, Br):
        O = gpu.empty((Q.shape[0], V.shape[1]), name="O")
        for sram, i in gpu.launch("all_keys", sa.blocks(Q.shape[0], Br)):
            S = sram.load(Q[i]) @ sram.load(K).T * Q.shape[1] ** -0.5
            P = np.exp(S - S.max(axis=1, keepdims=True))
            sram.store(O[i], (P / P.sum(axis=1, keepdims=True)).astype(V.dtype) @ sram.load(V))
        return O

    found = sa.check(all_keys, "flash2")
    assert "its working set is" in found.why
    assert [row["right"] for row in found.to_dicts()] == [True] * 4 + [None]


def leaves(gpu, Q, K, V):
    raise SystemExit(1)


def recurses(gpu, Q, K, V):
    return recurses(gpu, Q, K, V)


def lacks(gpu, Q):
    return Q


def wants(gpu, Q, K, V, *, rows):
    return Q


@pytest.mark.parametrize(
    "function",
    [leaves, recurses, lacks, wants, print, int, lambda gpu, Q, K, V: Q, lambda gpu, Q, K, V: 3],
    ids=["leaves", "recurses", "lacks", "wants", "print", "int", "input", "number"],
)
def test_a_check_does_not_raise_for_what_a_function_does(function):
    """Whatever a function does or is, the check says that it failed, and why."""
    found = sa.check(function, "flash2")
    assert not found.passed
    assert len(found.why) > 10


def test_a_numpy_reference_has_shapes():
    """Equal lengths stay equal in the hidden shapes, so that a product has its inner length."""

    def product(gpu, A, B, *, Br):
        C = gpu.empty((A.shape[0], B.shape[1]), name="C")
        for sram, i in gpu.launch("product", sa.blocks(A.shape[0], Br)):
            sram.store(C[i], sram.load(A[i]) @ sram.load(B))
        return C

    assert sa.check(product, np.matmul, shapes=((64, 32), (32, 48))).passed
    assert sa.check(product, np.matmul, shapes=((64, 32), (32, 48)), dtypes="float16").passed
    assert "is wrong" in (why := sa.check(product, lambda A, B: -(A @ B), shapes=((64, 32), (32, 48))).why) or "are wrong" in why


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"reference": "flash3"}, "did you mean 'flash3_fp8'"),
        ({"reference": "paged"}, "its keys are pages"),
        ({"reference": 3}, "give the name of an algorithm"),
        ({"reference": np.matmul}, "give the shape of each array"),
        ({"reference": np.matmul, "shapes": ((0, 3),)}, "give the shape of each array"),
        ({"reference": "flash2", "shapes": ((3, 3),)}, "has hidden shapes of its own"),
        ({"reference": "flash2", "dtypes": "float17"}, "did you mean 'float16'"),
        ({"reference": "flash2", "dtypes": ()}, "give one at least"),
        ({"reference": "flash2", "seed": -1}, "seed"),
        ({"reference": "flash2", "machine": "a1000"}, "a100"),
    ],
)
def test_what_a_check_cannot_do_is_said(arguments, said):
    """A wrong argument of the check itself is an error that names the value and the remedy."""
    with pytest.raises((ValueError, TypeError), match=said):
        sa.check(student(), **arguments)


def test_a_check_shows_text_as_text():
    """A function's name and its messages are escaped in a notebook."""

    def f(gpu, Q, K, V):
        raise ValueError("<b>bold</b>")

    f.__name__ = "<script>"
    shown = sa.check(f, "flash2")._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert html.escape("<b>bold</b>") in shown


@given(st.floats(1e-6, 1e12), st.floats(0.05, 20))
def test_a_guess_is_scored_by_its_ratio(truth, times):
    """Within 10 % right, within a factor of 2 close, else off; either way."""
    far = max(times, 1 / times)
    if min(abs(far - 1.1), abs(far - 2)) > 1e-6:
        assert sa.guess("How many?", truth, truth * times).score == (1.0 if far <= 1.1 else 0.5 if far <= 2 else 0.0)


def test_a_guess_hides_the_truth_until_one_is_entered():
    """Before, the truth is neither shown nor computed."""

    def truth():
        raise AssertionError

    for shown in (sa.guess("How many?", truth), sa.guess("How many?", 123456), sa.guess("How many?", 123456, ...)):
        assert shown.truth is shown.score is None
        assert "123" not in repr(shown) + shown._repr_html_() + str(vars(shown))
        assert "mine=" in repr(shown)


@pytest.mark.parametrize(
    ("truth", "mine", "score", "said"),
    [
        (4, 4, 1.0, "You said 4. It is 4: right."),
        (0, 0, 1.0, "It is 0: right."),
        (0, 1, 0.0, "off."),
        (-2, 2, 0.0, "off."),
        (np.int64(40), np.float32(60), 0.5, "close, 1.5 × the truth."),
        ("flash1", "Flash1 ", 1.0, "It is flash1: right."),
        ("flash1", "flash2", 0.0, "It is flash1: off."),
        (lambda: 1e9, 5, 0.0, "off, 5e-09 × the truth"),
    ],
)
def test_a_guess_says_how_near_it_came(truth, mine, score, said):
    """Numbers by their ratio, words by their letters."""
    found = sa.guess("How many?", truth, mine)
    assert found.score == score
    assert said in repr(found)
    assert html.escape(said) in found._repr_html_()


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ("four", "enter a number"),
        (True, "number or a word"),
        ([1, 2], "number or a word"),
        (float("nan"), "finite"),
        (1j, "number"),
    ],
)
def test_a_guess_that_is_none_is_refused(mine, said):
    """One error names what was entered and what to enter."""
    with pytest.raises((TypeError, ValueError), match=said):
        sa.guess("How many?", 4, mine)
