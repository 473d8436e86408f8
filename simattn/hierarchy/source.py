"""From an instruction of an algorithm to its line, its column, and the name that the line binds."""

import ast
import linecache
from functools import cache
from types import CodeType

from .log import Place

Span = tuple[int | None, int | None, int | None, int | None]  # line, end line, column, end column


class CodeSource:
    """The places of a function's instructions."""

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def place(self, instruction: int) -> Place:
        """The place of the instruction at this offset, in bytes."""
        span = _spans(self._code)[instruction // 2]
        return Place(self._code.co_filename, span[0] or 0, span[2] or 0, _names(self._code.co_filename).get(span))


@cache
def _spans(code: CodeType) -> list[Span]:
    return [(line, end, column, end_column) for line, end, column, end_column in code.co_positions()]


@cache
def _names(file: str) -> dict[Span, str]:
    """The name to which a file binds the expression at each span, if its text is available."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    found: dict[Span, str] = {}

    def bind(target: ast.AST, value: ast.AST) -> None:
        if isinstance(target, ast.Name):
            found[_span(value)] = target.id
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for part, its in zip(target.elts, value.elts, strict=True):
                bind(part, its)

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                bind(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            bind(node.target, node.value)
        elif isinstance(node, ast.AugAssign):
            bind(node.target, node)
    return found


def _span(node: ast.AST) -> Span:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
