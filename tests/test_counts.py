"""run = closed form, to the byte; and the closed forms themselves by hand."""

import numpy as np
import pytest
from drawn import EXACT, cases, draw_qkv, equal_or_overflow, problems
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn import kernels
from simattn.hierarchy.counts import KernelCounts
from simattn.reference.forms import closed_form_of_steps


@pytest.mark.parametrize("algorithm", EXACT)
@given(data=st.data(), sram=st.sampled_from([1 << 30, 4096, 2048]))
def test_run_equals_closed_form_to_the_byte(algorithm, data, sram):
    """Every count of every kernel of an execution equals the formula, at any shape, block, head count, type and option."""
    case = data.draw(cases(algorithm))
    equal_or_overflow(case, case.form(sram), sram)


@pytest.mark.parametrize("algorithm", kernels.DECODING)
def test_decoding_is_causal_whatever_the_problem_says(algorithm):
    """A run without options and the form of a problem without options agree: a token sees none that follows."""
    p = sa.Problem(kv_heads=1, n_q=9, n_k=9, d=4)
    run = sa.Machine(name="m", sram=1 << 30).run(sa.algorithms[algorithm], *draw_qkv(p), steps=5, Br=2, Bc=3)
    assert run.kernels == sa.closed_form(algorithm, p, Br=2, Bc=3, sram=1 << 30, steps=5).kernels


@pytest.mark.parametrize("splits", [1, 2])
def test_two_heads_in_one_block_of_rows_keep_their_queries_for_the_keys_of_both(splits):
    """Rows 3, 0, 1 of two heads see a block of keys each; only where one thread block visits both does Q live on beside the first."""
    p = sa.Problem(heads=2, kv_heads=1, n_q=4, n_k=4, d=1, window=(0, 0))
    form = sa.closed_form("split_kv", p, Br=3, Bc=3, sram=1 << 30, splits=splits)
    run = sa.Machine(name="m", sram=1 << 30).run(sa.split_kv, *draw_qkv(p), window=(0, 0), Br=3, Bc=3, splits=splits)
    assert run.kernels == form.kernels


@pytest.mark.parametrize("algorithm", ["naive", "split_kv", "paged", "mla"])
@given(data=st.data(), first=st.integers(1, 30), steps=st.integers(1, 30), Br=st.integers(1, 5), Bc=st.integers(1, 12))
def test_the_form_of_many_steps_is_the_sum_of_their_forms(algorithm, data, first, steps, Br, Bc):
    """Steps of one query, each on a key more than the last, count together what they count one by one; the largest peak and footprint."""
    sram = data.draw(st.sampled_from([1 << 30, 256, 64]))  # of S, all rows fit, some do, none does
    lengths = np.arange(first, first + steps)
    splits = np.array([data.draw(st.integers(1, min(3, n))) if algorithm in ("split_kv", "paged") else 1 for n in lengths.tolist()])
    shape = dict(heads=3, kv_heads=1, n_q=1, d=5, d_v=2, dtype=data.draw(st.sampled_from(["float32", "float8_e5m2"])))
    one_by_one = []
    for n, s in zip(lengths.tolist(), splits.tolist(), strict=True):
        room = -(-n // Bc) * Bc if algorithm == "paged" else n
        p = sa.Problem(**shape, n_k=room, kv_len=n)
        one_by_one.append(sa.closed_form(algorithm, p, Br=Br, Bc=Bc, sram=sram, splits=s))
    found = closed_form_of_steps(algorithm, p, lengths, splits, Br=Br, Bc=Bc, sram=sram)
    assert found.total == sum((form.total for form in one_by_one), KernelCounts())
    assert found.hbm_footprint == max(form.hbm_footprint for form in one_by_one)


@pytest.mark.parametrize("algorithm", kernels.FORWARD)
def test_run_equals_closed_form_at_the_sizes_of_a_real_model(algorithm):
    """At GPT-2 medium's head, causal, with the blocks that the run chooses, execution and formula agree too."""
    p = sa.Problem(heads=2, kv_heads=2, n_q=1000, n_k=1000, d=64, causal=True)
    gpu = sa.machine("a100-40gb")
    run = gpu.run(sa.algorithms[algorithm], *draw_qkv(p), causal=True)
    splits = run.kernels["partial"].programs // (8 * 2) if algorithm == "split_kv" else 1
    form = sa.closed_form(algorithm, p, Br=128, Bc=128, sram=gpu.sram, splits=splits)
    assert run.kernels == form.kernels


@given(p=problems(), Br=st.integers(1, 12), Bc=st.integers(1, 12))
def test_kernels_and_arrays_add_up_to_the_run(p, Br, Bc):
    """The counts by kernel, and the traffic by array, each sum to the run's; inputs go by the algorithm's parameter names."""
    run = sa.Machine(name="m", sram=1 << 30).run(sa.naive, *draw_qkv(p), causal=p.causal, offset=p.offset, Br=Br, Bc=Bc)
    assert sum(t.hbm_read for t in run.tensors.values()) == run.hbm_read
    assert sum(t.hbm_write for t in run.tensors.values()) == run.hbm_write
    assert sum(run.kernels.values(), KernelCounts()) == run.total
    assert list(run.kernels) == ["scores", "softmax", "output"]
    assert set(run.tensors) <= {"Q", "K", "V", "S", "P", "O", "lse"}


N, D, B = 256, 64, 128  # the hand-computed examples of docs/counting.md: one head, float32, dense, two by two blocks
X = N * N * 4  # bytes of S: 262,144
ROW = N * D * 4  # bytes of Q, K, V or O: 65,536
COLUMN = N * 4  # bytes of lse: 1,024
BY_HAND = {
    # S is made of 4 products that each load a block of Q and of K; O loads P once and V for each of 2 row blocks
    "naive": dict(hbm_read=2 * ROW + 2 * ROW + X + X + 2 * ROW, hbm_write=X + X + COLUMN + ROW, exps=N * N + N, programs=4 + 2 + 2,
                  hbm_footprint=2 * X),
    # S goes out once and comes in once, m and l beside it; every score is exponentiated twice
    "online_softmax": dict(hbm_read=ROW + 2 * ROW + 2 * COLUMN + X + 2 * ROW, hbm_write=X + 3 * COLUMN + ROW,
                           exps=2 * N * N + 2 * N + N, programs=4, hbm_footprint=X + 2 * COLUMN),
    # Q once, K and V for each of 2 row blocks; nothing of size N² moves
    "flash2": dict(hbm_read=ROW + 4 * ROW, hbm_write=ROW + COLUMN, exps=N * N + 2 * N + N, programs=2, hbm_footprint=0),
    # as flash2, but Q for each of 2 splits, and two float32 partials of O and lse out and in
    "split_kv": dict(hbm_read=2 * ROW + 4 * ROW + 2 * (ROW + COLUMN), hbm_write=2 * (ROW + COLUMN) + ROW + COLUMN,
                     exps=(N * N + 2 * N + 2 * N) + (2 * 2 * N + N), programs=4 + 2, hbm_footprint=2 * (ROW + COLUMN)),
    # K and V once; Q each pass; O, l and m out each pass, in again on the second; at last l and m in, lse out
    "flash1": dict(hbm_read=2 * ROW + 2 * ROW + ROW + 4 * COLUMN, hbm_write=2 * ROW + 4 * COLUMN + COLUMN, exps=N * N + 5 * N, programs=1,
                   hbm_footprint=2 * COLUMN),
    # dV reads P, the softmax P and dP, dQ and dK each dS; dP and dS go out; the products load their blocks again as naive's do
    "naive_backward": dict(hbm_read=5 * X + 10 * ROW, hbm_write=2 * X + 3 * ROW, exps=0, programs=2 + 4 + 2 + 2 + 2, hbm_footprint=2 * X),
    # D from O and dO; K and V once; Q, dO, lse and D for each of 2 key blocks; dQ is zeroed, then added to twice, in float32 in place
    "flash2_backward": dict(hbm_read=2 * ROW + 2 * ROW + 4 * ROW + 4 * COLUMN + 2 * ROW, hbm_write=COLUMN + ROW + 2 * ROW + 2 * ROW,
                            exps=N * N, programs=2 + 2 + 2, hbm_footprint=COLUMN),
    # Q, dO and lse each pass; D from O on the first pass, in again on the second; dQ out each pass, in on the second
    "flash1_backward": dict(hbm_read=2 * ROW + 4 * ROW + 2 * COLUMN + ROW + COLUMN + ROW, hbm_write=COLUMN + 2 * ROW + 2 * ROW,
                            exps=N * N, programs=1, hbm_footprint=COLUMN),
}  # fmt: skip


@pytest.mark.parametrize("algorithm", BY_HAND)
def test_each_algorithm_by_hand(algorithm):
    """At N = 256, d = 64, blocks of 128, traffic, exponentials, thread blocks and footprint are what one computes on paper."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((N, D), np.float32) for _ in range(3))
    options = {"splits": 2} if algorithm == "split_kv" else {}
    if algorithm.endswith("_backward"):
        forward = sa.attention(Q, K, V)
        run = sa.attention_backward(
            Q, K, V, forward.output, forward.lse, V, algorithm=algorithm.removesuffix("_backward"), Br=B, Bc=B
        )
    else:
        run = sa.machine("a100-40gb").run(sa.algorithms[algorithm], Q, K, V, Br=B, Bc=B, **options)
    assert {name: getattr(run, name) for name in BY_HAND[algorithm]} == BY_HAND[algorithm]
    products = {"naive_backward": 4, "flash1_backward": 5, "flash2_backward": 5}.get(algorithm, 2)
    assert run.matmul_flops == products * 2 * N * N * D


def test_blocks_above_the_diagonal_are_neither_loaded_nor_computed():
    """Causal attention at four by four blocks visits 10 of 16: K, V and the products shrink by exactly that."""
    Q, K, V = (np.ones((512, 64), np.float32) for _ in range(3))
    gpu = sa.machine("a100-40gb")
    dense, causal = (gpu.run(sa.flash2, Q, K, V, Br=128, Bc=128, causal=c) for c in (False, True))
    assert causal.tensors["K"].hbm_read * 16 == dense.tensors["K"].hbm_read * 10
    assert causal.matmul_flops * 16 == dense.matmul_flops * 10


def test_a_group_of_heads_reads_the_cache_once_where_it_is_packed():
    """With 8 query heads on one KV head, flash2 reads K and V 8 times, split_kv once: shared in memory is not shared in traffic."""
    Q, K, V = np.ones((1, 8, 1, 64), np.float32), np.ones((1, 1, 512, 64), np.float32), np.ones((1, 1, 512, 64), np.float32)
    gpu = sa.machine("a100-40gb")
    flash, split = gpu.run(sa.flash2, Q, K, V), gpu.run(sa.split_kv, Q, K, V, splits=4)
    assert flash.tensors["K"].hbm_read == 8 * K.nbytes
    assert split.tensors["K"].hbm_read == K.nbytes


def test_what_each_operation_costs():
    """Reads of each operand's own bytes, a write of the result, and one count an element, by docs/counting.md, operation by operation."""
    costs = {}

    def kernel(gpu, X):
        O = gpu.empty((8, 4), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            x = sram.load(X)
            c = x[:, 0:1]
            m = x > 0
            i = sram.arange(slice(0, 4))
            for name, operation in {
                "x + c": lambda: x + c, "x * 2": lambda: x * 2, "exp": lambda: np.exp(x), "tanh": lambda: np.tanh(c), "x * x": lambda: x * x,
                "sum": lambda: x.sum(axis=1, keepdims=True), "product": lambda: x.T @ x, "view": lambda: x.T[0:2], "cast": lambda: x.astype("float16"),
                "same type": lambda: x.astype("float32"), "where": lambda: np.where(m, x, 0.0), "index": lambda: i + 1, "full": lambda: sram.full((2, 3), 1.0),
                "index mask": lambda: np.where(i < 2, x, 0.0), "arange": lambda: sram.arange(slice(0, 4)),
            }.items():  # fmt: skip
                before = len(sram._program.records)
                operation()
                counted = sum((op.counts for op, *_ in sram._program.records[before:]), start=sa.hierarchy.counts.Counts())
                costs[name] = (counted.sram_read, counted.sram_write, counted.matmul_flops, counted.vector_flops, counted.exps)
            sram.store(O, x)
        return O

    sa.Machine(name="m", sram=1 << 20).run(kernel, np.ones((8, 4), np.float32))
    assert costs == {
        "x + c": (128 + 32, 128, 0, 32, 0), "x * 2": (128, 128, 0, 32, 0), "exp": (128, 128, 0, 0, 32), "tanh": (32, 32, 0, 0, 8),
        "x * x": (256, 128, 0, 32, 0), "sum": (128, 32, 0, 32, 0), "product": (256, 64, 2 * 4 * 4 * 8, 0, 0), "view": (0, 0, 0, 0, 0),
        "cast": (128, 64, 0, 32, 0), "same type": (0, 0, 0, 0, 0), "where": (32 + 128, 128, 0, 32, 0), "index": (0, 0, 0, 4, 0),
        "full": (0, 24, 0, 0, 0), "index mask": (128, 128, 0, 4 + 32, 0), "arange": (0, 0, 0, 0, 0),
    }  # fmt: skip
