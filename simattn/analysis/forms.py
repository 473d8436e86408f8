"""Closed forms: every count of every algorithm as a formula, to the byte, at any shape.

Nothing here runs or imports an algorithm: a formula and an execution that agree are two witnesses. Symbols: N rows of queries, d
and d_v widths, s the bytes of the storage type, a of the accumulation type, z of the type in which S lies in HBM. Over the visited
pairs of a row block and a key block: R the sum of rows, C of keys, A of rows × keys; mR and mA the same over the pairs that a mask
cuts through. A formula lists its terms in the order of the algorithm's lines.
"""

import math
from dataclasses import dataclass

from ..hierarchy.counts import KernelCounts
from ..hierarchy.errors import unknown
from .symbols import Problem, Rows, Sums, Symbols

Kernels = tuple[dict[str, KernelCounts], int]  # counts by kernel, and the footprint, for one lane


@dataclass(frozen=True)
class Form:
    """What the formulas predict of a run: counts by kernel, and the footprint in HBM, in bytes."""

    kernels: dict[str, KernelCounts]
    hbm_footprint: int

    @property
    def total(self) -> KernelCounts:
        return sum(self.kernels.values(), KernelCounts())


def _flash_kernel(y: Symbols, v: Sums, out: int) -> KernelCounts:
    """FlashAttention-2's loop over the visited keys, O stored at `out` bytes an element."""
    d, d_v, s, a, c = y.d, y.d_v, y.s, y.a, y.cast
    mR = v.mR * (2 if y.packed else 1)  # the query's number, modulo n_q if packed, plus the offset

    def at_scores(b: Rows) -> int:  # Q K V O l m S
        return b.r * d * s + b.c * (d + d_v) * s + b.r * (d_v + 2) * a + b.r * b.c * a if b.visits else 0

    def at_rowsum(b: Rows) -> int:  # V O S and four columns; Q too, unless this is its last use
        return (b.r * d * s * (b.visits > 1) + b.c * d_v * s + b.r * (d_v + 4) * a + b.r * b.c * a) if b.visits else 0

    def at_end(b: Rows) -> int:
        return max(b.r * (d_v + 3) * a, b.r * d * s)

    return KernelCounts(
        hbm_read=s * d * v.N + s * (d + d_v) * v.C,
        hbm_write=(out * d_v + a) * v.N,
        sram_read=s * d * (v.R + v.C) + s * d_v * v.C + a * (5 * v.A + v.mA) + c * a * v.A + s * v.A
        + a * (11 + 3 * d_v) * v.R + a * (2 * d_v + 6) * v.N,
        sram_write=s * d * v.N + s * (d + d_v) * v.C + a * (4 * v.A + v.mA) + c * s * v.A
        + a * (7 + 3 * d_v) * v.R + a * (2 * d_v + 5) * v.N,
        matmul_flops=2 * (d + d_v) * v.A,
        vector_flops=(4 + c) * v.A + 2 * v.mA + mR + (4 + 2 * d_v) * v.R + (d_v + 2) * v.N,
        exps=v.A + v.R + v.N,
        programs=v.T,
        peak_sram=v.peak(at_scores, at_rowsum, at_end),
    )  # fmt: skip


def flash2(y: Symbols) -> Kernels:
    return {"flash2": _flash_kernel(y, y.sums(), y.s)}, 0


def split_kv(y: Symbols) -> Kernels:
    if y.splits == 1:
        return {"partial": _flash_kernel(y, y.sums(), y.s)}, 0
    p, a, d_v, S = y.p, y.a, y.d_v, y.splits
    chunk = math.ceil(math.ceil(p.n_k / y.Bc) / S) * y.Bc
    partial = sum((_flash_kernel(y, y.sums(i * chunk, (i + 1) * chunk), a) for i in range(S)), KernelCounts())
    v = y.sums()
    combine = KernelCounts(
        hbm_read=a * (d_v + 1) * v.N * S,
        hbm_write=(y.s * d_v + a) * v.N,
        sram_read=a * (14 + 4 * d_v) * v.N * S + a * (2 * d_v + 6) * v.N,
        sram_write=a * (8 + 4 * d_v) * v.N * S + a * (2 * d_v + 5) * v.N,
        vector_flops=(5 + 3 * d_v) * v.N * S + (d_v + 2) * v.N,
        exps=2 * v.N * S + v.N,
        programs=v.T,
        peak_sram=v.peak(lambda b: b.r * (d_v + 4) * a, lambda b: b.r * (2 * d_v + 3) * a),
    )
    return {"partial": partial, "combine": combine}, S * a * v.N * (d_v + 1)


def online_softmax(y: Symbols) -> Kernels:
    v = y.sums()
    d, d_v, s, a, z = y.d, y.d_v, y.s, y.a, y.z

    def scores_peak(b: Rows) -> int:
        q = b.r * d * s
        if not b.visits:
            return max(q, 3 * b.r * a)
        x, x_hbm, later = b.r * b.c * a, b.r * b.c * z, q * (b.visits > 1)
        product = q + b.c * d * s + 2 * b.r * a + x
        return max(
            product, later + x_hbm + 3 * b.r * a, later + x + (x_hbm if z != a else 0) + 2 * b.r * a, later + x + 3 * b.r * a
        )

    def output_peak(b: Rows) -> int:
        o = b.r * d_v * a
        if not b.visits:
            return max(b.r * a, o)
        x, x_hbm = b.r * b.c * a, b.r * b.c * z
        columns = 2 * b.r * a * (b.visits > 1)  # m and l, until their last use
        own = z != a and not b.c == b.visits == 1  # S − m has bytes of its own, unless it can take over those of S, or of m
        return o + max(2 * b.r * a + x_hbm + own * x, columns + b.r * b.c * s + b.c * d_v * s)

    scores = KernelCounts(
        hbm_read=s * d * (v.N + v.C),
        hbm_write=z * v.A + 3 * a * v.N,
        sram_read=s * d * (v.R + v.C) + a * (3 * v.A + v.mA) + y.cast_s * a * v.A + 3 * z * v.A + a * (10 * v.R + 7 * v.N),
        sram_write=s * d * (v.N + v.C) + a * (4 * v.A + v.mA) + y.cast_s * z * v.A + a * (7 * v.R + 5 * v.N),
        matmul_flops=2 * d * v.A,
        vector_flops=(4 + y.cast_s) * v.A + 2 * v.mA + v.mR + 4 * v.R + 2 * v.N,
        exps=v.A + v.R + v.N,
        programs=v.T,
        peak_sram=v.peak(scores_peak),
    )
    output = KernelCounts(
        hbm_read=2 * a * v.N + z * v.A + s * d_v * v.C,
        hbm_write=s * d_v * v.N,
        sram_read=(z + 2 * a) * v.A + y.cast * a * v.A + s * v.A + s * d_v * v.C + a * (2 + 2 * d_v) * v.R + a * d_v * v.N,
        sram_write=2 * a * v.N + a * d_v * v.N + (z + 3 * a) * v.A + y.cast * s * v.A + s * d_v * v.C + 2 * a * d_v * v.R,
        matmul_flops=2 * d_v * v.A,
        vector_flops=(2 + y.cast) * v.A + d_v * v.R,
        exps=v.A,
        programs=v.T,
        peak_sram=v.peak(output_peak),
    )
    return {"scores": scores, "output": output}, z * v.N * y.p.n_k + 2 * a * v.N


def naive(y: Symbols) -> Kernels:
    v = y.sums()
    d, d_v, s, a, z = y.d, y.d_v, y.s, y.a, y.z
    scores = KernelCounts(
        hbm_read=s * d * (v.R + v.C),
        hbm_write=z * v.A,
        sram_read=s * d * (v.R + v.C) + a * (2 * v.A + v.mA),
        sram_write=s * d * (v.R + v.C) + a * (2 * v.A + v.mA),
        matmul_flops=2 * d * v.A,
        vector_flops=v.A + 2 * v.mA + v.mR,
        programs=v.P,
        peak_sram=v.peak(lambda b: (b.r + b.c) * d * s + b.r * b.c * a if b.visits else 0),
    )
    rows = min(y.Br, y.sram // (y.p.n_k * (z * y.cast_s + a) + 3 * a))
    output = KernelCounts(
        hbm_read=z * v.A + s * d_v * v.C,
        hbm_write=s * d_v * v.N,
        sram_read=y.cast_p * z * v.A + s * v.A + s * d_v * v.C + 2 * a * d_v * v.R + a * d_v * v.N,
        sram_write=a * d_v * v.N + z * v.A + y.cast_p * s * v.A + s * d_v * v.C + 2 * a * d_v * v.R,
        matmul_flops=2 * d_v * v.A,
        vector_flops=y.cast_p * v.A + d_v * v.R,
        programs=v.T,
        peak_sram=v.peak(lambda b: b.r * d_v * a + max(b.r * b.c * z, b.r * b.c * s + b.c * d_v * s)),
    )
    softmax = _softmax_of_rows(y, v, rows) if rows else _softmax_in_two_passes(y, v)
    return {"scores": scores, "softmax": softmax, "output": output}, 2 * z * v.N * y.p.n_k


def _softmax_of_rows(y: Symbols, v: Sums, rows: int) -> KernelCounts:
    """Strips of at most `rows` rows of a row block, of all the keys that the block visits."""
    a, z = y.a, y.z
    visible = sum(b.r for b in v.rows if b.visits)

    def peak(b: Rows) -> int:
        r = min(rows, b.r)
        narrow = r * b.keys * (z + a) + r * a if y.cast_s else 0
        return max(r * b.keys * z + 2 * r * a, narrow, r * b.keys * a + 3 * r * a if b.visits else 0)

    return KernelCounts(
        hbm_read=z * v.A,
        hbm_write=z * v.A + a * v.N,
        sram_read=2 * z * v.A + a * (4 * v.A + 5 * visible + 4 * v.N),
        sram_write=z * v.A + a * (3 * v.A + 4 * visible + 4 * v.N),
        vector_flops=4 * v.A + 2 * visible + v.N,
        exps=v.A + v.N,
        programs=sum(math.ceil(b.r / rows) for b in v.rows),
        peak_sram=v.peak(peak),
    )


def _softmax_in_two_passes(y: Symbols, v: Sums) -> KernelCounts:
    a, z = y.a, y.z

    def peak(b: Rows) -> int:
        x, x_hbm, column = b.r * b.c * a, b.r * b.c * z, b.r * a
        return max(x_hbm + 3 * column, x + x_hbm + 2 * column if y.cast_s else 0, x + 3 * column) if b.visits else 2 * column

    return KernelCounts(
        hbm_read=2 * z * v.A,
        hbm_write=z * v.A + a * v.N,
        sram_read=3 * z * v.A + a * (5 * v.A + 13 * v.R + 4 * v.N),
        sram_write=2 * z * v.A + a * (5 * v.A + 8 * v.R + 4 * v.N),
        vector_flops=5 * v.A + 5 * v.R + v.N,
        exps=2 * v.A + v.R + v.N,
        programs=v.T,
        peak_sram=v.peak(peak),
    )


FORMS = {"naive": naive, "online_softmax": online_softmax, "flash2": flash2, "split_kv": split_kv}


def closed_form(algorithm: str, problem: Problem, *, Br: int, Bc: int, sram: int, splits: int = 1) -> Form:
    """What a run of `algorithm` must count, over all heads. sram: the machine's capacity, which sets naive's strips.

    ValueError for an algorithm without formulas.
    """
    if algorithm not in FORMS:
        raise ValueError(unknown("algorithm with closed forms", algorithm, FORMS))
    y = Symbols(problem, Br, Bc, sram=sram, splits=splits, packed=algorithm == "split_kv")
    kernels, footprint = FORMS[algorithm](y)
    return Form(
        {name: KernelCounts.of(k * y.lanes, k.programs * y.lanes, k.peak_sram) for name, k in kernels.items()}, footprint * y.lanes
    )
