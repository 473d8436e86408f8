"""Real tensors: Q, K and V from a file, and those that come with simattn."""

import json
import zipfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from ..hierarchy.dtypes import STORAGE, Array
from .inputs import checked_qkv

SHIPPED = "minilm_declaration.safetensors"
SAFETENSORS = {
    theirs: STORAGE[ours].newbyteorder("<")
    for theirs, ours in {
        "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    }.items()
}  # fmt: skip


class TensorFileError(ValueError):
    """A file that does not hold Q, K and V."""


def read_qkv(path: str | Path) -> tuple[Array, Array, Array]:
    """Q, K, V from a `.npz` (never unpickled) or `.safetensors` file; TensorFileError says what is wrong with it, and what to do.

    (N, d) or (batch, heads, N, d), of one storage type, float8 included, and finite, as attention takes them.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TensorFileError(f"{path}: {_kind(path)}; give a .npz or .safetensors file that holds Q, K and V")
    if not path.is_file():
        raise TensorFileError(f"{path}: {_kind(path)}; give a {path.suffix} file that holds Q, K and V")
    found = reader(path)
    try:
        checked_qkv(**found)
    except (TypeError, ValueError) as error:
        raise TensorFileError(f"{path}: {error}") from None
    return found["Q"], found["K"], found["V"]


def tensors() -> tuple[Array, Array, Array]:
    """Q, K, V (1, 12, 512, 32), float16: a layer of all-MiniLM-L6-v2 reading the Declaration of Independence.

    >>> Q, K, V = sa.tensors()
    >>> Q.shape, Q.dtype.name
    ((1, 12, 512, 32), 'float16')
    """
    with as_file(files("simattn") / "data" / SHIPPED) as path:
        return read_qkv(path)


def _read_npz(path: Path) -> dict[str, Array]:
    if not zipfile.is_zipfile(path):
        raise TensorFileError(f"{path}: {_kind(path)}, not a .npz; np.savez(path, Q=Q, K=K, V=V) writes one")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            _require(path, archive.files)
            found = {name: archive[name] for name in "QKV"}
    except TensorFileError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, MemoryError, SyntaxError) as error:
        remedy = "np.savez(path, Q=Q, K=K, V=V) writes it anew, from arrays of numbers"
        raise TensorFileError(f"{path}: not a readable .npz of plain arrays ({_line(error)}); {remedy}") from None
    for name, x in found.items():
        if not isinstance(x, np.ndarray):
            raise TensorFileError(f"{path}: member {name} is not an array; np.savez(path, Q=Q, K=K, V=V) writes arrays")
        if x.dtype.kind == "V":
            raise TensorFileError(
                f"{path}: {name} has lost its type, because a .npz file cannot store bfloat16 or float8; give a .safetensors file"
            )
    return found


def _read_safetensors(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    try:
        with safe_open(path, framework="numpy") as archive:  # checks the header
            _require(path, archive.keys())
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
            return {name: _tensor(path, name, header[name], length + 8) for name in "QKV"}
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        if isinstance(error, TensorFileError):
            raise
        remedy = "safetensors.numpy.save_file({'Q': Q, 'K': K, 'V': V}, path) writes one"
        raise TensorFileError(f"{path}: {_kind(path)} ({_line(error)}); {remedy}") from None


def _tensor(path: Path, name: str, about: dict[str, Any], start: int) -> Array:
    """One tensor, by its entry in the header: safetensors' own reader for NumPy knows no float8."""
    if about["dtype"] not in SAFETENSORS:
        raise TensorFileError(f"{path}: {name} has type {about['dtype']}; give {', '.join(SAFETENSORS)}")
    first, last = about["data_offsets"]
    dtype = SAFETENSORS[about["dtype"]]
    data = np.fromfile(path, dtype, (last - first) // dtype.itemsize, offset=start + first)
    return data.reshape(about["shape"])


def _require(path: Path, names: Any) -> None:
    missing = [name for name in "QKV" if name not in names]
    if missing:
        holds = sorted(names)
        shown = ", ".join(holds[:8]) + (f" and {len(holds) - 8} more" if len(holds) > 8 else "")
        raise TensorFileError(f"{path}: holds {shown or 'nothing'}, but not {', '.join(missing)}; name the arrays Q, K, V")


def _kind(path: Path) -> str:
    """What lies at a path, by its first bytes."""
    if path.is_dir():
        return "a folder"
    if not path.is_file():
        return "there is no such file" if not path.exists() else "not a file of data"
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not start:
        return "an empty file"
    if start.startswith(b"\x93NUMPY"):
        return "a .npy file, which holds one array without a name"
    if start.startswith(b"PK"):
        return "a zip file" if zipfile.is_zipfile(path) else "a zip file that was cut short"
    if start[8:9] == b"{":
        return "a .safetensors file, damaged or cut short"
    if start.startswith(b"\x80"):
        return "a pickle, which is not read, for it could run anything"
    return "a text file" if all(byte >= 32 or byte in b"\t\n\r\f" for byte in start) else "a file of another kind"


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
