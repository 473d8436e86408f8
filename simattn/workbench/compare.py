"""Algorithms side by side: what they move, what they err by, and whether they are exact."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..hierarchy.checks import flag, kind, named, shown
from ..hierarchy.counts import KernelCounts
from ..hierarchy.dtypes import Array, accumulation_type
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import BASICS, GROUPS, algorithms
from ..reference.problem import Problem
from ..reference.truth import Error
from ..reference.verdict import Judgement
from ..score_options import ASKED
from ..text.progress import Progress
from ..text.shown import Shown, html
from .cases import Backward, Forward
from .defaults import ELSEWHERE, defaults
from .inputs import check_names, check_values, checked_machine, checked_qkv, parameters
from .options import Options, elementwise
from .work import refuse_beyond_memory

OTHER_INPUTS = (*GROUPS["of other inputs"], *BASICS)  # than Q, K and V: `machine.run` runs them


@dataclass(frozen=True)
class Result:
    """One algorithm's row: its run, its error against float64 and what that says of it, or why there is none."""

    algorithm: str
    run: Run | None = None
    error: Error | None = None
    judgement: Judgement | None = None
    times_naive: float | None = None
    failure: str | None = None
    outcome: str | None = None  # "did not fit" or "refused", where there is no run

    @property
    def exact(self) -> bool | None:
        """Whether rounding explains every element's error; None where that is undecided, or nothing ran."""
        return None if self.judgement is None else self.judgement.exact

    @property
    def verdict(self) -> str | None:
        """ "exact", "not exact" or "undecided"; None where nothing ran."""
        return None if self.judgement is None else self.judgement.verdict

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, by the names of the command line's JSON; what a run does not have is None."""
        run, err, judged = self.run, self.error, self.judgement

        def count(name: str) -> Any:
            return None if run is None else getattr(run, name)

        return {
            "algorithm": self.algorithm,
            "exact": self.exact,
            "verdict": self.verdict,
            "resolution": judged and finite(judged.resolution),
            "error_over_bound": judged and finite(judged.error_over_bound),
            "hbm_read_bytes": count("hbm_read"),
            "hbm_write_bytes": count("hbm_write"),
            "l2_read_bytes": count("l2_read"),
            "l2_write_bytes": count("l2_write"),
            "sram_read_bytes": count("sram_read"),
            "sram_write_bytes": count("sram_write"),
            "matmul_flops": count("matmul_flops"),
            "vector_flops": count("vector_flops"),
            "exps": count("exps"),
            "peak_sram_bytes": count("peak_sram"),
            "hbm_footprint_bytes": count("hbm_footprint"),
            "programs": count("programs"),
            "max_abs_error": None if err is None else finite(err.max_abs),
            "rmse": None if err is None else finite(err.rmse),
            "lse_error": None if err is None else finite(err.lse),
            "error_over_naive": None if self.times_naive is None else finite(self.times_naive),
            "blocks": None if run is None else run.blocks,
            "predicted_ms": count("predicted_ms"),
            "error": self.failure,
            "kernels": [] if run is None else [{"name": name, **_kernel(k)} for name, k in run.kernels.items()],
        }


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Algorithms on the same inputs. Prints as a table; `to_dicts()` is the same as plain data.

    >>> comparison = sa.compare("t4", ["naive", "flash2"], Q, K, V)
    >>> comparison["naive"].run.hbm_write > comparison["flash2"].run.hbm_write
    True
    """

    _table = "simattn.workbench.table:comparison_table"

    machine: Machine
    workload: Problem
    results: tuple[Result, ...]
    title: str = ""

    def __getitem__(self, algorithm: str) -> Result:
        found = [r for r in self.results if r.algorithm == algorithm]
        if not found:
            raise KeyError(unknown("algorithm of this comparison", algorithm, [r.algorithm for r in self.results]))
        return found[0]

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary a row.

        >>> [row["hbm_read_bytes"] for row in sa.compare(machine, ["naive", "flash2"], Q, K, V).to_dicts()]
        [57344, 24576]
        """
        return [result.to_dict() for result in self.results]

    def to_dict(self) -> dict[str, Any]:
        """Machine, workload and rows, as the command line's JSON has them.

        >>> sa.compare(machine, ["flash2"], Q, K, V).to_dict()["workload"]["n_q"]
        64
        """
        machine = {name: value for name, value in asdict(self.machine).items() if name != "sources"}
        return {"machine": machine, "workload": self.workload.to_dict(), "results": self.to_dicts()}

    def _repr_html_(self) -> str:
        return html(self._shown_as(wide=True))


def compare(
    machine: Machine | str,
    names: Iterable[str],
    Q: Array,
    K: Array,
    V: Array,
    *,
    backward: bool = False,
    dO: Array | None = None,
    title: str = "",
    progress: Progress = lambda _: None,
    **options: Any,
) -> Comparison:
    """Run algorithms by name on the same inputs, and hold each against float64 attention of the stored inputs.

    machine: a Machine or a catalogue name. Q, K, V: (N, d) or (batch, heads, N, d). options: those of `sa.attention`; Br and Bc; and
    what only some algorithms take (splits, steps), which the others are not given. What an algorithm needs and was not given is that of
    `simattn.workbench.defaults`. backward: run `<name>_backward` instead, on dO, drawn from N(0, 1) unless given. With a block_mask,
    `block_sparse` takes it, and the others the boolean mask that it stands for. An algorithm that does not fit, or does not take these
    options, keeps a row that says so. Exact means that what the run rounded explains the error of each element, as docs/counting.md says.

    >>> comparison = sa.compare(machine, ["naive", "flash2"], Q, K, V)
    >>> comparison["flash2"].verdict, comparison["flash2"].run.hbm_read
    ('exact', 24576)
    """
    machine = checked_machine(machine)
    flag("backward", backward)
    taken = {name: algorithms[name] for name in algorithms if name not in OTHER_INPUTS and name.endswith("_backward") == backward}
    known = {name.removesuffix("_backward"): f for name, f in taken.items()}
    names = _listed(names, known, backward)
    if dO is not None and not backward:
        raise ValueError("dO is given without backward=True: it is the gradient of the output, which a forward pass has no use for")
    Q, K, V = checked_qkv(Q, K, V)
    own = {name: options.pop(name) for name in list(options) if name not in ASKED}
    check_names(names, own, known)
    check_values(own, K.shape[2])
    asked, sparse = Options.of(Q, K, **options), None
    if own.get("block_mask", ...) is None:
        del own["block_mask"]
    if "block_mask" in own:
        sparse = {"block_mask": np.asarray(own.pop("block_mask")), "mask": asked.mask}
        asked = replace(asked, mask=elementwise(**sparse, Br=own.get("Br"), Bc=own.get("Bc"), shape=(Q.shape[2], K.shape[2])))
    workload = Problem.of(Q, K, V, asked, backward=backward)
    refuse_beyond_memory(names, workload, machine, backward=backward, **own)
    case: Any = Backward(Q, K, V, asked, dO) if backward else Forward(Q, K, V, asked, sparse)
    runs: dict[str, Run | Exception] = {}
    for name in names:
        progress(name)
        its = {option: value for option, value in own.items() if option in parameters(known[name])}
        if sparse is None or name != "block_sparse":
            its = defaults(name, workload, its, masked=asked.mask is not None) | its
        try:
            runs[name] = case.run(machine, name, its)
        except (MemoryError, ValueError, TypeError) as refusal:  # what does not fit, and what this algorithm does not take
            runs[name] = refusal
    ran = {name: run for name, run in runs.items() if isinstance(run, Run)}
    failed = {name: _failed(name, run) for name, run in runs.items() if isinstance(run, Exception)}
    if not ran:
        return Comparison(machine, workload, tuple(failed.values()), title)
    progress("float64")
    acc = Q.dtype if machine.rounds_every_operation else accumulation_type([Q.dtype])
    truth, bounds = case.bounded(ran.values(), acc)
    progress("reference")
    reference = case.error(ran["naive"], truth) if "naive" in ran else case.naive_error(truth)
    done = failed | {name: _result(name, run, case, truth, bounds, reference) for name, run in ran.items()}
    return Comparison(machine, workload, tuple(done[name] for name in names), title)


def _listed(names: Any, known: Mapping[str, Any], backward: bool) -> list[str]:
    """The names of algorithms, each once."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else ["naive", "flash2"]
        raise TypeError(f"names={shown(names)}: give a list of names, as {listed}, not {kind(names)}")
    what = "algorithm" + " with a backward pass" * backward
    others = {} if backward else ELSEWHERE
    names = list(names)
    for name in (name for name in names if isinstance(name, str) and name not in known):
        if name in others:
            raise ValueError(f"{what} {name!r} takes other inputs than Q, K and V: {others[name]}")
        near = unknown(what, name, [*known, *others])
        if "did you mean" in near:
            raise ValueError(near)
    listed = list(dict.fromkeys(named(what, name, known) for name in names))
    if not listed:
        raise ValueError(f"no algorithm to compare; known: {', '.join(known)}")
    return listed


def _failed(name: str, error: Exception) -> Result:
    return Result(name, failure=str(error), outcome="did not fit" if isinstance(error, MemoryError) else "refused")


def _result(name: str, run: Run, case: Any, truth: Any, bounds: Any, reference: Error) -> Result:
    err = case.error(run, truth)
    times = err.max_abs / reference.max_abs if reference.max_abs else math.nan if err.max_abs else 1.0
    return Result(name, run, err, case.judge(run, truth, bounds), times)


def _kernel(k: KernelCounts) -> dict[str, int]:
    return asdict(k)


def finite(x: float | None) -> float | None:
    """A number as JSON can hold it: None where it is none."""
    return x if x is not None and math.isfinite(x) else None
