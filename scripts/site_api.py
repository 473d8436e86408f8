"""The API reference: a page for each part of the package, filled by Sphinx from the docstrings."""

import inspect
from collections.abc import Iterator
from typing import Any

from site_words import public

import simattn as sa
from simattn.hierarchy.gpu import Gpu
from simattn.hierarchy.hbm import HbmArray
from simattn.hierarchy.sram import Sram
from simattn.hierarchy.tile import Tile
from simattn.kernels import GROUPS

PAGES = {
    "machine": "Machines and runs",
    "words": "The words of an algorithm",
    "algorithms": "Algorithms",
    "workbench": "Call, compare, check",
    "recordings": "Recordings and traces",
    "figures": "Figures and the explorer",
    "reference": "Truth and closed forms",
    "studies": "Claims and fidelity",
    "gpu": "Real kernels",
}
PAGE = {
    ".hierarchy.recording": "recordings", ".hierarchy.decode": "recordings", ".hierarchy.trace": "recordings", ".hierarchy": "machine",
    ".kernels": "algorithms", ".workbench": "workbench", ".plots": "figures", ".explore": "figures", ".explorer": "figures", ".reference": "reference",
    ".studies": "studies", ".gpu": "gpu", ".text": "machine",
}  # fmt: skip
"""Where a module's names are shown: the longest entry that its name begins with."""
PLAIN = {
    "KiB": "The number 1,024: capacities are written as `48 * sa.KiB`.",
    "algorithms": 'A dictionary of every algorithm, by name: `sa.algorithms["flash2"]` is `sa.flash2`.',
}


def origin(name: str) -> str:
    """The module of a public name, from `simattn` on."""
    if name in PLAIN:
        return {"KiB": ".hierarchy", "algorithms": ".kernels"}[name]
    found = getattr(sa, name)
    module: str = found.__name__ if inspect.ismodule(found) else found.__module__
    return module.removeprefix("simattn")


def page_of(name: str) -> str:
    """The page that shows a public name. LookupError where no entry of PAGE says."""
    module = origin(name)
    entries = [entry for entry in PAGE if f"{module}.".startswith(f"{entry}.")]
    if not entries:
        raise LookupError(f"sa.{name} of simattn{module} has no page of the API reference: add its room to PAGE")
    return PAGE[max(entries, key=len)]


def entry(path: str, found: Any) -> str:
    """The directive that fills itself from a docstring."""
    if inspect.isclass(found):
        names = ", ".join(sorted(public(found)))
        return f".. autoclass:: {path}\n" + (f"   :members: {names}\n" if names else "")
    return f".. autofunction:: {path}\n"


def blocks(page: str) -> Iterator[str]:
    """The parts of a page."""
    names = [name for name in vars(sa)["__all__"] if page_of(name) == page]
    if page == "words":
        yield "What an algorithm receives, and what it is made of. :doc:`/kernels` says what each costs.\n"
        for word in (Gpu, Sram, Tile, HbmArray):
            yield entry(f"{word.__module__}.{word.__name__}", word)
    if page == "algorithms":
        for group, members in GROUPS.items():
            yield f"{group.capitalize()}\n{'-' * len(group)}\n"
            for name in members:
                yield entry(f"simattn.{name}", getattr(sa, name))
        names = [name for name in names if name not in sa.algorithms]
        yield "Beside them\n-----------\n"
    if page == "gpu":
        names = [name for name in names if not inspect.ismodule(getattr(sa, name))]
        yield ".. py:module:: simattn.gpu\n\nWhat lies in ``sa.gpu``. It loads when it is first used, and torch when a kernel runs.\n"
        for name in sorted(sa.gpu.__all__):
            found = getattr(sa.gpu, name)
            yield entry(f"simattn.gpu.{name}", found) if callable(found) else f".. py:data:: simattn.gpu.{name}\n"
    for name in sorted(names, key=str.lower):
        found = getattr(sa, name)
        if name in PLAIN:
            yield f".. py:data:: simattn.{name}\n\n   {PLAIN[name].replace('`', '``')}\n"
        elif inspect.ismodule(found):
            for inner in sorted(getattr(found, "__all__", ())):
                yield entry(f"{found.__name__}.{inner}", getattr(found, inner))
        else:
            yield entry(f"simattn.{name}", found)


def pages() -> dict[str, str]:
    """File name -> the text of the API reference, in reStructuredText."""
    listed = "\n".join(f"   {page}" for page in PAGES)
    told = (
        "Every public name, with its docstring. The examples run in the tests: ``np`` is NumPy, ``sa`` is simattn, ``machine`` an A100 of "
        "40 GB, and Q, K, V have the shape (64, 32) in float32."
    )
    index = f"API reference\n=============\n\n{told}\n\n.. toctree::\n\n{listed}\n"
    found = {page: f"{title}\n{'=' * len(title)}\n\n" + "\n".join(blocks(page)) for page, title in PAGES.items()}
    return {f"{name}.rst": text for name, text in {"index": index, **found}.items()}
