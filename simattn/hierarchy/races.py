"""What thread blocks of one launch must not do to each other's arrays, and what none may load before it is stored."""

from .area import Area, Box, unwritten
from .hbm import HbmArray

DID = {"added": "added to", "stored": "stored", "loaded": "loaded"}


def refuse_race(kernel: str, array: HbmArray, does: str, box: Box, **others: Area) -> None:
    """RuntimeError where another thread block of the launch did what does not go together with this."""
    for did, area in others.items():
        if area.meets(box):
            raise RuntimeError(
                f"{kernel}: a thread block {does} what another of the same launch {DID[did]} (in {array.name}): "
                "on a GPU they run at once; meet in a later launch"
            )


def check_written(kernel: str, array: HbmArray, does: str) -> None:
    """RuntimeError where a part of the slice was never stored."""
    written: Area = array._touched.written  # type: ignore[union-attr]
    if not all(written.covers(box) for box in array._places()):
        never = unwritten(array.name, written, array._places())
        raise RuntimeError(f"{kernel}: a thread block {does} what nothing has stored yet: {never}")
