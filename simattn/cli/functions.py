"""Algorithms of the command line: names, and functions of a file, as mine.py:my_flash."""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ..hierarchy.errors import unknown

Algorithm = Callable[..., Any]


def algorithm(option: str, given: str) -> str | Algorithm:
    """A name as it is, or the function that `file.py:function` says; ValueError, in one line with the file, for what cannot be
    loaded."""
    file, colon, name = given.rpartition(":")
    if not colon and Path(given).suffix == ".py":
        raise ValueError(f"{option} {given}: name a function of the file, as in {given}:my_flash")
    if not colon:
        return given
    if not file or not name:
        raise ValueError(f"{option} {given}: give a file and one of its functions, as in mine.py:my_flash")
    found = vars(_loaded(option, Path(file)))
    functions = [x for x, f in found.items() if callable(f) and getattr(f, "__module__", None) == found["__name__"]]
    if name not in found:
        near = unknown("function", name, functions) if functions else "it defines no function"
        raise ValueError(f"{option} {given}: {near}")
    if not callable(found[name]):
        raise ValueError(f"{option} {given}: {name} is not a function, but of type {type(found[name]).__name__}")  # noqa: TRY004 - of the command line
    function: Algorithm = found[name]
    return function


def _loaded(option: str, path: Path) -> ModuleType:
    """The file, executed as a module, once; what lies beside it can be imported."""
    name, file = f"simattn:{path.resolve()}", str(path)
    if name in sys.modules:
        return sys.modules[name]
    try:
        code = compile(path.read_bytes(), str(path.resolve()), "exec")
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "the file"
        raise ValueError(f"{option}: {file} is not valid Python: {where}: {error.msg}; correct it") from None
    except ValueError as error:  # of null bytes
        raise ValueError(f"{option}: {file} is not valid Python: {error}; give a file of Python") from None
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error.strerror})"
        raise ValueError(f"{option}: {file}: {why}; give the path of a Python file, as mine.py:my_flash") from None
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        exec(code, vars(module))  # noqa: S102 - the user's own file
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == module.__file__]
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        remedy = (
            "put what is to run under `if __name__ == '__main__':`"
            if isinstance(error, SystemExit)
            else "mend what it does when it is loaded"
        )
        remedy = "install what it imports, or import something else" if isinstance(error, ImportError) else remedy
        raise ValueError(f"{option}: {file} cannot be loaded: line {lines[-1] if lines else 0}: {said}; {remedy}") from None
    return module
