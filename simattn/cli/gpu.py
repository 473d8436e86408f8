"""`simattn gpu kernels`, `compare` and `profile`."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from .. import gpu
from ..gpu.catalogue import KERNELS
from ..text.ascii import fitting
from ..text.console import show
from ..text.patient import Patient
from ..workbench.inputs import draw
from ..workbench.work import UNLIMITED, estimate
from . import fidelity
from .options import Causal, Json, KvHeads, Nq, Seed, echo_json, names, whole, workload
from .work import accepted

app = typer.Typer(rich_markup_mode=None, help="Real kernels and hardware counters, beside the simulator.")

Kernels = Annotated[
    str | None, typer.Option("--kernels", help="Names, separated by commas. [default: all of `simattn gpu kernels`]")
]
Batch = Annotated[int, whole()]
Heads = Annotated[int, whole(help="Heads of queries.")]
N = Annotated[int, whole("--n", help="Keys, and queries unless --n-q is given.")]
D = Annotated[int, whole("--d", help="Width of a head.")]
Dtype = Annotated[str, typer.Option(help="float16, bfloat16, float32 or float64.")]
IsBackward = Annotated[bool, typer.Option("--backward", help="The backward pass.")]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("kernels")
def kernels_command(json_: Json = False) -> None:
    """List the kernels that simattn knows, and why this machine cannot run the others."""
    found = gpu.kernels()
    if json_:
        echo_json({"kernels": [vars(k) for k in found]})
    else:
        for k in found:
            typer.echo(fitting(f"{k.name:16} {k.title:36} {'here' if k.why_not is None else k.why_not}", sys.stdout))


@app.command("compare")
def compare_command(
    kernels: Kernels = None, batch: Batch = 1, heads: Heads = 16, kv_heads: KvHeads = None, n: N = 1024, n_q: Nq = None, d: D = 64,
    dtype: Dtype = "float16", causal: Causal = False, backward: IsBackward = False, seed: Seed = 0,
    json_: Json = False,
) -> None:  # fmt: skip
    """Run real kernels on one workload: what the simulator counts beside what the hardware counted, time, and the error against float64.

    The counts stand also where torch, a GPU or the hardware counters are missing; then the rest says what is missing.
    """
    w = workload(batch, heads, kv_heads, n, n_q, d, dtype, causal=causal, backward=backward)
    chosen = _chosen(kernels)
    accepted([estimate([], w, UNLIMITED, backward=backward)])
    with Patient(len(chosen) + 2, Console(stderr=True, quiet=json_)) as progress:
        done = gpu.compare(*draw(w, seed), chosen, causal=causal, backward=backward, progress=progress)
    if json_:
        echo_json(done.to_dict())
    else:
        show(done)


@app.command("profile")
def profile_command(
    kernels: Kernels = None, batch: Batch = 1, heads: Heads = 16, kv_heads: KvHeads = None, n: N = 1024, n_q: Nq = None, d: D = 64,
    dtype: Dtype = "float16", causal: Causal = False, backward: IsBackward = False, json_: Json = False,
) -> None:  # fmt: skip
    """Read the hardware counters of every kernel that a call launches, by Nsight Compute in a child process."""
    w = workload(batch, heads, kv_heads, n, n_q, d, dtype, causal=causal, backward=backward)
    chosen = _chosen(kernels)
    found = dict(zip(chosen, gpu.profile([(w, name) for name in chosen]), strict=True))
    if json_:
        said = {name: {"kernels": [vars(k) for k in p.kernels], "why_not": p.why_not} for name, p in found.items()}
        echo_json({"workload": w.to_dict(), "profiles": said})
        return
    for name, p in found.items():
        typer.echo(f"{name}: {p.why_not or ''}")
        for k in p.kernels:
            moved = f"L2 to SM {k.sm_read:>15,} B  SM to L2 {k.sm_write:>14,} B  L2 looked up {k.l2_read:>15,} B"
            typer.echo(f"  {k.ns / 1e6:9.4f} ms  {moved}  DRAM {k.dram_read:>14,} + {k.dram_write:,} B  {k.name:.60}")


def _chosen(kernels: str | None) -> list[str]:
    return list(KERNELS) if kernels is None else names("--kernels", kernels, KERNELS)


app.command("fidelity")(fidelity.command)
app.command("report")(fidelity.report_command)
