"""`simattn reproduce`."""

from typing import Annotated

import typer
from rich.console import Console

from ..studies.reproduce import GROUPS, reproduce
from ..text.console import show
from ..text.patient import Patient
from .options import Json, Markdown, echo_json, echo_page, one_of


def command(
    groups: Annotated[list[str] | None, typer.Argument(metavar="GROUP", help=f"{', '.join(GROUPS)}; all unless given.")] = None,
    json_: Json = False,
    markdown: Markdown = False,
) -> None:
    """Hold published figures against executed runs: what papers print, what is counted, the ratio, and why they differ."""
    one_of(json_, markdown)
    with Patient(len(groups or GROUPS), Console(stderr=True, quiet=json_)) as progress:
        done = reproduce(groups or None, progress)
    if json_:
        echo_json({"rows": done.to_dicts()})
    elif markdown:
        echo_page(done.markdown())
    else:
        show(done)
