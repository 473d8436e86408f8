"""Nothing is read, altered or computed uncounted: each way around a count raises a TypeError, or is counted."""

import copy
import inspect
import operator
import pickle
import types
import warnings

import numpy as np
import pytest
from conftest import ROOMY

import simattn as sa
from simattn.hierarchy import operations
from simattn.hierarchy.tile import FUNCTIONS, Tile

REFUSALS = (TypeError, AttributeError, IndexError, ValueError, BufferError, pickle.PicklingError, PendingDeprecationWarning)


def in_a_block(body, *arrays):
    """Run `body(gpu, sram, tile, hbm array)` in a thread block, on a 4 × 4 input, and return the run and what it gave."""
    given = []

    def kernel(gpu, X):
        O = gpu.empty((4, 4), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X)
            given.append(body(gpu, sram, x, X))
            sram.store(O, x)
        return O

    run = ROOMY.run(kernel, *(arrays or [np.arange(16, dtype=np.float32).reshape(4, 4)]))
    return run, given[0]


def public_functions(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # some names are on their way out
        return {name: f for name in dir(module) if not name.startswith("_") and callable(f := getattr(module, name))}


NUMPY = {
    f"{module.__name__}.{name}": f
    for module in (np, np.linalg, np.fft, np.lib.stride_tricks, np.char, np.strings)
    for name, f in public_functions(module).items()
    if not inspect.isclass(f) and not isinstance(f, types.ModuleType)
}
# Functions that set or print NumPy's own state, or run its test suite, and take no array.
STATE = {
    "numpy.info", "numpy.show_config", "numpy.show_runtime", "numpy.test", "numpy.linalg.test", "numpy.fft.test", "numpy.seterr",
    "numpy.seterrcall", "numpy.setbufsize", "numpy.set_printoptions", "numpy.printoptions",
}  # fmt: skip
COUNTED = operations.ELEMENTWISE | FUNCTIONS.keys() | {np.matmul}


def values_in(result):
    """The numbers that a result carries out of the machine."""
    if isinstance(result, (tuple, list)):
        return [value for part in result for value in values_in(part)]
    if isinstance(result, np.ndarray) and result.dtype != object:
        return [result.tobytes()]
    return [result] if isinstance(result, (float, int, complex, np.generic, bytes)) else []


@pytest.mark.parametrize("where", ["tile", "hbm"])
@pytest.mark.parametrize("name", sorted(NUMPY.keys() - STATE))
def test_each_public_numpy_function_is_counted_or_refused(name, where):
    """NumPy's whole public namespace, with a tile or an HBM array in seven ways, gives a counted tile or nothing that depends on values.

    Each call is made on two inputs: what it gives must be a tile of a logged operation, or the same for both.
    """
    function = NUMPY[name]
    arguments = {
        "one": lambda x: (x,),
        "two": lambda x: (x, x),
        "scalar first": lambda x: (1, x),
        "scalar last": lambda x: (x, 1),
        "three": lambda x: (x > 1 if where == "tile" else x, x, x),
        "list": lambda x: ([x],),
        "host array": lambda x: (np.ones((4, 4), np.float32), x),
    }

    def body(gpu, sram, tile, array):
        outcomes = {}
        for how, make in arguments.items():
            given = make(tile if where == "tile" else array)
            before = len(sram._program.records)
            try:
                result = function(*given)
            except Exception as error:  # noqa: BLE001 - that it raises is what is tested
                outcomes[how] = error
            else:
                if isinstance(result, Tile):
                    assert function in COUNTED, f"{name} gives a tile, but nobody classified it"
                    assert (
                        len(sram._program.records) > before or function is np.transpose or result is given[0]
                    )  # clip without bounds
                outcomes[how] = result
        return outcomes

    X = np.arange(16, dtype=np.float32).reshape(4, 4)
    (_, first), (_, second) = in_a_block(body, X), in_a_block(body, 100 - 3 * X)
    for how in arguments:
        if function not in (np.empty, np.empty_like):  # these give what happened to lie in the host's memory
            assert values_in(first[how]) == values_in(second[how]), f"{name}, {how}: gave values uncounted"


WAYS_AROUND = {
    "np.asarray": lambda sram, x: np.asarray(x),
    "np.array of a list": lambda sram, x: np.array([x, x], dtype=float),
    "np.asarray as object": lambda sram, x: np.asarray(x, dtype=float),
    "memoryview": lambda sram, x: memoryview(x),
    "bytes": lambda sram, x: bytes(x),
    "bytearray": lambda sram, x: bytearray(x),
    "np.frombuffer": lambda sram, x: np.frombuffer(x),
    "DLPack": lambda sram, x: x.__dlpack__(),
    "np.from_dlpack": lambda sram, x: np.from_dlpack(x),
    "__array_interface__": lambda sram, x: x.__array_interface__,
    "__array_struct__": lambda sram, x: x.__array_struct__,
    "copy.copy": lambda sram, x: copy.copy(x),
    "copy.deepcopy": lambda sram, x: copy.deepcopy(x),
    "pickle": lambda sram, x: pickle.dumps(x),
    "list": lambda sram, x: list(x),
    "tuple unpacking": lambda sram, x: [*x],
    "sum": lambda sram, x: sum(x),
    "iter": lambda sram, x: iter(x),
    "reversed": lambda sram, x: list(reversed(x)),
    "sorted": lambda sram, x: sorted(x),
    "zip": lambda sram, x: list(zip(x, x, strict=True)),
    "in": lambda sram, x: 1.0 in x,
    "len": lambda sram, x: len(x),
    "bool": lambda sram, x: bool(x),
    "if": lambda sram, x: 1 if x else 2,
    "not": lambda sram, x: not x,
    "and": lambda sram, x: x and 1,
    "float": lambda sram, x: float(x),
    "int": lambda sram, x: int(x),
    "complex": lambda sram, x: complex(x),
    "operator.index": lambda sram, x: operator.index(x),
    "round": lambda sram, x: round(x),
    "as an index": lambda sram, x: [1, 2, 3][x],
    "range": lambda sram, x: range(x),
    "format": lambda sram, x: format(x, ".3f"),
    "%f": lambda sram, x: "%f" % x,  # noqa: UP031
    "hash": lambda sram, x: hash(x),
    "as a dict key": lambda sram, x: {x: 1},
    "vars": lambda sram, x: vars(x),
    "item assignment": lambda sram, x: operator.setitem(x, slice(0, 1), 0.0),
    "item deletion": lambda sram, x: operator.delitem(x, slice(0, 1)),
    "a new attribute": lambda sram, x: setattr(x, "note", 1),
    "a new shape": lambda sram, x: setattr(x, "shape", (2, 8)),
    "a new dtype": lambda sram, x: setattr(x, "dtype", np.int8),
    "out=": lambda sram, x: np.add(x, 1.0, out=np.empty((4, 4), np.float32)),
    "out= the tile": lambda sram, x: np.add(np.ones((4, 4), np.float32), 1.0, out=x),
    "where=": lambda sram, x: np.add(x, 1.0, where=np.ones((4, 4), bool)),
    "dtype=": lambda sram, x: np.add(x, 1.0, dtype=np.float64),
    "casting=": lambda sram, x: np.add(x, 1.0, casting="unsafe"),
    "ufunc.at": lambda sram, x: np.add.at(x, [0], 1.0),
    "ufunc.at on a host array": lambda sram, x: np.add.at(np.zeros((4, 4), np.float32), slice(None), x),
    "ufunc.outer": lambda sram, x: np.multiply.outer(x, x),
    "ufunc.accumulate": lambda sram, x: np.add.accumulate(x),
    "ufunc.reduceat": lambda sram, x: np.add.reduceat(x, [0, 2]),
    "reduce with initial": lambda sram, x: np.add.reduce(x, axis=1, keepdims=True, initial=1.0),
    "np.copyto": lambda sram, x: np.copyto(np.empty((4, 4), np.float32), x),
    "a host array's item assignment": lambda sram, x: operator.setitem(np.empty((4, 4), np.float32), slice(None), x),
    "a host array plus": lambda sram, x: np.ones((4, 4), np.float32) + x,
    "plus a host array": lambda sram, x: x + np.ones((4, 4), np.float32),
    "a host array in place": lambda sram, x: operator.iadd(np.ones((4, 4), np.float32), x),
    "a list": lambda sram, x: x + [1.0, 2.0, 3.0, 4.0],  # noqa: RUF005
    "a zero-dimensional host array": lambda sram, x: x + np.array(1.0),
    "a string": lambda sram, x: x + "1",
    "None": lambda sram, x: x + None,
    "a complex": lambda sram, x: x * 1j,
    "np.full_like like=": lambda sram, x: np.zeros((4, 4), like=x),
    "np.vectorize": lambda sram, x: np.vectorize(float)(x),
    "np.frompyfunc": lambda sram, x: np.frompyfunc(float, 1, 1)(x),
    "np.nditer": lambda sram, x: np.nditer(x),
    "np.ndenumerate": lambda sram, x: list(np.ndenumerate(x)),
    "np.broadcast": lambda sram, x: np.broadcast(x, x),
    "np.ma.array": lambda sram, x: np.ma.array(x),
    "np.rec": lambda sram, x: np.rec.array(x),
    "np.float32": lambda sram, x: np.float32(x),
    "np.testing": lambda sram, x: np.testing.assert_array_equal(x, np.zeros((4, 4))),
    "np.random.shuffle": lambda sram, x: np.random.default_rng(0).shuffle(x),
    "np.random.permutation": lambda sram, x: np.random.default_rng(0).permutation(x),
    "a column by number": lambda sram, x: x[0],
    "an element": lambda sram, x: x[0, 0],
    "fancy indexing": lambda sram, x: x[[0, 1]],
    "a boolean index": lambda sram, x: x[x > 1],
    "a new axis": lambda sram, x: x[None],
    "ellipsis": lambda sram, x: x[..., 0],
    "a reduction without keepdims": lambda sram, x: x.sum(axis=1),
    "np.max without keepdims": lambda sram, x: np.max(x, axis=1),
    "np.amax to out=": lambda sram, x: np.amax(x, axis=1, keepdims=True, out=np.empty((4, 1), np.float32)),
    "storing a host array": lambda sram, x: sram.store(x, np.zeros((4, 4), np.float32)),
    "a tile of a host array": lambda sram, x: sram.full((4, 4), np.ones((4, 4))),
    "a tile of a tile": lambda sram, x: sram.full((4, 4), x),
    "arange of a tile": lambda sram, x: sram.arange(x),
    "loading a host array": lambda sram, x: sram.load(np.ones((4, 4))),
}


@pytest.mark.parametrize("where", ["tile", "hbm"])
@pytest.mark.parametrize("way", WAYS_AROUND)
def test_each_way_around_a_count_is_refused(way, where):
    """Every known way to read, copy, alter or compute without a count raises, on tiles and on HBM arrays alike."""
    if where == "hbm" and way in ("an element", "a column by number"):
        return  # slicing is all that HBM arrays do; tests of load cover what comes of it

    def body(gpu, sram, tile, array):
        try:
            return WAYS_AROUND[way](sram, tile if where == "tile" else array)
        except Exception as error:  # noqa: BLE001
            return error

    run, outcome = in_a_block(body)
    assert isinstance(outcome, REFUSALS), outcome
    assert np.array_equal(run.output, np.arange(16, dtype=np.float32).reshape(4, 4))
    assert (run.hbm_read, run.hbm_write) == (64, 64)


@pytest.mark.parametrize(
    "symbol", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "eq", "ne", "lt", "le", "gt", "ge"]
)
def test_arithmetic_on_hbm_arrays_says_load_it_first(symbol):
    """An HBM array in an expression, on either side, raises a TypeError that names the array and the remedy."""

    def body(gpu, sram, tile, X):
        messages = []
        for pair in ((X, 1.0), (1.0, X), (X, X), (tile, X), (X, tile), (np.ones((4, 4), np.float32), X)):
            with pytest.raises(TypeError) as caught:
                getattr(operator, symbol)(*pair)
            messages.append(str(caught.value))
        return messages

    _, messages = in_a_block(body)
    assert all("HBM array X" in m and "load it first" in m for m in messages)


@pytest.mark.parametrize("name", [name for name in dir(np.ndarray) if not name.startswith("__")])
def test_no_attribute_of_an_array_gives_values(name):
    """Every public attribute of NumPy's arrays raises on an HBM array, and on a tile but for the few that are counted or a shape."""

    def body(gpu, sram, tile, X):
        if name not in ("shape", "dtype", "T", "astype", "sum", "mean", "max", "min", "clip", "nbytes"):
            with pytest.raises(TypeError, match="peek"):
                getattr(tile, name)
        if name not in ("shape", "dtype"):
            with pytest.raises(TypeError, match="load it first"):
                getattr(X, name)

    in_a_block(body)


def test_inplace_operators_make_new_tiles():
    """`x += y` is `x = x + y`: the tile that another name holds keeps its values, and the work is counted."""

    def body(gpu, sram, x, X):
        y = x
        y += 1
        return gpu.peek(x), gpu.peek(y)

    run, (x, y) = in_a_block(body)
    assert np.array_equal(x + 1, y)
    assert (run.vector_flops, run.peeked) == (16, True)


def test_peek_gives_a_copy_and_is_remembered():
    """Looking at a tile gives a copy, costs nothing, and the run says that somebody looked; a repr shows no values."""

    def body(gpu, sram, x, X):
        seen = gpu.peek(x)
        seen[:] = 7
        return repr(x), str(x), f"{x}", repr(X)

    run, texts = in_a_block(body)
    assert run.peeked
    assert run.output[0, 1] == 1
    assert run.hbm_read == 64
    assert texts == ("Tile (4, 4) float32 64 B",) * 3 + ("HBM array X (4, 4) float32",)
    assert not in_a_block(lambda *_: None)[0].peeked


def test_the_callers_arrays_are_not_the_machines():
    """What the caller's array becomes during the run reaches neither the tiles nor HBM: the machine has its own copy."""
    X = np.arange(16, dtype=np.float32).reshape(4, 4)

    def body(gpu, sram, tile, array):
        X[:] = -1
        return gpu.peek(tile), gpu.peek(sram.load(array))

    run, (before, after) = in_a_block(body, X)
    expected = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert np.array_equal(before, expected)
    assert np.array_equal(after, expected)
    assert np.array_equal(run.output, expected)


def test_tiles_do_not_leave_their_thread_block():
    """A tile, or a view of one, carried into the next block or launch, or used after the run, raises; so does the block's SRAM."""
    carried = []

    def kernel(gpu, X):
        O = gpu.empty((4, 4), name="O")
        for name in ("first", "second"):
            for sram, i in gpu.launch(name, sa.blocks(4, 2)):
                x = sram.load(X[i])
                for old, old_sram in carried:
                    for use in (
                        lambda: x + old,
                        lambda: old + 1,
                        lambda: old[0:1] + 1,
                        lambda: old.T @ old,
                        lambda: np.exp(old),
                        lambda: old.sum(axis=1, keepdims=True),
                        lambda: old.astype("float16"),
                        lambda: sram.store(O[i], old),
                        lambda: old_sram.store(O[i], old),
                        lambda: old_sram.load(X[i]),
                        lambda: old_sram.zeros((2, 2)),
                        lambda: old_sram.arange(slice(0, 2)),
                    ):
                        with pytest.raises(TypeError, match=r"thread block"):
                            use()
                carried[:] = [(x, sram), (x[0:2], sram)]
                if name == "second":
                    sram.store(O[i], x)
        return O

    run = ROOMY.run(kernel, np.ones((4, 4), np.float32))
    assert run.hbm_read == 2 * 64
    with pytest.raises(TypeError, match="thread block"):
        carried[0][0] + 1


def test_arrays_do_not_leave_their_run():
    """An HBM array kept from one run cannot be loaded, stored into, or returned in another."""
    kept = []

    def keep(gpu, X):
        O = gpu.empty((4, 4), name="O")
        for sram, _ in gpu.launch("keep", [0]):
            sram.store(O, sram.load(X))
            for array in kept:
                with pytest.raises(TypeError, match="another run"):
                    sram.load(array)
                with pytest.raises(TypeError, match="another run"):
                    sram.store(array, sram.load(X))
        if kept:
            return kept[1]
        kept.extend((X, O))
        return O

    ROOMY.run(keep, np.ones((4, 4), np.float32))
    with pytest.raises(TypeError, match="return arrays made with"):
        ROOMY.run(keep, np.ones((4, 4), np.float32))


def test_a_thread_block_has_eight_public_words():
    """An SRAM loads, stores and makes tiles in eight words, the gpu offers empty, launch, peek and its facts, and nothing else is public."""

    def body(gpu, sram, tile, X):
        return [{name for name in dir(x) if not name.startswith("_")} for x in (sram, gpu)]

    _, (sram, gpu) = in_a_block(body)
    assert sram == {"load", "load_int", "store", "atomic_add", "zeros", "full", "arange", "random"}
    assert gpu == {"empty", "launch", "peek", "machine", "acc", "lanes", "shares"}


def test_the_machine_cannot_be_exchanged_during_a_run():
    """Capacity, accumulation type and lanes are facts: an algorithm that assigns to them raises."""

    def body(gpu, sram, tile, X):
        for name, value in (("machine", ROOMY), ("acc", np.dtype(np.float16)), ("lanes", 7)):
            with pytest.raises(AttributeError):
                setattr(gpu, name, value)

    in_a_block(body)


def test_a_scalar_of_ones_own_class_is_only_its_number():
    """A float that defines __array_ufunc__ is taken for its value: it never meets the data."""
    met = []

    class Spy(float):
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            met.append(inputs)
            return np.zeros((1, 1, 1, 4, 4), np.float32)

    run, seen = in_a_block(lambda gpu, sram, x, X: gpu.peek(x + Spy(1)))
    assert not met
    assert np.array_equal(seen, np.arange(16).reshape(4, 4) + 1)
    assert run.vector_flops == 16


def test_a_trap_for_floating_point_errors_tells_nothing():
    """Who sets NumPy's error state to raise learns nothing about values: no trap works on tiles."""

    def body(gpu, sram, tile, X):
        with np.errstate(invalid="raise", over="raise", divide="raise"):
            return np.log(tile - tile - 1.0) + np.exp(tile * 1e30) + 1.0 / (tile - tile)

    assert not in_a_block(body)[0].peeked


def test_slices_are_read_once():
    """A slice whose bounds change at each look slices data and marks alike, so a race stays a race."""

    class Moving:
        def __init__(self, *values):
            self.values = list(values)

        def __index__(self):
            return self.values.pop(0) if len(self.values) > 1 else self.values[0]

    def kernel(gpu, X):
        O = gpu.empty((4, 4), name="O")
        for sram, i in gpu.launch("kernel", sa.blocks(4, 2)):
            sram.store(O[i], sram.load(X[i]))
            if i.start:
                sram.load(O[Moving(2, 0) : Moving(4, 2)])
                with pytest.raises(RuntimeError, match="loads what another"):
                    sram.load(O[Moving(0, 2) : Moving(2, 4)])
        return O

    ROOMY.run(kernel, np.ones((4, 4), np.float32))


def test_an_exponential_is_counted_as_one():
    """x ** 2 is a vector operation; e ** x, which would be an exponential by another name, is refused."""

    def body(gpu, sram, x, X):
        for power in (lambda: np.e**x, lambda: x**x, lambda: np.power(2.0, x)):
            with pytest.raises(TypeError, match=r"np\.exp"):
                power()
        return gpu.peek(x**2)

    run, squares = in_a_block(body)
    assert np.array_equal(squares, np.arange(16).reshape(4, 4) ** 2)
    assert (run.exps, run.vector_flops) == (0, 16)


def test_indices_are_exact_or_refused():
    """From 2²⁴ on, float32 no longer tells neighbouring indices apart: arange refuses them."""

    def body(gpu, sram, x, X):
        assert gpu.peek(sram.arange(slice((1 << 24) - 2, 1 << 24)))[0].tolist() == [(1 << 24) - 2, (1 << 24) - 1]
        with pytest.raises(ValueError, match="not exact"):
            sram.arange(slice(1 << 24, (1 << 24) + 4))

    in_a_block(body)
