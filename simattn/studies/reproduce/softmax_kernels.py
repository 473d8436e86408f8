"""The softmaxes of Milakov & Gimelshein (2018, arXiv 1805.02867), over rows that lie in HBM, by blocks of Bc elements."""

import math
from typing import Any

import numpy as np

from ...hierarchy.gpu import Gpu
from ...hierarchy.grid import blocks, size
from ...hierarchy.hbm import HbmArray
from ...hierarchy.sram import Sram
from ...hierarchy.tile import Tile
from ...kernels.softmax import lowest, rowmax, rowsum

Best = list[tuple[Any, Any]]  # columns of values and of their places, the largest first


def naive_softmax(gpu: Gpu, x: HbmArray, *, Br: int, Bc: int) -> HbmArray:
    """Algorithm 1: the maximum is not subtracted."""
    (N, V), y = x.shape, gpu.empty(x.shape, name="y")
    for sram, i in gpu.launch("naive_softmax", blocks(N, Br)):
        d = sram.zeros((size(i), 1))
        for j in blocks(V, Bc):
            d = d + rowsum(np.exp(sram.load(x[i, j])))
        for j in blocks(V, Bc):
            sram.store(y[i, j], np.exp(sram.load(x[i, j])) / d)
    return y


def safe_softmax(gpu: Gpu, x: HbmArray, *, Br: int, Bc: int) -> HbmArray:
    """Algorithm 2: one pass for the maximum, one for the sum, one for the quotients."""
    (N, V), y = x.shape, gpu.empty(x.shape, name="y")
    for sram, i in gpu.launch("safe_softmax", blocks(N, Br)):
        m, d = sram.full((size(i), 1), lowest(gpu.acc)), sram.zeros((size(i), 1))
        for j in blocks(V, Bc):
            m = np.maximum(m, rowmax(sram.load(x[i, j])))
        for j in blocks(V, Bc):
            d = d + rowsum(np.exp(sram.load(x[i, j]) - m))
        for j in blocks(V, Bc):
            sram.store(y[i, j], np.exp(sram.load(x[i, j]) - m) / d)
    return y


def online_softmax(gpu: Gpu, x: HbmArray, *, Br: int, Bc: int) -> HbmArray:
    """Algorithm 3: one pass for both the maximum and the sum."""
    (N, V), y = x.shape, gpu.empty(x.shape, name="y")
    for sram, i in gpu.launch("online_softmax", blocks(N, Br)):
        m, d = sram.full((size(i), 1), lowest(gpu.acc)), sram.zeros((size(i), 1))
        for j in blocks(V, Bc):
            m, d = _online(sram.load(x[i, j]), m, d)
        for j in blocks(V, Bc):
            sram.store(y[i, j], np.exp(sram.load(x[i, j]) - m) / d)
    return y


def safe_softmax_then_topk(gpu: Gpu, x: HbmArray, *, K: int, Br: int, Bc: int) -> tuple[HbmArray, HbmArray]:
    """The K largest probabilities of each row and their places, by a kernel after the safe softmax."""
    return _topk(gpu, safe_softmax(gpu, x, Br=Br, Bc=Bc), K, Br, Bc)


def online_softmax_then_topk(gpu: Gpu, x: HbmArray, *, K: int, Br: int, Bc: int) -> tuple[HbmArray, HbmArray]:
    """The same after the online softmax."""
    return _topk(gpu, online_softmax(gpu, x, Br=Br, Bc=Bc), K, Br, Bc)


def online_softmax_with_topk(gpu: Gpu, x: HbmArray, *, K: int, Br: int, Bc: int) -> tuple[HbmArray, HbmArray]:
    """Algorithm 4: the same in one kernel, of which one pass reads x and none writes the probabilities."""
    (N, V), (values, places) = x.shape, _results(gpu, x, K)
    for sram, i in gpu.launch("online_softmax_with_topk", blocks(N, Br)):
        m, d = sram.full((size(i), 1), lowest(gpu.acc)), sram.zeros((size(i), 1))
        best = _nothing(sram, i, K)
        for j in blocks(V, Bc):
            xj = sram.load(x[i, j])
            m, d = _online(xj, m, d)
            best = _merge(sram, best, xj, j)
        for k, (value, place) in enumerate(best):
            sram.store(values[i, k : k + 1], np.exp(value - m) / d)
            sram.store(places[i, k : k + 1], place)
    return values, places


def _online(x: Tile, m: Any, d: Any) -> tuple[Any, Any]:
    m, m_old = np.maximum(m, rowmax(x)), m
    return m, d * np.exp(m_old - m) + rowsum(np.exp(x - m))


def _topk(gpu: Gpu, y: HbmArray, K: int, Br: int, Bc: int) -> tuple[HbmArray, HbmArray]:
    (N, V), (values, places) = y.shape, _results(gpu, y, K)
    for sram, i in gpu.launch("topk", blocks(N, Br)):
        best = _nothing(sram, i, K)
        for j in blocks(V, Bc):
            best = _merge(sram, best, sram.load(y[i, j]), j)
        for k, (value, place) in enumerate(best):
            sram.store(values[i, k : k + 1], value)
            sram.store(places[i, k : k + 1], place)
    return values, places


def _results(gpu: Gpu, x: HbmArray, K: int) -> tuple[HbmArray, HbmArray]:
    values, places = (gpu.empty((x.shape[0], K), name=name, dtype=gpu.acc) for name in ("values", "places"))
    return values, places


def _nothing(sram: Sram, i: slice, K: int) -> Best:
    return [(sram.full((size(i), 1), -math.inf), sram.zeros((size(i), 1))) for _ in range(K)]


def _merge(sram: Sram, best: Best, x: Any, j: slice) -> Best:
    """The largest of what was found so far and of the columns j of x; of equal ones the first."""
    index = sram.arange(j)
    for _ in best:
        value = rowmax(x)
        place: Any = np.where(x == value, index, math.inf).min(axis=1, keepdims=True)
        x = np.where(index == place, -math.inf, x)
        best = _insert(best, value, place)
    return best


def _insert(best: Best, value: Any, place: Any) -> Best:
    """`best` with a value put before the first that is smaller; the last drops out."""
    inserted, (v_next, p_next) = [], (value, place)
    for v, p in best:
        larger = value > v
        inserted.append((np.where(larger, v_next, v), np.where(larger, p_next, p)))
        v_next, p_next = np.where(larger, v, v_next), np.where(larger, p, p_next)
    return inserted
