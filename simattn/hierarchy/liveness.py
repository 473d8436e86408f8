"""SRAM occupancy: liveness over the operations that a thread block recorded.

A log is a sequence of (operation, operands), where an operand is the position in the log at which its tile was defined. Nothing is
reordered, and loops need no rule, because the log is a straight line. The rules:

* a tile lives from its definition to its last use; an operation's operands and its result coexist, but for two cases:
* an elementwise result takes over the bytes of an operand that dies there, covers its whole tile and is at least as large;
* a product whose only use is one addition to a dying tile of its shape and type accumulates in that tile, if the tile, or the one
  whose bytes it took over, was there before the product and is not a factor of it.
"""

from dataclasses import dataclass

from .log import Log


@dataclass(frozen=True, slots=True)
class Lives:
    """Of each position in a log: the operation at which its tile dies, the bytes that defining it adds, the bytes that it holds
    thereafter; the tiles that die there, and the one whose bytes the result takes over.
    """

    dies: list[int]
    own: list[int]
    after: list[int]
    ends: list[tuple[int, ...]]
    takes: list[int | None]

    def peak(self) -> tuple[int, int]:
        """The most bytes that are live at once, and the position in the log where they first are."""
        live = peak = where = 0
        after = self.after
        for t, added in enumerate(self.own):
            if live + added > peak:
                peak, where = live + added, t
            live += after[t]
            for position in self.ends[t]:
                live -= after[position]
        return peak, where

    def at(self, t: int) -> list[tuple[int, int]]:
        """(position of definition, bytes) of each tile that is live at operation `t`, its result last."""
        tiles = [(s, self.after[s]) for s in range(t) if self.dies[s] >= t and self.dies[s] > s and self.after[s]]
        return [*tiles, (t, self.own[t])] if self.own[t] else tiles


def lives(log: Log) -> Lives:
    """The working set of a log, by the rules above."""
    n = len(log)
    dies = list(range(n))
    ends: list[tuple[int, ...]] = [()] * n
    reused = set()
    for t in range(n - 1, -1, -1):  # backwards, so that the first use to be seen is the last
        ended: tuple[int, ...] = (t,) if dies[t] == t else ()
        for operand in log[t][1]:
            if dies[operand] == operand:
                dies[operand] = t
                ended += (operand,)
            else:
                reused.add(operand)
        if ended:
            ends[t] = ended
    origin = list(range(n))  # the tile whose bytes this one took over, in a chain
    takes: list[int | None] = [None] * n
    products = []
    own = [0] * n
    after = [0] * n
    for t, (operation, operands) in enumerate(log):
        if operation.result is None:
            continue
        if held := operation.result.held:
            after[t] = held
            for k in operation.takes:
                operand = operands[k]
                if dies[operand] == t and origin[operand] < origin[t]:
                    origin[t] = origin[operand]
                    takes[t] = operand
            if takes[t] is None:
                own[t] = held
        if operation.is_matmul:
            products.append(t)
    for t in products:
        if t not in reused and log[dies[t]][0].is_addition:
            factors = log[t][1]
            x, y = log[dies[t]][1]
            tile = y if x == t else x
            if dies[tile] == dies[t] and origin[tile] < t and origin[tile] not in {origin[f] for f in factors}:
                own[t] = after[t] = 0
    return Lives(dies, own, after, ends, takes)
