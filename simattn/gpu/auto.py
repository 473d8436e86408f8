"""kernel="auto": the fastest kernel that takes the inputs, by a table that is measured once for each class of shapes and kept."""

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .backend import Unavailable, torch
from .catalogue import KERNELS
from .inputs import Inputs
from .kernel import Kernel
from .timing import milliseconds

Call = Callable[[Kernel], Callable[[], Any]]
Key = tuple[Any, ...]

_chosen: dict[Key, Kernel] = {}


def fastest(x: Inputs, call: Call, *, backward: bool = False) -> Kernel:
    """The kernel to run. call: what is timed of a kernel, where its shape class was not measured before."""
    key = shape_class(x, backward)
    found = _chosen.get(key)
    if found is not None and found.why_not(x, backward=backward) is None:
        return found
    candidates = [k for k in KERNELS.values() if k.why_not(x, backward=backward) is None]
    if not candidates:
        raise Unavailable(
            f"no kernel takes these inputs ({x.dtype} on {x.device}, d = {x.d}, n_q = {x.n_q}, n_k = {x.n_k}); "
            "sa.gpu.kernels() lists what each kernel needs"
        )
    candidates = [k for k in candidates if k.fused] or candidates
    table = _table(x)
    times = _read(table).get(repr(key), {})
    if any(k.name not in times for k in candidates):
        times = {k.name: ms for k in candidates if (ms := _timed(call, k, x.device)) is not None}
        _write(table, _read(table) | {repr(key): times})
    able = [k for k in candidates if k.name in times]
    if not able:
        raise Unavailable(
            f"{', '.join(k.name for k in candidates)} accept these inputs, but each failed; name one to see its error"
        )
    _chosen[key] = min(able, key=lambda k: times[k.name])
    return _chosen[key]


def _timed(call: Call, kernel: Kernel, device: str) -> float | None:
    """Milliseconds; None of a kernel that fails, for another may not."""
    try:
        return milliseconds(call(kernel), device)
    except (RuntimeError, MemoryError):
        return None


def shape_class(x: Inputs, backward: bool) -> Key:
    """Shapes of one class share their fastest kernel: lengths and heads go by powers of two, the rest by value."""
    lengths = [(n - 1).bit_length() for n in (x.n_q, x.n_k, x.lanes)]
    return (x.device, x.dtype, x.d, x.d_v, x.causal, x.n_q == x.n_k, x.group, *lengths, backward)


def _table(x: Inputs) -> Path:
    """The file for this device and these versions."""
    t = torch()
    device = t.cuda.get_device_name() if x.device == "cuda" else f"cpu with {t.get_num_threads()} threads"
    packages = ("triton", "flash-attn-3", "flash-attn-4", "flashinfer-python")
    installed = "".join(f" {package} {version}" for package in packages if (version := _version(package)))
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - pathlib's raises without a home
    name = f"{device} torch {t.__version__}{installed}"
    return home / "simattn" / f"{''.join(c if c.isalnum() else '-' for c in name)}.json"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Milliseconds by shape class and kernel; empty where there is no table, or none that can be read."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): {str(name): float(ms) for name, ms in times.items()} for key, times in table.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(path: Path, table: dict[str, dict[str, float]]) -> None:
    """Keep a table, whole or not at all; a folder that cannot be written to only costs the next process its time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(table, file, indent=1)
        try:
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)
    except OSError:
        pass
