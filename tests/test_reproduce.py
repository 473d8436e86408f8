"""Published figures beside executed runs: that they are reproduced, that nothing is written down for ours, that the page is current."""

import functools
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import simattn as sa
from simattn.cli import main
from simattn.reference.problem import Problem
from simattn.studies.reproduce import GROUPS, Reproduction, precision, reproduce, sectors, softmax_kernels, splits
from simattn.studies.reproduce.execute import forward, moved
from simattn.studies.reproduce.page import line, summary
from simattn.studies.reproduce.row import Row

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "reproduced.md").read_text(encoding="utf-8")
LOOK = {
    "figure2-left": 2,
    "table21": 4,
    "sectors": 0,
    "precision": 0,
    "h100": 4,
}  # rows of the slow groups that are executed here; of the others, all


@functools.cache
def rows(group):
    return tuple(itertools.islice(GROUPS[group](), LOOK.get(group)))


def verdicts(group):
    return [row.verdict for row in rows(group)]


@pytest.mark.parametrize("group", GROUPS)
def test_the_page_has_the_rows_that_the_code_yields(group):
    """Every executed row stands in docs/reproduced.md, number for number; `make reproduce` writes the page anew."""
    found = PAGE.splitlines()
    assert [row.what for row in rows(group) if line(row) not in found] == []
    assert {row.section for row in rows(group)} <= {title.removeprefix("## ") for title in found if title.startswith("## ")}


def test_the_page_has_the_rows_of_the_slow_groups():
    """The groups too slow for a test stand on the page with their published figures, and its summary counts its rows."""
    found = [cells for text in PAGE.splitlines() if len(cells := text.split(" | ")) > 5 and text[2] not in "|-"]
    slow = [table for table in re.split(r"^## ", PAGE, flags=re.MULTILINE) if table.startswith(sectors.SECTION)]
    assert all(f"{published:,}, {kind}" in slow[0] for kind, published in sectors.DENSE.items())
    for verdict, many in (("reproduced", "reproduced"), ("differs", "differ"), ("not run", "not run")):
        assert f"{sum(cells[6] == verdict for cells in found)} {many}" in PAGE
    assert f"{len(found)} rows: " in PAGE
    assert all(cells[7] for cells in found if cells[6] != "reproduced")  # the reason


def test_figure_2_middle_to_three_decimals():
    """FlashAttention's HBM traffic falls with Bc, as the paper's plot shows."""
    assert [round(row.ours, 3) for row in rows("figure2-middle")] == [6.577, 3.355, 1.745, 0.940]
    assert verdicts("figure2-middle") == ["reproduced"] * 4


def test_the_error_table_of_flashattention_3_is_in_the_printed_order():
    """On the page, all six errors are within 35% of the printed ones, by one configuration, and ordered as they are."""
    table = next(t for t in re.split(r"^## ", PAGE, flags=re.MULTILINE) if t.startswith(precision.SECTION))
    cells = [row.split(" | ") for row in table.splitlines() if row.startswith("| FP")]
    ours = {name.strip("| "): float(ours.split(",")[0]) for name, _, _, ours, *_ in cells}
    assert [c[6] for c in cells] == ["reproduced"] * 6
    printed = {name: published for name, (published, *_) in precision.METHODS.items()}
    for a, b in itertools.permutations(printed, 2):
        assert printed[a] >= printed[b] or ours[a] < ours[b], (a, b)


def test_figure_2_left():
    """4.4 GB by FlashAttention, 40.3 by the eager chain with mask and dropout, forward and backward."""
    assert [round(row.ours, 1) for row in rows("figure2-left")] == [4.4, 40.3]
    assert verdicts("figure2-left") == ["reproduced"] * 2


def test_table_21_differs_by_temporaries():
    """What the passes allocate is below what was measured, by less and less; the verdict says so."""
    table = rows("table21")
    U, u = ({row.what: n for row, n in zip(table, counts, strict=True)} for counts in ((4, 16, 64, 256), (2, 4, 8, 16)))  # MiB
    assert [row.ours for row in table] == [4 * U[row.what] + 8 * u[row.what] + u[row.what] / 32 for row in table]
    assert verdicts("table21") == ["differs"] * 4
    assert sorted(row.ratio for row in table) == [row.ratio for row in table]


def test_a_row_beyond_the_longest_run_says_so():
    """The longest sequences are not run: the row has the published figure, no number of ours, and the reason."""
    row = Row(section="", what="", unit="", published=1, published_is="stated", ours=None, tolerance=0, run="none", note="long")
    assert (row.verdict, row.ratio, row.to_dict()["ours"]) == ("not run", None, None)
    assert "| – | – |" in line(row)


def test_splits():
    """The executed heuristic gives flash-attn's splits."""
    assert [row.ours for row in rows("splits")] == [3, 6, 13, 26, 52, 103, 94]


def test_a_changed_publication_changes_the_verdict(monkeypatch):
    """Ours comes from the run: with another published figure, it stays, and the verdict turns."""
    monkeypatch.setitem(splits.SPLITS, (64, 1024), 4)
    row = next(iter(splits.rows()))
    assert (row.published, row.ours, row.verdict) == (4, 3, "differs")
    middle = rows("figure2-middle")[0]
    assert replace(middle, published=6.98).verdict == "differs"
    assert replace(middle, published=6.98, otherwise="not reproducible").verdict == "not reproducible"


def test_ours_follows_the_algorithm(substitute):
    """A flash1 that loads Q once more would not reproduce figure 2: nothing is written down for ours."""
    plain = sa.algorithms["flash1"]

    def careless(gpu, Q, K, V, *, Br, Bc, **options):
        for sram, i in gpu.launch("again", sa.blocks(Q.shape[0], Br)):
            sram.load(Q[i])
        return plain(gpu, Q, K, V, Br=Br, Bc=Bc, **options)

    substitute("flash1", careless)
    assert next(iter(GROUPS["figure2-middle"]())).verdict == "differs"


@pytest.mark.parametrize(("S", "Bc"), [(800, 512), (1200, 64)])
def test_sectors_by_formula(S, Bc):
    """FlashAttention-2 moves 8S(1 + S/T) sectors whatever Bc, and causal, in blocks of T, 8S(S/2T + 1/2) of K and V."""
    dense = sectors.sectors(S, Bc)[1]
    assert moved("Q K V O", dense) / sectors.SECTOR == 8 * S * (1 + S / sectors.T)
    causal = sectors.sectors(S, sectors.T, causal=True)[1]
    assert moved("K V", causal) / sectors.SECTOR == sectors.causal_formula(S)
    assert moved("Q O", causal) / sectors.SECTOR == 8 * S


def test_what_the_small_groups_find():
    """Accesses of the softmaxes, bytes of the caches and the identities of the GPUs are reproduced; causal FLOPs are more than half."""
    for group in ("softmax", "cache", "gpus"):
        assert set(verdicts(group)) == {"reproduced"}, group
    assert verdicts("flops") == ["reproduced", "differs", "reproduced"]
    assert {row.ours_is for row in rows("gpus")} == {"computed"}
    assert {row.ours_is for group in GROUPS if group != "gpus" for row in rows(group)} <= {"counted"}


def test_no_count_depends_on_a_value_and_batch_elements_count_alike(rng):
    """Zeros count as random numbers do, and two batch elements twice as much as one."""
    w = Problem(heads=2, n_q=100, n_k=100, d=16)
    gpu = sa.machine("t4")
    one, two = (forward(gpu, "flash1", replace(w, batch=b), Br=32, Bc=32) for b in (1, 2))
    drawn = gpu.run(sa.flash1, *(rng.standard_normal((1, 2, 100, 16)).astype(np.float16) for _ in "QKV"), Br=32, Bc=32)
    assert one.kernels == drawn.kernels
    assert (two.hbm_read, two.hbm_write) == (2 * one.hbm_read, 2 * one.hbm_write)


def test_the_softmaxes_and_their_topk_are_right(roomy, rng):
    """Each softmax gives the probabilities, and each top-k the largest with their places; ragged blocks. Of equal scores the first."""
    x = rng.standard_normal((7, 45), np.float32)
    p = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    first = np.argsort(-x, axis=1, kind="stable")[:, :4]
    for softmax in (softmax_kernels.naive_softmax, softmax_kernels.safe_softmax, softmax_kernels.online_softmax):
        np.testing.assert_allclose(roomy.run(softmax, x, Br=4, Bc=8).output, p, rtol=1e-5)
    for topk in ("safe_softmax_then_topk", "online_softmax_then_topk", "online_softmax_with_topk"):
        outputs = roomy.run(getattr(softmax_kernels, topk), x, K=4, Br=4, Bc=8).outputs
        np.testing.assert_allclose(outputs["values"], np.take_along_axis(p, first, 1), rtol=1e-5)
        np.testing.assert_array_equal(outputs["places"], first)
    equal = roomy.run(softmax_kernels.online_softmax_with_topk, np.round(x), K=4, Br=4, Bc=8).outputs["places"]
    np.testing.assert_array_equal(equal, np.argsort(-np.round(x), axis=1, kind="stable")[:, :4])


def test_a_reproduction_knows_its_tables():
    """As text, HTML and plain data there are the same rows, and progress names the groups in their order."""
    said = []
    done = reproduce(["gpus", "cache", "gpus"], said.append)
    assert said == list(done.groups) == ["gpus", "cache"]
    assert {d["group"] for d in done.to_dicts()} == {"gpus", "cache"}
    assert summary(done) == "11 rows: 11 reproduced"
    for shown in (str(done), done._repr_html_(), done.markdown()):
        assert all(row.what in shown and row.section.split("(")[0] in shown for row in done.rows)
    assert Reproduction({"gpus": done.groups["gpus"][:1]}).to_dicts()[0]["verdict"] == "reproduced"


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["reproduce", *arguments])
    return stopped.value.code, *capsys.readouterr()


def test_the_command_line(capsys):
    """The command prints tables, one JSON object or the page, and exits with 0 although a row differs."""
    code, out, err = command(capsys, "flops", "--json")
    assert (code, err) == (0, "")
    assert [row["verdict"] for row in json.loads(out)["rows"]] == ["reproduced", "differs", "reproduced"]
    assert "H200 SXM" in command(capsys, "gpus")[1]
    assert command(capsys, "gpus", "--markdown")[1].startswith("# ")


@pytest.mark.parametrize(
    ("arguments", "message"), [(["figure-2"], "did you mean 'figure2-"), (["--json", "--markdown"], "not both")]
)
def test_a_usage_error_is_one_line(capsys, arguments, message):
    """A group that nobody knows is named with the nearest, in one line, and exit code 2."""
    code, out, err = command(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
