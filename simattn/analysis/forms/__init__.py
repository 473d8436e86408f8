"""Closed forms: every count of every algorithm as a formula, to the byte, at any shape.

Nothing here runs or imports an algorithm: a formula and an execution that agree are two witnesses. Symbols: N rows of queries, d
and d_v widths, s the bytes of the storage type, a of the accumulation type, z of the type in which S lies in HBM. Over the visited
pairs of a row block and a key block: P how many, R the sum of rows, C of keys, A of rows × keys; mR and mA the same over the pairs
that a mask cuts through.
"""

from dataclasses import dataclass
from typing import Any

from ...hierarchy.counts import KernelCounts
from ...hierarchy.errors import unknown
from ..symbols import Problem, Symbols
from . import approximate, basics, decoding, flash, flash_backward, stored, stored_backward

FORMS = {
    f.__name__: f
    for f in (
        stored.unfused_chain, stored.naive, stored.online_softmax, flash.flash1, flash.flash2, flash.split_kv, flash.block_sparse,
        decoding.recompute_decode, decoding.incremental, decoding.paged, decoding.mla, flash.flash3_fp8, stored_backward.unfused_chain_backward,
        stored_backward.naive_backward, flash_backward.flash1_backward, flash_backward.flash2_backward, *approximate.FORMS,
        *basics.FORMS,
    )
}  # fmt: skip
PACKED = ("split_kv", "incremental", "paged", "mla")


@dataclass(frozen=True)
class Form:
    """What the formulas predict of a run: counts by kernel, and the footprint in HBM, in bytes."""

    kernels: dict[str, KernelCounts]
    hbm_footprint: int

    @property
    def total(self) -> KernelCounts:
        return sum(self.kernels.values(), KernelCounts())


def closed_form(
    algorithm: str, problem: Problem, *, Br: int, Bc: int, sram: int, splits: int = 1, steps: int | None = None, tokens: int = 1, **own: Any
) -> Form:  # fmt: skip
    """What a run of `algorithm` must count, over all heads. sram: the machine's capacity, which sets the strips of whole rows. splits,
    steps, tokens: as the algorithm takes them. Bc: the page, for `paged`. own: what an approximation takes (block, one_sided, ...); of
    its matrices the rows, which are k of `linformer`, m of `performer`, width of `dynamic_conv`. `bigbird`: Br = Bc = block. The kernels
    that are not attention take A (n_q, d) and B (d, n_k), or one array (n_q, d): `tiled_matmul`, with Bk; `transpose`, `row_sum`, `layer_norm`.

    ValueError for an algorithm without formulas.
    """
    if algorithm not in FORMS:
        raise ValueError(unknown("algorithm with closed forms", algorithm, FORMS))
    return Form(
        *FORMS[algorithm](
            Symbols(problem, Br, Bc, sram=sram, splits=splits, packed=algorithm in PACKED, steps=steps, tokens=tokens),
            **own,
        )
    )
