"""Attention algorithms, and basic kernels that are not attention: one idea, one file, one line of `registry`. Each loads on first
use."""

import importlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping

from . import registry
from .kinds import FOLDER, GROUP, Algorithm

__all__ = ["APPROXIMATE", "BACKWARD", "BASICS", "DECODING", "FORWARD", "GROUPS", "Algorithms", "algorithms", "module_of"]

KINDS: Mapping[str, str] = registry.__annotations__
"""Name -> kind, in the order of the registry."""


def _names(kind: str) -> tuple[str, ...]:
    return tuple(name for name, its in KINDS.items() if its == kind)


FORWARD, DECODING, APPROXIMATE, BACKWARD, BASICS = map(_names, ("Forward", "Decoding", "Approximate", "Backward", "Basic"))

GROUPS: Mapping[str, tuple[str, ...]] = {
    group: tuple(name for name, kind in KINDS.items() if GROUP[kind] == group) for group in dict.fromkeys(GROUP.values())
}
"""What algorithms are for -> their names."""


def module_of(name: str) -> str:
    """The module of an algorithm, relative to this package: `.flash2`, `.basics.transpose`."""
    return f"{FOLDER.get(KINDS[name], '')}.{name}"


class Algorithms(MutableMapping[str, Algorithm]):
    """Name -> function. Names are known from the registry; a function loads when it is asked for. Another may be put in its
    place."""

    def __init__(self, names: Iterable[str]) -> None:
        self._loaded: dict[str, Algorithm | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Algorithm:
        function = self._loaded[name]
        if function is None:
            function = self._loaded[name] = _load(name)
        return function

    def __setitem__(self, name: str, function: Algorithm) -> None:
        self._loaded[name] = function

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    def __contains__(self, name: object) -> bool:
        return name in self._loaded  # a Mapping's own would load it

    def __repr__(self) -> str:
        return f"<{len(self)} algorithms: {', '.join(self)}>"


def _load(name: str) -> Algorithm:
    """The function, which says what its **options are, so that the machine refuses another before it begins."""
    from ..score_options import OPTIONS  # noqa: PLC0415
    from .synonyms import IN_RUN  # noqa: PLC0415

    function: Algorithm = getattr(importlib.import_module(module_of(name), __name__), name)
    vars(function).update(options=OPTIONS, synonyms=IN_RUN)
    return function


algorithms = Algorithms(KINDS)
"""Name -> function, of every algorithm."""
