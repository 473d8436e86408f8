"""The same in ASCII, for terminals and locales that have nothing else."""

import os
import sys
import unicodedata
from typing import Any, TextIO

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .layout import plain

LETTERS = {
    "×": "x", "÷": "/", "–": "-", "—": "-", "−": "-", "·": "*", "√": "sqrt", "∞": "inf", "±": "+/-", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "∘": "o",
    "µ": "u", "φ": "phi", "Σ": "sum", "ᵦ": "b", "⌈": "ceil(", "⌉": ")", "⌊": "floor(", "⌋": ")", "“": '"', "”": '"', "’": "'", "…": "...", "⁻": "^-",
}  # fmt: skip
RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
POSIX = ("C", "POSIX")


def only_ascii(file: TextIO | None) -> bool:
    """Whether what is written to a file should be ASCII: by its encoding, the locale, or a terminal that calls itself dumb."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or ""
    if locale in ("", "C.UTF-8"):  # what Python puts in the place of C
        locale = os.environ.get("LANG") or locale
    encoding = (getattr(file, "encoding", None) or "utf-8").lower()
    return not encoding.startswith("utf") or locale in POSIX or os.environ.get("TERM") == "dumb"


def to_ascii(text: str) -> str:
    """Each letter that is none of ASCII's by one or several that are."""
    return text if text.isascii() else "".join(x if x.isascii() else LETTERS.get(x) or _similar(x) for x in text)


def fitting(text: str, file: TextIO | None = None) -> str:
    """A text as the file, stdout unless given, can show it."""
    return to_ascii(text) if only_ascii(sys.stdout if file is None else file) else text


def in_ascii(shown: Any) -> Any:
    """Tables and texts with the same letters replaced."""
    if isinstance(shown, str):
        return to_ascii(shown)
    if isinstance(shown, Text):
        return shown if shown.plain.isascii() else Text(to_ascii(shown.plain), style=shown.style)
    if isinstance(shown, Table):
        shown.box, shown.title = RULE, None if shown.title is None else to_ascii(plain(shown.title))
        for column in shown.columns:
            column.header, column._cells = in_ascii(column.header), list(map(in_ascii, column.cells))
        return shown
    if isinstance(shown, Group):
        return Group(*map(in_ascii, shown.renderables))
    return in_ascii(shown.__rich__())


def _similar(letter: str) -> str:
    """An index or a power by its digit, as Unicode relates them; an unknown letter by a question mark."""
    simple = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return f"^{simple}" if "<super>" in unicodedata.decomposition(letter) and simple.isdigit() else simple or "?"
