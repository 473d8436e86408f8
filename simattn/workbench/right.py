"""Outputs against the truth, element by element: the first that is wrong, and what the wrong ones have in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array
from ..hierarchy.run import Run
from .hidden import Hidden

ROOM = 8  # times the largest rounding error of the reference
UNITS = 64  # of rounding, in the size of the output, where there is no reference that rounds


def wrong(
    run: Run, truth: Mapping[str, Any], rounded: Mapping[str, Array] | None, x: Hidden, *, every: bool = False
) -> str | None:  # fmt: skip
    """What is wrong with a run's outputs, in a sentence; None where they are right.

    truth: by name, the first also for an output of another name. rounded: the reference's in the type of the run. every: each must be
    there by name; else only the first must, and others are compared where names agree.
    """
    missing = [name for name in truth if name not in run.outputs]
    if every and missing:
        return (
            f"it returns {', '.join(run.outputs)}, but not {', '.join(missing)}: name them, as gpu.empty(..., name='{missing[0]}')"
        )
    for i, (name, right) in enumerate(truth.items()):
        found = run.outputs.get(name, run.output if i == 0 else None)
        if found is None:
            continue
        fault = _wrong(
            name if rounded is not None else "the output", found, np.asarray(right), None if rounded is None else rounded[name], x
        )
        if fault:
            return fault
    return None


def _wrong(name: str, found: Array, right: Array, rounded: Array | None, x: Hidden) -> str | None:
    if found.shape != right.shape:
        return f"the output has shape {found.shape}, not {right.shape}: give gpu.empty the shape of {name}".replace(
            "the shape of the output", "that shape"
        )
    if rounded is not None and found.dtype != rounded.dtype:
        return f"{name} has type {found.dtype}, not {rounded.dtype}: give gpu.empty its dtype, or the inputs' by leaving it out"
    size = float(np.abs(right[np.isfinite(right)]).max(initial=0)) or 1.0
    rounding = 0.0 if rounded is None else float(np.nan_to_num(np.abs(rounded.astype(np.float64) - right)).max(initial=0))
    kind = next(iter(x.arrays.values())).dtype
    unit = 2.0**-52 if kind == np.float64 else 2.0**-23
    narrow = 0.0 if rounded is not None or kind.itemsize > 2 else size * 2.0**-8
    off = np.abs(found.astype(np.float64) - right)
    off = np.where((found == right) | (np.isnan(right) & np.isnan(found.astype(np.float64))), 0, off)
    bad = ~(off <= ROOM * rounding + UNITS * unit * size + narrow)
    if not bad.any():
        return None
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    said = (
        f"{name}{list(at)} is {float(found[at]):.6g}, expected {float(right[at]):.6g}; {bad.mean():.0%} of the elements are wrong"
    )
    return said + _pattern(bad, found, x.blocks.get("Br"))


def _pattern(bad: Array, found: Array, Br: int | None) -> str:
    """What the wrong elements have in common."""
    if np.isnan(found.astype(np.float64)).any():
        return ". NaN comes from −∞ − (−∞), from 0/0, or from what was never computed"
    rows = np.asarray(bad.reshape(-1, *bad.shape[-2:]).any(axis=(0, 2)))
    n = len(rows)
    if Br and n % Br and rows[n // Br * Br :].any() and not rows[: n // Br * Br].any():
        return f". Only the last block of rows, {n // Br * Br}:{n}, is wrong, which is not full"
    if rows.all():
        return ""
    return f". {int((~rows).sum())} of {n} rows are right, the first of them row {int(np.flatnonzero(~rows)[0])}"
