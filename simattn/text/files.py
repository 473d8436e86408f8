"""Files that are written whole, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name in the folder of `path` to write to. At the end of the block it takes the name `path`.

    Whatever ends the block early (an error, Ctrl-C, a full disk) leaves what was there before, and nothing beside it. OSError names `path`.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file() and not target.is_dir():
        raise OSError(f"{path} was not written: that is a device, not a file")
    part = _part(target)
    try:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except OSError as error:
        raise OSError(f"{path} was not written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def refuse_unwritable(path: str | Path, option: str) -> Path:
    """The path, where a file can be written; ValueError names the option and says why it cannot."""
    if not str(path):
        raise ValueError(f"{option} '': give the name of a file")
    target = Path(path).resolve()
    why = None
    if target.is_dir():
        why = "that is a folder; give the name of a file"
    elif target.exists() and not target.is_file():
        why = "that is a device, not a file"
    elif target.exists() and not os.access(target, os.W_OK):
        why = "that file is read-only"
    elif not target.parent.is_dir():
        why = f"there is no folder {Path(path).parent}"
    else:
        part = _part(target)
        try:  # what the permissions say and what the file system does are not the same
            part.touch(exist_ok=False)
            part.unlink()
        except OSError as error:
            why = f"no file can be written there ({error.strerror})"
    if why:
        raise ValueError(f"{option} {path}: {why}")
    return Path(path)


def _part(target: Path) -> Path:
    return target.with_name(f".simattn-{os.getpid()}.part")
