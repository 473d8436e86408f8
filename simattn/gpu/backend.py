"""The optional packages: loaded when first used, and what to do where they are missing."""

import importlib
import importlib.util
import subprocess
from functools import cache
from typing import Any

TESTED = ((2, 11), (2, 14))  # torch from the first to below the second: its operators' layouts are not promised


class Unavailable(RuntimeError):
    """A kernel, a package or a counter that is not to be had here. The message is one line, and names the remedy."""


def one_line(error: BaseException) -> str:
    """The first line of what an error says; its kind, where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@cache
def torch() -> Any:
    """The package torch; Unavailable where it is missing or of a version that nobody tested."""
    try:
        found = importlib.import_module("torch")
    except ImportError as error:
        raise Unavailable(f"real kernels need torch: pip install 'simattn[fused]' ({error})") from None
    version = tuple(int(part) for part in found.__version__.split("+")[0].split(".")[:2])
    if not TESTED[0] <= version < TESTED[1]:
        low, high = (".".join(map(str, v)) for v in TESTED)
        raise Unavailable(f"torch {found.__version__} was not tested: pip install 'torch>={low},<{high}'")
    return found


@cache
def has_cuda() -> bool:
    """Whether there is a GPU that torch can use."""
    return bool(torch().cuda.is_available())


@cache
def several() -> bool:
    """Whether there are GPUs to choose from."""
    return has_cuda() and torch().cuda.device_count() > 1


@cache
def has(package: str) -> bool:
    """Whether an optional package is installed."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # of a module whose package is not there, or does not load
        return False


@cache
def driver() -> str | None:
    """The version of NVIDIA's driver, as nvidia-smi says it; None where nothing does."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return said.split()[0] if said.split() else None


def describe() -> dict[str, Any]:
    """The device and the versions that a measurement depends on, as plain data."""
    t = torch()
    versions = {"torch": t.__version__, "cuda": t.version.cuda, "cudnn": t.backends.cudnn.version() if has_cuda() else None}
    if has("triton"):
        versions["triton"] = importlib.import_module("triton").__version__
    if not has_cuda():
        return {"device": "cpu", "threads": t.get_num_threads(), "versions": versions}
    versions["driver"] = driver()
    p = t.cuda.get_device_properties(0)
    return {
        "device": p.name,
        "sms": p.multi_processor_count,
        "l2_bytes": p.L2_cache_size,
        "hbm_bytes": p.total_memory,
        "versions": versions,
    }
