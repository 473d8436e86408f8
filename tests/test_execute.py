"""A thread block is recorded and executed when it has ended: nobody can tell that from computing each operation at once."""

import tracemalloc
from unittest import mock

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy import gpu as machinery

VIEWS = {
    "whole": lambda x: x,
    "all": lambda x: x[:, :],
    "transposed": lambda x: x.T,
    "reversed": lambda x: x[::-1],
    "row": lambda x: x[0:1],
    "column of the transposed": lambda x: x.T[:, -1:],
    "twice": lambda x: x[::-1, 0:1].T[:, ::2],
    "strides": lambda x: x[-1::-3, 1:100],
}
FITTING = ("whole", "all", "transposed", "reversed", "row", "column of the transposed")  # they broadcast with (4, 4)
OPERATIONS = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "maximum": np.maximum,
    "where": lambda x, y: np.where(x < y, x, y),
    "twice": lambda x, y: x * 2,
    "from one": lambda x, y: 1 - x,
    "absolute": lambda x, y: abs(x),
    "row maximum": lambda x, y: x - x.max(axis=1, keepdims=True),
    "cast": lambda x, y: (x % 8).astype("float16").astype("float64") + y,
}
STEPS = st.tuples(
    st.sampled_from([*OPERATIONS, *["product"] * 2, *["load", "store", "written", "atomic_add", "peek"]]),
    st.integers(0, 5), st.integers(0, 5), st.sampled_from(FITTING), st.sampled_from(FITTING),
)  # fmt: skip


def square(x, zeros):
    """(4, 4), and smaller again: numbers stay whole, so that every order of summation gives the same."""
    return x % 8.0 + zeros


@settings(max_examples=300)
@given(
    programs=st.lists(st.lists(STEPS, max_size=14), min_size=1, max_size=3), heads=st.sampled_from([(1, 1), (2, 1), (4, 2)]),
    batch=st.sampled_from([1, 12, 1000]),
)  # fmt: skip
def test_what_is_recorded_gives_what_numpy_gives_at_once(programs, heads, batch):
    """Any straight line of operations, views, loads, stores, atomic adds and looks, in several thread blocks, against plain NumPy."""
    rng = np.random.default_rng(0)
    X, Y = (rng.integers(0, 8, (1, h, 24, 4)).astype(float) for h in heads)
    looks = []

    def kernel(gpu, X, Y):
        A, S = gpu.empty((24 * len(programs), 4), name="A"), gpu.empty((4, 4), name="S")
        for sram, _ in gpu.launch("zero", [0]):
            sram.store(S, sram.zeros((4, 4)))
        for sram, p in gpu.launch("kernel", range(len(programs))):
            tiles = [sram.load(X[0:4]), sram.load(Y[0:4])]
            for what, a, b, view, other in programs[p]:
                x, y = tiles[-1 - a % len(tiles)], tiles[-1 - b % len(tiles)]
                place = slice(24 * p + 4 * b, 24 * p + 4 * b + 4)
                if what in OPERATIONS:
                    tiles.append(OPERATIONS[what](VIEWS[view](x), VIEWS[other](y)))
                elif what == "product":
                    zeros = sram.zeros((4, 4))
                    tiles.append(square(x, zeros) @ VIEWS["transposed"](square(y, zeros)))
                elif what == "load":
                    tiles.append(sram.load((X, Y)[a % 2][4 * b : 4 * b + 4]))
                elif what == "store":
                    sram.store(A[place], square(x, sram.zeros((4, 4))) if x.shape != (4, 4) else VIEWS["transposed"](x))
                elif what == "written":
                    tiles.append(sram.load(A[place]))
                elif what == "atomic_add":
                    sram.atomic_add(S, square(x, sram.zeros((4, 4))))
                elif what == "peek":
                    looks.append(gpu.peek(VIEWS[view](x)).reshape(heads[0], *VIEWS[view](x).shape))
            sram.store(A[24 * p + 20 : 24 * p + 24], square(tiles[-1], sram.zeros((4, 4))))
        return A, S

    def plainly(X, Y):
        A, S, zeros, seen = np.full((24 * len(programs), 4), np.nan), np.zeros((4, 4)), np.zeros((4, 4)), []
        for p, program in enumerate(programs):
            tiles = [X[0:4], Y[0:4]]
            for what, a, b, view, other in program:
                x, y = tiles[-1 - a % len(tiles)], tiles[-1 - b % len(tiles)]
                place = slice(24 * p + 4 * b, 24 * p + 4 * b + 4)
                if what in OPERATIONS:
                    tiles.append(OPERATIONS[what](VIEWS[view](x), VIEWS[other](y)))
                elif what == "product":
                    tiles.append(square(x, zeros) @ square(y, zeros).T)
                elif what == "load":
                    tiles.append((X, Y)[a % 2][4 * b : 4 * b + 4])
                elif what == "store":
                    A[place] = square(x, zeros) if x.shape != (4, 4) else x.T
                elif what == "written":
                    tiles.append(A[place].copy())
                elif what == "atomic_add":
                    S += square(x, zeros)
                elif what == "peek":
                    seen.append(VIEWS[view](x).copy())
            A[24 * p + 20 : 24 * p + 24] = square(tiles[-1], zeros)
        return A, S, seen

    with mock.patch.object(machinery, "BATCH", batch), np.errstate(invalid="ignore"):
        run = ROOMY.run(kernel, X, Y)
        expected = [plainly(X[0, h], Y[0, h * heads[1] // heads[0]]) for h in range(heads[0])]
    for h, (A, S, seen) in enumerate(expected):
        assert np.array_equal(run.outputs["A"][0, h], A, equal_nan=True)
        assert np.array_equal(run.outputs["S"][0, h], S, equal_nan=True)
        assert all(np.array_equal(look[h], was, equal_nan=True) for look, was in zip(looks, seen, strict=True))


def test_a_load_has_what_was_stored_before_it():
    """A tile loaded from an array that the thread block has written keeps those values when the block overwrites the array."""

    def kernel(gpu, X):
        A, B = gpu.empty((4, 4), name="A"), gpu.empty((4, 4), name="B")
        for sram, _ in gpu.launch("kernel", [0]):
            sram.store(A, sram.load(X))
            x = sram.load(A)
            sram.store(A, sram.zeros((4, 4)))
            sram.store(B, x)
            sram.store(A, x * 2)
        return A, B

    X = np.arange(16, dtype=np.float32).reshape(4, 4)
    run = ROOMY.run(kernel, X)
    assert np.array_equal(run.outputs["A"], 2 * X)
    assert np.array_equal(run.outputs["B"], X)


@pytest.mark.parametrize("batch", [1, 1000])
def test_a_look_changes_no_bit(batch):
    """Atomic adds round each time, so their order shows: it is that of the thread blocks, whether somebody looks meanwhile or not."""
    X = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float16)

    def kernel(gpu, X, *, look):
        S = gpu.empty((4, 4), name="S")
        for sram, _ in gpu.launch("zero", [0]):
            sram.store(S, sram.zeros((4, 4)))
        for sram, i in gpu.launch("add", sa.blocks(64, 4)):
            x = sram.load(X[i])
            sram.atomic_add(S, x)
            if look and i.start % 12 == 8:
                gpu.peek(x)
            sram.atomic_add(S, x * 0.3)
        return S

    with mock.patch.object(machinery, "BATCH", batch):
        looked, unseen = (ROOMY.run(kernel, X, look=look).output for look in (True, False))
    expected = np.zeros((4, 4), np.float16)
    for i in range(0, 64, 4):
        expected += X[i : i + 4]
        expected += X[i : i + 4] * np.float16(0.3)
    assert looked.tobytes() == unseen.tobytes() == expected.tobytes()


def test_a_long_thread_block_holds_what_is_live():
    """Of hundreds of tiles, random ones among them, only those that are live take memory, before the block ends and after."""
    X = np.ones((256, 256), np.float32)
    rows = slice(0, 256)

    def kernel(gpu, X):
        O = gpu.empty((256, 256), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X)
            for seed in range(100):
                kept = sram.random(rows, rows, seed) < 0.5
                x = np.where(kept, x, sram.load(X) + sram.full((256, 256), 0.5)) @ sram.load(X).T
                x = x / x.max(axis=1, keepdims=True)
            sram.store(O, x)
        return O

    ROOMY.run(kernel, X)
    tracemalloc.start()
    try:
        ROOMY.run(kernel, X)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 30 * X.nbytes  # of some 900 tiles; to draw random numbers takes most of it


def test_only_a_tile_of_this_run_and_thread_block_can_be_looked_at():
    """peek refuses what is no tile, a tile of a thread block that has ended, and one that another run could see unrecorded."""
    kept = []

    def spy(gpu, X, *, tile):
        with pytest.raises(TypeError, match="another run"):
            gpu.peek(tile)
        return gpu.empty((1, 1))

    def kernel(gpu, X):
        O = gpu.empty((4, 4), name="O")
        for sram, i in gpu.launch("kernel", sa.blocks(4, 2)):
            x = sram.load(X[i])
            for wrong in (X, 1.0, np.ones((2, 2))):
                with pytest.raises(TypeError, match="give a tile"):
                    gpu.peek(wrong)
            for old in kept:
                with pytest.raises(TypeError, match="has ended"):
                    gpu.peek(old)
            ROOMY.run(spy, np.ones((2, 4), np.float32), tile=x)
            kept.append(x)
            sram.store(O[i], x)
        return O

    assert not ROOMY.run(kernel, np.ones((4, 4), np.float32)).peeked


def test_a_number_too_large_is_refused_in_its_line():
    """A Python integer that no float holds raises where it is written, not when the thread block is executed."""

    def kernel(gpu, X):
        O = gpu.empty((4, 4), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X)
            for use in (lambda: x * 10**400, lambda: 10**400 - x, lambda: sram.full((4, 4), 10**400)):
                x * 2  # so that the product by a number is known
                with pytest.raises(OverflowError):
                    use()
            sram.store(O, x)
        return O

    ROOMY.run(kernel, np.ones((4, 4), np.float32))
