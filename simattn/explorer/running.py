"""The running output of an online softmax: what O would be, were the keys that were seen so far all there are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array
from ..hierarchy.trace import Step

COLUMNS = 16  # of the first row that are shown


class Running:
    """Of a thread block that stores a quotient to an output: numerator over denominator, each time that one of them changes.

    at: the first row by position, when it changed. final: what is stored.
    """

    def __init__(self, steps: Sequence[Step], outputs: Sequence[str]) -> None:
        self.at: dict[int, list[Any]] = {}
        self.final: list[Any] | None = None
        stores = [step for step in steps if step.kind == "store" and step.array in outputs]
        if not stores or steps[0].values is None:
            return
        quotient = steps[stores[0].reads[0]]
        while quotient.operation == "astype":
            quotient = steps[quotient.reads[0]]
        if quotient.operation not in ("divide", "true_divide") or len(quotient.reads) != 2 or quotient.values is None:
            return
        over, under = (self._name(steps, steps[k]) for k in quotient.reads)
        self.final = _row(quotient.values)
        numerator: Array | None = None
        denominator: Array | None = None
        for step in steps[: quotient.position]:
            if step.tile == over:
                numerator = step.values
            elif step.tile == under:
                denominator = step.values
            else:
                continue
            if numerator is not None and denominator is not None:
                row = np.asarray(numerator[0], np.float64) / np.maximum(np.asarray(denominator[0], np.float64), 1e-30)
                self.at[step.position] = _row(row[None])

    @staticmethod
    def _name(steps: Sequence[Step], step: Step) -> str | None:
        """The name of a tile, or of the first named one that it was made of."""
        while step.tile is None and step.reads:
            step = steps[step.reads[0]]
        return step.tile


def _row(x: Array) -> list[Any]:
    rounded = (float(f"{float(v):.4g}") for v in x[0, :COLUMNS])
    return [v if np.isfinite(v) else None for v in rounded]
