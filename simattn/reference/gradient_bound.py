"""What rounding can do to each element of dQ, dK and dV, given how far the O and lse of the forward pass are off.

The weights p = exp(s − lse) carry the error of the scores and of the lse that was given; D = rowsum(dO ∘ O) that of O; and
dS = p(dP − D) both. They are summed over keys for dQ and over queries for dK and dV. A pass that reads P has its D from P and dP.
"""

from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array
from ..score_options import ScoreOptions
from .bound import FACTOR, NOTHING, Bound, Moments, epsilon
from .rounding import Rounding, Units, largest
from .strips import Strip, scale_of


class _Sums:
    """Of one gradient, by element: errors that add up, the variance of those that do not, these at worst, and magnitudes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.base, self.variance, self.worst, self.summed, self.weighed = (np.zeros(shape) for _ in range(5))

    def bound(self, x: Array, units: Units, terms: int, alike: float, again: Any = 0) -> Bound:
        """Of a gradient x that sums so many terms, which may be rounded alike by that share, and is stored again so often."""
        x, u = np.abs(x).astype(np.float64), units.narrow * units.u_s
        base = self.base + 2 * (FACTOR * np.sqrt(terms) + 8) * units.u_acc * self.summed + units.u_s * x + (1 + again) * units.eta_s
        likely = base + alike * x + FACTOR * np.sqrt(self.variance + again * u**2 * (x**2 + self.weighed))
        worst = np.maximum(base + alike * x + self.worst + again * u * self.summed, likely)
        likely, worst = (np.where(self.base == 0, 0, np.where(np.isnan(b), np.inf, b)) for b in (likely, worst))
        size = np.maximum(x, np.sqrt(self.weighed))
        return Bound(likely, worst, np.maximum(size, np.sqrt((size**2).mean(axis=(2, 3), keepdims=True))))  # or that of its head


class GradientBound:
    """The bounds of backward passes that rounded so. off_lse, off_D (batch, heads, n_q): by how much the forward pass's are off.

    arrays: Q, K, V and dO.
    """

    def __init__(
        self, rounding: Rounding, moments: Moments, arrays: tuple[Array, ...], off_lse: Array, off_D: Array, options: ScoreOptions
    ) -> None:  # fmt: skip
        self.rounding, self.moments, self.units = rounding, moments, moments.units
        self._q, self._k, self._v, self._do = (np.asarray(x, np.float64) for x in arrays)
        self._off_lse, self._off_D = off_lse.astype(np.float64), off_D.astype(np.float64)
        self._scale, self._cap = abs(scale_of(self._q.shape[3], options.scale)), options.softcap
        self._sums = {name: _Sums(x.shape) for name, x in zip(("dQ", "dK", "dV"), arrays, strict=False)}
        self.most = 0.0  # the largest dP or dS

    def add(self, s: Strip, dP: Array, dX: Array) -> None:
        """Rows of one head, with the gradients of their weights and of their products."""
        units, R, at = self.units, self.rounding, (*s.head, s.rows)
        u, narrow = units.u_acc, float(units.narrow)
        u_s, u_z, eta_z = narrow * units.u_s, narrow * units.u_z, narrow * units.eta_z
        with np.errstate(all="ignore"):
            p, kept, fade = (np.asarray(x, np.float64) for x in (s.P, s.kept, s.fade))
            dP, dX = dP.astype(np.float64), np.abs(dX).astype(np.float64)
            self.most = max(self.most, float(np.abs(dP).max()), float(dX.max()))
            g, q = (np.abs(x[at]) for x in (self._do, self._q))
            k, v = (np.abs(x[s.kv_head][s.keys]) for x in (self._k, self._v))
            eps, _ = epsilon(s, self._q, self._k, u, self._scale, self._cap, np.float64)
            eps = np.where(p > 0, eps + R.exponential, 0)
            n, D = self.moments.seen[at][:, None], (p * dP).sum(axis=1, keepdims=True)
            rows = (p * np.expm1(eps)).sum(axis=1, keepdims=True) + self._off_lse[at][:, None]
            rows += u * (np.abs(np.where(np.isfinite(s.lse), s.lse, 0)).astype(np.float64)[:, None] + FACTOR * np.sqrt(n) + 14)
            magnitude = np.maximum(np.abs(s.scores), np.abs(s.X) * fade).astype(np.float64)
            sigma = np.where(p > 0, narrow * (u_z * magnitude + eta_z), 0)
            p_sigma = R.scores * (p * sigma).sum(axis=1, keepdims=True)
            p_sigma2 = R.scores * (p * p * sigma * sigma).sum(axis=1, keepdims=True)
            share = np.where(rows + p_sigma <= NOTHING, np.expm1(eps + rows), np.nan)  # of a weight; beyond, it says nothing
            var = R.scores * sigma**2 + p_sigma2 + R.weights * u_z**2 + u_s**2
            lin = R.scores * sigma + p_sigma + R.weights * u_z + u_s

            pk, G = p * kept, (g @ v.T) * kept
            dV = self._sums["dV"]
            lost = narrow * (units.eta_s + eta_z * bool(R.weights)) * kept * s.seen
            _into(dV, (*s.kv_head, s.keys), (pk * share + lost).T, pk.T, (pk * pk * var).T, (pk * lin).T, (pk * pk).T, g)

            off_dP = u * (v.shape[1] + 3) * G + R.gradients * eta_z * kept
            stored = R.gradients * u_z * np.abs(dP)
            if R.weights:
                base_D = (p * (np.abs(dP) * share + off_dP)).sum(axis=1, keepdims=True)
                base_D += 2 * (FACTOR * np.sqrt(n) + 8) * u * (p * np.abs(dP)).sum(axis=1, keepdims=True)
            else:
                base_D = self._off_D[at][:, None] + 2 * u * (v.shape[1] + 4) * (p * G).sum(axis=1, keepdims=True)
            in_D = bool(R.weights) * p * np.abs(dP)
            var_D = ((in_D**2) * (var + R.gradients * u_z**2)).sum(axis=1, keepdims=True)
            worst_D = (in_D * (lin + R.gradients * u_z)).sum(axis=1, keepdims=True)

            slope = fade * self._scale
            bent = 0 if self._cap is None else self._scale * (8 * u + 2 * fade / self._cap * eps)
            steep = slope + bent  # as the run may have it, where the slope itself all but vanishes
            base = dX * (share + 6 * u) + p * steep * (off_dP + base_D) + p * np.abs(dP - D) * bent
            base += (narrow * units.eta_s + R.gradients * eta_z + bool(R.weights) * eta_z * steep * np.abs(dP - D)) * s.seen
            variance = dX**2 * (var + R.gradients * u_z**2) + (p * steep) ** 2 * R.gradients * (u_z * dP) ** 2
            worst = dX * (lin + R.gradients * u_z) + p * steep * (stored + worst_D)
            row = FACTOR * (p * steep * np.sqrt(var_D) + dX * np.sqrt(p_sigma2))  # alike in a row, so they add up over its keys
            size = (p * slope) ** 2 * (dP**2 + D**2)  # before they cancel: with one key they do, whatever they are
            _into(self._sums["dQ"], at, base + row, dX, variance, worst, size, k)
            _into(
                self._sums["dK"], (*s.kv_head, s.keys), base.T, dX.T, (variance + (p * steep) ** 2 * var_D).T, worst.T, size.T, q
            )  # fmt: skip

    def leaves_range(self, truth: Any) -> str | None:
        """What exceeds a type that the run holds it in; None if nothing does."""
        units, most = self.units, self.most
        outputs = np.concatenate([np.ravel(x) for x in vars(truth).values()])
        if self.rounding.gradients and most > largest(units.scores):
            return f"gradients of up to {most:.1e} leave the range of {units.scores.name}, in which this run stores them"
        return self.moments.leaves_range(self.rounding, outputs)

    def bounds(self, truth: Any, again: float) -> dict[str, Bound]:
        """By the name of each gradient, of a pass that stored dQ again so often."""
        units, R = self.units, self.rounding
        alike = units.narrow * (units.u_s + (R.gradients + R.weights) * units.u_z)
        rows = self._q.shape[2] * (self._q.shape[1] // self._k.shape[1])
        with np.errstate(all="ignore"):
            dQ = self._sums["dQ"].bound(truth.dQ, units, self._k.shape[2], alike, self.moments.stored_again(again)[..., None])
            return {"dQ": dQ} | {x: self._sums[x].bound(getattr(truth, x), units, rows, alike) for x in ("dK", "dV")}


def _into(sums: _Sums, at: Any, base: Array, x: Array, variance: Array, worst: Array, size: Array, by: Array) -> None:
    """Add the products of (r, c) terms with the magnitudes `by` (c, d) to the sums of those rows."""
    square = by * by
    sums.base[at] += base @ by
    sums.summed[at] += x @ by
    sums.variance[at] += variance @ square
    sums.worst[at] += worst @ by
    sums.weighed[at] += size @ square
