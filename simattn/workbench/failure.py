"""Why an algorithm has no run: one message, which gives the line in the caller's function."""

import inspect
import linecache
import traceback
from pathlib import Path
from typing import Any

from ..hierarchy.errors import SramOverflow
from .listed import Listed, plain

PACKAGE = Path(__file__).resolve().parents[1]


def outcome(error: BaseException, algorithm: Listed) -> str:
    """The word in place of a verdict: did not fit; failed, where the caller's function began; refused, where nothing ran."""
    if isinstance(error, MemoryError):
        return "did not fit"
    return "failed" if algorithm.own and _line(error, algorithm.function) else "refused"


def message(error: BaseException, algorithm: Listed) -> str:
    """What went wrong. An error of the caller's function has its line, and its kind where Python raised it and not the machine."""
    said = str(error)
    if not algorithm.own or isinstance(error, SramOverflow):  # which has its line
        return said
    where = _line(error, algorithm.function)
    if where is None:
        return said or type(error).__name__
    raised = traceback.extract_tb(error.__traceback__)[-1]
    if not Path(raised.filename).is_relative_to(PACKAGE):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{said}, at {where}"


def _line(error: BaseException, function: Any) -> str | None:
    """The last line of the function's file that the error passed; None where it did not come to one."""
    function = inspect.unwrap(plain(function))
    code = getattr(function, "__code__", None) or getattr(vars(type(function)).get("__call__"), "__code__", None)
    passed = [frame for frame in traceback.extract_tb(error.__traceback__) if code and frame.filename == code.co_filename]
    if not passed:
        return None
    file, line = passed[-1].filename, passed[-1].lineno or 0
    text = linecache.getline(file, line).strip()
    return f"line {line} of {Path(file).name}" + (f": {text}" if text else "")
