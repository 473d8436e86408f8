"""Fifteen questions that learners ask, each settled by a run: the code of every page runs, and its answer is what the run shows."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGES = sorted((Path(__file__).resolve().parent.parent / "docs" / "questions").glob("[0-9]*.md"))
CELL = re.compile(r"```\{code-cell\} python\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"\{eval\}`(.*?)`", re.DOTALL)


def flops(run):
    return run["products"] == {"naive": 2, "flash2": 2, "naive, backward": 4, "flash2, backward": 5} and (
        run["moved"]["naive"] > 5 * run["moved"]["flash2"]
    )


def io(run):
    return 3.7 < min(run["growth"]) <= max(run["growth"]) < 4 and run["kept"]["flash2", 8192] == 0 < run["kept"]["naive", 8192]


def flash1_output(run):
    return run["growth"]["flash1"] > 3.9 and run["growth"]["flash2"] == 2 and run["output"]["flash2", 8192] == 8192 * 64 * 2


def outer_loop(run):
    runs, sms = run["runs"], run["machine"].sms
    return runs["flash1"].programs < sms < runs["flash2"].programs and runs["flash1"].hbm_write > 16 * runs["flash2"].hbm_write


def backward_loop(run):
    return 1.9 < run["shared"]["by_queries"] / run["shared"]["flash2_backward"] < 2.1 and 0 < run["apart"] < 1e-3


def block_sizes(run):
    divisor = run["by_divisor"]
    return divisor[3] is None and divisor[4] < divisor[5] < divisor[6] and run["fitting"][run["best"]] < divisor[4]


def working_set(run):
    return run["run"].peak_sram == sum(run["tiles"].values()) == 148480 and run["formula"] == 98304


def recomputation(run):
    return 0 < 10 * run["computing"] < run["reading"]


def linear_memory(run):
    extra, on_chip = run["extra"], run["on_chip"]
    return (
        extra["naive", 8192] == 64 * extra["naive", 1024]
        and not extra["flash2", 8192]
        and on_chip["flash2", 8192] == on_chip["flash2", 1024]
    )


def splits(run):
    blocks, slots = run["blocks"], 2 * run["machine"].sms
    return blocks[1] == 8 and 0.9 * slots < 8 * run["chosen_splits"] <= slots and run["partials"][128] > 9 * run["partials"][14] > 0


def decode_step(run):
    return all(run["kv"] < n < 1.03 * run["kv"] for n in run["moved"].values()) and 0.9 < run["intensity"]["flash2"] <= 1


def short_lengths(run):
    return run["ratio"][64] < 2 and run["ratio"][1024] > 4.9 and run["time"][64] < 1


def grouped_heads(run):
    return run["read"] == {"flash2": 8, "split_kv": 1}


def determinism(run):
    errors, moved = run["errors"], run["apart"](run["first"].output, run["turned"].output)
    same = np.array_equal(run["first"].output, run["again"].output)
    return same and 0 < moved < 1e-3 and max(errors["flash2"], errors["turned"]) < errors["naive"]


def occupancy(run):
    return run["warps"][128] == 8 < run["warps"][64] and run["intensity"][128] > 1.9 * run["intensity"][64]


CLAIMS = {f"{number:02}_{claim.__name__}": claim for number, claim in enumerate((
    flops, io, flash1_output, outer_loop, backward_loop, block_sizes, working_set, recomputation, linear_memory, splits, decode_step,
    short_lengths, grouped_heads, determinism, occupancy), 1)}  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_and_its_answer_is_what_the_run_shows(page, capsys):
    """The code prints something, every number of the answer comes from it by {eval}, and what the answer says of them is so."""
    text, names = page.read_text(encoding="utf-8"), {}
    for cell in CELL.findall(text):
        exec(compile(cell, str(page), "exec"), names)  # noqa: S102 - our own pages
        assert all(len(line) <= 88 for line in cell.splitlines())
    assert capsys.readouterr().out.strip()
    assert CLAIMS[page.stem](names)
    values = [eval(expression, names) for expression in INLINE.findall(text)]
    assert values
    assert all(isinstance(value, int | float | str) for value in values)


def test_there_are_fifteen_and_the_index_lists_them():
    """The page of questions names each of them by its heading."""
    index = (PAGES[0].parent / "README.md").read_text(encoding="utf-8")
    assert [page.stem for page in PAGES] == list(CLAIMS)
    for page in PAGES:
        number, question = re.search(r"^# (\d+)\. (.*)", page.read_text(encoding="utf-8"), re.MULTILINE).groups()
        assert f"{number}. [{question}]({page.name})" in index
