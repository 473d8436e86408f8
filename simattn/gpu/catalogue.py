"""The kernels that can be asked for, by name."""

from dataclasses import dataclass

from ..hierarchy.errors import unknown
from . import external, flex, sdpa
from .backend import Unavailable, torch
from .kernel import Kernel
from .twins import kernels as twins

KERNELS: dict[str, Kernel] = {k.name: k for k in (*sdpa.KERNELS, *flex.KERNELS, *external.KERNELS, *twins.KERNELS)}


@dataclass(frozen=True)
class Availability:
    """A kernel, and why this machine cannot run it; None if it can."""

    name: str
    title: str
    why_not: str | None


def kernels() -> list[Availability]:
    """Every kernel that simattn knows, and what this machine lacks to run it. Unavailable where torch is missing."""
    torch()
    return [Availability(k.name, k.title, k.unavailable()) for k in KERNELS.values()]


def named(name: str) -> Kernel:
    """The kernel of that name; ValueError if there is none."""
    if name not in KERNELS:
        raise ValueError(unknown("kernel", name, ["auto", *KERNELS]))
    return KERNELS[name]


def refused(kernel: Kernel, reason: str) -> Unavailable:
    """The error for a kernel that was asked for and cannot run."""
    return Unavailable(f"kernel {kernel.name!r}: {reason}")
