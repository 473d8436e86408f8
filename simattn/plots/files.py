"""A figure as a file."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ..hierarchy.checks import kind, shown
from ..text.files import refuse_unwritable, replacing

ENDINGS = (".png", ".svg", ".pdf")


def save(figure: Figure | Axes, path: str | Path) -> None:
    """Write a figure, or the whole figure that Axes belong to, as PNG, SVG or PDF: whole, or not at all.

    ValueError for another ending, and for a path where no file can be written.

    >>> sa.plots.save(sa.plots.hierarchy(machine), "a100.svg")
    """
    whole = figure.figure if isinstance(figure, Axes) else figure
    if isinstance(whole, SubFigure):
        whole = whole.figure
    if not isinstance(whole, Figure):
        raise TypeError(f"save({shown(figure)}): give a matplotlib Figure or Axes, not {kind(figure)}")
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"{path}: the name must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    target = refuse_unwritable(path, "save")
    unstamped: dict[str, Any] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[ending]
    with replacing(target) as part:
        whole.savefig(part, format=ending[1:], dpi=200, metadata=unstamped)
