"""The command line: what it prints, its JSON contract, its exit codes."""

import io
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from rich.console import Console

import simattn as sa
from simattn.cli import main
from simattn.cli.compare import DEFAULT_ALGORITHMS, DEFAULT_BACKWARD
from simattn.show import progress as progress_module
from simattn.show.units import bytes_text, count_text, ratio_text

FIELDS = {
    "algorithm", "exact", "hbm_read_bytes", "hbm_write_bytes", "l2_read_bytes", "l2_write_bytes", "sram_read_bytes", "sram_write_bytes",
    "matmul_flops", "vector_flops", "exps", "peak_sram_bytes", "hbm_footprint_bytes", "programs", "max_abs_error", "rmse", "lse_error",
    "predicted_ms", "error", "kernels",
}  # fmt: skip


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def test_compare_prints_one_json_object_of_the_contract(capsys):
    """`--json` prints one object with the contract's fields, equal to a run in Python on the same machine."""
    code, out, err = run(
        capsys, "compare", "--n", "96", "--heads", "4", "--kv-heads", "2", "--d", "16", "--causal", "--json", "--machine", "t4"
    )
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["machine"]["name"] == "t4"
    assert found["workload"] == {
        "batch": 1, "heads": 4, "kv_heads": 2, "n_q": 96, "n_k": 96, "d": 16, "dtype": "float16", "causal": True, "backward": False,
    }  # fmt: skip
    assert [r["algorithm"] for r in found["results"]] == list(DEFAULT_ALGORITHMS)
    assert all(set(r) >= FIELDS for r in found["results"])
    Q, K = np.zeros((1, 4, 96, 16), np.float16), np.zeros((1, 2, 96, 16), np.float16)
    flash = next(r for r in found["results"] if r["algorithm"] == "flash2")
    assert flash["hbm_read_bytes"] == sa.machine("t4").run(sa.flash2, Q, K, K, causal=True).hbm_read
    assert flash["exact"] is True
    assert flash["l2_read_bytes"] is None


def test_compare_alone_runs_real_tensors_a_model_and_a_decode_step(capsys):
    """Without options there are three comparisons: the shipped tensors, GPT-2 medium's shape and one decode step."""
    code, out, _ = run(capsys, "compare", "--json", "--algorithms", "flash2,split_kv")
    shapes = [
        (c["workload"]["heads"], c["workload"]["n_q"], c["workload"]["n_k"], c["workload"]["d"])
        for c in json.loads(out)["comparisons"]
    ]
    assert code == 0
    assert shapes == [(12, 512, 512, 32), (16, 1024, 1024, 64), (16, 1, 8192, 128)]


def test_the_table_is_for_readers(capsys):
    """The table names the workload, the machine and the verdict, in readable units."""
    code, out, _ = run(capsys, "compare", "--n", "64", "--algorithms", "naive,flash2")
    assert code == 0
    for part in ("flash2", "exact", "KB", "A100", "N = 64", "working set"):
        assert part in out


def test_an_overflow_is_a_row_and_exit_code_1(capsys):
    """An algorithm whose HBM does not hold S keeps a row with the error; the others finish; the exit code is 1."""
    code, out, _ = run(
        capsys, "compare", "--n-q", "2", "--n", "64", "--br", "999", "--bc", "64", "--d", "4096", "--machine", "t4", "--json"
    )
    rows = {r["algorithm"]: r for r in json.loads(out)["results"]}
    assert code == 1
    assert rows["flash2"]["error"].startswith("flash2: ")
    assert rows["flash2"]["hbm_read_bytes"] is None
    assert rows["flash2"]["exact"] is None


def test_a_figure_and_a_file(capsys, tmp_path):
    """`--qkv` takes tensors from a file, and `--save` writes a picture."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", **{name: rng.standard_normal((1, 2, 30, 8), np.float32) for name in "QKV"})
    code, out, _ = run(capsys, "compare", "--qkv", str(tmp_path / "x.npz"), "--save", str(tmp_path / "x.png"), "--machine", "l4")
    assert code == 0
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert "x.npz" in out


USAGE = [
    (["compare", "--machine", "h100"], "did you mean 'h100-sxm'"),
    (["compare", "--window", "3"], "--window 3"),
    (["compare", "--backward", "--algorithms", "split_kv"], "split_kv"),
    (["compare", "--algorithms", "flash"], "did you mean 'flash1'"),
    (["compare", "--algorithms", ","], "no algorithm"),
    (["compare", "--dtype", "float61"], "float64"),
    (["compare", "--n", "0"], "--n"),
    (["compare", "--heads", "x"], "--heads"),
    (["compare", "--heads", "3", "--kv-heads", "2"], "cannot share"),
    (["compare", "--br", "64"], "--bc"),
    (["compare", "--splits", "99", "--n", "10"], "splits=99"),
    (["compare", "--nonsense"], "--nonsense"),
    (["compare", "--qkv", "absent.npz"], "absent.npz"),
    (["compare", "--qkv", "x.npz", "--n", "5"], "leave out --n"),
    (["compare", "--save", "x.txt"], ".png"),
    (["compare", "--save", "/nowhere/x.png"], "no folder"),
    (["nonsense"], "nonsense"),
    (["compare", "--n", "100000000000"], "allocate"),
    (["compare", "--dtype", ">f4"], ">f4"),
]


def test_backward_passes_and_windows_are_compared(capsys):
    """--backward compares gradients, without an lse, and --window hides keys, so that fewer bytes of K move."""
    code, out, _ = run(capsys, "compare", "--json", "--backward", "--n", "64", "--heads", "2")
    found = json.loads(out)
    assert code == 0
    assert found["workload"]["backward"] is True
    assert [r["algorithm"] for r in found["results"]] == list(DEFAULT_BACKWARD)
    assert all(r["exact"] and r["lse_error"] is None for r in found["results"])
    dense, near = (json.loads(run(capsys, "compare", "--json", "--n", "256", "--algorithms", "flash2", "--br", "32", "--bc", "32", *w)[1])
                   for w in ((), ("--window", "16,0")))  # fmt: skip
    assert near["results"][0]["hbm_read_bytes"] < dense["results"][0]["hbm_read_bytes"] / 2


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_a_usage_error_is_one_line_and_exit_code_2(capsys, arguments, message):
    """What cannot be done is said in one line on stderr, naming the value, and nothing is printed on stdout."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_machines_lists_the_catalogue(capsys):
    """`simattn machines` prints every GPU, and as JSON with a source for each figure."""
    code, out, _ = run(capsys, "machines")
    assert code == 0
    assert all(m.name in out for m in sa.machines())
    listed = json.loads(run(capsys, "machines", "--json")[1])["machines"]
    assert [m["name"] for m in listed] == [m.name for m in sa.machines()]
    assert all(set(m["sources"]) >= {"sms", "hbm", "l2"} for m in listed)


def test_help_and_version(capsys):
    """`--help` explains, `--version` prints the version, and both exit with 0."""
    assert "compare" in run(capsys, "--help")[1]
    assert run(capsys)[2] == ""
    assert run(capsys, "--version")[1].strip() == sa.__version__
    assert run(capsys, "compare", "--help")[0] == 0


def test_a_progress_bar_appears_when_it_takes_long(monkeypatch):
    """The bar shows what is being done once the patience is over, and nothing at all before."""
    for patience, shown in ((0.05, True), (60, False)):
        monkeypatch.setattr(progress_module, "PATIENCE", patience)
        out = io.StringIO()
        with progress_module.Patient(3, Console(file=out, force_terminal=True)) as progress:
            progress("naive")
            time.sleep(0.4)
            progress("flash2")
        assert ("naive" in out.getvalue()) == shown


def test_importing_is_light():
    """`import simattn` loads neither matplotlib nor torch, nor rich or typer, which only showing needs."""
    loaded = "import sys, simattn; print([m for m in ('matplotlib', 'torch', 'rich', 'typer', 'safetensors') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_readable_units():
    """Bytes and counts in decimal units, three digits; ratios with at least two."""
    assert [bytes_text(n) for n in (0, 999, 1000, 35_651_584, 999_600, 2.5e12)] == [
        "0 B",
        "999 B",
        "1.00 KB",
        "35.7 MB",
        "1.00 MB",
        "2.50 TB",
    ]
    assert [count_text(n) for n in (7, 4_294_967_296)] == ["7", "4.29 G"]
    assert [ratio_text(x) for x in (1, 0.25, 0.01234, 12.3)] == ["1.00×", "0.25×", "0.0123×", "12×"]
