"""What a terminal shows: tables of any width, ASCII where there is nothing else, and the figures that reproduce and claims print."""

import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import simattn as sa
from simattn.cli.machines import machines_table
from simattn.studies.claims import claims
from simattn.studies.reproduce import reproduce
from simattn.studies.scenarios import SCENARIOS, play
from simattn.text import console
from simattn.text.ascii import in_ascii, only_ascii, to_ascii
from simattn.text.layout import Columns, plain
from simattn.text.units import time_text
from simattn.workbench.table import comparison_table


def shown(renderable, width):
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False, force_jupyter=False).print(renderable, highlight=False)
    return out.getvalue()


@pytest.fixture(scope="module")
def comparison():
    x = np.random.default_rng(0).standard_normal((1, 2, 100, 16), np.float32).astype(np.float16)
    return sa.compare("a100-40gb", ["naive", "online_softmax", "flash2", "recompute_decode"], x, x, x, causal=True)


def tables_of(comparison):
    gpu = sa.gpu.compare(*(np.ones((1, 2, 64, 64), np.float16),) * 3)
    return {
        "compare": comparison_table(comparison), "wide": comparison_table(comparison, wide=True), "machines": machines_table(sa.machines()),
        "scenario": play(SCENARIOS["training"].changed(prompt=64)), "reproduce": reproduce(["gpus"]), "claims": claims([15, 26]), "gpu": gpu,
    }  # fmt: skip


def parts(renderable):
    """The tables in a renderable."""
    if isinstance(renderable, Columns):
        return [renderable]
    inner = [renderable.__rich__()] if hasattr(renderable, "__rich__") else getattr(renderable, "renderables", ())
    return [table for x in inner for table in parts(x)]


@pytest.mark.parametrize("width", [40, 41, 50, 60, 72, 80, 100, 120, 200])
def test_no_number_is_cut_at_any_width(comparison, width):
    """Every table fits the terminal, holds no ellipsis, and shows each cell of numbers whole on one line."""
    for name, table in tables_of(comparison).items():
        text = shown(table, width)
        assert "…" not in text, name
        assert max(map(len, text.splitlines())) <= width, name
        for column in (column for part in parts(table) for column in part.columns if column.no_wrap):
            for cell in map(plain, column.cells):
                assert any(cell in line for line in text.splitlines()), (name, cell)


@given(st.lists(st.tuples(*[st.integers(0, 10**12)] * 5), min_size=1, max_size=4), st.integers(40, 130))
def test_a_table_in_parts_repeats_the_first_column(rows, width):
    """Whatever the numbers, each row of each part begins with its name, and all its numbers are there."""
    table = Columns("a title", "name")
    table.numbers(*"abcde")
    for k, row in enumerate(rows):
        table.add_row(f"row{k}", *(f"{x:,}" for x in row))
    text = shown(table, width)
    for k, row in enumerate(rows):
        found = re.findall(rf"^row{k} (.*)$", text, re.MULTILINE)
        assert " ".join(found).split() == [f"{x:,}" for x in row]
    assert max(map(len, text.splitlines())) <= width


def test_eighty_columns_show_the_default_table_side_by_side(comparison):
    """The default columns fit 80 characters; --wide has every column of the default, and four more."""
    few, many = (comparison_table(comparison, wide=wide).renderables[0] for wide in (False, True))
    headings = [plain(column.header).split() for column in few.columns]
    assert [" ".join(h) for h in headings] == [
        "algorithm", "HBM read", "HBM written", "HBM ÷ naive", "working set of 419 KiB", "error ÷ naive", "verdict",
    ]  # fmt: skip
    assert len(few.parts(80)) == 1
    assert len(few.parts(60)) == 2
    assert [h for h in (plain(c.header).split() for c in many.columns) if h in headings] == headings
    assert len(many.columns) == len(few.columns) + 4


def test_a_notebook_has_every_column(comparison):
    """A page scrolls: the HTML table is the wide one."""
    assert "matmul<br>FLOP" in comparison._repr_html_()


def test_ascii_is_ascii(comparison):
    """Every table in ASCII holds nothing else, at any width, and its columns still stand below one another."""
    for name, table in tables_of(comparison).items():
        text = shown(in_ascii(table), 80)
        assert text.isascii(), name
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 80, name
    assert [to_ascii(x) for x in ("1.00×", "QKᵀ/√d", "−∞", "⌈N/2⌉", "10⁶", "O₂", "±0.5")] == [
        "1.00x", "QKT/sqrtd", "-inf", "ceil(N/2)", "10^6", "O2", "+/-0.5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("set_", "encoding", "ascii_"),
    [
        ({}, "utf-8", False), ({"LC_ALL": "C"}, "utf-8", True), ({"LANG": "C"}, "utf-8", True), ({"LANG": "C", "LC_ALL": "de_DE.UTF-8"}, "utf-8", False),
        ({"LANG": "de_DE.UTF-8"}, "utf-8", False), ({"TERM": "dumb"}, "utf-8", True), ({}, "ascii", True), ({}, "latin-1", True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "utf-8", True), ({"LC_CTYPE": "C.UTF-8"}, "utf-8", False), ({"LC_ALL": "POSIX"}, "utf-8", True),
    ],
)  # fmt: skip
def test_when_ascii_is_asked_for(monkeypatch, set_, encoding, ascii_):
    """By the C locale, however it is set, by a dumb terminal, and by an encoding that has no other letters."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    assert only_ascii(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) == ascii_


def test_the_width_is_the_terminals(monkeypatch):
    """COLUMNS counts everywhere; without it, a pipe takes wide lines."""
    monkeypatch.setenv("COLUMNS", "57")
    assert console.width() == 57
    monkeypatch.delenv("COLUMNS")
    assert console.width() == 120


def test_a_surprising_verdict_says_why(comparison):
    """A row that is exact at more than twice naive's error, and one that is undecided, have a line with the reason; others have none."""

    class Row:
        algorithm, failure, run, error, times_naive, exact, verdict, counted_by = (
            "flash1",
            None,
            None,
            None,
            5.0,
            True,
            "exact",
            "execution",
        )

        class judgement:
            why = "O[0] errs by 1e-4 of 1e-3"

    def notes(**changes):
        row = type("Changed", (Row,), changes)()
        fake = type("Fake", (), {"results": (row,), "machine": comparison.machine, "workload": comparison.workload, "title": ""})()
        return [plain(note) for note in comparison_table(fake).renderables[1:]]

    assert notes() == ["flash1, exact: O[0] errs by 1e-4 of 1e-3"]
    assert notes(times_naive=1.9) == []
    assert notes(times_naive=1.0, exact=None, verdict="undecided") == ["flash1, undecided: O[0] errs by 1e-4 of 1e-3"]
    assert notes(exact=False, verdict="not exact") == []


def test_times_are_said_in_one_unit():
    """Estimates are rounded to the unit in which people would say them."""
    assert [time_text(s) for s in (0.2, 61, 95, 5000, 9000, 1e6, 1e9, 1e33)] == [
        "1 second", "61 seconds", "2 minutes", "83 minutes", "2 hours", "12 days", "32 years", "3e+25 years",
    ]  # fmt: skip
