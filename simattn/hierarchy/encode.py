"""A recording as plain data: gzipped lines of JSON, of which docs/recordings.md is the schema."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..text.files import replacing
from .device import figures
from .given import ArraySpec, Each, Given, Laid, Pool
from .interpret.keep import Places, Program, Step
from .log import LANES, Region, View

FORMAT, VERSION = "simattn recording", 1


def write(
    path: Path, header: dict[str, Any], device: Any, given: Mapping[str, Given], programs: Sequence[Program], places: Places
) -> None:
    """Write a recording. An existing file is replaced only when the new one is complete."""
    first = header | {
        "format": FORMAT, "version": VERSION, "machine": figures(device), "given": {name: _given(x) for name, x in given.items()},
        "places": [list(place) for place in places], "programs": len(programs),
    }  # fmt: skip
    with replacing(path) as part, part.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for line in (first, *_lines(programs)):
            file.write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")


def _lines(programs: Sequence[Program]) -> Iterator[Any]:
    """A line for each program, then one for each of its launches, then one for each thread block of that."""
    for program in programs:
        arrays = [[a.name, list(a.shape), a.dtype.name, a.like, *[a.order] * (a.order != "bhnd")] for a in program.arrays]
        yield {"arrays": arrays, "outputs": program.outputs, "launches": len(program.launches)}
        for launch in program.launches:
            yield {"kernel": launch.kernel, "like": launch.like, "blocks": len(launch.blocks)}
            for block in launch.blocks:
                yield [_step(step) for step in block]


def _step(step: Step) -> list[Any]:
    name, parameters, operands, place = step
    return [name, list(parameters), [operand(x) for x in operands], place]


def operand(x: Any) -> Any:
    """A tile is written as its position, a view as a list, and everything else as an object with one key."""
    if x is LANES:
        return {"lanes": True}
    if isinstance(x, Region):
        return {"region": [x.array, *(k if isinstance(k, int) else [k.start, k.stop, k.step] for k in x.place)]}
    if isinstance(x, View):
        return [x.position, *(None if key is None else [[k.start, k.stop, k.step] for k in key[1:]] for key in x.keys)]
    if isinstance(x, range):
        return {"range": [x.start, x.stop, x.step]}
    if isinstance(x, float):
        return {"number": x if np.isfinite(x) else repr(x)}  # JSON has no infinities
    return x


def _given(x: Given) -> dict[str, Any]:
    if isinstance(x, Pool):
        return {"pool": _given(x.values)}
    if isinstance(x, Laid):
        return {"layout": x.order, "of": _given(x.values)}
    if isinstance(x, ArraySpec):
        return {"shape": list(x.shape), "dtype": x.dtype.name}
    if isinstance(x, Each):
        return {"each": [v.tolist() if isinstance(v, np.ndarray) else v for v in x.values], "axis": x.axis}
    return {"table": x.tolist()}
