"""`simattn explore`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..explorer.explorer import Explorer, explore
from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.interpret.tracer import LESS
from ..hierarchy.trace import Tracing
from ..reference.problem import Problem
from ..text.files import refuse_unwritable
from ..text.patient import Patient
from ..text.units import bytes_text, time_text
from ..workbench.compare import compare
from ..workbench.comparison import Comparison
from ..workbench.inputs import draw
from ..workbench.listed import comparable, listed
from ..workbench.work import estimate
from .functions import algorithm
from .options import Causal, Nq, Seed, names, whole

MINUTE = 60.0
ENOUGH = 2048  # keys, whose values a trace can hold
HEAD = "*[][0]"  # the page shows one head


def command(
    algorithms: Annotated[
        str, typer.Option(help="One algorithm, or two side by side: names, or functions of yours as mine.py:my_flash.")
    ] = "naive,flash2",
    output: Annotated[Path | None, typer.Option(help="The page. [default: explore-ALGORITHMS.html, in this folder]")] = None,
    gif: Annotated[Path | None, typer.Option(help="A moving picture, for slides.")] = None,
    figures: Annotated[Path | None, typer.Option(help="A folder for stills, as SVG: a stop of the tour each.")] = None,
    machine: Annotated[str, typer.Option(help="A GPU of `simattn machines`.")] = "a100-40gb",
    n: Annotated[int, whole("--n", help="Keys, and queries unless --n-q is given.")] = 512,
    n_q: Nq = None,
    d: Annotated[int, whole("--d", help="Width of a head.")] = 64,
    dtype: Annotated[str, typer.Option(help="Storage type.")] = "float16",
    br: Annotated[int, whole("--br", help="Rows of a block.")] = 64,
    bc: Annotated[int, whole("--bc", help="Columns of a block.")] = 64,
    causal: Causal = False,
    backward: Annotated[bool, typer.Option("--backward", help="The backward pass.")] = False,
    seed: Seed = 0,
) -> None:
    """Write a page that plays algorithms step by step: tiles between HBM and SRAM, bytes, values and source. One head.

    Exit code 1 where an algorithm did not fit, refused or failed.
    """
    comparables = comparable(backward=backward)
    asked = [algorithm("--algorithms", name) for name in names("--algorithms", algorithms, comparables)]
    known = listed(asked, comparables, backward=backward)
    if len(known) > 2:
        raise ValueError(f"--algorithms {algorithms}: the page shows one algorithm, or two side by side; name at most two")
    gpu = catalogue_machine(machine)
    problem = Problem(n_q=n_q or n, n_k=n, d=d, dtype=dtype, causal=causal, backward=backward)
    work = estimate(known, problem, gpu, backward=backward, Br=br, Bc=bc)
    if work.beyond_memory() or work.seconds > MINUTE:
        took = f"about {time_text(work.seconds)}" if not work.beyond_memory() else "more memory than there is"
        raise ValueError(f"--n {n}: that takes {took}; give --n {_smaller(n)}, which shows the same")
    pass_name = "-backward" if backward else ""
    path = refuse_unwritable(output or Path(f"explore-{'-'.join(x.name for x in known)}{pass_name}.html"), "--output")
    if gif is not None:
        refuse_unwritable(gif, "--gif")
    if figures is not None:
        _folder(figures)
    with Patient(len(known) + 2, Console(stderr=True)) as progress:
        compared = compare(
            gpu, asked, *draw(problem, seed), causal=causal, backward=backward, Br=br, Bc=bc, trace=Tracing(HEAD, values=True),
            progress=progress,
        )  # fmt: skip
    page = _page(compared, n)
    page.save(path)
    typer.echo(f"{path}: {bytes_text(len(page.html.encode()))}; open it in a browser")
    if gif is None and figures is None:
        return
    from ..explorer.stills import save_gif, save_stills  # noqa: PLC0415 - matplotlib loads where it is needed

    if gif is not None:
        save_gif(page.panels, gif)
        typer.echo(f"{gif}: {bytes_text(gif.stat().st_size)}")
    if figures is not None:
        typer.echo(f"{figures}: {len(save_stills(page.panels, page.tour, figures))} stills")


def _smaller(n: int) -> int:
    return max(64, min(n // 4, ENOUGH))


def _folder(path: Path) -> None:
    """Make a folder, or raise ValueError where nothing can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--figures {path}: no folder can be made there ({error.strerror})") from None
    refuse_unwritable(path / "01.svg", "--figures")


def _page(compared: Comparison, n: int) -> Explorer:
    """The page of what ran; what did not is said."""
    for row in compared.results:
        if row.failure:
            failure = row.failure.replace(LESS, f"give --n {_smaller(n)}")
            typer.echo(f"simattn: {row.algorithm}: {failure}", err=True)
            raise typer.Exit(1)
    return explore(*(row.run for row in compared.results if row.run))
