"""The lessons as one course: numbered, linked, legible, and each with a solution that runs."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
WIDTH = 88

spec = importlib.util.spec_from_file_location("lessons", ROOT / "scripts" / "lessons.py")
lessons = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lessons)


def cells(notebook, kind):
    return ["".join(x["source"]) for x in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if x["cell_type"] == kind]


def name(notebook):
    return f"{notebook.parent.name}/{notebook.stem}"


def test_lessons_are_numbered_without_gaps():
    """1, 2, 3 and so on, in the file's name and in the title."""
    assert [int(notebook.name[:2]) for notebook in LESSONS] == list(range(1, len(LESSONS) + 1))
    for number, notebook in enumerate(LESSONS, 1):
        assert cells(notebook, "markdown")[0].startswith(f"# {number}. "), notebook.name


@pytest.mark.parametrize("solution", SOLUTIONS, ids=name)
def test_a_lesson_is_its_solution_without_the_answers(solution):
    """`make lessons` was run: assertions, predictions and blanks are all that the two differ by."""
    assert (solution.parents[1] / solution.name).read_text(encoding="utf-8") == lessons.written(solution)


@pytest.mark.parametrize("solution", SOLUTIONS, ids=name)
def test_a_lesson_gives_nothing_away(solution):
    """No assertion, no entered prediction and no filled blank is left, and the solution checks that each prediction is right."""
    lesson = solution.parents[1] / solution.name
    code = "\n".join(cells(lesson, "code"))
    assert not re.search(r"^\s*assert\b", code, re.MULTILINE)
    assert set(re.findall(r"\bmine=(\S+?)[,)\s]", code)) <= {"None"}
    assert code.count("# your code") == "\n".join(cells(solution, "code")).count("# end of your code")
    assert code.count("sa.check(") >= 1
    assert code.count("sa.guess(") >= 2


@pytest.mark.parametrize("notebook", SOLUTIONS, ids=name)
def test_a_cell_that_asserts_a_prediction_follows_it(notebook):
    """`_` is what the cell before showed: each prediction of a solution is asserted to be right in the next cell."""
    code = cells(notebook, "code")
    for cell, after in zip(code, [*code[1:], ""], strict=True):
        if "sa.guess(" in cell:
            assert after.startswith("assert _.score == 1"), cell
        if re.search(r"^sa\.check\(", cell, re.MULTILINE):
            assert after.startswith(("assert _.passed", "assert not _.passed")), cell


@pytest.mark.parametrize("notebook", [*SOLUTIONS, *(ROOT / "notebooks" / x.name for x in SOLUTIONS)], ids=name)
def test_code_fits_beside_a_projector_and_names_no_path_of_this_machine(notebook):
    """No line of code is wider than 88 columns, and each cell is Python."""
    for cell in cells(notebook, "code"):
        ast.parse(cell)
        for line in cell.split("\n"):
            assert len(line) <= WIDTH, line
        assert "/tmp" not in cell


@pytest.mark.parametrize("notebook", [*LESSONS, *SOLUTIONS], ids=name)
def test_links_of_lessons_lead_somewhere(notebook):
    """Every relative link names a file of the repository."""
    for cell in cells(notebook, "markdown"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", cell):
            assert (notebook.parent / link).exists(), f"{notebook.name}: {link}"
