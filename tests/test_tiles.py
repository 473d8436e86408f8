"""Means, bounds, copies and rows: operations on tiles against NumPy, what they count, and what their errors say."""

import functools

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.counts import Counts

X = np.arange(32, dtype=np.float32).reshape(8, 4) - 9
VIEWS = {"whole": lambda x: x, "turned": lambda x: x.T, "part": lambda x: x[1:5, 1:], "backwards": lambda x: x[::-1]}


def look(body, *arrays, **options):
    """What `body(sram, *tiles)` gives in a thread block that loads the arrays, in NumPy, and what the body alone counted."""
    seen = []

    def kernel(gpu, *arrays):
        O = gpu.empty((1, 1), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            tiles = [sram.load(x) for x in arrays]
            before = len(sram._program.records)
            result = body(sram, *tiles)
            seen.append(sum((operation.counts for operation, *_ in sram._program.records[before:]), Counts()))
            if result is not None:
                seen.append(gpu.peek(result))
            sram.store(O, sram.zeros((1, 1)))
        return O

    ROOMY.run(kernel, *(arrays or [X]), **options)
    return seen[-1], seen[0]


def error_of(body, *arrays):
    with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
        look(body, *arrays)
    return str(caught.value)


@pytest.mark.parametrize("axis", [0, 1, None, -1])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_mean_is_a_sum_and_a_division(axis, view, dtype):
    """`.mean` and np.mean give NumPy's mean, and count the sum's inputs and a division for each output, as the two written out."""
    x = X.astype(dtype)
    for mean in (lambda x: x.mean(axis=axis, keepdims=True), lambda x: np.mean(x, axis=axis, keepdims=True)):
        got, counts = look(lambda sram, x: mean(VIEWS[view](x)), x)
        plain = VIEWS[view](x).astype(float)
        assert np.allclose(got, plain.mean(axis=axis, keepdims=True), rtol=1e-6)
        assert got.dtype == ("float64" if dtype == "float64" else "float32")
        assert counts.vector_flops == plain.size + got.size
        written_out = look(lambda sram, x: VIEWS[view](x).sum(axis=axis, keepdims=True) / (plain.size // got.size), x)
        assert (got.tobytes(), counts) == (written_out[0].tobytes(), written_out[1])


def test_a_mean_without_keepdims_is_refused_by_its_name():
    """As every reduction, a mean keeps two dimensions: the message names the mean and the remedy."""
    assert error_of(lambda sram, x: x.mean(axis=1)).startswith("mean of Tile (8, 4)")
    assert "keepdims=True" in error_of(lambda sram, x: np.mean(x, axis=1))


@pytest.mark.parametrize("bounds", [(-2, 3), (None, 3), (-2, None), (3, -2), (-2.5, 1.5), (np.nan, 1), (0, np.inf), (None, None)])
def test_clip_is_numpys_and_counts_one_operation_a_bound(bounds):
    """np.clip and `.clip` by two bounds, one or none give what NumPy gives, for a vector operation an element and bound."""
    ways = [lambda x: np.clip(x, *bounds), lambda x: x.clip(*bounds), lambda x: x.clip(min=bounds[0], max=bounds[1])]
    for clip in ways:
        got, counts = look(lambda sram, x: clip(x))
        assert np.array_equal(got, X if bounds == (None, None) else X.clip(*bounds), equal_nan=True)
        assert counts.vector_flops == X.size * sum(bound is not None for bound in bounds)


@given(st.lists(st.sampled_from([(8, 4), (8, 1), (1, 4), (1, 1)]), min_size=3, max_size=3))
def test_clip_by_tiles_broadcasts(shapes):
    """Bounds that are tiles broadcast as in NumPy, whichever of the three is the largest; a number between tiles is clipped, too."""
    rng = np.random.default_rng(0)
    x, low, high = (rng.integers(-9, 9, shape).astype(np.float32) for shape in shapes)
    got, _ = look(lambda sram, x, low, high: np.clip(x, low, high), x, low, high)
    assert np.array_equal(got, np.clip(x, low, high))
    got, _ = look(lambda sram, low, high: np.clip(0.5, low, high), low, high)
    assert np.array_equal(got, np.clip(np.float32(0.5), low, high))


def test_clip_refuses_what_numpy_refuses():
    """One positional bound, bounds twice, and a place to write to raise an error."""
    for wrong in (lambda x: np.clip(x, 1), lambda x: np.clip(x, 0, 1, min=0), lambda x: np.clip(x, 0, 1, out=x)):
        assert "clip" in error_of(lambda sram, x: wrong(x)) or "out" in error_of(lambda sram, x: wrong(x))


def test_maximum_of_several_tiles_is_chained():
    """functools.reduce takes any number of tiles; a third operand, and a list, are refused with that advice."""
    got, counts = look(lambda sram, x: functools.reduce(np.maximum, [x, -x, x * 0 + 5, x]))
    assert np.array_equal(got, np.maximum(abs(X), 5))
    assert counts.vector_flops == 6 * X.size
    for wrong in (
        lambda x: np.maximum(x, x, out=x), lambda x: np.maximum.reduce([x, x]), lambda x: np.max([x, x], axis=0), lambda x: np.amax([x], axis=0),
    ):  # fmt: skip
        assert "np.maximum of several tiles is functools.reduce(np.maximum, tiles)" in error_of(lambda sram, x: wrong(x))
    assert "np.add of several tiles is functools.reduce(np.add, tiles)" in error_of(lambda sram, x: np.add(x, x, x))


@given(
    data=st.data(), axis=st.sampled_from([0, 1, -1, -2]), dtype=st.sampled_from(["float64", "float32", "bfloat16", "float8_e5m2"])
)
def test_concatenate_copies(data, axis, dtype):
    """Tiles, and views of tiles, of any number and width, give what NumPy gives, and count bytes but no arithmetic."""
    from simattn.hierarchy.dtypes import STORAGE

    widths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    turned = data.draw(st.booleans())
    shapes = [(w, 3) if axis in (0, -2) else (3, w) for w in widths]
    arrays = [
        np.random.default_rng(w).integers(-9, 9, s[::-1] if turned else s).astype(STORAGE[dtype])
        for w, s in zip(widths, shapes, strict=True)
    ]
    turn = (lambda x: x.T) if turned else (lambda x: x)
    expected = np.concatenate([turn(x).astype(float) for x in arrays], axis=axis)
    got, counts = look(lambda sram, *tiles: np.concatenate([turn(x) for x in tiles], axis=axis), *arrays)
    assert np.array_equal(got.astype(float), expected)
    assert got.dtype == arrays[0].dtype
    nbytes = sum(x.nbytes for x in arrays)
    assert counts == Counts(sram_read=nbytes, sram_write=nbytes)
    stack = np.vstack if axis in (0, -2) else np.hstack
    again, same = look(lambda sram, *tiles: stack([turn(x) for x in tiles]), *arrays)
    assert (again.tobytes(), same) == (got.tobytes(), counts)


def test_concatenate_holds_operands_and_result():
    """A copy takes over no bytes: what is concatenated and the result are live together."""

    def kernel(gpu, X):
        O = gpu.empty((16, 4), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X)
            sram.store(O, np.concatenate((x, x)))
        return O

    run = ROOMY.run(kernel, X)
    assert np.array_equal(run.output, np.concatenate((X, X)))
    assert run.peak_sram == 3 * X.nbytes


def test_concatenate_of_heads_side_by_side():
    """What is the same for all heads, a constant or an index tile, and what differs by head, concatenate as they broadcast."""

    def kernel(gpu, X):
        O = gpu.empty((10, 4), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            sram.store(O, np.concatenate([sram.load(X), sram.zeros((1, 4)), sram.arange(slice(0, 4))]))
        return O

    heads = np.stack([X, -X])[None]
    run = ROOMY.run(kernel, heads)
    assert np.array_equal(run.output, [[np.vstack([x, np.zeros(4), np.arange(4)]) for x in heads[0]]])


def test_index_tiles_concatenate_to_an_index_tile():
    """Two ranges of indices are indices: they occupy nothing and move nothing."""
    got, counts = look(lambda sram, x: np.hstack([sram.arange(slice(3, 5)), sram.arange(slice(0, 2))]))
    assert got.tolist() == [[3, 4, 0, 1]]
    assert counts == Counts()


STRAY = {
    "other widths": ("their columns must be equal", lambda sram, x: np.concatenate([x, x[:, 0:2]])),
    "other heights": ("their rows must be equal", lambda sram, x: np.hstack([x, x[0:2]])),
    "a row beside": ("arange is a row: `.T` makes a column", lambda sram, x: np.hstack([x, sram.arange(slice(0, 8))])),
    "another type": ("it takes tiles of one type", lambda sram, x: np.concatenate([x, x.astype("float16")])),
    "a boolean": ("it takes tiles of one type", lambda sram, x: np.concatenate([x, x > 0])),
    "a boolean of indices": ("it takes tiles of one type", lambda sram, x: np.concatenate([x, sram.arange(slice(0, 4)) > 1])),
    "axis 2": ("along axis 2", lambda sram, x: np.concatenate([x, x], axis=2)),
    "no axis": ("along axis None", lambda sram, x: np.concatenate([x, x], axis=None)),
    "a host array": ("a host array", lambda sram, x: np.concatenate([x, np.ones((8, 4), np.float32)])),
    "a number": ("sram.full", lambda sram, x: np.concatenate([x, 1.0])),
    "dtype=": ("'dtype'", lambda sram, x: np.concatenate([x, x], dtype=np.float64)),
    "a tile": ("iterable", lambda sram, x: np.concatenate(x)),
    "a generator": ("a list or a tuple", lambda sram, x: np.concatenate(x for _ in range(2))),
}


@pytest.mark.parametrize("what", STRAY)
def test_what_does_not_concatenate_is_named(what):
    """Shapes that do not meet, types that differ, another axis, and what is no tile raise an error with the remedy."""
    message, body = STRAY[what]
    assert message in error_of(body)


def test_an_array_in_hbm_is_not_concatenated():
    """An HBM array in the list says that it must be loaded first."""

    def kernel(gpu, X):
        for sram, _ in gpu.launch("kernel", [0]):
            np.concatenate([sram.load(X), X])

    with pytest.raises(TypeError, match="load it first"):
        ROOMY.run(kernel, X)


TURNED = {
    "arange for rows": ("arange is a row: `.T` makes a column", lambda sram, x: x * sram.arange(slice(0, 8))),
    "a mask of arange": ("arange is a row: `.T` makes a column", lambda sram, x: np.where(sram.arange(slice(0, 8)) < 3, x, 0.0)),
    "arange beside a row": ("arange is a row: `.T` makes a column", lambda sram, x: x[0:1] + sram.arange(slice(0, 8))),
    "more than arange": (
        "arange is a row: `.T` makes a column",
        lambda sram, x: np.maximum(x[:, 0:3], 2 * sram.arange(slice(0, 8))),
    ),
    "arange for columns": ("arange.T is a column: `.T` makes a row", lambda sram, x: x - sram.arange(slice(0, 4)).T),
    "a row": ("the tile (1, 8) is a row: `.T` makes a column", lambda sram, x: x + x.T[0:1]),
    "a column": ("the tile (4, 1) is a column: `.T` makes a row", lambda sram, x: x + x[0:4, 0:1]),
    "a factor": ("`.T` of the second would fit", lambda sram, x: x @ x),
}


@pytest.mark.parametrize("what", TURNED)
def test_a_shape_that_would_fit_turned_says_so(what):
    """Where the transpose of a row, a column or an arange would broadcast, or that of a factor would multiply, the error says it."""
    advice, body = TURNED[what]
    assert advice in error_of(body)


def test_a_shape_that_would_not_fit_turned_gets_no_advice():
    """Shapes that fit neither way are only named."""
    for wrong in (lambda sram, x: x + x[0:3], lambda sram, x: x + sram.arange(slice(0, 5)), lambda sram, x: x @ x[0:3, 0:3]):
        assert "`.T`" not in error_of(wrong)


def test_a_row_for_a_column_of_hbm_says_so():
    """An arange stored into a column of HBM gets the same advice."""

    def kernel(gpu, X):
        O = gpu.empty((8, 1), name="O")
        for sram, i in gpu.launch("kernel", [slice(0, 8)]):
            sram.store(O[i], sram.arange(i))
        return O

    with pytest.raises(ValueError, match=r"arange is a row: `\.T` makes a column"):
        ROOMY.run(kernel, X)


def scaled(gpu, X, w, *, b=None):
    O = gpu.empty(X.shape, name="O")
    for sram, i in gpu.launch("scaled", sa.blocks(X.shape[0], 4)):
        x = sram.load(X[i]) * sram.load(w)
        sram.store(O[i], x if b is None else x + sram.load(b))
    return O


@pytest.mark.parametrize("lanes", [(), (1, 1), (2, 3)])
def test_a_one_dimensional_array_is_a_row_for_every_head(lanes):
    """(n,) given by position or by keyword is (1, n) in HBM, the same for each head, read by each thread block that loads it."""
    x = np.random.default_rng(0).standard_normal((*lanes, 8, 4)).astype(np.float32)
    w, b = np.arange(4, dtype=np.float32), np.ones(4, np.float32)
    run = ROOMY.run(scaled, x, w, b=b)
    assert np.array_equal(run.output, x * w + b)
    assert run.tensors["w"].hbm_read == run.tensors["b"].hbm_read == run.programs * w.nbytes
    assert run.output.shape == x.shape
    rows = ROOMY.run(scaled, x, np.broadcast_to(w, (*lanes, 1, 4)), b=b[None])
    assert (rows.output.tobytes(), rows.total) == (run.output.tobytes(), run.total)


def test_rows_alone_give_a_row():
    """Where every array is (n,), an output is what the algorithm made of them, a row (1, n): outputs are never one-dimensional."""
    w = np.arange(4, dtype=np.float32)
    run = ROOMY.run(scaled, w, w)
    assert np.array_equal(run.output, [w * w])


def test_one_query_may_be_a_row():
    """One query given as (d,) is that of every head; a bias (n_k,) is that of every row."""
    rng = np.random.default_rng(0)
    q, bias, (K, V) = rng.standard_normal(8), rng.standard_normal(16), rng.standard_normal((2, 16, 8))
    run = ROOMY.run(sa.flash2, q, K, V, bias=bias)
    assert run.output.tobytes() == ROOMY.run(sa.flash2, q[None], K, V, bias=bias[None]).output.tobytes()


def test_a_column_given_as_a_row_is_named():
    """The lse of a forward pass is a column: given as it lies in run.lse, it would broadcast against the keys, and is refused."""
    Q = np.ones((8, 8), np.float32)
    forward = ROOMY.run(sa.flash2, Q, Q, Q)
    for backward in (sa.flash1_backward, sa.flash2_backward):
        with pytest.raises(ValueError, match=r"lse has shape \(1, 8\).*lse\[\.\.\., None\]"):
            ROOMY.run(backward, Q, Q, Q, forward.output, forward.lse, Q)


@pytest.mark.parametrize("shape", [(), (2, 3, 4), (1, 1, 1, 2, 3), (0,)])
def test_other_dimensions_are_refused(shape):
    """No dimensions, three, five, and a length of 0 raise an error with the shape and what to give."""
    with pytest.raises(ValueError, match=r"w has shape"):
        ROOMY.run(scaled, X, np.ones(shape, np.float32))
