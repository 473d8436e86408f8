"""A recording: a whole program without values, which runs on any arrays of its shapes."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .encode import write
from .given import ArraySpec, Each, Given, Laid, Pool
from .hbm import HbmArray
from .interpret.keep import Places, Program
from .replay import replay
from .run import Run


class Machine(Protocol):
    """A machine that runs recordings: `machine.Machine`, which also makes them."""

    @property
    def name(self) -> str: ...

    def run(
        self, algorithm: Callable[..., Any], *args: Any, workers: int | None = None, trace: Any = False, **options: Any
    ) -> Run: ...

    def count(self, algorithm: Callable[..., Any], *args: Any, **options: Any) -> Run: ...


@dataclass(frozen=True, repr=False)
class Recording:
    """The result of `machine.record`: `counts`, `run` on arrays, `save` to a file.

    given: the inputs of the algorithm by parameter name: specs, and the integers that the program depends on. leading: how many of
    them are positional. programs: one for each group of equal lanes, in order. blocks: the block sizes.

    >>> recorded = machine.record(sa.row_sum, sa.spec((64, 32)), Br=16, Bc=16)
    >>> len(recorded), recorded.counts.hbm_read
    (32, 8192)
    """

    algorithm: str
    machine: Machine
    given: dict[str, Given]
    leading: int
    packs_groups: bool
    blocks: dict[str, int]
    programs: list[Program]
    places: Places
    counts: Run

    def run(self, *arrays: Any, workers: int | None = None, trace: Any = False, **named: Any) -> Run:
        """Execute the program on arrays of the shapes and types that were recorded: a Run, bitwise the same as the algorithm's own.

        workers, trace: as `machine.run` takes them.

        >>> x = np.ones((64, 32), np.float32)
        >>> machine = sa.machine("a100-40gb")
        >>> recorded = machine.record(sa.flash2, *[sa.spec(x.shape)] * 3)
        >>> (recorded.run(x, x, x).output == machine.run(sa.flash2, x, x, x).output).all()
        np.True_
        """
        args, options = self._checked(arrays, named)
        run = self.machine.run(self._player(), *args, workers=workers, trace=trace, **options)
        return replace(run, blocks=self.blocks)

    def counted(self) -> Run:
        """The counts, computed again from the program; an error if no algorithm could have recorded it.

        >>> recorded = machine.record(sa.row_sum, sa.spec((64, 32)), Br=16, Bc=16)
        >>> recorded.counted().hbm_read == recorded.counts.hbm_read
        True
        """
        names = list(self.given)
        args = [self.given[name] for name in names[: self.leading]]
        run = self.machine.count(self._player(), *args, **{name: self.given[name] for name in names[self.leading :]})
        return replace(run, blocks=self.blocks)

    def save(self, path: str | Path) -> None:
        """Write the recording as plain data: gzipped lines of JSON, which `sa.load_recording` reads.

        >>> machine.record(sa.row_sum, sa.spec((64, 32)), Br=16, Bc=16).save("row_sum.json.gz")
        >>> sa.load_recording("row_sum.json.gz")
        Recording of row_sum on a100-40gb: X (64, 32); 32 operations
        """
        header = {
            "algorithm": self.algorithm, "leading": self.leading, "packs_groups": self.packs_groups, "blocks": self.blocks,
        }  # fmt: skip
        write(Path(path), header, self.machine, self.given, self.programs, self.places)

    def __len__(self) -> int:
        """The number of operations, for one lane of each group."""
        return sum(map(len, self.programs))

    def __repr__(self) -> str:
        arrays = ", ".join(f"{name} {_shape(x)}" for name, x in self.given.items())
        return f"Recording of {self.algorithm} on {self.machine.name}: {arrays}; {len(self):,} operations"

    def _checked(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with the recorded integers; TypeError or ValueError if an array is missing or does not fit."""
        wanted = [name for name, x in self.given.items() if isinstance(x, ArraySpec | Laid | Pool)]
        leading = [name for name in list(self.given)[: self.leading] if name in wanted]
        if len(arrays) > len(leading):
            raise TypeError(f"{self.algorithm} was recorded with {', '.join(leading)}: {len(arrays)} arrays are too many")
        found = dict(zip(leading, arrays, strict=False)) | named
        for name in [*wanted, *found]:
            if name not in found or name not in wanted:
                raise TypeError(
                    f"{self.algorithm} was recorded with {', '.join(wanted)}: {name} is {'missing' if name in wanted else 'unknown'}"
                )
            x, spec = found[name], self.given[name]
            inner, was = (y.values if isinstance(y, Laid | Pool) else y for y in (x, spec))
            assert isinstance(was, ArraySpec)  # `wanted` says so
            if type(x) is not Pool and isinstance(spec, Pool):
                raise TypeError(f"{name} was recorded as a pool: give sa.pool(...)")
            if not isinstance(inner, np.ndarray) or inner.shape != was.shape or inner.dtype != was.dtype:
                what = f"{inner.dtype} of shape {inner.shape}" if isinstance(inner, np.ndarray) else f"a {type(x).__name__}"
                raise ValueError(
                    f"{name} is {what}, but was recorded as {was.dtype} of shape {was.shape}; record it again for other arrays"
                )
        whole = {name: _as(x, found.get(name, x)) for name, x in self.given.items()}
        names = list(whole)
        return [whole[name] for name in names[: self.leading]], {name: whole[name] for name in names[self.leading :]}

    def _player(self) -> Any:
        """The program as an algorithm, with the parameters of the one that was recorded."""
        keys = iter(self.programs)
        by_key: dict[Any, Program] = {}

        def play(gpu: Any, *args: Any, group: int = 1, **options: Any) -> Any:  # noqa: ARG001 - the machine gives it
            seen = dict(zip(self.given, args, strict=False)) | options
            key = tuple(_key(seen[name]) for name, x in self.given.items() if isinstance(x, Each))
            if key not in by_key:
                by_key[key] = next(keys)
            arrays = {name: x for name, x in seen.items() if isinstance(x, HbmArray)}
            return replay(gpu, by_key[key], self.places, arrays)

        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        parameters = [inspect.Parameter(name, kinds[k >= self.leading]) for k, name in enumerate(self.given)]
        gpu, group = inspect.Parameter("gpu", kinds[0]), inspect.Parameter("group", kinds[1], default=1)
        play.__name__ = self.algorithm
        play.packs_groups = self.packs_groups  # type: ignore[attr-defined]
        play.__signature__ = inspect.Signature([gpu, *parameters, *[group] * self.packs_groups])  # type: ignore[attr-defined]
        return play


def _as(spec: Given, x: Any) -> Any:
    """An array that lies in memory as the one that was recorded."""
    return Laid(x, spec.order) if isinstance(spec, Laid) and not isinstance(x, Laid) else x


def _key(x: Any) -> Any:
    return (x.shape, np.asarray(x._table).tobytes()) if isinstance(x, HbmArray) else (type(x), x)


def _shape(x: Given) -> str:
    if isinstance(x, Each):
        return f"for each {x.axis}"
    return str((x.values if isinstance(x, Laid | Pool) else x).shape)
