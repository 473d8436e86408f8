"""A recorded program as an algorithm. It performs the same operations again, so that every rule of the machine applies to it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import unknown
from .functions import concatenate
from .gpu import Gpu
from .hbm import HbmArray
from .interpret.keep import Launch, Places, Program, Step
from .log import Index, Region, View
from .operations import ELEMENTWISE, REDUCTIONS
from .sram import Sram
from .tile import Tile, apply

FUNCTIONS = {f.__name__: f for f in (*ELEMENTWISE, np.matmul)}
REDUCED = {name: function for function, name in REDUCTIONS.items()}
AXES = {(-2,): 0, (-1,): 1, (-2, -1): None}


class Cursor:
    """The position of a recorded program: the number of a place."""

    f_lasti = 0


def replay(gpu: Gpu, program: Program, places: Places, arrays: dict[str, HbmArray]) -> tuple[HbmArray, ...]:
    """Run a recorded program on arrays by name. ValueError, TypeError or IndexError for one that no algorithm could have
    recorded."""
    arrays = dict(arrays)
    for made in program.arrays:
        like = None if made.like is None else _array(arrays, made.like)
        arrays[made.name] = gpu.empty(made.shape, name=made.name, dtype=made.dtype, like=like, layout=made.order)
    for launch in program.launches:
        _launch(gpu, launch, places, arrays)
    return tuple(_array(arrays, name) for name in program.outputs)


def _launch(gpu: Gpu, launch: Launch, places: Places, arrays: dict[str, HbmArray]) -> None:
    cursor, regions = Cursor(), dict[str, dict[Any, HbmArray]]()
    like = None if launch.like is None else _array(arrays, launch.like)

    def region(name: str, index: Index) -> HbmArray:
        known = regions.setdefault(name, {})
        key = tuple(k if isinstance(k, int) else (k.start, k.stop, k.step) for k in index)
        if key not in known:
            known[key] = _array(arrays, name)[index]
        return known[key]

    for sram, steps in gpu._start(launch.kernel, (launch.blocks,), like, cursor, places):
        tiles: list[Tile | None] = []
        for step in steps:
            cursor.f_lasti = step[3]
            said = _say(sram, step, tiles, region)
            tiles.append(said if isinstance(said, Tile) else None)


def _say(sram: Sram, step: Step, tiles: Sequence[Tile | None], region: Callable[[str, Index], HbmArray]) -> Any:
    """Perform one operation again."""
    name, parameters, operands, _ = step

    def operand(x: Any) -> Any:
        if isinstance(x, Region):
            return region(*x)
        if not isinstance(x, View | int):
            return x
        view = x if isinstance(x, View) else View(x, ())
        tile = tiles[view.position] if 0 <= view.position < len(tiles) else None
        if tile is None:
            raise IndexError(f"operation {len(tiles)}, {name}, reads tile {view.position}, which is not defined before it")
        for key in view.keys:
            tile = tile.T if key is None else tile[key[1:]]
        return tile

    if name in FUNCTIONS:
        return apply(FUNCTIONS[name], *map(operand, operands))
    if name in REDUCED:
        return operand(operands[0])._reduce(REDUCED[name], AXES[parameters], True)
    if name not in WORDS:
        raise ValueError(unknown("operation", name, [*WORDS, *FUNCTIONS, *REDUCED]))
    return WORDS[name](sram, parameters, tuple(map(operand, operands)))


WORDS: dict[str, Callable[[Sram, tuple[Any, ...], tuple[Any, ...]], Any]] = {
    "load": lambda sram, _, operands: sram.load(*operands),
    "store": lambda sram, _, operands: sram.store(*operands),
    "atomic_add": lambda sram, _, operands: sram.atomic_add(*operands),
    "load_int": lambda sram, _, operands: sram.load_int(*operands),
    "random": lambda sram, parameters, operands: sram.random(_slice(operands[1]), _slice(operands[2]), *parameters),
    "full": lambda sram, parameters, operands: sram.full(parameters[:2], operands[0], parameters[2]),
    "arange": lambda sram, _, operands: sram.arange(_slice(operands[0])),
    "concatenate": lambda _, parameters, operands: concatenate(operands, *parameters),
    "astype": lambda _, parameters, operands: operands[0].astype(parameters[0]),
}


def _slice(x: range) -> slice:
    return slice(x.start, x.stop, x.step)


def _array(arrays: dict[str, HbmArray], name: str) -> HbmArray:
    if name not in arrays:
        raise ValueError(unknown("array", name, arrays))
    return arrays[name]
