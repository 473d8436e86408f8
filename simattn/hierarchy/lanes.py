"""Lanes: batch and heads, which an algorithm never sees. Arrays become (batch, kv_head, group, rows, columns).

K and V have size 1 on `group` and broadcast: they are shared in memory, while counts stay per thread block.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from .arrays import checked, copied, shapes
from .dtypes import Array
from .given import ArraySpec, Each, Laid, Pool, table
from .log import LaneShape, Layout

CACHE = 4 << 20  # bytes of tiles that should stay in the CPU's cache while lanes run side by side

Function = TypeVar("Function", bound=Callable[..., Any])


def packs_groups(algorithm: Function) -> Function:
    """Declare that an algorithm takes the queries of a group of heads as rows of one array, and the keyword `group`.

    Q then has group·n_q rows, row r being query r mod n_q, and K and V are read once a group.

    >>> @sa.packs_groups
    ... def copy(gpu, Q, K, *, group=1):
    ...     O = gpu.empty(Q.shape, name="O")
    ...     for sram, i in gpu.launch("copy", sa.blocks(Q.shape[0], 8)):
    ...         sram.store(O[i], sram.load(Q[i]))
    ...     return O
    >>> machine.run(copy, np.ones((1, 4, 2, 32)), np.ones((1, 1, 64, 32))).programs  # 4 heads of 2 queries: 8 rows
    1
    """
    algorithm.packs_groups = True  # type: ignore[attr-defined]
    return algorithm


Selection = tuple[
    Any, Any
]  # of lanes, on the axes batch and kv_head: slices, or lists of numbers where they do not follow one another


@dataclass(frozen=True)
class Arrangement:
    """The arrays of a run, with their lane axes; `data`: their values, unless specs were given. `flat`: they were given as (N, d),
    without batch and heads."""

    arrays: dict[str, Layout]
    data: dict[str, Array]
    tables: dict[str, Array]
    each: dict[str, Each]
    batch: int
    kv_heads: int
    group: int
    packed: bool
    flat: bool

    @classmethod
    def of(cls, positional: Mapping[str, Any], keywords: Mapping[str, Any], pack: bool, *, values: bool = True) -> "Arrangement":
        """Arrange the inputs of a run: arrays (N, d) or (batch, heads, N, d), rows (n,), pools of pages, tables of integers,
        `each`.

        values: False to look only at shapes. The ValueError or TypeError names the input that does not fit.
        """
        laid = {name: x.order for name, x in {**positional, **keywords}.items() if isinstance(x, Laid)}
        positional, keywords = _plain(positional), _plain(keywords)
        given = {**positional, **keywords}
        pools = {name: checked(name, x.values, values) for name, x in given.items() if isinstance(x, Pool)}
        tables = {name: table(name, x) for name, x in keywords.items() if isinstance(x, np.ndarray) and x.dtype.kind in "iu"}
        plain = {
            name: checked(name, x, values)
            for name, x in given.items()
            if isinstance(x, np.ndarray | ArraySpec) and name not in tables
        }
        rows = [name for name, x in plain.items() if x.ndim == 1]  # (1, n), the same for every lane
        leading = {name: x for name, x in plain.items() if name in positional and name not in rows}
        dimensions = {x.ndim for x in leading.values()} or {2 for name in rows if name in positional}
        if len(dimensions) > 1:
            raise ValueError(f"{shapes(leading)}: give all of them as (N, d) or all as (batch, heads, N, d)")
        four = {name: (*(1,) * (4 - x.ndim), *x.shape) for name, x in plain.items()}
        batches = {four[name][0] for name in leading} or {1}
        heads = {four[name][1] for name in leading} | {x.shape[2] for x in pools.values()} or {1}
        most, least = max(heads), min(heads)
        if len(batches) > 1:
            raise ValueError(f"{shapes(leading)}: the batch sizes {sorted(batches)} differ")
        if not heads <= {most, least} or most % least:
            raise ValueError(f"{shapes(leading)}: {most} heads cannot share {sorted(heads - {most})} KV heads evenly")
        batch, group = batches.pop(), most // least
        if pack and leading and four[next(iter(leading))][1] != most:
            raise ValueError(f"{shapes(leading)}: the queries of a group are packed, so the first array must have the most heads")

        def lanes_of(name: str) -> tuple[LaneShape, tuple[int, ...]]:
            """The lane axes of an array, and the part that one lane sees."""
            b, h, n, columns = four[name]
            if b not in (1, batch) or h not in (1, least, most):
                raise ValueError(
                    f"{name} has shape {four[name]}: it broadcasts to neither {batch} × {least} nor {batch} × {most} heads"
                )
            shared = (1, 1) if h == 1 else (least, 1) if h == least else (least, group)
            if pack and shared == (least, group):
                return (b, least, 1), (group * n, columns)
            return (b, *shared), (n, columns)

        layouts = {name: lanes_of(name) for name in four}
        layouts |= {name: ((1, x.shape[2], 1), (*x.shape[:2], x.shape[3])) for name, x in pools.items()}
        layouts |= {name: ((1, 1, 1), x.shape) for name, x in tables.items()}
        whole = plain | pools | tables
        arrays = {}
        for name, (lanes, shape) in layouts.items():
            order = laid.get(name, "bhnd")
            packed = shape[0] // four[name][2] if name in four else 1
            arrays[name] = Layout(
                name, shape, whole[name].dtype, lanes, made=False, order="bh"[: 4 - len(order)] + order, packed=packed
            )
        data = {}
        if values:
            copies = copied(whole)
            data = {name: copies[name].reshape(*lanes, *shape) for name, (lanes, shape) in layouts.items() if name not in pools}
            data |= {name: copies[name].transpose(2, 0, 1, 3)[None, :, None] for name in pools}
        eaches = {name: x for name, x in given.items() if isinstance(x, Each)}
        arranged = cls(arrays, data, tables, eaches, batch, least, group, pack, dimensions == {2})
        for name, each in eaches.items():
            arranged._check_each(name, each)
        return arranged

    @property
    def lanes(self) -> tuple[int, int, int]:
        """How many lanes there are on each axis."""
        return self.batch, self.kv_heads, 1 if self.packed else self.group

    @property
    def nbytes(self) -> int:
        """The bytes of all inputs in HBM, including the tables of every `each`."""
        tables = sum(x.nbytes for each in self.each.values() for x in each.values if isinstance(x, np.ndarray))
        return tables + sum(x.nbytes for x in self.arrays.values())

    def numbers_of(self, lanes: Selection) -> Array:
        """The number of each of these lanes, batch · heads + head."""
        batch, heads = lanes
        return np.arange(math.prod(self.lanes)).reshape(self.lanes)[batch][:, heads]

    def place(self, name: str, whole: Array, lanes: Selection, part: Array) -> None:
        """Write the results of these lanes into the output of all lanes; ValueError if shapes differ between lanes."""
        found, before = ((x.shape[3:], x.dtype.name) for x in (part, whole))
        if found != before:
            raise ValueError(f"output {name} has shape and type {found} for one value of `each`, and {before} for another")
        whole[lanes if slice in map(type, lanes) else np.ix_(*lanes)] = part

    def groups(self, lane_bytes: int) -> Iterator[Selection]:
        """Lanes that run side by side: whole groups of heads, evenly divided, few enough for their tiles to stay in cache, with one
        value of each `each`."""
        inputs = sum(math.prod(x.shape) * 8 for x in self.arrays.values())
        room = max(1, CACHE // max(1, min(lane_bytes, inputs)) // self.lanes[2])
        for batch in self._alike("batch", self.batch):
            for heads in self._alike("head", self.kv_heads):
                for b in _deal(len(batch), room // len(heads)):
                    for k in _deal(len(heads), room):
                        yield _selection(batch[b], heads[k])

    def values(self, lanes: Selection) -> dict[str, Array]:
        """The part of each array that a group of lanes sees; an axis of length 1 broadcasts."""

        def part(x: Array) -> Array:
            batch, heads = (s if n > 1 else slice(None) for s, n in zip(lanes, x.shape, strict=False))
            return x[batch][:, heads]

        tables = {name: value[None, None, None] for name, value in self.tables_of(lanes).items() if name in self.each}
        return {name: part(x) for name, x in self.data.items()} | tables

    def seen(self, lanes: Selection) -> dict[str, Layout]:
        """The same without values: the layout of each array."""

        def part(x: Layout) -> Layout:
            batch, heads = (_length(s, n) if n > 1 else 1 for s, n in zip(lanes, x.lanes, strict=False))
            return replace(x, lanes=(batch, heads, x.lanes[2]))

        tables = {name: Layout(name, x.shape, x.dtype, (1, 1, 1), made=False) for name, x in self.tables_of(lanes).items()}
        return tables | {name: part(x) for name, x in self.arrays.items()}

    def lane_shape(self, lanes: Selection) -> LaneShape:
        """How many lanes a group has on each axis."""
        batch, heads = (_length(s, n) for s, n in zip(lanes, self.lanes, strict=False))
        return batch, heads, self.lanes[2]

    def tables_of(self, lanes: Selection) -> dict[str, Array]:
        """The integers that a group of lanes sees."""
        return self.tables | {name: value for name in self.each if isinstance(value := self._value(name, lanes), np.ndarray)}

    def scalars(self, lanes: Selection) -> dict[str, Any]:
        """The numbers of each `each` that a group of lanes sees."""
        return {name: value for name in self.each if not isinstance(value := self._value(name, lanes), np.ndarray)}

    def alike(self) -> Iterator[Selection]:
        """All lanes, in sets with one value of each `each`: the lanes of a set run the same program."""
        for batch in self._alike("batch", self.batch):
            for heads in self._alike("head", self.kv_heads):
                yield _selection(batch, heads)

    def _value(self, name: str, lanes: Selection) -> Any:
        """The value of an `each` for a group of lanes: a number, or integers in HBM."""
        x = self.each[name]
        k = int(self.numbers_of(lanes).flat[0]) // self.lanes[2]  # the number of a KV head, over the whole batch
        return x.values[k // self.kv_heads if x.axis == "batch" else k % self.kv_heads * self.group]

    def unpack(self, x: Array) -> Array:
        """An output with the batch and the heads of the inputs: (batch, heads, ..., rows, columns), or (..., rows, columns)."""
        if self.packed and self.group > 1:
            *lead, rows, columns = x.shape
            x = np.moveaxis(x.reshape(*lead, self.group, rows // self.group, columns)[:, :, 0], -3, 2)
        batch, kv_heads, group = x.shape[:3]
        return x[0, 0, 0] if self.flat else x.reshape(batch, kv_heads * group, *x.shape[3:])

    def _alike(self, axis: str, n: int) -> list[list[int]]:
        """The batch elements, or the KV heads, that have equal values of every `each`."""
        mine = [x for x in self.each.values() if x.axis == axis]
        step = self.group if axis == "head" else 1
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for k in range(n):
            alike[tuple(x.key(k * step) for x in mine)].append(k)
        return list(alike.values())

    def _check_each(self, name: str, x: Each) -> None:
        n = self.batch if x.axis == "batch" else self.kv_heads * self.group
        if len(x.values) != n:
            raise ValueError(f"{name}: {len(x.values)} values for {n} on the axis {x.axis}; give one each")
        if x.axis == "head" and any(x.key(h) != x.key(h - h % self.group) for h in range(n)):
            raise ValueError(f"{name}: the {self.group} heads that share a KV head run side by side, so their values must be equal")


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was said of how arrays lie."""
    return {name: x.values if isinstance(x, Laid) else x for name, x in given.items()}


def _length(lanes: Any, n: int) -> int:
    return len(range(n)[lanes]) if isinstance(lanes, slice) else len(lanes)


def _selection(*numbers: list[int]) -> Any:
    """Slices, where the numbers follow one another: they need no copies."""
    return tuple(slice(x[0], x[-1] + 1) if x[-1] - x[0] == len(x) - 1 else x for x in numbers)


def _deal(n: int, most: int) -> Iterator[slice]:
    """Slices of range(n), as few and as equal as can be, of at most `most` (at least 1)."""
    parts = math.ceil(n / max(1, most))
    return (slice(n * p // parts, n * (p + 1) // parts) for p in range(parts))
