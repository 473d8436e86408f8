"""`simattn compare`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.catalogue import machines
from ..hierarchy.dtypes import STORAGE, Array
from ..kernels import GROUPS
from ..reference.problem import Problem
from ..text.console import show
from ..text.patient import Patient
from ..workbench.compare import compare
from ..workbench.comparison import Comparison
from ..workbench.counted import count
from ..workbench.defaults import DEFAULTS
from ..workbench.inputs import checked_qkv, draw
from ..workbench.listed import OTHER_INPUTS, comparable, listed
from ..workbench.options import Options
from ..workbench.table import comparison_table
from ..workbench.tensors import read_qkv, tensors
from ..workbench.work import estimate
from .functions import algorithm
from .options import Causal, Json, KvHeads, Nq, Seed, echo_json, figure, names, whole, workload
from .work import accepted

DEFAULT_MACHINE = "a100-40gb"
DEFAULT_ALGORITHMS = ("naive", "online_softmax", "flash1", "flash2", "split_kv")
DEFAULT_BACKWARD = ("naive", "flash1", "flash2")
GPT2_MEDIUM = Problem(heads=16, n_q=1024, n_k=1024, d=64)
DECODE_STEP = Problem(heads=16, kv_heads=2, n_q=1, n_k=8192, d=128)
BATCH, HEADS, N, D, DTYPE = 1, 1, 1024, 64, "float16"

GROUPED = {
    group: [name.removesuffix("_backward") for name in members if name not in OTHER_INPUTS] for group, members in GROUPS.items()
}
NEEDS = {"decoding": " (with --causal)", "backward": " (with --backward)"}
EPILOG = "\n\n".join(
    [
        *(f"Algorithms, {group}{NEEDS.get(group, '')}: {', '.join(known)}." for group, known in GROUPED.items() if known),
        f"What an algorithm takes unless told otherwise: {'; '.join(f'{name}, {its}' for name, its in DEFAULTS.items())}.",
        f"Types: {', '.join(STORAGE)}.",
        f"Machines: {', '.join(m.name for m in machines())}.",
        "Exit codes: 1 where an algorithm of --algorithms did not fit, refused or failed, 2 where nothing was run, which one line on stderr explains.",
    ]
)

Case = tuple[str, Problem, Callable[[], tuple[Array, Array, Array]]]


def command(
    machine: Annotated[str, typer.Option(help="A GPU of `simattn machines`.")] = DEFAULT_MACHINE,
    algorithms: Annotated[
        str | None,
        typer.Option(
            help="Names, or functions of yours as mine.py:my_flash, separated by commas. "
            f"[default: {','.join(DEFAULT_ALGORITHMS)}; with --backward {','.join(DEFAULT_BACKWARD)}]"
        ),
    ] = None,
    batch: Annotated[int | None, whole(help=f"[default: {BATCH}]")] = None,
    heads: Annotated[int | None, whole(help=f"Heads of queries. [default: {HEADS}]")] = None,
    kv_heads: KvHeads = None,
    n: Annotated[int | None, whole("--n", help=f"Keys, and queries unless --n-q is given. [default: {N}]")] = None,
    n_q: Nq = None,
    d: Annotated[int | None, whole("--d", help=f"Width of a head. [default: {D}]")] = None,
    dtype: Annotated[str | None, typer.Option(help=f"Storage type. [default: {DTYPE}]")] = None,
    causal: Causal = False,
    window: Annotated[
        str | None,
        typer.Option(help="Keys seen before and after a query's own, as 256,0; * for no bound: 256,*. [default: no bound]"),
    ] = None,
    backward: Annotated[bool, typer.Option("--backward", help="The backward pass: dQ, dK, dV of a random dO.")] = False,
    br: Annotated[int | None, whole("--br", help="Rows of a block. [default: the largest of 128, 64, 32, 16 that fits]")] = None,
    bc: Annotated[int | None, whole("--bc", help="Keys of a block; give both or neither.")] = None,
    splits: Annotated[int | None, whole(help="Splits of the keys, for split_kv. [default: flash-attn's heuristic]")] = None,
    qkv: Annotated[str | None, typer.Option(help="A .npz or .safetensors file with arrays Q, K, V.", metavar="PATH")] = None,
    seed: Seed = 0,
    save: Annotated[str | None, typer.Option(help="Write a figure of the traffic: .png, .pdf or .svg.", metavar="PATH")] = None,
    count_only: Annotated[
        bool, typer.Option("--count-only", help="Counts at any length, by closed form or by a recording: no arrays, no errors.")
    ] = False,
    wide: Annotated[
        bool, typer.Option("--wide", help="More columns: HBM footprint, SRAM traffic, matmul FLOPs and the largest error.")
    ] = False,
    json_: Json = False,
) -> None:
    """Run algorithms on the same inputs: counted traffic side by side, and the error of each against float64.

    Without workload options: the shipped real tensors, GPT-2 medium's attention and a decode step. A function of yours is
    f(gpu, Q, K, V, *, Br, Bc), with --backward f(gpu, Q, K, V, O, lse, dO, *, Br, Bc).
    """
    if machine == "":
        raise ValueError(f"--machine '': give one of {', '.join(m.name for m in machines())}")
    if count_only and save is not None:
        raise ValueError("--save: the figure shows a run's traffic by array; leave out --count-only")
    gpu = catalogue_machine(machine)
    known = comparable(backward=backward)
    asked = DEFAULT_BACKWARD if backward else DEFAULT_ALGORITHMS
    with _printing(quiet=json_):
        compared = listed(
            [algorithm("--algorithms", x) for x in (asked if algorithms is None else names("--algorithms", algorithms, known))],
            known,
            backward=backward,
        )
    if (br is None) != (bc is None):
        raise ValueError("give both --br and --bc, or neither")
    path = None if save is None else figure("--save", save)
    bounds = None if window is None else _window(window)
    blocks: dict[str, Any] = {key: value for key, value in {"Br": br, "Bc": bc, "splits": splits}.items() if value is not None}
    shape = {"--batch": batch, "--heads": heads, "--kv-heads": kv_heads, "--n": n, "--n-q": n_q, "--d": d, "--dtype": dtype}
    given = [option for option, value in shape.items() if value is not None]
    options: dict[str, Any] = {"causal": causal} | ({} if bounds is None else {"window": bounds})
    if qkv is not None:
        if given:
            raise ValueError(f"--qkv brings its own shapes: leave out {', '.join(given)}")
        cases = [_case(Path(qkv).name, _read(qkv), options)]
    elif given or causal or window is not None or backward:
        kind = DTYPE if dtype is None else dtype
        w = workload(batch or BATCH, heads or HEADS, kv_heads, n or N, n_q, d or D, kind, causal=causal, backward=backward)
        cases = [("random" if window is None else f"random, window {window}", replace(w, window=bounds), lambda: draw(w, seed))]
    else:
        cases = [
            _case("all-MiniLM-L6-v2, layer 1, reading the Declaration of Independence", tensors(), options),
            ("GPT-2 medium's shape, random", GPT2_MEDIUM, lambda: draw(GPT2_MEDIUM, seed)),
            ("one decode step, random", DECODE_STEP, lambda: draw(DECODE_STEP, seed)),
        ]
    options["backward"] = backward
    functions = [x.name if not x.own else x.function for x in compared]
    stages: list[float] | int = len(cases) * len(compared)
    if not count_only:
        stages = accepted([estimate(compared, p, gpu, backward=backward, **blocks) for _, p, _ in cases])
    done = []
    with Patient(stages, Console(stderr=True, quiet=json_)) as progress, _printing(quiet=json_):
        for title, p, inputs in cases:
            said: dict[str, Any] = {"title": title, "progress": progress, **blocks}
            if count_only:
                done.append(count(gpu, functions, p, backward=backward, **said))
            else:
                Q, K, V = inputs()
                done.append(compare(gpu, functions, Q, K, V, **options, **said))
    if json_:
        echo_json({"comparisons": [c.to_dict() for c in done]})
    else:
        show(*(comparison_table(c, wide=wide) for c in done))
    if path is not None:
        _save(done, path, quiet=json_)
    if algorithms is not None and any(result.failure for c in done for result in c.results):
        raise typer.Exit(1)


def _read(qkv: str) -> tuple[Array, Array, Array]:
    if not qkv:
        raise ValueError("--qkv '': give a .npz or .safetensors file")
    return checked_qkv(*read_qkv(qkv))


def _case(title: str, qkv: tuple[Array, Array, Array], options: dict[str, Any]) -> Case:
    return title, Problem.of(*qkv, Options.of(*qkv[:2], **options)), lambda: qkv


@contextmanager
def _printing(*, quiet: bool) -> Iterator[None]:
    """Where stdout is to hold one JSON object, what a function of the user's prints goes to stderr."""
    with redirect_stdout(sys.stderr) if quiet else nullcontext():
        yield


def _window(text: str) -> tuple[int | None, int | None]:
    sides = text.split(",")
    if len(sides) != 2 or not all(side.strip() == "*" or side.strip().isdecimal() for side in sides):
        raise ValueError(f"--window {text!r}: give the keys seen before and after a query's own, as 256,0, or * for no bound")
    left, right = (None if side.strip() == "*" else int(side) for side in sides)
    return left, right


def _save(comparisons: Sequence[Comparison], path: Path, *, quiet: bool) -> None:
    from ..plots import save, traffic_figure  # noqa: PLC0415 - matplotlib loads when a figure is asked for

    save(traffic_figure(list(comparisons)), path)
    if not quiet:
        typer.echo(f"figure: {path}")
