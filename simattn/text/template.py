"""Pages of prose: Markdown that a writer edits, beside the module that fills in what was computed."""

from importlib.resources import files
from string import Template


def filled(package: str, name: str = "page.md", **values: object) -> str:
    """The template `name` of a package's folder, each $word replaced by its value. KeyError for a $word without one."""
    return Template(files(package).joinpath(name).read_text(encoding="utf-8")).substitute(values)
