"""SRAM occupancy: liveness over the operations that a thread block executed.

A log is a sequence of (operation, operands), an operand being the position in the log at which its tile was defined. Nothing is
reordered, and loops need no rule: what was executed is a straight line. The rules:

* a tile lives from its definition to its last use; an operation's operands and its result coexist, but for two cases:
* an elementwise result takes over the bytes of an operand that dies there, covers its whole tile and is at least as large;
* a product whose only use is one addition to a dying tile of its shape and type accumulates in that tile, if the tile, or the one
  whose bytes it took over, was there before the product and is not a factor of it.
"""

from collections.abc import Sequence

from .operations import Operation

Entry = tuple[Operation, tuple[int, ...]]
Log = Sequence[Entry]


def working_set(log: Log) -> tuple[int, int]:
    """The most bytes that are live at once, and the position in the log where they first are."""
    dies, own, after = _lives(log)
    freed = [0] * len(log)
    for t, held in zip(dies, after, strict=True):
        freed[t] += held
    live = peak = where = 0
    for t, added in enumerate(own):
        if live + added > peak:
            peak, where = live + added, t
        live += after[t] - freed[t]
    return peak, where


def live_at(log: Log, t: int) -> list[tuple[int, int]]:
    """(position of definition, bytes) of each tile that is live at operation `t`, its result last."""
    dies, own, after = _lives(log)
    tiles = [(s, after[s]) for s in range(t) if dies[s] >= t and dies[s] > s and after[s]]
    return [*tiles, (t, own[t])] if own[t] else tiles


def _lives(log: Log) -> tuple[list[int], list[int], list[int]]:
    """For each tile: the operation at which it dies, the bytes that defining it adds, the bytes that it holds thereafter."""
    dies = list(range(len(log)))
    uses = [0] * len(log)
    for t, (_, operands) in enumerate(log):
        for operand in operands:
            dies[operand] = t
            uses[operand] += 1
    origin = list(range(len(log)))  # the tile whose bytes this one took over, in a chain
    products = []
    own = [0] * len(log)
    after = [0] * len(log)
    for t, (operation, operands) in enumerate(log):
        for k in operation.takes:
            if dies[operands[k]] == t and origin[operands[k]] < origin[t]:
                origin[t] = origin[operands[k]]
        if operation.result is not None:
            after[t] = operation.result.held
            own[t] = after[t] if origin[t] == t else 0
        if operation.is_matmul:
            products.append(t)
    for t in products:
        if uses[t] == 1 and log[dies[t]][0].is_addition:
            factors = log[t][1]
            x, y = log[dies[t]][1]
            tile = y if x == t else x
            if dies[tile] == dies[t] and origin[tile] < t and origin[tile] not in {origin[f] for f in factors}:
                own[t] = after[t] = 0
    return dies, own, after
