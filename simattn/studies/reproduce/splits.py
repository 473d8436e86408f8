"""Flash-Decoding: in how many splits the keys are read."""

from collections.abc import Iterator

from ...hierarchy.catalogue import machine
from ...reference.problem import Problem
from .execute import forward, how
from .row import Row

SECTION = (
    "Flash-Decoding (Dao, Haziza, Massa, Sizov 2023): splits by flash-attn 2's heuristic, A100, 16 heads on 2 KV heads, d = 128"
)
KV_HEADS = 2

SPLITS = {
    (64, 1 << 10): 3, (16, 4 << 10): 6, (8, 8 << 10): 13, (4, 16 << 10): 26, (2, 32 << 10): 52, (1, 64 << 10): 103, (1, 128 << 10): 94,
}  # fmt: skip


def rows() -> Iterator[Row]:
    """Thread blocks of the kernel that reads the keys, a sequence and KV head."""
    for (batch, n_k), published in SPLITS.items():
        w = Problem(batch=batch, heads=16, kv_heads=KV_HEADS, n_q=1, n_k=n_k, d=128)
        run = forward(machine("a100-40gb"), "split_kv", w, Br=128, Bc=128)
        yield Row(
            section=SECTION, what=f"batch {batch}, {n_k:,} keys", unit="splits", published=published, published_is="predicted",
            tolerance=0, ours=run.kernels["partial"].programs / (batch * KV_HEADS), run=how(w, run),
            note="split_kv has flash-attn's heuristic: equality shows that it was brought over right",
        )  # fmt: skip
