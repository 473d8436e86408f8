"""Every figure shows what the run counted, looks alike without colour, and says what is wrong with what it cannot draw."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

import simattn as sa
from simattn.plots.look import HATCHES, MARKERS
from simattn.plots.tiling import visits

A100 = sa.machine("a100-40gb")
QKV = [np.random.default_rng(i).standard_normal((100, 32), np.float32) for i in range(3)]
ALGORITHMS = ["naive", "online_softmax", "flash1", "flash2"]


@pytest.fixture(autouse=True)
def closed():
    """No figure of a test stays open."""
    yield
    plt.close("all")


def traced(algorithm=sa.flash2, arrays=QKV, trace=True, **options):
    return A100.run(algorithm, *arrays, trace=trace, **{"Br": 16, "Bc": 32} | options)


@pytest.fixture(scope="module")
def comparison():
    return sa.compare(A100, ALGORITHMS, *QKV)


FIGURES = {
    "hierarchy": lambda ax, c: sa.plots.hierarchy("h100-sxm", ax),
    "tiling": lambda ax, c: sa.plots.tiling(traced(causal=True), ax),
    "occupancy": lambda ax, c: sa.plots.occupancy(traced(), ax),
    "traffic": lambda ax, c: sa.plots.traffic(c, ax),
    "traffic_by_length": lambda ax, c: sa.plots.traffic_by_length(["flash2"], [64, 128], A100, ax),
    "traffic_by_sram": lambda ax, c: sa.plots.traffic_by_sram(["flash2"], [1 << 16, 1 << 17], A100, ax),
    "error_by_bytes": lambda ax, c: sa.plots.error_by_bytes(c, ax),
    "roofline": lambda ax, c: sa.plots.roofline(A100, c, ax, dtype="float32"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_where_it_is_told(name, comparison):
    """Given Axes, it draws there, opens no figure and returns them; without, in a figure of its own. No tick says a power of two."""
    figure, (left, right) = plt.subplots(1, 2)
    assert FIGURES[name](right, comparison) is right
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]
    own = FIGURES[name](None, comparison)
    assert own.figure is not figure
    own.figure.draw_without_rendering()
    ticks = [label.get_text() for axis in (own.xaxis, own.yaxis) for label in axis.get_ticklabels()]
    assert not any("2^" in text or "1e" in text for text in ticks)


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_saved_in_three_formats(ending, magic, tmp_path):
    """From its Axes or from the figure; the ending counts in upper case too."""
    ax = sa.plots.hierarchy(A100)
    sa.plots.save(ax, tmp_path / f"a.{ending}")
    sa.plots.save(ax.figure, str(tmp_path / f"b.{ending.upper()}"))
    assert all(path.read_bytes().startswith(magic) for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_saved_is_said(tmp_path):
    """Another ending, a folder that is missing, a thing that is no figure: one sentence each, and no file."""
    ax = sa.plots.hierarchy(A100)
    with pytest.raises(ValueError, match=r"a\.gif: the name must end in \.png, \.svg or \.pdf"):
        sa.plots.save(ax, tmp_path / "a.gif")
    with pytest.raises(ValueError, match="there is no folder"):
        sa.plots.save(ax, tmp_path / "missing" / "a.png")
    with pytest.raises(TypeError, match="give a matplotlib Figure or Axes, not a Run"):
        sa.plots.save(traced(), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def bars(ax):
    """(run, array, direction) -> the bytes that its bar is wide."""
    return {tuple(bar.get_gid().split("|")): bar.get_width() for bar in ax.patches}


def test_bars_are_as_wide_as_the_bytes_by_array_and_direction(comparison):
    """Each array of each run has a bar a direction, as wide as its bytes; they touch, and what is written is hatched."""
    ax = sa.plots.traffic(comparison)
    expected = {
        (r.algorithm, array, direction): nbytes
        for r in comparison.results
        for array, moved in r.run.tensors.items()
        for direction, nbytes in (("read", moved.hbm_read), ("write", moved.hbm_write))
        if nbytes
    }
    assert bars(ax) == expected
    assert all(bool(bar.get_hatch()) == bar.get_gid().endswith("write") for bar in ax.patches)
    for y, r in enumerate(comparison.results):
        row = sorted((bar for bar in ax.patches if bar.get_y() < y < bar.get_y() + bar.get_height()), key=lambda bar: bar.get_x())
        assert all(a.get_x() + a.get_width() == b.get_x() for a, b in pairwise(row))
        assert row[-1].get_x() + row[-1].get_width() == r.run.hbm_read + r.run.hbm_write


def test_runs_of_one_algorithm_are_told_apart():
    """By their blocks, or by their machine, or by their number; and a dictionary says how."""
    small, large = (traced(trace=False, Br=size, Bc=size) for size in (16, 32))

    def labels(runs):
        return [label.get_text() for label in sa.plots.traffic(runs).get_yticklabels()]

    assert labels(small) == ["flash2"]
    assert labels([small, large]) == ["flash2, Br = 16, Bc = 16", "flash2, Br = 32, Bc = 32"]
    other = sa.machine("t4").run(sa.flash2, *QKV, Br=16, Bc=16)
    assert labels([small, other]) == ["flash2, a100-40gb", "flash2, t4"]
    assert labels([small, small]) == ["flash2, run 1", "flash2, run 2"]
    assert labels({"<one>": small}) == ["<one>"]


def test_the_working_set_ends_at_the_peak():
    """The outline is what is live at each operation, its maximum the run's peak; the tiles by name add up to it."""
    for algorithm in (sa.flash2, sa.naive, sa.flash1):
        run = traced(algorithm)
        ax = sa.plots.occupancy(run)
        (outline,) = (patch for patch in ax.patches if patch.get_gid() == "all")
        tops, edges, _ = outline.get_data()
        assert max(tops) == run.peak_sram
        stacked = [patch.get_data() for patch in ax.patches if patch is not outline]
        assert np.array_equal(sum(data.values - data.baseline for data in stacked), tops)
        assert len(edges) == len(tops) + 1
        assert ax.texts[0].get_text().startswith("peak ")


def test_the_working_set_names_the_tiles_of_the_source():
    """Names are those that the source binds, and each is as large as its tile at the most; capacity is a line where it is near."""
    run = traced()
    ax = sa.plots.occupancy(run, block=6)  # of four rows
    of = {patch.get_gid(): patch.get_data() for patch in ax.patches}
    assert of.keys() >= {"Qi", "Oi", "l", "m", "Kj", "Vj", "S", "P", "a"}
    assert max(of["Qi"].values - of["Qi"].baseline) == 4 * 32 * 4
    assert not [line for line in ax.lines if line.get_gid() == "capacity"]
    toy = sa.Machine(name="toy", sram=run.peak_sram).run(sa.flash2, *QKV, Br=16, Bc=32, trace=True)
    (line,) = (line for line in sa.plots.occupancy(toy).lines if line.get_gid() == "capacity")
    assert list(line.get_ydata()) == [run.peak_sram] * 2


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("algorithm", [sa.flash2, sa.flash1, sa.naive, sa.split_kv])
def test_the_tiles_that_are_drawn_are_those_that_were_visited(algorithm, causal):
    """A rectangle a product of Q and K; of flash2, one for each load of K. A causal mask skips those above the diagonal, and no others."""
    run = traced(algorithm, causal=causal)
    drawn = {(p.get_y(), p.get_x()): p for p in sa.plots.tiling(run).patches if p.get_gid() == "visit"}
    expected = {(i, j) for i in range(0, 100, 16) for j in range(0, 100, 32) if not causal or j < i + 16}
    assert drawn.keys() == expected
    assert sum(p.get_width() * p.get_height() for p in drawn.values()) == sum(
        min(16, 100 - i) * min(32, 100 - j) for i, j in expected
    )
    if algorithm is sa.flash2:
        assert len(drawn) == sum(step.kind == "load" and step.array == "K" for step in run.trace)


def test_the_order_of_visits_is_that_of_the_program():
    """flash2 goes along a row of blocks, flash1 down a column; the numbers in the tiles say so."""
    assert [(v.block, v.rows[0], v.columns[0], v.number) for v in visits(traced().trace)][:5] == [
        (0, 0, 0, 1), (0, 0, 32, 2), (0, 0, 64, 3), (0, 0, 96, 4), (1, 16, 0, 1),
    ]  # fmt: skip
    assert [(v.rows[0], v.columns[0]) for v in visits(traced(sa.flash1).trace)][:3] == [(0, 0), (16, 0), (32, 0)]
    assert [text.get_text() for text in sa.plots.tiling(traced(causal=True)).texts[:4]] == ["1", "1", "1", "2"]


def test_a_part_of_a_run_is_not_called_skipped():
    """Where blocks were selected, the rest is said to be not visited in the selection; of several heads the first is drawn."""
    some = sa.plots.tiling(traced(trace="flash2[1]"))
    assert "not visited in flash2[1]" in [text.get_text() for text in some.get_legend().get_texts()]
    heads = [np.stack([x, x])[None] for x in QKV]
    once, twice = (len(sa.plots.tiling(run).patches) for run in (traced(), traced(arrays=heads)))
    assert once == twice


def test_a_backward_pass_has_a_tiling():
    """Its scores are computed anew, once a pair of blocks: each tile stands once."""
    forward = traced(trace=False)
    run = A100.run(sa.flash2_backward, *QKV, *forward.outputs.values(), QKV[2], Br=32, Bc=32, trace=True)
    assert sum(patch.get_gid() == "visit" for patch in sa.plots.tiling(run).patches) == 16


def data(ax, gid):
    (line,) = (line for line in ax.lines if line.get_gid() == gid)
    return dict(zip(*line.get_data(), strict=True))


def test_traffic_by_length_is_the_counts_of_runs():
    """A line a closed form, markers that are runs, and both are what `machine.run` counts; nothing is below what is compulsory."""
    ax = sa.plots.traffic_by_length(ALGORITHMS, [128, 64], A100, causal=True, dtype="float32", d=32, heads=2, Br=16, Bc=16)
    for name in ALGORITHMS:
        for n in (64, 128):
            x = np.zeros((1, 2, n, 32), np.float32)
            run = A100.run(getattr(sa, name), x, x, x, Br=16, Bc=16, causal=True)
            assert data(ax, f"line {name}")[n] == data(ax, f"runs {name}")[n] == run.hbm_read + run.hbm_write
            assert run.hbm_read + run.hbm_write >= data(ax, "bound compulsory: inputs read, outputs written, once")[n]
    assert data(ax, "bound compulsory: inputs read, outputs written, once")[128] == 4 * 2 * 128 * (4 * 32 + 1)
    assert data(ax, "bound a whole N × N matrix, written and read")[128] == 2 * 2 * 128 * 128 * 4
    assert [label.get_text() for label in ax.get_xticklabels()] == ["64", "128"]


def test_a_function_of_ones_own_has_a_curve():
    """It has no closed form: its line goes through its runs."""

    def mine(gpu, Q, K, V, *, Br, Bc):
        return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)

    ax = sa.plots.traffic_by_length([mine, "flash2"], [64], "a100-40gb", Br=16, Bc=16)
    assert data(ax, "line mine") == data(ax, "runs mine") == data(ax, "line flash2")


def test_traffic_by_sram_takes_the_largest_blocks_that_fit():
    """Twice the SRAM, larger blocks, less traffic; a run with those blocks counts the same, and one with the next would overflow."""
    sizes = [12 << 10, 200 << 10]
    ax = sa.plots.traffic_by_sram(["flash2"], sizes, A100, n_q=300, n_k=300, dtype="float32")
    x = np.zeros((300, 64), np.float32)
    for size, block in zip(sizes, (8, 128), strict=True):
        toy = sa.Machine(name="toy", sram=size)
        run = toy.run(sa.flash2, x, x, x, Br=block, Bc=block)
        assert data(ax, "line flash2")[size] == data(ax, "runs flash2")[size] == run.hbm_read + run.hbm_write
        with pytest.raises(sa.SramOverflow):
            toy.run(sa.flash2, x, x, x, Br=2 * block, Bc=2 * block)
    with pytest.raises(ValueError, match="flash2 fits on none of these sizes of SRAM"):
        sa.plots.traffic_by_sram(["flash2"], [1024], A100)


def test_errors_and_bytes_are_those_of_the_rows(comparison):
    """A marker an algorithm, each another; of `sa.pareto` a line an algorithm, and its front."""
    ax = sa.plots.error_by_bytes(comparison)
    for r in comparison.results:
        assert data(ax, r.algorithm) == {r.run.hbm_read + r.run.hbm_write: r.error.rmse}
    assert len({line.get_marker() for line in ax.lines}) == len(comparison.results)
    found = sa.pareto(A100, *(x[:64] for x in QKV), block=16)
    front = data(sa.plots.error_by_bytes(found), "front")
    assert front == {p.hbm_bytes: p.rmse for p in found.front}


def test_the_roofline_is_the_machines_and_its_points_the_runs(comparison):
    """The ridge is peak over bandwidth; a run stands at its FLOPs a byte, on the roof."""
    ax = sa.plots.roofline(A100, comparison, dtype="float32")
    roof = data(ax, "roof")
    ridge = A100.flops["float32"] / A100.hbm_bandwidth
    assert roof[ridge] == A100.flops["float32"]
    points = [line for line in ax.lines if line.get_linestyle() == "None"]
    for line, r in zip(points, comparison.results, strict=True):
        x = r.run.matmul_flops / (r.run.hbm_read + r.run.hbm_write)
        assert (line.get_xdata()[0], line.get_ydata()[0]) == (x, min(A100.flops["float32"], x * A100.hbm_bandwidth))


@pytest.mark.parametrize("machine", sa.machines(), ids=lambda m: m.name)
def test_the_hierarchy_says_the_figures_of_every_machine(machine):
    """Levels from SRAM to HBM, each wider than the one above, with the machine's own capacities and bandwidth."""
    ax = sa.plots.hierarchy(machine)
    said = " ".join(text.get_text() for text in ax.texts)
    for figure in (
        f"{machine.sram / 1024:.0f} KiB",
        sa.bytes_text(machine.hbm),
        f"{sa.bytes_text(machine.hbm_bandwidth)}/s",
        sa.bytes_text(machine.l2),
    ):
        assert figure in said
    widths = [patch.get_width() for patch in ax.patches if patch.get_gid()]
    assert widths == sorted(widths)
    assert len(widths) == 3
    toy = sa.plots.hierarchy(sa.Machine(name="toy", sram=4096))
    assert [text.get_text() for text in toy.texts if text.get_gid() == "level"] == ["SRAM: 4.0 KiB a thread block", "HBM: no limit"]


def test_figures_can_be_told_apart_without_colour():
    """Ten colours that colour-blind readers tell apart; markers and hatches do not repeat with them."""
    assert len(mpl.color_sequences["petroff10"]) == 10
    assert len({(k % 10, k % len(HATCHES)) for k in range(40)}) == len({(k % 10, k % len(MARKERS)) for k in range(40)}) == 40


WRONG = {
    "untraced tiling": (lambda: sa.plots.tiling(traced(trace=False)), ValueError, "this run of flash2 was not traced; run it with trace=True"),
    "untraced occupancy": (lambda: sa.plots.occupancy(traced(trace=False)), ValueError, "not traced; run it with trace=True"),
    "no run": (lambda: sa.plots.occupancy(3), TypeError, r"occupancy\(3\): give a traced run, .*, not an int"),
    "no scores": (lambda: sa.plots.tiling(traced(sa.row_sum, QKV[:1])), ValueError, "row_sum multiplies no tile of Q by one of K"),
    "no such block": (lambda: sa.plots.occupancy(traced(), block=9), ValueError, "thread block 9 of flash2 is not in the trace; there are 0 to 6"),
    "no block": (lambda: sa.plots.occupancy(traced(), block=-1), ValueError, "block=-1"),
    "no such kernel": (lambda: sa.plots.occupancy(traced(), kernel="flahs2"), ValueError, "did you mean 'flash2'"),
    "no Axes": (lambda: sa.plots.traffic(traced(), ax="left"), TypeError, "ax='left': give a matplotlib Axes, not a str"),
    "no runs": (lambda: sa.plots.traffic([]), ValueError, "there is no run to draw"),
    "names for runs": (lambda: sa.plots.traffic(["flash2"]), TypeError, "'flash2' is no run but a str"),
    "no list": (lambda: sa.plots.traffic(7), TypeError, "give a run, a list of runs or a comparison, not an int"),
    "no comparison": (lambda: sa.plots.error_by_bytes(traced()), TypeError, "give what sa.compare or sa.pareto returned, not a Run"),
    "no roof": (lambda: sa.plots.roofline(sa.Machine(name="toy", sram=4096), traced()), ValueError, "toy has no roofline"),
    "no such type": (lambda: sa.plots.roofline(A100, traced(), dtype="float8"), ValueError, "did you mean 'float32'"),
    "no products": (lambda: sa.plots.roofline(A100, traced(sa.row_sum, QKV[:1])), ValueError, "must be above 0"),
    "no machine": (lambda: sa.plots.hierarchy(5), TypeError, "give a Machine, or a name of sa.machines"),
    "one name": (lambda: sa.plots.traffic_by_length("flash2", [64], A100), TypeError, "give a list of names"),
    "one length": (lambda: sa.plots.traffic_by_length(["flash2"], 64, A100), TypeError, "lengths=64: give a list of whole numbers"),
    "no lengths": (lambda: sa.plots.traffic_by_length(["flash2"], [], A100), ValueError, "lengths is empty"),
    "half a token": (lambda: sa.plots.traffic_by_length(["flash2"], [1.5], A100), TypeError, "lengths=1.5"),
    "too large": (lambda: sa.plots.traffic_by_length(["flash2"], [64], A100, Br=4096, Bc=4096, d=4096), ValueError, "of SRAM"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_drawn_is_said(case):
    """One clear error, and no figure is left open."""
    draw, error, said = WRONG[case]
    with pytest.raises(error, match=said):
        draw()
    assert not plt.get_fignums()


def test_a_saved_trace_can_be_drawn(tmp_path):
    """`sa.load_trace` gives what `tiling` and `occupancy` draw."""
    run = traced()
    run.save_trace(tmp_path / "flash.json")
    loaded = sa.load_trace(tmp_path / "flash.json")
    assert len(sa.plots.tiling(loaded).patches) == len(sa.plots.tiling(run).patches)
    assert sa.plots.occupancy(loaded).get_title("left") == sa.plots.occupancy(run).get_title("left")
