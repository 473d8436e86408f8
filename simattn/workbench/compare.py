"""Algorithms side by side: their traffic, their errors, and whether they are exact."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..hierarchy.checks import flag
from ..hierarchy.dtypes import Array, accumulation_type
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..hierarchy.trace import tracing
from ..reference.problem import Problem
from ..reference.truth import Error
from ..score_options import ASKED
from ..text.progress import Progress
from .cases import Backward, Forward
from .comparison import Comparison, Result
from .defaults import defaults
from .failure import message, outcome
from .inputs import check_values, checked_machine, checked_qkv
from .listed import Algorithm, Listed, check_options, comparable, dealt, listed
from .options import Options, elementwise
from .work import refuse_beyond_memory


def compare(
    machine: Machine | str,
    names: Iterable[str | Algorithm],
    Q: Array,
    K: Array,
    V: Array,
    *,
    backward: bool = False,
    dO: Array | None = None,
    title: str = "",
    trace: Any = False,
    progress: Progress = lambda _: None,
    **options: Any,
) -> Comparison:
    """Run algorithms on the same inputs, and compare each with float64 attention of the stored inputs.

    machine: a Machine or a catalogue name. names: of `sa.algorithms`, or your own functions f(gpu, Q, K, V, *, Br, Bc), whose rows
    have their `__name__`; the first array that one returns is O, and one named lse is held against the log-sum-exp. Q, K, V: (N, d)
    or (batch, heads, N, d). options: those of `sa.attention`; Br and Bc; and what only some algorithms take (splits, steps), which
    the others are not given. What an algorithm of simattn's needs and was not given is that of `simattn.workbench.defaults`.
    backward: run `<name>_backward` instead, or f(gpu, Q, K, V, O, lse, dO, *, Br, Bc), which returns dQ, dK and dV by these names;
    on dO, drawn from N(0, 1) unless given. trace: as `machine.run` takes it, for each run. With a block_mask, `block_sparse` takes
    it, and the others the boolean mask that it stands for. An algorithm that does not fit, does not take these options or fails
    keeps a row with the reason. Exact means that what the run rounded explains the error of each element, as docs/counting.md says.

    >>> comparison = sa.compare(machine, ["naive", "flash2"], Q, K, V)
    >>> comparison["flash2"].verdict, comparison["flash2"].run.hbm_read
    ('exact', 24576)
    """
    machine = checked_machine(machine)
    flag("backward", backward)
    known = comparable(backward=backward)
    algorithms = listed(names, known, backward=backward)
    if dO is not None and not backward:
        raise ValueError("dO is given without backward=True: it is the gradient of the output, which a forward pass does not use")
    Q, K, V = checked_qkv(Q, K, V)
    own = {name: options.pop(name) for name in list(options) if name not in ASKED}
    check_options(algorithms, own, known)
    check_values(own, K.shape[2])
    asked, sparse = Options.of(Q, K, **options), None
    if own.get("block_mask", ...) is None:
        del own["block_mask"]
    if "block_mask" in own:
        sparse = {"block_mask": np.asarray(own.pop("block_mask")), "mask": asked.mask}
        asked = replace(asked, mask=elementwise(**sparse, Br=own.get("Br"), Bc=own.get("Bc"), shape=(Q.shape[2], K.shape[2])))
    workload = Problem.of(Q, K, V, asked, backward=backward)
    refuse_beyond_memory(algorithms, workload, machine, backward=backward, **own)
    case: Any = Backward(Q, K, V, asked, dO) if backward else Forward(Q, K, V, asked, sparse)
    runs: dict[str, Run | Result] = {}
    given = dealt(own, algorithms)
    for algorithm in algorithms:
        progress(algorithm.name)
        its = given[algorithm.name]
        if not algorithm.own and (sparse is None or algorithm.name != "block_sparse"):
            its = defaults(algorithm.name, workload, its, masked=asked.mask is not None) | its
        if tracing(trace) is not None:
            its = its | {"trace": trace}
        runs[algorithm.name] = _run(case, machine, algorithm, its)
    ran = {name: run for name, run in runs.items() if isinstance(run, Run)}
    failed = {name: row for name, row in runs.items() if isinstance(row, Result)}
    if not ran:
        return Comparison(machine, workload, tuple(failed.values()), title)
    progress("float64")
    acc = Q.dtype if machine.rounds_every_operation else accumulation_type([Q.dtype])
    truth, bounds = case.bounded(ran.values(), acc)
    progress("reference")
    reference = case.error(ran["naive"], truth) if "naive" in ran else case.naive_error(truth)
    done = failed | {name: _result(name, run, case, truth, bounds, reference) for name, run in ran.items()}
    return Comparison(machine, workload, tuple(done[x.name] for x in algorithms), title)


def _run(case: Any, machine: Machine, algorithm: Listed, its: dict[str, Any]) -> Run | Result:
    """An algorithm's run, or the row that says why there is none: what of simattn's does not fit or is not taken, and any error of
    another's."""
    expected = (Exception, SystemExit) if algorithm.own else (MemoryError, ValueError, TypeError)
    try:
        run: Run = case.run(machine, algorithm.function, its)
        case.check(run)
        return run
    except expected as error:
        return Result(algorithm.name, failure=message(error, algorithm), outcome=outcome(error, algorithm))


def _result(name: str, run: Run, case: Any, truth: Any, bounds: Any, reference: Error) -> Result:
    err = case.error(run, truth)
    times = err.max_abs / reference.max_abs if reference.max_abs else math.nan if err.max_abs else 1.0
    return Result(name, run, err, case.judge(run, truth, bounds), times, counted_by="execution")
