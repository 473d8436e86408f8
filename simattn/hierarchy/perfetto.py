"""A trace as a file: JSON trace events, one a line, which Perfetto draws. docs/trace.md is the schema.

There is no clock, so one microsecond stands for one step, and the steps are drawn one after another as they were recorded.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ..text.files import replacing
from .device import Device, figures

FORMAT, VERSION = "simattn trace", 1
TIME = "one microsecond stands for one step, in the order in which the simulator recorded them"
Plain = dict[str, Any]
Lines = Callable[[], Iterator[tuple[int, Plain]]]


@dataclass(frozen=True, slots=True)
class Header:
    """What a trace is of."""

    algorithm: str
    machine: Device
    select: str
    steps: int


class Traced(NamedTuple):
    """An array in HBM: its shape for one head, its type, and whether the algorithm made it."""

    shape: tuple[int, ...]
    dtype: str
    made: bool


def write(path: Path, header: Header, arrays: Mapping[str, Traced], steps: Iterable[Plain]) -> None:
    """Write a trace. An existing file is replaced only when the new one is complete."""
    about = {"format": FORMAT, "version": VERSION, "time": TIME} | asdict(header) | {"machine": figures(header.machine)}
    about["arrays"] = {name: x._asdict() for name, x in arrays.items()}
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(f'{{"displayTimeUnit": "ns", "otherData": {_json(about)}, "traceEvents": [')
        separator = "\n"
        for event in _events(steps):
            file.write(separator + _json(event))
            separator = ",\n"
        file.write("\n]}\n")


def read(path: Path) -> tuple[Header, dict[str, Traced], Lines]:
    """The header, the arrays, and the steps with the numbers of their lines. ValueError for a file that is not such a trace."""
    wrong = f"{path} is not a trace that simattn saved"
    with path.open(encoding="utf-8") as file:
        try:
            about = json.loads(file.readline() + "]}")["otherData"]
            if about["format"] != FORMAT:
                raise KeyError(FORMAT)
            version = about["version"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(wrong) from None
    if version != VERSION:
        raise ValueError(f"{path}: a trace of version {version}, but this simattn reads version {VERSION}; save it again")
    try:
        header = Header(about["algorithm"], Device(**about["machine"]), about["select"], about["steps"])
        arrays = {name: Traced(tuple(x["shape"]), x["dtype"], x["made"]) for name, x in about["arrays"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(wrong) from None

    def lines() -> Iterator[tuple[int, Plain]]:
        found = 0
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if number == 1 or line.startswith("]"):
                    continue
                try:
                    event = json.loads(line.rstrip().rstrip(","))
                    step = event["args"] if event.get("cat") == "step" else None
                except (ValueError, KeyError, TypeError, AttributeError):
                    raise ValueError(f"{path}, line {number}: not an event of a trace; save it again") from None
                if step is not None:
                    found += 1
                    yield number, step
        if found != header.steps:
            raise ValueError(f"{path} ends early: it has {found:,} of {header.steps:,} steps; save it again")

    return header, arrays, lines


def _events(steps: Iterable[Plain]) -> Iterator[Plain]:
    """Trace events: a process a launch, a thread a thread block; slices nest as thread block, line, step; counters beside them."""
    process = time = 0
    for (block, _, _), group in groupby(steps, lambda step: (step["block"], step["launch"], step["heads"])):
        found = list(group)
        if block is None:
            for step in found:
                process += 1
                name = f"{process}. {step['kernel']}, {len(step['heads'])} head{'s' * (len(step['heads']) > 1)} side by side"
                yield {"ph": "M", "name": "process_name", "pid": process, "args": {"name": name}}
                yield _slice(step["kernel"], "step", time, 1, process, 0, step)
                time += 1
            continue
        label = f"thread block {block}"
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": block + 1, "args": {"name": label}}
        yield _slice(label, "block", time, len(found), process, block + 1, {})
        start = time
        for (file, line), run in groupby(found, lambda step: (step["file"], step["line"])):
            on_line = len(list(run))
            yield _slice(f"line {line}", "line", start, on_line, process, block + 1, {"file": file, "line": line})
            start += on_line
        for step in found:
            yield _slice(_title(step), "step", time, 1, process, block + 1, step)
            yield {"ph": "C", "name": "SRAM", "ts": time, "pid": process, "args": {"bytes": step["sram"]}}
            if any(name.startswith(("hbm", "sram")) for name in step["counts"]):
                for level in ("hbm", "sram"):
                    moved = {way: step["total"].get(f"{level}_{way}", 0) for way in ("read", "write")}
                    yield {"ph": "C", "name": f"{level.upper()} traffic", "ts": time, "pid": process, "args": moved}
            time += 1


def _slice(name: str, category: str, start: int, length: int, process: int, thread: int, args: Plain) -> Plain:
    return {"ph": "X", "name": name, "cat": category, "ts": start, "dur": length, "pid": process, "tid": thread, "args": args}


def _title(step: Plain) -> str:
    return " ".join(filter(None, (step["tile"] and f"{step['tile']} =", step["operation"], step["array"])))


def _json(x: Any) -> str:
    return json.dumps(x, separators=(",", ":"), allow_nan=False)
