"""The learner's own functions where names go, each with a row of its own whatever it does; and counts without a run."""

import functools
import json
import sys
import textwrap

import jsonschema
import numpy as np
import pytest
from conftest import ROOMY
from test_cli import SCHEMA, run

import simattn as sa
from simattn.workbench.counted import count
from simattn.workbench.inputs import draw
from simattn.workbench.listed import comparable, listed
from simattn.workbench.work import estimate

Q, K, V = (np.random.default_rng(k).standard_normal((1, 2, 40, 16), np.float32).astype(np.float16) for k in range(3))
BLOCKS = {"Br": 16, "Bc": 16}


def my_flash(gpu, Q, K, V, *, Br, Bc, **options):
    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc, **options)


def plain_flash(gpu, Q, K, V, Br, Bc):
    """O alone, no options, block sizes by position."""
    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)[0]


def my_backward(gpu, Q, K, V, O, lse, dO, *, Br, Bc, **options):
    return sa.flash2_backward(gpu, Q, K, V, O, lse, dO, Br=Br, Bc=Bc, **options)


def test_a_function_has_a_row_beside_names():
    """Its row has its name, the counts and the verdict of the same algorithm by name; a shipped function stands for its name."""
    found = sa.compare("a100-40gb", ["naive", sa.flash2, my_flash, plain_flash, my_flash], Q, K, V)
    assert [r.algorithm for r in found.results] == ["naive", "flash2", "my_flash", "plain_flash"]
    assert found["my_flash"].run.kernels == found["flash2"].run.kernels
    assert {(r.verdict, r.counted_by) for r in found.results} == {("exact", "execution")}
    assert found["my_flash"].error == found["flash2"].error
    assert found["plain_flash"].error.lse is None
    for shown in (str(found), found._repr_html_()):
        assert "my_flash" in shown


def test_an_option_goes_to_whom_takes_it():
    """Options of the scores reach **options; a function without them is refused in its row, with the name of the option."""
    found = sa.compare(ROOMY, ["flash2", my_flash, plain_flash], Q, K, V, causal=True, softcap=3.0, **BLOCKS)
    assert [r.outcome for r in found.results] == [None, None, "refused"]
    assert found["my_flash"].error == found["flash2"].error
    assert "plain_flash: unknown option 'softcap'" in found["plain_flash"].failure

    def thrice(gpu, Q, K, V, *, Br, Bc, times=1):
        assert times == 3
        return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)

    assert sa.compare(ROOMY, [thrice, "naive"], Q, K, V, times=3, **BLOCKS)["thrice"].exact
    with pytest.raises(TypeError, match="tims"):
        sa.compare(ROOMY, [thrice, "naive"], Q, K, V, tims=3)
    assert "tims" in sa.compare(ROOMY, [my_flash, "naive"], Q, K, V, tims=3)["my_flash"].failure


def divides(gpu, Q, K, V, *, Br, Bc):
    return 1 / 0


def indexes(gpu, Q, K, V, *, Br, Bc):
    return [][Br]


def races(gpu, Q, K, V, *, Br, Bc):
    O = gpu.empty((Q.shape[0], V.shape[1]), name="O")
    for sram, _ in gpu.launch("races", sa.blocks(Q.shape[0], Br)):
        sram.store(O[0:1], sram.zeros((1, V.shape[1])))
    return O


def leaves_out(gpu, Q, K, V, *, Br, Bc):
    O = gpu.empty((Q.shape[0], V.shape[1]), name="O")
    for sram, i in gpu.launch("leaves_out", sa.blocks(Br, Br)):
        sram.store(O[i], sram.zeros((sa.size(i), V.shape[1])))
    return O


def adds_hbm(gpu, Q, K, V, *, Br, Bc):
    return Q + K


def narrow(gpu, Q, K, V, *, Br, Bc):
    return sa.flash2(gpu, Q, K, V[:, 0:8], Br=Br, Bc=Bc)


def too_large(gpu, Q, K, V, *, Br, Bc):
    for sram, _ in gpu.launch("too_large", sa.blocks(16, 16)):
        sram.zeros((1 << 16, 1 << 16))


def ends_python(gpu, Q, K, V, *, Br, Bc):
    raise SystemExit(3)


def takes_too_much(gpu, Q, K, V, W, *, Br, Bc):
    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)


FAILURES = {
    divides: ("failed", "ZeroDivisionError: division by zero, at line"),
    indexes: ("failed", "return [][Br]"),
    races: ("failed", "sram.store(O[0:1]"),
    leaves_out: ("refused", "nothing wrote"),
    adds_hbm: ("failed", "return Q + K"),
    narrow: ("refused", "returned O of shape (1, 2, 40, 8), not (1, 2, 40, 16)"),
    too_large: ("did not fit", "sram.zeros((1 << 16, 1 << 16))"),
    ends_python: ("failed", "SystemExit: 3"),
    takes_too_much: ("refused", "W"),
}


def test_a_function_that_fails_keeps_its_row():
    """Whatever it raises, its row says what and in which line, and the others finish; the same where it is only counted."""
    found = sa.compare(ROOMY, [*FAILURES, "flash2"], Q, K, V, **BLOCKS)
    assert found["flash2"].exact
    for function, (outcome, said) in FAILURES.items():
        row = found[function.__name__]
        assert (row.run, row.outcome) == (None, outcome), row
        assert said in row.failure
        assert outcome != "failed" or "test_functions.py" in row.failure
    only = count(ROOMY, [*FAILURES, "flash2"], sa.Problem(n_q=40, n_k=40, d=16, heads=2), **BLOCKS)
    assert [r.algorithm for r in only.results if r.run] == ["narrow", "flash2"]  # a shape is wrong where it is compared
    json.dumps(found.to_dict(), allow_nan=False)


def test_gradients_by_a_function():
    """f(gpu, Q, K, V, O, lse, dO) is compared by its dQ, dK and dV; outputs of other names or shapes are said."""

    def other_names(gpu, Q, K, V, O, lse, dO, *, Br, Bc):
        x = gpu.empty(Q.shape, name="dq")
        for sram, i in gpu.launch("k", sa.blocks(Q.shape[0], Br)):
            sram.store(x[i], sram.load(Q[i]))
        return x

    found = sa.compare(
        ROOMY, ["flash2", sa.naive_backward, my_backward, other_names], Q, K, V, backward=True, causal=True, **BLOCKS
    )
    assert [r.verdict for r in found.results] == ["exact", "exact", "exact", None]
    assert found["my_backward"].error == found["flash2"].error
    assert "causal" in found["other_names"].failure
    dense = sa.compare(ROOMY, [other_names], Q, K, V, backward=True, **BLOCKS)["other_names"]
    assert "returned dq, but not dQ, dK, dV" in dense.failure


def test_a_row_is_found_by_its_name():
    """Two functions of one name, or one of a shipped algorithm's, are refused with the remedy; partials and objects have names too."""
    small, large = functools.partial(my_flash, Br=8), functools.partial(my_flash, Br=32)
    with pytest.raises(ValueError, match=r"two functions are called 'my_flash': .*f.__name__ = "):
        sa.compare(ROOMY, [small, large], Q, K, V)
    large.__name__ = "large"
    assert [r.algorithm for r in sa.compare(ROOMY, [small, large], Q, K, V, Bc=16).results] == ["my_flash", "large"]

    def naive(gpu, Q, K, V, *, Br, Bc):
        return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)

    with pytest.raises(ValueError, match="'naive' is the name of an algorithm of simattn: rename"):
        sa.compare(ROOMY, [naive], Q, K, V)
    for wrong in (3, None, ["naive"]):
        with pytest.raises(TypeError, match=r"give a name, as 'unfused_chain', or a function f\(gpu, Q, K, V"):
            sa.compare(ROOMY, [wrong], Q, K, V)
    with pytest.raises(TypeError, match=r"give a list with it: \[my_flash\]"):
        sa.compare(ROOMY, my_flash, Q, K, V)


def test_attention_and_count_take_functions():
    """sa.attention and gpu.count of a function are those of the algorithm that it calls, options included."""
    by_name, own = (sa.attention(Q, K, V, algorithm=f, causal=True, machine="t4") for f in ("flash2", my_flash))
    assert np.array_equal(by_name.output, own.output)
    assert sa.attention(Q, K, V, algorithm=sa.flash2, causal=True, machine="t4").kernels == own.kernels
    specs = [sa.spec(x.shape, x.dtype) for x in (Q, K, V)]
    assert sa.machine("t4").count(my_flash, *specs, causal=True).kernels == own.kernels
    with pytest.raises(TypeError, match="causal"):
        sa.attention(Q, K, V, algorithm=plain_flash, causal=True)


def test_a_function_that_stores_scores_is_held_to_what_it_rounded():
    """Scores under a name that no algorithm has are rounded all the same, so that such a function is not called wrong for it."""

    def stores(gpu, Q, K, V, *, Br, Bc):
        N, n_k = Q.shape[0], K.shape[0]
        X, O = gpu.empty((N, n_k), name="my_scores"), gpu.empty((N, V.shape[1]), name="O")
        for sram, i in gpu.launch("X", sa.blocks(N, Br)):
            sram.store(X[i], sram.load(Q[i]) @ sram.load(K[0:n_k]).T * 0.25)
        for sram, i in gpu.launch("O", sa.blocks(N, Br)):
            S = sram.load(X[i]).astype(gpu.acc)
            P = np.exp(S - S.max(axis=1, keepdims=True))
            sram.store(O[i], P.astype(V.dtype) @ sram.load(V[0:n_k]) / P.sum(axis=1, keepdims=True))
        return O

    assert sa.compare(ROOMY, [stores], Q * np.float16(8), K, V, **BLOCKS)["stores"].exact


def test_the_estimate_of_a_function():
    """It is counted where that is quick, in silence; where it is not, or it fails, it is taken to be like flash2."""

    def loud(gpu, Q, K, V, *, Br, Bc):
        print("loud")
        return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)

    gpu, problem = sa.machine("a100-40gb"), sa.Problem(n_q=512, n_k=512, d=64)
    for f in (loud, divides):
        (x,) = listed([f], {})
        assert estimate([x], problem, gpu).stages[f.__name__] == pytest.approx(estimate(["flash2"], problem, gpu).stages["flash2"])


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "n"), [(2, 2, 192), (4, 2, 150), (4, 1, 96)])
def test_counts_without_a_run_are_those_of_a_run(backward, causal, heads, kv_heads, n):
    """Every algorithm of a comparison is counted by closed form to the byte, block sizes included, or refused as its run is."""
    names, gpu = list(comparable(backward=backward)), sa.machine("t4")
    problem = sa.Problem(n_q=n, n_k=n, d=64, heads=heads, kv_heads=kv_heads, causal=causal)
    ran = sa.compare(gpu, names, *draw(problem), causal=causal, backward=backward)
    for executed, row in zip(ran.results, count(gpu, names, problem, backward=backward).results, strict=True):
        assert row.outcome == executed.outcome, row
        assert row.failure == executed.failure
        if row.run:
            assert row.counted_by == "closed form", row.algorithm
            assert (row.run.kernels, row.run.hbm_footprint) == (executed.run.kernels, executed.run.hbm_footprint), row.algorithm
            assert row.run.blocks == executed.run.blocks


def test_what_cannot_be_counted_at_that_length_says_so():
    """A function is recorded up to 16,384 tokens, forms that go through pairs to 65,536; the others count a million."""
    found = count("a100-40gb", ["flash2", my_flash, "bigbird", "naive"], sa.Problem(n_q=10**6, n_k=10**6, d=64))
    assert found["flash2"].run.hbm_read == -(-(10**6) // 128) * 2 * 10**6 * 128 + 128 * 10**6
    assert "give at most 16,384 tokens" in found["my_flash"].failure
    assert "give at most 65,536" in found["bigbird"].failure
    assert found["naive"].outcome == "did not fit"


MINE = """
import numpy as np
import simattn as sa

def my_flash(gpu, Q, K, V, *, Br, Bc):
    print("talks")
    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)

def breaks(gpu, Q, K, V, *, Br, Bc):
    return 1 / 0

number = 3
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path[:])
    texts = {
        "mine.py": MINE, "syntax.py": "def f(:\n", "imports.py": "\nimport no_such_package\n", "ends.py": "import sys\nsys.exit(1)\n",
        "raises.py": "x = [][1]\n", "nulls.py": "x = 1\0", "empty.py": "",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    return tmp_path


def test_functions_of_a_file_on_the_command_line(capsys, files):
    """By relative and absolute path, executed and only counted; what they print leaves the JSON whole; one that breaks exits with 1."""
    for path in ("mine.py", str(files / "mine.py")):
        for only, by in (((), "execution"), (("--count-only",), None)):
            code, out, _ = run(capsys, "compare", "--n", "64", "--algorithms", f"flash2,{path}:my_flash", "--json", *only)
            found = json.loads(out)
            jsonschema.Draft202012Validator(SCHEMA).validate(found)
            flash, mine = found["comparisons"][0]["results"]
            assert (code, mine["algorithm"], mine["error"]) == (0, "my_flash", None)
            assert mine["kernels"] == flash["kernels"]
            assert (flash["counted_by"], mine["counted_by"]) == ((by, by) if by else ("closed form", "recording"))
            assert only == () or mine["max_abs_error"] is mine["verdict"] is None
    code, out, _ = run(capsys, "compare", "--n", "64", "--algorithms", "naive,mine.py:breaks")
    assert code == 1
    assert "ZeroDivisionError: division by zero, at line 10 of mine.py: return 1 / 0" in " ".join(out.split())
    assert "mine.py:my_flash" in " ".join(run(capsys, "compare", "--help")[1].split())
    assert "counted by" in run(capsys, "compare", "--n", "64", "--count-only")[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("absent.py:f", "absent.py: there is no such file"), ("mine.py", "name a function of the file, as in mine.py:my_flash"),
        ("mine.py:", "mine.py:my_flash"), (":f", "give a file"), ("mine.py:my_flsh", "did you mean 'my_flash'"),
        ("mine.py:number", "number is not a function"), ("syntax.py:f", "syntax.py is not valid Python: line 1"), ("nulls.py:f", "nulls.py is not valid Python"),
        ("imports.py:f", "imports.py cannot be loaded: line 2: ModuleNotFoundError"), ("ends.py:f", "ends.py cannot be loaded: line 2: SystemExit"),
        ("raises.py:f", "raises.py cannot be loaded: line 1: IndexError"), ("empty.py:f", "it defines no function"), (".:f", "cannot be read"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_loaded_is_one_line(capsys, files, given, said):
    """The line names the option, the file and what to do; exit code 2, and nothing on stdout."""
    code, out, err = run(capsys, "compare", "--n", "16", "--algorithms", f"flash2,{given}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("simattn: --algorithms")
    assert said in err
