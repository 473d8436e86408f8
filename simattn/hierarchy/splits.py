"""How many parts to split a loop into so that a GPU is full: launch heuristics, shared by the kernels here and the rules of real
kernels."""

import math
from functools import lru_cache

from .device import Device
from .grid import blocks


def num_splits(machine: Device, lanes: int, N: int, d: int, n_k: int, Br: int) -> int:
    """The number of splits that flash-attn chooses on a machine, which runs two thread blocks on each SM."""
    if machine.sms is None:
        raise ValueError(f"{machine.name} has no number of SMs for the heuristic: give splits=")
    return heuristic(lanes * len(blocks(N, Br)), 2 * machine.sms, math.ceil(n_k / key_block(d)))


def key_block(d: int) -> int:
    """The keys in one block of flash-attn's split kernel, for heads of width d."""
    return 256 if d <= 64 else 128 if d <= 128 else 64


@lru_cache(1 << 14)
def heuristic(programs: int, slots: int, key_blocks: int, most: int = 128) -> int:
    """`num_splits_heuristic` of flash-attn 2: the fewest splits whose last wave is within 0.85 of the best filled."""
    if programs >= 0.8 * slots:
        return 1
    eligible = [
        s
        for s in range(1, min(most, slots, key_blocks) + 1)
        if s == 1 or math.ceil(key_blocks / s) != math.ceil(key_blocks / (s - 1))
    ]
    waves = {s: programs * s / slots for s in eligible}
    efficiency = {s: waves[s] / math.ceil(waves[s]) for s in eligible}
    best = max(efficiency.values())
    return next(s for s in eligible if efficiency[s] >= 0.85 * best)
