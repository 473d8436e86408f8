"""The commands together, and what an error becomes."""

import sys
from typing import Annotated, Any

import typer

from .. import __version__
from ..text.ascii import fitting
from ..workbench.tensors import TensorFileError
from . import claims, compare, explore, gpu, machines, reproduce, scenario

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,  # markup would take [default: ...] for a style
    help="The memory hierarchy under attention, executed and counted.",
)
app.command("compare", epilog=compare.EPILOG)(compare.command)
app.command("explore")(explore.command)
app.command("scenario")(scenario.command)
app.command("machines")(machines.command)
app.command("reproduce")(reproduce.command)
app.command("claims")(claims.command)
app.add_typer(gpu.app, name="gpu")

UsageError: Any = typer.BadParameter.__base__  # click's, which typer brings under one name or another

REFUSALS = (
    TensorFileError,
    RuntimeError,
    ValueError,
    TypeError,
    OSError,
    MemoryError,
    OverflowError,
)  # Unavailable is a RuntimeError


@app.callback(invoke_without_command=True)
def root(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: list[str] | None = None) -> int:
    """The exit code; an error that says what to do is one line on stderr."""
    try:
        return app(arguments, standalone_mode=False) or 0
    except UsageError as error:
        return failed(error.format_message())
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        if isinstance(error, OSError) and error.errno and error.filename is None:
            raise  # of no file that was named: the output's
        if isinstance(error, REFUSALS):
            return failed(str(error) or type(error).__name__)
        raise


def _interrupted(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C that an import, for one, made another error of."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _interrupted(error.__cause__ or error.__context__))


def failed(message: str) -> int:
    """Say it in one line."""
    typer.echo(fitting(f"simattn: {' '.join(message.split())}", sys.stderr), err=True)
    return 2
