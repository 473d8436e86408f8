"""`simattn claims`."""

from typing import Annotated

import typer
from rich.console import Console

from ..studies.claims import CHECKS, claims
from ..text.console import show
from ..text.patient import Patient
from .options import Json, Markdown, echo_json, echo_page, one_of, whole_number


def command(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="NUMBER", parser=whole_number(1), help=f"1 to {len(CHECKS)}; all unless given.")
    ] = None,
    json_: Json = False,
    markdown: Markdown = False,
) -> None:
    """Test what a widely read article says of FlashAttention and Flash-Decoding: each claim's numbers, and the verdict that they give."""
    one_of(json_, markdown)
    with Patient(len(numbers or CHECKS), Console(stderr=True, quiet=json_)) as progress:
        done = claims(numbers or None, progress)
    if json_:
        echo_json(done.to_dict())
    elif markdown:
        echo_page(done.markdown())
    else:
        show(done)
