"""`simattn scenario`."""

from typing import Annotated

import typer
from rich.console import Console

from ..studies.scenarios import SCENARIOS, play, scenario, ways
from ..text.console import show
from ..text.patient import Patient
from .options import Json, echo_json, whole


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(SCENARIOS)}.")],
    batch: Annotated[int | None, whole(help="Sequences. [default: the scenario's]")] = None,
    prompt: Annotated[int | None, whole(help="Tokens of the prompt, or of a training sequence. [default: the scenario's]")] = None,
    steps: Annotated[int | None, whole(help="Tokens that are generated. [default: the scenario's]")] = None,
    layers: Annotated[int | None, whole(help="Layers of the model. [default: the model's]")] = None,
    machine: Annotated[str | None, typer.Option(help="A GPU of `simattn machines`. [default: the scenario's]")] = None,
    json_: Json = False,
) -> None:
    """Count a model's whole run, every layer, prompt and step, by closed forms that a small run of the same kind is executed to check.

    Exit code 1 where an execution does not equal its closed form.
    """
    asked = scenario(name).changed(batch=batch, prompt=prompt, steps=steps, layers=layers)
    with Patient(2 * len(ways(asked)), Console(stderr=True, quiet=json_)) as progress:
        played = play(asked, machine, progress)
    if json_:
        echo_json(played.to_dict())
    else:
        show(played)
    if played.check.unequal:
        raise typer.Exit(1)
