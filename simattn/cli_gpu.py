"""The command line's other half: `simattn gpu kernels`, `compare`, `profile`, `fidelity` and `report`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import gpu
from .analysis.fidelity import fidelity, loaded
from .analysis.inputs import Workload, draw
from .gpu.catalogue import KERNELS
from .hierarchy.dtypes import storage_type
from .show.console import show
from .show.progress import Patient

app = typer.Typer(no_args_is_help=True, help="Real kernels and hardware counters, beside the simulator.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Kernels = Annotated[
    str | None, typer.Option("--kernels", help="Names, separated by commas. [default: all of `simattn gpu kernels`]")
]
Batch = Annotated[int, typer.Option(min=1)]
Heads = Annotated[int, typer.Option(min=1, help="Heads of queries.")]
KvHeads = Annotated[int | None, typer.Option(min=1, help="Heads of keys and values. [default: as many]")]
N = Annotated[int, typer.Option("--n", min=1, help="Keys, and queries unless --n-q is given.")]
Nq = Annotated[int | None, typer.Option("--n-q", min=1, help="Queries.")]
D = Annotated[int, typer.Option("--d", min=1, help="Width of a head.")]
Dtype = Annotated[str, typer.Option(help="float16, bfloat16, float32 or float64.")]
Causal = Annotated[bool, typer.Option("--causal", help="The last query sees the last key, each before it one less.")]
IsBackward = Annotated[bool, typer.Option("--backward", help="The backward pass.")]


@app.command("kernels")
def kernels_command(json_: Json = False) -> None:
    """List the kernels that simattn knows, and why this machine cannot run the others."""
    found = gpu.kernels()
    if json_:
        typer.echo(json.dumps({"kernels": [vars(k) for k in found]}))
    else:
        for k in found:
            typer.echo(f"{k.name:16} {k.title:36} {'here' if k.why_not is None else k.why_not}")


@app.command("compare")
def compare_command(
    kernels: Kernels = None, batch: Batch = 1, heads: Heads = 16, kv_heads: KvHeads = None, n: N = 1024, n_q: Nq = None, d: D = 64,
    dtype: Dtype = "float16", causal: Causal = False, backward: IsBackward = False, seed: Annotated[int, typer.Option(min=0)] = 0,
    json_: Json = False,
) -> None:  # fmt: skip
    """Run real kernels on one workload: what the simulator counts beside what the hardware counted, time, and the error against float64.

    The counts stand also where torch, a GPU or the hardware counters are missing; then the rest says what is missing.
    """
    w = _workload(batch, heads, kv_heads, n, n_q, d, dtype, causal=causal, backward=backward)
    names = _names(kernels)
    with Patient(len(names) + 2, Console(stderr=True, quiet=json_)) as progress:
        done = gpu.compare(*draw(w, seed), names, causal=causal, backward=backward, progress=progress)
    if json_:
        typer.echo(json.dumps(done.to_dict(), allow_nan=False))
    else:
        show(done)


@app.command("profile")
def profile_command(
    kernels: Kernels = None, batch: Batch = 1, heads: Heads = 16, kv_heads: KvHeads = None, n: N = 1024, n_q: Nq = None, d: D = 64,
    dtype: Dtype = "float16", causal: Causal = False, backward: IsBackward = False, json_: Json = False,
) -> None:  # fmt: skip
    """Read the hardware counters of every kernel that a call launches, by Nsight Compute in a child process."""
    w = _workload(batch, heads, kv_heads, n, n_q, d, dtype, causal=causal, backward=backward)
    names = _names(kernels)
    found = dict(zip(names, gpu.profile([(w, name) for name in names]), strict=True))
    if json_:
        said = {name: {"kernels": [vars(k) for k in p.kernels], "why_not": p.why_not} for name, p in found.items()}
        typer.echo(json.dumps({"workload": vars(w), "profiles": said}))
        return
    for name, p in found.items():
        typer.echo(f"{name}: {p.why_not or ''}")
        for k in p.kernels:
            typer.echo(f"  {k.ns / 1e6:9.4f} ms  L2 to SM {k.sm_read:>15,} B  SM to L2 {k.sm_write:>14,} B  L2 looked up {k.l2_read:>15,} B  "
                       f"DRAM {k.dram_read:>14,} + {k.dram_write:,} B  {k.name:.60}")  # fmt: skip


@app.command("fidelity")
def fidelity_command(
    output: Annotated[Path, typer.Option(help="Where the measurements go, as JSON.")],
    seconds: Annotated[float, typer.Option(min=1, help="For the hardware counters; workloads beyond are timed only.")] = 1800,
) -> None:
    """Measure the whole grid of workloads on this GPU: some ten minutes. `simattn gpu report` makes the page of it.

    Where the file is there, what it lacks is measured; what it holds of the same device and versions stays.
    """
    if not gpu.has_cuda():
        raise gpu.Unavailable("the grid is measured on a CUDA GPU, and torch sees none here")
    if not output.parent.is_dir():
        raise ValueError(f"--output {output}: there is no folder {output.parent}")
    jobs, known = gpu.grid(), loaded(output) if output.exists() else None
    part = output.with_name(f"{output.name}.part")
    part.touch()  # says now, and not in ten minutes, if it cannot be written
    try:
        with Patient(len(jobs) + 1, Console(stderr=True)) as progress:
            measured = gpu.measure_grid(jobs, progress, seconds=seconds, known=known)
        part.write_text(dumped(measured), encoding="utf-8")
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def dumped(measured: dict[str, Any]) -> str:
    """JSON with a line a row, so that a new measurement is a readable change."""
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in measured["rows"])
    return f'{{"measured_with": {json.dumps(measured["measured_with"])},\n"rows": [\n{rows}\n]}}\n'


@app.command("report")
def report_command(
    measured: Annotated[Path, typer.Argument(help="What `simattn gpu fidelity` wrote.")],
    figure: Annotated[Path | None, typer.Option(help="Write the figure of the report, too: .png, .pdf or .svg.")] = None,
) -> None:
    """Print the page docs/fidelity.md from measurements: the simulator's counts beside the hardware's."""
    from .show.fidelity_page import report  # noqa: PLC0415 - only this command needs its text

    done = fidelity(loaded(measured))
    if figure is not None:
        from .show.plots import fidelity_figure, save  # noqa: PLC0415 - matplotlib loads when a figure is asked for

        save(fidelity_figure(done), figure)
    typer.echo(report(done), nl=False)


def _names(kernels: str | None) -> list[str]:
    names = list(KERNELS) if kernels is None else [name.strip() for name in kernels.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--kernels {kernels!r}: name at least one of {', '.join(KERNELS)}")
    return names


def _workload(
    batch: int, heads: int, kv_heads: int | None, n: int, n_q: int | None, d: int, dtype: str, *, causal: bool, backward: bool
) -> Workload:  # fmt: skip
    w = Workload(batch, heads, kv_heads or heads, n_q or n, n, d, storage_type(dtype).name, causal, backward)
    if w.heads % w.kv_heads:
        raise ValueError(f"--heads {w.heads} cannot share --kv-heads {w.kv_heads} evenly")
    return w
