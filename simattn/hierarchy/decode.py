"""Reading a recording. Nothing in the file is trusted: it is plain data, and the machine executes and checks every operation in it
again."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .encode import FORMAT, VERSION
from .errors import RecordingError
from .given import ArraySpec, Given, Pool, check_order, each, layout, spec
from .interpret.keep import MOST, Launch, Places, Program, Step
from .log import LANES, Layout, Place, Region, View
from .machine import Machine
from .recording import Recording
from .run import Run

LINE = 1 << 28  # bytes of the longest line: a thread block of two million operations
WHOLE = 1 << 29  # bytes of all lines


def load_recording(path: str | Path) -> Recording:
    """Load a recording that `Recording.save` wrote. Any other file raises a RecordingError with a one-line message. The counts are
    computed again, and a program that no algorithm could have recorded is refused.

    >>> machine.record(sa.flash2, *[sa.spec((64, 32))] * 3, Br=32, Bc=32).save("flash2.json.gz")
    >>> sa.load_recording("flash2.json.gz").run(Q, K, V).hbm_read
    40960
    """
    path = Path(path)
    try:
        return _read(path)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: not a readable recording ({_line(error)})") from None
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise RecordingError(f"{path}: no algorithm could have recorded this ({_line(error)})") from None


def _read(path: Path) -> Recording:
    with gzip.open(path, "rb") as file:
        lines = _lines(file)
        header = _object(next(lines, None), "first line")
        if header.get("format") != FORMAT:
            raise RecordingError("not a recording of simattn; make one with machine.record(...).save(file)")
        if header.get("version") != VERSION:
            raise RecordingError(f"version {header.get('version')!r} of the format; this simattn reads {VERSION}; record it again")
        machine = Machine(**_object(header["machine"], "machine"))
        given = {_text(name): _given(x) for name, x in _object(header["given"], "given").items()}
        places = Places([_place(x) for x in header["places"]])
        room = [MOST]
        programs = [_program(lines, len(places), room) for _ in range(_whole(header["programs"], 1 << 20))]
        if next(lines, None) is not None:
            raise RecordingError("the file contains more than its programs")
    empty = Run(
        algorithm=_text(header["algorithm"]), machine=machine.name, outputs={}, kernels={}, tensors={}, hbm_footprint=0, blocks={},
        peeked=False,
    )  # fmt: skip
    recording = Recording(
        algorithm=empty.algorithm,
        machine=machine,
        given=given,
        leading=_whole(header["leading"], len(given)),
        packs_groups=header["packs_groups"] is True,
        blocks={_text(name): _whole(n, 1 << 40) for name, n in _object(header["blocks"], "blocks").items()},
        programs=programs,
        places=places,
        counts=empty,
    )
    return replace(recording, counts=recording.counted())


def _lines(file: gzip.GzipFile) -> Iterator[Any]:
    read = 0
    while line := file.readline(LINE):
        read += len(line)
        if len(line) == LINE or read > WHOLE:
            raise RecordingError(f"more than {WHOLE:,} B; a recording of {MOST:,} operations is smaller")
        try:
            yield json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise RecordingError(f"a line is not JSON ({_line(error)})") from None


def _program(lines: Iterator[Any], places: int, room: list[int]) -> Program:
    head = _object(next(lines, None), "program")
    arrays = [_made(*x) for x in head["arrays"]]
    launches = []
    for _ in range(_whole(head["launches"], 1 << 24)):
        launch = _object(next(lines, None), "launch")
        like = launch["like"]
        blocks = [_block(next(lines, None), places, room) for _ in range(_whole(launch["blocks"], 1 << 24))]
        launches.append(Launch(_text(launch["kernel"]), None if like is None else _text(like), blocks))
    return Program(arrays, launches, [_text(name) for name in head["outputs"]])


def _block(line: Any, places: int, room: list[int]) -> list[Step]:
    if not isinstance(line, list):
        raise RecordingError(f"a thread block is missing: found {str(line)[:40]}")
    room[0] -= len(line)
    if room[0] < 0:
        raise RecordingError(f"more than {MOST:,} operations")
    return [_step(*x, places=places) for x in line]


def _step(name: Any, parameters: Any, operands: Any, place: Any, *, places: int) -> Step:
    if not all(isinstance(p, str) or (isinstance(p, int) and not isinstance(p, bool)) for p in parameters):
        raise RecordingError(f"operation {name!r}: parameters {parameters!r}")
    return _text(name), tuple(parameters), tuple(map(_operand, operands)), _whole(place, places - 1)


def _operand(x: Any) -> Any:
    if isinstance(x, int) and not isinstance(x, bool):
        return x
    if isinstance(x, list):
        return View(
            _whole(x[0], MOST), tuple(None if key is None else (..., *(slice(*map(_integer, k)) for k in key)) for key in x[1:])
        )
    ((kind, value),) = _object(x, "operand").items()
    if kind == "lanes":
        return LANES
    if kind == "number":
        return float(value)
    if kind == "range":
        return range(*(_integer(k) or 0 for k in value))
    if kind == "region":
        name, *index = value
        return Region(_text(name), tuple(slice(*map(_integer, k)) if isinstance(k, list) else _whole(k, 1 << 40) for k in index))
    raise RecordingError(f"unknown operand {kind!r}")


def _made(name: Any, shape: Any, dtype: Any, like: Any, order: Any = "bhnd") -> Layout:
    it = spec(shape, dtype)
    check_order(order, "bhnd")
    return Layout(_text(name), it.shape, it.dtype, (1, 1, 1), True, None if like is None else _text(like), order)


def _given(x: Any) -> Given:
    x = _object(x, "given")
    if "pool" in x:
        inner = _given(x["pool"])
        return Pool(inner) if isinstance(inner, ArraySpec) else _refuse(x)
    if "layout" in x:
        inner = _given(x["of"])
        return layout(inner, x["layout"]) if isinstance(inner, ArraySpec) else _refuse(x)
    if "each" in x:
        values = [np.asarray(v) if isinstance(v, list) else v if isinstance(v, int | float) else _refuse(v) for v in x["each"]]
        return each(values, x["axis"])
    return np.asarray(x["table"], np.int64) if "table" in x else spec(x["shape"], x["dtype"])


def _place(x: Any) -> Place:
    file, line, column, name = x
    return Place(_text(file), _whole(line, 1 << 31), _whole(column, 1 << 31), None if name is None else _text(name))


def _object(x: Any, what: str) -> dict[str, Any]:
    if not isinstance(x, dict):
        raise RecordingError(f"the {what} is missing: found {str(x)[:40]}")
    return x


def _text(x: Any) -> str:
    return x if isinstance(x, str) else _refuse(x)


def _integer(x: Any) -> int | None:
    return x if x is None or (isinstance(x, int) and not isinstance(x, bool)) else _refuse(x)


def _whole(x: Any, most: int) -> int:
    return x if isinstance(x, int) and not isinstance(x, bool) and 0 <= x <= most else _refuse(x)


def _refuse(x: Any) -> NoReturn:
    raise RecordingError(f"found {str(x)[:60]!r} in an unexpected place")


def _refuse_constant(name: str) -> NoReturn:
    raise RecordingError(f"{name} is not a number here")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
