"""Printing for a terminal, or for a file, which has no width of its own."""

from typing import Any

from rich.console import Console

from .tables import WIDTH


def show(*renderables: Any) -> None:
    """Print tables, a blank line between."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, WIDTH))
    for k, renderable in enumerate(renderables):
        if k:
            console.print()
        console.print(renderable)
