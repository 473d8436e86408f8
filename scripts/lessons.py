"""Write the lessons from their solutions: `python scripts/lessons.py` (or `make lessons`).

A solution, notebooks/solutions/NN_name.ipynb, is a whole lesson that runs, with every blank filled, every prediction entered and every
claim asserted. The lesson beside it is the same without these: assertions are left out, `mine=` of a prediction is None, and what
stands between `# your code` and `# end of your code` is `...`.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
BLANK = re.compile(r"^([ \t]*)# your code\b(.*)\n(?:.*\n)*?\1# end of your code *$", re.MULTILINE)
MINE = re.compile(r"\bmine=(?:\"[^\"\n]*\"|[^\s,()]+)")


def lesson(solution: dict[str, Any], name: str) -> dict[str, Any]:
    """The lesson that a solution answers."""
    cells = [made for cell in solution["cells"] if (made := _cell(cell))]
    first, last = cells[0], cells[-1]
    first["source"] = [line.replace(": solutions", "") for line in first["source"]]
    last["source"] = [*last["source"][:-1], last["source"][-1] + "\n", "\n", f"The blanks filled: [solutions](solutions/{name})."]
    return solution | {"cells": cells}


def _cell(cell: dict[str, Any]) -> dict[str, Any] | None:
    """A cell without what answers it; None where nothing is left."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "code":
        source = MINE.sub("mine=None", without_assertions(BLANK.sub(r"\1...  # your code\2", source)))
        if not source.strip():
            return None
    source = re.sub(r"(\]\(|\")\.\./", r"\1", source)  # a lesson lies one folder higher
    return cell | {"source": source.splitlines(keepends=True)}


def without_assertions(source: str) -> str:
    """Code without its assert statements; a loop or a branch of nothing else goes, too."""
    lines, tree = source.split("\n"), ast.parse(source)
    for node in sorted(_asserting(tree.body), key=lambda node: -node.lineno):
        del lines[node.lineno - 1 : node.end_lineno]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n")


def _asserting(body: list[ast.stmt]) -> list[ast.stmt]:
    """The outermost statements that do nothing but assert."""
    found: list[ast.stmt] = []
    for node in body:
        inner = [x for part in ("body", "orelse", "finalbody") for x in getattr(node, part, [])]
        if isinstance(node, ast.Assert):
            found.append(node)
        elif inner:
            below = _asserting(inner)
            found += [node] if len(below) == len(inner) and isinstance(node, ast.For | ast.If | ast.With) else below
    return found


def written(solution: Path) -> str:
    """The text of the lesson's file."""
    made = lesson(json.loads(solution.read_text(encoding="utf-8")), solution.name)
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for solution in sorted(NOTEBOOKS.glob("solutions/*.ipynb")):
        (NOTEBOOKS / solution.name).write_text(written(solution), encoding="utf-8")
