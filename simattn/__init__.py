"""simattn: the memory hierarchy under attention, executed and counted.

>>> import numpy as np, simattn as sa
>>> Q, K, V = (np.random.default_rng(i).standard_normal((256, 64), np.float32) for i in range(3))
>>> run = sa.machine("a100-40gb").run(sa.flash2, Q, K, V, Br=128, Bc=128)
>>> run.hbm_read, run.peak_sram
(327680, 197632)
"""

import importlib
from typing import TYPE_CHECKING

from . import interrupt  # noqa: F401 - it minds Ctrl-C, also while the rest loads

__version__ = "0.2.0"

# A public name loads when it is first used. What type checkers read, and what is loaded, are two lists of the same names, as a test proves;
# the algorithms are those of the registry, in both.
# isort: off
if TYPE_CHECKING:
    from . import gpu as gpu
    from . import plots as plots
    from .explorer.explorer import Explorer as Explorer, explore as explore
    from .hierarchy.catalogue import machine as machine, machines as machines
    from .hierarchy.decode import load_recording as load_recording
    from .hierarchy.device import KiB as KiB
    from .hierarchy.errors import HbmOverflow as HbmOverflow, RecordingError as RecordingError, SramOverflow as SramOverflow
    from .hierarchy.given import each as each, layout as layout, pool as pool, spec as spec
    from .hierarchy.grid import blocks as blocks, size as size
    from .hierarchy.lanes import packs_groups as packs_groups
    from .hierarchy.machine import Machine as Machine
    from .hierarchy.recording import Recording as Recording
    from .hierarchy.run import Run as Run
    from .hierarchy.trace import Step as Step, Trace as Trace, Tracing as Tracing, load_trace as load_trace
    from .kernels import algorithms as algorithms
    from .kernels.approximate.features import orthogonal_features as orthogonal_features
    from .kernels.registry import *
    from .reference.forms import closed_form as closed_form
    from .reference.problem import Problem as Problem
    from .plots.pages import pareto_figure as pareto_figure
    from .reference.truth import attention_truth as attention_truth
    from .studies.claims import claims as claims
    from .studies.fidelity import fidelity as fidelity
    from .text.units import bytes_text as bytes_text
    from .workbench.attention import attention as attention, attention_backward as attention_backward
    from .workbench.check import check as check
    from .workbench.checked import Check as Check
    from .workbench.compare import compare as compare
    from .workbench.comparison import Comparison as Comparison
    from .workbench.guess import Guess as Guess, guess as guess
    from .workbench.pareto import pareto as pareto
    from .workbench.quantize import hadamard as hadamard, quantize as quantize
    from .workbench.tensors import tensors as tensors
# isort: on
else:
    from .kernels import KINDS as _ALGORITHMS

    _MODULES = {
        ".explorer.explorer": ("Explorer", "explore"),
        ".gpu": ("gpu",),
        ".hierarchy.catalogue": ("machine", "machines"),
        ".hierarchy.decode": ("load_recording",),
        ".hierarchy.device": ("KiB",),
        ".hierarchy.errors": ("HbmOverflow", "RecordingError", "SramOverflow"),
        ".hierarchy.given": ("each", "layout", "pool", "spec"),
        ".hierarchy.grid": ("blocks", "size"),
        ".hierarchy.lanes": ("packs_groups",),
        ".hierarchy.machine": ("Machine",),
        ".hierarchy.recording": ("Recording",),
        ".hierarchy.run": ("Run",),
        ".hierarchy.trace": ("Step", "Trace", "Tracing", "load_trace"),
        ".kernels": ("algorithms",),
        ".kernels.approximate.features": ("orthogonal_features",),
        ".reference.forms": ("closed_form",),
        ".reference.problem": ("Problem",),
        ".plots": ("plots",),
        ".plots.pages": ("pareto_figure",),
        ".reference.truth": ("attention_truth",),
        ".studies.claims": ("claims",),
        ".studies.fidelity": ("fidelity",),
        ".text.units": ("bytes_text",),
        ".workbench.attention": ("attention", "attention_backward"),
        ".workbench.check": ("check",),
        ".workbench.checked": ("Check",),
        ".workbench.compare": ("compare",),
        ".workbench.comparison": ("Comparison",),
        ".workbench.guess": ("Guess", "guess"),
        ".workbench.pareto": ("pareto",),
        ".workbench.quantize": ("hadamard", "quantize"),
        ".workbench.tensors": ("tensors",),
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

    __all__ = sorted([*_MODULE_OF, *_ALGORITHMS])  # noqa: PLE0605 - a list, if not a literal

    def __getattr__(name):
        """A public name, loaded; AttributeError with the nearest for another."""
        if name in _ALGORITHMS:
            found = importlib.import_module(".kernels", __name__).algorithms[name]
        elif name in _MODULE_OF:
            module = importlib.import_module(_MODULE_OF[name], __name__)
            found = module if name in ("gpu", "plots") else getattr(module, name)
        else:
            from .hierarchy.errors import unknown  # noqa: PLC0415

            why = unknown("attribute", name, __all__).removeprefix("unknown ")
            # With a name, Python would add the nearest once more.
            raise AttributeError(f"module {__name__!r} has no {why}", name=None, obj=None)
        globals()[name] = found
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
