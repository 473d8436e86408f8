"""The trace tells what the run counted: step by step, of what was selected, in memory, from a temporary file and from a saved one."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import CHECKOUT, ROOMY
from drawn import EXACT, cases
from hypothesis import given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.counts import COUNTS
from simattn.hierarchy.errors import RecordingTooLarge
from simattn.hierarchy.interpret import tracer

RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal((2, 4, 64, 8)).astype(np.float32) for _ in range(3))
SCHEMA = json.loads((CHECKOUT.parent / "docs" / "trace.schema.json").read_text())


def traced(trace=True, algorithm=sa.flash2, machine=ROOMY, Br=16, Bc=16, **options):
    return machine.run(algorithm, Q, K, V, Br=Br, Bc=Bc, trace=trace, **options)


def moved(step):
    """The bytes of the region of HBM that a step moves."""
    elements = np.prod([len(range(*axis)) for axis in step.region], dtype=int)
    return elements * (4 if step.operation == "load_int" else itemsize(step))


def itemsize(step):
    return (step.counts.hbm_read or step.counts.hbm_write) // np.prod(step.shape, dtype=int)


@settings(max_examples=8)
@pytest.mark.parametrize("algorithm", EXACT)
@given(data=st.data())
def test_the_last_step_has_the_counts_of_the_run(algorithm, data):
    """Steps add up to what the run counted, the fullest is the peak of SRAM, and each moves the region that it names."""
    case = data.draw(cases(algorithm))
    named = case.named
    run = ROOMY.run(sa.algorithms[algorithm], *case.arrays, **named, trace=True)
    steps = list(run.trace)
    assert [step.number for step in steps] == list(range(len(run.trace)))
    assert {name: getattr(steps[-1].total, name) for name in COUNTS} == {name: getattr(run, name) for name in COUNTS}
    assert max(step.sram for step in steps) == run.peak_sram
    begun = sum(len(step.heads) for step in steps if step.position == 0 and step.block is not None)
    assert begun <= run.programs  # a thread block that has nothing to do has no step
    by_array = defaultdict(int)
    for step in steps:
        assert step.sram == sum(tile.nbytes for tile in step.live)
        if step.array:
            assert moved(step) == (step.counts.hbm_read or step.counts.hbm_write)
            by_array[step.array] += (step.counts.hbm_read + step.counts.hbm_write) * len(step.heads)
    assert by_array == {name: t.hbm_read + t.hbm_write for name, t in run.tensors.items()}


def test_tracing_changes_nothing():
    """A run that is traced, with values or without, is the same to the bit and the byte."""
    plain = traced(False)
    assert plain.trace is None
    for trace in (True, sa.Tracing(values=True)):
        run = traced(trace)
        assert (run.kernels, run.tensors) == (plain.kernels, plain.tensors)
        assert all((run.outputs[name] == x).all() for name, x in plain.outputs.items())


def test_tiles_are_called_as_the_source_calls_them():
    """What is live while P @ Vj runs: it accumulates in a * Oi, which nothing is called; Kj and S are gone."""
    step = [step for step in traced().trace if step.operation == "matmul"][1]
    assert sorted(tile.name for tile in step.live) == ["P", "Qi", "Vj", "l", "m", "multiply"]
    line = Path(step.file).read_text().splitlines()[step.line - 1]
    assert "@ Vj" in line
    assert line[step.column :].startswith("scores.drop(")


SELECTIONS = {
    "flash2[1]": {(1, h) for h in range(8)},
    "1[2:]": {(b, h) for b in (2, 3) for h in range(8)},
    "*[:2][3]": {(0, 3), (1, 3)},
    "*[][1:3]": {(b, h) for b in range(4) for h in (1, 2)},
    " flash2 [ 3 ] [ 7 : ] ": {(3, 7)},
}


@pytest.mark.parametrize("select", SELECTIONS)
def test_a_selection_keeps_what_it_names(select):
    """Thread blocks and heads, and the counts are theirs."""
    steps = list(traced(select).trace)
    assert {(step.block, head) for step in steps if step.block is not None for head in step.heads} == SELECTIONS[select]
    expected = sum((step.counts.hbm_read + step.counts.hbm_write) * len(step.heads) for step in steps)
    assert steps[-1].total.hbm_read + steps[-1].total.hbm_write == expected


def test_the_number_of_a_launch_selects_it():
    """The third launch of naive attention is P V."""
    assert {step.kernel for step in traced("3", sa.naive).trace} == {list(traced(False, sa.naive).kernels)[2]}


@pytest.mark.parametrize(
    "select", ["", "flash2[", "flash2[a]", "flash2[-1]", "flash2[1][2][3]", "[1]", "flash2[1,2]", "flash2[::2]"]
)
def test_a_selection_that_cannot_be_read_is_refused(select):
    """With an example of one that can."""
    with pytest.raises(ValueError, match=r"write KERNEL\[BLOCKS\]\[HEADS\]"):
        traced(select)


@pytest.mark.parametrize("select", ["flash3", "flash2[4]", "2", "*[0][8]", "flash2[3:3]"])
def test_a_selection_of_nothing_is_refused(select):
    """It says what there was to select."""
    with pytest.raises(ValueError, match="selects nothing"):
        traced(select)


@pytest.mark.parametrize("trace", [3, [], sa.Tracing])
def test_what_selects_nothing_at_all_is_a_type_error(trace):
    """It says what to give."""
    with pytest.raises(TypeError, match="give True, a selection"):
        traced(trace)


@settings(max_examples=10)
@pytest.mark.parametrize("algorithm", ["flash2", "split_kv", "flash1", "naive"])
@given(data=st.data(), workers=st.integers(1, 3))
def test_values_are_those_of_the_run(algorithm, data, workers):
    """What the stores of a head bring to HBM is that head's output; values that are loaded are the inputs'."""
    case = data.draw(cases(algorithm))
    head = data.draw(st.integers(0, case.p.batch * (case.p.kv_heads if algorithm == "split_kv" else case.p.heads) - 1))
    trace = sa.Tracing(f"*[][{head}]", values=True)
    run = ROOMY.run(sa.algorithms[algorithm], *case.arrays, **case.named, trace=trace, workers=workers)
    packed = run.output.shape[1] != case.p.heads or algorithm == "split_kv"
    whole = np.full(run.output.shape[2:], np.nan, np.float64)
    by_position = {}
    for step in run.trace:
        if step.position == 0:
            by_position.clear()
        by_position[step.position] = step.values
        if step.kind == "store" and step.array == "O" and not packed:
            whole[tuple(slice(*axis) for axis in step.region)] = by_position[step.reads[0]].astype(run.output.dtype)
    if not packed:
        np.testing.assert_array_equal(whole, run.output.reshape(-1, *run.output.shape[2:])[head].astype(np.float64))


def test_values_may_be_asked_for_where_the_algorithm_peeks():
    """What was computed for a peek is traced, too."""

    def double(gpu, Q, *, Br):
        O = gpu.empty(Q.shape, name="O")
        for sram, i in gpu.launch("double", sa.blocks(Q.shape[0], Br)):
            x = sram.load(Q[i])
            assert gpu.peek(x).shape == (2, 4, 16, 8)
            y = x + x
            sram.store(O[i], y)
        return O

    run = ROOMY.run(double, Q, Br=16, trace=sa.Tracing("double[2][5]", values=True))
    y = next(step for step in run.trace if step.tile == "y")
    np.testing.assert_array_equal(y.values, 2 * Q[1, 1, 32:48])
    assert run.peeked


def test_values_are_bounded(monkeypatch):
    """In bytes and in steps: the error says to select less."""
    monkeypatch.setattr(tracer, "MOST_VALUES", 1 << 12)
    with pytest.raises(RecordingTooLarge, match="select fewer thread blocks"):
        traced(sa.Tracing(values=True))
    monkeypatch.setattr(tracer, "MOST_VALUES", 1 << 30)
    monkeypatch.setattr(tracer, "IN_MEMORY", 50)
    with pytest.raises(RecordingTooLarge, match="more than 50 steps"):
        traced(sa.Tracing(values=True))


def test_a_long_trace_goes_to_a_file_and_comes_back(monkeypatch):
    """The same steps, though two readers take turns; of several groups of heads that ran one after another, too."""
    options = {"algorithm": sa.flash2, "causal": True, "kv_lens": sa.each([64, 40])}
    steps = list(traced(**options).trace)
    monkeypatch.setattr(tracer, "IN_MEMORY", 40)
    trace = traced(**options).trace
    assert len(trace) == len(steps)
    for found, again, step in zip(trace, trace, steps, strict=True):
        assert found == again == step


def test_heads_that_run_apart_are_told_apart():
    """With a length for each batch element, the steps of each are for its own heads."""
    heads = {step.heads for step in traced(kv_lens=sa.each([64, 40])).trace}
    assert heads == {(0, 1, 2, 3), (4, 5, 6, 7)}


def test_arrays_may_differ_where_heads_run_apart(monkeypatch):
    """Each group of heads moves the regions of its own arrays, in memory and from a file; the trace knows all of them."""

    def scratch(gpu, Q, *, n, Br):
        T, O = gpu.empty((n, 8), name="T"), gpu.empty(Q.shape, name="O")
        W = gpu.empty((4, 4), name=f"W{n}")
        for sram, i in gpu.launch("scratch", sa.blocks(Q.shape[0], Br)):
            sram.store(O[i], sram.load(Q[i]))
        for sram, _ in gpu.launch("whole", [0]):
            sram.store(T, sram.zeros((n, 8)))
            sram.store(W, sram.zeros((4, 4)))
        return O

    run = ROOMY.run(scratch, Q, n=sa.each([8, 24]), Br=16, trace=True)
    steps = list(run.trace)
    assert [step.region[0] for step in steps if step.array == "T"] == [(0, 8, 1), (0, 24, 1)]
    assert {name: x.shape for name, x in run.trace.arrays.items() if name != "Q"} == {
        "T": (24, 8),
        "O": (64, 8),
        "W8": (4, 4),
        "W24": (4, 4),
    }
    assert run.explore().panels[0]["peak"] == run.peak_sram
    monkeypatch.setattr(tracer, "IN_MEMORY", 3)
    assert list(ROOMY.run(scratch, Q, n=sa.each([8, 24]), Br=16, trace=True).trace) == steps


def test_a_recording_is_traced_as_its_algorithm(monkeypatch):
    """Places and names are those of the source that was recorded."""
    x = Q[0, 0]
    recorded = ROOMY.record(sa.flash2, *[sa.spec(x.shape)] * 3, Br=16, Bc=16)
    steps = list(ROOMY.run(sa.flash2, x, x, x, Br=16, Bc=16, trace=True).trace)
    assert list(recorded.run(x, x, x, trace=True).trace) == steps
    monkeypatch.setattr(tracer, "IN_MEMORY", 40)
    assert list(recorded.run(x, x, x, trace=True).trace) == steps


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "flash.json"
    run = traced(causal=True)
    run.save_trace(path)
    return path, run


def test_a_saved_trace_is_loaded_as_it_was(saved):
    """Steps, arrays and what it was of."""
    path, run = saved
    trace = sa.load_trace(path)
    assert list(trace) == list(run.trace)
    assert trace.arrays == run.trace.arrays
    assert repr(trace) == repr(run.trace)


def test_a_saved_trace_follows_its_schema(saved):
    """docs/trace.schema.json, which allows nothing else."""
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(saved[0].read_text()))


def test_the_slices_of_a_track_nest(saved):
    """Of two slices on a track, one holds the other or they are apart: what the trace viewer asks. Counters only grow where they sum."""
    path, run = saved
    events = json.loads(path.read_text())["traceEvents"]
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert len(tracks) == 4 + 1  # four thread blocks, and the launch
    for slices in tracks.values():
        for a, b in slices:
            assert all(b <= c or d <= a or (a <= c and d <= b) or (c <= a and b <= d) for c, d in slices)
    traffic = [event["args"] for event in events if event["name"] == "HBM traffic"]
    assert traffic == sorted(traffic, key=lambda args: (args["read"], args["write"]))
    assert traffic[-1] == {"read": run.hbm_read, "write": run.hbm_write}
    assert max(event["args"]["bytes"] for event in events if event["name"] == "SRAM") == run.peak_sram


def test_a_trace_of_another_version_is_refused_by_its_number(saved, tmp_path):
    """And says what this one reads."""
    other = tmp_path / "other.json"
    other.write_text(saved[0].read_text().replace('"version":1', '"version":7', 1))
    with pytest.raises(ValueError, match="version 7, but this simattn reads version 1"):
        sa.load_trace(other)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"traceEvents": [', '{"otherData": {"format": "simattn trace", "version": 1}, "x": [']
)
def test_a_file_that_is_no_trace_is_refused(tmp_path, text):
    """By its name."""
    path = tmp_path / "no.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"no\.json is not a trace that simattn saved"):
        sa.load_trace(path)


@pytest.mark.parametrize("damage", ["{not json", '{"cat":"step","args":{}}', '{"cat":"step","args":{"shape":3}}', "7"])
def test_a_damaged_line_is_named(saved, tmp_path, damage):
    """By the file and the number of the line."""
    lines = saved[0].read_text().splitlines()
    lines[20] = damage
    path = tmp_path / "damaged.json"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"damaged\.json, line 21"):
        list(sa.load_trace(path))


def test_a_trace_that_ends_early_is_refused(saved, tmp_path):
    """Cut at the end of a line, where every line that is left can be read."""
    path = tmp_path / "short.json"
    path.write_text("\n".join(saved[0].read_text().splitlines()[:30]))
    with pytest.raises(ValueError, match=r"short\.json ends early: it has \d+ of \d+ steps"):
        list(sa.load_trace(path))


def test_a_trace_that_cannot_be_written_leaves_what_was_there(saved, tmp_path, monkeypatch):
    """Whole, and nothing beside it."""
    path = tmp_path / "kept.json"
    shutil.copy(saved[0], path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simattn.hierarchy.perfetto._events", full)
    with pytest.raises(OSError, match=r"kept\.json was not written: No space left"):
        saved[1].save_trace(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


def test_a_run_that_was_not_traced_says_how():
    """There is nothing to save."""
    with pytest.raises(ValueError, match="run it with trace=True"):
        traced(False).save_trace("never.json")
