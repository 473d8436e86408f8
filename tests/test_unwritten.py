"""What nothing stored is neither loaded nor returned: a forgotten store is found in the run, and named."""

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa

X = np.arange(32, dtype=np.float32).reshape(8, 4)


def run_of(body, shape=(8, 4), x=X, grid=(0, 1, 2, 3)):
    """Run `body(sram, p, X, O)` in four thread blocks, p = 0 to 3."""

    def kernel(gpu, X):
        O = gpu.empty(shape, name="O")
        for sram, p in gpu.launch("kernel", grid):
            body(sram, p, X, O)
        return O

    return ROOMY.run(kernel, x)


def rows(p):
    return slice(2 * p, 2 * p + 2)


FORGOTTEN = {
    "everything": ("32 of 32 elements, the first O[0:8, 0:4]", lambda sram, p, X, O: None),
    "a block of rows": ("8 of 32 elements, the first O[4:6, 0:4]", lambda sram, p, X, O: p != 2 and sram.store(O[rows(p)], sram.load(X[rows(p)]))),
    "columns": ("16 of 32 elements, the first O[0:8, 2:4]", lambda sram, p, X, O: sram.store(O[rows(p), 0:2], sram.load(X[rows(p), 0:2]))),
    "one element": (
        "1 of 32 elements, the first O[7:8, 3:4]",
        lambda sram, p, X, O: (
            sram.store(O[rows(p), 0:3], sram.load(X[rows(p), 0:3])), sram.store(O[2 * p : 2 * p + 2 - (p == 3), 3:4], sram.zeros((2 - (p == 3), 1))),
        ),
    ),
    "two places": ("16 of 32 elements, the first O[2:4, 0:4]", lambda sram, p, X, O: p % 2 == 0 and sram.store(O[rows(p)], sram.load(X[rows(p)]))),
    "every second row": ("16 of 32 elements, the first O[1:2, 0:4]", lambda sram, p, X, O: sram.store(O[2 * p : 2 * p + 1], sram.load(X[0:1]))),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGOTTEN)
@pytest.mark.parametrize("heads", [None, (2, 3)])
def test_an_output_that_was_not_wholly_written_is_named(what, heads):
    """At the end of the run an error names the output, how much of it was not written, and the first slice of that, for heads alike."""
    message, body = FORGOTTEN[what]
    with pytest.raises(RuntimeError) as caught:
        run_of(body, x=X if heads is None else np.broadcast_to(X, (*heads, 8, 4)))
    assert str(caught.value) == f"output O (8, 4): nothing wrote {message}; store every slice of it"


def test_leading_axes_are_named_by_number():
    """In an array of more dimensions the first slice is that of one matrix."""
    with pytest.raises(RuntimeError, match=r"nothing wrote 24 of 64 elements, the first O\[1, 2:8, 0:4\]"):
        run_of(
            lambda sram, p, X, O: (sram.store(O[0, rows(p)], sram.load(X[rows(p)])), p or sram.store(O[1, 0:2], sram.load(X[0:2]))),
            (2, 8, 4),
        )


@given(st.sets(st.integers(0, 15), max_size=16))
def test_an_output_is_returned_exactly_if_all_of_it_was_written(stored):
    """Of sixteen quarters, whichever are stored: the run ends well when all are, and else counts and names what is missing."""
    places = [(slice(r, r + 2), slice(c, c + 1)) for r in range(0, 8, 2) for c in range(4)]

    def body(sram, p, X, O):
        sram.store(O[places[p]], sram.load(X[places[p]]))

    if len(stored) == 16:
        assert np.array_equal(run_of(body, grid=sorted(stored)).output, X)
        return
    missing = np.ones((8, 4), bool)
    for p in stored:
        missing[places[p]] = False
    row, column = (int(k) for k in np.argwhere(missing)[0])
    with pytest.raises(
        RuntimeError, match=rf"nothing wrote {2 * (16 - len(stored))} of 32 elements, the first O\[{row}:\d, {column}:\d\]"
    ):
        run_of(body, grid=sorted(stored))


LOADED = {
    "nothing stored": ("16 of 16 elements, the first A[0:4, 0:4]", lambda sram, A: sram.load(A[0:4])),
    "a part stored": ("8 of 16 elements, the first A[0:4, 2:4]", lambda sram, A: (sram.store(A[0:4, 0:2], sram.zeros((4, 2))), sram.load(A[0:4]))),
    "backwards": ("8 of 12 elements, the first A[2:4, 0:4]", lambda sram, A: (sram.store(A[0:2], sram.zeros((2, 4))), sram.load(A[3:0:-1]))),
    "every second row": ("8 of 8 elements, the first A[0:1, 0:4]", lambda sram, A: sram.load(A[0:4:2])),
    "one column of many": ("4 of 4 elements, the first A[4:8, 3:4]", lambda sram, A: sram.load(A[4:8][:, 3:4])),
}  # fmt: skip


@pytest.mark.parametrize("what", LOADED)
def test_a_load_of_what_nothing_stored_is_refused_at_the_load(what):
    """Loading from an `empty` array what nothing has stored raises in that line, and names the place in the whole array."""
    message, body = LOADED[what]
    went_on = []

    def kernel(gpu, X):
        A = gpu.empty((8, 4), name="A")
        for sram, _ in gpu.launch("early", [0]):
            body(sram, A)
            went_on.append(True)
        return A

    with pytest.raises(RuntimeError) as caught:
        ROOMY.run(kernel, X)
    assert str(caught.value) == f"early: a thread block loads what nothing has stored yet: {message}"
    assert not went_on


def test_what_is_stored_stays_so():
    """A thread block loads its own stores, later launches load and overwrite them, and atomic adds go where zeros were stored."""

    def kernel(gpu, X):
        A, O = gpu.empty((8, 4), name="A"), gpu.empty((8, 4), name="O")
        for sram, i in gpu.launch("first", sa.blocks(8, 2)):
            sram.store(A[i], sram.load(X[i]))
            sram.store(A[i], sram.load(A[i]) * 2)
        for _ in gpu.launch("nothing", [0]):
            pass
        for sram, i in gpu.launch("second", sa.blocks(8, 4)):
            sram.store(O[i], sram.load(A[i]))
        for sram, i in gpu.launch("third", [slice(0, 8), slice(4, 8)]):
            sram.atomic_add(O[i], sram.load(X[i]))
        return O

    assert np.array_equal(ROOMY.run(kernel, X).output, 3 * X + np.r_[np.zeros((4, 4)), X[4:]])


def test_scratch_may_stay_unwritten():
    """An array that is not returned may be written in part, or not at all: it is the footprint, whatever lies there."""

    def kernel(gpu, X):
        A, O = gpu.empty((8, 4), name="A"), gpu.empty((2, 4), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            sram.store(A[0:2], sram.load(X[0:2]))
            sram.store(O, sram.load(A[0:2]))
        return O

    assert ROOMY.run(kernel, X).hbm_footprint == X.nbytes


def test_each_value_of_each_writes_its_own_output():
    """Where batch elements run with different values, an output that one of them leaves unwritten is found."""

    def kernel(gpu, X, *, n):
        O = gpu.empty((8, 4), name="O")
        for sram, i in gpu.launch("kernel", sa.blocks(n, 2)):
            sram.store(O[i], sram.load(X[i]))
        return O

    x = np.broadcast_to(X, (2, 1, 8, 4))
    assert np.array_equal(ROOMY.run(kernel, x, n=sa.each([8, 8])).output, x)
    with pytest.raises(RuntimeError, match=r"nothing wrote 16 of 32 elements, the first O\[4:8, 0:4\]"):
        ROOMY.run(kernel, x, n=sa.each([8, 4]))


@pytest.mark.parametrize("dtype", ["float64", "float16", "float8_e4m3fn", "bool"])
def test_it_goes_by_place_and_not_by_value(dtype):
    """In every type, a NaN that was stored is written, and what was not stored is not, whatever lies there."""

    def kernel(gpu, X, *, whole):
        O = gpu.empty((8, 4), name="O", dtype=dtype)
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X[0 : 8 if whole else 4]) + np.nan
            sram.store(O[0 : 8 if whole else 4], x == x if dtype == "bool" else x)  # noqa: PLR0124
        return O

    ROOMY.run(kernel, X, whole=True)
    with pytest.raises(RuntimeError, match="nothing wrote 16 of 32"):
        ROOMY.run(kernel, X, whole=False)


@given(n=st.integers(1, 30), keys=st.integers(1, 30), seen=st.integers(0, 30), dropout=st.booleans())
def test_algorithms_write_what_they_return(n, keys, seen, dropout):
    """With lengths that end within a block or before it, P and what dropout kept are whole, with zeros where no key is."""
    rng = np.random.default_rng(n)
    Q, K, V = (rng.standard_normal((m, 4)) for m in (n, keys, keys))
    options = {"kv_lens": min(seen, keys), "return_P": True, "Br": 8, "Bc": 8} | ({"dropout": 0.5, "seed": 1} if dropout else {})
    for algorithm in (sa.naive, sa.unfused_chain):
        outputs = ROOMY.run(algorithm, Q, K, V, **options).outputs
        assert not outputs["P"][:, min(seen, keys) :].any()
        assert np.allclose(outputs["P"].sum(axis=1), min(seen, 1))
