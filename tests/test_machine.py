"""The machine's rules: launches, races, memory, lanes, options, and what a run gives back."""

import functools
import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import FORWARD, ROOMY
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy import lanes

X4 = np.arange(16, dtype=np.float32).reshape(4, 4)


def copy_kernel(gpu, X, *, factor=1.0):
    O = gpu.empty(X.shape, name="O")
    for sram, i in gpu.launch("copy", sa.blocks(X.shape[0], 2)):
        sram.store(O[i], sram.load(X[i]) * factor)
    return O


def test_a_kernel_of_ones_own_runs_and_is_counted():
    """The example of the README's kind: what was loaded and stored is what was counted, thread block by thread block."""
    run = ROOMY.run(copy_kernel, X4, factor=3.0)
    assert np.array_equal(run.output, 3 * X4)
    assert (run.hbm_read, run.hbm_write, run.programs, run.vector_flops) == (64, 64, 2, 16)
    assert list(run.kernels) == ["copy"]
    assert list(run.tensors) == ["X", "O"]
    assert not run.peeked
    assert (run.l2_read, run.l2_write, run.predicted_ms) == (None, None, None)


def two_launches(first, second):
    def kernel(gpu, X):
        O, A = gpu.empty((4, 4), name="O"), gpu.empty((4, 4), name="A")
        for body, name in ((first, "first"), (second, "second")):
            for sram, i in gpu.launch(name, sa.blocks(4, 2)):
                body(sram, i, X, O, A)
        return O

    return lambda: ROOMY.run(kernel, X4)


def nothing(sram, i, X, O, A):
    pass


RACES = {
    "loads what another": lambda sram, i, X, O, A: (sram.store(A[i], sram.load(X[i])), i.start and sram.load(A[0:2])),
    "overwrites what another of the same launch stored": lambda sram, i, X, O, A: sram.store(A[0:2], sram.load(X[i])),
    "overwrites what another of the same launch loaded": lambda sram, i, X, O, A: (
        sram.load(A) if i.start == 0 else sram.store(A[0:2], sram.load(X[i]))
    ),
}


@pytest.mark.parametrize("race", RACES)
def test_thread_blocks_of_one_launch_cannot_talk(race):
    """A load or store that, on a GPU, would race with another thread block of the launch raises; a part that overlaps is enough."""
    with pytest.raises(RuntimeError, match=race):
        two_launches(lambda sram, i, X, O, A: sram.store(A[i], sram.load(X[i])), RACES[race])()


def test_thread_blocks_meet_in_a_later_launch():
    """What one launch stored, any thread block of the next may load and overwrite; its own stores a block may load again."""
    run = two_launches(
        lambda sram, i, X, O, A: (sram.store(A[i], sram.load(X[i])), sram.store(A[i], sram.load(A[i]) + 1)),
        lambda sram, i, X, O, A: sram.store(O[i], sram.load(A)[::-1][i] * 1),
    )()
    assert np.array_equal(run.output, (X4 + 1)[::-1])


def test_inputs_are_read_only():
    """Storing into an input raises, and says how to make an output."""
    with pytest.raises(TypeError, match=r"read-only.*gpu\.empty"):
        two_launches(lambda sram, i, X, O, A: sram.store(X[i], sram.load(X[i])), nothing)()


def test_launches_begin_and_end_in_order():
    """A launch left early, or begun inside another, raises; so does ending the run inside one, and a launch over nothing named."""

    def left_early(gpu, X):
        for _ in gpu.launch("left", sa.blocks(4, 2)):
            break
        for _ in gpu.launch("next", sa.blocks(4, 2)):
            pass
        return gpu.empty((1, 1))

    def nested(gpu, X):
        for _ in gpu.launch("outer", [0]):
            for _ in gpu.launch("inner", [0]):
                pass
        return gpu.empty((1, 1))

    def returned_inside(gpu, X):
        for _ in gpu.launch("outer", [0]):
            return gpu.empty((1, 1))
        return None

    for kernel in (left_early, nested, returned_inside):
        with pytest.raises(RuntimeError, match="still open"):
            ROOMY.run(kernel, X4)
    with pytest.raises(TypeError, match="has no blocks: give them"):
        ROOMY.run(lambda gpu, X: [*gpu.launch("none")], X4)


def test_several_grid_axes_make_a_product():
    """A launch over two axes runs each pair once, the last axis fastest."""
    seen = []

    def kernel(gpu, X):
        O = gpu.empty((2, 1))
        for sram, i, j in gpu.launch("pairs", range(2), "ab"):
            seen.append((i, j))
            if j == "a":
                sram.store(O[i : i + 1], sram.zeros((1, 1)))
        return O

    assert ROOMY.run(kernel, X4).programs == 4
    assert seen == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_hbm_is_finite():
    """Inputs, outputs and footprint above the GPU's memory raise, before anything is allocated; one byte more would do."""

    def kernel(gpu, X):
        scratch, O = gpu.empty((4, 4), name="scratch"), gpu.empty((4, 4), name="O")
        for sram, _ in gpu.launch("copy", [0]):
            sram.store(scratch, sram.load(X))
            sram.store(O, sram.load(X))
        return O

    heads = np.ones((2, 3, 4, 4), np.float32)
    needed = 3 * heads.nbytes
    run = sa.Machine(name="just", sram=1024, hbm=needed).run(kernel, heads)
    assert run.hbm_footprint == heads.nbytes
    with pytest.raises(sa.HbmOverflow, match=f"{needed:,} B, but short has {needed - 1:,} B"):
        sa.Machine(name="short", sram=1024, hbm=needed - 1).run(kernel, heads)


def test_an_array_that_this_computer_cannot_hold_is_refused():
    """What the GPU would hold but this computer does not raises before it is allocated, and says how much is free."""
    if not Path("/proc/meminfo").exists():
        pytest.skip("the system does not say how much memory is free")
    with pytest.raises(MemoryError, match=r"'O' takes .* of this computer's memory"):
        ROOMY.run(lambda gpu, X: gpu.empty((1 << 22, 1 << 22), name="O"), X4)


@given(
    batch=st.integers(1, 3), kv_heads=st.integers(1, 3), group=st.integers(1, 3), n=st.integers(1, 20), cache=st.sampled_from([1, 4096, 1 << 16, 1 << 24]),
    algorithm=st.sampled_from(sorted(FORWARD)), causal=st.booleans(), dtype=st.sampled_from([np.float32, np.float16, np.float64]),
)  # fmt: skip
def test_results_do_not_depend_on_how_lanes_are_grouped(batch, kv_heads, group, n, cache, algorithm, causal, dtype):
    """Heads run side by side, in groups of any size, give the same bits and the same counts as each alone."""
    rng = np.random.default_rng(n)
    Q, K, V = (rng.standard_normal((batch, h, n, 8)).astype(dtype) for h in (kv_heads * group, kv_heads, kv_heads))
    options = {"splits": min(2, n)} if algorithm == "split_kv" else {}
    before, lanes.CACHE = lanes.CACHE, cache
    try:
        run = ROOMY.run(sa.algorithms[algorithm], Q, K, V, causal=causal, Br=8, Bc=4, **options)
    finally:
        lanes.CACHE = before
    whole = ROOMY.run(sa.algorithms[algorithm], Q, K, V, causal=causal, Br=8, Bc=4, **options)
    assert run.output.tobytes() == whole.output.tobytes()
    assert run.lse.tobytes() == whole.lse.tobytes()
    assert (run.total, run.hbm_footprint, run.tensors) == (whole.total, whole.hbm_footprint, whole.tensors)
    if algorithm != "split_kv":
        for b in range(batch):
            for h in range(kv_heads * group):
                one = ROOMY.run(sa.algorithms[algorithm], Q[b, h], K[b, h // group], V[b, h // group], causal=causal, Br=8, Bc=4)
                assert one.output.tobytes() == run.output[b, h].tobytes()
                assert one.lse.tobytes() == run.lse[b, h].tobytes()


def test_outputs_have_the_shape_of_the_inputs():
    """(N, d) in, (N, d_v) out; (batch, heads, N, d) in, the same out; lse without its column."""
    Q, V = np.ones((5, 4), np.float32), np.ones((5, 3), np.float32)
    flat, four = (
        ROOMY.run(sa.flash2, Q, Q, V),
        ROOMY.run(sa.split_kv, np.ones((2, 6, 5, 4), np.float32), *(np.ones((2, 3, 7, 4), np.float32),) * 2),
    )
    assert (flat.output.shape, flat.lse.shape, list(flat.outputs)) == ((5, 3), (5,), ["O", "lse"])
    assert (four.output.shape, four.lse.shape) == ((2, 6, 5, 4), (2, 6, 5))


SQUARE = np.ones((8, 4), np.float32)
BAD = {
    "three dimensions": (ValueError, r"Q has shape \(2, 8, 4\)", (SQUARE[None].repeat(2, 0), SQUARE, SQUARE), {}),
    "mixed dimensions": (ValueError, r"give all", (SQUARE[None, None], SQUARE, SQUARE), {}),
    "no rows": (ValueError, r"no length may be 0", (SQUARE[:0], SQUARE, SQUARE), {}),
    "no width": (ValueError, r"no length may be 0", (SQUARE[:, :0], SQUARE[:, :0], SQUARE), {}),
    "integers": (TypeError, r"K has type int64", (SQUARE, SQUARE.astype(int), SQUARE), {}),
    "complex": (TypeError, r"V has type complex64", (SQUARE, SQUARE, SQUARE.astype(np.complex64)), {}),
    "objects": (TypeError, r"Q has type object", (SQUARE.astype(object), SQUARE, SQUARE), {}),
    "a masked array": (TypeError, r"masked", (np.ma.array(SQUARE), SQUARE, SQUARE), {}),
    "widths that differ": (ValueError, r"Q \(8, 4\), K \(8, 2\).*same width", (SQUARE, SQUARE[:, :2], SQUARE), {}),
    "keys that differ": (ValueError, r"same number of keys", (SQUARE, SQUARE, SQUARE[:5]), {}),
    "batches that differ": (ValueError, r"batch sizes \[1, 2\]", (SQUARE[None, None].repeat(2, 0), SQUARE[None, None], SQUARE[None, None]), {}),
    "heads that do not share": (
        ValueError, r"3 heads cannot share \[2\]", (SQUARE[None, None].repeat(3, 1), *(SQUARE[None, None].repeat(2, 1),) * 2), {},
    ),
    "no block": (ValueError, r"Br=0: .* from 1 on", (SQUARE, SQUARE, SQUARE), {"Br": 0, "Bc": 4}),
    "a negative block": (ValueError, r"Bc=-4: .* from 1 on", (SQUARE, SQUARE, SQUARE), {"Br": 4, "Bc": -4}),
    "a fractional block": (TypeError, r"float", (SQUARE, SQUARE, SQUARE), {"Br": 4.5, "Bc": 4}),
    "an unknown option": (TypeError, r"unknown option 'casual': did you mean 'causal'", (SQUARE, SQUARE, SQUARE), {"casual": True}),
    "a missing array": (TypeError, r"missing a required argument: 'V'", (SQUARE, SQUARE), {}),
    "an array too many": (TypeError, r"too many positional", (SQUARE, SQUARE, SQUARE, SQUARE), {}),
    "a fractional offset": (TypeError, r"float", (SQUARE, SQUARE, SQUARE), {"causal": True, "offset": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("algorithm", ["naive", "flash2"])
@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_clear_error(what, algorithm):
    """Shapes, types, blocks and options that make no sense raise an error that names the value."""
    error, message, arrays, options = BAD[what]
    with pytest.raises(error, match=message):
        ROOMY.run(sa.algorithms[algorithm], *arrays, **options)


@pytest.mark.parametrize("splits", [0, -1, 9, 1.5])
def test_bad_splits_are_named(splits):
    """Fewer than one split, more splits than keys, or a fraction of one is an error; so is no SM count for the heuristic."""
    with pytest.raises((ValueError, TypeError), match=r"splits=|float"):
        ROOMY.run(sa.split_kv, SQUARE, SQUARE, SQUARE, splits=splits)
    with pytest.raises(ValueError, match="give splits="):
        sa.Machine(name="bare", sram=1 << 20).run(sa.split_kv, SQUARE, SQUARE, SQUARE)


def test_options_that_the_machine_sets_are_not_the_callers():
    """`group` belongs to the machine: giving it is an error, not a silently packed result."""
    with pytest.raises(TypeError, match="group"):
        ROOMY.run(sa.split_kv, SQUARE, SQUARE, SQUARE, splits=1, group=2)


def test_stores_and_tiles_of_wrong_shapes_are_named():
    """A store of another shape, an empty slice, a three-dimensional slice and a shape with a zero each raise with the shape."""

    def attempt(body):
        def kernel(gpu, X):
            O = gpu.empty((2, 4, 4), name="O")
            for sram, _ in gpu.launch("kernel", [0]):
                body(gpu, sram, X, O)
            return O

        return lambda: ROOMY.run(kernel, X4)

    cases = {
        r"the slice is \(4, 4\), the tile \(2, 4\)": lambda gpu, sram, X, O: sram.store(O[0], sram.load(X[0:2])),
        r"a slice of shape \(0, 4\)": lambda gpu, sram, X, O: sram.load(X[4:8]),
        r"a slice of shape \(2, 4, 4\)": lambda gpu, sram, X, O: sram.load(O),
        r"a slice of shape \(4,\)": lambda gpu, sram, X, O: sram.load(X[0]),
        r"a tile of shape \(0, 4\)": lambda gpu, sram, X, O: sram.zeros((0, 4)),
        r"a tile of shape \(4,\)": lambda gpu, sram, X, O: sram.full((4,), 1.0),
        r"is empty": lambda gpu, sram, X, O: sram.load(X)[4:],
        r"the shapes do not broadcast": lambda gpu, sram, X, O: sram.load(X) + sram.load(X[0:3]),
        r"4 columns do not match 3 rows": lambda gpu, sram, X, O: sram.load(X) @ sram.load(X[0:3]),
        r"of shape \(4,\): give at least two": lambda gpu, sram, X, O: gpu.empty((4,)),
        r"of shape \(0, 4\): give at least two": lambda gpu, sram, X, O: gpu.empty((0, 4)),
        r"an array named 'X' already exists": lambda gpu, sram, X, O: gpu.empty((4, 4), name="X"),
    }
    for message, body in cases.items():
        with pytest.raises(ValueError if "empty" not in message or "shape" in message else IndexError, match=message):
            attempt(body)()


def test_a_partial_algorithm_is_the_algorithm():
    """functools.partial keeps an algorithm's name and that it packs groups of heads."""
    Q, K = np.ones((1, 4, 1, 8), np.float32), np.ones((1, 1, 64, 8), np.float32)
    plain, partial = ROOMY.run(sa.split_kv, Q, K, K, splits=2), ROOMY.run(functools.partial(sa.split_kv, splits=2), Q, K, K)
    assert (partial.algorithm, partial.total) == ("split_kv", plain.total)


def test_what_is_no_algorithm_is_named():
    """A function without a gpu, without arrays to return, or with options of the helper's own is an error in one line."""
    for function in (print, lambda: None, lambda *arrays: None):
        with pytest.raises((TypeError, ValueError), match=r"gpu|signature"):
            ROOMY.run(function, X4)
    with pytest.raises(TypeError, match="returned no array"):
        ROOMY.run(lambda gpu, X: (), X4)
    with pytest.raises(TypeError, match="unknown option 'group'"):
        ROOMY.run(sa.flash2, SQUARE, SQUARE, SQUARE, group=2)
    with pytest.raises(ValueError, match="scale=nan"):
        ROOMY.run(sa.flash2, SQUARE, SQUARE, SQUARE, scale=float("nan"))
    for wrong in ({"n_q": 0}, {"heads": 3, "kv_heads": 2}, {"d": 1.5}):
        with pytest.raises((TypeError, ValueError), match=r"whole number|cannot share"):
            sa.Problem(**{"n_q": 4, "n_k": 4, "d": 4} | wrong)


def test_a_run_leaves_no_scratch_behind():
    """When a run is over, its S and P are freed at once, not when the garbage collector comes by."""
    Q = np.ones((512, 8), np.float32)
    ROOMY.run(sa.naive, Q, Q, Q, Br=64, Bc=64)
    gc.disable()
    tracemalloc.start()
    try:
        run = ROOMY.run(sa.naive, Q, Q, Q, Br=64, Bc=64)
        left, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    S = 512 * 512 * 4
    assert most > 2 * S
    assert left < S / 2  # O and lse are the run's
    assert run.output.shape == (512, 8)


def test_a_machine_is_immutable_and_checked():
    """A machine's figures cannot be changed, and a capacity must be a positive number of bytes."""
    machine = sa.Machine(name="toy", sram=48 * sa.KiB)
    with pytest.raises(AttributeError):
        machine.sram = 1
    for bad in (0, -1, 1.5, "48"):
        with pytest.raises((TypeError, ValueError), match="sram"):
            sa.Machine(name="toy", sram=bad)
