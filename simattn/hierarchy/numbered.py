"""Things by number, each once."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Numbered(Generic[Thing]):
    """A list in which equal things stand once, at their number."""

    def __init__(self, things: Iterable[Thing] = ()) -> None:
        self.things = list(things)
        self._numbers = {x: k for k, x in enumerate(self.things)}

    def number(self, x: Thing) -> int:
        """The number of a thing; a new one is appended."""
        known = self._numbers.get(x)
        if known is None:
            known = self._numbers[x] = len(self.things)
            self.things.append(x)
        return known

    def __getitem__(self, number: int) -> Thing:
        return self.things[number]

    def __iter__(self) -> Iterator[Thing]:
        return iter(self.things)

    def __len__(self) -> int:
        return len(self.things)
