"""simattn: the memory hierarchy under attention, executed and counted.

>>> import numpy as np, simattn as sa
>>> Q, K, V = (np.random.default_rng(i).standard_normal((256, 64), np.float32) for i in range(3))
>>> run = sa.machine("a100-40gb").run(sa.flash2, Q, K, V, Br=128, Bc=128)
>>> run.hbm_read, run.peak_sram
(327680, 197632)
"""

from . import interrupt  # noqa: F401 - first, for what follows is slow enough to be interrupted

# isort: split
import importlib
from typing import TYPE_CHECKING, Any

from .hierarchy.catalogue import machine, machines
from .hierarchy.decode import load_recording
from .hierarchy.device import KiB
from .hierarchy.errors import HbmOverflow, RecordingError, SramOverflow
from .hierarchy.given import each, pool, spec
from .hierarchy.grid import blocks, size
from .hierarchy.lanes import packs_groups
from .hierarchy.machine import Machine
from .hierarchy.recording import Recording
from .hierarchy.run import Run
from .kernels import (
    algorithms,
    bigbird,
    block_diagonal,
    block_sparse,
    dynamic_conv,
    flash1,
    flash1_backward,
    flash2,
    flash2_backward,
    flash3_fp8,
    incremental,
    layer_norm,
    linformer,
    local_global,
    longformer,
    mla,
    naive,
    naive_backward,
    online_softmax,
    orthogonal_features,
    paged,
    performer,
    recompute_decode,
    row_sum,
    split_kv,
    tiled_matmul,
    transpose,
    unfused_chain,
    unfused_chain_backward,
)  # fmt: skip
from .reference.truth import attention_truth
from .workbench.attention import attention, attention_backward
from .workbench.compare import Comparison, compare
from .workbench.quantize import hadamard, quantize

if TYPE_CHECKING:
    from . import gpu
    from .reference.forms import closed_form
    from .reference.problem import Problem

LATER = {"gpu": ".gpu", "closed_form": ".reference.forms", "Problem": ".reference.problem"}  # loaded when first used

__version__ = "0.1.0"

__all__ = [
    "Comparison", "HbmOverflow", "KiB", "Machine", "Problem", "Recording", "RecordingError", "Run", "SramOverflow", "algorithms", "attention",
    "attention_backward", "attention_truth", "bigbird", "block_diagonal", "block_sparse", "blocks", "closed_form", "compare",
    "dynamic_conv", "each", "flash1", "flash1_backward", "flash2", "flash2_backward", "flash3_fp8", "gpu", "hadamard",
    "incremental", "layer_norm", "linformer", "load_recording", "local_global", "longformer", "machine", "machines", "mla", "naive",
    "naive_backward", "online_softmax", "orthogonal_features", "packs_groups", "paged", "performer", "pool", "quantize",
    "recompute_decode", "row_sum", "size", "spec", "split_kv", "tiled_matmul", "transpose", "unfused_chain", "unfused_chain_backward",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What would make every import wait, and few need."""
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(LATER[name], __name__)
    return module if name == "gpu" else getattr(module, name)
