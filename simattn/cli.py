"""The command line: `simattn compare`, `machines`, `reproduce`, `claims` and `gpu`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import __version__, cli_gpu
from .analysis.claims import CHECKS, claims
from .analysis.compare import Comparison, compare
from .analysis.inputs import Workload, draw
from .analysis.reproduce import GROUPS, reproduce
from .analysis.scenarios import SCENARIOS, Scenario, asked, play, ways
from .analysis.tensors import TensorFileError, read_qkv, shipped_qkv
from .hierarchy.catalogue import machine as catalogue_machine
from .hierarchy.catalogue import machines as catalogue_machines
from .hierarchy.dtypes import storage_type
from .show.console import show
from .show.progress import Patient
from .show.tables import machines_table

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The memory hierarchy under attention, executed and counted.")

app.add_typer(cli_gpu.app, name="gpu")

DEFAULT_MACHINE = "a100-40gb"
DEFAULT_ALGORITHMS = ("naive", "online_softmax", "flash1", "flash2", "split_kv")
DEFAULT_BACKWARD = ("naive", "flash1", "flash2")
GPT2_MEDIUM = Workload(1, 16, 16, 1024, 1024, 64, "float16", causal=False)
DECODE_STEP = Workload(1, 16, 2, 1, 8192, 128, "float16", causal=False)

UsageError: Any = typer.BadParameter.__base__  # click's, which typer brings under one name or another

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command("compare")
def compare_command(
    machine: Annotated[
        str | None, typer.Option(help=f"A GPU of `simattn machines`. [default: {DEFAULT_MACHINE}, or the scenario's]")
    ] = None,
    algorithms_: Annotated[
        str | None,
        typer.Option("--algorithms", help=f"Names, separated by commas. [default: {','.join(DEFAULT_ALGORITHMS)}]"),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="[default: 1]")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Heads of queries. [default: 1]")] = None,
    kv_heads: Annotated[int | None, typer.Option(min=1, help="Heads of keys and values. [default: as many]")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Keys, and queries unless --n-q is given. [default: 1024]")] = None,
    n_q: Annotated[int | None, typer.Option("--n-q", min=1, help="Queries.")] = None,
    d: Annotated[int | None, typer.Option("--d", min=1, help="Width of a head. [default: 64]")] = None,
    dtype: Annotated[str | None, typer.Option(help="Storage type. [default: float16]")] = None,
    causal: Annotated[bool, typer.Option("--causal", help="The last query sees the last key, each before it one less.")] = False,
    window: Annotated[
        str | None, typer.Option(help="Keys seen before and after a query's own, as 256,0; * for no bound: 256,*")
    ] = None,
    backward: Annotated[bool, typer.Option("--backward", help="The backward pass: dQ, dK, dV of a random dO.")] = False,
    br: Annotated[
        int | None, typer.Option("--br", min=1, help="Rows of a block. [default: the largest of 128 ... 16 that fits]")
    ] = None,
    bc: Annotated[int | None, typer.Option("--bc", min=1, help="Keys of a block; give both or neither.")] = None,
    splits: Annotated[
        int | None, typer.Option(min=1, help="Splits of the keys, for split_kv. [default: flash-attn's heuristic]")
    ] = None,
    qkv: Annotated[Path | None, typer.Option(help="A .npz or .safetensors file with arrays Q, K, V.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random inputs.", min=0)] = 0,
    save: Annotated[Path | None, typer.Option(help="Write a figure of the traffic: .png, .pdf or .svg.")] = None,
    scenario: Annotated[
        str | None, typer.Option(help=f"A model's whole run instead, by closed form: {', '.join(SCENARIOS)}; also takes --batch.")
    ] = None,
    prompt: Annotated[int | None, typer.Option(min=1, help="The scenario's tokens of a prompt; or of a training sequence.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="The scenario's generated tokens.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="The scenario's layers.")] = None,
    json_: Json = False,
) -> None:
    """Run algorithms on the same inputs: counted traffic side by side, and the error of each against float64.

    Without workload options: the shipped real tensors, GPT-2 medium's attention and a decode step. With --scenario: a model's whole run,
    every layer, prompt and step, by closed forms that a small run of the same kind is executed to check.
    """
    others = {
        "--algorithms": algorithms_, "--heads": heads, "--kv-heads": kv_heads, "--n": n, "--n-q": n_q, "--d": d, "--dtype": dtype,
        "--causal": causal, "--window": window, "--backward": backward, "--br": br, "--bc": bc, "--splits": splits, "--qkv": qkv,
        "--seed": seed, "--save": save,
    }  # fmt: skip
    whole = asked(scenario, {"batch": batch, "prompt": prompt, "steps": steps, "layers": layers}, others)
    if whole is not None:
        _play(whole, machine, json_=json_)
        return
    gpu = catalogue_machine(machine or DEFAULT_MACHINE)
    default = DEFAULT_BACKWARD if backward else DEFAULT_ALGORITHMS
    names = list(default) if algorithms_ is None else [name.strip() for name in algorithms_.split(",") if name.strip()]
    options: dict[str, Any] = {"causal": causal, "backward": backward} | ({} if window is None else {"window": _window(window)})
    if (br is None) != (bc is None):
        raise ValueError("give both --br and --bc, or neither")
    if save is not None:
        _check_figure(save)
    blocks: dict[str, Any] = {key: value for key, value in {"Br": br, "Bc": bc, "splits": splits}.items() if value is not None}
    shape = {"--batch": batch, "--heads": heads, "--kv-heads": kv_heads, "--n": n, "--n-q": n_q, "--d": d, "--dtype": dtype}
    given = [option for option, value in shape.items() if value is not None]
    if qkv is not None:
        if given:
            raise ValueError(f"--qkv brings its own shapes: leave out {', '.join(given)}")
        cases = [(qkv.name, read_qkv(qkv))]
    elif given or causal or window is not None or backward:
        n = n or 1024
        kind = storage_type(dtype or "float16").name
        workload = Workload(batch or 1, heads or 1, kv_heads or heads or 1, n_q or n, n, d or 64, kind, causal)
        if workload.heads % workload.kv_heads:
            raise ValueError(f"--heads {workload.heads} cannot share --kv-heads {workload.kv_heads} evenly")
        cases = [("random" if window is None else f"random, window {window}", draw(workload, seed))]
    else:
        cases = [
            ("all-MiniLM-L6-v2, layer 1, reading the Declaration of Independence", shipped_qkv()),
            ("GPT-2 medium's shape, random", draw(GPT2_MEDIUM, seed)),
            ("one decode step, random", draw(DECODE_STEP, seed)),
        ]
    several = len(cases) > 1
    with Patient(len(cases) * (len(names) + 2), Console(stderr=True, quiet=json_)) as progress:
        done = [compare(gpu, names, Q, K, V, title=title, progress=progress, **options, **blocks) for title, (Q, K, V) in cases]
    if save is not None:
        _save(done, save)
    if json_:
        typer.echo(json.dumps({"comparisons": [c.to_dict() for c in done]} if several else done[0].to_dict(), allow_nan=False))
    else:
        show(*done)
        if save is not None:
            typer.echo(f"figure: {save}")
    if any(result.failure for c in done for result in c.results):
        raise typer.Exit(1)


def _play(scenario: Scenario, machine: str | None, *, json_: bool) -> None:
    with Patient(2 * len(ways(scenario)), Console(stderr=True, quiet=json_)) as progress:
        played = play(scenario, machine, progress)
    if json_:
        typer.echo(json.dumps(played.to_dict(), allow_nan=False))
    else:
        show(played)
    if played.failed:
        raise typer.Exit(1)


@app.command("machines")
def machines_command(json_: Json = False) -> None:
    """List the GPUs whose capacities simattn knows."""
    known = catalogue_machines()
    if json_:
        typer.echo(json.dumps({"machines": [{**vars(m)} for m in known]}))
    else:
        show(machines_table(known))


@app.command("reproduce")
def reproduce_command(
    groups: Annotated[list[str] | None, typer.Argument(metavar="GROUP", help=f"{', '.join(GROUPS)}; all unless given.")] = None,
    json_: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/reproduced.md.")] = False,
) -> None:
    """Hold published figures against executed runs: what papers print, what is counted, the ratio, and why they differ."""
    if json_ and markdown:
        raise ValueError("give --json or --markdown, not both")
    with Patient(len(groups or GROUPS), Console(stderr=True, quiet=json_)) as progress:
        done = reproduce(groups or None, progress)
    if json_:
        typer.echo(json.dumps({"rows": done.to_dicts()}, allow_nan=False))
    elif markdown:
        typer.echo(done.markdown(), nl=False)
    else:
        show(done)


@app.command("claims")
def claims_command(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="NUMBER", help=f"1 to {len(CHECKS)}; all unless given.")] = None,
    json_: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/claims.md.")] = False,
) -> None:
    """Test what a widely read article says of FlashAttention and Flash-Decoding: each claim's numbers, and the verdict that they give."""
    if json_ and markdown:
        raise ValueError("give --json or --markdown, not both")
    with Patient(len(numbers or CHECKS), Console(stderr=True, quiet=json_)) as progress:
        done = claims(numbers or None, progress)
    if json_:
        typer.echo(json.dumps({"claims": done.to_dicts()}, allow_nan=False))
    elif markdown:
        typer.echo(done.markdown(), nl=False)
    else:
        show(done)


def _window(text: str) -> tuple[int | None, int | None]:
    sides = text.split(",")
    if len(sides) != 2 or not all(side.strip() == "*" or side.strip().isdecimal() for side in sides):
        raise ValueError(f"--window {text}: give the keys seen before and after a query's own, as 256,0, or * for no bound")
    left, right = (None if side.strip() == "*" else int(side) for side in sides)
    return left, right


def _check_figure(path: Path) -> None:
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"--save {path}: the name must end in .png, .pdf or .svg")
    if not path.parent.is_dir():
        raise ValueError(f"--save {path}: there is no folder {path.parent}")


def _save(comparisons: list[Comparison], path: Path) -> None:
    from .show.plots import save, traffic_figure  # noqa: PLC0415 - matplotlib loads when a figure is asked for

    save(traffic_figure(comparisons), path)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a usage error is one line on stderr and exit code 2."""
    try:
        code = app(arguments, standalone_mode=False)
    except UsageError as error:
        message = error.format_message()
        code = _fail(message) if message else 2  # without arguments, the help was printed
    except (TensorFileError, RuntimeError, ValueError, TypeError, OSError, MemoryError, OverflowError) as error:  # Unavailable, too
        code = _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code or 0)


def _fail(message: str) -> int:
    typer.echo(f"simattn: {' '.join(message.split())}", err=True)
    return 2


if __name__ == "__main__":
    main()
