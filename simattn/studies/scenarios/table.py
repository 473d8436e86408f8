"""The table of a scenario: ways to run it side by side, whole runs by closed form."""

from rich.console import Group
from rich.text import Text

from ...text.layout import Columns
from ...text.units import bytes_text, count_text, ratio_text
from .result import Check, Played, Row

CACHE = ("cache at\nthe end", "cache\na token")
FREE = "–"


def scenario_table(played: Played) -> Group:
    """One row a way: the whole run's traffic, its ratio to the first row, caches, memory, FLOPs. Below, what was executed."""
    s = played.scenario
    table = Columns(_title(played), "by closed form,\nthe whole run")
    table.numbers(
        "HBM\nread", "HBM\nwritten", "HBM\n÷ first", *(() if s.trains else CACHE), "HBM held\nat most", "matmul\nFLOP", "HBM\na token", "FLOP\na byte",
    )  # fmt: skip
    for row in played.rows:
        table.add_row(row.way.name, *_cells(row, played.rows[0].moved, caches=not s.trains))
    failures = [Text(f"{row.way.name}: {row.failure}", style="red") for row in played.rows if row.failure]
    return Group(table, *failures, *(Text(note, style="dim") for note in _notes(played)), _executed(played.check))


def _cells(row: Row, first: int | None, *, caches: bool) -> list[str | Text]:
    total, caching = row.total, [bytes_text(row.way.cache), bytes_text(row.way.a_token)] if caches else []
    if total is None or row.moved is None or row.held is None:
        return ["", "", "", *caching, Text("does not fit", style="red"), "", "", ""]
    return [
        bytes_text(total.hbm_read),
        bytes_text(total.hbm_write),
        ratio_text(row.moved / first) if first else FREE,
        *caching,
        Text(bytes_text(row.held), style="red" if row.failure else ""),
        count_text(total.matmul_flops),
        bytes_text(row.a_token or 0),
        f"{row.intensity or 0:,.1f}",
    ]


def _title(played: Played) -> str:
    s, m, gpu = played.scenario, played.scenario.model, played.machine
    heads = f"{m.heads} heads" + (f" on {m.kv_heads} KV heads" if m.kv_heads != m.heads else "")
    widths = f"d = {m.d}" + (f", values of {m.d_v}" if m.d_v != m.d else "")
    latent = "" if m.latent is None else f", latent of {m.latent[0]} + {m.latent[1]}"
    dropout = f", dropout {m.dropout}" if s.trains and m.dropout else ""
    layers = "1 layer" if m.layers == 1 else f"{m.layers} layers"
    return (
        f"{s.name}: {s}\n{m.name}: {layers}, {heads}, {widths}{latent}, {m.dtype}, causal{dropout}\n({m.source})\n"
        f"{gpu.title or gpu.name}, SRAM over HBM"
    )


def _notes(played: Played) -> list[str]:
    s, gpu = played.scenario, played.machine
    if s.trains:
        notes = [
            "held at most: Q, K, V, O, lse and stored weights of all layers, and gradients and scratch of the layer at work",
            "flash2 adds dQ by atomics in float32, each an HBM read and write here; on a GPU they end in L2",
            "attention only: no weights, projections or MLPs",
        ]
    else:
        notes = [
            "held at most: the KV caches of all layers, and Q, K, V, O and scratch of the layer at work",
            "cache: keys and values of all layers and sequences, and of a token of one; HBM a token: a generated one, by its step",
            "attention only: no weights, projections or MLPs; a model without a cache repeats those, too",
        ]
    if not s.trains and s.model.latent:
        notes.append(
            "the projections uncounted here: to keys and values of all tokens, before flash2; into queries and outputs, around mla"
        )
    if gpu.hbm_bandwidth and "float16" in gpu.flops:
        balance = gpu.flops["float16"] / gpu.hbm_bandwidth
        notes.append(
            f"FLOP a byte: of {balance:,.0f}, HBM keeps up with this GPU's dense float16 FLOP/s; of fewer, HBM is the limit"
        )
    return notes


def _executed(check: Check) -> Text:
    heads = "1 head" if check.scenario.model.heads == 1 else f"{check.scenario.model.heads} heads"
    what = f"executed on the machine: {check.runs} runs, 1 layer of {heads}, {check.scenario}"
    if check.unequal:
        return Text(f"{what}: NOT equal to the closed form: {', '.join(check.unequal)}", style="red")
    return Text(f"{what}: every count equals its closed form", style="green")
