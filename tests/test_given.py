"""Beside arrays: random numbers by place, atomic adds, integers that steer, a value for each head, pools, launches a KV head, rounding."""

import warnings

import numpy as np
import pytest
from conftest import FORWARD, ROOMY
from hypothesis import example, given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy import lanes
from simattn.hierarchy.counts import KernelCounts, Traffic
from simattn.hierarchy.dtypes import STORAGE, limits
from simattn.hierarchy.philox import philox4x32, uniform

ROUNDING = sa.Machine(name="rounding", sram=1 << 30, sms=4, rounds_every_operation=True)
X4 = np.arange(16, dtype=np.float32).reshape(4, 4)


def on_one_block(body, out=(4, 4), **empty):
    """An algorithm of one thread block, which stores what `body(sram, *arrays)` gives."""

    def algorithm(gpu, *arrays, **options):
        O = gpu.empty(out, name="O", **empty)
        for sram, _ in gpu.launch("kernel", [0]):
            sram.store(O, body(sram, *arrays, **options))
        return O

    return algorithm


# Random numbers


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
     ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
     ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1")],
)  # fmt: skip
def test_philox_has_random123s_known_answers(counter, key, words):
    """Philox 4×32-10 gives the words of Random123's kat_vectors, for one counter and for an array of equal ones."""
    counter, key, words = ([int(w, 16) for w in text.split()] for text in (counter, key, words))
    for shape in ((), (2, 3)):
        found = philox4x32(tuple(np.full(shape, w, np.uint64) for w in counter), tuple(key))
        assert [np.unique(w).tolist() for w in found] == [[w] for w in words]


def philox(counter, key):
    """Philox 4×32-10 in Python's integers, from the paper's definition."""
    word = 0xFFFFFFFF
    for _ in range(10):
        left, right = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = (right >> 32) ^ counter[1] ^ key[0], right & word, (left >> 32) ^ counter[3] ^ key[1], left & word
        key = (key[0] + 0x9E3779B9) & word, (key[1] + 0xBB67AE85) & word
    return counter


@given(seed=st.integers(0, 2**64 - 1), lane=st.integers(0, 2**40), row=st.integers(0, 2**31), column=st.integers(0, 2**31))
def test_a_random_number_is_a_function_of_its_place(seed, lane, row, column):
    """Each is 24 bits of one word of Philox, keyed by the seed, on the counter (column / 4, row, lane)."""
    word = philox((column // 4, row, lane & 0xFFFFFFFF, lane >> 32), (seed & 0xFFFFFFFF, seed >> 32))[column % 4]
    found = uniform(seed, np.array([lane]), np.array([row]), np.array([column]))
    assert found.item() == (word >> 8) / 2**24


def dice(gpu, Q, *, n, Br, Bc, seed):
    R = gpu.empty((Q.shape[0], n), name="R", dtype="float32")
    for sram, i, j in gpu.launch("dice", sa.blocks(Q.shape[0], Br), sa.blocks(n, Bc)):
        sram.store(R[i, j], sram.random(i, j, seed))
    return R


@given(
    batch=st.integers(1, 3), heads=st.integers(1, 3), rows=st.integers(1, 9), n=st.integers(1, 9), Br=st.integers(1, 9),
    Bc=st.integers(1, 9), cache=st.sampled_from([1, lanes.CACHE]), seed=st.integers(0, 2**64 - 1),
)  # fmt: skip
def test_random_numbers_do_not_depend_on_blocks_or_grouping(batch, heads, rows, n, Br, Bc, cache, seed):
    """Any blocks, and heads that run side by side or alone, give the same numbers; each head, batch element and seed gives others."""
    Q = np.ones((batch, heads, rows, 1), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "CACHE", cache)
        R = ROOMY.run(dice, Q, n=n, Br=Br, Bc=Bc, seed=seed).output
    assert np.array_equal(R, ROOMY.run(dice, Q, n=n, Br=rows, Bc=n, seed=seed).output)
    assert np.array_equal(R, uniform(seed, np.arange(batch * heads).reshape(batch, heads), np.arange(rows), np.arange(n)))
    if rows * n >= 4:
        other = ROOMY.run(dice, Q, n=n, Br=rows, Bc=n, seed=seed ^ 1 << 40).output
        assert len({x.tobytes() for x in (*R.reshape(-1, rows, n), *other.reshape(-1, rows, n))}) == 2 * batch * heads


def test_random_numbers_are_uniform():
    """In 2²⁰ of them mean, variance, shares of 64 bins and products with neighbours, rows and heads are as chance has it, within 5 σ."""
    x = uniform(2026, np.arange(4), np.arange(512), np.arange(512)).astype(np.float64)
    assert x.min() >= 0
    assert x.max() < 1
    assert np.array_equal(x * 2**24, np.rint(x * 2**24))
    z = (x - 0.5) * np.sqrt(12)
    sigma = 1 / np.sqrt(x.size)
    assert abs(z.mean()) < 5 * sigma
    assert abs((z**2).mean() - 1) < 5 * sigma * np.sqrt(0.8)
    bins = np.bincount((x.ravel() * 64).astype(int), minlength=64)
    assert abs(((bins - x.size / 64) ** 2 / (x.size / 64)).sum() - 63) < 5 * np.sqrt(2 * 63)
    for lag in ((0, 0, 1), (0, 0, 4), (0, 1, 0), (1, 0, 0)):
        assert abs((z * np.roll(z, lag, (0, 1, 2))).mean()) < 5 * sigma, lag


def test_random_numbers_cost_one_vector_flop_each():
    """They are an index tile: no HBM, no SRAM, nothing live, a vector FLOP an element and head."""

    def roll(gpu, X):
        O = gpu.empty((3, 7))
        for sram, _ in gpu.launch("roll", [0]):
            numbers = sram.random(slice(0, 3), slice(2, 9), 1)
            assert numbers.nbytes == 0
            sram.store(O, numbers)
        return O

    elements = 2 * 3 * 3 * 7
    total = KernelCounts(vector_flops=elements, hbm_write=4 * elements, programs=6)
    assert ROOMY.run(roll, np.ones((2, 3, 1, 1), np.float32)).total == total


@pytest.mark.parametrize(
    ("rows", "columns", "seed"),
    [(slice(0, 4), slice(0, 4), -1), (slice(0, 4), slice(0, 4), 1 << 64), (slice(0, None), slice(0, 4), 0), (slice(0, 4), slice(4, 4), 0),
     (slice(4, 4), slice(0, 4), 0), (slice(-4, 0), slice(0, 4), 0)],
    ids=["seed below 0", "seed beyond 64 bits", "endless", "no columns", "no rows", "rows below 0"],
)  # fmt: skip
def test_random_numbers_of_nowhere_are_refused(rows, columns, seed):
    """A seed that is not of 64 bits, and rows or columns without an end, without a place, or below 0 raise an error that says so."""
    with pytest.raises((ValueError, TypeError), match="random"):
        ROOMY.run(on_one_block(lambda sram, X: sram.random(rows, columns, seed)), X4)


# Atomic adds


@given(
    terms=st.lists(st.floats(-400, 400, width=32), min_size=1, max_size=6), dtype=st.sampled_from(sorted(STORAGE)),
    tile=st.sampled_from(["float32", "float16"]),
)  # fmt: skip
def test_each_atomic_add_rounds_and_is_an_hbm_read_and_write(terms, dtype, tile):
    """Thread blocks add to one place: each sum rounds (a float8 saturates), is read and written, and reads its tile from SRAM."""
    kind, acc = STORAGE[dtype], np.float64 if dtype == "float64" else np.float32
    X = np.array(terms, np.float32).reshape(-1, 1)

    def add(gpu, X):
        A = gpu.empty((2, 3), name="A", dtype=kind)
        for sram, _ in gpu.launch("zero", [0]):
            sram.store(A, sram.zeros((2, 3)))
        for sram, i in gpu.launch("add", sa.blocks(X.shape[0], 1)):
            sram.atomic_add(A, (sram.zeros((2, 3), X.dtype) + sram.load(X[i])).astype(tile))
        return A

    run = ROOMY.run(add, X)
    expected, most = np.zeros((), kind), float(limits(kind).max)
    for x in X[:, 0].astype(tile):
        expected = np.clip(expected.astype(acc) + x.astype(acc), -most, most).astype(kind)
    assert np.array_equal(run.output, np.broadcast_to(expected, (2, 3)))
    nbytes = 6 * kind.itemsize
    assert run.tensors["A"] == Traffic(hbm_read=len(terms) * nbytes, hbm_write=(1 + len(terms)) * nbytes)
    read = len(terms) * (24 + 4 + (24 if tile == "float16" else 0) + 6 * np.dtype(tile).itemsize)  # x + c, astype, atomic_add
    assert run.kernels["add"].sram_read == read


@pytest.mark.parametrize("cache", [1, lanes.CACHE])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_heads_that_share_an_array_add_up_in_it(cache, dtype, monkeypatch):
    """`gpu.empty(shape, like=K)` has a place for each KV head: a group's heads add to it one after another, each rounded and counted."""
    monkeypatch.setattr(lanes, "CACHE", cache)
    Q = np.random.default_rng(0).standard_normal((2, 6, 4, 2), np.float32)

    def add(gpu, Q, K):
        assert gpu.shares(K)
        assert not gpu.shares(Q)
        A = gpu.empty(K.shape, name="A", dtype=dtype, like=K)
        for sram, i in gpu.launch("zero", sa.blocks(4, 2), like=K):
            sram.store(A[i], sram.zeros((2, 2)))
        for sram, i in gpu.launch("add", sa.blocks(4, 2)):
            sram.atomic_add(A[i], sram.load(Q[i]))
        return A

    run = ROOMY.run(add, Q, np.ones((2, 2, 4, 2), np.float32))
    expected = np.zeros((2, 2, 4, 2), STORAGE[dtype])
    for g in range(3):
        expected = (expected.astype(np.float32) + Q.reshape(2, 2, 3, 4, 2)[:, :, g]).astype(expected.dtype)
    assert np.array_equal(run.output, expected)
    assert (run.kernels["zero"].programs, run.kernels["add"].programs) == (2 * 2 * 2, 2 * 6 * 2)
    assert run.tensors["A"] == Traffic(hbm_read=3 * expected.nbytes, hbm_write=4 * expected.nbytes)


ACCESSES = st.lists(st.tuples(st.sampled_from(["load", "store", "add"]), st.integers(0, 3), st.integers(1, 2)), max_size=3)


def races(first, second):
    """Whether two thread blocks touch one row, and not both only load it or both only add to it."""
    for row in range(5):
        did = [{word for word, start, n in block if start <= row < start + n} for block in (first, second)]
        if all(did) and did not in ([{"load"}, {"load"}], [{"add"}, {"add"}]):
            return True
    return False


def access(sram, A, word, start, n):
    part, tile = A[start : start + n], sram.zeros((n, 1))
    {"load": lambda: sram.load(part), "store": lambda: sram.store(part, tile), "add": lambda: sram.atomic_add(part, tile)}[word]()


def two_blocks(first, second, like=None):
    def algorithm(gpu, X):
        A = gpu.empty((5, 1), name="A")
        for sram, _ in gpu.launch("before", [0]):
            sram.store(A, sram.zeros((5, 1)))
        for sram, block in gpu.launch("race", [first, second]):
            for word in block:
                access(sram, A, *word)
        return A

    return lambda: ROOMY.run(algorithm, X4)


@settings(max_examples=200)
@example(first=[("store", 0, 1), ("add", 0, 1)], second=[("add", 0, 1)])
@example(first=[("load", 0, 1), ("add", 0, 1)], second=[("add", 0, 1)])
@given(first=ACCESSES, second=ACCESSES)
def test_thread_blocks_that_race_raise_and_others_do_not(first, second):
    """Two thread blocks may both load a place, or both add to it; any other meeting raises, whatever else either did there before."""
    if races(first, second):
        with pytest.raises(RuntimeError, match="another of the same launch"):
            two_blocks(first, second)()
    else:
        two_blocks(first, second)()


@pytest.mark.parametrize("words", [("add", "load"), ("load", "add")])
def test_heads_that_share_an_array_race_as_thread_blocks_do(words):
    """A head that loads what the heads of its group add to sees some of the sums, which ones is chance: it raises."""

    def algorithm(gpu, Q, K):
        A = gpu.empty((5, 1), name="A", like=K)
        for sram, _ in gpu.launch("before", [0], like=K):
            sram.store(A, sram.zeros((5, 1)))
        for sram, _ in gpu.launch("race", [0]):
            for word in words:
                access(sram, A, word, 0, 1)
        return A

    with pytest.raises(RuntimeError, match="another"):
        ROOMY.run(algorithm, np.ones((1, 2, 4, 4), np.float32), np.ones((1, 1, 4, 4), np.float32))


ADDS = {
    "read-only": lambda sram, X, A, B: sram.atomic_add(X, sram.load(X)),
    "must be equal": lambda sram, X, A, B: sram.atomic_add(A[0:2], sram.load(X)),
    "not a tile": lambda sram, X, A, B: sram.atomic_add(A, 1.0),
    "bool": lambda sram, X, A, B: sram.atomic_add(A, sram.load(X) > 0),
    "B.*bool": lambda sram, X, A, B: sram.atomic_add(B, sram.load(X)),
    "atomic_add.*B": lambda sram, X, A, B: sram.atomic_add(B, sram.load(X) > 0),
    "only arrays in HBM": lambda sram, X, A, B: sram.atomic_add(sram.load(X), sram.load(X)),
}


@pytest.mark.parametrize("message", ADDS)
def test_what_cannot_be_added_to(message):
    """An input, a slice of another shape, what is no tile or no array, and booleans on either side, which have no sum, are refused."""

    def algorithm(gpu, X):
        A, B = gpu.empty((4, 4), name="A"), gpu.empty((4, 4), name="B", dtype="bool")
        for sram, _ in gpu.launch("add", [0]):
            ADDS[message](sram, X, A, B)
        return A

    with pytest.raises((TypeError, ValueError), match=message):
        ROOMY.run(algorithm, X4)


def test_adding_to_what_was_never_stored_shows():
    """An addition reads what lies there, so a sum that nobody zeroed is refused."""

    def algorithm(gpu, X):
        A = gpu.empty((4, 4), name="A")
        for sram, _ in gpu.launch("add", [0]):
            sram.atomic_add(A, sram.load(X))
        return A

    with pytest.raises(RuntimeError, match=r"adds to what nothing has stored yet: 16 of 16 elements, the first A\[0:4, 0:4\]"):
        ROOMY.run(algorithm, X4)


@pytest.mark.parametrize("trap", ["raise", "call", "warn"])
@pytest.mark.parametrize("word", ["atomic_add", "add"])
def test_a_trap_for_floating_point_errors_is_a_look(word, trap):
    """An error that is raised, called back or recorded as a warning tells how large a value is, so the run is marked as peeked."""
    told = []

    def algorithm(gpu, X):
        A = gpu.empty((1, 1), name="A")
        for sram, _ in gpu.launch("store", [0]):
            sram.store(A, sram.load(X))
        for sram, _ in gpu.launch("spy", [0]):
            with warnings.catch_warnings(record=True) as seen, np.errstate(over=trap, call=lambda *what: told.append(what)):
                warnings.simplefilter("always")
                try:
                    sram.atomic_add(A, sram.full((1, 1), 3e38)) if word == "atomic_add" else sram.load(A) + 3e38
                except FloatingPointError as error:
                    told.append(error)
                told.extend(seen)
        return A

    run = ROOMY.run(algorithm, np.full((1, 1), 2e38, np.float32))
    assert run.peeked or not told


# Integers that steer


@given(
    values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5), kind=st.sampled_from(["int64", "int32"]),
    batch=st.integers(1, 2), heads=st.integers(1, 3), each=st.booleans(),
)  # fmt: skip
def test_an_integer_of_a_table_is_loaded_for_four_bytes_a_head(values, kind, batch, heads, each):
    """A Python int, exact to 32 bits, from a table given to all or to each batch element: 4 B of HBM for each head that asks."""
    seen = []

    def look(gpu, X, *, t):
        O = gpu.empty((1, 1), name="O")
        for sram, p in gpu.launch("look", range(t.shape[0])):
            seen.append(sram.load_int(t[p]))
            if p == 0:
                sram.store(O, sram.arange(slice(0, 1)))
        return O

    table = np.array(values, kind)
    run = ROOMY.run(look, np.ones((batch, heads, 1, 1), np.float32), t=sa.each([table] * batch) if each else table)
    assert seen == values
    assert {type(x) for x in seen} == {int}
    assert run.tensors["t"] == Traffic(hbm_read=4 * len(values) * batch * heads)
    assert (run.sram_read, run.sram_write, run.peak_sram) == (0, 0, 0)


TABLES = {
    "give one element": lambda sram, X, t, A: sram.load_int(t),
    "give an element": lambda sram, X, t, A: sram.load_int(7),
    "table of integers": lambda sram, X, t, A: sram.load_int(X[0, 0]),
    "one element of a table": lambda sram, X, t, A: sram.load_int(A[0, 0]),
    "sram.load_int": lambda sram, X, t, A: sram.load(t),
    "no use as an index": lambda sram, X, t, A: range(t[0]),
    "conversion to a Python int": lambda sram, X, t, A: int(t[0, 0]),
    "no '==' here": lambda sram, X, t, A: t[0] == 1,
    "take slices": lambda sram, X, t, A: sram.load_int(t[sram.load_int(t[0, 0]) > 0]),
}


@pytest.mark.parametrize("message", TABLES)
def test_a_table_gives_its_integers_one_by_one_and_to_load_int_only(message):
    """Whole tables, floats, ints of Python's and tiles of tables are refused: nothing is read without its 4 bytes."""

    def algorithm(gpu, X, *, t):
        A = gpu.empty((4, 4), name="A")
        for sram, _ in gpu.launch("look", [0]):
            TABLES[message](sram, X, t, A)
        return A

    with pytest.raises(TypeError, match=message):
        ROOMY.run(algorithm, X4, t=np.array([[1, 2]]))


def test_a_table_holds_32_bits_as_the_run_found_it():
    """What 32 bits do not hold is refused; what the caller does to its arrays during the run reaches no table, given plainly or by each."""
    with pytest.raises(ValueError, match=r"t: .*32-bit"):
        ROOMY.run(on_one_block(lambda sram, X, t: sram.load(X)), X4, t=np.array([1 << 31]))
    for wrap in (lambda x: x, lambda x: sa.each([x])):
        mine = np.array([5], np.int32)

        def late(sram, X, t, mine=mine):
            mine[0] = 9
            return sram.full((4, 4), sram.load_int(t[0]))

        assert (ROOMY.run(on_one_block(late), X4, t=wrap(mine)).output == 5).all()


# Values that differ


def steered(gpu, Q, K, *, a, b, c, tables=None, seen=None):
    """Of each row of Q, b times the sum of its products with the first a keys, plus a row that batch or heads may share."""
    (seen if seen is not None else []).append((a, b))
    O = gpu.empty((Q.shape[0], 1), name="O")
    for sram, i in gpu.launch("steered", sa.blocks(Q.shape[0], 2)):
        S = (sram.load(Q[i]) @ sram.load(K[:a]).T).sum(axis=1, keepdims=True) * b
        for p in range(0 if tables is None else a):
            S = S + sram.load_int(tables[p])
        sram.store(O[i], S + sram.load(c))
    return O


@settings(max_examples=80)
@given(
    kv_heads=st.integers(1, 3), group=st.integers(1, 2), a=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    b=st.lists(st.sampled_from([1.0, 2.0]), min_size=3, max_size=3), shared=st.tuples(st.booleans(), st.booleans()),
    tables=st.booleans(), cache=st.sampled_from([1, lanes.CACHE]),
)  # fmt: skip
def test_each_value_is_seen_once_and_reaches_its_own(kv_heads, group, a, b, shared, tables, cache):
    """One execution for each pair of values of batch and head that occurs, wherever; outputs and counts are those of each head alone."""
    batch, heads, rng = len(a), kv_heads * group, np.random.default_rng(0)
    Q, K = (rng.standard_normal((batch, h, 3, 4)) for h in (heads, kv_heads))
    c = rng.standard_normal((1 if shared[0] else batch, 1 if shared[1] else heads, 1, 1))
    b = np.repeat(b[:kv_heads], group)
    rows = [np.arange(3) + n for n in a] if tables else None
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "CACHE", cache)
        more = {"tables": sa.each(rows)} if tables else {}
        run = ROOMY.run(steered, Q, K, a=sa.each(a), b=sa.each(b, axis="head"), c=c, seen=seen, **more)
    pairs = {(x, y) for x in a for y in b.tolist()}
    assert set(seen) == pairs
    assert cache == 1 or len(seen) == len(pairs)
    total = KernelCounts()
    for i, j in np.ndindex(batch, heads):
        more = {"tables": rows[i]} if tables else {}
        own = c[i if len(c) > 1 else 0, j if c.shape[1] > 1 else 0]
        alone = ROOMY.run(steered, Q[i, j], K[i, j // group], a=a[i], b=float(b[j]), c=own, **more)
        assert run.output[i, j].tobytes() == alone.output.tobytes(), (i, j)
        total = total + alone.total
    assert run.total == total


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"a": [1, 2, 3]}, "a: 3 values for 2 on the axis batch"), ({"b": [1.0, 2.0]}, "b: 2 values for 4 on the axis head"),
     ({"b": [1.0, 2.0, 1.0, 1.0]}, "b: the 2 heads that share a KV head")],
)  # fmt: skip
def test_values_that_do_not_fit_are_named(wrong, message):
    """Another number of values than batch elements or heads, and values that differ inside a group of heads, raise a ValueError."""
    given = {"a": [1, 2], "b": [1.0, 1.0, 2.0, 2.0]} | wrong
    with pytest.raises(ValueError, match=message):
        ROOMY.run(
            steered, np.ones((2, 4, 3, 4)), np.ones((2, 2, 3, 4)), a=sa.each(given["a"]), b=sa.each(given["b"], axis="head"),
            c=np.ones((1, 1)),
        )  # fmt: skip


def test_each_takes_numbers_and_tables():
    """An unknown axis, no values at all, and arrays of anything but integers are refused when the values are given."""
    with pytest.raises(ValueError, match="unknown axis 'heads': did you mean 'head'"):
        sa.each([1], axis="heads")
    with pytest.raises(ValueError, match="no values"):
        sa.each([])
    for wrong in (np.ones(3), np.array([], int), (1, None)):
        with pytest.raises(TypeError, match="each"):
            sa.each([wrong])
    with pytest.raises(ValueError, match="32-bit"):
        sa.each([np.array([1 << 40])])


@pytest.mark.parametrize("values", [[4, 1], [4, 3], [1, 2], [1, 3]])
def test_outputs_have_one_shape_for_all_values(values):
    """Where a value changes an output's shape or type, or whether there is one, nothing is broadcast, rounded or left to chance: it raises."""

    def algorithm(gpu, X, *, n):
        O = gpu.empty((n if values[0] == 4 else 1, 1), name="O", dtype="float16" if values == [1, 3] and n == 3 else "float32")
        A = gpu.empty((1, 1), name="A")
        for sram, _ in gpu.launch("fill", [0]):
            sram.store(O, sram.full(O.shape, 1.0))
            sram.store(A, sram.full(A.shape, 1.0))
        return (O, A) if n != 2 else O

    with pytest.raises((ValueError, TypeError, RuntimeError), match=r"\bO\b|\bA\b"):
        ROOMY.run(algorithm, np.ones((2, 1, 1, 1), np.float32), n=sa.each(values))


def test_tables_take_memory_however_they_are_given():
    """HBM is finite for tables, too: those of `each` count as inputs, as a plain one does."""
    table, machine = np.zeros(1000, np.int32), sa.Machine(name="small", sram=1 << 20, hbm=3000)
    for t in (table, sa.each([table])):
        with pytest.raises(sa.HbmOverflow):
            machine.run(lambda gpu, X, *, t: gpu.empty((1, 1)), X4, t=t)


# Pools


def test_a_pool_is_pages_of_a_kv_head_for_the_whole_batch():
    """The algorithm sees (pages, page, d) of its KV head, whatever its batch element, loads a slice of a page, and counts those rows."""
    pages = np.random.default_rng(0).standard_normal((5, 3, 2, 4), np.float32)

    def pick(gpu, Q, P, *, p):
        assert P.shape == (5, 3, 4)
        O = gpu.empty((2, 4), name="O")
        for sram, _ in gpu.launch("pick", [0]):
            sram.store(O, sram.load(P[p][1:]))
        return O

    run = ROOMY.run(pick, np.ones((3, 4, 1, 1), np.float32), sa.pool(pages), p=sa.each([4, 0, 4]))
    for b, h in np.ndindex(3, 4):
        assert np.array_equal(run.output[b, h], pages[(4, 0, 4)[b], 1:, h // 2])
    assert run.tensors["P"] == Traffic(hbm_read=12 * 2 * 4 * 4)
    for wrong in ([[1.0]], np.ones((2, 3, 4)), np.ones((1, 1, 1, 1, 1))):
        with pytest.raises(ValueError, match=r"give an array \(pages, page, kv_heads, d\)"):
            sa.pool(wrong)
    with pytest.raises(TypeError, match="P has type int64"):
        ROOMY.run(pick, np.ones((3, 4, 1, 1), np.float32), sa.pool(np.ones((5, 3, 2, 4), int)), p=0)
    with pytest.raises(sa.HbmOverflow):
        sa.Machine(name="small", sram=1 << 20, hbm=pages.nbytes).run(pick, np.ones((3, 4, 1, 1), np.float32), sa.pool(pages), p=0)


# Launches for each KV head


def doubled(gpu, Q, K):
    """2K, by a thread block a KV head and block of rows."""
    O = gpu.empty(K.shape, name="O", like=K)
    for sram, i in gpu.launch("double", sa.blocks(K.shape[0], 2), like=K):
        sram.store(O[i], sram.load(K[i]) * 2)
    return O


@pytest.mark.parametrize("cache", [1, lanes.CACHE])
def test_a_launch_like_K_runs_once_a_KV_head(cache, monkeypatch):
    """Thread blocks, traffic and arithmetic are counted for each KV head and batch element, not for each head, and outputs have its heads."""
    monkeypatch.setattr(lanes, "CACHE", cache)
    Q, K = np.ones((2, 6, 5, 4), np.float32), np.random.default_rng(0).standard_normal((2, 2, 5, 4), np.float32)
    run = ROOMY.run(doubled, Q, K)
    assert np.array_equal(run.output, 2 * K)
    assert (run.programs, run.hbm_read, run.hbm_write, run.vector_flops) == (2 * 2 * 3, K.nbytes, K.nbytes, K.size)
    assert run.hbm_footprint == 0


@pytest.mark.parametrize("before", [False, True], ids=["at once", "after an ordinary launch"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_launch_like_K_cannot_load_Q(before, whole):
    """What several heads of a group have, one thread block for all of them has not: loading Q raises, however often it was loaded before."""

    def algorithm(gpu, Q, K):
        A, part = gpu.empty((4, 4), name="A"), Q if whole else Q[0:4]
        for sram, _ in gpu.launch("ordinary", [0] * before):
            sram.store(A, sram.load(part))
        for sram, _ in gpu.launch("like K", [0], like=K):
            sram.load(part if whole else Q[0:4])
        return A

    with pytest.raises(TypeError, match=r"load Q: .*several of its heads"):
        ROOMY.run(algorithm, np.ones((1, 2, 4, 4), np.float32), np.ones((1, 1, 4, 4), np.float32))


KEEP_APART = {
    r"store into S: several heads share it.*atomic_add": (False, lambda sram, A, S, x: sram.store(S, x)),
    r"store into A: .*several of its heads": (True, lambda sram, A, S, x: sram.store(A, x)),
    r"atomic_add to A: .*several of its heads": (True, lambda sram, A, S, x: sram.atomic_add(A, x)),
    r"random": (True, lambda sram, A, S, x: sram.store(S, sram.random(slice(0, 4), slice(0, 4), 0))),
}


@pytest.mark.parametrize("message", KEEP_APART)
def test_arrays_of_heads_and_of_KV_heads_keep_apart(message):
    """An ordinary launch does not store what heads share, and one like K stores into, adds to, and draws numbers for, no single head."""
    like, act = KEEP_APART[message]

    def algorithm(gpu, Q, K):
        A, S = gpu.empty((4, 4), name="A"), gpu.empty((4, 4), name="S", like=K)
        for sram, _ in gpu.launch("act", [0], like=K if like else None):
            act(sram, A, S, sram.load(K))
        return A

    with pytest.raises((TypeError, ValueError), match=message):
        ROOMY.run(algorithm, np.ones((1, 2, 4, 4), np.float32), np.ones((1, 1, 4, 4), np.float32))


@pytest.mark.parametrize(
    "word", [lambda gpu: gpu.empty((1, 1), like=3), lambda gpu: gpu.launch("k", [0], like=3)], ids=["empty", "launch"]
)
def test_like_is_an_array_in_hbm(word):
    """Anything else raises a TypeError that says so."""
    with pytest.raises(TypeError, match="like"):
        ROOMY.run(lambda gpu, X: [word(gpu)], X4)


@pytest.mark.parametrize(
    "array", [np.ones((2, 2), np.float32), np.array([1]), sa.each([np.array([1])] * 2)], ids=["bias", "table", "each"]
)
def test_what_is_shared_beyond_a_group_is_counted_the_same_however_heads_are_grouped(array):
    """`like=` an array that the whole batch shares is refused, or counts the same whether heads run side by side or alone."""
    shared = set()

    def algorithm(gpu, Q, *, x):
        shared.add(gpu.shares(x))
        A = gpu.empty((2, 2), name="A", like=x)
        for sram, _ in gpu.launch("once", [0], like=x):
            sram.store(A, sram.zeros((2, 2)))
        return A

    totals = []
    for cache in (1, lanes.CACHE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lanes, "CACHE", cache)
            try:
                totals.append(ROOMY.run(algorithm, np.ones((2, 3, 2, 2), np.float32), x=array).total)
            except (ValueError, TypeError):
                totals.append(None)
    assert totals[0] == totals[1]
    assert shared == {True}


# Rounding after each operation


def test_every_tile_has_the_storage_type_where_every_operation_rounds():
    """zeros, products, sums, exponentials and casts are float16 there, of the values that rounding each of them gives."""
    X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float16)
    types = {}

    def algorithm(gpu, X):
        O, types["acc"] = gpu.empty((4, 4), name="O"), gpu.acc
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X)
            S = x @ x.T
            P = np.exp(S - S.max(axis=1, keepdims=True))
            l = P.sum(axis=1, keepdims=True)
            y = P / l + sram.zeros((4, 4)) + np.where(sram.arange(slice(0, 4)) < 2, P, 0.0)
            types.update(x=x.dtype, S=S.dtype, P=P.dtype, l=l.dtype, zeros=sram.zeros((1, 1)).dtype, y=y.dtype)
            sram.store(O, y)
        return O

    def half(x):
        return x.astype(np.float16)

    run = ROUNDING.run(algorithm, X)
    assert set(types.values()) == {np.dtype(np.float16)}
    wide = X.astype(np.float32)
    S = half(wide @ wide.T)
    P = half(np.exp(half(S - S.max(axis=1, keepdims=True)).astype(np.float32)))
    quotient = half(P.astype(np.float32) / half(P.astype(np.float32).sum(axis=1, keepdims=True)).astype(np.float32))
    expected = half(quotient.astype(np.float32) + np.where(np.arange(4) < 2, P, np.float16(0)).astype(np.float32))
    assert np.array_equal(run.output, expected)
    assert not np.array_equal(run.output, ROOMY.run(algorithm, X).output)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("algorithm", [*FORWARD, "incremental", "flash2_backward"])
def test_counts_are_those_of_two_byte_tiles_where_every_operation_rounds(algorithm, dtype):
    """With one type of two bytes for all, each byte count is half of what one type of four bytes for all has; work is the same."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((1, heads, 24, 8), np.float32) for heads in (4, 2, 2))
    more = {"splits": 2} if algorithm == "split_kv" else {}
    more |= {} if algorithm == "incremental" else {"causal": True}

    def run(machine, dtype):
        arrays = [Q, K, V, Q, Q[..., :1], Q] if algorithm.endswith("backward") else [Q, K, V]
        return machine.run(sa.algorithms[algorithm], *(x.astype(STORAGE[dtype]) for x in arrays), Br=8, Bc=6, **more)

    rounded, single, ordinary = run(ROUNDING, dtype), run(ROOMY, "float32"), run(ROOMY, dtype)
    for name in ("hbm_read", "hbm_write", "sram_read", "sram_write", "peak_sram", "hbm_footprint"):
        assert 2 * getattr(rounded, name) == getattr(single, name), name
    for name in ("matmul_flops", "exps", "programs"):
        assert getattr(rounded, name) == getattr(single, name), name
    assert not np.array_equal(rounded.output, ordinary.output)
    assert np.abs(rounded.output.astype(float) - single.output).max() < 0.1 * np.abs(single.output).max()


@pytest.mark.parametrize("algorithm", FORWARD)
def test_every_algorithm_runs_where_every_operation_rounds(algorithm):
    """In the types at both ends, too: no operation meets two types, and the output is attention's, as far as the type reaches."""
    for dtype, bound in {"float64": 1e-12, "float8_e4m3fn": 1.0, "float8_e5m2": 1.0}.items():
        Q, K, V = (np.random.default_rng(i).standard_normal((6, 4)).astype(STORAGE[dtype]) for i in range(3))
        more = {"splits": 2} if algorithm == "split_kv" else {}
        run = ROUNDING.run(sa.algorithms[algorithm], Q, K, V, Br=4, Bc=4, **more)
        truth = sa.attention_truth(*(x[None, None] for x in (Q, K, V))).O[0, 0]
        assert np.allclose(run.output.astype(float), truth.astype(float), atol=bound), dtype


# Booleans in HBM


def test_booleans_lie_in_hbm_at_a_byte_each():
    """`gpu.empty(dtype="bool")` takes boolean tiles only, gives them back, and can be returned."""

    def algorithm(gpu, X, *, wrong=False):
        B, O = gpu.empty((4, 4), name="B", dtype="bool"), gpu.empty((4, 4), name="O")
        for sram, _ in gpu.launch("compare", [0]):
            sram.store(B, sram.load(X) if wrong else sram.load(X) > 7)
        for sram, _ in gpu.launch("choose", [0]):
            sram.store(O, np.where(sram.load(B), sram.load(X), -1.0))
        return O, B

    run = ROOMY.run(algorithm, X4)
    assert np.array_equal(run.outputs["B"], X4 > 7)
    assert run.outputs["B"].dtype == bool
    assert np.array_equal(run.output, np.where(X4 > 7, X4, -1))
    assert run.tensors["B"] == Traffic(hbm_read=16, hbm_write=16)
    with pytest.raises(TypeError, match="store into B: a float32 tile, but the array is bool"):
        ROOMY.run(algorithm, X4, wrong=True)
    with pytest.raises(TypeError, match="unknown storage type 'boole'"):
        ROOMY.run(lambda gpu, X: gpu.empty((1, 1), dtype="boole"), X4)
