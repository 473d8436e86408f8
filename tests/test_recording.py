"""A recording is the whole program without a number in it: it runs as the algorithm does, and a file of it can at worst be refused."""

import gzip
import json

import numpy as np
import pytest
from conftest import ROOMY
from drawn import EXACT, cases, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

import simattn as sa

X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)


def same(run, other):
    assert (run.kernels, run.tensors, run.hbm_footprint, run.blocks) == (
        other.kernels,
        other.tensors,
        other.hbm_footprint,
        other.blocks,
    )
    assert {name: x.tobytes() for name, x in run.outputs.items()} == {name: x.tobytes() for name, x in other.outputs.items()}


def replayed(tmp_path_factory, run, recorded, arrays, named):
    """Recorded on specs, saved and loaded: each runs to the bit as the algorithm itself."""
    file = tmp_path_factory.mktemp("recordings") / "a.rec"
    recorded.save(file)
    loaded = sa.load_recording(file)
    for one in (recorded, loaded):
        assert (one.counts.kernels, one.counts.tensors, one.counts.outputs) == (run.kernels, run.tensors, {})
        same(one.run(*arrays, **named), run)


@settings(max_examples=8)
@pytest.mark.parametrize("algorithm", EXACT)
@given(data=st.data())
def test_a_recording_runs_as_its_algorithm(tmp_path_factory, algorithm, data):
    """Outputs to the bit, and every count, of any shape, type and option: at once, and after a save and a load."""
    case = data.draw(cases(algorithm))
    arrays, named = case.values()
    replayed(tmp_path_factory, case.run(ROOMY), case.record(ROOMY), arrays, named)


@pytest.mark.parametrize("lengths", [[8, 3], [5, 5]])
def test_lengths_that_differ_are_programs_of_their_own(tmp_path_factory, lengths):
    """With a length for each batch element there is a program for each that is not the same."""
    Q = np.random.default_rng(0).standard_normal((2, 2, 8, 4), np.float32)
    options = {"kv_lens": sa.each(lengths), "Br": 4, "Bc": 4}
    recorded = ROOMY.record(sa.flash2, *[spec_of(Q)] * 3, **options)
    assert len(recorded.programs) == len(set(lengths))
    replayed(tmp_path_factory, ROOMY.run(sa.flash2, Q, Q, Q, **options), recorded, (Q, Q, Q), {})


OTHERS = {
    "performer": {"W": np.ones((4, 4), np.float32), "Br": 4, "Bc": 4},
    "longformer": {"one_sided": 2, "Br": 4, "Bc": 4},
    "linformer": {"E": np.ones((2, 8), np.float32), "F": np.ones((2, 8), np.float32), "Br": 4, "Bc": 4},
}


@pytest.mark.parametrize("algorithm", OTHERS)
def test_approximations_are_recorded_too(tmp_path_factory, algorithm):
    """They take other arguments; their matrices are given again."""
    f, options = sa.algorithms[algorithm], OTHERS[algorithm]
    named = {name: x for name, x in options.items() if isinstance(x, np.ndarray)}
    recorded = ROOMY.record(f, *[spec_of(X)] * 3, **options | {name: spec_of(x) for name, x in named.items()})
    replayed(tmp_path_factory, ROOMY.run(f, X, X, X, **options), recorded, (X, X, X), named)


def test_tables_are_part_of_a_recording(tmp_path_factory):
    """Integers that steer are given when recording; two sequences with other tables are two programs."""
    pools = [sa.pool(np.random.default_rng(k).standard_normal((6, 2, 1, 4), np.float32)) for k in range(2)]
    Q = np.ones((2, 2, 1, 4), np.float32)
    options = {"table": sa.each(np.array([[0, 3, 1], [5, 4, 2]])), "lens": sa.each(np.array([[5], [4]])), "Br": 2}
    recorded = ROOMY.record(sa.paged, spec_of(Q), *(sa.pool(sa.spec((6, 2, 1, 4))) for _ in range(2)), **options)
    assert len(recorded.programs) == 2
    replayed(tmp_path_factory, ROOMY.run(sa.paged, Q, *pools, **options), recorded, (Q, *pools), {})


def test_counting_needs_what_steers():
    """A spec of a table, and an algorithm that looks at values, are each one clear error; so is a spec where values are needed."""
    S = sa.spec((8, 4))

    def looks(gpu, X):
        O = gpu.empty(X.shape, name="O")
        for sram, _ in gpu.launch("looks", [0]):
            gpu.peek(sram.load(X))
        return O

    with pytest.raises(TypeError, match=r"peek.*use machine\.run"):
        ROOMY.count(looks, S)
    with pytest.raises(TypeError, match="storage type"):
        sa.spec((3,), "int64")
    with pytest.raises(TypeError, match=r"is a spec.*machine\.count"):
        ROOMY.run(sa.flash2, S, S, S)
    for wrong in ((), (0, 4), (2.5, 4), "8", 4.0, (True, 4)):
        with pytest.raises(ValueError, match=r"spec of shape"):
            sa.spec(wrong)


def test_counting_allocates_nothing():
    """S and P of 16 heads at N = 65,536 would be 275 GB: counted, they are their bytes."""
    S = sa.spec((1, 16, 65536, 64), "float16")
    counted = sa.Machine(name="large", sram=1 << 30).count(sa.naive, S, S, S, Br=8192, Bc=8192)
    assert counted.hbm_footprint == 2 * 16 * 65536**2 * 2
    assert counted.outputs == {}


def test_a_recording_is_for_its_shapes():
    """Another shape, another type, an array too many or too few, or a wrong name is named, with what was recorded."""
    recorded = ROOMY.record(sa.flash2, *[sa.spec((8, 4))] * 3, Br=4, Bc=4)
    wrong = {
        r"Q is float32 of shape \(4, 4\).*\(8, 4\)": lambda: recorded.run(X[:4], X, X),
        "K is float64": lambda: recorded.run(X, X.astype(float), X),
        "V is missing": lambda: recorded.run(X, X),
        "too many": lambda: recorded.run(X, X, X, X),
        "W is unknown": lambda: recorded.run(X, X, X, W=X),
        "Q is a list": lambda: recorded.run(X.tolist(), X, X),
    }
    for message, call in wrong.items():
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_a_recording_has_a_bound(monkeypatch):
    """More operations than a recording may hold are refused, with the remedy."""
    from simattn.hierarchy import machine

    monkeypatch.setattr(machine, "MOST", 100)
    with pytest.raises(MemoryError, match=r"more than .* operations: record a shorter"):
        ROOMY.record(sa.flash2, *[sa.spec((64, 4))] * 3, Br=4, Bc=4)


def test_each_operation_knows_where_it_was_written():
    """The line, the column and the name that the tile was bound to, of each operation; of an expression's parts only the last is bound."""

    def kernel(gpu, X):
        O = gpu.empty(X.shape, name="O")
        for sram, i in gpu.launch("kernel", sa.blocks(8, 8)):
            x, y = sram.load(X[i]), sram.zeros((8, 4))
            S = x @ x.T * 2.0
            x += y
            m: object = S.max(axis=1, keepdims=True)
            sram.store(O[i], (top := x - m) + y)
        return O, top

    with pytest.raises(TypeError, match="return"):
        ROOMY.record(kernel, sa.spec((8, 4)))
    recorded = ROOMY.record(lambda gpu, X: kernel(gpu, X)[0], sa.spec((8, 4)))
    (block,) = recorded.programs[0].launches[0].blocks
    names = [(name, recorded.places.place(place).name) for name, _, _, place in block]
    assert names == [
        ("load", "x"), ("full", "y"), ("matmul", None), ("multiply", "S"), ("add", "x"), ("max", "m"), ("subtract", "top"), ("add", None),
        ("store", None),
    ]  # fmt: skip
    first = kernel.__code__.co_firstlineno
    assert [recorded.places.place(place).line - first for *_, place in block] == [3, 3, 4, 4, 5, 6, 7, 7, 7]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The lines of a good file."""
    file = tmp_path_factory.mktemp("good") / "a.rec"
    ROOMY.record(sa.flash2, *[sa.spec((8, 4))] * 3, Br=4, Bc=4, causal=True).save(file)
    with gzip.open(file) as good:
        return [json.loads(line) for line in good]


def refused(tmp_path, lines):
    file = tmp_path / "bad.rec"
    with gzip.open(file, "wt") as bad:
        bad.write("\n".join(json.dumps(line) if not isinstance(line, str) else line for line in lines))
    with pytest.raises(sa.RecordingError) as found:
        sa.load_recording(file)
    assert "\n" not in str(found.value)
    assert str(found.value).startswith(str(file))
    return str(found.value)


def changed(lines, path, value):
    """The lines with another value at a path of keys."""
    copy = json.loads(json.dumps(lines))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


LOAD, STORE, PRODUCT = [3, 0], [3, -1], [3, 6]  # of the first thread block
HOSTILE = {
    "another format": ([0, "format"], "pickle", "not a recording"),
    "a later version": ([0, "version"], 2, "version 2"),
    "no machine": ([0, "machine"], None, "machine is missing"),
    "a machine with unknown figures": ([0, "machine"], {"name": "x", "sram": 1 << 20, "cores": 4}, "cores"),
    "a machine without capacity": ([0, "machine", "sram"], -1, "sram"),
    "too small a machine": ([0, "machine", "sram"], 64, "live"),
    "more programs": ([0, "programs"], 7, "missing"),
    "a huge number of programs": ([0, "programs"], 10**12, "unexpected place"),
    "an unknown operation": ([*LOAD, 0], "system", "unknown operation 'system'"),
    "an attribute of NumPy": ([*PRODUCT, 0], "load_library", "unknown operation"),
    "a region outside": ([*LOAD, 2], [{"region": ["Q", [0, 99, 1], [0, 4, 1]]}], r""),
    "an index outside": ([*LOAD, 2], [{"region": ["Q", 99, [0, 4, 1]]}], "axis 0"),
    "an array that nobody made": ([*LOAD, 2], [{"region": ["W", [0, 4, 1], [0, 4, 1]]}], "unknown array 'W'"),
    "a tile of its own future": ([*PRODUCT, 2], [60, 3], "not defined"),
    "a tile that is itself": ([*PRODUCT, 2], [6, 6], "not defined"),
    "a negative position": ([*PRODUCT, 2], [-1, 3], "not defined"),
    "a store into an input": ([*STORE, 2, 0], {"region": ["Q", [0, 4, 1], [0, 4, 1]]}, "read-only"),
    "a huge shape": ([*LOAD, 0], "full", ""),
    "a huge array": ([1, "arrays", 0, 1], [10**15, 10**15], ""),
    "an array of a wrong type": ([1, "arrays", 0, 2], "object", "storage type"),
    "an array twice": ([1, "arrays", 1, 0], "O", "already"),
    "an output that nobody made": ([1, "outputs"], ["Q"], "Q"),
    "no output": ([1, "outputs"], [], "no array"),
    "a place that is not listed": ([*LOAD, 3], 10**6, "unexpected place"),
    "an operand of an unknown kind": ([*PRODUCT, 2], [{"code": "x"}, 1], "unknown operand"),
    "two kinds in one": ([*PRODUCT, 2], [{"number": 1.0, "range": [0, 1, 1]}, 1], ""),
    "too many operands": ([*PRODUCT, 2], [0, 0, 0, 0], ""),
    "too few operands": ([*PRODUCT, 2], [], ""),
    "a parameter that is no number": ([*LOAD, 1], [[1]], "parameters"),
    "a launch of unknown heads": ([2, "like"], "Z", "unknown array 'Z'"),
    "fewer thread blocks": ([2, "blocks"], 1, ""),
    "no algorithm's name": ([0, "algorithm"], 7, "unexpected place"),
    "too many leading arrays": ([0, "leading"], 9, "unexpected place"),
    "a shape of zero": ([0, "given", "Q", "shape"], [0, 4], "spec of shape"),
    "heads that do not share": ([0, "given", "Q", "shape"], [1, 3, 8, 4], ""),
    "a name that is no text": ([1, "arrays", 0, 0], 5, "unexpected place"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_was_tampered_with_is_refused(tmp_path, lines, what):
    """One line names the file and what cannot be."""
    path, value, message = HOSTILE[what]
    assert message in refused(tmp_path, changed(lines, path, value))


def test_what_is_no_recording_is_refused(tmp_path):
    """A missing file, a folder, a text, an empty file, JSON of another kind, a truncated file, deep nesting, and no UTF-8."""
    good = tmp_path / "good.rec"
    ROOMY.record(sa.flash2, *[sa.spec((8, 4))] * 3, Br=4, Bc=4).save(good)
    contents = {
        "text": b"hello", "empty": b"", "cut": good.read_bytes()[:-40], "list": gzip.compress(b"[]"), "nothing": gzip.compress(b""),
        "deep": gzip.compress(b"[" * 100_000), "bytes": gzip.compress(b"\xff\xfe"), "nan": gzip.compress(b'{"format": NaN}'),
        "double": gzip.compress(gzip.decompress(good.read_bytes()) + b"\n{}"), "number": gzip.compress(b"7"),
    }  # fmt: skip
    for name, content in contents.items():
        file = tmp_path / f"{name}.rec"
        file.write_bytes(content)
        with pytest.raises(sa.RecordingError, match=name):
            sa.load_recording(file)
    for path in (tmp_path / "missing.rec", tmp_path):
        with pytest.raises(sa.RecordingError):
            sa.load_recording(path)


@settings(max_examples=200)
@given(data=st.data())
def test_hostile_files_get_one_line_each(tmp_path_factory, lines, data):
    """Any value of a file replaced by any other: it loads and counts as an algorithm could, or it is refused in one line."""
    copy = json.loads(json.dumps(lines))
    at, key = copy, data.draw(st.integers(0, len(copy) - 1))
    while isinstance(at[key], (dict, list)) and at[key] and data.draw(st.integers(0, 5)):
        at = at[key]
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
    at[key] = data.draw(
        st.one_of(
            st.none(),
            st.integers(-3, 9),
            st.just(10**30),
            st.text(max_size=3),
            st.just([]),
            st.just({}),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
        )
    )
    file = tmp_path_factory.mktemp("hostile") / "a.rec"
    with gzip.open(file, "wt") as bad:
        bad.write("\n".join(map(json.dumps, copy)))
    said = []
    try:
        loaded = sa.load_recording(file)
    except sa.RecordingError as error:
        said.append(str(error))
    assert "\n" not in said[0] if said else loaded.counts.programs > 0
