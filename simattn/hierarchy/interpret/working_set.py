"""The working set of each thread block, computed once for equal logs and compared with the SRAM of the device."""

from ..device import Device
from ..liveness import lives
from ..log import Block, Log, Reader
from ..overflow import overflow

REMEMBERED = 200_000  # operations in the logs that are kept, so that memory stays bounded however long a run is


class Found:
    """What follows from the log of a thread block, independent of its values: the lives of its tiles, and where the most bytes are
    live."""

    __slots__ = ("__weakref__", "at", "lives", "peak")  # weak: what else was found is remembered beside it

    def __init__(self, log: Log) -> None:
        self.lives = lives(log)
        self.peak, self.at = self.lives.peak()


class WorkingSets(Reader):
    """Reads each thread block before all other readers, and raises SramOverflow if it does not fit."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[Log, Found] = {}
        self._entries = 0
        self.log: Log = ()  # of the block that was read last,
        self.found = Found(())  # and what was found

    def block(self, block: Block) -> None:
        log = block.entries()
        found = self._known.get(log)
        if found is None:
            found = Found(log)
            if self._entries < REMEMBERED:  # dense kernels execute the same log again and again
                self._entries += len(log)
                self._known[log] = found
        self.log, self.found = log, found
        if found.peak > self._device.sram:
            live = found.lives.at(found.at)
            raise overflow(block.kernel, self._device.name, self._device.sram, block.records, block.source, found.at, live)
