"""The parts of an HBM array that were touched, as boxes: one range for each axis."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from math import prod
from operator import itemgetter

Interval = tuple[int, int]
Box = tuple[Interval, ...]


def boxes(axes: Sequence[int | range]) -> Iterator[Box]:
    """The boxes that make up a region: one, unless the region skips elements."""
    parts = []
    for axis in axes:
        if isinstance(axis, int):
            parts.append([(axis, axis + 1)])
        elif abs(axis.step) == 1 or len(axis) == 1:
            parts.append([(min(axis[0], axis[-1]), max(axis[0], axis[-1]) + 1)])
        else:
            parts.append([(k, k + 1) for k in axis])
    return product(*parts)


class Area:
    """A union of boxes, as a tree: the intervals of the first axis, and below each the area of the axes that follow."""

    __slots__ = ("_below", "_longest", "_seen", "_starts")

    def __init__(self) -> None:
        self._below: dict[Interval, Area] = {}
        self._starts: list[Interval] = []  # the keys of _below, sorted
        self._longest = 0
        self._seen: set[Box] = set()

    def __bool__(self) -> bool:
        return bool(self._starts)

    def add(self, box: Box) -> None:
        """Add a box with the same number of axes as the others."""
        if box in self._seen:
            return
        self._seen.add(box)
        first, *rest = box
        below = self._below.get(first)
        if below is None:
            below = self._below[first] = Area()
            insort(self._starts, first)
            self._longest = max(self._longest, first[1] - first[0])
        if rest:
            below.add(tuple(rest))

    def meets(self, box: Box) -> bool:
        """Whether any element of the box is in the area."""
        if box in self._seen:
            return True
        first, *rest = box
        return any(not rest or self._below[found].meets(tuple(rest)) for found in self._meeting(first))

    def covers(self, box: Box) -> bool:
        """Whether every element of the box is in the area."""
        return box in self._seen or next(gaps([self], box), None) is None

    def _meeting(self, interval: Interval) -> list[Interval]:
        """The intervals of the first axis that have an element in this one."""
        start, stop = interval
        begin = bisect_left(self._starts, (start - self._longest + 1, 0)) if self._longest else 0
        return [found for found in self._starts[begin : bisect_left(self._starts, (stop, 0))] if found[1] > start]


def gaps(areas: Sequence[Area], box: Box) -> Iterator[Box]:
    """The parts of a box that are in none of the areas, in order."""
    (start, stop), *rest = box
    found = sorted(
        ((*interval, area._below[interval]) for area in areas for interval in area._meeting((start, stop))), key=itemgetter(0, 1)
    )
    found.append((stop, stop, Area()))
    if not rest:
        for begin, end, _ in found:
            if begin > start:
                yield ((start, begin),)
            start = max(start, end)
        return
    cuts = sorted({start, stop, *(cut for begin, end, _ in found for cut in (begin, end) if start < cut < stop)})
    active: list[tuple[int, int, Area]] = []
    waiting = iter(found)
    following = next(waiting)
    for begin, end in pairwise(cuts):
        while following[0] <= begin:
            active.append(following)
            following = next(waiting)
        active = [piece for piece in active if piece[1] > begin]
        if active:
            yield from (((begin, end), *part) for part in gaps([area for *_, area in active], tuple(rest)))
        else:
            yield ((begin, end), *rest)


def unwritten(name: str, written: Area, places: Sequence[Box]) -> str | None:
    """The number of elements of these boxes that are not written, and the first such slice; None if everything is written."""
    found = sorted(gap for box in places for gap in gaps([written], box))
    if not found:
        return None
    *lead, (top, bottom), (left, right) = found[0]
    for *_, (begin, end), (first, last) in found:
        if begin == bottom and first <= left and right <= last:
            bottom = end
    place = ", ".join([*(str(start) for start, _ in lead), f"{top}:{bottom}", f"{left}:{right}"])
    never, whole = (sum(map(_elements, boxes)) for boxes in (found, places))
    return f"{never:,} of {whole:,} elements, the first {name}[{place}]"


def _elements(box: Box) -> int:
    return prod(stop - start for start, stop in box)
