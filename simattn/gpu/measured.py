"""Every workload of the grid on this GPU: times, memory and counters, as plain data that says what it was measured with."""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ..reference.problem import Problem
from ..text.progress import Progress
from . import counters, timing
from .backend import describe, one_line, torch
from .jobs import prepare, tensors

SHORT, ROUNDS = 0.4, 3  # milliseconds; how often shorter calls are timed
Job = tuple[Problem, str]


def measure_grid(
    jobs: Sequence[Job],
    progress: Progress = lambda _: None,
    *,
    seconds: float = counters.SECONDS,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """{"measured_with", "rows"}: a row a workload and kernel; why_not where it did not run, counters None where they were not read.

    seconds: for the counters, which take most of the time; jobs beyond are timed only. known: what this returned before, with the
    same device and versions, ValueError if with others: its times are kept, and counters are read where it has none; it cannot know
    what has changed in simattn since. Short calls are timed in three rounds, and the least median stands: a host that is busy for a
    moment launches late."""
    t = torch()
    device, with_ = "cuda" if t.cuda.is_available() else "cpu", {**describe(), "date": datetime.now(UTC).date().isoformat()}
    rows: dict[Job, dict[str, Any]] = _rows(known, with_) if known else {}
    new = {(w, kernel): _timed(w, kernel, device, progress) for w, kernel in jobs if (w, kernel) not in rows}
    for number in range(2, ROUNDS + 1):
        progress(f"short calls, round {number} of {ROUNDS}")
        for (w, kernel), row in new.items():
            if row["ms"] is not None and row["ms"] < SHORT:
                row["ms"] = min(row["ms"], _timed(w, kernel, device, lambda _: None)["ms"] or SHORT)
    rows |= new
    progress("hardware counters")
    t.cuda.empty_cache()  # the process under the counters needs the memory
    uncounted = [job for job in jobs if rows[job]["why_not"] is None and rows[job]["counters"] is None]
    for job, found in zip(uncounted, counters.profile(uncounted, seconds), strict=True):
        rows[job] |= {"counters": [asdict(k) for k in found.kernels] or None, "not_counted": found.why_not}
    if known and (since := str(known["measured_with"].get("date", "")).split(" to ")[0]) not in ("", with_["date"]):
        with_["date"] = f"{since} to {with_['date']}"
    return {"measured_with": with_, "rows": [rows[job] for job in jobs]}


def _rows(known: Mapping[str, Any], with_: Mapping[str, Any]) -> dict[Job, dict[str, Any]]:
    """What was measured before, by job."""
    before, now = ({name: x for name, x in w.items() if name != "date"} for w in (known["measured_with"], with_))
    if before != now:
        raise ValueError(f"the file was measured with {before}, and this is {now}; give another file")
    return {(Problem(**row["workload"]), row["kernel"]): row for row in known["rows"]}


def _timed(w: Problem, kernel: str, device: str, progress: Progress) -> dict[str, Any]:
    """Milliseconds and peak memory of one job; which kernels it launched, the counters say."""
    progress(f"{kernel}, {w}")
    row = {
        "workload": w.to_dict(),
        "kernel": kernel,
        "ms": None,
        "peak_bytes": None,
        "why_not": None,
        "counters": None,
        "not_counted": None,
    }
    try:
        call = prepare(w, kernel, tensors(w, device))
        call()
        ms = timing.milliseconds(call, device)
        peak = timing.peak_bytes(call) if device == "cuda" else timing.observe(call, device)[1]
    except RuntimeError as error:  # what torch and Triton raise, and Unavailable
        return row | {"why_not": one_line(error).split(". ")[0]}
    finally:
        gc.collect()
    return row | {"ms": round(ms, 5), "peak_bytes": peak}
