"""The simulator beside the hardware: what was measured on an H100, how it is read, and what is said where it cannot be measured."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import simattn as sa
from simattn.gpu import counters
from simattn.reference.problem import Problem
from simattn.reference.real_kernels import compulsory, counted, device, off
from simattn.studies.fidelity import fidelity, loaded
from simattn.studies.fidelity.page import report
from simattn.studies.reproduce.execute import both_passes
from simattn.workbench.inputs import draw

ROOT = Path(__file__).resolve().parent.parent
H100 = sa.machine("h100-sxm")
SQUARE = Problem(heads=16, n_q=2048, n_k=2048, d=64)


@pytest.fixture(scope="module")
def measured():
    """The measurements that the repository carries."""
    return fidelity(loaded(ROOT / "docs" / "fidelity.json"))


def test_the_page_is_made_from_the_measurements(measured):
    """docs/fidelity.md is what `simattn gpu report` prints of docs/fidelity.json."""
    assert (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8") == report(measured)


def test_what_was_found_on_one_device_is_not_said_of_another(measured):
    """The page of another GPU's measurements has the same prose and tables, without what the H100's kernels were found to do."""
    found = "## What the kernels were found to do"
    other = report(replace(measured, measured_with=measured.measured_with | {"device": "Tesla T4"}))
    assert found in report(measured)
    assert found not in other
    assert "## Timed" in other
    assert "\n\n\n" not in other


def test_the_grid_is_whole(measured):
    """At least 60 workloads have hardware counters: prefill, backward and decode, causal or not, d = 64 and 128, N from 512 to 131,072, by
    kernels that store S and kernels that do not, that split the keys and that do not; what was not measured was refused, with a reason."""
    rows = [row for row in measured.rows if row.counters]
    workloads = {row.workload for row in rows}
    assert len(workloads) >= 60
    for kind in ("prefill", "backward"):
        found = {(row.workload.d, row.workload.causal, row.kernel) for row in rows if row.kind == kind}
        assert found >= {(d, causal, kernel) for d in (64, 128) for causal in (False, True) for kernel in ("flash", "cudnn")}
    assert {512, 1024, 2048, 4096, 8192, 16_384, 32_768, 131_072} <= {w.n_q for w in workloads if w.n_q == w.n_k}
    assert {(w.n_k, w.d) for w in workloads if w.n_q == 1} >= {(n, d) for n in (512, 131_072) for d in (64, 128)}
    assert {row.kernel for row in rows if row.kind == "decode"} == {"flash", "cudnn", "efficient", "unfused", "triton_split_kv"}
    assert {row.kernel for row in rows if row.kind == "backward"} == {"flash", "cudnn", "unfused"}
    assert all(row.why_not for row in measured.rows if not row.counters)


def test_the_twin_moves_the_counted_bytes_to_the_byte(measured):
    """The hardware counted for the Triton twin of flash2 exactly what the simulator counts, whether blocks divide the lengths or not: bytes
    received by the SMs, and bytes sent by them."""
    rows = [row for row in measured.compared() if row.kernel == "triton_flash2"]
    assert len(rows) >= 40
    assert any(row.workload.n_q % 64 for row in rows)
    for row in rows:
        assert (row.counted.read, row.counted.write) == (row.counters["sm_read"], row.counters["sm_write"]), row.workload


def test_what_was_found_holds_to_the_byte(measured):
    """CUTLASS's kernel reads Q again for each block of keys, and of a block that the diagonal cuts the visible keys only: where no block
    divides N, its reads are the counted ones exactly."""
    rows = [row for row in measured.compared() if row.kernel == "efficient" and row.workload.causal and row.workload.n_q == 1000]
    assert {row.workload.d for row in rows} == {64, 128}
    assert {row.read_ratio for row in rows} == {1.0}


def test_other_peoples_kernels_move_the_counted_bytes_to_the_byte(measured):
    """FlashAttention-2 where no block divides the lengths, and CUTLASS's kernel with one query: not a byte more was received."""
    flash = [row for row in measured.compared() if row.kernel == "flash" and row.workload.n_k == 3001]
    one = [row for row in measured.compared() if row.kernel == "efficient" and row.kind == "decode"]
    assert (len(flash), len(one)) == (2, 11)
    assert {row.read_ratio for row in (*flash, *one)} == {1.0}


def test_counts_are_as_near_as_is_claimed(measured):
    """Over the measured prefill workloads, counted loads are within 8 % of the measured bytes in the median, 5 % for the twins, and so
    backward; only rows that the page lists with a reason are further off."""
    assert measured.median_off("prefill") < 0.08
    assert measured.median_off("prefill", ["triton_flash2"]) < 0.05
    assert measured.median_off("backward") < 0.08
    listed = report(measured).split("## Further off")[1].split("\n## ")[0]
    for row in measured.compared():
        assert off(row) <= 0.08 or f"| {row.kernel} | {row.workload} |" in listed
    assert "not known" not in listed


def test_the_page_claims_what_was_measured(measured):
    """«within 0.3 %», at every measured workload of the kinds that it names."""
    rows = [row for row in measured.compared() if row.kernel in ("flash", "cudnn", "efficient")]
    assert {(row.kernel, row.kind) for row in rows} == {
        *(("flash", kind) for kind in ("prefill", "backward", "decode")), ("cudnn", "prefill"), ("cudnn", "backward"),
        ("efficient", "prefill"), ("efficient", "decode"),
    }  # fmt: skip
    assert max(map(off, rows)) < 0.003
    said = " ".join((ROOT / "docs" / "real_kernels.md").read_text(encoding="utf-8").split())
    assert "within 0.3 % for torch's flash (forward, backward, and with one query), cuDNN's (forward and backward)" in said


def test_ncus_table_is_read():
    """What ncu printed on an H100, its marks renamed, gives each call its kernels in order; the numbers are the table's."""
    found = counters.parse((ROOT / "tests" / "data" / "ncu.csv").read_text(encoding="utf-8"))
    assert sorted(found) == list(range(9))
    assert [len(kernels) for _, kernels in sorted(found.items())] == [1, 1, 1, 1, 1, 1, 1, 2, 2]
    twin, flash, (partial, combine) = found[0][0], found[3][0], found[7]
    assert twin.sm_read == flash.sm_read == counted("triton_flash2", SQUARE, (), H100).read == 138_412_032
    assert twin.sm_write == 4_325_376
    assert twin.l2_read == 1_881_836 * 32
    assert (partial.name, combine.name, partial.grid, twin.ns) == ("partial", "combine2", "(16, 1, 16)", 55_232)
    assert counted("flash", SQUARE, [flash.name], H100).algorithm == "flash2, Br = 128, Bc = 128"
    assert counters.totals(found[7])["sm_read"] == partial.sm_read + combine.sm_read


def test_what_is_no_number_is_not_taken_for_one():
    """A cell of ncu's table that holds no number raises instead of counting as 0."""
    text = (ROOT / "tests" / "data" / "ncu.csv").read_text(encoding="utf-8")
    with pytest.raises(RuntimeError, match="'n/a' where a number should be"):
        counters.parse(text.replace('"138,412,032"', '"n/a"'))
    assert counters.parse("no table\n") == {}


def test_missing_permission_is_named():
    """Where the driver keeps the counters to administrators, the remedy is in the line; otherwise ncu's own words, never its table."""
    assert "NVreg_RestrictProfilingToAdminUsers" in counters._trouble(
        "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission", 1
    )
    assert (
        counters._trouble('==PROF== Connected\n"ID","Name"\n==ERROR== Out of memory\n', 9)
        == "ncu ended with code 9: ERROR== Out of memory"
    )
    assert counters._trouble('"ID","Name"\n', 0) == "ncu ended with code 0: it saw no kernel of this call"


def test_without_ncu_nothing_is_measured(monkeypatch):
    """No ncu, no GPU: each job gets a line that says so, and no bytes."""
    monkeypatch.setattr(counters, "has_cuda", lambda: True)
    monkeypatch.setattr(counters, "_ncu", lambda: None)
    (found,) = counters.profile([(SQUARE, "flash")])
    assert found == counters.Profile(why_not="not measured: ncu is not installed; it comes with NVIDIA's Nsight Compute")
    monkeypatch.setattr(counters, "has_cuda", lambda: False)
    assert "no CUDA GPU" in counters.profile([(SQUARE, "flash")])[0].why_not


NAMES = {
    "flash": "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, 0, 0, cutlass::half_t",
    "cudnn": "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x64_4x1x1_cga1x1x1_kernel0_0",
    "efficient": "fmha_cutlassF_f16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::half_t",
    "triton_flash2": "flash2_kernel",
}  # fmt: skip


@pytest.mark.parametrize("kernel", NAMES)
def test_names_and_sources_agree(kernel):
    """The blocks that a kernel's name carries are those that its library's sources say, which stand in where nothing ran."""
    assert counted(kernel, SQUARE, [NAMES[kernel]], H100) == counted(kernel, SQUARE, (), H100)


def test_a_kernel_that_nobody_knows_is_not_counted():
    """Another name than the known ones, another type, or one query on cuDNN: no count, rather than a guess."""
    assert counted("flash", SQUARE, ["something_else"], H100) is None
    assert counted("cudnn", SQUARE, ["cudnn_sm80_other"], H100) is None
    assert counted("cudnn", replace(SQUARE, n_q=1), (), H100) is None
    assert counted("flash", replace(SQUARE, dtype="float32"), (), H100) is None
    assert counted("cpu_flash", SQUARE, (), H100) is None
    assert counted("flash", replace(SQUARE, backward=True), (), H100) is None


def test_one_query_is_counted_as_split_kv():
    """flash with one query is split_kv with flash-attn's number of splits, its heads packed where they share keys."""
    one = Problem(heads=16, n_q=1, n_k=8192, d=128)
    name = "void pytorch_flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4"
    assert counted("flash", one, [name], H100) == counted("flash", one, (), H100)
    assert counted("flash", one, (), H100).algorithm == "split_kv, Br = 64, Bc = 128, splits = 16"
    shared = replace(one, kv_heads=2)
    assert counted("flash", shared, (), H100).read < counted("flash", one, (), H100).read / 7


def test_heads_that_share_keys_are_packed_as_the_kernels_do():
    """torch's flash makes rows of a group for a single query only; the twin always does, and splits by what it packed."""
    few = Problem(heads=16, kv_heads=2, n_q=4, n_k=8192, d=128)
    name = ["flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4"]
    assert counted("flash", few, name, H100).read == counted("flash", replace(few, kv_heads=16), name, H100).read
    full = Problem(batch=64, heads=32, kv_heads=8, n_q=1, n_k=8192, d=128)  # fills the SMs without a split
    assert counted("flash", full, (), H100).algorithm.startswith("flash2")
    assert counted("flash", full, (), H100).read < counted("flash", replace(full, kv_heads=32), (), H100).read / 3
    assert counted("triton_split_kv", few, (), H100).algorithm == "split_kv, Br = 32, Bc = 128, splits = 64"
    assert counted("triton_split_kv", replace(few, n_q=1024), (), H100) is None
    assert counted("unfused", replace(SQUARE, kv_heads=4), (), H100) is None  # it copies K and V first


def test_the_backward_pass_is_counted_without_what_l2_adds():
    """flash's backward pass is flash2_backward whose atomic additions are not read back by the SMs: with them it would read more."""
    w = Problem(batch=64, heads=16, n_q=1024, n_k=1024, d=64, backward=True)
    found = counted("flash", w, ["flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64, 128, 128, 8"], H100)
    u = 64 * 16 * 1024 * 64 * 2
    assert found.read / u == pytest.approx(22.5, abs=0.5)  # FIGURES: «22.5u read», by the same blocks
    assert found.write > 8 * 2 * u  # a float32 addition to dQ for each of 8 blocks of keys
    assert counted("cudnn", w, ["cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16"], H100) == found
    assert counted("cudnn", w, ["another"], H100) is None


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", [256, 200])
def test_counts_are_those_of_executed_runs(n, causal):
    """To the byte: flash is flash2, forward; its backward pass is flash2_backward, less the old dQ that its additions read; the unfused
    chain is itself."""
    w = Problem(heads=2, n_q=n, n_k=n, d=64, causal=causal)
    tile = "kernel_traits<64, 128, 128, 8"
    run, backward = both_passes(H100, "flash2", w, Br=128, Bc=128)
    old = backward.tensors["dQ_acc"].hbm_read - backward.kernels["convert dQ"].hbm_read
    assert old >= 2 * n * 64 * 4
    found = counted("flash", w, [f"flash_fwd_kernel<Flash_fwd_{tile}"], H100)
    assert (found.read, found.write) == (run.hbm_read, run.hbm_write)
    found = counted("flash", replace(w, backward=True), [f"flash_bwd_dq_dk_dv<Flash_bwd_{tile}"], H100)
    assert (found.read, found.write) == (backward.hbm_read - old, backward.hbm_write)
    mask = {"mask": np.tri(n, dtype=bool)} if causal else {}
    chain = sa.attention(*draw(replace(w, causal=False)), algorithm="unfused_chain", machine=H100, Br=64, Bc=64, **mask)
    found = counted("unfused", w, ["nvjet_hsh_64x64_", "softmax", "nvjet_hsh_64x64_"], H100)
    assert (found.read, found.write) == (chain.hbm_read, chain.hbm_write)


def test_one_query_sees_every_key_causal_or_not():
    """As the kernels run it; and where CUTLASS's would refuse, nothing is counted."""
    one = Problem(heads=16, n_q=1, n_k=8192, d=64)
    for kernel in ("efficient", "flash", "triton_split_kv"):
        assert counted(kernel, replace(one, causal=True), (), H100) == counted(kernel, one, (), H100)
    assert counted("efficient", replace(one, n_q=4096, causal=True), (), H100) is None


def test_what_is_known_of_hopper_is_not_said_of_others():
    """An A100 has no tensor memory accelerator and less SRAM: the twin's blocks are shorter, tiles that stick out are not counted, and
    cuDNN runs another kernel."""
    a100, ragged = sa.machine("a100-80gb"), replace(SQUARE, n_q=1000, n_k=1000, d=128)
    assert counted("triton_flash2", replace(SQUARE, d=128), (), a100).algorithm == "flash2, Br = 128, Bc = 64"
    assert counted("triton_flash2", ragged, (), a100) is None
    assert counted("triton_flash2", ragged, (), H100).algorithm == "flash2, Br = 128, Bc = 128, whole tiles"
    assert counted("cudnn", SQUARE, (), a100) is None
    assert counted("cudnn", replace(ragged, backward=True), ["sm90_flash_bprop"], H100) is None


def test_what_torch_copies_is_counted():
    """Each copy of O or dO that was launched reads and writes it once; heads that share keys take kernels that are not known."""
    w = Problem(batch=2, heads=4, n_q=256, n_k=256, d=64, backward=True)
    kernel = "flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64, 128, 128, 8"
    bare, copied = (counted("flash", w, [*["direct_copy_kernel_cuda"] * n, kernel], H100) for n in (0, 2))
    assert (copied.read - bare.read, copied.write - bare.write) == (2 * 2 * 4 * 256 * 64 * 2,) * 2
    assert copied.algorithm == f"{bare.algorithm}, 2 copies"
    assert counted("flash", replace(w, kv_heads=2), [kernel], H100) is None


def test_compulsory_bytes_are_inputs_and_outputs():
    """Q, K, V in, O and lse out; backward Q, O, dO, K, V, lse in, dQ, dK, dV out."""
    assert compulsory(SQUARE) == (3 * 4_194_304, 4_194_304 + 131_072)
    assert compulsory(replace(SQUARE, backward=True)) == (5 * 4_194_304 + 131_072, 3 * 4_194_304)
    assert compulsory(replace(SQUARE, dtype="float64")) == (4 * 3 * 4_194_304, 4 * 4_194_304 + 2 * 131_072)


@pytest.mark.parametrize(
    ("name", "sms", "machine"),
    [
        ("NVIDIA H100 80GB HBM3", 132, "h100-sxm"), ("NVIDIA H200", 132, "h200"), ("Tesla T4", 40, "t4"), ("NVIDIA L4", 58, "l4"),
        ("NVIDIA H100 PCIe", 114, "nvidia h100 pcie"), ("NVIDIA GeForce RTX 3060", 28, "nvidia geforce rtx 3060"),
        ("NVIDIA GeForce RTX 4090", 128, "rtx-4090"), ("NVIDIA RTX 5880 Ada Generation", 128, "nvidia rtx 5880 ada generation"),
        ("NVIDIA GH200 480GB", 132, "nvidia gh200 480gb"),
    ],
)  # fmt: skip
def test_a_device_is_the_machine_of_the_catalogue(name, sms, machine):
    """By the words of its name and its SMs; any other is a machine of its own SMs."""
    found = device({"device": name, "sms": sms})
    assert (found.name, found.sms) == (machine, sms)


def test_memory_tells_variants_apart():
    """Two A100s differ in their memory; an H100 with 94 GB is not the catalogue's."""
    for nbytes, machine in ((42_000_000_000, "a100-40gb"), (85_000_000_000, "a100-80gb")):
        assert device({"device": "NVIDIA A100-SXM4", "sms": 108, "hbm_bytes": nbytes}).name == machine
    assert device({"device": "NVIDIA H100 NVL", "sms": 132, "hbm_bytes": 100_000_000_000}).name == "nvidia h100 nvl"


@pytest.mark.parametrize(
    ("content", "said"), [("{", "is not valid JSON"), ("[]", "holds no measurements"), ('{"rows": []}', "holds no measurements")]
)
def test_a_file_without_measurements_says_so(tmp_path, content, said):
    """A broken or other file: one line, exit 2."""
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(ValueError, match=said):
        loaded(tmp_path / "f.json")
    done = simattn("gpu", "report", str(tmp_path / "f.json"))
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")


@pytest.mark.parametrize(
    "content",
    ['{"measured_with": {}, "rows": [{}]}', '{"measured_with": [], "rows": []}', '{"measured_with": {}, "rows": null}',
     '{"measured_with": {}, "rows": [{"workload": {"batch": 1}, "kernel": "flash"}]}'],
)  # fmt: skip
def test_rows_that_are_none_say_so(tmp_path, content):
    """JSON of another form: one line that names the row, exit 2, no page."""
    (tmp_path / "f.json").write_text(content)
    done = simattn("gpu", "report", str(tmp_path / "f.json"))
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert "measurements" in done.stderr


def simattn(*arguments, without_torch=False):
    blocked = "sys.modules['torch'] = None; " if without_torch else ""
    script = f"import sys; {blocked}from simattn.cli import main; main(sys.argv[1:])"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_without_torch_the_simulators_half_is_printed():
    """`gpu compare` without torch: the counted bytes stand, every kernel says what to install, and nothing is a measurement."""
    done = simattn("gpu", "compare", "--n", "256", "--heads", "2", "--json", without_torch=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    rows = {row["kernel"]: row for row in said["results"]}
    assert said["machine"] == "h100-sxm"
    assert rows["triton_flash2"]["counted_read_bytes"] == 2 * 256 * 64 * 2 + 2 * 2 * 2 * 256 * 64 * 2
    for row in rows.values():
        assert "pip install 'simattn[fused]'" in row["error"]
        assert row["ms"] is row["sm_read_bytes"] is row["exact"] is None
    table = simattn("gpu", "compare", "--n", "256", "--heads", "2", without_torch=True)
    assert "simulated as flash2" in table.stdout
    assert "simattn[fused]" in table.stdout.replace("\n", "")


@pytest.mark.parametrize("command", [["kernels"], ["fidelity", "--output", "x.json"]])
def test_without_torch_the_rest_is_one_line(command):
    """What needs torch says so, names the remedy, and exits with 2."""
    done = simattn("gpu", *command, without_torch=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'simattn[fused]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "--heads", "3", "--kv-heads", "2"], "cannot share --kv-heads 2"), (["compare", "--kernels", "flsh"], "did you mean 'flash'"),
        (["profile", "--kernels", "nope"], "unknown kernel 'nope'"), (["profile", "--kernels", ","], "at least one"),
        (["compare", "--dtype", "int8"], "unknown storage type"), (["compare", "--n", "0"], "--n"),
        (["report", "nowhere.json"], "nowhere.json"),
    ],
)  # fmt: skip
def test_a_usage_error_is_one_line(arguments, said):
    """Bad options name the value; nothing is printed to stdout; exit 2."""
    done = simattn("gpu", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
