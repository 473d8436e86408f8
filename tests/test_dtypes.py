"""Types: what joins, what rounds, what saturates, what accumulates."""

import ml_dtypes
import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.dtypes import STORAGE, round_to


def tiles(body, **arrays):
    """What `body(gpu, sram, **tiles)` gives, in a thread block that loads each array."""
    given = []

    def kernel(gpu, **hbm):
        O = gpu.empty((1, 1))
        for sram, _ in gpu.launch("kernel", [0]):
            given.append(body(gpu, sram, **{name: sram.load(x) for name, x in hbm.items()}))
            sram.store(O, sram.zeros((1, 1)))
        return O

    ROOMY.run(kernel, **arrays)
    return given[0]


def ones(dtype, shape=(4, 4)):
    return np.ones(shape, dtype)


@pytest.mark.parametrize("left", sorted(STORAGE))
@pytest.mark.parametrize("right", sorted(STORAGE))
def test_which_types_join(left, right):
    """A half type with float32 gives float32; two narrow types, or float64 with anything narrower, raise and say to cast."""
    both = {STORAGE[left].itemsize, STORAGE[right].itemsize}
    joins = left == right or ("float32" in (left, right) and max(both) == 4)

    def body(gpu, sram, X, Y):
        if not joins:
            with pytest.raises(TypeError, match="astype"):
                X + Y
            return None
        return (X + Y).dtype

    expected = None if not joins else STORAGE[left] if left == right else np.dtype(np.float32)
    assert tiles(body, X=ones(STORAGE[left]), Y=ones(STORAGE[right])) == expected


@pytest.mark.parametrize("dtype", sorted(STORAGE))
def test_scalars_decide_no_type(dtype):
    """Python's and NumPy's scalars, of any width, leave a tile's type as it is; so do index tiles."""

    def body(gpu, sram, X):
        i = sram.arange(slice(0, 4))
        results = [
            X * 2,
            2.0 * X,
            X + np.float64(2),
            np.float32(2) * X,
            X / np.int64(3),
            X + i,
            np.where(i < 2, X, 0.0),
            np.maximum(X, True),
        ]
        return {r.dtype for r in results}

    assert tiles(body, X=ones(STORAGE[dtype])) == {STORAGE[dtype]}


@pytest.mark.parametrize("dtype", sorted(STORAGE))
def test_products_and_sums_accumulate_wide(dtype):
    """A product of rounded values and a sum are of the accumulation type: 4,096 ones sum to 4,096 even where the type stops at 256."""
    acc = np.float64 if dtype == "float64" else np.float32

    def body(gpu, sram, X):
        total, product = X.sum(axis=1, keepdims=True), X @ X.T
        return (
            gpu.acc,
            total.dtype,
            product.dtype,
            gpu.peek(total)[0, 0],
            gpu.peek(product)[0, 0],
            X.max(axis=1, keepdims=True).dtype,
        )

    assert tiles(body, X=ones(STORAGE[dtype], (1, 4096))) == (acc, acc, acc, 4096, 4096, acc)


def test_a_product_takes_one_type():
    """P in float32 times V in float16 raises, and says how to write it; so do booleans and indices."""

    def body(gpu, sram, P, V):
        with pytest.raises(TypeError, match=r"write P\.astype\(V\.dtype\) @ V"):
            P @ V
        with pytest.raises(TypeError, match="tiles of numbers"):
            (P > 0) @ P
        with pytest.raises(TypeError, match="tiles of numbers"):
            sram.arange(slice(0, 4)).T @ sram.arange(slice(0, 4))
        with pytest.raises(TypeError, match="two tiles"):
            P @ 2.0
        return (P.astype(V.dtype) @ V).dtype

    assert tiles(body, P=ones(np.float32), V=ones(np.float16)) == np.float32


@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=20))
def test_casts_to_float8_saturate(values):
    """A finite value beyond a float8 becomes its largest; no infinity is stored; NaN stays NaN; the others round to nearest even."""
    x = np.array(values, np.float32)
    for dtype in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        kind, bound = np.dtype(dtype), float(ml_dtypes.finfo(dtype).max)
        y = round_to(x, kind).astype(np.float32)
        assert np.array_equal(np.isnan(y), np.isnan(x))
        assert (np.abs(y[~np.isnan(y)]) <= bound).all()
        inside = np.abs(x) <= bound
        assert np.array_equal(y[inside], x[inside].astype(dtype).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_arithmetic_is_float32_rounded(dtype):
    """Arithmetic in a narrow type equals NumPy's float32 result, rounded once."""
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((8, 8)).astype(STORAGE[dtype]) for _ in range(2))

    def body(gpu, sram, X, Y):
        return [gpu.peek(t) for t in (X + Y, X * Y, np.exp(X), X * 0.1, X.max(axis=0, keepdims=True))]

    x, y = X.astype(np.float32), Y.astype(np.float32)
    scalar = np.float32(0.1).astype(STORAGE[dtype]).astype(np.float32)
    expected = [x + y, x * y, np.exp(x), x * scalar, x.max(axis=0, keepdims=True)]
    for ours, theirs in zip(tiles(body, X=X, Y=Y), expected, strict=True):
        assert np.array_equal(ours, theirs.astype(ours.dtype))


def test_a_store_rounds_and_casts_are_free_to_the_same_type():
    """Storing float32 into float16 rounds without an operation; casting to the type that a tile has is the tile itself."""

    def kernel(gpu, X):
        O = gpu.empty((4, 4), name="O", dtype="float16")
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X)
            assert x.astype(np.float32) is x
            sram.store(O, x)
        return O

    X = np.full((4, 4), 1 / 3, np.float32)
    run = ROOMY.run(kernel, X)
    assert np.array_equal(run.output, X.astype(np.float16))
    assert (run.vector_flops, run.hbm_write, run.sram_read) == (0, 32, 64)


def test_unknown_types_are_named():
    """A type that HBM does not store, by name or by NumPy type, is an error with the nearest known one."""
    for dtype, message in (("float61", "did you mean 'float64'"), (np.int8, "int8"), ("bfloat61", "did you mean 'bfloat16'")):
        with pytest.raises(TypeError, match=message):
            ROOMY.run(lambda gpu, X, dtype=dtype: gpu.empty((1, 1), dtype=dtype), np.ones((1, 1), np.float32))


def test_other_byte_orders_are_the_same_numbers():
    """A big-endian input is converted, not misread."""
    X = np.arange(16, dtype=">f4").reshape(4, 4)
    assert np.array_equal(sa.attention(X, X, X).output, sa.attention(*(X.astype(np.float32),) * 3).output)


def test_masks_are_boolean_tiles():
    """Logical operations and `where` take comparisons, one byte an element; numbers in their place raise."""

    def body(gpu, sram, X, M):
        m = (X > 0) & M | ~M
        with pytest.raises(TypeError, match="boolean"):
            X & X
        with pytest.raises(TypeError, match="boolean"):
            np.where(X, X, 0.0)
        return m.dtype, m.nbytes, gpu.peek(M.sum(axis=1, keepdims=True))[0, 0], gpu.peek(np.where(m, X, -1.0)).sum()

    M = np.eye(4, dtype=bool)
    assert tiles(body, X=ones(np.float32), M=M) == (np.bool_, 16, 1.0, 16.0)
