"""Options that several commands share, and checks of what they were given."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..hierarchy.dtypes import STORAGE, storage_type
from ..reference.problem import Problem
from ..text.ascii import fitting
from ..text.files import refuse_unwritable


def whole(*flags: str, least: int = 1, help: str = "") -> Any:
    """An option that is a whole number; the error names the value."""
    return typer.Option(*flags, parser=whole_number(least), metavar="N", help=help)


def whole_number(least: int) -> Callable[[Any], int]:
    """What reads one; the error names the value."""

    def parse(given: Any) -> int:
        try:
            if (number := int(given)) >= least:
                return number
        except ValueError:
            pass
        raise typer.BadParameter(f"{str(given)[:40]!r} is not a whole number from {least} on")

    return parse


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the page of the documentation.")]
KvHeads = Annotated[int | None, whole(help="Heads of keys and values. [default: as many as of queries]")]
Nq = Annotated[int | None, whole("--n-q", help="Queries. [default: as many as keys]")]
Causal = Annotated[bool, typer.Option("--causal", help="The last query sees the last key, each before it one less.")]
Seed = Annotated[int, whole(least=0, help="Of the random inputs.")]

FIGURES = (".png", ".pdf", ".svg")


def echo_json(said: Any) -> None:
    """One object, in ASCII."""
    typer.echo(json.dumps(said, allow_nan=False))


def echo_page(page: str) -> None:
    """A page of Markdown, as the terminal or the file can hold it."""
    typer.echo(fitting(page, sys.stdout), nl=False)


def one_of(json_: bool, markdown: bool) -> None:
    """ValueError where two forms are asked for."""
    if json_ and markdown:
        raise ValueError("give --json or --markdown, not both")


def names(option: str, given: str, known: Any) -> list[str]:
    """The names in a list with commas; ValueError where there is none."""
    found = [name.strip() for name in given.split(",") if name.strip()]
    if not found:
        raise ValueError(f"{option} {given!r}: give at least one name of {', '.join(known)}")
    return found


def dtype(given: str) -> str:
    """The name of a storage type."""
    if not given:
        raise ValueError(f"--dtype '': give one of {', '.join(STORAGE)}")
    return storage_type(given).name


def figure(option: str, given: str) -> Path:
    """Where a figure can be written; ValueError says why not."""
    path = refuse_unwritable(given, option)
    if path.suffix.lower() not in FIGURES:
        raise ValueError(f"{option} {given}: the name must end in .png, .pdf or .svg")
    return path


def workload(
    batch: int, heads: int, kv_heads: int | None, n: int, n_q: int | None, d: int, kind: str, *, causal: bool, backward: bool = False
) -> Problem:  # fmt: skip
    """The shape of one attention; ValueError where heads cannot be shared."""
    if heads % (kv_heads or heads):
        raise ValueError(f"--heads {heads} cannot share --kv-heads {kv_heads} evenly")
    return Problem(
        batch=batch, heads=heads, kv_heads=kv_heads or heads, n_q=n_q or n, n_k=n, d=d, dtype=dtype(kind), causal=causal, backward=backward
    )  # fmt: skip
