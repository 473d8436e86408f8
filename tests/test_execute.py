"""A thread block is recorded and executed when it has ended: nobody can tell that from computing each operation at once."""

import itertools
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.interpret import execute, threads

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
    batch=st.sampled_from([1, 12, 1000]), workers=st.sampled_from([1, 2, 3]),
)  # fmt: skip
def test_what_is_recorded_gives_what_numpy_gives_at_once(programs, heads, batch, workers):
    """Any straight line of operations, views, loads, stores, atomic adds and looks, in several thread blocks, against plain NumPy."""
    rng = np.random.default_rng(0)
    X, Y = (rng.integers(0, 8, (1, h, 24, 4)).astype(float) for h in heads)
    looks = []

    def kernel(gpu, X, Y):
        A, S = gpu.empty((24 * len(programs), 4), name="A"), gpu.empty((4, 4), name="S")
        for sram, _ in gpu.launch("zero", [0]):
            sram.store(S, sram.zeros((4, 4)))
            sram.store(A, sram.zeros((24 * len(programs), 4)))
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
        A, S, zeros, seen = np.zeros((24 * len(programs), 4)), np.zeros((4, 4)), np.zeros((4, 4)), []
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

    with mock.patch.object(threads, "BATCH", batch), np.errstate(invalid="ignore"):
        run = ROOMY.run(kernel, X, Y, workers=workers)
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


ALGORITHMS = ["naive", "flash1", "flash2", "split_kv", "flash1_backward", "flash2_backward", "unfused_chain_backward"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_any_number_of_threads_gives_the_same_bits(algorithm):
    """Outputs and counts are those of one thread, whatever the number and the batch: gradients that atomics add up, too."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((1, heads, 100, 8)).astype(np.float16) for heads in (4, 2, 2))
    options = {"causal": True, "Br": 8, "Bc": 16} | ({"splits": 3} if algorithm == "split_kv" else {})
    arrays, stored = (Q, K, V), {}
    if algorithm.endswith("_backward"):
        forward = ROOMY.run(sa.unfused_chain, Q, K, V, return_P=True, **options)
        stored = {"P": forward.outputs["P"]} if algorithm == "unfused_chain_backward" else {}
        arrays = (Q, K, V, forward.output, forward.outputs["lse"], forward.output)
    one = ROOMY.run(sa.algorithms[algorithm], *arrays, workers=1, **options, **stored)
    for workers, batch in itertools.product((2, 3, 7), ((1, 1), (200, 2), (20_000, 16))):
        with mock.patch.object(threads, "BATCH_A_THREAD", batch):
            several = ROOMY.run(sa.algorithms[algorithm], *arrays, workers=workers, **options, **stored)
        assert {name: x.tobytes() for name, x in several.outputs.items()} == {name: x.tobytes() for name, x in one.outputs.items()}
        assert several.kernels == one.kernels


def test_threads_add_in_the_order_of_the_thread_blocks():
    """A thread block that is executed first, because it is short, waits with its atomic additions for those before it."""
    X = np.random.default_rng(0).standard_normal((8, 64), np.float32)

    def kernel(gpu, X):
        S = gpu.empty((1, 64), name="S", dtype="float16")
        for sram, _ in gpu.launch("zero", [0]):
            sram.store(S, sram.zeros((1, 64)))
        for sram, k in gpu.launch("add", range(8)):
            x = sram.load(X[k : k + 1])
            for _ in range(2000 if k % 2 == 0 else 1):
                x = x + 0.0
            sram.atomic_add(S, x)
        return S

    expected = np.zeros((1, 64), np.float16)
    for x in X:
        expected = (expected.astype(np.float32) + x).astype(np.float16)
    runs = [ROOMY.run(kernel, X, workers=n).output.tobytes() for n in (1, 2, 2, 4, 4)]
    assert set(runs) == {expected.tobytes()}


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_a_number_of_threads_is_a_whole_number(workers):
    """Fewer than one thread, a fraction, a boolean and text are refused before anything runs."""
    with pytest.raises((ValueError, TypeError), match="workers="):
        ROOMY.run(sa.flash2, *[np.ones((4, 4), np.float32)] * 3, workers=workers)


def test_an_error_in_a_thread_is_raised():
    """What fails while several threads execute is raised once, and no thread waits for a turn that never comes."""
    X = np.ones((64, 4), np.float32)

    def kernel(gpu, X):
        S = gpu.empty((4, 4), name="S")
        for sram, _ in gpu.launch("zero", [0]):
            sram.store(S, sram.zeros((4, 4)))
        for sram, i in gpu.launch("add", sa.blocks(64, 4)):
            sram.atomic_add(S, np.exp(sram.load(X[i])))
        return S

    with mock.patch.object(execute, "add", side_effect=ZeroDivisionError), pytest.raises(ZeroDivisionError):
        ROOMY.run(kernel, X, workers=3)


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

    with mock.patch.object(threads, "BATCH", batch):
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


def copied(gpu, X):
    O = gpu.empty(X.shape, name="O")
    for sram, _ in gpu.launch("copy", [0]):
        sram.store(O, sram.load(X))
    return O


def test_only_a_tile_of_this_run_and_thread_block_can_be_looked_at():
    """peek refuses what is no tile, a tile of a thread block that has ended, and one that another run could see unrecorded."""
    kept = []

    def spy(gpu, X, *, tile):
        with pytest.raises(TypeError, match="another run"):
            gpu.peek(tile)
        return copied(gpu, X)

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


@pytest.mark.parametrize("axis", ["batch", "head"])
def test_inputs_keep_their_values_for_every_group_of_lanes(axis):
    """Where `sa.each` makes groups of lanes that do not follow one another, a tile that dies in place leaves the input as it was: a second
    load in the same thread block, and one in a later launch, see it whole."""

    def double(gpu, X, *, n):
        A, B = gpu.empty((4, 4), name="A"), gpu.empty((4, 4), name="B")
        for sram, _ in gpu.launch("first", [0]):
            x, y = sram.load(X), sram.load(X)
            z = x * 2
            sram.store(A, z + y)
        for sram, _ in gpu.launch("second", [0]):
            sram.store(B, sram.load(X))
        return A, B

    shape = (3, 1, 4, 4) if axis == "batch" else (1, 3, 4, 4)
    run = sa.Machine(name="roomy", sram=1 << 20).run(double, np.ones(shape, np.float32), n=sa.each([4, 2, 4], axis=axis))
    assert (run.outputs["A"] == 3).all()
    assert (run.outputs["B"] == 1).all()


@pytest.mark.parametrize("algorithm", ["naive", "flash1", "flash2"])
def test_gradients_with_lengths_that_repeat_are_those_of_each_alone(algorithm):
    """Batch elements of lengths 16, 8, 16 have the gradients that each has on its own, to the bit."""
    rng = np.random.default_rng(0)
    q, k, v, do = (rng.standard_normal((3, 2, 16, 16), np.float32) for _ in range(4))
    lens = [16, 8, 16]
    forward = sa.attention(q, k, v, algorithm=algorithm, kv_lens=lens, Br=16, Bc=16)
    options = {"algorithm": algorithm, "Br": 16, "Bc": 16}
    together = sa.attention_backward(q, k, v, forward.output, forward.lse, do, kv_lens=lens, **options).outputs
    for b, n in enumerate(lens):
        one = slice(b, b + 1)
        parts = [x[one] for x in (q, k, v, forward.output, forward.lse, do)]
        alone = sa.attention_backward(*parts, kv_lens=[n], **options).outputs
        for name, x in alone.items():
            assert (together[name][one] == x).all(), (algorithm, b, name)


@settings(max_examples=40)
@given(look=st.booleans(), heads=st.sampled_from([1, 2]), seed=st.integers(0, 99))
def test_booleans_and_numbers_have_the_type_that_their_tile_says(look, heads, seed):
    """A boolean tile with a scalar is computed in the type of its result, not in NumPy's float64: a mask that is added to scores rounds
    the same whether somebody looks, and whatever memory it lands in."""

    def masked(gpu, X):
        O = gpu.empty(X.shape, name="O")
        for sram, i in gpu.launch("masked", sa.blocks(8, 8)):
            x, r = sram.load(X[i]), sram.arange(i)
            S = x @ x.T + np.where(r <= r.T, 0.0, -1e9) + (x > 0) * 0.1
            P = np.exp(S - S.max(axis=1, keepdims=True))
            if look:
                assert gpu.peek(P).dtype == np.float32
            sram.store(O, P / P.sum(axis=1, keepdims=True))
        return O

    X = np.random.default_rng(seed).standard_normal((1, heads, 8, 8), np.float32)
    x = X[0]
    zero, least, tenth = map(np.float32, (0, -1e9, 0.1))
    S = x @ x.swapaxes(1, 2) + np.where(np.tri(8, dtype=bool), zero, least) + (x > 0).astype(np.float32) * tenth
    P = np.exp(S - S.max(axis=2, keepdims=True))
    assert (sa.Machine(name="roomy", sram=1 << 20).run(masked, X).output[0] == P / P.sum(axis=2, keepdims=True)).all()


def test_an_overflow_that_was_caught_is_not_executed_by_a_look():
    """Who catches an overflow and goes on can look at tiles; the overflow is raised when the thread block ends."""
    looked = []

    def greedy(gpu, X):
        O = gpu.empty(X.shape, name="O")
        for sram, _ in gpu.launch("greedy", [0]):
            x = sram.load(X)
            with pytest.raises(sa.SramOverflow):
                sram.zeros((1 << 20, 1 << 20))
            looked.append(gpu.peek(x))
            sram.store(O, x)
        return O

    X = np.ones((4, 4), np.float32)
    with pytest.raises(sa.SramOverflow, match="full"):
        sa.Machine(name="roomy", sram=1 << 20).run(greedy, X)
    assert (looked[0] == X).all()


def test_how_to_execute_is_not_kept_longer_than_the_log():
    """Beyond the logs that are remembered, a thread block leaves its counts in the ledger and nothing that grows with its length."""
    from simattn.hierarchy.interpret import working_set

    def kernel(gpu, X):
        O = gpu.empty(X.shape, name="O")
        for sram, i in gpu.launch("kernel", sa.blocks(X.shape[0], 1)):
            x = sram.load(X[i])
            for _ in range(10 * i.start):  # no two logs are alike
                x = x + 1
            sram.store(O[i], x)
        return O

    with mock.patch.object(working_set, "REMEMBERED", 0):
        tracemalloc.start()
        try:
            ROOMY.count(kernel, sa.spec((200, 1)))
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert most < 30 * 200_000  # bytes for as many operations, each of which would take some hundred
