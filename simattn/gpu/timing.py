"""Measuring a call: milliseconds, peak memory, and the names of what was really launched."""

import contextlib
import importlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .backend import Unavailable, torch

WARMUP, REPEAT = 10, 50  # milliseconds, on a GPU
CPU_SECONDS = 0.1
_ONE = threading.Lock()
SETUP = re.compile(r"^(cuda|cu[A-Z]|Activity|Memset|Memcpy|\[memory\]|aten::(as_strided|empty|transpose|view|expand|reshape))")


@dataclass(frozen=True)
class Measurement:
    """ms: the median of repeated calls. peak_bytes: memory that a call needs beside its inputs. launched: kernels, by the
    profiler."""

    ms: float
    peak_bytes: int
    launched: tuple[str, ...]


def measure(call: Callable[[], Any], device: str) -> Measurement:
    """Measure a call, which is made many times; the first, which may compile, is not among those timed. One at a time: threads
    wait.

    Unavailable within somebody else's profiler, of which there can be but one.
    """
    if torch().autograd._profiler_enabled():
        raise Unavailable("another profiler is running, and measuring needs its own; stop it first, or pass measure=False")
    with _ONE:
        call()
        names, peak = observe(call, device)
        return Measurement(milliseconds(call, device), peak_bytes(call) if device == "cuda" else peak, names)


def milliseconds(call: Callable[[], Any], device: str) -> float:
    """The median: by CUDA events with L2 flushed before each call, or by the clock, on as many threads as torch is set to."""
    t = torch()
    if device == "cuda":
        testing = importlib.import_module("triton.testing")
        return float(testing.do_bench(call, warmup=WARMUP, rep=REPEAT, return_mode="median"))
    timer = importlib.import_module("torch.utils.benchmark").Timer(
        "call()", globals={"call": call}, num_threads=t.get_num_threads()
    )
    return float(timer.blocked_autorange(min_run_time=CPU_SECONDS).median) * 1e3


def peak_bytes(call: Callable[[], Any]) -> int:
    """GPU memory that a call needs beside what was there before, by torch's allocator."""
    cuda = torch().cuda
    cuda.synchronize()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    call()
    return int(cuda.max_memory_allocated() - before)


def observe(call: Callable[[], Any], device: str) -> tuple[tuple[str, ...], int]:
    """The names of what one call launched, by the profiler; and on a CPU its peak memory, by the profiler, too."""
    t = torch()
    gpu = device == "cuda"
    activity = t.profiler.ProfilerActivity.CUDA if gpu else t.profiler.ProfilerActivity.CPU
    with _quiet(), t.profiler.profile(activities=[activity], profile_memory=not gpu, acc_events=True) as profiler:
        call()
        if gpu:
            t.cuda.synchronize()
    names = tuple(dict.fromkeys(event.name for event in profiler.events() if not SETUP.match(event.name)))
    return names, 0 if gpu else _peak_on_cpu(profiler)


def _peak_on_cpu(profiler: Any) -> int:
    """The largest sum of what the profiler saw allocated and not yet freed."""
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the profiler's library writes to stderr by itself."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with open(os.devnull, "w") as null:  # noqa: PTH123 - a file descriptor is what is wanted
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
