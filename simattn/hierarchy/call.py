"""A call of an algorithm: its arguments, bound to its parameters, and the block sizes to try."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .checks import kind, whole
from .errors import unknown
from .given import ArraySpec, Each, Given, Laid, Pool
from .hbm import HbmArray
from .lanes import Arrangement

KEYWORD_ONLY, VAR_POSITIONAL, VAR_KEYWORD = (
    getattr(inspect.Parameter, k) for k in ("KEYWORD_ONLY", "VAR_POSITIONAL", "VAR_KEYWORD")
)
BLOCK_OPTIONS = ("Br", "Bc")
BLOCK_SIZES = (128, 64, 32, 16)
GIVEN = (np.ndarray, ArraySpec, Each, Laid, Pool)
GROUP = {"group": "leave it out; the heads of the arrays decide"}


@dataclass(frozen=True)
class Call:
    """`algorithm(gpu, *args, **options)`. names: the parameters that take the positional arguments."""

    algorithm: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    name: str = field(init=False)
    pack: bool = field(init=False)
    names: list[str] = field(init=False)
    asked: list[str] = field(init=False)  # the block sizes that the algorithm takes

    def __post_init__(self) -> None:
        signature = inspect.signature(self.algorithm)
        plain = _plain(self.algorithm)
        name, pack = _name(self.algorithm), bool(getattr(plain, "packs_groups", False))
        first = next(iter(signature.parameters.values()), None)
        if first is None or first.kind in (KEYWORD_ONLY, VAR_POSITIONAL, VAR_KEYWORD):
            raise TypeError(f"{name}{_bare(signature)}: an algorithm takes the gpu first, then its arrays")
        asked = [option for option in BLOCK_OPTIONS if option in signature.parameters]
        for option in asked:
            if option in self.options:
                self.options[option] = whole(option, self.options[option], 1)
        given = self.options | ({} if self._blocks_given(asked) else dict.fromkeys(asked, BLOCK_SIZES[0]))
        names = _bind(self.algorithm, signature, self.args, given, pack)
        _check_arrays(signature, dict(zip(names, self.args, strict=True)), self.options)
        for attribute, value in {"name": name, "pack": pack, "asked": asked, "names": names}.items():
            object.__setattr__(self, attribute, value)

    def _blocks_given(self, asked: list[str]) -> bool:
        return any(option in self.options for option in asked) or not asked

    def tries(self) -> Iterator[dict[str, Any]]:
        """The options for each choice of block sizes: the given sizes, or 128, 64, 32 and 16 for every block size of the
        algorithm."""
        if self._blocks_given(self.asked):
            yield self.options
        else:
            for size in BLOCK_SIZES:
                yield self.options | dict.fromkeys(self.asked, size)

    def arranged(self, *, values: bool = True) -> Arrangement:
        """The arrays of the call, arranged by lanes."""
        positional = {name: x for name, x in zip(self.names, self.args, strict=True) if isinstance(x, GIVEN)}
        keywords = {name: x for name, x in self.options.items() if isinstance(x, GIVEN)}
        return Arrangement.of(positional, keywords, self.pack, values=values)

    def given(self) -> tuple[dict[str, Given], int]:
        """What a recording of this call needs when it runs again: specs, the integers that the program depends on, and the number
        of positional arguments."""

        def spec(x: Any) -> Given:
            if isinstance(x, Pool):
                return Pool(spec(x.values))  # type: ignore[arg-type]
            if isinstance(x, Laid):
                return Laid(spec(x.values), x.order)  # type: ignore[arg-type]
            steers = isinstance(x, Each | ArraySpec) or x.dtype.kind in "iu"
            return x if steers else ArraySpec(x.shape, x.dtype)

        leading = {name: spec(x) for name, x in zip(self.names, self.args, strict=True) if isinstance(x, GIVEN)}
        return leading | {name: spec(x) for name, x in self.options.items() if isinstance(x, GIVEN)}, len(leading)

    def run(self, gpu: Any, seen: dict[str, Any], options: dict[str, Any], group: int) -> Any:
        """Call the algorithm with the parts of the arrays that a group of lanes sees."""
        if self.pack:
            options = options | {"group": group}
        args = (seen.get(name, x) for name, x in zip(self.names, self.args, strict=True))
        with np.errstate(all="ignore"):
            return self.algorithm(gpu, *args, **{name: seen.get(name, x) for name, x in options.items()})


def _name(algorithm: Any) -> str:
    return str(getattr(_plain(algorithm), "__name__", "algorithm"))


def _plain(algorithm: Any) -> Any:
    """The function within functools.partial."""
    while isinstance(algorithm, functools.partial):
        algorithm = algorithm.func
    return algorithm


def _bind(algorithm: Any, signature: inspect.Signature, args: tuple[Any, ...], options: dict[str, Any], pack: bool) -> list[str]:
    """The parameter names of the positional arguments; TypeError for arguments that the algorithm does not take.

    An algorithm may name its **options in an attribute `options`, and other names for them in `synonyms`.
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
        raise TypeError(f"{name}{_bare(signature)}: {error}") from None
    positional = [p for p in list(signature.parameters.values())[1:] if p.kind is not KEYWORD_ONLY]
    return [p.name if p.kind is not VAR_POSITIONAL else f"{p.name}{i}" for i, p in _spread(positional, len(args))]


def _check_arrays(signature: inspect.Signature, positional: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise a TypeError if a parameter that needs an array gets something else, or if a list or tensor is passed by position."""
    declared = {p.name for p in signature.parameters.values() if p.annotation is HbmArray}
    for name, x in {**positional, **options}.items():
        alike = name in positional and (isinstance(x, list | tuple) or (hasattr(x, "__array__") and not isinstance(x, np.generic)))
        if (alike or name in declared) and not isinstance(x, GIVEN):
            raise TypeError(f"{name} is {kind(x)}: give a NumPy array")


def _bare(signature: inspect.Signature) -> inspect.Signature:
    """The signature without types, for a message."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=signature.empty)


def _spread(parameters: list[inspect.Parameter], n: int) -> list[tuple[int, inspect.Parameter]]:
    """The parameter that takes each of n positional arguments, and the argument's position within that parameter."""
    return [(max(0, i - len(parameters) + 1), parameters[min(i, len(parameters) - 1)]) for i in range(n)]
