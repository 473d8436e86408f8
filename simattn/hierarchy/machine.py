"""A machine: its capacities, and running an algorithm on arrays."""

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .account import Account
from .blas import one_thread
from .checks import flag, instance, kind, number, optional, whole
from .dtypes import FLOAT32, STORAGE, Data, accumulation_type
from .errors import SramOverflow, unknown
from .given import Each, Pool
from .gpu import Gpu
from .hbm import HbmArray
from .lanes import Workload
from .run import Run

KEYWORD_ONLY, VAR_POSITIONAL, VAR_KEYWORD = (
    getattr(inspect.Parameter, k) for k in ("KEYWORD_ONLY", "VAR_POSITIONAL", "VAR_KEYWORD")
)
KiB = 1 << 10
BLOCK_OPTIONS = ("Br", "Bc")
BLOCK_SIZES = (128, 64, 32, 16)
GIVEN = (np.ndarray, Each, Pool)
GROUP = {"group": "leave it out; the heads of the arrays decide"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A GPU as the simulator needs it. Immutable; bytes, hertz, FLOP/s.

    sram: what one thread block may have live: its shared memory and the registers, which hold accumulators. hbm: device memory, None
    for no limit. sms: streaming multiprocessors, for launch heuristics. flops: dense peak by type. sources: where each figure is from. rounds_every_operation: sums and products, too,
    have the storage type, as in emulations that round after each operation (Golden et al. 2024, arXiv 2405.02803).
    """

    name: str
    sram: int
    hbm: int | None = None
    sms: int | None = None
    title: str = ""
    shared_memory: int | None = None
    registers: int | None = None
    l2: int | None = None
    hbm_bandwidth: float | None = None
    clock: float | None = None
    flops: dict[str, float] = field(default_factory=dict, hash=False)
    sources: dict[str, str] = field(default_factory=dict, hash=False, repr=False)
    rounds_every_operation: bool = False

    def __post_init__(self) -> None:
        instance("name", self.name, str, "give a text")
        instance("flops", self.flops, dict, "give FLOP/s by type, as {'float16': 312e12}")
        checked: dict[str, Any] = {"sram": whole("sram", self.sram, 1)}
        checked |= {n: optional(whole, n, getattr(self, n), 1) for n in ("hbm", "sms", "shared_memory", "registers", "l2")}
        checked |= {n: optional(number, n, getattr(self, n), above=0) for n in ("hbm_bandwidth", "clock")}
        checked["flops"] = {dtype: number(f"flops[{dtype!r}]", rate, above=0) for dtype, rate in self.flops.items()}
        checked["rounds_every_operation"] = flag("rounds_every_operation", self.rounds_every_operation)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # a NumPy number as Python's, which does not overflow

    def run(self, algorithm: Callable[..., Any], *args: Any, **options: Any) -> Run:
        """Run `algorithm(gpu, *args, **options)`; NumPy arrays become arrays in HBM, everything else passes as it is.

        Arrays are (N, d) or (batch, heads, N, d); one of shape (n,) is a row (1, n), the same for every head. An output that was made
        as a row comes back as (1, n). Where the algorithm takes Br and Bc and neither is given, the run tries 128, 64, 32, 16 for
        both and keeps the first that fits. BLAS has one thread meanwhile. Raises SramOverflow, HbmOverflow, RuntimeError for an
        output that was not wholly written, and TypeError for options that the algorithm does not have.
        """
        signature = inspect.signature(algorithm)
        if not signature.parameters or next(iter(signature.parameters.values())).kind in (
            KEYWORD_ONLY,
            VAR_POSITIONAL,
            VAR_KEYWORD,
        ):
            raise TypeError(f"{_name(algorithm)}{_plainly(signature)}: an algorithm takes the gpu first, then its arrays")
        asked = [name for name in BLOCK_OPTIONS if name in signature.parameters]
        given = {name: whole(name, options[name], 1) for name in asked if name in options}
        with one_thread():
            if given or not asked:
                return self._run(algorithm, signature, args, options | given)
            for size in BLOCK_SIZES:
                try:
                    return self._run(algorithm, signature, args, options | dict.fromkeys(asked, size))
                except SramOverflow as error:
                    overflow = error
        overflow.add_note(f"{' and '.join(asked)} of {BLOCK_SIZES} were all tried; give smaller ones")
        raise overflow

    def _run(
        self, algorithm: Callable[..., Any], signature: inspect.Signature, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Run:
        pack = getattr(_plain(algorithm), "packs_groups", False)
        names = _bind(algorithm, signature, args, options, pack)
        _check_arrays(signature, dict(zip(names, args, strict=True)), options)
        positional = {name: x for name, x in zip(names, args, strict=True) if isinstance(x, GIVEN)}
        keywords = {name: x for name, x in options.items() if isinstance(x, GIVEN)}
        workload = Workload.of(positional, keywords, pack)
        if pack:
            options = options | {"group": workload.group}
        account, outputs = Account(), dict[str, Data]()
        for lanes in workload.groups(self.sram):
            gpu = self._gpu(workload, lanes, account)
            seen: dict[str, Any] = {name: workload.take(name, lanes) for name in workload.arrays}
            seen |= {name: workload.value(name, lanes) for name in workload.each}
            seen = {name: HbmArray(name, x, gpu) if isinstance(x, np.ndarray) else x for name, x in seen.items()}
            gpu._taken |= seen.keys()
            with np.errstate(all="ignore"):
                result = algorithm(
                    gpu, *(seen.get(name, x) for name, x in zip(names, args, strict=True)),
                    **(options | {name: seen[name] for name in keywords}),
                )  # fmt: skip
            finished = gpu._finish(result)
            if outputs and [made.name for made in finished] != list(outputs):
                raise ValueError(
                    f"outputs {', '.join(m.name for m in finished)} for one value of `each`, {', '.join(outputs)} for another"
                )
            for made in finished:
                if made._lanes == math.prod(workload.lanes):
                    outputs[made.name] = made._data
                else:
                    workload.place(made.name, outputs.setdefault(made.name, _whole(made, workload)), lanes, made._data)
        return Run(
            algorithm=_name(algorithm),
            machine=self.name,
            outputs={name: workload.unpack(x) for name, x in outputs.items()},
            kernels=account.kernels(),
            tensors=account.tensors(),
            hbm_footprint=account.footprint,
            blocks={name: options[name] for name in BLOCK_OPTIONS if name in options},
            peeked=account.peeked,
        )

    def _gpu(self, workload: Workload, lanes: Any, account: Account) -> Gpu:
        arrays = list(workload.arrays.values())
        stored = [x.dtype for x in arrays if x.dtype in STORAGE.values()]
        storage = next(iter(stored), FLOAT32)
        return Gpu(
            self,
            acc=storage if self.rounds_every_operation else accumulation_type(stored),
            storage=storage,
            numbers=workload.numbers_of(lanes),
            packs=workload.packed and workload.group > 1,
            lanes=math.prod(workload.lanes),
            common=frozenset(name for name, x in workload.arrays.items() if x.shape[:2] != workload.lanes[:2])
            | workload.each.keys(),
            inputs=sum(x.nbytes for x in arrays) + workload.table_bytes,
            account=account,
        )


def _plain(algorithm: Any) -> Any:
    """The function within functools.partial."""
    while isinstance(algorithm, functools.partial):
        algorithm = algorithm.func
    return algorithm


def _name(algorithm: Any) -> str:
    return str(getattr(_plain(algorithm), "__name__", "algorithm"))


def _bind(algorithm: Any, signature: inspect.Signature, args: tuple[Any, ...], options: dict[str, Any], pack: bool) -> list[str]:
    """The parameter names of the positional arguments; TypeError for arguments that the algorithm does not take.

    An algorithm may say what its **options are, in an attribute `options`, and what others call them, in `synonyms`.
    """
    name, plain = _name(algorithm), _plain(algorithm)
    passed_on = next((p.name for p in signature.parameters.values() if p.kind is VAR_KEYWORD), None)
    known = [p for p in signature.parameters if p != passed_on and (p != "group" or not pack)][1:]
    more = getattr(plain, "options", None) if passed_on else ()
    known += () if more is None else [option for option in more if option not in known]
    stray = [option for option in options if option not in known]
    if stray and (more is not None or (pack and "group" in stray)):
        first = "group" if more is None else stray[0]
        raise TypeError(f"{name}: {unknown('option', first, known, {**GROUP, **getattr(plain, 'synonyms', {})})}")
    try:
        signature.bind(None, *args, **options)
    except TypeError as error:
        raise TypeError(f"{name}{_plainly(signature)}: {error}") from None
    positional = [p for p in list(signature.parameters.values())[1:] if p.kind is not KEYWORD_ONLY]
    return [p.name if p.kind is not VAR_POSITIONAL else f"{p.name}{i}" for i, p in _spread(positional, len(args))]


def _check_arrays(signature: inspect.Signature, positional: dict[str, Any], options: dict[str, Any]) -> None:
    """TypeError for what is no array where the algorithm says that it takes one, and for a positional list or tensor."""
    declared = {p.name for p in signature.parameters.values() if p.annotation is HbmArray}
    for name, x in {**positional, **options}.items():
        alike = name in positional and (isinstance(x, list | tuple) or (hasattr(x, "__array__") and not isinstance(x, np.generic)))
        if (alike or name in declared) and not isinstance(x, GIVEN):
            raise TypeError(f"{name} is {kind(x)}: give a NumPy array")


def _plainly(signature: inspect.Signature) -> inspect.Signature:
    """Without types, for a message."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=signature.empty)


def _spread(parameters: list[inspect.Parameter], n: int) -> list[tuple[int, inspect.Parameter]]:
    """The parameter that takes each of n positional arguments, and its number within it."""
    return [(max(0, i - len(parameters) + 1), parameters[min(i, len(parameters) - 1)]) for i in range(n)]


def _whole(made: HbmArray, workload: Workload) -> Data:
    """Room for an output over all lanes."""
    group, *shape = made._data.shape[2:]
    return np.empty((workload.batch, workload.kv_heads, group, *shape), made.dtype)
