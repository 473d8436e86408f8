"""Random numbers that depend only on their position: nothing is stored, and any order gives the same numbers."""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
_WORD = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Philox 4×32-10 (Salmon, Moraes, Dror, Shaw 2011): four 32-bit words from four, by ten rounds. Arrays of words broadcast."""
    a, b, c, d = counter
    k, h = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        left, right = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (right >> _SHIFT) ^ b ^ k, right & _WORD, (left >> _SHIFT) ^ d ^ h, left & _WORD
        k, h = (k + _WEYL[0]) & _WORD, (h + _WEYL[1]) & _WORD
    return a, b, c, d


def uniform(seed: int, lanes: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1), 24 bits each, of shape (*lanes, rows, columns): a function of (seed, lane, row, column) only."""
    first = int(columns[0]) // 4
    four = np.arange(first, int(columns[-1]) // 4 + 1).astype(np.uint64)  # a call gives the words of four neighbouring columns
    lane = lanes[..., None, None].astype(np.uint64)
    counter = (four, rows.astype(np.uint64)[:, None], lane & _WORD, lane >> _SHIFT)
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    shape = (*lanes.shape, len(rows), len(four))
    together = np.stack([np.broadcast_to(w, shape) for w in words], axis=-1).reshape(*shape[:-1], -1)
    return (together[..., columns - 4 * first] >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
