"""Real tensors: Q, K, V from a file, and those that simattn ships."""

import zipfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SHIPPED = "minilm_declaration.safetensors"


class TensorFileError(ValueError):
    """A file that does not hold Q, K and V."""


def read_qkv(path: str | Path) -> tuple[Array, Array, Array]:
    """Q, K, V from a `.npz` (never unpickled) or `.safetensors` file; TensorFileError says what is wrong with it."""
    path = Path(path)
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise TensorFileError(f"{path}: give a .npz or .safetensors file")
    if not path.is_file():
        raise TensorFileError(f"{path}: no such file")
    tensors = readers[path.suffix](path)
    q, k, v = tensors["Q"], tensors["K"], tensors["V"]
    return q, k, v


def shipped_qkv() -> tuple[Array, Array, Array]:
    """Q, K, V (1, 12, 512, 32), float16: a layer of all-MiniLM-L6-v2 reading the Declaration of Independence."""
    with as_file(files("simattn") / "data" / SHIPPED) as path:
        return read_qkv(path)


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            _require(path, getattr(archive, "files", []))
            return {name: archive[name] for name in "QKV"}
    except TensorFileError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, MemoryError, SyntaxError) as error:
        raise TensorFileError(f"{path}: not a readable .npz of plain arrays ({_line(error)})") from None


def _read_safetensors(path: Path) -> dict[str, Array]:
    import ml_dtypes  # noqa: F401, PLC0415 - gives NumPy the names bfloat16 and float8
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    try:
        with safe_open(path, framework="numpy") as archive:
            _require(path, archive.keys())
            return {name: archive.get_tensor(name) for name in "QKV"}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
        if isinstance(error, TensorFileError):
            raise
        raise TensorFileError(f"{path}: not a readable .safetensors file ({_line(error)})") from None


def _require(path: Path, names: Any) -> None:
    missing = [name for name in "QKV" if name not in names]
    if missing:
        raise TensorFileError(
            f"{path}: holds {', '.join(sorted(names)) or 'nothing'}, but not {', '.join(missing)}; name the arrays Q, K, V"
        )


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
