"""What an algorithm of a comparison needs beside Q, K and V, where nothing was given: reasonable for its shape, and the same each time."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..hierarchy.dtypes import storage_type
from ..hierarchy.given import spec
from ..kernels.approximate.features import orthogonal_features
from ..reference.problem import Problem

DEFAULTS: Mapping[str, str] = {
    "block_sparse": "every block of a block_mask, of Br = Bc = 64",
    "block_diagonal": "block, the largest divisor of N up to 128 and N/2",
    "local_global": "block, the largest divisor of N up to 128 and N/2",
    "longformer": "one_sided = 256 and global_tokens = 0",
    "bigbird": "block, the largest divisor of N up to 64, with 2 global, 3 neighbouring and 3 random blocks",
    "linformer": "E = F, a random projection to 256 keys, or to half of them if that is fewer, untrained",
    "performer": "W, 256 random features, orthogonal in groups of d",
    "dynamic_conv": "W, random kernels, 7 tokens wide, untrained",
}
"""Algorithm -> what it takes by default, for a help page. Others need nothing."""

ELSEWHERE: Mapping[str, str] = {
    "paged": "its keys are pages; give machine.run(sa.paged, Q, sa.pool(K), sa.pool(V), table=..., lens=...)",
    "mla": "its keys and values are one latent cache; give machine.run(sa.mla, Q, C, scale=...)",
    "flash3_fp8": "it takes factors beside float8; give machine.run(sa.flash3_fp8, Q, K, V, sQ=..., sK=..., sV=...), from sa.quantize",
    **{
        name: f"it is no attention; give machine.run(sa.{name}, {given})"
        for name, given in {"row_sum": "X", "transpose": "X", "tiled_matmul": "A, B", "layer_norm": "X, gamma, beta"}.items()
    },
    **{
        f"{name}_backward": f"it is the backward pass of {name!r}; give that name to sa.attention_backward, or to sa.compare with backward=True"
        for name in ("unfused_chain", "naive", "flash1", "flash2")
    },
}
"""Algorithms that do not take Q, K and V alone -> how they run."""


def defaults(
    algorithm: str, w: Problem, given: Mapping[str, Any], *, masked: bool = False, values: bool = True
) -> dict[str, Any]:  # fmt: skip
    """The keyword arguments that `algorithm` gets on a workload, except those that were given. masked: whether there is a boolean mask.
    values: whether weights are drawn; where not, they are specs.

    Weights are drawn with a fixed seed, so that two comparisons agree. Those of linformer and dynamic_conv would be trained: as drawn,
    they show what the algorithm moves, and their error says nothing of a trained model's.
    """
    if w.backward:
        return {}
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    if algorithm == "block_sparse":
        made = {"Br": 64, "Bc": 64, **given}
        shape = (-(-w.n_q // made["Br"]), -(-w.n_k // made["Bc"]))
        made["block_mask"] = np.full(shape, 2 if masked else 1)  # 2: where the mask says
    elif algorithm in ("block_diagonal", "local_global"):
        made = {"block": divisor(w.n_k, min(128, w.n_k // 2))}
    elif algorithm == "bigbird":
        block = given.get("block", divisor(w.n_k, 64))
        tiles = w.n_k // block if isinstance(block, int) and block > 0 else 0
        made = {"block": block, "global_blocks": min(2, tiles), "random_blocks": min(3, tiles)}
    elif algorithm == "linformer":
        k = max(1, min(256, w.n_k // 2))
        E = rng.standard_normal((k, w.n_k)) / np.sqrt(k) if values else spec((k, w.n_k), w.dtype)
        made = {"E": E, "F": E}
    elif algorithm == "performer":
        made = {"W": orthogonal_features(256, w.d, rng) if values else spec((256, w.d), w.dtype)}
    elif algorithm == "dynamic_conv":
        made = {"W": rng.standard_normal((7, w.d)) / np.sqrt(w.d) if values else spec((7, w.d), w.dtype)}
    made = {name: value for name, value in made.items() if name not in given}
    stored = storage_type(w.dtype)
    return {name: x.astype(stored) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for name, x in made.items()}


def divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`; 1 if there is none."""
    return max((b for b in range(1, min(n, most) + 1) if n % b == 0), default=1)
