"""The process that Nsight Compute watches: it runs each job once unwatched, then once between two marks."""

import json
import sys
import time
from pathlib import Path

from ..reference.problem import Problem
from .backend import one_line, torch
from .jobs import prepare, tensors


def main(asked: str, said: str, seconds: str) -> None:
    """Run the jobs of one file, as far as the time goes; write why any of them could not run to another."""
    failures, end = {}, time.monotonic() + float(seconds)
    for number, (fields, kernel) in enumerate(json.loads(Path(asked).read_text(encoding="utf-8"))):
        if time.monotonic() > end:
            failures[number] = f"not reached within {float(seconds):.0f} s"
            continue
        try:
            _watched(Problem(**fields), kernel, f"simattn-{number}")
        except Exception as error:  # noqa: BLE001 - one job's failure, of whatever kind, is not the next one's
            failures[number] = one_line(error)
    Path(said).write_text(json.dumps(failures), encoding="utf-8")


def _watched(workload: Problem, kernel: str, mark: str) -> None:
    cuda = torch().cuda
    call = prepare(workload, kernel, tensors(workload, "cuda"))
    call()
    cuda.synchronize()
    cuda.cudart().cudaProfilerStart()
    spanning = cuda.nvtx.range_start(mark)  # holds the kernels of a backward pass, which another thread launches
    cuda.nvtx.range_push(mark)
    call()
    cuda.synchronize()
    cuda.nvtx.range_pop()
    cuda.nvtx.range_end(spanning)
    cuda.cudart().cudaProfilerStop()


if __name__ == "__main__":
    main(*sys.argv[1:])
