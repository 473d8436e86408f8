"""What is rounded where: quantisation to float8, attention in float8, and the machine that rounds after every operation."""

import dataclasses

import numpy as np
import pytest
from conftest import ROOMY
from hypothesis import given, settings
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy.dtypes import STORAGE, round_to

ROUNDING = dataclasses.replace(ROOMY, rounds_every_operation=True)


def draw(*shape, seed, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(dtype)


def dequantised(x8, factors, rows):
    return x8.astype(np.float64) * np.repeat(factors.astype(np.float64), rows, axis=-2)[..., : x8.shape[-2], :]


def rmse(x, truth):
    return np.sqrt(np.mean((x.astype(np.float64) - truth) ** 2))


@given(
    lead=st.sampled_from([(), (1, 1), (2, 3)]), n=st.integers(1, 20), d=st.integers(1, 9), rows=st.integers(1, 25),
    power=st.integers(-30, 30), dtype=st.sampled_from(["float64", "float32", "bfloat16"]), seed=st.integers(0, 999),
)  # fmt: skip
def test_quantisation_errs_by_its_rounding(lead, n, d, rows, power, dtype, seed):
    """The largest of each block, a ragged last one too, becomes 448; a value comes back within 2⁻⁴ of it or half a least step."""
    x = (draw(*lead, n, d, seed=seed) * np.float32(2.0**power)).astype(dtype)
    x8, factors = sa.quantize(x, rows)
    assert (x8.dtype, x8.shape) == (STORAGE["float8_e4m3fn"], x.shape)
    assert (factors.dtype, factors.shape) == (np.float32, (*lead, -(-n // rows), 1))
    for b, block in enumerate(sa.blocks(n, rows)):
        assert (np.abs(x8[..., block, :].astype(np.float64)).max(axis=(-2, -1)) == 448).all()
        largest = np.abs(x[..., block, :].astype(np.float64)).max(axis=(-2, -1))
        assert np.allclose(factors[..., b, 0] * 448.0, largest, rtol=1e-6, atol=0)
    least = dequantised(np.full(x.shape, 2.0**-10), factors, rows)  # half the distance of subnormal numbers
    assert (np.abs(dequantised(x8, factors, rows) - x.astype(np.float64)) <= 2.0**-4 * np.abs(x.astype(np.float64)) + least).all()


def test_quantisation_refuses_what_has_no_factor():
    """A block too small for a float32 factor is named by block, head and row; values that are not finite and blocks of no rows raise too."""
    x = draw(2, 3, 5, 4, seed=0).astype(np.float64)
    x[1, 2, 4:] = 1e-40
    with pytest.raises(ValueError, match=r"largest value is 1e-40: block 2 of head \[1, 2\], from row 4 on"):
        sa.quantize(x, 2)
    with pytest.raises(ValueError, match="block 1, from row 3 on"):
        sa.quantize(np.concatenate([np.ones((3, 2)), np.full((3, 2), 1e300)]), 3)
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            sa.quantize(np.array([[1.0, value]]), 1)
    with pytest.raises(ValueError, match="rows=0"):
        sa.quantize(x, 0)


@pytest.mark.parametrize("d", [1, 2, 64, 128])
def test_hadamard_is_orthogonal(d):
    """QKᵀ stays, the matrix is orthogonal and of one magnitude, and the same rng gives the same one."""
    Q, K = draw(2, 3, 7, d, seed=0, dtype="float64"), draw(2, 1, 9, d, seed=1, dtype="float64")
    q, k = sa.hadamard(Q, K, 5)
    assert np.allclose(q @ k.swapaxes(-1, -2), Q @ K.swapaxes(-1, -2), rtol=0, atol=1e-12)
    M, again = sa.hadamard(np.eye(d), np.eye(d), np.random.default_rng(5))
    assert np.array_equal(M, again)
    assert np.array_equal(q, Q @ M)
    assert np.allclose(M @ M.T, np.eye(d), rtol=0, atol=1e-14)
    assert np.allclose(np.abs(M), d**-0.5, rtol=1e-15)
    assert d < 64 or not np.array_equal(M, sa.hadamard(np.eye(d), np.eye(d), 6)[0])


@pytest.mark.parametrize("d", [3, 96])
def test_hadamard_takes_powers_of_two(d):
    """Another width raises, and is named."""
    with pytest.raises(ValueError, match=f"d={d}: .* power of two"):
        sa.hadamard(np.ones((4, d)), np.ones((4, d)))


def run_fp8(machine, Q, K, V, rows, Br, Bc, **options):
    """flash3_fp8 of what is quantised by blocks of `rows` rows each, and the inputs that it stands for."""
    (q8, sQ), (k8, sK), (v8, sV) = parts = [sa.quantize(x, n) for x, n in zip((Q, K, V), rows, strict=True)]
    run = machine.run(sa.flash3_fp8, q8, k8, v8, sQ=sQ, sK=sK, sV=sV, Br=Br, Bc=Bc, **options)
    return run, [dequantised(*part, n).astype(np.float32) for part, n in zip(parts, rows, strict=True)]


@settings(max_examples=40)
@given(data=st.data(), n_q=st.integers(1, 24), n_k=st.integers(1, 30), Br=st.integers(1, 12), Bc=st.integers(1, 12))
def test_float8_attention_errs_by_the_rounding_of_its_weights(data, n_q, n_k, Br, Bc):
    """With a factor a block or a head, masked, in grouped heads: O is off by P's 3 bits and its own 8 at most, lse by float32's."""
    heads, kv_heads = data.draw(st.sampled_from([(1, 1), (2, 2), (4, 2), (3, 1)]))
    d, d_v = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    seed = data.draw(st.integers(0, 99))
    shapes = (heads, n_q, d), (kv_heads, n_k, d), (kv_heads, n_k, d_v)
    Q, K, V = (draw(1, *shape, seed=seed + i) for i, shape in enumerate(shapes))
    rows = [data.draw(st.sampled_from([B, n])) for B, n in ((Br, n_q), (Bc, n_k), (Bc, n_k))]
    masks = {"causal": st.just(True), "window": st.just((3, 2)), "offset": st.integers(-3, 3), "kv_lens": st.integers(1, n_k)}
    options = data.draw(st.fixed_dictionaries({}, optional=masks | {"scale": st.just(0.4), "softcap": st.just(2.0)}))
    if data.draw(st.booleans()):
        options["mask"] = np.random.default_rng(seed).random((1, 1, n_q, n_k)) < 0.5

    run, given = run_fp8(ROOMY, Q, K, V, rows, Br, Bc, **options)
    truth = sa.attention_truth(*given, **options)
    weighed = sa.attention_truth(*given[:2], np.abs(given[2]), **options).O
    vanished = n_k * 2.0**-10 / 2.0**8 * np.abs(given[2]).max()  # weights below the least of float8
    assert run.output.dtype == STORAGE["bfloat16"]
    assert (np.abs(run.output.astype(np.float64) - truth.O) <= (2.0**-4 + 2.0**-7) * weighed + vanished + 1e-5).all()
    assert np.allclose(run.lse, truth.lse, rtol=1e-5, atol=1e-5)


def test_float8_attention_at_a_real_size():
    """At 256 queries on 1,024 keys the error is a few per cent of that of a largest weight, and nothing like the worst case."""
    Q, K, V = (draw(1, 2, n, 64, seed=seed) for seed, n in enumerate((256, 1024, 1024)))
    run, given = run_fp8(ROOMY, Q, K, V, (128, 128, 128), 128, 128)
    truth = sa.attention_truth(*given)
    assert np.abs(run.output.astype(np.float64) - truth.O).max() < 0.03 * np.abs(V).max()
    assert rmse(run.output, truth.O) < 2e-3
    assert np.abs(run.lse - truth.lse).max() < 1e-5


def test_factors_of_two_pass_through_to_the_bit():
    """What multiplies Q's factors and divides K's leaves no trace if it is a power of two; what multiplies V's multiplies O."""
    Q, K, V = (draw(1, 2, n, 16, seed=seed) for seed, n in enumerate((20, 40, 40)))
    plain, _ = run_fp8(ROOMY, Q, K, V, (8, 8, 8), 8, 8, causal=True)
    moved, _ = run_fp8(ROOMY, Q * 16, K / 16, V, (8, 8, 8), 8, 8, causal=True)
    larger, _ = run_fp8(ROOMY, Q, K, V * 4, (8, 8, 8), 8, 8, causal=True)
    assert np.array_equal(plain.output, moved.output)
    assert np.array_equal(plain.lse, moved.lse)
    assert np.array_equal(plain.output.astype(np.float32) * 4, larger.output.astype(np.float32))


@pytest.mark.parametrize("name", ["sQ", "sK", "sV"])
def test_a_wrong_number_of_factors_raises(name):
    """Factors of other blocks than those of the run raise, and the message says how many it takes."""
    x8, s = sa.quantize(draw(20, 8, seed=0), 8)
    factors = dict(sQ=s, sK=s, sV=s) | {name: s[:2]}
    with pytest.raises(ValueError, match=rf"{name} has shape \(2, 1\): give \(3, 1\), one for each block of 8 rows, or \(1, 1\)"):
        ROOMY.run(sa.flash3_fp8, x8, x8, x8, **factors, Br=8, Bc=8)


def test_float8_attention_has_no_dropout():
    """Weights scaled up by 1/(1 − dropout) would leave the range, so dropout raises."""
    x8, s = sa.quantize(draw(8, 8, seed=0), 8)
    with pytest.raises(ValueError, match=r"dropout=0\.1"):
        ROOMY.run(sa.flash3_fp8, x8, x8, x8, sQ=s, sK=s, sV=s, Br=8, Bc=8, dropout=0.1)


def test_both_published_conclusions_come_from_one_source():
    """flash2 errs half as much as naive with float32 sums, and ten times as much where every operation rounds, of 256 blocks."""
    Q, K, V = (draw(1, 1, n, 64, seed=seed, dtype="bfloat16") for seed, n in enumerate((256, 8192, 8192)))
    truth = sa.attention_truth(Q, K, V).O

    def ratio(machine, Bc):
        flash, naive = machine.run(sa.flash2, Q, K, V, Br=128, Bc=Bc), machine.run(sa.naive, Q, K, V, Br=128, Bc=8192)
        return rmse(flash.output, truth) / rmse(naive.output, truth)

    assert ratio(ROOMY, 32) < 0.7
    assert 6 < ratio(ROUNDING, 32) < 13
    assert ratio(ROUNDING, 128) < 3


@pytest.mark.parametrize("dtype", sorted(STORAGE))
def test_the_switch_rounds_every_operation(dtype):
    """Every ufunc, reduction, product and new tile has the storage type, and is the wide result rounded once."""
    kind, wide = STORAGE[dtype], np.float64 if dtype == "float64" else np.float32
    X, Y = draw(8, 8, seed=0, dtype=kind), draw(8, 8, seed=1, dtype=kind)
    operations = {
        "add": lambda x, y: x + y,
        "multiply": lambda x, y: x * y,
        "exp": lambda x, y: np.exp(x),
        "maximum": lambda x, y: np.maximum(x, y),
        "where": lambda x, y: np.where(x > y, x, y),
        "sum": lambda x, y: x.sum(axis=1, keepdims=True),
        "max": lambda x, y: x.max(axis=0, keepdims=True),
        "matmul": lambda x, y: x @ y.T,
    }
    found = {}

    def kernel(gpu, X, Y):
        O = gpu.empty((1, 1), name="O")
        for sram, _ in gpu.launch("kernel", [0]):
            x, y = sram.load(X), sram.load(Y)
            found.update({name: (tile := f(x, y), gpu.peek(tile)) for name, f in operations.items()})
            found["zeros"] = (tile := sram.zeros((8, 8)), gpu.peek(tile))
            found["full"] = (tile := sram.full((8, 8), 1 / 3), gpu.peek(tile))
            sram.store(O, sram.zeros((1, 1)))
        assert gpu.acc == kind
        return O

    ROUNDING.run(kernel, X, Y)
    x, y = X.astype(wide), Y.astype(wide)
    expected = {name: f(x, y) for name, f in operations.items()} | {"zeros": np.zeros((8, 8)), "full": np.full((8, 8), 1 / 3)}
    for name, (tile, values) in found.items():
        assert tile.dtype == values.dtype == kind, name
        assert np.allclose(values.astype(wide), round_to(expected[name], kind).astype(wide), rtol=1e-6, atol=1e-6), name


@pytest.mark.parametrize("algorithm", ["naive", "online_softmax", "flash1", "flash2", "split_kv"])
def test_the_switch_leaves_masks_exact(algorithm):
    """Beyond 256, where bfloat16 no longer holds every index, causal rows still see their own key and none after it."""
    N, changed = 600, 301
    Q, K, V = (draw(N, 16, seed=seed, dtype="bfloat16") for seed in range(3))
    V[changed] = 1000
    before = ROUNDING.run(sa.algorithms[algorithm], Q, K, V, Br=128, Bc=64, causal=True).output
    V[changed] = -1000
    after = ROUNDING.run(sa.algorithms[algorithm], Q, K, V, Br=128, Bc=64, causal=True).output
    assert np.array_equal(before[:changed], after[:changed])
    assert (before[changed] > after[changed]).all()
    assert np.abs(before[:changed].astype(np.float64) - sa.attention_truth(Q, K, V, causal=True).O[:changed]).max() < 0.1


@pytest.mark.parametrize("algorithm", ["naive", "flash2"])
def test_the_switch_changes_counts_by_type_sizes_only(algorithm):
    """The same loads, products and exponentials; lse and tiles have 2 bytes for 4; P, of V's type already, needs no cast."""
    N = 256
    Q, K, V = (draw(N, 16, seed=seed, dtype="bfloat16") for seed in range(3))
    plain, rounding = (m.run(sa.algorithms[algorithm], Q, K, V, Br=64, Bc=64).total for m in (ROOMY, ROUNDING))
    for name in ("hbm_read", "matmul_flops", "exps", "programs"):
        assert getattr(plain, name) == getattr(rounding, name), name
    assert plain.hbm_write - rounding.hbm_write == N * 2
    cast = N * N if algorithm == "flash2" else 0
    assert plain.vector_flops - rounding.vector_flops == cast
    loaded = plain.hbm_read  # of the storage type on both
    assert rounding.sram_write == loaded + (plain.sram_write - loaded - 2 * cast) // 2
    assert rounding.sram_read < plain.sram_read
    assert rounding.peak_sram < plain.peak_sram


def test_the_switch_changes_nothing_of_float32():
    """Where sums have the storage type anyway, counts and results are the same, to the bit."""
    Q, K, V = (draw(96, 16, seed=seed) for seed in range(3))
    plain, rounding = (m.run(sa.flash2, Q, K, V, Br=32, Bc=32, causal=True) for m in (ROOMY, ROUNDING))
    assert plain.total == rounding.total
    assert all(np.array_equal(plain.outputs[name], rounding.outputs[name]) for name in ("O", "lse"))
