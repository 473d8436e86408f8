"""The command line: what it prints, its JSON contract, its exit codes."""

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from rich.console import Console

import simattn as sa
from simattn.cli import compare as compare_command
from simattn.cli import main
from simattn.cli.compare import DEFAULT_ALGORITHMS, DEFAULT_BACKWARD
from simattn.hierarchy.dtypes import STORAGE
from simattn.kernels import GROUPS
from simattn.text import patient
from simattn.text.units import bytes_text, count_text, ratio_text
from simattn.workbench.listed import OTHER_INPUTS
from simattn.workbench.work import Work

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads((ROOT / "docs" / "compare.schema.json").read_text(encoding="utf-8"))
FIELDS = {
    "algorithm", "exact", "verdict", "resolution", "error_over_bound", "hbm_read_bytes", "hbm_write_bytes", "l2_read_bytes", "l2_write_bytes", "sram_read_bytes", "sram_write_bytes",
    "matmul_flops", "vector_flops", "exps", "peak_sram_bytes", "hbm_footprint_bytes", "programs", "max_abs_error", "rmse", "lse_error",
    "predicted_ms", "counted_by", "error", "kernels",
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
    (found,) = json.loads(out)["comparisons"]
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


TOO_WIDE = ("compare", "--n-q", "2", "--n", "64", "--br", "999", "--bc", "64", "--d", "4096", "--machine", "t4", "--json")


def test_an_overflow_is_a_row_and_exit_code_1_where_it_was_asked_for(capsys):
    """An algorithm that does not fit keeps a row with the error, and nulls. Exit code 1 only where --algorithms named it."""
    code, out, _ = run(capsys, *TOO_WIDE)
    rows = {r["algorithm"]: r for r in json.loads(out)["comparisons"][0]["results"]}
    assert code == 0
    assert rows["flash2"]["error"].startswith("flash2: ")
    assert rows["flash2"]["hbm_read_bytes"] is None
    assert rows["flash2"]["exact"] is rows["flash2"]["verdict"] is None
    assert run(capsys, *TOO_WIDE, "--algorithms", "naive,flash2")[0] == 1
    assert run(capsys, "compare", "--n", "16", "--algorithms", "naive,flash2")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--algorithms", "flash2"), ("--n", "48", "--causal"), ("--n", "32", "--backward", "--dtype", "float64"), TOO_WIDE[1:-1],
        ("--n", "40", "--window", "8,0", "--algorithms", "flash2,recompute_decode", "--causal"), ("--n", "32", "--dtype", "float8_e5m2"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_json_is_what_the_schema_says(capsys, arguments):
    """One shape for one and for several workloads: docs/compare.schema.json, which refuses a 0 where there was no run."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    found = json.loads(run(capsys, "compare", *arguments, "--json")[1])
    validator.validate(found)
    assert set(SCHEMA["$defs"]["result"]["required"]) >= FIELDS
    result = found["comparisons"][0]["results"][0]
    for wrong in ({"verdict": "perhaps"}, {"hbm_read_bytes": 0.5}, {"programs": 0 if result["error"] else None}, {"kernels": None}):
        broken = json.loads(json.dumps(found))
        broken["comparisons"][0]["results"][0] |= wrong
        assert not validator.is_valid(broken), wrong


def test_a_figure_and_a_file(capsys, tmp_path):
    """`--qkv` takes tensors from a file, and `--save` writes a picture."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", **{name: rng.standard_normal((1, 2, 30, 8), np.float32) for name in "QKV"})
    code, out, _ = run(capsys, "compare", "--qkv", str(tmp_path / "x.npz"), "--save", str(tmp_path / "x.png"), "--machine", "l4")
    assert code == 0
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert "x.npz" in out
    assert out.rstrip().endswith(f"figure: {tmp_path / 'x.png'}")


@pytest.mark.parametrize(("name", "begins"), [("x.PNG", b"\x89PNG"), ("x.Pdf", b"%PDF"), ("x.svg", b"<?xml")])
def test_the_ending_of_a_figure_may_be_in_capitals(capsys, tmp_path, name, begins):
    """The ending says the format, however it is written; for `compare` and for `gpu report` alike."""
    for arguments in (("compare", "--n", "16", "--save"), ("gpu", "report", str(ROOT / "docs" / "fidelity.json"), "--figure")):
        assert run(capsys, *arguments, str(tmp_path / name))[0] == 0
        assert (tmp_path / name).read_bytes().startswith(begins)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("command", [("compare", "--save"), ("gpu", "report", "nowhere.json", "--figure")])
@pytest.mark.parametrize(
    ("name", "why"),
    [("x.gif", "must end in"), ("noext", "must end in"), ("", "name of a file"), ("no/x.png", "no folder"), (".", "a folder")],
)
def test_a_figure_that_cannot_be_written_is_refused_first(capsys, command, name, why):
    """Before anything is run or read: one line with the option and the value."""
    code, out, err = run(capsys, *command, name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"simattn: {command[-1]} {name}")
    assert why in err


USAGE = [
    (["compare", "--machine", "h100"], "did you mean 'h100-sxm'"),
    (["compare", "--machine", ""], "--machine '': give one of v100"),
    (["compare", "--window", "3"], "--window '3'"),
    (["compare", "--window", ""], "--window ''"),
    (["compare", "--backward", "--algorithms", "split_kv"], "split_kv"),
    (["compare", "--algorithms", "flash"], "did you mean 'flash1'"),
    (["compare", "--algorithms", ","], "--algorithms ',': give at least one name of unfused_chain, naive"),
    (["compare", "--algorithms", "", "--backward"], "at least one name of unfused_chain, naive, flash1, flash2"),
    (["compare", "--dtype", "float61"], "float64"),
    (["compare", "--dtype", ""], "--dtype '': give one of float64"),
    (["gpu", "compare", "--dtype", ""], "--dtype '': give one of float64"),
    (["compare", "--n", "0"], "'--n': '0' is not a whole number from 1 on"),
    (["compare", "--n", "1.5"], "'--n': '1.5'"),
    (["compare", "--heads", "x"], "'--heads': 'x'"),
    (["compare", "--seed", "-1"], "'-1' is not a whole number from 0 on"),
    (["claims", "x"], "'x' is not a whole number"),
    (["gpu", "compare", "--d", "-5"], "'-5'"),
    (["compare", "--heads", "3", "--kv-heads", "2"], "cannot share"),
    (["compare", "--br", "64"], "--bc"),
    (["compare", "--splits", "99", "--n", "10"], "splits=99"),
    (["compare", "--nonsense"], "--nonsense"),
    (["compare", "--qkv", "absent.npz"], "absent.npz"),
    (["compare", "--qkv", ""], "--qkv ''"),
    (["compare", "--qkv", "x.npz", "--n", "5"], "leave out --n"),
    (["compare", "--scenario", "training"], "--scenario"),
    (["compare", "--count-only", "--n", "64", "--save", "x.png"], "leave out --count-only"),
    (["compare", "--count-only", "--algorithms", "flash"], "did you mean 'flash1'"),
    (["nonsense"], "nonsense"),
    (["compare", "--n", "100000000000"], "N = 100,000,000,000, d = 64, float16 takes about"),
    (["compare", "--n", "1" + 20 * "0"], "of this computer's memory"),
    (["compare", "--n", "10000000"], "give fewer tokens, heads or algorithms"),
    (["compare", "--heads", "1000000"], "1,000,000 heads"),
    (["compare", "--d", "1" + 20 * "0", "--causal"], "d = 100000000000000000000"),
    (["compare", "--n", "4000000", "--n-q", "400000", "--d", "8", "--causal"], "days: give fewer tokens"),
    (["gpu", "compare", "--n", "10000000"], "of this computer's memory"),
    (["compare", "--dtype", ">f4"], ">f4"),
]


def test_backward_passes_and_windows_are_compared(capsys):
    """--backward compares gradients, without an lse, and --window hides keys, so that fewer bytes of K move."""
    code, out, _ = run(capsys, "compare", "--json", "--backward", "--n", "64", "--heads", "2")
    (found,) = json.loads(out)["comparisons"]
    assert code == 0
    assert found["workload"]["backward"] is True
    assert [r["algorithm"] for r in found["results"]] == list(DEFAULT_BACKWARD)
    assert all(r["exact"] and r["lse_error"] is None for r in found["results"])
    dense, near = (json.loads(run(capsys, "compare", "--json", "--n", "256", "--algorithms", "flash2", "--br", "32", "--bc", "32", *w)[1])["comparisons"][0]
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
    """`--help` explains, `--version` prints the version, and both exit with 0; `python -m simattn` is the same command."""
    assert "compare" in run(capsys, "--help")[1]
    for arguments in ((), ("gpu",)):
        assert run(capsys, *arguments) == (0, run(capsys, *arguments, "--help")[1], "")
    assert run(capsys, "--version")[1].strip() == sa.__version__
    module = subprocess.run([sys.executable, "-m", "simattn", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout.strip() == sa.__version__


def test_the_help_of_compare_says_what_there_is(capsys):
    """Every default, every algorithm that can be compared by its group, every type and machine; in ASCII, within 80 columns."""
    code, out, _ = run(capsys, "compare", "--help")
    said = " ".join(out.split()).replace("- ", "-")
    assert code == 0
    for default in (
        "a100-40gb",
        "1024",
        "64",
        "float16",
        ",".join(DEFAULT_ALGORITHMS),
        ",".join(DEFAULT_BACKWARD),
        "1",
        "no bound",
    ):
        assert re.search(rf"\[default: [^]]*{re.escape(default)}[^]]*\]", said), default
    for group, members in GROUPS.items():
        names = [name.removesuffix("_backward") for name in members if name not in OTHER_INPUTS]
        assert not names or re.search(rf"Algorithms, {group}[^:]*: {', '.join(names)}\.", said), group
    assert all(name in said for name in (*STORAGE, *(m.name for m in sa.machines())))
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 80


def test_a_long_run_says_how_long(capsys, monkeypatch):
    """Over a minute: one line on stderr before it begins; over an hour: refused, with the remedy, before anything is drawn."""
    for seconds, code, said in (
        (59, 0, ""),
        (100, 0, "simattn: this takes about 2 minutes; Ctrl-C ends it\n"),
        (7300, 2, "takes about 2 hours: give fewer tokens"),
    ):
        monkeypatch.setattr(compare_command, "estimate", lambda _, problem, *x, s=seconds, **o: Work(problem, 0, {"flash2": s}))
        found, out, err = run(capsys, "compare", "--n", "16", "--algorithms", "flash2", "--json")
        assert (found, bool(out)) == (code, code == 0)
        assert (err == said) if code == 0 else (said in err and err.count("\n") == 1)


def test_a_progress_bar_appears_when_it_takes_long(monkeypatch):
    """The bar shows what is being done once the patience is over, and nothing at all before."""
    for patience, shown in ((0.05, True), (60, False)):
        monkeypatch.setattr(patient, "PATIENCE", patience)
        out = io.StringIO()
        with patient.Patient(3, Console(file=out, force_terminal=True)) as progress:
            progress("naive")
            time.sleep(0.4)
            progress("flash2")
        assert ("naive" in out.getvalue()) == shown


def test_a_bar_of_seconds_says_what_is_left(monkeypatch):
    """With estimates the bar moves within a stage, and the rest is corrected by how wrong the estimates were."""
    now = [0.0]
    monkeypatch.setattr(patient.time, "monotonic", lambda: now[0])
    left = patient.Left([10, 30, 60])
    assert left.seconds() == pytest.approx(100)
    left.next()
    now[0] = 5
    assert (left.part(), left.seconds()) == (pytest.approx(0.05), pytest.approx(95))
    now[0] = 20
    assert left.next() == pytest.approx(0.1)
    assert left.seconds() == pytest.approx(180)  # the first stage took twice what was thought
    now[0] = 1000
    assert 0.1 < left.part() < 0.4  # a stage that takes longer than all does not pretend to be over
    left.next()
    left.next()
    assert left.seconds() == 0


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
