"""Hardware counters: kernels run under Nsight Compute in a child process. What cannot be read is not measured, and says why."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..reference.problem import Problem
from ..text.exported import Exported
from ..text.shown import html
from ..text.shown import named as function_named
from .backend import has_cuda
from .catalogue import named

SECTOR = 32  # bytes
METRICS: dict[str, tuple[str, int]] = {
    "sm_read": ("l1tex__m_xbar2l1tex_read_bytes.sum", 1),
    "sm_write": ("l1tex__m_l1tex2xbar_write_bytes.sum", 1),
    "l2_read": ("lts__t_sectors_srcunit_tex_op_read.sum", SECTOR),
    "l2_write": ("lts__t_sectors_srcunit_tex_op_write.sum", SECTOR),
    "dram_read": ("dram__bytes_read.sum", 1),
    "dram_write": ("dram__bytes_write.sum", 1),
    "ns": ("gpu__time_duration.sum", 1),
}
FOLDER = "/usr/local/cuda/bin"  # where CUDA's installer puts it
SECONDS = 1800.0
PATIENCE = 120  # seconds that ncu may take to write what it has
RANGE = re.compile(r":simattn-(\d+):")


@dataclass(frozen=True)
class KernelCounters:
    """One launched kernel under the counters, which flush the caches before it; bytes, and nanoseconds.

    sm_read, sm_write: what the SMs received from L2 and sent to it. l2_read, l2_write: what L2 looked up for them; requests of
    neighbouring SMs for the same line that meet on the way become one. dram_read, dram_write: what crossed to device memory.
    """

    name: str
    grid: str
    sm_read: int
    sm_write: int
    l2_read: int
    l2_write: int
    dram_read: int
    dram_write: int
    ns: int


@dataclass(frozen=True)
class Profile(Exported):
    """The kernels that a call launched, in order; or, in one line, why they were not measured."""

    kernels: tuple[KernelCounters, ...] = ()
    why_not: str | None = None

    def _records(self) -> list[dict[str, Any]]:
        return [asdict(kernel) for kernel in self.kernels]

    def _repr_html_(self) -> str:
        return html(function_named("simattn.gpu.table:profile_table")(self))


def profile(jobs: Sequence[tuple[Problem, str]], seconds: float = SECONDS) -> list[Profile]:
    """Run workloads, each by a kernel of `sa.gpu.kernels()`, under the hardware counters.

    Every job is run once before it is measured; what is not reached within `seconds` is not measured. Where there is no GPU, no ncu or
    no permission, every profile says so.
    """
    for _, kernel in jobs:
        named(kernel)
    reason = _unusable()
    if reason is not None or not jobs:
        return [Profile(why_not=reason)] * len(jobs)
    with tempfile.TemporaryDirectory() as folder:
        asked, said = Path(folder, "jobs.json"), Path(folder, "said.json")
        asked.write_text(json.dumps([[workload.to_dict(), kernel] for workload, kernel in jobs]), encoding="utf-8")
        command = [
            str(_ncu()), "--clock-control", "none", "--profile-from-start", "off", "--nvtx", "--csv", "--page", "raw", "--print-units", "base",
            "--metrics", ",".join(metric for metric, _ in METRICS.values()), sys.executable, "-m", f"{__package__}.child", str(asked), str(said), str(seconds),
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            out, err = process.communicate(timeout=seconds + PATIENCE)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            return [Profile(why_not=f"not measured: ncu took longer than {seconds + PATIENCE:.0f} s")] * len(jobs)
        failures = json.loads(said.read_text(encoding="utf-8")) if said.exists() else {}
    try:
        found = parse(out)
    except RuntimeError as error:
        return [Profile(why_not=f"not measured: {error}")] * len(jobs)
    trouble = _trouble(out + err, process.returncode)
    return [
        Profile(tuple(found[k])) if k in found else Profile(why_not=f"not measured: {failures.get(str(k), trouble)}")
        for k in range(len(jobs))
    ]


def _kill(process: subprocess.Popen[str]) -> None:
    """End ncu, and where there are groups of processes, the process that it watches."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


def parse(printed: str) -> dict[int, list[KernelCounters]]:
    """The kernels of each job, from the CSV that ncu prints among other lines."""
    rows = csv.DictReader(line for line in printed.splitlines() if line.startswith('"'))
    found: dict[int, list[KernelCounters]] = {}
    for row in rows:
        within = next((m for column, cell in row.items() if "_Range:" in column and (m := RANGE.search(cell or ""))), None)
        if within is not None:
            numbers = {name: round(_number(row.get(metric)) * times) for name, (metric, times) in METRICS.items()}
            found.setdefault(int(within.group(1)), []).append(KernelCounters(row["Kernel Name"], row["Grid Size"], **numbers))
    return found


def _number(cell: str | None) -> float:
    try:
        return float((cell or "").replace(",", ""))
    except ValueError:
        raise RuntimeError(f"ncu printed {cell!r} where a number should be") from None


def _unusable() -> str | None:
    if not has_cuda():
        return "not measured: torch sees no CUDA GPU here"
    if _ncu() is None:
        return "not measured: ncu is not installed; it comes with NVIDIA's Nsight Compute"
    return None


def _ncu() -> Path | None:
    found = shutil.which("ncu") or shutil.which("ncu", path=FOLDER)
    return Path(found) if found else None


def _trouble(printed: str, code: int) -> str:
    """What ncu complained of."""
    if "ERR_NVGPUCTRPERM" in printed:
        return "the driver lets only administrators read the counters: run as root, or load it with NVreg_RestrictProfilingToAdminUsers=0"
    lines = [line.strip() for line in printed.splitlines() if line.strip() and not line.startswith(('"', "==PROF=="))]
    said = [line.strip("= ") for line in lines if "==ERROR==" in line] or lines[-1:]
    return f"ncu ended with code {code}: {said[0] if said else 'it saw no kernel of this call'}"


def totals(kernels: Sequence[KernelCounters]) -> dict[str, int]:
    """Sums over kernels, by counter."""
    return {name: sum(getattr(k, name) for k in kernels) for name in METRICS}
