"""Kernels beyond attention: what they compute and what they count."""

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.dtypes import STORAGE, limits
from simattn.kernels import BASICS

GPU = sa.machine("a100-40gb")
LENGTH = st.integers(1, 40)
BLOCK = st.integers(1, 48)
TYPE = st.sampled_from(sorted(STORAGE))


def inputs(name, m, n, k, dtype, lanes=()):
    rng = np.random.default_rng(m * 10_000 + n * 100 + k)
    shapes = {"tiled_matmul": [(m, k), (k, n)], "layer_norm": [(m, k), (k,), (k,)]}.get(name, [(m, k)])
    shapes = [shape if len(shape) == 1 else (*lanes, *shape) for shape in shapes]
    return [rng.standard_normal(shape).astype(STORAGE[dtype]) for shape in shapes]


def normalised(x, gamma, beta):
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * gamma + beta


TRUTH = {
    "row_sum": lambda x: x.sum(axis=-1, keepdims=True),
    "transpose": lambda x: x.swapaxes(-1, -2),
    "tiled_matmul": np.matmul,
    "layer_norm": normalised,
}


def blocks_of(name, Br, Bc, Bk):
    return {"Br": Br} if name == "layer_norm" else {"Br": Br, "Bc": Bc} | ({"Bk": Bk} if name == "tiled_matmul" else {})


@pytest.mark.parametrize("name", BASICS)
@given(
    m=LENGTH, n=LENGTH, k=LENGTH, Br=BLOCK, Bc=BLOCK, Bk=BLOCK, batch=st.integers(1, 2), heads=st.integers(1, 3), dtype=TYPE,
    room=st.sampled_from([1 << 30, 16384, 2048]),
)  # fmt: skip
def test_a_run_counts_what_the_formula_says(name, m, n, k, Br, Bc, Bk, batch, heads, dtype, room):
    """Every count of every basic kernel equals its closed form, at any shape, block and type; what overflows has a peak that says so."""
    arrays = inputs(name, m, n, k, dtype, (batch, heads))
    blocks = blocks_of(name, Br, Bc, Bk)
    problem = sa.Problem(batch=batch, heads=heads, n_q=m, n_k=n, d=k, dtype=dtype)
    form = sa.closed_form(name, problem, **{"Bc": 1} | blocks, sram=room)
    try:
        run = sa.Machine(name="m", sram=room).run(sa.algorithms[name], *arrays, **blocks)
    except sa.SramOverflow:
        assert form.total.peak_sram > room
        return
    assert form.total.peak_sram <= room
    assert run.kernels == form.kernels
    assert run.hbm_footprint == form.hbm_footprint == 0


@pytest.mark.parametrize("name", BASICS)
@given(m=LENGTH, n=LENGTH, k=LENGTH, Br=BLOCK, Bc=BLOCK, Bk=BLOCK, dtype=TYPE, flat=st.booleans())
def test_a_run_computes_what_numpy_computes(name, m, n, k, Br, Bc, Bk, dtype, flat):
    """Each basic kernel against plain NumPy in float64 on the stored inputs, within the rounding of its accumulation and output types."""
    arrays = inputs(name, m, n, k, dtype, () if flat else (2, 2))
    run = ROOMY.run(sa.algorithms[name], *arrays, **blocks_of(name, Br, Bc, Bk))
    wide = [x.astype(np.float64) for x in arrays]
    expected = TRUTH[name](*wide)
    magnitude = 1 + abs(expected) if name == "layer_norm" else TRUTH[name](*map(abs, wide))
    steps = (
        n + k if name != "layer_norm" else 300 * k
    )  # where a row's values are close together, 1/√(var + eps) enlarges by up to 316
    stored, summed = (
        float(limits(kind).eps) for kind in (run.output.dtype, np.dtype("float64" if dtype == "float64" else "float32"))
    )
    tiny = float(limits(run.output.dtype).smallest_subnormal)
    assert run.output.shape == expected.shape
    assert (abs(run.output.astype(np.float64) - expected) <= (stored + steps * summed) * magnitude + tiny).all()


def test_the_counts_by_hand():
    """The table of docs/counting.md, on lengths that no block divides: m = 50, n = 30, k = 70; blocks of 16 × 8, steps of 32."""
    m, n, k, T, Tc, Tk = 50, 30, 70, 4, 4, 3
    A, B, X, w = (np.ones(shape, np.float32) for shape in ((m, k), (k, n), (m, n), (n,)))
    runs = {
        "row_sum": (GPU.run(sa.row_sum, X, Br=16, Bc=8), 4 * m * n, 4 * m, 0, m * n + m * Tc),
        "transpose": (GPU.run(sa.transpose, X, Br=16, Bc=8), 4 * m * n, 4 * m * n, 0, 0),
        "tiled_matmul": (
            GPU.run(sa.tiled_matmul, A, B, Br=16, Bc=8, Bk=32),
            4 * k * (m * Tc + n * T),
            4 * m * n,
            2 * m * n * k,
            m * n * Tk,
        ),
        "layer_norm": (GPU.run(sa.layer_norm, X, w, w, Br=16), 4 * m * n + 8 * n * T, 4 * m * n, 0, 7 * m * n + 4 * m),
    }
    for name, (run, *by_hand) in runs.items():
        assert [run.hbm_read, run.hbm_write, run.matmul_flops, run.vector_flops] == by_hand, name


def test_a_transposition_changes_no_bit():
    """Bytes move and nothing is computed: no FLOPs, and the input's bits, turned."""
    X = np.random.default_rng(0).standard_normal((50, 30)).astype(np.float16)
    run = GPU.run(sa.transpose, X)
    assert run.output.tobytes() == X.T.tobytes()
    assert (run.vector_flops, run.matmul_flops, run.exps) == (0, 0, 0)
    assert run.hbm_read == run.hbm_write == X.nbytes


def test_a_product_moves_what_the_bound_allows():
    """With square tiles of C that fill the chip, traffic is between Hong and Kung's bound, 2mnk/√M, and 1.3 times it."""
    n, M = 192, 5120  # 64 × 64 of C, 64 × 8 of A, 8 × 64 of B
    A, B = (np.random.default_rng(i).standard_normal((n, n), np.float32) for i in range(2))
    run = sa.Machine(name="small", sram=4 * M).run(sa.tiled_matmul, A, B, Br=64, Bc=64, Bk=8)
    bound = 4 * 2 * n**3 / M**0.5
    assert run.peak_sram == 4 * M
    assert bound < run.hbm_read < 1.3 * bound


@pytest.mark.parametrize(
    ("message", "run"),
    [
        (r"A \(4, 32\), B \(64, 4\): A has 32 columns, so B must have 32 rows", (sa.tiled_matmul, (4, 32), (64, 4))),
        (r"gamma has shape \(1, 3\): X \(4, 5\) takes one number for each column, \(5,\)", (sa.layer_norm, (4, 5), (3,), (5,))),
        (r"beta has shape \(5, 1\)", (sa.layer_norm, (4, 5), (5,), (5, 1))),
    ],
)
def test_what_does_not_fit_is_named(message, run):
    """Inputs of shapes that do not belong together raise an error with the name and the shape."""
    f, *shapes = run
    with pytest.raises(ValueError, match=message):
        ROOMY.run(f, *(np.ones(shape, np.float32) for shape in shapes))
    for eps in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="eps="):
            ROOMY.run(sa.layer_norm, np.ones((4, 5)), np.ones(5), np.ones(5), eps=eps)


def test_compare_says_how_to_run_what_takes_other_inputs():
    """A kernel that takes other inputs than Q, K and V is refused with the call that runs it; a slip of the pen finds it, too."""
    Q = np.ones((4, 4), np.float32)
    calls = {
        "tiled_matmul": "machine.run(sa.tiled_matmul, A, B)", "layer_norm": "machine.run(sa.layer_norm, X, gamma, beta)",
        "transpose": "machine.run(sa.transpose, X)", "row_sum": "machine.run(sa.row_sum, X)", "mla": "machine.run(sa.mla, Q, C, scale=...)",
        "paged": "machine.run(sa.paged, Q, sa.pool(K), sa.pool(V), table=..., lens=...)",
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises(ValueError, match=r"takes other inputs") as caught:
            sa.compare(GPU, ["flash2", name], Q, Q, Q)
        assert str(caught.value).endswith(call)
    with pytest.raises(ValueError, match="did you mean 'tiled_matmul'"):
        sa.compare(GPU, ["tiled_matmull"], Q, Q, Q)
