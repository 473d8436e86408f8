"""Guided tours: stops at steps of a run, with a sentence each, into which the run's own numbers go."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

from ..hierarchy.counts import COUNTS
from ..text.units import bytes_text
from .panel import KINDS, Row

READ, WRITTEN = COUNTS.index("hbm_read"), COUNTS.index("hbm_write")
Plain = Mapping[str, Any]


def tours() -> list[dict[str, Any]]:
    """Every tour, as it is written."""
    text = files(__package__).joinpath("tours.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["tour"]
    return found


def tour(panels: Sequence[Plain]) -> list[dict[str, Any]]:
    """The stops for these runs, in order; none where no tour is written for them. A stop that one of them has no step for is left out."""
    algorithms = [panel["algorithm"] for panel in panels]
    stops: list[dict[str, Any]] = next((each["stops"] for each in tours() if each["algorithms"] == algorithms), [])
    found = []
    for stop in stops:
        steps = [None if "beside" in at else find(panel, at) for panel, at in zip(panels, stop["at"], strict=True)]
        if {"beside": True} in stop["at"] and steps[-1] is not None:
            steps[0] = _beside(panels[0], sum(totals(panels[1], steps[-1])[: WRITTEN + 1]))
        if None not in steps:
            known = {name: _known(panel, step) for name, panel, step in zip("ab", panels, steps, strict=False) if step is not None}
            found.append({"text": stop["text"].format(**known), "steps": steps})
    return found


def find(panel: Plain, at: Mapping[str, Any]) -> int | None:
    """The first step that has all that `at` says, or the nth, or the last; None where there is none."""
    wanted = {name: value for name, value in at.items() if name not in ("nth", "last")}
    found = []
    for block in panel["blocks"]:
        for k in range(block["first"], block["first"] + block["length"]):
            row = Row(*panel["steps"][k])
            has = {
                "kernel": panel["kernels"][block["kernel"]], "kind": KINDS[row.kind], "operation": panel["operations"][row.operation],
                "array": None if row.box is None else panel["arrays"][row.box[0]]["name"], "tile": panel["tiles"][row.tile],
            }  # fmt: skip
            if all(has[name] == value for name, value in wanted.items()):
                found.append(k)
    nth = -1 if at.get("last") else at.get("nth", 0)
    return found[nth] if found and nth < len(found) else None


def totals(panel: Plain, step: int) -> list[int]:
    """The counts of a run that stands at a step."""
    block = next(b for b in panel["blocks"] if b["first"] <= step < b["first"] + b["length"])
    rows = [Row(*row) for row in panel["steps"][block["first"] : step + 1]]
    return [n + block["heads"] * sum(row.counts[k] for row in rows) for k, n in enumerate(block["base"])]


def _beside(panel: Plain, moved: int) -> int:
    """Where a run stands before it has moved more bytes than that."""
    return max((k for k, after in enumerate(moved_after(panel)) if after <= moved), default=0)


def moved_after(panel: Plain) -> list[int]:
    """The bytes that a run has moved by HBM after each step."""
    found: list[int] = []
    for block in panel["blocks"]:
        moved = sum(block["base"][: WRITTEN + 1])
        for row in panel["steps"][block["first"] : block["first"] + block["length"]]:
            moved += block["heads"] * sum(Row(*row).counts[: WRITTEN + 1])
            found.append(moved)
    return found


def _known(panel: Plain, step: int) -> SimpleNamespace:
    """What a sentence may say of a run that stands at a step."""
    rows, counted = [Row(*row) for row in panel["steps"][: step + 1]], totals(panel, step)
    return SimpleNamespace(
        read=bytes_text(counted[READ]), written=bytes_text(counted[WRITTEN]), moved=bytes_text(counted[READ] + counted[WRITTEN]),
        live=bytes_text(rows[-1].sram), peak=bytes_text(max(row.sram for row in rows)),
        total=bytes_text(panel["total"][READ] + panel["total"][WRITTEN]), capacity=bytes_text(panel["machine"]["sram"]),
    )  # fmt: skip
