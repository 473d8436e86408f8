"""The comparison: verdicts, ratios, overflow rows, tables and plain data; real tensors; figures."""

import json

import numpy as np
import pytest
from conftest import FORWARD
from safetensors.numpy import save_file

import simattn as sa
from simattn.reference.truth import error
from simattn.workbench import cases
from simattn.workbench.tensors import TensorFileError, read_qkv, tensors


def qkv(n=40, d=16, dtype=np.float32, heads=2):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, heads, n, d), np.float32).astype(dtype) for _ in range(3)]


GPU = sa.machine("a100-40gb")


def test_a_comparison_holds_each_run_against_float64():
    """Counts are the runs' own, errors are against the truth, and naive's ratio to itself is 1."""
    Q, K, V = qkv(dtype=np.float16)
    comparison = sa.compare(GPU, ["naive", "flash2"], Q, K, V, causal=True)
    truth = sa.attention_truth(Q, K, V, causal=True)
    for result in comparison.results:
        run = GPU.run(sa.algorithms[result.algorithm], Q, K, V, causal=True)
        assert result.run.total == run.total
        assert result.error == error(run.output, run.lse, truth)
        assert result.exact
    assert comparison["naive"].times_naive == 1
    assert comparison["flash2"].times_naive == comparison["flash2"].error.max_abs / comparison["naive"].error.max_abs


def test_an_inexact_algorithm_is_called_not_exact():
    """An algorithm that leaves out a block of keys gets the verdict «not exact», whatever it counts."""

    def forgetful(gpu, Q, K, V, *, Br, Bc, **options):
        return sa.flash2(gpu, Q, K[8:], V[8:], Br=Br, Bc=Bc, **options)

    comparison = sa.compare(GPU, [forgetful, "flash2"], *qkv())
    assert (comparison["forgetful"].exact, comparison["flash2"].exact) == (False, True)
    assert "not exact" in str(comparison)


def test_the_reference_needs_no_naive_in_the_list(monkeypatch):
    """Without naive among the algorithms, its error is computed by strips of queries, and is the same to the bit."""
    Q, K, V = qkv(dtype=np.float16)
    monkeypatch.setattr(cases, "REFERENCE", 7 * 40 * 2)
    for causal in (False, True):
        alone, both = (
            sa.compare(GPU, names, Q, K, V, causal=causal, Br=128, Bc=128) for names in (["flash2"], ["naive", "flash2"])
        )
        assert alone["flash2"].times_naive == both["flash2"].times_naive


def test_what_does_not_fit_keeps_a_row():
    """An algorithm that overflows keeps a row that says why, and the others finish."""
    tiny = sa.Machine(name="tiny", sram=2900, sms=4)
    comparison = sa.compare(tiny, ["naive", "flash2", "online_softmax"], *qkv(heads=1), Br=8, Bc=8)
    failed = {r.algorithm for r in comparison.results if r.failure}
    assert failed == {r.algorithm for r in comparison.results if r.run is None}
    assert sa.compare(sa.Machine(name="none", sram=64), ["flash2"], *qkv())["flash2"].failure.startswith("flash2: ")
    assert "did not fit" in str(sa.compare(sa.Machine(name="none", sram=64), ["flash2"], *qkv()))


def test_where_naive_overflows_it_excuses_nobody():
    """Scores beyond float16 make naive infinite or NaN: of it nothing is said, and flash2, which keeps them in float32, is exact."""
    Q, K, V = qkv(dtype=np.float16)
    comparison = sa.compare("a100-40gb", ["naive", "flash2"], Q * np.float16(130), K * np.float16(130), V)
    assert (comparison["naive"].verdict, comparison["flash2"].verdict) == ("undecided", "exact")
    assert "leave the range of float16" in comparison["naive"].judgement.why
    with pytest.raises(KeyError, match="flash2"):
        comparison["flash"]
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_a_comparison_shows_itself_as_text_html_and_plain_data():
    """The terminal table, the notebook's HTML and the dictionaries name every algorithm; the data survive JSON."""
    comparison = sa.compare(GPU, FORWARD, *qkv(), splits=2)
    for shown in (str(comparison), comparison._repr_html_()):
        assert all(name in shown for name in FORWARD)
        assert "exact" in shown
    assert comparison._repr_html_().count("<tr>") == 1 + len(FORWARD)
    rows = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))["results"]
    assert [row["algorithm"] for row in rows] == list(FORWARD)
    assert all(row["l2_read_bytes"] is None and row["predicted_ms"] is None for row in rows)
    assert all(sum(k["hbm_read"] for k in row["kernels"]) == row["hbm_read_bytes"] for row in rows)


def test_a_comparison_refuses_what_is_not_attention():
    """Unknown algorithms come with the nearest; none at all, values that are not finite, and types that differ are errors."""
    Q, K, V = qkv()
    with pytest.raises(ValueError, match="did you mean 'flash1'"):
        sa.compare(GPU, ["flash"], Q, K, V)
    with pytest.raises(ValueError, match="no algorithm"):
        sa.compare(GPU, [], Q, K, V)
    with pytest.raises(TypeError, match="must be equal"):
        sa.compare(GPU, ["naive"], Q, K, V.astype(np.float16))
    V[0, 1, 2, 3] = np.inf
    with pytest.raises(ValueError, match=r"V holds 1 values that are not finite, the first, inf, at \[0, 1, 2, 3\]"):
        sa.compare(GPU, ["naive"], Q, K, V)


def test_the_shipped_tensors_are_real_and_small():
    """Q, K, V of 12 heads of 32 over 512 tokens, float16, finite, in at most 1.5 MB, with their licence and source beside them."""
    from importlib.resources import files

    Q, K, V = tensors()
    assert {x.shape for x in (Q, K, V)} == {(1, 12, 512, 32)}
    assert {x.dtype for x in (Q, K, V)} == {np.dtype(np.float16)}
    assert all(np.isfinite(x).all() for x in (Q, K, V))
    data = files("simattn") / "data"
    assert len((data / "minilm_declaration.safetensors").read_bytes()) <= 1_500_000
    assert "Apache" in (data / "README.md").read_text(encoding="utf-8")
    assert "Apache License" in (data / "LICENSE-all-MiniLM-L6-v2").read_text(encoding="utf-8")
    S = Q[0].astype(np.float32) @ K[0].astype(np.float32).swapaxes(1, 2) * 32**-0.5
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P /= P.sum(axis=-1, keepdims=True)
    assert (P.max(axis=-1) > 0.5).mean() > 0.1  # peaked, as random tensors are not


def test_a_file_of_tensors_is_read_as_it_was_written(tmp_path):
    """Q, K, V come back from .npz and .safetensors, bfloat16 included."""
    import ml_dtypes

    Q, K, V = qkv()
    np.savez(tmp_path / "x.npz", Q=Q, K=K, V=V)
    save_file({"Q": Q, "K": K, "V": V}, tmp_path / "x.safetensors")
    half = {name: x.astype(ml_dtypes.bfloat16) for name, x in zip("QKV", (Q, K, V), strict=True)}
    save_file(half, tmp_path / "half.safetensors")
    for name in ("x.npz", "x.safetensors"):
        assert all(np.array_equal(a, b) for a, b in zip(read_qkv(tmp_path / name), (Q, K, V), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(read_qkv(tmp_path / "half.safetensors"), half.values(), strict=True))


def hostile_files(folder):
    Q, K, V = qkv()
    (folder / "empty.npz").write_bytes(b"")
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "noise.npz").write_bytes(bytes(range(256)) * 8)
    (folder / "noise.safetensors").write_bytes(bytes(range(256)) * 8)
    (folder / "huge.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    (folder / "other.txt").write_text("Q")
    np.savez(folder / "missing.npz", Q=Q, K=K)
    save_file({"Q": Q, "K": K}, folder / "missing.safetensors")
    np.savez(folder / "pickled.npz", Q=np.array([{"a": 1}], dtype=object), K=K, V=V)
    np.savez(folder / "whole.npz", Q=Q, K=K, V=V)
    whole = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    corrupt = bytearray(whole)
    corrupt[len(whole) // 3] ^= 255
    (folder / "corrupt.npz").write_bytes(bytes(corrupt))
    save_file({"Q": Q, "K": K, "V": V}, folder / "whole.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "whole.safetensors").read_bytes()[:-100])
    (folder / "folder.npz").mkdir()
    return [*sorted(set(folder.iterdir()) - {folder / "whole.npz", folder / "whole.safetensors"}), folder / "absent.npz"]


def test_an_unreadable_or_hostile_file_gets_one_clear_error(tmp_path):
    """Empty, cut, corrupt, pickled, mislabelled, incomplete and absent files each raise one line with the file's name; nothing is unpickled."""
    for path in hostile_files(tmp_path):
        with pytest.raises(TensorFileError) as caught:
            read_qkv(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_figure_shows_every_algorithm(tmp_path):
    """The saved figure is a picture with a bar for each algorithm and a label for each array."""
    from simattn.plots import save, traffic_figure

    figure = traffic_figure([sa.compare(GPU, FORWARD, *qkv(), splits=2)])
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == list(FORWARD)
    assert {"Q", "K", "V", "S", "P", "O", "lse"} <= {t.get_text() for t in figure.legends[0].get_texts()}
    save(figure, tmp_path / "traffic.png")
    assert (tmp_path / "traffic.png").read_bytes().startswith(b"\x89PNG")


def test_the_catalogue_is_consistent():
    """Dense FP16 FLOP a clock an SM come out as 1024, 2048, 4096 and 8192 by generation, and each figure has a source."""
    per_clock = {m.name: m.flops["float16"] / m.clock / m.sms for m in sa.machines()}
    for name, expected in {
        "v100": 1024,
        "t4": 1024,
        "a100-40gb": 2048,
        "a100-80gb": 2048,
        "h100-sxm": 4096,
        "h200": 4096,
        "b200": 8192,
    }.items():
        assert per_clock[name] == pytest.approx(expected, rel=0.01), name
    assert [m.name for m in sa.machines()] == ["v100", "t4", "a100-40gb", "a100-80gb", "h100-sxm", "h200", "b200", "l4", "rtx-4090"]
    assert {m.name: m.sram // 1024 for m in sa.machines()} == {
        "v100": 352, "t4": 320, "a100-40gb": 419, "a100-80gb": 419, "h100-sxm": 483, "h200": 483, "b200": 483, "l4": 355, "rtx-4090": 355,
    }  # fmt: skip
    assert all(len(text) > 20 for m in sa.machines() for text in m.sources.values())
    with pytest.raises(ValueError, match="did you mean 'rtx-4090'"):
        sa.machine("rtx4090")


def test_a_table_as_text_is_text_in_a_notebook_too(monkeypatch):
    """Where rich believes that it is in Jupyter, str() of a comparison is the table, and shows nothing by itself."""
    from rich import console

    monkeypatch.setattr(console, "_is_jupyter", lambda: True)
    shown = []
    monkeypatch.setattr("rich.jupyter.display", lambda *what: shown.append(what))
    assert "flash2" in str(sa.compare(GPU, ["flash2"], *qkv()))
    assert not shown
