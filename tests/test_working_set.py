"""SRAM occupancy equals what one computes by hand, however the same algorithm is written."""

import numpy as np
import pytest
from conftest import ROOMY

import simattn as sa
from simattn.kernels.softmax import lowest, rowmax, rowsum

B, D = 128, 64
ALL_LOADED = 197_632  # Q K V O 4 × 32,768 + l, m 1,024 + S 65,536
V_LATE = 164_864  # Q K O 3 × 32,768 + l, m 1,024 + S 65,536
ALL_LOADED_HALF = 148_480  # Q K V 3 × 16,384 + O 32,768 + l, m 1,024 + S 65,536
V_LATE_HALF = 132_096


def step_as_published(sram, Qi, K, V, j, O, l, m):
    Kj, Vj = sram.load(K[j]), sram.load(V[j])
    S = Qi @ Kj.T * 0.125
    m, m_old = np.maximum(m, rowmax(S)), m
    P = np.exp(S - m)
    a = np.exp(m_old - m)
    l = a * l + rowsum(P)
    return a * O + P.astype(V.dtype) @ Vj, l, m


def step_product_first(sram, Qi, K, V, j, O, l, m):
    Kj, Vj = sram.load(K[j]), sram.load(V[j])
    S = Qi @ Kj.T * 0.125
    m, m_old = np.maximum(m, rowmax(S)), m
    P = np.exp(S - m)
    a = np.exp(m_old - m)
    l = rowsum(P) + a * l
    return P.astype(V.dtype) @ Vj + a * O, l, m


def step_in_place_operators(sram, Qi, K, V, j, O, l, m):
    Kj, Vj = sram.load(K[j]), sram.load(V[j])
    S = Qi @ Kj.T
    S *= 0.125
    m_new = np.maximum(m, rowmax(S))
    S -= m_new
    P = np.exp(S)
    a = np.exp(m - m_new)
    l *= a
    l += rowsum(P)
    O *= a
    O += P.astype(V.dtype) @ Vj
    return O, l, m_new


def step_every_name_kept(sram, Qi, K, V, j, O, l, m):
    kept = [sram.load(K[j]), sram.load(V[j])]
    kept.append(Qi @ kept[0].T)
    kept.append(kept[2] * 0.125)
    kept.append(np.maximum(m, rowmax(kept[3])))
    kept.append(kept[3] - kept[4])
    kept.append(np.exp(kept[5]))
    kept.append(np.exp(m - kept[4]))
    kept.append(kept[7] * l)
    kept.append(kept[8] + rowsum(kept[6]))
    kept.append(kept[7] * O)
    kept.append(kept[10] + kept[6].astype(V.dtype) @ kept[1])
    return kept[11], kept[9], kept[4]


def step_names_deleted(sram, Qi, K, V, j, O, l, m):
    Kj, Vj = sram.load(K[j]), sram.load(V[j])
    X = Qi @ Kj.T
    del Kj
    S = X * 0.125
    del X
    m_new = np.maximum(m, rowmax(S))
    P = np.exp(S - m_new)
    del S
    a = np.exp(m - m_new)
    l_new, O_new = a * l + rowsum(P), a * O + P.astype(V.dtype) @ Vj
    del P, Vj, a
    return O_new, l_new, m_new


def step_nested_calls(sram, Qi, K, V, j, O, l, m):
    def scored(X):
        return scaled(X)

    def scaled(X):
        return np.multiply(X, 0.125)

    def weights(S, top):
        return np.exp(np.subtract(S, top))

    Kj, Vj = sram.load(K[j]), sram.load(V[j])
    S = scored(np.matmul(Qi, np.transpose(Kj)))
    top = np.maximum(m, np.max(S, axis=1, keepdims=True))
    P, a = weights(S, top), weights(m, top)
    l = a * l + np.sum(P, axis=-1, keepdims=True)
    return a * O + np.matmul(P.astype(V.dtype), Vj), l, top


def step_whole_slices(sram, Qi, K, V, j, O, l, m):
    Kj, Vj = sram.load(K[j])[:], sram.load(V[j])[0:B]
    S = (Qi[:, 0:D] @ Kj[:].T) * 0.125
    m, m_old = np.maximum(m[:], rowmax(S)), m
    P = np.exp(S[:, :] - m)
    a = np.exp(m_old - m)
    l = a * l + rowsum(P[:])
    return a * O[:] + P[:].astype(V.dtype) @ Vj, l, m


def step_transposed(sram, Qi, K, V, j, O, l, m):
    Kj, Vj = sram.load(K[j]), sram.load(V[j])
    St = (Kj @ Qi.T) * 0.125
    m, m_old = np.maximum(m, St.max(axis=0, keepdims=True).T), m
    Pt = np.exp(St - m.T)
    a = np.exp(m_old - m)
    l = a * l + Pt.sum(axis=0, keepdims=True).T
    return a * O + Pt.astype(V.dtype).T @ Vj, l, m


def step_values_late(sram, Qi, K, V, j, O, l, m):
    S = Qi @ sram.load(K[j]).T * 0.125
    m, m_old = np.maximum(m, rowmax(S)), m
    P = np.exp(S - m)
    a = np.exp(m_old - m)
    l = a * l + rowsum(P)
    return a * O + P.astype(V.dtype) @ sram.load(V[j]), l, m


def step_weights_summed_last(sram, Qi, K, V, j, O, l, m):
    S = (Qi @ sram.load(K[j]).T) * 0.125
    top = np.maximum(m, rowmax(S))
    return (
        (a := np.exp(m - top)) * O + (P := np.exp(S - top)).astype(V.dtype) @ sram.load(V[j]),
        a * l + rowsum(P),
        top,
    )


LOADED_EARLY = [
    step_as_published, step_product_first, step_in_place_operators, step_every_name_kept, step_names_deleted, step_nested_calls,
    step_whole_slices, step_transposed,
]  # fmt: skip


def run_steps(step, dtype, machine=ROOMY):
    def written(gpu, Q, K, V):
        O = gpu.empty((2 * B, D), name="O")
        for sram, i in gpu.launch("written", sa.blocks(2 * B, B)):
            Qi = sram.load(Q[i])
            Oi, l, m = sram.zeros((B, D)), sram.zeros((B, 1)), sram.full((B, 1), lowest(gpu.acc))
            for j in sa.blocks(2 * B, B):
                Oi, l, m = step(sram, Qi, K, V, j, Oi, l, m)
            sram.store(O[i], Oi / l)
        return O

    rng = np.random.default_rng(0)
    return machine.run(written, *(rng.standard_normal((2 * B, D)).astype(dtype) for _ in range(3)))


@pytest.mark.parametrize(
    ("step", "single", "half"),
    [(step, ALL_LOADED, ALL_LOADED_HALF) for step in LOADED_EARLY] + [(step_values_late, V_LATE, V_LATE_HALF)],
    ids=lambda x: x.__name__ if callable(x) else None,
)
def test_the_working_set_is_the_hand_computed_one_in_every_style(step, single, half):
    """The same step of FlashAttention-2, written nine ways, occupies to the byte what DESIGN's table computes by hand."""
    assert run_steps(step, np.float32).peak_sram == single
    assert run_steps(step, np.float16).peak_sram == half


def test_weights_that_are_summed_last_stay_live_beside_their_rounding():
    """Summing P after the product keeps it live there: with half types it lies beside its rounded copy, and both count."""
    single = 3 * B * D * 4 + B * B * 4 + 3 * B * 4  # Q, O and V, P, and the columns l, m and a
    half = 2 * B * D * 2 + B * D * 4 + B * B * (4 + 2) + 3 * B * 4
    assert run_steps(step_weights_summed_last, np.float32).peak_sram == single
    assert run_steps(step_weights_summed_last, np.float16).peak_sram == half


def test_exactly_the_peak_fits_and_one_byte_less_does_not():
    """The capacity raises at one byte below the peak, and not at the peak."""
    assert run_steps(step_as_published, np.float32, sa.Machine(name="just", sram=ALL_LOADED)).peak_sram == ALL_LOADED
    with pytest.raises(sa.SramOverflow) as caught:
        run_steps(step_as_published, np.float32, sa.Machine(name="short", sram=ALL_LOADED - 1))
    assert (caught.value.needed, caught.value.capacity) == (ALL_LOADED, ALL_LOADED - 1)


def peak_of(body, *shapes, dtype=np.float32):
    """The peak of a thread block that runs `body(sram, *arrays)` and stores what it returns."""

    def one_block(gpu, *arrays):
        out, end = gpu.empty((64, 64), name="out"), gpu.empty((1, 1), name="end")
        for sram, _ in gpu.launch("one block", [0]):
            x = body(sram, *arrays)
            sram.store(out[: x.shape[0], : x.shape[1]], x)
        for sram, _ in gpu.launch("end", [0]):
            sram.store(end, sram.zeros((1, 1)))
        return end

    return ROOMY.run(one_block, *(np.ones(shape, dtype) for shape in shapes)).peak_sram


TILE = 8 * 8 * 4


def chained(sram, X):
    x = sram.load(X)
    product = x @ sram.load(X)
    return 2.0 * x + product


RULES = {
    "what lives on gives no bytes": (2 * TILE, lambda sram, X: np.exp(x := sram.load(X)) + x),
    "a dying operand gives its bytes": (TILE, lambda sram, X: np.exp(sram.load(X)) + 1),
    "a reduction has bytes of its own": (TILE + 32, lambda sram, X: sram.load(X).sum(axis=1, keepdims=True) + sram.load(X)),
    "a column lies beside the tile": (TILE + 32, lambda sram, X: sram.load(X) - sram.load(X[:, 0:1])),
    "a slice that covers is the tile": (2 * TILE, lambda sram, X: sram.load(X)[0:8] * sram.load(X)),
    "half a tile gives nothing": (2 * TILE + TILE // 2, lambda sram, X: sram.load(X)[0:4] * sram.load(X)[0:4]),
    "a cast leaves half the bytes": (
        TILE + TILE // 2,
        lambda sram, X: np.exp(sram.load(X).astype("float16")) + sram.load(X).astype("float16"),
    ),
    "a product never takes over": (3 * TILE, lambda sram, X: sram.load(X) @ sram.load(X)),
    "a product accumulates in a dying tile": (3 * TILE, lambda sram, X: sram.load(X) + sram.load(X) @ sram.load(X)),
    "but not in one that lives on": (4 * TILE, lambda sram, X: (x := sram.load(X)) + sram.load(X) @ sram.load(X) + x),
    "nor in one defined after it": (3 * TILE, lambda sram, X: sram.load(X) @ sram.load(X) + sram.load(X)),
    "nor in its own factor": (3 * TILE, lambda sram, X: (x := sram.load(X)) @ sram.load(X) + x),
    "nor in what took over its factor's bytes": (3 * TILE, lambda sram, X: chained(sram, X)),
    "a difference is no addition": (4 * TILE, lambda sram, X: sram.load(X) - sram.load(X) @ sram.load(X)),
    "indices are free": (TILE, lambda sram, X: np.where(sram.arange(slice(0, 8)) < 4, sram.load(X), 0)),
    "a mask of values is a byte an element": (TILE + TILE // 4, lambda sram, X: np.where((x := sram.load(X)) > 0, x, 0)),
    "what is never used lives where it is made": (TILE, lambda sram, X: (sram.load(X), sram.load(X))[1]),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_of_the_working_set_by_hand(rule):
    """Every rule of docs/physics.md about bytes on chip, and its limits, on tiles small enough to count by hand."""
    by_hand, body = RULES[rule]
    assert peak_of(body, (8, 8)) == by_hand


def test_overflow_names_line_operation_live_tiles_and_capacity():
    """The message of an overflow says where, what, which tiles were live, with bytes, and how much there is."""
    with pytest.raises(sa.SramOverflow) as caught:
        run_steps(step_as_published, np.float32, sa.Machine(name="toy", sram=150 * sa.KiB))
    message = str(caught.value)
    for part in (
        "written",
        "toy",
        "197,632 B",
        "153,600 B",
        "matmul (128, 128) float32",
        "65,536 B",
        "load",
        "test_working_set.py",
    ):
        assert part in message
    assert "Oi, l, m = step(sram, Qi, K, V, j, Oi, l, m)" in message


def test_an_operation_that_cannot_fit_raises_at_once():
    """A load larger than SRAM raises before anything else of the thread block runs."""
    reached = []

    def too_large(gpu, X):
        O = gpu.empty((64, 64), name="O")
        for sram, i in gpu.launch("too large", [slice(0, 64)]):
            x = sram.load(X[i])
            reached.append(x)
            sram.store(O, x)
        return O

    with pytest.raises(sa.SramOverflow, match="load"):
        sa.Machine(name="toy", sram=1024).run(too_large, np.ones((64, 64), np.float32))
    assert not reached


def test_blocks_are_tried_from_128_down_and_reported():
    """Without Br and Bc the run takes the largest of 128, 64, 32, 16 that fits; one size given alone is an error."""
    X = np.ones((300, 64), np.float32)
    assert sa.Machine(name="small", sram=100 * sa.KiB).run(sa.flash2, X, X, X).blocks == {"Br": 64, "Bc": 64}
    assert sa.Machine(name="large", sram=300 * sa.KiB).run(sa.flash2, X, X, X).blocks == {"Br": 128, "Bc": 128}
    with pytest.raises(sa.SramOverflow) as caught:
        sa.Machine(name="tiny", sram=sa.KiB).run(sa.flash2, X, X, X)
    assert "were all tried" in "".join(caught.value.__notes__)
    with pytest.raises(TypeError, match="Bc"):
        sa.Machine(name="large", sram=300 * sa.KiB).run(sa.flash2, X, X, X, Br=64)


def test_a_product_that_accumulates_is_not_refused_at_once():
    """A capacity of exactly the working set is enough where the last operation adds a product to its sum."""

    def kernel(gpu, A, B):
        O = gpu.empty((64, 64), name="O")
        for sram, _ in gpu.launch("k", [0]):
            acc, a, b = sram.zeros((64, 64)), sram.load(A), sram.load(B)
            sram.store(O, acc + a @ b)
        return O

    A, B = np.ones((64, 1), np.float32), np.ones((1, 64), np.float32)
    needed = sa.Machine(name="big", sram=1 << 20).run(kernel, A, B).peak_sram
    assert needed == 64 * 64 * 4 + 2 * 64 * 4
    assert sa.Machine(name="enough", sram=needed).run(kernel, A, B).peak_sram == needed
    with pytest.raises(sa.SramOverflow):
        sa.Machine(name="short", sram=needed - 1).run(kernel, A, B)
