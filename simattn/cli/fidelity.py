"""`simattn gpu fidelity` and `report`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .. import gpu
from ..studies.fidelity import fidelity, loaded
from ..text.files import refuse_unwritable, replacing
from ..text.patient import Patient
from .options import echo_page, whole
from .options import figure as checked_figure


def command(
    output: Annotated[str, typer.Option(help="Where the measurements go, as JSON.", metavar="PATH")],
    seconds: Annotated[int, whole(help="Seconds for the hardware counters; workloads beyond are timed only.")] = 1800,
) -> None:
    """Measure the whole grid of workloads on this GPU: some ten minutes. `simattn gpu report` makes the page of it.

    Where the file is there, what it lacks is measured; what it holds of the same device and versions stays.
    """
    if not gpu.has_cuda():
        raise gpu.Unavailable("the measurements need a CUDA GPU, and torch finds none on this computer")
    path = refuse_unwritable(output, "--output")
    jobs, known = gpu.grid(), loaded(path) if path.exists() else None
    with Patient(len(jobs) + 1, Console(stderr=True)) as progress:
        measured = gpu.measure_grid(jobs, progress, seconds=seconds, known=known)
    with replacing(path) as part:
        part.write_text(dumped(measured), encoding="utf-8")


def dumped(measured: dict[str, Any]) -> str:
    """JSON with a line a row, so that a new measurement is a readable change."""
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in measured["rows"])
    return f'{{"measured_with": {json.dumps(measured["measured_with"])},\n"rows": [\n{rows}\n]}}\n'


def report_command(
    measured: Annotated[Path, typer.Argument(help="What `simattn gpu fidelity` wrote.", metavar="PATH")],
    figure: Annotated[
        str | None, typer.Option(help="Write the figure of the report, too: .png, .pdf or .svg.", metavar="PATH")
    ] = None,
) -> None:
    """Print the page docs/fidelity.md from measurements: the simulator's counts beside the hardware's."""
    from ..studies.fidelity.page import report  # noqa: PLC0415 - only this command needs its text

    path = None if figure is None else checked_figure("--figure", figure)
    done = fidelity(loaded(measured))
    echo_page(report(done))
    if path is not None:
        from ..plots import fidelity_figure, save  # noqa: PLC0415 - matplotlib loads when a figure is asked for

        save(fidelity_figure(done), path)
