"""What is compared: attention, or its gradients. Each knows its truth, how to run it, and the error of a run."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..hierarchy.dtypes import Array, DType, accumulation_type
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import algorithms
from ..reference.bound import Moments
from ..reference.gradient_bound import GradientBound
from ..reference.rounding import Rounding
from ..reference.truth import (
    Error,
    Gradients,
    Truth,
    attention_bounded,
    attention_truth,
    difference,
    error,
    gradient_error,
    gradients_bounded,
    gradients_truth,
)  # fmt: skip
from ..reference.verdict import TIMES, Judgement, judge, judge_gradients
from .inputs import parameters
from .options import Options

Algorithm = Callable[..., Any]
REFERENCE = 1 << 26  # elements of S that the naive reference may hold at a time
UNLIMITED = Machine(name="unlimited", sram=1 << 60, sms=108)


class Forward:
    """O = softmax(QKᵀ)V. sparse: the block_mask, and the mask of its partial blocks, of which options.mask is the whole."""

    def __init__(self, Q: Array, K: Array, V: Array, options: Options, sparse: dict[str, Any] | None = None) -> None:
        self.qkv, self.options, self.sparse = (Q, K, V), options, sparse

    def truth(self) -> Truth:
        return attention_truth(*self.qkv, **self.options.given())

    def bounded(self, runs: Iterable[Run] = (), acc: DType | None = None) -> tuple[Truth, Moments]:  # noqa: ARG002
        """The truth, and what bounds the error of any run whose sums have that type."""
        return attention_bounded(*self.qkv, acc or accumulation_type([self.qkv[0].dtype]), **self.options.given())

    def bounded_by(self, *roundings: Rounding) -> tuple[Truth, Moments]:  # noqa: ARG002
        """The same for runs of which it is known what they round."""
        return self.bounded()

    def judge(self, run: Any, truth: Truth, moments: Moments, rounding: Rounding | None = None) -> Judgement:
        """The verdict on a run; rounding: what it rounded, where its counts do not say."""
        rounding = Rounding.of(run, moments.pairs, moments.units) if rounding is None else rounding
        return judge(run.output, run.lse if has_lse(run) else None, truth, moments, rounding)

    def run(self, machine: Machine, algorithm: str | Algorithm, own: dict[str, Any]) -> Run:
        algorithm = algorithms[algorithm] if isinstance(algorithm, str) else algorithm
        if algorithm is algorithms["block_sparse"] and self.sparse is not None:
            options = replace(self.options, mask=self.sparse["mask"]).for_run()
            return machine.run(algorithm, *self.qkv, **options, block_mask=self.sparse["block_mask"], **own)
        return machine.run(algorithm, *self.qkv, **self.options.for_run(algorithm, *self.qkv[0].shape[1:3]), **own)

    def check(self, run: Run) -> None:
        """ValueError for outputs that are not those of attention: the first is O, and one named lse is the log-sum-exp."""
        Q, _, V = self.qkv
        name = next(iter(run.outputs))
        _fits(run, name, (*Q.shape[:3], V.shape[3]), "return O first")
        if has_lse(run):
            _fits(run, "lse", (*Q.shape[:3], 1), "it has a column for each head")

    def error(self, run: Any, truth: Truth) -> Error:
        return error(run.output, run.lse if has_lse(run) else None, truth)

    def naive_error(self, truth: Truth) -> Error:
        """The error of the naive algorithm in the type of the inputs, by strips of queries, so that no S need fit in memory."""
        Q, K, V = self.qkv
        n_q, n_k = Q.shape[2], K.shape[2]
        rows = n_q if self.options.dropout else max(1, REFERENCE // (n_k * Q.shape[1]))  # dropout goes by row
        O, lse = np.empty_like(truth.O, Q.dtype), np.empty_like(truth.lse)
        if self.options.dropout:
            return self.error(self.run(UNLIMITED, "naive", {"Br": 128, "Bc": 128}), truth)
        for b in range(Q.shape[0]):
            for i in range(0, n_q, rows):
                part = slice(i, i + rows)
                strip = Forward(
                    Q[b : b + 1, :, part], K[b : b + 1], V[b : b + 1], self.options.strip(b, i, i + rows, n_q, n_k)
                )  # fmt: skip
                run = strip.run(UNLIMITED, "naive", {"Br": 128, "Bc": 128})
                O[b, :, part], lse[b, :, part] = run.output[0], run.lse[0]
        return error(O, lse, truth)


class Backward:
    """dQ, dK and dV, given dO. The forward pass is the same for all: flash2's O and lse; P, where an algorithm takes it, naive's."""

    def __init__(self, Q: Array, K: Array, V: Array, options: Options, dO: Array | None) -> None:
        self.qkv, self.options = (Q, K, V), options
        shape = (*Q.shape[:3], V.shape[3])
        drawn = np.random.default_rng(0).standard_normal(shape, np.float32).astype(Q.dtype) if dO is None else dO
        self.dO = drawn if drawn.ndim == 4 else drawn[None, None]
        if self.dO.shape != shape or self.dO.dtype != Q.dtype:
            raise ValueError(f"dO has shape {self.dO.shape} and type {self.dO.dtype}: it has those of O, {shape} {Q.dtype}")
        self.forward = UNLIMITED.run(algorithms["flash2"], *self.qkv, **options.for_run(), Br=128, Bc=128)

    def truth(self) -> Gradients:
        return gradients_truth(*self.qkv, self.dO, **self.options.given())

    def bounded(self, runs: Iterable[Run] = (), acc: DType | None = None) -> tuple[Gradients, dict[Rounding, GradientBound]]:
        """The truth, and the bounds of passes that rounded as these runs of the simulator did, given the O and lse that they were."""
        truth, moments = self._forward_bounded(acc)
        off_lse, off_O = difference(self.forward.lse, truth.lse), self.forward.output.astype(truth.O.dtype) - truth.O
        off_D = np.abs((self.dO.astype(truth.O.dtype) * off_O).sum(axis=3))
        return self._bounded({self._rounding(run, moments) for run in runs}, moments, off_lse, off_D)

    def bounded_by(self, *roundings: Rounding) -> tuple[Gradients, dict[Rounding, GradientBound]]:
        """The same for passes that round so, of whose forward pass nothing else is known."""
        truth, moments = self._forward_bounded(None)
        off_O = TIMES * moments.output(truth.O, Rounding()).likely * np.abs(self.dO.astype(np.float64))
        off_lse = TIMES * moments.lse(truth.lse, Rounding(), moments.units.u_acc).likely
        return self._bounded(set(roundings), moments, off_lse, np.sqrt((off_O**2).sum(axis=3)))

    def _forward_bounded(self, acc: DType | None) -> tuple[Truth, Moments]:
        return attention_bounded(*self.qkv, acc or accumulation_type([self.qkv[0].dtype]), **self.options.given())

    def _bounded(
        self, roundings: set[Rounding], moments: Moments, off_lse: Array, off_D: Array
    ) -> tuple[Gradients, dict[Rounding, GradientBound]]:
        arrays, given = (*self.qkv, self.dO), self.options.given()
        kinds = {replace(r, again=0.0) for r in roundings}  # what is stored again needs no sums of its own
        bounds = {r: GradientBound(r, moments, arrays, off_lse, off_D, self.options) for r in kinds}
        return gradients_bounded(*arrays, *bounds.values(), **given), bounds

    def judge(
        self, run: Any, truth: Gradients, bounds: dict[Rounding, GradientBound], rounding: Rounding | None = None
    ) -> Judgement:
        """The verdict on a run that was among those that the bounds are for; rounding: what it rounded, where its counts do not say."""
        moments = next(iter(bounds.values())).moments
        rounding = self._rounding(run, moments) if rounding is None else rounding
        return judge_gradients(run.outputs, truth, bounds[replace(rounding, again=0.0)], rounding)

    def _rounding(self, run: Run, moments: Moments) -> Rounding:
        given = self.options.given().keys()
        return Rounding.of_backward(
            run, moments.pairs, moments.units, bool(given - {"scale", "dropout", "seed", "kv_lens"}), "softcap" in given
        )

    def run(self, machine: Machine, algorithm: str | Algorithm, own: dict[str, Any]) -> Run:
        algorithm = algorithms[f"{algorithm}_backward"] if isinstance(algorithm, str) else algorithm
        options = self.options.for_run()
        stored = stored_by_forward(algorithm, self.qkv, options, own)
        forward = (self.forward.output, self.forward.outputs["lse"])
        return machine.run(algorithm, *self.qkv, *forward, self.dO, **options, **stored, **own)

    def check(self, run: Run) -> None:
        """ValueError for outputs that are not the gradients."""
        missing = [name for name in ("dQ", "dK", "dV") if name not in run.outputs]
        if missing:
            returned = f"{run.algorithm} returned {', '.join(run.outputs)}, but not {', '.join(missing)}"
            raise ValueError(f"{returned}: a backward pass returns arrays made as gpu.empty(..., name='dQ'), 'dK' and 'dV'")
        for name, x in zip(("dQ", "dK", "dV"), self.qkv, strict=True):
            _fits(run, name, x.shape, f"it has the shape of {name[1]}; gpu.empty(..., like={name[1]}) makes it")

    def error(self, run: Any, truth: Gradients) -> Error:
        return gradient_error(run.outputs, truth)

    def naive_error(self, truth: Gradients) -> Error:
        return self.error(self.run(UNLIMITED, "naive", {"Br": 128, "Bc": 128}), truth)


def has_lse(run: Any) -> bool:
    """Whether a run, of the simulator or of a real kernel, gives the log-sum-exp."""
    return "lse" in run.outputs if isinstance(run, Run) else True


def _fits(run: Run, name: str, shape: tuple[int, ...], why: str) -> None:
    found = run.outputs[name].shape
    if found != shape:
        raise ValueError(f"{run.algorithm} returned {name} of shape {found}, not {shape}: {why}")


def stored_by_forward(
    algorithm: Algorithm, qkv: tuple[Array, ...], options: dict[str, Any], own: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """What a backward pass reads beside O and lse: P and what dropout kept, by a forward pass of the same blocks.

    That is its own; of one that is not simattn's, `unfused_chain` with dropout, else `naive`.
    """
    wanted = {"P", "keep", "P_kept"} & parameters(algorithm) - own.keys()
    if not wanted:
        return {}
    of = next((name for name, f in algorithms.items() if f is algorithm), "").removesuffix("_backward")
    forward = algorithms[of or ("unfused_chain" if "dropout" in options else "naive")]
    blocks = {"Br": own.get("Br", 128), "Bc": own.get("Bc", 128)}
    outputs = UNLIMITED.run(forward, *qkv, **options, **blocks, return_P=True).outputs
    return {array: outputs[array] for array in wanted & outputs.keys()}
