"""The object that an algorithm receives as `gpu`: it allocates HBM and launches thread blocks, for lanes that run side by side."""

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .area import unwritten
from .device import Device
from .dtypes import BOOL, Array, DType, storage_type
from .errors import HbmOverflow
from .given import check_order
from .hbm import HbmArray, Touched
from .host import describe
from .log import Block, LaneShape, Layout, Reader, Source
from .program import Context, Frame, Program
from .source import CodeSource
from .sram import Sram
from .tile import Tile

Look = Callable[[Block, Any], Array]


class Gpu:
    """The device as one run of an algorithm sees it.

    >>> def double(gpu, X, *, Br):
    ...     Y = gpu.empty(X.shape, name="Y")
    ...     for sram, i in gpu.launch("double", sa.blocks(X.shape[0], Br)):
    ...         sram.store(Y[i], 2 * sram.load(X[i]))
    ...     return Y
    >>> machine.run(double, np.ones((64, 32), np.float32), Br=16).programs
    4
    """

    def __init__(
        self,
        context: Context,
        readers: Sequence[Reader],
        arrays: Mapping[str, Layout],
        *,
        total: int,
        common: frozenset[str],
        inputs: int,
        look: Look | None,
    ) -> None:
        self._context, self._readers, self._look = context, readers, look
        self._total, self._common, self._inputs = total, common, inputs
        self._lanes = math.prod(context.lanes)
        self._arrays = dict(arrays)  # by name, inputs first; thread blocks' logs speak of them
        self._made: dict[str, HbmArray] = {}
        self._open: str | None = None
        self._program: Program | None = None
        self._launches = 0

    @property
    def machine(self) -> Device:
        """The capacities and rates of what runs this.

        >>> gpu.machine.sram // sa.KiB
        419
        """
        return self._context.device

    @property
    def acc(self) -> DType:
        """The type of sums, products, `zeros` and `full`: float64 for float64 inputs, else float32.

        >>> gpu.acc.name
        'float32'
        """
        return self._context.acc

    @property
    def lanes(self) -> int:
        """How many heads, over the whole batch, run the same program; for launch heuristics.

        >>> gpu.lanes
        1
        """
        return self._total

    def empty(
        self, shape: Any, *, name: str | None = None, dtype: Any = None, like: HbmArray | None = None, layout: str = "bhnd"
    ) -> HbmArray:
        """Allocate an array in HBM with that shape for each head. Its type is that of the first input unless given; its heads are
        those of `like`. A slice can be loaded once something was stored there, and the array can be returned once all of it was.

        layout: the order of its axes in memory, the fastest last, as `sa.layout` takes it.

        >>> gpu.empty((64, 1), name="lse", dtype=gpu.acc)
        HBM array lse (64, 1) float32
        """
        name = name or f"array{len(self._made)}"
        if name in self._arrays:
            raise ValueError(f"gpu.empty: an array named {name!r} already exists; choose another name")
        if (
            not isinstance(shape, tuple | list)
            or len(shape) < 2
            or not all(isinstance(n, int | np.integer) and n > 0 for n in shape)
        ):
            raise ValueError(f"gpu.empty {name!r} of shape {shape}: give at least two dimensions, each at least 1")
        self._check_like(like, f"gpu.empty {name!r}")
        check_order(layout, "bhnd")
        if layout != "bhnd" and (len(shape) != 2 or self._context.packed):
            raise ValueError(
                f"gpu.empty {name!r}: a layout of {len(shape)} axes, or of packed heads, is row after row; leave it out"
            )
        kind = self._context.storage if dtype is None else BOOL if dtype == BOOL else storage_type(dtype)
        array = Layout(
            name, tuple(map(int, shape)), kind, self._context.lanes if like is None else like._lane_shape, True, _name(like), layout
        )
        self._refuse_beyond_memory(array)
        for reader in self._readers:
            reader.array(array)
        self._arrays[name] = array
        self._made[name] = HbmArray(array, self._context, touched=Touched())
        return self._made[name]

    def shares(self, array: HbmArray) -> bool:
        """Whether several heads read this array, as grouped heads read K and V. Then dK and dV are sums over those heads.

        >>> gpu.shares(K)
        False
        """
        return array._lanes < self._lanes or array.name in self._common

    def launch(self, kernel: str, *grid: Iterable[Any], like: HbmArray | None = None) -> Iterator[Any]:
        """A kernel's thread blocks: `for sram, i in gpu.launch("flash2", blocks(N, Br))`. Several axes give their product.

        Thread blocks are parallel on a GPU: each starts with empty SRAM, and only a later launch may load what one stores. They run
        once for each head, or once for each head of `like`: with like=K, once for each KV head.

        >>> O = gpu.empty(Q.shape, name="O")
        >>> for sram, i in gpu.launch("double", sa.blocks(Q.shape[0], 32)):
        ...     sram.store(O[i], 2 * sram.load(Q[i]))
        """
        self._refuse_open(f"launch {kernel!r}")
        if not grid:
            raise TypeError(f"launch {kernel!r} has no blocks: give them, as in gpu.launch({kernel!r}, blocks(N, Br))")
        self._check_like(like, f"launch {kernel!r}")
        frame = sys._getframe(1)
        return self._start(kernel, grid, like, frame, CodeSource(frame.f_code))

    def peek(self, tile: Any) -> Array:
        """A copy of a tile's values to look at. Nothing is counted, but the run records that it was peeked into.

        This executes what the thread block has recorded so far and keeps all its tiles until it ends, because it is not known yet
        which are read again. The shape is (r, c), or (batch, heads, r, c) for the heads that run side by side. TypeError if there
        are no values.

        >>> for sram, i in gpu.launch("look", sa.blocks(4, 2)):
        ...     print(gpu.peek(sram.arange(i)))
        [[0. 1.]]
        [[2. 3.]]
        """
        if not isinstance(tile, Tile):
            raise TypeError(f"peek at {describe(tile)}: give a tile")
        if tile._program.context is not self._context:
            raise TypeError(f"peek at {tile!r}: it belongs to another run")
        if self._look is None:
            raise TypeError(f"peek at {tile!r}: this call computes nothing, so the tile has no values; use machine.run")
        if tile._program is not self._program:
            tile._program.refuse_after_the_end()
        data = np.broadcast_to(self._look(self._block(tile._program), tile._operand), (*self._context.lanes, *tile.shape))
        return np.array(data[0, 0, 0] if self._lanes == 1 else data.reshape(data.shape[0], -1, *tile.shape))

    def _start(
        self, kernel: str, grid: tuple[Iterable[Any], ...], like: HbmArray | None, frame: Frame, source: Source
    ) -> Iterator[Any]:
        """Begin a launch; the frame gives the source position of its operations."""
        self._open = kernel
        self._launches += 1
        for reader in self._readers:
            reader.launch(kernel, _name(like))
        return self._programs(kernel, grid, self._context.lanes if like is None else like._lane_shape, frame, source)

    def _programs(
        self, kernel: str, grid: tuple[Iterable[Any], ...], lanes: LaneShape, frame: Frame, source: Source
    ) -> Iterator[Any]:
        for self._number, index in enumerate(zip(*grid, strict=True) if len(grid) == 1 else itertools.product(*grid)):
            program = self._program = Program(self._context, kernel, self._launches, lanes, frame, source)
            sram = Sram(program)
            yield (sram, *index)
            sram._end()
            self._program = None
            block = self._block(program)
            for reader in self._readers:
                reader.block(block)
        self._open = None

    def _block(self, program: Program) -> Block:
        return Block(program.kernel, program.launch, self._number, program.lanes, program.records, program.source, self._arrays)

    def _finish(self, result: Any) -> list[Layout]:
        """The arrays that the algorithm returned, each completely written. All other arrays that it made are its footprint."""
        self._refuse_open("the end of the run")
        outputs = list(result) if isinstance(result, tuple) else [result]
        for output in outputs:
            if not isinstance(output, HbmArray) or self._made.get(output.name) is not output:
                raise TypeError(f"the algorithm returned {output!r}: return arrays made with gpu.empty, whole")
        if not outputs:
            raise TypeError("the algorithm returned no array: return at least one made with gpu.empty")
        if len({output.name for output in outputs}) < len(outputs):
            raise TypeError(f"the algorithm returned {', '.join(output.name for output in outputs)}: return each array once")
        for output in outputs:
            never = unwritten(output.name, output._touched.written, output._places())
            if never is not None:
                raise RuntimeError(f"output {output.name} {output.shape}: nothing wrote {never}; store every slice of it")
        for reader in self._readers:
            reader.end()
        return [output._array for output in outputs]

    def _check_like(self, like: Any, what: str) -> None:
        if like is None:
            return
        if not isinstance(like, HbmArray):
            raise TypeError(f"{what}: like={like!r} is not an array in HBM")
        if like.name in self._common:
            raise ValueError(f"{what}: {like.name} is shared by heads of different groups, or by the whole batch")

    def _refuse_open(self, what: str) -> None:
        if self._open is not None:
            raise RuntimeError(f"{what}: launch {self._open!r} is still open; run its loop over thread blocks to the end first")

    def _refuse_beyond_memory(self, array: Layout) -> None:
        everywhere = sum(made._array.nbytes for made in self._made.values()) + array.nbytes
        used = self._inputs + everywhere * self.lanes // self._lanes
        if self.machine.hbm is not None and used > self.machine.hbm:
            raise HbmOverflow(
                f"array {array.name!r} raises the HBM in use to {used:,} B, but {self.machine.name} has "
                f"{self.machine.hbm:,} B; use a shorter "
                "sequence, fewer heads or another algorithm"
            )


def _name(like: HbmArray | None) -> str | None:
    return None if like is None else like.name
