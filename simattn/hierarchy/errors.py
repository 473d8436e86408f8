"""Errors that name the value, the place and the remedy."""

import difflib
from collections.abc import Iterable, Mapping


class SramOverflow(MemoryError):
    """A thread block's working set exceeds the on-chip capacity. `needed` and `capacity` are in bytes.

    >>> try:
    ...     sa.Machine(name="small", sram=8 * sa.KiB).run(sa.flash2, Q, K, V, Br=64, Bc=64)
    ... except sa.SramOverflow as error:
    ...     print(error.needed, error.capacity)
    32768 8192
    """

    def __init__(self, message: str, *, needed: int = 0, capacity: int = 0) -> None:
        super().__init__(message)
        self.needed, self.capacity = needed, capacity


class HbmOverflow(MemoryError):
    """Inputs, outputs and footprint together exceed the GPU's memory.

    >>> try:
    ...     sa.Machine(name="small", sram=1 << 20, hbm=1 << 15).run(sa.flash2, Q, K, V)
    ... except sa.HbmOverflow as error:
    ...     print(error)
    array 'lse' raises the HBM in use to 33,024 B, but small has 32,768 B; use a shorter sequence, fewer heads or another algorithm
    """


class RecordingTooLarge(MemoryError):
    """A recording would exceed the largest number of operations that it may hold."""


class RecordingError(ValueError):
    """A file is not a recording, or it was tampered with.

    >>> try:
    ...     sa.load_recording("docs/fidelity.json")
    ... except sa.RecordingError:
    ...     print("refused")
    refused
    """


def unknown(kind: str, name: object, known: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """The message for an unknown name, with the nearest known one.

    elsewhere: names used by other software -> the known name, or a sentence that says what to do.
    """
    names = list(known)
    plain = str(name).strip().lower().replace("-", "_")
    advice = (elsewhere or {}).get(plain, "")
    if " " in advice:
        return f"unknown {kind} {name!r}: {advice}"
    if advice in names:
        return f"unknown {kind} {name!r}: did you mean {advice!r}"
    by_plain = {known.lower().replace("-", "_"): known for known in names}
    near = [by_plain[p] for p in by_plain if plain and p.startswith(plain)]
    near = near or [by_plain[p] for p in difflib.get_close_matches(plain, by_plain, n=1)]
    return f"unknown {kind} {name!r}" + (f": did you mean {near[0]!r}" if near else f"; known: {', '.join(names)}")
