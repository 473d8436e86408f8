"""The free memory of this computer."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available() -> int | None:
    """The number of free bytes, within the limit of a container if there is one; None if the system does not report it."""
    if not MEMINFO.exists():
        return None
    free = next((int(line.split()[1]) * 1024 for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable")), None)
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cache = next(int(line.split()[1]) for line in (CGROUP / "memory.stat").read_text().splitlines() if line.startswith("file "))
    except (OSError, StopIteration):
        return free
    left = None if limit == "max" else int(limit) - int(used) + cache
    return min((n for n in (free, left) if n is not None), default=None)
