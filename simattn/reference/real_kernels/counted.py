"""Which algorithm of the simulator a real kernel runs, and with which blocks; and what the simulator counts of it.

The blocks are read off the names of the kernels that were launched, where they carry them; where nothing was launched, or the name is
silent, they come from the library's sources. Counts are the closed forms, which equal executed runs to the byte; where a kernel is known
to move more or less than the algorithm does, that is added, and the name says so.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...hierarchy.counts import KernelCounts
from ...hierarchy.dtypes import accumulation_type, storage_type
from ...hierarchy.machine import Machine
from ...hierarchy.splits import key_block, num_splits
from ..forms import closed_form
from ..problem import Problem
from ..symbols import Symbols
from .twins import FLASH2_ROWS, MOST_ROWS, ROOMY, SPLIT_KV_KEYS, flash2_keys, split_kv_rows

FLASH_TILE = re.compile(r"Flash_(?:fwd|bwd)_kernel_traits<(?:\(int\))?\d+, (?:\(int\))?(\d+), (?:\(int\))?(\d+)")
CUTLASS_TILE = re.compile(r"fmha_cutlassF_\w+_(\d+)x(\d+)_")
CUBLAS_TILE = re.compile(r"(?:nvjet_\w+?_|tilesize)(\d+)x(\d+)_")
# Closed source. Rows: read off the counters at 16 heads, N = 2048, d = 64. Keys: at 1000 queries on 3001 keys, d = 64; backward at 32 heads,
# N = 1024, d = 64, causal. Held against all other workloads.
CUDNN_ROWS = CUDNN_KEYS = CUDNN_BACKWARD_KEYS = 128
COPY = "direct_copy_kernel"
HOPPER = re.compile(r"\bg?h[12]00\b")
WIDTHS = (64, 128)  # of which anything is known here


@dataclass(frozen=True)
class Counted:
    """The simulator's side: the algorithm with its blocks, and the bytes that its thread blocks load and store."""

    algorithm: str
    read: int
    write: int


Names = Sequence[str]


def counted(kernel: str, w: Problem, launched: Names, machine: Machine) -> Counted | None:
    """What the simulator counts of a kernel on a workload; None where nobody knows what the kernel runs."""
    rule = (BACKWARD if w.backward else FORWARD).get(kernel)
    fits = w.dtype in ("float16", "bfloat16") and w.d in WIDTHS
    return rule(w, launched, machine) if rule is not None and fits else None


def compulsory(w: Problem) -> tuple[int, int]:
    """Bytes that any kernel must read and write: its inputs once, its outputs and lse once."""
    kind = storage_type(w.dtype)
    size, rows = kind.itemsize, w.batch * w.heads * w.n_q * accumulation_type([kind]).itemsize
    q, kv = w.batch * w.heads * w.n_q * w.d * size, w.batch * w.kv_heads * w.n_k * w.d * size
    return (3 * q + 2 * kv + rows, q + 2 * kv) if w.backward else (q + 2 * kv, q + rows)


def problem(w: Problem, *, masked: bool = False) -> Problem:
    """What a kernel computes: a single query sees every key. masked: the causal mask is an array, as an eager chain has it."""
    causal = w.causal and w.n_q > 1
    return replace(w, causal=causal and not masked, mask="pairs" if causal and masked else None)


def _form(algorithm: str, w: Problem, machine: Machine, Br: int, Bc: int, **options: int) -> Counted:
    total = closed_form(algorithm, problem(w), Br=Br, Bc=Bc, sram=machine.sram, **options).total
    said = "".join(f", {name} = {n}" for name, n in {"Br": Br, "Bc": Bc, **options}.items())
    return Counted(f"{algorithm}{said}", total.hbm_read, total.hbm_write)


def _flash(w: Problem, launched: Names, machine: Machine) -> Counted | None:
    """FlashAttention-2 names its tile. It splits the keys where its heuristic, over tiles of 64 rows, finds that this fills the SMs. Of
    heads that share keys it makes rows of one tile for a single query; for more, each head reads the keys itself."""
    if w.causal and w.n_q > w.n_k:
        return None
    name, tile = _first(FLASH_TILE, launched)
    if tile is None and launched:
        return None
    group = w.heads // w.kv_heads
    packed = replace(w, heads=w.kv_heads, n_q=group, causal=False) if w.n_q == 1 else replace(w, kv_heads=w.heads)
    splits = _splits(packed, machine, 64)
    if "splitkv" in name or (not launched and splits > 1):
        return _form("split_kv", packed, machine, *(tile or (64, key_block(w.d))), splits=splits)
    return _form("flash2", packed, machine, *(tile or (128, 128 if w.d <= 64 else 64)))


def _cudnn(w: Problem, launched: Names, machine: Machine) -> Counted | None:
    """Known for Hopper's kernel only; with one query it runs another."""
    if w.n_q == 1 or not _hoppers("sm90_flash_fprop", launched, machine):
        return None
    return _whole_tiles(w, machine, CUDNN_ROWS, CUDNN_KEYS)


def _whole_tiles(w: Problem, machine: Machine, Br: int, Bc: int) -> Counted | None:
    """flash2 by the tensor memory accelerator, which fetches whole tiles: rows beyond the lengths arrive, too, as zeros. What happens there
    on a GPU without one is not known."""
    exact = _form("flash2", w, machine, Br, Bc)
    pairs = Symbols(problem(w), Br, Bc, sram=machine.sram).sums()
    beyond = (pairs.T * Br - w.n_q) + 2 * (pairs.P * Bc - pairs.C)  # rows of Q, and of K and V
    if beyond and _shared_memory(machine) < ROOMY:
        return None
    said = f"{exact.algorithm}, whole tiles" if beyond else exact.algorithm
    return Counted(said, exact.read + w.batch * w.heads * beyond * w.d * 2, exact.write)


def _efficient(w: Problem, launched: Names, machine: Machine) -> Counted | None:
    """CUTLASS's fused attention names its tile, does not split the keys, and reads Q again with each block of keys: to it QKᵀ is a
    product like any other, whose operands both come from memory. Of a block of keys that the diagonal cuts, it loads those that some row
    of the thread block sees."""
    _, tile = _first(CUTLASS_TILE, launched)
    causal = w.causal and w.n_q > 1
    if (tile is None and launched) or w.heads != w.kv_heads or (causal and w.n_q != w.n_k):
        return None
    tile = tile or (64, 64 if w.d <= 64 else 128)
    once = _form("flash2", w, machine, *tile)
    pairs = Symbols(problem(w), *tile, sram=machine.sram).sums()
    unseen = pairs.C - sum(min(i + tile[0], w.n_k) for i in range(0, w.n_q, tile[0])) if causal else 0
    rows = pairs.R - w.n_q - 2 * unseen  # of Q again, less those of K and V
    return Counted(f"{once.algorithm}, Q each time", once.read + w.batch * w.heads * rows * w.d * 2, once.write)


def _twin_flash2(w: Problem, _: Names, machine: Machine) -> Counted | None:
    return _whole_tiles(w, machine, FLASH2_ROWS, flash2_keys(w.d, _shared_memory(machine)))


def _twin_split_kv(w: Problem, _: Names, machine: Machine) -> Counted | None:
    rows = w.heads // w.kv_heads * w.n_q
    if rows > MOST_ROWS or (w.causal and w.n_q > 1):
        return None
    splits = _splits(replace(w, heads=w.kv_heads, n_q=rows), machine, rows)
    return _form("split_kv", w, machine, split_kv_rows(rows), SPLIT_KV_KEYS, splits=splits)


def _splits(w: Problem, machine: Machine, Br: int) -> int:
    """flash-attn's heuristic, for heads that share no keys."""
    return num_splits(machine, w.batch * w.heads, w.n_q, w.d, w.n_k, Br)


def _unfused(w: Problem, launched: Names, machine: Machine) -> Counted | None:
    """The eager chain: each product by the tile in its name, whose first length goes along the keys, or the width, of the result."""
    tiles = [tile for name in launched if (tile := _tile(CUBLAS_TILE, name)) is not None] if launched else [(128, 256), (w.d, 256)]
    if len(tiles) != 2 or w.n_q == 1 or w.heads != w.kv_heads:
        return None
    (Bc, Br), (_, rows) = tiles
    kernels: dict[str, KernelCounts] = {}
    for size, names in ((Br, ("scores", "mask", "softmax")), (rows, ("output",))):
        form = closed_form("unfused_chain", problem(w, masked=True), Br=size, Bc=Bc, sram=machine.sram)
        kernels |= {name: form.kernels[name] for name in names if name in form.kernels}
    total = sum(kernels.values(), KernelCounts())
    return Counted(f"unfused_chain, QKᵀ {Br} × {Bc}, PV {rows} rows", total.hbm_read, total.hbm_write)


def _flash_backward(w: Problem, launched: Names, machine: Machine) -> Counted | None:
    """FlashAttention-2 names its tile. torch copies O and dO first, where they do not lie as (batch, N, heads, d)."""
    _, tile = _first(FLASH_TILE, [name for name in launched if "flash_bwd_dq_dk_dv" in name])
    if tile is None or w.heads != w.kv_heads:
        return None
    found = _atomic(w, machine, *tile)
    copies = sum(COPY in name for name in launched)
    copied = copies * w.batch * w.heads * w.n_q * w.d * 2
    said = f"{found.algorithm}, {copies} copies" if copies else found.algorithm
    return Counted(said, found.read + copied, found.write + copied)


def _cudnn_backward(w: Problem, launched: Names, machine: Machine) -> Counted | None:
    """Known for Hopper's kernel only, and where its blocks divide the lengths; how many rows it takes at once, the counters do not say."""
    ragged = w.n_q % CUDNN_BACKWARD_KEYS or w.n_k % CUDNN_BACKWARD_KEYS
    if ragged or w.heads != w.kv_heads or not _hoppers("sm90_flash_bprop", launched, machine):
        return None
    return _atomic(w, machine, 128, CUDNN_BACKWARD_KEYS)


def _hoppers(kernel: str, launched: Names, machine: Machine) -> bool:
    """Whether cuDNN's kernel for Hopper was launched; where nothing was, whether it would be."""
    return any(kernel in name for name in launched) if launched else _hopper(machine)


def _hopper(machine: Machine) -> bool:
    return HOPPER.search(machine.name) is not None


def _shared_memory(machine: Machine) -> int:
    """Bytes a thread block. GPUs with as much as an H100 have a tensor memory accelerator, too."""
    return ROOMY if _hopper(machine) else machine.shared_memory or 0


def _atomic(w: Problem, machine: Machine, Br: int, Bc: int) -> Counted:
    """flash2_backward, whose atomic additions happen in L2: they cross from the SMs to it, and not back."""
    whole = _form("flash2_backward", w, machine, Br, Bc)
    pairs = Symbols(problem(w), Br, Bc, sram=machine.sram).sums()
    return Counted(whole.algorithm, whole.read - w.batch * w.heads * pairs.R * w.d * 4, whole.write)


Rule = Callable[[Problem, Names, Machine], Counted | None]
FORWARD: dict[str, Rule] = {
    "flash": _flash, "cudnn": _cudnn, "efficient": _efficient, "unfused": _unfused, "triton_flash2": _twin_flash2,
    "triton_split_kv": _twin_split_kv,
}  # fmt: skip
BACKWARD: dict[str, Rule] = {"flash": _flash_backward, "cudnn": _cudnn_backward}


def _first(pattern: re.Pattern[str], names: Names) -> tuple[str, tuple[int, int] | None]:
    return next(((name, tile) for name in names if (tile := _tile(pattern, name)) is not None), ("", None))


def _tile(pattern: re.Pattern[str], name: str) -> tuple[int, int] | None:
    found = pattern.search(name)
    return None if found is None else (int(found.group(1)), int(found.group(2)))
