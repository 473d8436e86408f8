"""The rules for thread blocks of one launch: no races between them, and no loads of slices that were never stored."""

from .area import Area, Box, unwritten
from .hbm import HbmArray

DID = {"added": "added to", "stored": "stored", "loaded": "loaded"}


def refuse_race(kernel: str, array: HbmArray, does: str, box: Box, **others: Area) -> None:
    """Raise a RuntimeError if another thread block of the launch did something that conflicts with this."""
    for did, area in others.items():
        if area.meets(box):
            raise RuntimeError(
                f"{kernel}: a thread block {does} what another of the same launch {DID[did]} (in {array.name}): "
                "on a GPU they run in parallel; do it in a later launch"
            )


def check_written(kernel: str, array: HbmArray, does: str) -> None:
    """Raise a RuntimeError if a part of the slice was never stored."""
    written: Area = array._touched.written  # type: ignore[union-attr]
    if not all(written.covers(box) for box in array._places()):
        never = unwritten(array.name, written, array._places())
        raise RuntimeError(f"{kernel}: a thread block {does} what nothing has stored yet: {never}")
