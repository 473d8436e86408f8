"""Printing for a terminal, or for a file, which has no width of its own."""

import os
import shutil
import sys
from typing import Any

from rich.console import Console

from .ascii import in_ascii, only_ascii
from .shown import WIDTH


def show(*renderables: Any) -> None:
    """Print tables, a blank line between, as wide as the terminal is, and in ASCII where it has nothing else."""
    console = Console(width=width())
    for k, renderable in enumerate(renderables):
        if k:
            console.print()
        console.print(in_ascii(renderable) if only_ascii(sys.stdout) else renderable, highlight=False)


def width() -> int:
    """Of the terminal, or what COLUMNS says; a pipe and a file take wide lines."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size((WIDTH, 0)).columns if terminal or "COLUMNS" in os.environ else WIDTH
