"""Closed forms: every count of every algorithm as a formula, to the byte, at any shape.

Nothing here runs or imports an algorithm: a formula and an execution that agree are two witnesses. Symbols: N rows of queries, d
and d_v widths, s the bytes of the storage type, a of the accumulation type, z of the type in which S lies in HBM. Over the visited
pairs of a row block and a key block: P how many, R the sum of rows, C of keys, A of rows × keys; mR and mA the same over the pairs
that a mask cuts through.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...hierarchy.counts import KernelCounts
from ...hierarchy.errors import unknown
from ..sums import Ints, blocks_in
from ..symbols import Problem, Symbols
from . import approximate, decoding, flash, flash_backward, stored, stored_backward

FORMS = {
    f.__name__: f
    for f in (
        stored.unfused_chain, stored.naive, stored.online_softmax, flash.flash1, flash.flash2, flash.split_kv, flash.block_sparse,
        decoding.recompute_decode, decoding.incremental, decoding.paged, decoding.mla, flash.flash3_fp8, stored_backward.unfused_chain_backward,
        stored_backward.naive_backward, flash_backward.flash1_backward, flash_backward.flash2_backward, *approximate.FORMS,
    )
}  # fmt: skip
PACKED = ("split_kv", "incremental", "paged", "mla")
CAUSAL = ("recompute_decode", "incremental")  # by what they do, whatever the problem says


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
    its matrices the rows, which are k of `linformer`, m of `performer`, width of `dynamic_conv`. `bigbird`: Br = Bc = block.

    ValueError for an algorithm without formulas.
    """
    if algorithm not in FORMS:
        raise ValueError(unknown("algorithm with closed forms", algorithm, FORMS))
    if algorithm in CAUSAL:
        problem = replace(problem, causal=True)
    return Form(
        *FORMS[algorithm](
            Symbols(problem, Br, Bc, sram=sram, splits=splits, packed=algorithm in PACKED, steps=steps, tokens=tokens),
            **own,
        )
    )


def closed_form_of_steps(algorithm: str, problem: Problem, lengths: Ints, splits: Ints, *, Br: int, Bc: int, sram: int) -> Form:
    """What runs of one query on so many keys each must count together, where it sees them all. footprint: the largest.

    splits: of each run. A form is linear in its sums, so the sums of many runs make one form, where they split the keys alike and
    either all or none of them hold a row of S at once. `paged`: n_k is what the pages have room for.
    """
    y = Symbols(problem, Br, Bc, sram=sram)
    group = 2 * splits + (lengths <= stored.longest_row(y))
    forms = []
    for one in np.unique(group):
        n = lengths[group == one]
        most = int(n.max())
        p = replace(problem, n_k=blocks_in(most, Bc) * Bc if algorithm == "paged" else most, kv_len=most)
        symbols = Symbols(p, Br, Bc, sram=sram, splits=int(one) // 2, packed=algorithm in PACKED, lengths=n)
        forms.append(Form(*FORMS[algorithm](symbols)))
    kernels = {name: KernelCounts() for form in forms for name in form.kernels}
    for form in forms:
        kernels |= {name: kernels[name] + k for name, k in form.kernels.items()}
    return Form(kernels, max(form.hbm_footprint for form in forms))
