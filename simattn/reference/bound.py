"""What rounding can do to each element of O and each lse: an error analysis to first order, from the float64 truth.

For a row: scores s, weights p, values v, o = pV. Accumulation in the type of unit u changes a score by at most
ε = u·(|c|·(d + 3)·|q|·|k| + 2|s| + |bias| + (m − s) + 6): the product, scale, bias, and exp(s − m). Storing it narrowly changes
it by σ, casting or storing a weight changes it by a share of ρ. What ε does adds up in the worst case; σ and ρ do so in the worst
case, too, and likely in quadrature, with a common part (all weights equal) that does not average out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array
from ..score_options import ScoreOptions
from .rounding import Rounding, Units, largest
from .strips import Strip, scale_of

FACTOR = 3  # units of roundoff, in quadrature, that are likely: √3·3, about 5, standard deviations of a rounding
NOTHING = 0.4  # the share of a row's weight that rounding may move to its other keys, beyond which its scores say nothing


@dataclass(frozen=True)
class Bound:
    """How far a right result may be from the truth, likely and at worst, and the size below which it says nothing; of one shape."""

    likely: Array
    worst: Array
    size: Array


class Moments:
    """Sums over the keys of each row, gathered strip by strip, of which the bounds of any algorithm are made."""

    def __init__(self, units: Units, q: Array, k: Array, v: Array, options: ScoreOptions) -> None:
        self.units, self._q, self._k, self._v = units, q, k, v
        kind = np.float64 if units.acc.itemsize == 8 else np.float32
        self._kind, self._scale, self._cap = kind, abs(scale_of(q.shape[3], options.scale)), options.softcap
        self._kept = 1 / (1 - options.dropout)
        shape = (*q.shape[:3], v.shape[3])
        self._summed, self._accumulated, self._weighed, self._scored, self._moved = (np.zeros(shape, kind) for _ in range(5))
        self._net, self._gross, self._square = (np.zeros(shape, kind) for _ in range(3))  # Σv, Σ|v|, Σv² over the keys in reach
        self._p_eps, self._p_sigma, self._p_sigma2, self._lse_eps, self._lse_sigma, self._l = (
            np.zeros(shape[:3]) for _ in range(6)
        )
        self.seen, self.reach = np.zeros(shape[:3], int), np.zeros(shape[:3], int)
        self.raw = self.score = 0.0  # the largest magnitudes: of what a product adds up, of a score that weighs
        self.units_of_v = np.maximum(np.abs(v).max(axis=2, keepdims=True), np.finfo(np.float64).tiny).astype(np.float64)

    def add(self, s: Strip, O: Array) -> None:
        """Rows of one head, whose outputs are O (r, d_v).

        Only what moves the other scores of a row against its largest moves its output: that one's own part is weighed with v − o.
        """
        at, kind, units, every = (*s.head, s.rows), self._kind, self.units, np.arange(len(s.rows))
        with np.errstate(all="ignore"):
            eps, raw = epsilon(s, self._q, self._k, units.u_acc, self._scale, self._cap, kind)
            P, X, S = s.P.astype(kind), np.where(s.visible, s.X, 0).astype(kind), s.scores.astype(kind)
            weighs = np.greater(P, 0)  # a key without weight has none however its score is rounded
            eps = np.where(weighs, eps, 0)
            self.raw = max(self.raw, float(raw.max(initial=0, where=s.visible)))
            self.score = max(self.score, float(X.max()), float(np.maximum(np.abs(X), np.abs(S)).max(initial=0, where=weighs)))
            v: Any = (self._v[s.kv_head][s.keys] / self.units_of_v[s.kv_head]).astype(kind)
            top = s.S.argmax(axis=1)
            kept = np.broadcast_to(np.asarray(s.kept, kind), P.shape)
            apart = np.abs(kept[every, top][:, None] * v[top] - (O / self.units_of_v[s.kv_head]).astype(kind))
            signed, v = v, np.abs(v)
            others = P.copy()
            others[every, top] = 0

            def first(x: Array) -> Array:
                """x of each row's largest score, (r, 1)."""
                return np.asarray(x[every, top][:, None])

            self._summed[at], self._weighed[at] = (P * kept) @ v, (P * kept) ** 2 @ (v * v)
            self._l[at], self.seen[at], self.reach[at] = s.l, s.visible.sum(axis=1), s.last - s.first
            moved = others * np.expm1(eps + first(eps))
            self._p_eps[at] = moved.sum(axis=1)
            self._accumulated[at] = (moved * kept) @ v + first(P * eps) * apart
            self._lse_eps[at] = (P * eps).sum(axis=1)
            if units.narrow:
                for of, x in ((self._net, signed), (self._gross, v), (self._square, v * v)):
                    sums = np.concatenate([np.zeros((1, v.shape[1])), x.cumsum(axis=0, dtype=np.float64)])
                    of[at] = sums[s.last - s.keys.start] - sums[s.first - s.keys.start]
                sigma = kind(units.u_z) * np.maximum(np.abs(S), np.abs(X) * np.asarray(s.fade, kind)) + kind(units.eta_z)
                sigma = np.where(weighs, sigma, 0)
                self._lse_sigma[at] = (P * sigma).sum(axis=1)
                sigma = sigma * np.exp(sigma + first(sigma))  # beyond first order: |eˣ − 1| ≤ |x|·e^|x|
                moved, largest = others * sigma, first(P * sigma) * apart
                self._p_sigma[at], self._p_sigma2[at] = moved.sum(axis=1), (moved**2).sum(axis=1)
                self._scored[at], self._moved[at] = (moved * kept) @ v + largest, (moved * kept) ** 2 @ (v * v) + largest**2

    @property
    def pairs(self) -> int:
        """How many pairs of a query and a key are visible."""
        return int(self.seen.sum())

    def leaves_range(self, rounding: Rounding, O: Array) -> str | None:
        """What exceeds a type that the run holds it in, and so may be infinite however right the algorithm is; None if nothing does."""
        units = self.units
        if not self.raw <= largest(units.acc):
            return f"products of up to {self.raw:.1e} leave the range of {units.acc.name}, in which they are summed"
        if rounding.scores and self.score > largest(units.scores):
            return f"scores of up to {self.score:.1e} leave the range of {units.scores.name}, in which this run stores them"
        if (most := float(np.abs(O).max(initial=0, where=np.isfinite(O)))) > largest(units.storage):
            return f"values of up to {most:.1e} leave the range of {units.storage.name}, in which the output is stored"
        return None

    def output(self, O: Array, rounding: Rounding) -> Bound:
        """Of O (batch, heads, n_q, d_v), for a run that rounded so."""
        units, o = self.units, np.abs(O).astype(np.float64)
        unit = np.repeat(self.units_of_v, O.shape[1] // self.units_of_v.shape[1], axis=1)
        summed, moved, scored = (x.astype(np.float64) * unit for x in (self._summed, self._accumulated, self._scored))
        weighed, moved2 = (x.astype(np.float64) * unit**2 for x in (self._weighed, self._moved))
        p_eps, p_sigma, p_sigma2, l, n = (x[..., None] for x in (self._p_eps, self._p_sigma, self._p_sigma2, self._l, self.seen))
        narrow, r = units.narrow, rounding.scores
        again = self.stored_again(rounding.again)[..., None]
        with np.errstate(all="ignore"):
            base = (
                moved
                + o * p_eps
                + rounding.exponential * (summed + o)
                + 2 * (FACTOR * np.sqrt(n) + 8) * units.u_acc * summed
                + units.u_s * o
            )
            base += (1 + again) * units.eta_s
            likely, worst = base, base
            if narrow:
                lost = (
                    (units.eta_s + units.eta_z) if r else units.eta_s / np.where(l > 0, l, 1)
                )  # of each weight, normalised or not
                lost = lost * unit * self._kept
                linear = units.u_s + rounding.weights * units.u_z
                base = base + linear * o
                rho2 = units.u_s**2 + rounding.weights * units.u_z**2
                variance = rho2 * weighed + again * units.u_s**2 * (o**2 + weighed)
                if r:
                    variance += r * (moved2 + o**2 * p_sigma2)
                likely = base + lost * (np.abs(self._net) + FACTOR * np.sqrt(self._square)) + FACTOR * np.sqrt(variance)
                worst = base + lost * self._gross + (r * (scored + o * p_sigma) if r else 0) + (linear + again * units.u_s) * summed
            told = (self._told(r)[..., None] <= NOTHING) & np.isfinite(worst)
            anything = 2 * unit * self._kept
            empty = summed == 0
            likely, worst = (np.where(empty, 0, np.where(told, x, anything)) for x in (likely, np.maximum(worst, likely)))
        return Bound(likely, worst, np.maximum(o, np.sqrt(weighed)))

    def lse(self, lse: Array, rounding: Rounding, u: float) -> Bound:
        """Of lse (batch, heads, n_q), stored with unit u. Scores that are alike are rounded alike, so likely is the worst case here."""
        m = np.where(np.isfinite(lse), np.abs(lse), 0).astype(np.float64)
        with np.errstate(all="ignore"):
            moved = self._told(rounding.scores)
            bound = (self._lse_eps + rounding.scores * self._lse_sigma) * (1 + moved)
            bound += rounding.exponential + self.units.u_acc * (m + FACTOR * np.sqrt(self.seen) + 14) + u * m
            bound = np.where(self.seen == 0, 0, np.where(moved <= NOTHING, bound, np.inf))
        return Bound(bound, bound, np.ones_like(bound))

    def _told(self, scores: int) -> Array:
        """The share of its weight that rounding may move to the other keys of a row, whose scores were stored so often."""
        return self._p_eps + scores * self._p_sigma if scores else self._p_eps

    def stored_again(self, mean: float) -> Array:
        """How often each row was, if so often on average: a row that sees more keys comes up in more passes over them."""
        most = np.maximum(self.reach / max(self.reach.mean(), 1e-9), self.seen / max(self.seen.mean(), 1e-9))
        return np.asarray(np.ceil(mean * most))


def epsilon(s: Strip, q: Array, k: Array, u: float, scale: float, cap: float | None, kind: Any) -> tuple[Array, Array]:
    """What accumulation in unit u changes each score by, (r, c), and |q|·|k|, the magnitude of what a product adds up."""
    magnitude = np.abs(q[s.head][s.rows]).astype(kind) @ np.abs(k[s.kv_head][s.keys]).astype(kind).T
    product = kind(u * (q.shape[3] + 3) * scale) * magnitude
    if cap is not None:  # the slope at X, and by how much it can grow on the way
        product = product * np.minimum(1, s.fade.astype(kind) * np.exp(2 * product / kind(cap)))
    below = np.where(s.visible, s.m[:, None] - s.S, 0)
    rest = 2 * np.abs(s.scores) + np.where(s.visible, s.added, 0) + below + 6
    if cap is not None:
        rest = rest + 4 * np.abs(s.scores) + 4 * np.where(s.visible, s.added, 0)
    return product + kind(u) * rest.astype(kind), magnitude
