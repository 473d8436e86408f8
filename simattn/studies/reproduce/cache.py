"""What a token takes in the KV cache."""

from collections.abc import Iterator

import numpy as np

from ...hierarchy.catalogue import machine
from ...hierarchy.run import Run
from ...kernels import algorithms
from ...reference.problem import Problem
from .execute import forward, how
from .row import Row

VLLM = "PagedAttention (Kwon et al. 2023, arXiv 2309.06180), section 3: KV cache a token, OPT-13B"
LLAMA = "Llama-3.1-8B's shape (2024, arXiv 2407.21783): KV cache a token, 2 · layers · KV heads · d · bytes"
MLA = "DeepSeek-V2 (2024, arXiv 2405.04434), section 2.1: multi-head latent attention"
TOKENS, KEYS = 32, 1024
HEADS, LATENT, ROPE = 128, 512, 64

OPT_13B_KIB = 800
LLAMA_8B_BYTES = 131_072
LATENT_ELEMENTS, LATENT_GROUPS = 576, 2.25


def rows() -> Iterator[Row]:
    """Keys and values, a layer times the layers; then one latent vector in their place."""
    ours, text = stored(layers=40, heads=40, kv_heads=40)
    yield Row(
        section=VLLM, what="40 layers of 40 heads of 128", unit="KiB", published=OPT_13B_KIB, published_is="stated", tolerance=0.5,
        ours=ours / 1024, run=text, note="printed as KB",
    )  # fmt: skip
    ours, text = stored(layers=32, heads=32, kv_heads=8)
    yield Row(
        section=LLAMA, what="32 layers of 8 KV heads of 128", unit="B", published=LLAMA_8B_BYTES, published_is="predicted", tolerance=0,
        ours=ours, run=text,
    )  # fmt: skip
    grouped = Problem(heads=HEADS, kv_heads=1, n_q=1, n_k=KEYS, d=128)
    run, gqa = latent(), forward(machine("h100-sxm"), "split_kv", grouped, splits=1, Br=128, Bc=16)
    read = run.tensors["C"].hbm_read
    text = f"mla on {run.machine}, Br = 128, Bc = 16, 1 query of {HEADS} heads on {KEYS:,} latent vectors of {LATENT} + {ROPE}, float16"
    yield Row(
        section=MLA, what="elements read a token and layer", unit="elements", published=LATENT_ELEMENTS, published_is="stated",
        tolerance=0, ours=read / KEYS / np.dtype(np.float16).itemsize, run=text,
        note="the heads are rows of one tile, so a vector, key and value at once, is read once",
    )  # fmt: skip
    yield Row(
        section=MLA, what="in KV heads of d = 128", unit="groups", published=LATENT_GROUPS, published_is="stated", tolerance=0,
        ours=read / (gqa.tensors["K"].hbm_read + gqa.tensors["V"].hbm_read), run=f"{text}; over {how(grouped, gqa)}",
    )  # fmt: skip


def latent() -> Run:
    """A decode step of DeepSeek-V2's heads, whose tiles fit an H100."""
    Q, C = (np.zeros((1, heads, n, LATENT + ROPE), np.float16) for heads, n in ((HEADS, 1), (1, KEYS)))
    return machine("h100-sxm").run(algorithms["mla"], Q, C, scale=(128 + ROPE) ** -0.5, latent=LATENT, Br=128, Bc=16)


def stored(*, layers: int, heads: int, kv_heads: int) -> tuple[float, str]:
    """Bytes that a token adds to the caches of so many layers, from a run of one; and how that was run."""
    w = Problem(heads=heads, kv_heads=kv_heads, n_q=TOKENS, n_k=TOKENS, d=128, causal=True)
    run = forward(machine("a100-40gb"), "incremental", w, steps=4, Br=16, Bc=16)
    written = sum(run.tensors[name].hbm_write for name in ("K_cache", "V_cache"))
    return written / TOKENS * layers, how(w, run, times=f"{layers} layers")
