"""A machine: a device that runs algorithms, counts them, and records them."""

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from .blas import one_thread
from .call import BLOCK_SIZES, Call
from .device import Device
from .dtypes import FLOAT32, STORAGE, Array, accumulation_type
from .errors import SramOverflow
from .gpu import Gpu, Look
from .hbm import HbmArray
from .interpret.count import Count
from .interpret.execute import Execute
from .interpret.keep import MOST, Keep, Places, Program
from .interpret.sectors import Sectors
from .interpret.threads import Threads
from .interpret.tracer import Tracer
from .interpret.working_set import WorkingSets
from .lanes import Arrangement, Selection
from .log import Layout, Reader
from .program import Context
from .recording import Recording
from .run import Run
from .trace import Trace, tracing

Made = TypeVar("Made")


class Machine(Device):
    """A device that runs algorithms: `machine.run(flash2, Q, K, V)`. Immutable; its figures are those of `Device`.

    >>> toy = sa.Machine(name="toy", sram=48 * sa.KiB)
    >>> toy.run(sa.flash2, Q, K, V).blocks
    {'Br': 32, 'Bc': 32}
    """

    def run(
        self,
        algorithm: Callable[..., Any],
        *args: Any,
        workers: int | None = None,
        trace: Any = False,
        **options: Any,
    ) -> Run:
        """Run `algorithm(gpu, *args, **options)`; NumPy arrays become arrays in HBM, and everything else is passed on unchanged.

        Arrays are (N, d) or (batch, heads, N, d); one of shape (n,) is a row (1, n), the same for every head. An output that was
        made as a row comes back as (1, n). Where the algorithm takes Br and Bc and neither is given, the run tries 128, 64, 32, 16
        for both and keeps the first that fits. workers: the number of threads that execute, one per core unless given, each with
        one BLAS thread; the results are bitwise the same for any number. trace: True for every step, a selection as "flash2[3]", or
        `Tracing`; the run then has a `trace`. Raises SramOverflow, HbmOverflow, RuntimeError for an output that was not completely
        written, and TypeError for options that the algorithm does not have.

        >>> run = machine.run(sa.flash2, Q, K, V, causal=True, Br=32, Bc=32)
        >>> run.output.shape, run.hbm_read
        ((64, 32), 32768)
        """
        call = Call(algorithm, args, options)
        arranged, asked = call.arranged(), tracing(trace)

        def run(options: dict[str, Any]) -> Run:
            sets = WorkingSets(self)
            tracer = None if asked is None else Tracer(asked, sets)
            count, sectors, outputs, peeked = Count(sets), Sectors(sets, arranged), Outputs(arranged), False
            with one_thread(), Threads(workers) as threads:
                for lanes in arranged.groups(self.sram):
                    numbers = arranged.numbers_of(lanes)
                    execute = Execute(sets, arranged.values(lanes), numbers, threads, tracer)
                    sectors.lanes(lanes)
                    readers: list[Reader] = [sets, count, sectors, execute]
                    if tracer is not None:
                        tracer.lanes(numbers)
                        readers.insert(2, tracer)
                    made = self._record(call, options, arranged, lanes, readers, execute.look)
                    count.returned({array.name for array in made})
                    outputs.add(made, lanes, execute)
                    peeked |= execute.peeked
            traced = None if tracer is None else tracer.trace(call.name, self)
            return self._run(call, options, count, sectors, outputs.whole(), peeked, traced)

        return self._tried(call, run)

    def count(self, algorithm: Callable[..., Any], *args: Any, **options: Any) -> Run:
        """The counts of `run`, without arithmetic and without arrays: `machine.count(sa.flash2, sa.spec((1, 16, 16384, 64)), ...)`.

        The arrays are specs (or arrays, of which the shapes are read); tables of integers, on which the program depends, must be
        arrays. One lane is recorded for all equal lanes. TypeError for an algorithm that looks at values.

        >>> long = sa.spec((1, 16, 4096, 64), "float16")
        >>> machine.count(sa.flash2, long, long, long).hbm_read
        545259520
        """
        call = Call(algorithm, args, options)
        arranged = call.arranged(values=False)

        def run(options: dict[str, Any]) -> Run:
            sets = WorkingSets(self)
            count, sectors = Count(sets), Sectors(sets, arranged)
            with collector_at_rest():
                for lanes in arranged.alike():
                    sectors.lanes(lanes)
                    made = self._record(call, options, arranged, lanes, [sets, count, sectors], None)
                    count.returned({array.name for array in made})
            return self._run(call, options, count, sectors, {}, peeked=False)

        return self._tried(call, run)

    def record(self, algorithm: Callable[..., Any], *args: Any, **options: Any) -> Recording:
        """Record the whole program of an algorithm, without values: `.counts`, `.run(Q, K, V)`, `.save(file)`.

        The arrays are specs (or arrays, of which the shapes are read); tables of integers, on which the program depends, must be
        arrays and become part of the recording, as every option does. MemoryError beyond two million operations.

        >>> recorded = machine.record(sa.flash2, *[sa.spec((64, 32))] * 3, Br=32, Bc=32)
        >>> recorded
        Recording of flash2 on a100-40gb: Q (64, 32), K (64, 32), V (64, 32); 84 operations
        >>> recorded.counts.hbm_read == recorded.run(Q, K, V).hbm_read
        True
        """
        call = Call(algorithm, args, options)
        arranged = call.arranged(values=False)

        def run(options: dict[str, Any]) -> Recording:
            sets, places, programs = WorkingSets(self), Places(), list[Program]()
            count, sectors = Count(sets), Sectors(sets, arranged)
            with collector_at_rest():
                for lanes in arranged.alike():
                    sectors.lanes(lanes)
                    keep = Keep(places, MOST - sum(map(len, programs)))
                    made = self._record(call, options, arranged, lanes, [sets, count, sectors, keep], None)
                    keep.program.outputs = [array.name for array in made]
                    count.returned(set(keep.program.outputs))
                    programs.append(keep.program)
            counts = self._run(call, options, count, sectors, {}, peeked=False)
            given, leading = call.given()
            return Recording(call.name, self, given, leading, call.pack, counts.blocks, programs, places, counts)

        return self._tried(call, run)

    def _tried(self, call: Call, run: Callable[[dict[str, Any]], Made]) -> Made:
        """With the first block sizes that fit."""
        for options in call.tries():
            try:
                return run(options)
            except SramOverflow as error:
                if options is call.options:
                    raise
                overflow = error
        overflow.add_note(f"{' and '.join(call.asked)} of {BLOCK_SIZES} were all tried; give smaller ones")
        raise overflow

    def _record(
        self,
        call: Call,
        options: dict[str, Any],
        arranged: Arrangement,
        lanes: Selection,
        readers: Sequence[Reader],
        look: Look | None,
    ) -> list[Layout]:
        """Run the algorithm for a set of equal lanes while the readers follow; return its output arrays."""
        arrays = arranged.seen(lanes)
        stored = [x.dtype for x in arranged.arrays.values() if x.dtype in STORAGE.values()]
        storage = next(iter(stored), FLOAT32)
        context = Context(
            self,
            acc=storage if self.rounds_every_operation else accumulation_type(stored),
            storage=storage,
            lanes=arranged.lane_shape(lanes),
            packed=arranged.packed and arranged.group > 1,
        )
        gpu = Gpu(
            context,
            readers,
            arrays,
            total=math.prod(arranged.lanes),
            common=frozenset(name for name, x in arranged.arrays.items() if x.lanes[:2] != arranged.lanes[:2])
            | arranged.each.keys(),
            inputs=arranged.nbytes,
            look=look,
        )
        tables = arranged.tables_of(lanes)
        seen: dict[str, Any] = {name: HbmArray(x, context, table=tables.get(name)) for name, x in arrays.items()}
        seen |= arranged.scalars(lanes)
        return gpu._finish(call.run(gpu, seen, options, arranged.group))

    def _run(
        self,
        call: Call,
        options: dict[str, Any],
        count: Count,
        sectors: Sectors,
        outputs: dict[str, Array],
        peeked: bool,
        trace: Trace | None = None,
    ) -> Run:
        return Run(
            algorithm=call.name,
            machine=self.name,
            outputs=outputs,
            kernels=count.kernels(),
            tensors=count.tensors(),
            sectors=dict(sectors.touched),
            hbm_footprint=count.footprint,
            blocks={name: options[name] for name in call.asked if name in options},
            peeked=peeked,
            trace=trace,
        )


class Outputs:
    """The outputs of all groups of lanes, put together."""

    def __init__(self, arranged: Arrangement) -> None:
        self._arranged = arranged
        self._whole: dict[str, Array] = {}

    def add(self, made: list[Layout], lanes: Selection, execute: Execute) -> None:
        """The outputs of one group of lanes."""
        arranged, names = self._arranged, [array.name for array in made]
        if self._whole and names != list(self._whole):
            raise ValueError(f"outputs {', '.join(names)} for one value of `each`, {', '.join(self._whole)} for another")
        for array in made:
            data = execute.output(array.name)
            if math.prod(array.lanes) == math.prod(arranged.lanes):
                self._whole[array.name] = data
            else:
                shape = (arranged.batch, arranged.kv_heads, array.lanes[2], *array.shape)
                whole = self._whole.setdefault(array.name, np.empty(shape, array.dtype))
                arranged.place(array.name, whole, lanes, data)

    def whole(self) -> dict[str, Array]:
        """By name, with the batch and the heads of the inputs."""
        return {name: self._arranged.unpack(x) for name, x in self._whole.items()}


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Pause Python's garbage collector, which would search millions of records for cycles that do not exist."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
