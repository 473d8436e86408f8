"""The article's claims: that each verdict comes from its numbers, that the numbers come from runs, and that the page is current."""

import functools
import json
import re
from pathlib import Path

import pytest

import simattn as sa
from simattn.cli import main
from simattn.studies.claims import CHECKS, claims
from simattn.studies.claims import published as p
from simattn.studies.claims.language import LANGUAGES, NUMBER
from simattn.studies.claims.page import line, section, summary

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = {language: (DOCS / name).read_text(encoding="utf-8") for language, name in (("en", "claims.md"), ("zh", "claims.zh-CN.md"))}
LENGTHS = ("512", "1,024", "2,048")
VERDICTS = {
    "holds": {1, 8, 30, 31, 32},
    "depends": {9, 13, 16},
    "unsupported": {14, 27},
    "fails": {2, 3, 4, 5, 6, 7, 10, 11, 12, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29},
}
SHAPES = ["256, 256", "64, 1,024", "8, 8,192", "2, 32,768", "1, 65,536", "1, 131,072"]
BROKEN = {  # other numbers, and the verdict that they give
    1: ({"growth of FLOP of products, naive": 1}, "fails"),
    2: ({f"FLOP forward, flash2, N = {N}": 1 for N in LENGTHS} | {"products of both passes, flash2": 5}, "holds"),
    3: ({"pairs of flash2": 16}, "holds"),
    4: ({"bytes kept in HBM, flash2": 4096}, "holds"),
    5: ({"error of local_global": 1e-4}, "holds"),
    6: ({"growth of scores, flash2": 1}, "holds"),
    7: ({"growth of all FLOP, flash2": 1}, "holds"),
    8: ({"FLOP a byte, the GPU": 10, "time of its bytes": 0.1, "bytes of HBM, flash2": 1e9}, "fails"),
    9: ({"registers of a thread block": 1 << 18}, "holds"),
    10: ({f"bytes written other than results and l, m, {name}": 1 << 20 for name in ("flash1", "flash2")}, "holds"),
    11: ({"FLOP of flash2, without": 524_288}, "holds"),
    12: ({"keys seen by token 64": 63}, "holds"),
    13: ({"time saved, table 18, forward": 55, "time saved, table 20, both passes": 55}, "holds"),
    14: ({"conditions stated": 6}, "fails"),
    15: ({"growth of flash, 512 to 1,024": 1, "growth of flash, 1,024 to 2,048": 1.1}, "holds"),
    16: ({"speed-up, table 18, forward, N = 2,048": 3}, "holds"),
    17: ({f"saved, N = {N}": 40 for N in LENGTHS}, "holds"),
    18: ({"all FLOP, flash1": 1, "all FLOP, flash2": 1}, "holds"),
    19: ({"rows computed again, incremental": 14_304}, "holds"),
    20: ({"tokens decoded in a step, split_kv": 4}, "holds"),
    21: ({"change by shuffling, split_kv": 1}, "holds"),
    22: ({"FLOP a step, split_kv": 1000}, "holds"),
    23: ({"error of dynamic_conv": 1e-4}, "holds"),
    24: ({"growth of values an output depends on": 1}, "holds"),
    25: ({"share of K and V read": 0.5}, "holds"),
    26: (
        {f"speed-up, batch {shape} keys": 2.5 for shape in SHAPES}
        | {"speed-up, whole model, short prompts": 2, "speed-up, whole model, at most": 3}, "holds",
    ),
    27: ({"conditions stated": 6}, "fails"),
    28: ({"all FLOP, split_kv": 1, "bytes kept in HBM, flash2": 1e6}, "holds"),
    29: ({"error, averaged": 1e-4, "thread blocks, split": 2}, "holds"),
    30: (
        {"share of weights that are 0, bigbird": 0, "error of linformer, E = F = I": 1, "growth of the error with the features": 0},
        "fails",
    ),
    31: ({"reach of dynamic_conv": 127}, "fails"),
    32: ({"longest sequence, PyTorch": 1e6, "least speed-up of training": 0.9, "least speed-up of decoding": 0.9}, "fails"),
}  # fmt: skip
BETWEEN = [  # numbers that lie between
    (2, {"products of both passes, flash2": 5}, "depends"),
    (3, {"pairs of flash2": 40}, "depends"),
    (4, {"error without rescaling": 1e-4}, "depends"),
    (5, {"error of flash2": 1}, "depends"),
    (8, {"time of its bytes": 0.1}, "depends"),
    (9, {"working set": 1 << 20}, "fails"),
    (9, {"share that passes L2": 0.5}, "holds"),
    (11, {"FLOP of naive, with a cache": 1}, "depends"),
    (12, {"keys seen by token 64": 80}, "depends"),
    (14, {f"factor to the paper, {name}, N = {N}": 36 for name in ("standard", "flash") for N in LENGTHS}, "unsupported"),
    (19, {"rows computed again, incremental": 64}, "depends"),
    (20, {"thread blocks a head, split_kv": 1}, "depends"),
    (23, {"error of split_kv": 1}, "depends"),
    (24, {"values an output depends on, N = 512": 63}, "depends"),
    (25, {"error of split_kv": 1}, "depends"),
    (26, {"speed-up, whole model, at most": 3}, "depends"),
    (27, {"conditions stated": 6, "speed-up, N = 512": 2}, "holds"),
    (28, {"all FLOP, split_kv": 1}, "depends"),
    (29, {"error, averaged": 1e-4}, "depends"),
    (30, {"growth of the error with the features": 0}, "depends"),
    (31, {"reach of dynamic_conv": 40}, "depends"),
    (32, {"least speed-up of decoding": 0.9}, "depends"),
]  # fmt: skip


@functools.cache
def result(number):
    return CHECKS[number].run()


@pytest.mark.parametrize("number", range(1, 33))
def test_a_verdict_follows_its_numbers(number):
    """Each claim has the verdict that its numbers give, and another one, and another reason, where the premise is broken."""
    claim = result(number)
    changed, verdict = BROKEN[number]
    assert number in VERDICTS[claim.verdict]
    broken = claim.but(changed)
    assert broken.verdict == verdict != claim.verdict
    assert broken.sentence != claim.sentence


@pytest.mark.parametrize(("number", "changed", "verdict"), BETWEEN)
def test_verdicts_between(number, changed, verdict):
    """Numbers that bear a claim out in part, or that no reason explains, give the verdict that the rule states for them."""
    assert result(number).but(changed).verdict == verdict


def test_all_conditions_and_one_factor_would_make_table_1_hold():
    """With every condition stated and one factor to the paper's times, the article's times would hold."""
    factors = {name: 36 for name in result(14).values if name.startswith("factor")}
    assert result(14).but(factors | {"conditions stated": 6}).verdict == "holds"


def test_every_claim_says_what_was_computed():
    """A claim has numbers with names of their own, a source for each, a rule, and one sentence; it names runs or tables."""
    for number in CHECKS:
        claim = result(number)
        assert len(claim.values) == len(claim.quantities) > 1
        assert all(q.name and q.source for q in claim.quantities)
        assert claim.sources
        assert claim.sentence.endswith(".")
        assert all(said.endswith(".") for said in (claim.text, claim.computed, claim.rule)), claim.number
    assert list(CHECKS) == list(range(1, 33))


def test_an_unknown_quantity_is_refused():
    """A premise cannot be broken by a name that the claim does not have."""
    with pytest.raises(KeyError, match="claim 3 has no"):
        result(3).but({"pairs": 1})


def flash2_within_blocks(gpu, Q, K, V, *, Br, Bc, **options):
    return sa.block_diagonal(gpu, Q, K, V, block=min(128, Q.shape[0]), Br=Br, Bc=Bc, **options)


def split_kv_of_the_nearest(gpu, Q, K, V, *, Br, Bc, splits=None, **options):
    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc, window=(8, 8), **options)


def dynamic_conv_that_attends(gpu, Q, K, V, *, W, Br):
    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=32)[0]


def local_global_that_is_exact(gpu, Q, K, V, *, block, Br, Bc):
    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)


@pytest.mark.parametrize(
    ("name", "algorithm", "verdicts"),
    [
        ("flash2", flash2_within_blocks, {3: "holds", 6: "holds", 7: "holds", 1: "fails"}),
        ("split_kv", split_kv_of_the_nearest, {21: "holds", 25: "holds"}),
        ("dynamic_conv", dynamic_conv_that_attends, {23: "holds", 24: "holds", 31: "fails"}),
        ("local_global", local_global_that_is_exact, {5: "holds"}),
    ],
)
def test_numbers_follow_the_algorithms(substitute, name, algorithm, verdicts):
    """If the algorithms were what the article takes them for, its claims would hold: nothing is written down."""
    substitute(name, algorithm)
    assert {number: CHECKS[number].run().verdict for number in verdicts} == verdicts


def test_numbers_follow_the_tables(monkeypatch):
    """Other published times, or conditions that the article had stated, give other verdicts."""
    monkeypatch.setitem(p.FLASH_18, 2048, 1.0)
    monkeypatch.setitem(p.FLASH_20, 2048, 4.0)
    monkeypatch.setitem(p.STATED, p.TABLE_2, p.CONDITIONS)
    monkeypatch.setattr(p, "FLASH_1", {512: 10.0, 1024: 20.0, 2048: 40.0})
    found = {number: CHECKS[number].run().verdict for number in (13, 15, 16, 27)}
    assert found == {13: "holds", 15: "holds", 16: "holds", 27: "fails"}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("number", range(1, 33))
def test_the_page_is_current(number, language):
    """The committed pages have every claim with its verdict, and every number but measured ones, which depend on the CPU's BLAS."""
    claim, said, page = result(number), LANGUAGES[language], PAGES[language]
    if not any(q.kind == "measured" for q in claim.quantities):
        assert section(claim, said) in page
    assert f"## {number}. {said.field(claim, 'text')}\n\n**{said.verdict(claim.verdict)}{said.stop}** " in page
    assert all(said.field(claim, name) in page for name in ("computed", "rule"))
    sources = list(dict.fromkeys(q.source for q in claim.quantities))
    rows = [line(q, sources.index(q.source) + 1, said) for q in claim.quantities if q.kind != "measured"]
    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize("number", range(1, 33))
def test_every_sentence_has_a_translation(number):
    """Every verdict of the tests above has a Chinese sentence with the same numbers."""
    claim, changes = result(number), [{}, BROKEN[number][0], *(changed for n, changed, _ in BETWEEN if n == number)]
    for sentence in (claim.but(changed).sentence for changed in changes):
        chinese = LANGUAGES["zh"].sentence(sentence)
        assert re.search("[\u4e00-\u9fff]", chinese)
        assert sorted(NUMBER.findall(chinese)) == sorted(NUMBER.findall(sentence))


def test_a_missing_translation_is_an_error():
    """A sentence or name without a Chinese one is refused, and the message says where to add it; so is another language."""
    with pytest.raises(LookupError, match=r"zh.toml has no Chinese for 'It rains {} times.'; add it to \[sentences\]"):
        LANGUAGES["zh"].sentence("It rains 3 times.")
    with pytest.raises(LookupError, match=r"add it to \[phrases\]"):
        LANGUAGES["zh"].phrase("bytes of rain, flash2")


def test_the_language_is_that_of_the_page(capsys):
    """`simattn claims 15 --markdown --language zh` prints the Chinese page; without --markdown the option is refused."""
    with pytest.raises(SystemExit, match="0"):
        main(["claims", "15", "--markdown", "--language", "zh"])
    assert "自相矛盾" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["claims", "15", "--language", "zh"])
    assert "add --markdown" in capsys.readouterr().err


def test_claims_know_their_tables():
    """As text, HTML, page and plain data there are the same verdicts; progress names the claims; an unknown number is refused."""
    said = []
    done = claims([27, 13, 27], said.append)
    assert [text.split(".")[0] for text in said] == ["27", "13"]
    assert summary(done) == "2 claims: unsupported 1, depends 1"
    for shown in (str(done), done._repr_html_(), done.markdown()):
        assert all(part in shown for part in ("unsupported", "depends", "FlashAttention saves more than 50%"))
    assert [(d["claim"], d["verdict"]) for d in done.to_dicts()] == [(27, "unsupported"), (13, "depends")]
    assert done[13].verdict == "depends"
    with pytest.raises(KeyError, match="claim 1 was not tested"):
        done[1]
    with pytest.raises(ValueError, match="no claim 33"):
        claims([33])


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["claims", *arguments])
    return stopped.value.code, *capsys.readouterr()


def test_the_command_line(capsys):
    """The command prints a table, one JSON object with every number, or the page, and exits with 0 although claims fail."""
    code, out, err = command(capsys, "15", "26", "--json")
    found = json.loads(out)["claims"]
    assert (code, err) == (0, "")
    assert [claim["verdict"] for claim in found] == ["fails", "fails"]
    assert all({"name", "value", "unit", "kind", "source"} == q.keys() for claim in found for q in claim["quantities"])
    assert "1.67" in command(capsys, "15")[1]
    assert command(capsys, "15", "--markdown")[1].startswith("# ")


@pytest.mark.parametrize(
    ("arguments", "message"), [(["33"], "from 1 to 32"), (["two"], "NUMBER"), (["1", "--json", "--markdown"], "not both")]
)
def test_a_usage_error_is_one_line(capsys, arguments, message):
    """What cannot be done is said in one line, with exit code 2."""
    code, out, err = command(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
