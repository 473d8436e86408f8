"""Every result gives its rows: to a table library as flat dictionaries, to a spreadsheet as CSV, to a notebook as HTML."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

import simattn as sa
from simattn.gpu.call import GpuRun
from simattn.gpu.counters import KernelCounters, Profile
from simattn.gpu.timing import Measurement
from simattn.studies.claims import claims
from simattn.studies.fidelity import fidelity
from simattn.studies.reproduce import reproduce
from simattn.studies.scenarios import SCENARIOS, play
from simattn.text.exported import flat

ROOT = Path(__file__).resolve().parent.parent
A100 = sa.machine("a100-40gb")
QKV = [np.random.default_rng(i).standard_normal((64, 32), np.float32) for i in range(3)]


def counters(name):
    return KernelCounters(name, "(1, 1, 1)", 1, 2, 3, 4, 5, 6, 7)


RESULTS = {
    "run": lambda: A100.run(sa.naive, *QKV, Br=16, Bc=16),
    "count": lambda: A100.count(sa.flash2, *[sa.spec((64, 32))] * 3),
    "comparison": lambda: sa.compare(A100, ["naive", "flash2"], *QKV),
    "pareto": lambda: sa.pareto(A100, *QKV, block=16),
    "check": lambda: sa.check(sa.transpose, "transpose"),
    "guess": lambda: sa.guess("How many bytes?", 1024, 1000, unit="B"),
    "claims": lambda: claims([1, 13]),
    "reproduction": lambda: reproduce(["gpus"]),
    "scenario": lambda: play(SCENARIOS["long-text"].changed(prompt=200, steps=2)),
    "fidelity": lambda: fidelity(ROOT / "docs" / "fidelity.json"),
    "real run": lambda: GpuRun("flash", Measurement(0.25, 1024, ("<kernel>", "another")), {}, False, False),
    "profile": lambda: Profile((counters("<kernel>"), counters("another"))),
}


@pytest.fixture(scope="module", params=RESULTS)
def result(request):
    return RESULTS[request.param]()


def test_rows_are_flat_and_of_pythons_types(result):
    """Every row has the same names, and under them texts, truths, Python's numbers or None."""
    rows = result.to_dicts()
    assert rows
    assert all(list(row) == list(rows[0]) for row in rows)
    assert {type(x) for row in rows for x in row.values()} <= {str, bool, int, float, type(None)}


def test_csv_reads_back_as_the_rows(result, tmp_path):
    """The text and the file are the same, and csv's reader finds in them what `to_dicts` gives."""
    text, path = result.to_csv(), tmp_path / "rows.csv"
    assert result.to_csv(path) is None
    assert path.read_bytes() == text.encode()
    written = [{name: "" if x is None else str(x) for name, x in row.items()} for row in result.to_dicts()]
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == written


def test_a_notebook_shows_a_table(result):
    """Every result is an HTML table with headings, in which the names of rows are text; a check and a guess are a sentence."""
    shown = result._repr_html_()
    if not isinstance(result, sa.Check | sa.Guess):
        assert "<table" in shown
        assert "<th scope='col'" in shown
    assert "<kernel>" not in shown


def test_the_rows_of_a_run_are_its_counts():
    """One row is of the run, one of each kernel and one of each array, and kernels and arrays both add up to the run."""
    run = RESULTS["run"]()
    rows = run.to_dicts()
    whole, kernels, tensors = ([row for row in rows if row["of"] == of] for of in ("run", "kernel", "tensor"))
    assert [row["name"] for row in kernels] == list(run.kernels)
    assert [row["name"] for row in tensors] == list(run.tensors)
    for row in whole:
        assert (row["hbm_read_bytes"], row["matmul_flops"], row["hbm_footprint_bytes"], row["Br"]) == (
            run.hbm_read, run.matmul_flops, run.hbm_footprint, 16
        )  # fmt: skip
    for name in ("hbm_read_bytes", "hbm_write_bytes"):
        assert sum(row[name] for row in kernels) == sum(row[name] for row in tensors) == whole[0][name]
    assert {row["sram_read_bytes"] for row in tensors} == {None}


def test_what_is_nested_is_named_after_where_it_was():
    """A dictionary's entries become columns, plain lists one text, NumPy's numbers Python's; a list of rows is left out."""
    row = flat({"a": {"b": {"c": np.int64(1)}}, "names": ("x", "y"), "none": (), "rows": [{"name": 1}], "x": np.float32(0.5)})
    assert row == {"a_b_c": 1, "names": "x; y", "none": "", "x": 0.5}
    assert type(row["a_b_c"]) is int


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    """A folder that is missing, or in the place of the file, is named; what was there stays, and nothing beside it."""
    run = RESULTS["run"]()
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "missing" / "rows.csv", tmp_path / "folder.csv"):
        with pytest.raises(OSError, match=rf"{path.name} was not written: "):
            run.to_csv(path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]
    for wrong in (3, "", b"rows.csv"):
        with pytest.raises(TypeError, match="give the name of a file"):
            run.to_csv(wrong)


def test_a_result_without_rows_is_an_empty_text():
    """A check that failed before any input was tried has no row, and its CSV no line."""
    failed = sa.check(lambda gpu, X: ..., "transpose")
    assert (failed.to_dicts(), failed.to_csv()) == ([], "")
