"""The verdict: exact, not exact or undecided, by element, against what rounding explains in what the run rounded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array
from .bound import Bound, Moments
from .gradient_bound import GradientBound
from .rounding import Rounding, unit
from .truth import Gradients, Truth, difference

TIMES = 2  # as often the bound an error may be: the analysis is of first order
SMALL = 0.5  # of a row's size: a bound beyond it would admit zeros


@dataclass(frozen=True)
class Judgement:
    """What a run's error says of its algorithm.

    exact: None where undecided. verdict: "exact", "not exact" or "undecided". resolution: the largest bound over the elements, in the
    unit of the outputs; a fault beyond it is never called exact. error_over_bound: the largest error over its element's bound, and
    where: 'O[0, 3, 17, 5]', 'lse[0, 3, 17]' or 'dK[...]'. why: a sentence with the bound that decided.
    """

    exact: bool | None
    verdict: str
    resolution: float
    error_over_bound: float
    where: str
    why: str


@dataclass(frozen=True)
class _Found:
    """One output against its bound: where it is the furthest off in the measure of that bound, and whether it is off for certain."""

    ratio: float
    where: str
    error: float
    bound: float
    beyond: bool
    vague: str | None
    resolution: float


def judge(O: Array, lse: Array | None, truth: Truth, moments: Moments, rounding: Rounding) -> Judgement:
    """The verdict on an output, of the truth's shape, and on its lse, of a run that rounded so."""
    found = [_held("O", O, truth.O, moments.output(truth.O, rounding))]
    if lse is not None:
        found.append(_held("lse", lse, truth.lse, moments.lse(truth.lse, rounding, unit(lse.dtype))))
    return _judgement(found, moments.leaves_range(rounding, truth.O), rounding.said(moments.units))


def judge_gradients(outputs: Mapping[str, Array], truth: Gradients, bound: GradientBound, rounding: Rounding) -> Judgement:
    """The verdict on dQ, dK and dV of a pass that rounded so."""
    found = [_held(name, outputs[name], getattr(truth, name), of) for name, of in bound.bounds(truth, rounding.again).items()]
    return _judgement(found, bound.leaves_range(truth), rounding.said(bound.units))


def _held(name: str, x: Array, truth: Array, bound: Bound) -> _Found:
    """An output against its bound. What is infinite or NaN where the truth is not is off for certain."""
    off = difference(x, truth).astype(np.float64)
    off = np.where(np.isnan(off), np.inf, off)
    likely, worst = TIMES * bound.likely, TIMES * bound.worst
    with np.errstate(all="ignore"):
        ratio = np.where(off == 0, 0, off / likely)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        most, size = (y if name == "lse" else y.max(axis=-1) for y in (likely, bound.size))
        relative = np.nan_to_num(np.where(most == 0, 0, most / size), nan=np.inf, posinf=np.inf)
    at = np.unravel_index(int(ratio.argmax()), ratio.shape)
    row = np.unravel_index(int(relative.argmax()), relative.shape)
    vague = None if relative[row] <= SMALL else f"{_at(name, row)}: its bound, {most[row]:.1e}, is {_share(relative[row])}"
    return _Found(
        float(ratio[at]), _at(name, at), float(off[at]), float(likely[at]), bool((off > worst).any() or np.isinf(off).any()), vague,
        0.0 if name == "lse" else float(likely.max()),
    )  # fmt: skip


def _judgement(found: list[_Found], out: str | None, rounded: str) -> Judgement:
    worst, resolution = max(found, key=lambda f: f.ratio), max(f.resolution for f in found)
    said = f"{worst.where} errs by {worst.error:.1e}, {worst.ratio:.2g} of the {worst.bound:.1e} that rounding explains there ({rounded})"
    vague = next((f.vague for f in found if f.vague), None)
    exact: bool | None = None
    if out is not None:
        said = out
    elif any(f.beyond for f in found):
        exact = False
    elif worst.ratio > 1:
        said += ", but not more than it could at worst"
    elif vague is not None:
        said = f"{vague} ({rounded})"
    else:
        exact = True
    verdict = "undecided" if exact is None else "exact" if exact else "not exact"
    return Judgement(exact, verdict, resolution, worst.ratio, worst.where, said)


def _at(name: str, at: Any) -> str:
    return f"{name}[{', '.join(str(int(i)) for i in at)}]"


def _share(x: float) -> str:
    return f"{x:.2g} times the row's own size" if math.isfinite(x) else "beyond the row's own size"
