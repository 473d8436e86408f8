"""Sectors: the 32-byte pieces of HBM that a load or a store touches, by where the array lies in memory."""

import itertools
from collections import Counter

import numpy as np
import pytest
from conftest import ROOMY
from drawn import EXACT, cases
from hypothesis import given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.address import SECTOR, Addresses

RNG = np.random.default_rng(0)


@st.composite
def arrays(draw):
    """Strides of a few axes, in any order and with gaps, a place in them, and where the array begins in a sector."""
    shape = draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    itemsize = draw(st.sampled_from([1, 2, 4, 8]))
    strides, stride = {}, draw(st.integers(1, 3))
    for axis in draw(st.permutations(range(len(shape)))):
        strides[axis] = stride
        stride *= shape[axis] + draw(st.integers(0, 1))
    place = []
    for n in shape:
        first, last = sorted((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))))
        place.append(first if draw(st.booleans()) else slice(first, last + 1, draw(st.integers(1, 3))))
    start = draw(st.integers(0, SECTOR // itemsize - 1)) * itemsize
    return shape, [strides[axis] for axis in range(len(shape))], itemsize, tuple(place), start


def touched(shape, strides, itemsize, place, start):
    """The sectors, element by element."""
    found = set()
    for index in itertools.product(*([k] if isinstance(k, int) else range(n)[k] for k, n in zip(place, shape, strict=True))):
        at = start + itemsize * sum(i * stride for i, stride in zip(index, strides, strict=True))
        found.update(range(at // SECTOR, (at + itemsize - 1) // SECTOR + 1))
    return found


@settings(max_examples=200)
@given(arrays())
def test_a_region_touches_what_its_elements_touch(drawn):
    """Whatever the strides are: as many sectors as the elements lie in, each counted once."""
    shape, strides, itemsize, place, start = drawn
    addresses = Addresses(itemsize, (0, 0, 0), tuple(((n, s),) for n, s in zip(shape, strides, strict=True)))
    expected = len(touched(shape, strides, itemsize, place, start))
    assert addresses.sectors(place, start) == addresses._any(place, start) == expected


@settings(max_examples=15)
@given(
    batch=st.integers(1, 2), kv_heads=st.integers(1, 2), group=st.integers(1, 3), n_q=st.integers(1, 20), n_k=st.integers(1, 20),
    d=st.integers(1, 9), dtype=st.sampled_from(["float16", "float32", "float64"]), causal=st.booleans(),
    order=st.permutations("bhnd").map("".join), algorithm=st.sampled_from(["naive", "flash1", "flash2", "split_kv"]),
)  # fmt: skip
def test_a_run_touches_what_its_steps_touch(batch, kv_heads, group, n_q, n_k, d, dtype, causal, order, algorithm):
    """Run, count and brute force over the elements of Q and K, in any order of their axes, for grouped heads too."""
    heads = kv_heads * group
    shapes = {"Q": (batch, heads, n_q, d), "K": (batch, kv_heads, n_k, d), "V": (batch, kv_heads, n_k, d)}
    given = {name: RNG.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    laid = [sa.layout(x, order) if name in "QK" else x for name, x in given.items()]
    options = {"causal": causal, "Br": 5, "Bc": 6} | ({"splits": 1} if algorithm == "split_kv" else {})
    run = ROOMY.run(sa.algorithms[algorithm], *laid, **options, trace=True)
    specs = [sa.layout(sa.spec(x.shape, dtype), order) if name in "QK" else sa.spec(x.shape, dtype) for name, x in given.items()]
    assert ROOMY.count(sa.algorithms[algorithm], *specs, **options).sectors == run.sectors
    addresses = {}
    for name in "QK":
        axes = ["bhnd".index(axis) for axis in order]
        memory = np.arange(given[name].size).reshape([shapes[name][axis] for axis in axes])
        addresses[name] = memory.transpose(np.argsort(axes)) * given[name].itemsize
    packed = algorithm == "split_kv" and group > 1
    found = Counter()
    for step in run.trace:
        if step.array not in addresses:
            continue
        at = addresses[step.array]
        lanes = at.reshape(batch * kv_heads, -1, d) if packed or step.array == "K" else at.reshape(batch * heads, -1, d)
        for head in step.heads:
            lane = head if len(lanes) == batch * heads or packed else head // group
            elements = lanes[lane][tuple(slice(*axis) for axis in step.region)].ravel()
            found[step.array] += len({s for x in elements for s in range(x // SECTOR, (x + given["Q"].itemsize - 1) // SECTOR + 1)})
    assert {name: run.sectors[name] for name in found} == found


@settings(max_examples=3)
@pytest.mark.parametrize("algorithm", EXACT)
@given(data=st.data())
def test_sectors_hold_the_bytes(algorithm, data):
    """For every algorithm: no fewer sectors than the bytes fill, and a sector for each element at most; counting says the same as running."""
    case = data.draw(cases(algorithm))
    run = case.run(ROOMY)
    assert case.count(ROOMY).sectors == run.sectors
    assert run.sectors.keys() == run.tensors.keys()
    for name, moved in run.tensors.items():
        nbytes = moved.hbm_read + moved.hbm_write
        assert nbytes / SECTOR <= run.sectors[name] <= 2 * nbytes
        assert run.coalescing[name] == nbytes / (SECTOR * run.sectors[name])


def test_transposition_by_single_elements_is_seen():
    """It moves the bytes of tiles of 32 × 32, and eight times their sectors: what counting bytes alone cannot see."""
    X = np.ones((64, 64), np.float32)
    tiles, single = (ROOMY.run(sa.transpose, X, Br=b, Bc=b) for b in (32, 1))
    assert tiles.hbm_read == single.hbm_read
    assert tiles.coalescing == {"X": 1, "XT": 1}
    assert single.coalescing == {"X": 1 / 8, "XT": 1 / 8}


def test_an_atomic_add_touches_its_sectors_twice():
    """It reads them and writes them."""

    def add(gpu, X, *, Br):
        Y = gpu.empty(X.shape, name="Y")
        for sram, i in gpu.launch("zero", sa.blocks(X.shape[0], Br)):
            sram.store(Y[i], sram.zeros(X[i].shape))
        for sram, i in gpu.launch("add", sa.blocks(X.shape[0], Br)):
            sram.atomic_add(Y[i], sram.load(X[i]))
        return Y

    assert ROOMY.run(add, np.ones((16, 8), np.float32), Br=4).sectors == {"X": 16, "Y": 16 + 2 * 16}


def test_keys_need_not_be_laid_out_anew():
    """A tile of K has the sectors of the same tile of a transposed K, as long as it is as wide as a sector."""
    Q, K, V = (RNG.standard_normal((64, 64)).astype(np.float16) for _ in range(3))
    rows = ROOMY.run(sa.flash2, Q, K, V, Br=16, Bc=16)
    columns = ROOMY.run(sa.flash2, Q, sa.layout(K, "dn"), V, Br=16, Bc=16)
    assert rows.sectors == columns.sectors
    narrow = ROOMY.run(sa.flash2, Q, sa.layout(K, "dn"), V, Br=16, Bc=8)
    assert narrow.coalescing["K"] == 1 / 2


def test_an_output_has_a_layout_too():
    """What gpu.empty makes lies as it is told."""

    def copy(gpu, X, *, Br, layout):
        Y = gpu.empty(X.shape, name="Y", layout=layout)
        for sram, i in gpu.launch("copy", sa.blocks(X.shape[0], Br)):
            sram.store(Y[i], sram.load(X[i]))
        return Y

    X = np.ones((1, 2, 16, 8), np.float32)
    assert ROOMY.run(copy, X, Br=1, layout="bhnd").coalescing["Y"] == 1
    assert ROOMY.run(copy, X, Br=1, layout="bhdn").coalescing["Y"] == 1 / 8


def test_a_recording_knows_how_its_arrays_lie(tmp_path):
    """Counts and runs have its sectors, after a save and a load, too; arrays are given as they are."""
    X = np.ones((64, 64), np.float32)
    recorded = ROOMY.record(sa.transpose, sa.layout(sa.spec(X.shape), "dn"), Br=64, Bc=1)
    recorded.save(tmp_path / "a.rec")
    loaded = sa.load_recording(tmp_path / "a.rec")
    expected = ROOMY.run(sa.transpose, sa.layout(X, "dn"), Br=64, Bc=1).sectors
    assert recorded.counts.sectors == loaded.counts.sectors == loaded.run(X).sectors == expected
    assert expected["X"] < ROOMY.run(sa.transpose, X, Br=64, Bc=1).sectors["X"]


@pytest.mark.parametrize("order", ["bnh", "bhnx", "bhnn", "", 7, None])
def test_an_order_of_other_axes_is_refused(order):
    """It says which letters there are."""
    with pytest.raises(ValueError, match="b, h, n, d once"):
        sa.layout(np.ones((1, 1, 4, 4), np.float32), order)


@pytest.mark.parametrize("x", [np.ones(4), np.ones((2, 3, 4)), [[1.0]], "Q"])
def test_a_layout_is_of_an_array(x):
    """Of two axes or of four."""
    with pytest.raises(ValueError, match="give an array or a spec"):
        sa.layout(x, "nd")
