"""What a run rounded, read off the bytes that it stored; and by how much each type rounds."""

from dataclasses import dataclass
from typing import Self

from ..hierarchy.dtypes import DType, limits, scores_type
from ..hierarchy.run import Run

SCORES, WEIGHTS = ("S", "S_masked"), ("P", "P_kept")  # the arrays of N² elements that the algorithms store, forward
GRADIENTS = ("dP", "dP_dropped", "dS")  # and backward
COLUMNS = ("O_split", "lse_split", "keep", "dQ_acc", "dK_acc", "dV_acc", "l", "m", "D")  # in the accumulation type, or whole


@dataclass(frozen=True)
class Units:
    """Unit roundoff u and half the smallest number η, of the accumulation type, of the storage type, and of the scores' in HBM.

    narrow: whether storage is narrower than accumulation; where it is not, storing a score or a weight costs nothing of its own.
    """

    storage: DType
    acc: DType
    scores: DType

    @classmethod
    def of(cls, storage: DType, acc: DType) -> Self:
        return cls(storage, acc, scores_type(storage, acc))

    @property
    def narrow(self) -> bool:
        return self.storage != self.acc

    @property
    def u_acc(self) -> float:
        return unit(self.acc)

    @property
    def u_s(self) -> float:
        return unit(self.storage)

    @property
    def u_z(self) -> float:
        return unit(self.scores)

    @property
    def eta_s(self) -> float:
        return _least(self.storage)

    @property
    def eta_z(self) -> float:
        return _least(self.scores)


@dataclass(frozen=True)
class Rounding:
    """How often a run rounded what: scores and weights stored in HBM, an output that was read back and stored again.

    scores, weights: how often each element of S and of P was stored. again: bytes of the first output that were read back ÷ its size,
    0 where it was stored once, or never read. gradients: how often an element of dP, or of dS, was.
    exponential: by what share exp errs, beyond what its type explains.
    """

    scores: int = 0
    weights: int = 0
    again: float = 0.0
    gradients: int = 0
    exponential: float = 0.0

    @classmethod
    def of(cls, run: Run, pairs: int, units: Units) -> Self:
        """Of a run with so many visible pairs of queries and keys, from the bytes of each array.

        An array that no algorithm here has, as large as scores in HBM would be, may hold scores or weights: it counts as both.
        """
        stored, others = _stored(run), _others(run, pairs, units)
        name, output = next(iter(run.outputs.items()))
        return cls(
            scores=sum(x in stored for x in SCORES) + others,
            weights=sum(x in stored for x in WEIGHTS) + others,
            again=run.tensors[name].hbm_read / output.nbytes if units.narrow and name in run.tensors else 0.0,
        )

    @classmethod
    def of_backward(cls, run: Run, pairs: int, units: Units, masked: bool, capped: bool) -> Self:
        """Of a backward pass: one that reads P was given weights of scores that a forward pass had stored, again where masked.

        capped: whether dS is stored again, after the slope of the softcap. An array that no algorithm here has, as large as scores in HBM
        would be, may hold scores, weights or gradients: it counts as scores and as gradients, whose bound has room for weights.
        """
        others = _others(run, pairs, units)
        read = any(run.tensors[x].hbm_read for x in WEIGHTS if x in run.tensors)
        stored = others + sum(x in _stored(run) for x in GRADIENTS)
        again = run.tensors["dQ"].hbm_read / run.outputs["dQ"].nbytes if units.narrow else 0.0
        return cls(
            scores=(1 + masked) * read + others,
            weights=int(read),
            again=again,
            gradients=max(stored - 1, 1 + capped) if stored else 0,
        )

    def said(self, units: Units) -> str:
        """What was rounded, in words."""
        if not units.narrow:
            return f"sums in {units.acc.name}"
        stored = [x for x, n in (("S", self.scores), ("P", self.weights), ("dP and dS", self.gradients)) for _ in range(min(n, 1))]
        parts = [f"{', '.join(stored)} stored in {units.scores.name}"] * bool(stored) + [f"P cast to {units.storage.name}"]
        parts += [f"the output stored again {self.again:.1f} times on average"] * bool(self.again)
        return ", ".join(parts)


UNFUSED = Rounding(scores=2, weights=1, gradients=2)  # of a framework's operators one by one, each of which stores what it gives


def _stored(run: Run) -> dict[str, int]:
    """The bytes that were written of each array."""
    return {name: t.hbm_write for name, t in run.tensors.items() if t.hbm_write}


def _others(run: Run, pairs: int, units: Units) -> int:
    """How many arrays were stored that no algorithm here has, and that are as large as scores in HBM."""
    known = {*SCORES, *WEIGHTS, *GRADIENTS, *COLUMNS, *run.outputs}
    return sum(n >= pairs * units.scores.itemsize for name, n in _stored(run).items() if name not in known)


def unit(dtype: DType) -> float:
    """The unit roundoff of a type: half the distance from 1 to the next number."""
    return float(limits(dtype).eps) / 2


def _least(dtype: DType) -> float:
    return float(limits(dtype).smallest_subnormal) / 2


def largest(dtype: DType) -> float:
    """The largest finite number of a type."""
    return float(limits(dtype).max)
