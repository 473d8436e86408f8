"""Error against traffic: the front, the counts, the exact algorithm's place, plain data and the figure."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.kernels import APPROXIMATE
from simattn.workbench.pareto import Point, marked, pareto
from simattn.workbench.tensors import tensors

GPU = sa.machine("a100-40gb")
NAMES = {"flash2", *APPROXIMATE}


@pytest.fixture(scope="module")
def real():
    return pareto(GPU, *(x[:, :4] for x in tensors()), title="real")


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, np.nan, np.inf])), max_size=12))
def test_the_front_is_what_a_walk_from_the_least_traffic_finds(pairs):
    """With ties, NaN and infinities: of each traffic the least finite error, if it is below all errors at less traffic."""
    front, best = set(), np.inf
    for x in sorted({x for x, _ in pairs}):
        least = min((y for x_, y in pairs if x_ == x and np.isfinite(y)), default=np.inf)
        if least < best:
            front.add((x, least))
            best = least
    found = marked(Point("a", {}, x, 0, y, y) for x, y in pairs)
    assert [p.on_front for p in found] == [(x, y) in front for x, y in pairs]


def test_exact_is_exact_and_the_rest_is_not(real):
    """On real tensors flash2 errs by rounding and ends the front; each approximation, short of everything, by far more."""
    assert {p.algorithm for p in real.points} == NAMES
    assert not real.failures
    for p in real.points:
        assert (p.rmse < np.finfo(np.float16).eps) == (p.algorithm == "flash2")
        assert p.algorithm == "flash2" or p.rmse > 0.01
    assert real.front[-1].algorithm == "flash2"
    assert all(a.hbm_bytes < b.hbm_bytes and a.rmse > b.rmse for a, b in zip(real.front, real.front[1:], strict=False))


def test_counts_and_errors_are_those_of_a_run(real):
    """Bytes and FLOPs equal machine.run's with the same parameters, whatever the weights' values; errors those of its output."""
    Q, K, V = (x[:, :4] for x in tensors())
    O = sa.attention_truth(Q, K, V).O
    for p in real.points:
        own = dict(p.parameters)
        weights = {"linformer": lambda: {x: np.zeros((own["k"], 512), Q.dtype) for x in "EF"},
                   "performer": lambda: {"W": np.zeros((own["m"], 32), Q.dtype)},
                   "dynamic_conv": lambda: {"W": np.zeros((own["width"], 32), Q.dtype)}}  # fmt: skip
        tiles = {"bigbird": {}, "dynamic_conv": {"Br": 64}}.get(p.algorithm, {"Br": 64, "Bc": 64})
        drawn = p.algorithm in weights
        run = GPU.run(sa.algorithms[p.algorithm], Q, K, V, **(weights[p.algorithm]() if drawn else own), **tiles)
        assert (p.hbm_bytes, p.matmul_flops) == (run.hbm_read + run.hbm_write, run.matmul_flops), p
        if not drawn:
            difference = run.output - O
            assert p.rmse == pytest.approx(np.sqrt((difference**2).mean() / (O**2).mean()))
            assert p.max_error == abs(difference).max()


def test_what_does_not_fit_or_divide_is_left_out_and_the_rest_is_plain_data():
    """A small SRAM fails some points and says which; 33 tokens have no blocks of 16; a seed repeats; two sequences raise."""
    x = [np.random.default_rng(s).standard_normal((33, 8), np.float32) for s in range(3)]
    small = pareto(sa.Machine(name="small", sram=4000), *x, block=16)
    assert {p.algorithm for p in small.points} <= NAMES - {"block_diagonal", "local_global", "bigbird"}
    assert any(text.startswith("performer {'m': 32}: ") for text in small.failures)
    again = pareto(sa.Machine(name="small", sram=4000), *x, block=16)
    assert json.dumps(again.to_dicts(), allow_nan=False) == json.dumps(small.to_dicts(), allow_nan=False)
    with pytest.raises(ValueError, match="one sequence"):
        pareto(GPU, x[0][:5], *x[1:])


def test_an_error_that_is_not_finite_is_none_and_not_on_the_front():
    """Queries so large that Performer's features vanish give NaN: plain data have None, and the front has no such point."""
    x = [np.random.default_rng(s).standard_normal((32, 8), np.float32) for s in range(3)]
    found = pareto("a100-40gb", 100 * x[0], 100 * x[1], x[2], block=16)
    assert any(row["algorithm"] == "performer" and row["rmse"] is None for row in found.to_dicts())
    assert all(np.isfinite(p.rmse) for p in found.front)


def test_the_figure_names_every_algorithm(real, tmp_path):
    """A panel a set of inputs, axes logarithmic and with units, every algorithm and the front in the legend; it can be saved."""
    from simattn.plots import pareto_figure, save

    figure = pareto_figure([real, real])
    assert {t.get_text() for t in figure.legends[0].get_texts()} >= NAMES | {"Pareto front"}
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert "bytes" in axes.get_xlabel()
        assert len(axes.lines[len(NAMES)].get_xdata()) == len(real.front)
    assert "RMSE" in figure.axes[0].get_ylabel()
    save(figure, tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
