"""The third witness: bytes by array and FLOPs of products equal a brute force over what is visible, which knows no kernel and no form."""

import ast
from pathlib import Path

import numpy as np
import pytest
import witness
from conftest import ROOMY
from drawn import EXACT, cases, equal_or_overflow
from hypothesis import given, reject
from hypothesis import strategies as st
from witness import Witness

import simattn as sa

WITNESSED = [
    pytest.param(name, marks=pytest.mark.skipif(not hasattr(Witness, name), reason=f"tests/witness.py has no {name} yet"))
    for name in EXACT
]
PACKED = ["split_kv", "paged", "mla"]  # of which a block of rows may hold several heads


def moved(counted):
    """Of a counter, what is not 0."""
    return {name: n for name, n in counted.items() if n}


def witnessed(case, sram):
    """What the brute force says of a case."""
    found = Witness(case.p, case.Br, case.Bc, sram)
    getattr(found, case.algorithm)(**case.own)
    return moved(found.read), moved(found.written), found.flops


def counted(case, sram):
    """What a run counts of a case that fits."""
    try:
        run = case.run(sa.Machine(name="m", sram=sram, sms=4))
    except sa.SramOverflow:
        reject()
    read, written = ({name: getattr(t, way) for name, t in run.tensors.items()} for way in ("hbm_read", "hbm_write"))
    return moved(read), moved(written), run.matmul_flops


@pytest.mark.parametrize("algorithm", WITNESSED)
@given(data=st.data(), sram=st.sampled_from([ROOMY.sram, 4096, 2048]))
def test_a_run_moves_and_multiplies_what_the_visible_pairs_need(algorithm, data, sram):
    """Every byte of every array, and every FLOP of a product, equals the brute force, at any shape, block, mask, window and group."""
    case = data.draw(cases(algorithm))
    assert counted(case, sram) == witnessed(case, sram)


@pytest.mark.parametrize("algorithm", PACKED)
@given(data=st.data(), left=st.integers(0, 2), right=st.integers(0, 2))
def test_packed_rows_under_a_narrow_window_too(algorithm, data, left, right):
    """The same, and the closed form's counts, where a block of rows ends one head and begins the next, which see keys far apart."""
    case = data.draw(cases(algorithm, window=(left, right), causal=False, offset=None))
    assert counted(case, ROOMY.sram) == witnessed(case, ROOMY.sram)
    equal_or_overflow(case, case.form(ROOMY.sram), ROOMY.sram)


@pytest.mark.parametrize("algorithm", PACKED)
def test_rows_that_end_one_head_and_begin_the_next_load_no_key_that_none_sees(algorithm):
    """Two heads of 64 queries, each of which sees its own key: rows 48 to 96 see keys 48 to 64 and 0 to 32, so 8 blocks, not 9."""
    d, bytes_of_block = 8, 16 * 8 * 4
    Q, K = np.ones((1, 2, 64, d), np.float32), np.ones((1, 1, 64, d), np.float32)
    options = {"window": (0, 0), "Br": 48}
    if algorithm == "paged":
        pages = sa.pool(K[0].reshape(1, 4, 16, d).transpose(1, 2, 0, 3))
        run = ROOMY.run(sa.paged, Q, pages, pages, table=np.arange(4), lens=np.array([64]), **options)
    elif algorithm == "mla":
        run = ROOMY.run(sa.mla, Q, K, scale=1.0, latent=d, Bc=16, **options)
    else:
        run = ROOMY.run(sa.split_kv, Q, K, K, splits=1, Bc=16, **options)
    p = sa.Problem(heads=2, kv_heads=1, n_q=64, n_k=64, d=d, dtype="float32", window=(0, 0))
    assert run.tensors["C" if algorithm == "mla" else "K"].hbm_read == 8 * bytes_of_block
    assert run.kernels == sa.closed_form(algorithm, p, Br=48, Bc=16, sram=1 << 30).kernels


@given(case=cases("split_kv"))
def test_heads_in_one_block_of_rows_see_what_they_see_alone(case):
    """Packed rows give what flash2 gives head by head: what is not loaded was not needed."""
    alone = ROOMY.run(sa.flash2, *case.arrays, **case.options, Br=case.Br, Bc=case.Bc)
    assert np.allclose(case.run(ROOMY).lse, alone.lse, rtol=1e-2, atol=1e-2)


def test_the_witness_knows_no_kernel_and_no_form():
    """What it imports is NumPy and the standard library."""
    tree = ast.parse(Path(witness.__file__).read_text(encoding="utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"numpy", "collections", "dataclasses"}
