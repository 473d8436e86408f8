"""The algorithms that a call asks for: those that simattn ships, by name or as functions, and the caller's own functions."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..hierarchy.checks import kind, named, shown
from ..hierarchy.errors import unknown
from ..kernels import BASICS, GROUPS, algorithms
from .defaults import ELSEWHERE
from .inputs import check_names, parameters

Algorithm = Callable[..., Any]
OTHER_INPUTS = (*GROUPS["of other inputs"], *BASICS)  # than Q, K and V: `machine.run` runs them
FORWARD, BACKWARD = "f(gpu, Q, K, V, *, Br, Bc)", "f(gpu, Q, K, V, O, lse, dO, *, Br, Bc)"


@dataclass(frozen=True, eq=False)
class Listed:
    """An algorithm that was asked for: the name of its row, and the function that runs. own: it is the caller's, not one of
    simattn's."""

    name: str
    function: Algorithm
    own: bool = False

    def takes(self) -> set[str]:
        """The options that it names: keywords, and of the caller's function also what may be given by position after its arrays."""
        if not self.own:
            return parameters(self.function)
        signature = inspect.signature(self.function).parameters.values()
        return {p.name for p in signature if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)} - {"group"}

    def takes_any(self) -> bool:
        """Whether it passes on whatever it is given, by **options, and does not say what these may be."""
        passes = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(self.function).parameters.values())
        return self.own and passes and not hasattr(plain(self.function), "options")


def comparable(*, backward: bool) -> dict[str, Algorithm]:
    """The algorithms of Q, K and V, or their backward passes, by the names of their rows."""
    taken = {name: algorithms[name] for name in algorithms if name not in OTHER_INPUTS and name.endswith("_backward") == backward}
    return {name.removesuffix("_backward"): f for name, f in taken.items()}


def listed(given: Any, known: Mapping[str, Algorithm], *, backward: bool = False) -> list[Listed]:
    """What `sa.compare` was asked for, each once. known: the algorithms that can be compared, by the names of their rows.

    TypeError or ValueError for anything else, and for two of one name: a row is looked up by its name, and that of `naive` is what
    ratios are taken of, so a name that was made up for one of them would mislead.
    """
    if isinstance(given, str) or callable(given) or not isinstance(given, Iterable):
        example = [name.strip() for name in given.split(",")] if isinstance(given, str) else ["naive", "flash2"]
        remedy = f"a list with it: [{_called(given)}]" if callable(given) else f"a list of names, as {example}"
        raise TypeError(f"names={shown(given)}: give {remedy}, not {kind(given)}")
    found: list[Listed] = []
    for one in (entry(x, known, backward=backward) for x in given):
        twin = next((x for x in found if x.name == one.name), None)
        if twin is not None and twin.function != one.function:
            raise ValueError(f"two functions are called {one.name!r}: give one another name, as f.__name__ = {'my_' + one.name!r}")
        if twin is None:
            found.append(one)
    if not found:
        raise ValueError(f"no algorithm to compare; known: {', '.join(known)}")
    return found


def entry(given: Any, known: Mapping[str, Algorithm], *, backward: bool = False) -> Listed:
    """One algorithm: a name of those that are known, or a function, which may be one that simattn ships."""
    what = "algorithm" + " with a backward pass" * backward
    if callable(given):
        name = _called(given)
        if algorithms.get(name) != given:
            return _own(given, name, backward=backward)
        given = name.removesuffix("_backward") if backward else name
    if isinstance(given, str) and given not in known:
        others = {} if backward else ELSEWHERE
        if given in others:
            raise ValueError(f"{what} {given!r} takes other inputs than Q, K and V: {others[given]}")
        near = unknown(what, given, [*known, *others])
        if "did you mean" in near:
            raise ValueError(near)
    if not isinstance(given, str):
        remedy = f"give a name, as {next(iter(known))!r}, or a function {BACKWARD if backward else FORWARD}"
        raise TypeError(f"algorithm={shown(given)}: {remedy}, not {kind(given)}")
    return Listed(named(what, given, known), known[given])


def check_options(algorithms: Iterable[Listed], own: Mapping[str, Any], known: Mapping[str, Algorithm]) -> None:
    """TypeError for an option that neither belongs to the scores nor to any of these algorithms."""
    asked = {x.name: x for x in algorithms}
    if any(x.takes_any() for x in asked.values()):
        return
    unclaimed = [name for name in own if not any(x.own and name in x.takes() for x in asked.values())]
    check_names(asked, unclaimed, {**known, **{x.name: x.function for x in asked.values()}})


def dealt(own: Mapping[str, Any], algorithms: Iterable[Listed]) -> dict[str, dict[str, Any]]:
    """Of these options, what each algorithm is given, by its name: what it names, and what none names if it takes any."""
    algorithms = list(algorithms)
    claimed = set().union(*(x.takes() for x in algorithms))
    return {
        x.name: {name: value for name, value in own.items() if name in x.takes() or (x.takes_any() and name not in claimed)}
        for x in algorithms
    }


def _own(function: Algorithm, name: str, *, backward: bool) -> Listed:
    """The caller's function; its options are checked when it runs."""
    if name in algorithms:
        raise ValueError(
            f"{name!r} is the name of an algorithm of simattn: rename your function, as in f.__name__ = {'my_' + name!r}"
        )
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} has no signature that Python can read: give a function {BACKWARD if backward else FORWARD}"
        ) from None
    return Listed(name, function, own=True)


def _called(function: Any) -> str:
    """A function's name; that of the function within functools.partial, or of the class of a callable object."""
    if not hasattr(function, "__name__"):
        function = plain(function)
    return str(getattr(function, "__name__", type(function).__name__))


def plain(function: Any) -> Any:
    """The function within functools.partial."""
    while isinstance(function, partial):
        function = function.func
    return function
