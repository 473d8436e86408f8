"""Checks of arguments at the public functions: each error names the argument, its value and the remedy, in one line.

A value of the wrong kind raises a TypeError, a value out of range a ValueError.
"""

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from .dtypes import BOOL, STORAGE, Array
from .errors import unknown

T = TypeVar("T")


def shown(x: object) -> str:
    """A value in one short line."""
    if isinstance(x, np.ndarray):
        return f"an array of shape {x.shape}"
    line = " ".join(repr(x).split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def kind(x: object) -> str:
    """The kind of a value, with its article: "a list", "an int"."""
    if x is None:
        return "None"
    name = type(x).__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def instance(name: str, value: Any, of: type | tuple[type, ...], remedy: str) -> None:
    """A value of that type."""
    if not isinstance(value, of):
        raise TypeError(f"{name}={shown(value)}: {remedy}, not {kind(value)}")


def flag(name: str, value: Any) -> bool:
    """True or False, also NumPy's own."""
    instance(name, value, (bool, np.bool_), "give True or False")
    return bool(value)


def whole(name: str, value: Any, least: int | None = None, most: int | None = None, why: str = "") -> int:
    """A whole number from least to most, also a NumPy integer. why: the reason for the range."""
    bounds = "" if least is None else f" from {least} on" if most is None else f" from {least} to {most}"
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{name}={shown(value)}: {why + '; ' if why else ''}give a whole number{bounds}, not {kind(value)}")
    nearest = int(value) if least is None else max(int(value), least)
    nearest = nearest if most is None else min(nearest, most)
    if value != nearest:
        raise ValueError(f"{name}={value}: {why or f'it is a whole number{bounds}'}; the nearest valid value is {nearest}")
    return int(value)


def number(name: str, value: Any, *, above: float | None = None, least: float | None = None, below: float | None = None) -> float:
    """A finite number within bounds, also a NumPy number, but not a bool."""
    bounds = "" if above is None else f" above {above}"
    bounds += "" if least is None else f" from {least}" + (" on" if below is None else "")
    bounds += "" if below is None else f" to below {below}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={shown(value)}: give a number{bounds}, not {kind(value)}")
    try:
        x = float(value)
    except OverflowError:
        x = math.inf
    if (
        not math.isfinite(x)
        or (above is not None and x <= above)
        or (least is not None and x < least)
        or (below is not None and x >= below)
    ):
        raise ValueError(f"{name}={shown(value)}: give a finite number{bounds}")
    return x


def optional(check: Callable[..., T], name: str, value: Any, *bounds: Any, **more: Any) -> T | None:
    """The result of a check, or None if the value is None."""
    return None if value is None else check(name, value, *bounds, **more)


def sides(name: str, value: Any) -> tuple[int | None, int | None]:
    """(left, right), each a whole number from 0 on, or None for no bound. None instead of the pair means no bounds at all."""
    if value is None:
        return None, None
    remedy = "give (left, right), each a number of keys from 0 on, or None for no bound"
    instance(name, value, (tuple, list), remedy)
    whole_numbers = all(w is None or (isinstance(w, int | np.integer) and not isinstance(w, bool) and w >= 0) for w in value)
    if len(value) != 2 or not whole_numbers:
        raise ValueError(f"{name}={shown(value)}: {remedy}")
    left, right = (None if w is None else int(w) for w in value)
    return left, right


def named(what: str, name: Any, known: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """A name that is known. elsewhere: as `unknown` takes it."""
    known = list(known)
    if not isinstance(name, str):
        own = getattr(name, "__name__", None)
        raise TypeError(f"{what}={shown(name)}: give a name, as {own if own in known else known[0]!r}, not {kind(name)}")
    if name not in known:
        raise ValueError(unknown(what, name, known, elsewhere))
    return name


def array(name: str, x: Any, *, shape: str = "", boolean: bool = False) -> Array:
    """A plain NumPy array of a storage type, in the byte order of this computer. shape: what it should have, for the message.

    A masked array is refused, because its mask would be lost. A matrix, a memory map, another byte order or another layout hold the
    same values, so they are accepted. boolean: whether bool is accepted too."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name} is {kind(x)}: give a NumPy array{' of shape ' + shape if shape else ''}")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, and its mask would be lost: give {name}.filled(...)")
    types = [*STORAGE.values(), BOOL] if boolean else list(STORAGE.values())
    if native(x.dtype) not in types:
        takes = f"{', '.join(STORAGE)}{' or bool' if boolean else ''}"
        raise TypeError(f"{name} has type {x.dtype}: give {takes}; {name}.astype(...) converts it")
    return np.asarray(x, native(x.dtype))


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in the byte order of this computer."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")
