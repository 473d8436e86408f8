"""The source that a page shows: the functions in which the steps were written."""

import ast
import linecache
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def functions(files: Sequence[str], lines: Mapping[str, set[int]]) -> list[dict[str, Any]]:
    """Of each file, the lines of the outermost functions that hold any of these lines, but for docstrings; none where there is no source."""
    found: list[dict[str, Any]] = []
    for file in files:
        text = linecache.getlines(file)
        spans = _spans(text, lines.get(file, set()))
        shown = [{"first": first, "lines": [line.rstrip("\n") for line in text[first - 1 : last]]} for first, last in spans]
        found.append({"file": Path(file).name, "parts": shown})
    return found


def _spans(text: Sequence[str], lines: set[int]) -> list[tuple[int, int]]:
    try:
        tree = ast.parse("".join(text))
    except SyntaxError:
        return []
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    inside = {child for node in ast.walk(tree) if isinstance(node, kinds) for child in ast.walk(node) if child is not node}
    outermost = [node for node in ast.walk(tree) if isinstance(node, kinds) and node not in inside]
    used = [node for node in outermost if any(node.lineno <= line <= (node.end_lineno or 0) for line in lines)]
    return sorted(span for node in used for span in _without_docstring(node)) or (
        [(min(lines), max(lines))] if lines and text else []
    )


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[int, int]]:
    last = node.end_lineno or node.lineno
    text = node.body[0]
    if ast.get_docstring(node) is None or len(node.body) == 1:
        return [(node.lineno, last)]
    return [(node.lineno, text.lineno - 1), ((text.end_lineno or text.lineno) + 1, last)]
