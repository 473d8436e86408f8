"""The common base of HBM arrays and tiles: their values can leave only through a counted operation."""

from typing import Any, ClassVar, NoReturn

import numpy as np


class Sealed:
    """Refuses every way in which Python or NumPy could read, copy or change values without a count."""

    __slots__ = ()
    __hash__: ClassVar[None] = None  # type: ignore[assignment]
    _remedy: ClassVar[str]

    def _refuse(self, action: str, remedy: str = "") -> NoReturn:
        raise TypeError(f"{self!r}: no {action} here; {remedy or self._remedy}")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("conversion to a NumPy array")

    def __iter__(self) -> NoReturn:
        self._refuse("iteration")

    def __len__(self) -> NoReturn:
        self._refuse("len(); use .shape")

    def __contains__(self, item: object) -> NoReturn:
        self._refuse("membership test")

    def __bool__(self) -> NoReturn:
        self._refuse("truth value (a thread block cannot branch on data)")

    def __float__(self) -> NoReturn:
        self._refuse("conversion to a Python float")

    def __int__(self) -> NoReturn:
        self._refuse("conversion to a Python int")

    def __index__(self) -> NoReturn:
        self._refuse("use as an index")

    def __complex__(self) -> NoReturn:
        self._refuse("conversion to a Python complex")

    def __setitem__(self, key: object, value: object) -> NoReturn:
        self._refuse("item assignment")

    def __delitem__(self, key: object) -> NoReturn:
        self._refuse("item deletion")

    def __copy__(self) -> NoReturn:
        self._refuse("copy")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self._refuse("copy")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._refuse("pickling")


def _refused(name: str) -> property:
    def attribute(self: Sealed) -> NoReturn:
        if name.startswith("__array_"):  # NumPy asks for these before it calls __array__
            self.__array__()
        self._refuse(f".{name}")

    return property(attribute)


# Properties, not a __getattr__, with which the interpreter could not speed up the attributes that there are.
for _name in ("__array_interface__", "__array_struct__", "__dlpack__", "__dlpack_device__", *dir(np.ndarray)):
    if _name not in vars(Sealed) and (
        not _name.startswith("__") or _name.startswith(("__array_interf", "__array_str", "__dlpack"))
    ):
        setattr(Sealed, _name, _refused(_name))
