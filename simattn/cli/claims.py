"""`simattn claims`."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from ..studies.claims import CHECKS, claims
from ..text.console import show
from ..text.patient import Patient
from .options import Json, Markdown, echo_json, echo_page, one_of, whole_number


class Language(StrEnum):
    en = "en"
    zh = "zh"


def command(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="NUMBER", parser=whole_number(1), help=f"1 to {len(CHECKS)}; all unless given.")
    ] = None,
    json_: Json = False,
    markdown: Markdown = False,
    language: Annotated[Language, typer.Option("--language", help="Of the page that --markdown prints.")] = Language.en,
) -> None:
    """Test what a widely read article says about FlashAttention and Flash-Decoding: the numbers for each claim, and the verdict."""
    one_of(json_, markdown)
    if language is not Language.en and not markdown:
        raise typer.BadParameter("--language chooses the language of the page; add --markdown")
    with Patient(len(numbers or CHECKS), Console(stderr=True, quiet=json_)) as progress:
        done = claims(numbers or None, progress)
    if json_:
        echo_json(done.to_dict())
    elif markdown:
        echo_page(done.markdown(language.value))
    else:
        show(done)
