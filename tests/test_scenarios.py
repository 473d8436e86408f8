"""Scenarios: whole runs by closed form equal the sum of executed runs; caches and memory by hand; what the command line says."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import run

import simattn as sa
from simattn.hierarchy.counts import KernelCounts
from simattn.hierarchy.dtypes import STORAGE
from simattn.studies.scenarios import SCENARIOS, Model, Scenario, play, result, scenario, ways

ROOMY, SMALL = (sa.Machine(name="m", sram=sram, sms=4) for sram in (1 << 20, 4096))
ROW = {"way", "hbm_read_bytes", "hbm_write_bytes", "matmul_flops", "hbm_held_bytes", "kv_cache_bytes", "hbm_over_first", "error"}


@st.composite
def scenarios(draw, *, trains):
    kv_heads, width = draw(st.integers(1, 2)), st.integers(1, 9)
    model = Model(
        name="drawn", source="", layers=draw(st.integers(1, 3)), heads=kv_heads * draw(st.integers(1, 3)), kv_heads=kv_heads, d=draw(width),
        d_v=draw(width), dtype=draw(st.sampled_from(["float16", "bfloat16", "float32"])), dropout=draw(st.sampled_from([0.0, 0.1])),
        latent=draw(st.none() | st.tuples(width, width)),
    )  # fmt: skip
    steps, turns = (0, 1) if trains else (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    blocks, page, batch = draw(st.sampled_from([(8, 4, 2), (3,), (128, 16)])), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    return Scenario(
        name="drawn", model=model, machine="t4", batch=batch, prompt=draw(st.integers(1, 12)), steps=steps, turns=turns, blocks=blocks, page=page
    )  # fmt: skip


@pytest.mark.parametrize("trains", [False, True])
@given(data=st.data(), gpu=st.sampled_from([ROOMY, SMALL]))
def test_a_scenario_is_the_sum_of_its_executed_runs(trains, data, gpu):
    """Every count of every phase, and the footprint, equal what executions of each prefill, step and pass add up to, to the byte."""
    s = data.draw(scenarios(trains=trains))
    for way in ways(s):
        row, sums, footprint = result.evaluated(s, way, gpu), {}, 0
        if row.phases is None:
            assert gpu is SMALL
            assert "4,096 B of SRAM" in row.failure
            continue
        for call in way.calls:
            blocks = call.form(gpu, s.blocks).blocks
            for executed in (one.run(gpu, blocks) for one in call.each()):
                for name, k in executed.kernels.items():
                    if call.only is None or name in call.only:
                        times = call.times * s.model.layers
                        all_of_them = KernelCounts.of(k * times, k.programs * times, k.peak_sram)
                        sums[call.phase] = sums.get(call.phase, KernelCounts()) + all_of_them
                footprint = max(footprint, executed.hbm_footprint * call.scratch)
        assert (row.phases, row.footprint) == (sums, footprint)


@given(s=scenarios(trains=False))
def test_without_a_cache_and_with_one_by_whole_runs(s):
    """Without a cache, a layer is a run of `recompute_decode` a turn, over all turns so far; of one turn with it, of `incremental`."""
    s, counts = s.changed(layers=1), ("hbm_read", "hbm_write", "matmul_flops", "exps")
    for run_of, k, algorithm in ((s, 0, "recompute_decode"), (replace(s, turns=1), 2, "incremental")):
        way, whole = ways(run_of)[k], KernelCounts()
        blocks = way.calls[-1].form(ROOMY, s.blocks).blocks
        for turn in range(1, run_of.turns + 1):
            n, m = turn * (s.prompt + s.steps), s.model
            shapes = (m.heads, n, m.d), (m.kv_heads, n, m.d), (m.kv_heads, n, m.d_v)
            Q, K, V = (np.zeros((s.batch, *shape), STORAGE[m.dtype]) for shape in shapes)
            executed = ROOMY.run(sa.algorithms[algorithm], Q, K, V, steps=s.steps, Br=blocks["Br"], Bc=blocks["Bc"])
            whole = whole + executed.total
        found = result.evaluated(run_of, way, ROOMY).total
        assert [getattr(found, count) for count in counts] == [getattr(whole, count) for count in counts]


def rows_of(name, **changes):
    """A scenario's rows by way, without what is executed beside them."""
    s = SCENARIOS[name].changed(**changes)
    return {way.name: result.evaluated(s, way, sa.machine(s.machine)) for way in ways(s)}


def test_caches_and_memory_by_hand():
    """Llama-3-8B keeps 131,072 B a token, DeepSeek-V2 71 times less as latents; training keeps what its backward pass is given."""
    text, talk, train = rows_of("long-text"), rows_of("dialogue"), rows_of("training")
    assert {row.way.a_token for row in text.values()} == {0, 131_072}
    cache, n, item = 131_072 * (8192 + 1024), 8192, 2
    prompt = 32 * n * (2 * 128 * item + 4) + 8 * n * 2 * 128 * item  # Q, O, lse; K, V
    assert text["cache: flash2, split_kv"].held == text["cache: incremental"].held == cache + prompt
    assert text["cache: naive"].held == cache + prompt + 2 * 32 * n * n * item  # S, P
    assert text["pages of 16: flash2, paged"].held == cache + prompt + 4 * (9216 // 16 + 1)
    mha, latent = talk["MHA cache: naive"].way, talk["latent: mla"].way
    assert (mha.a_token, latent.a_token) == (60 * 128 * (192 + 128) * item, 60 * (512 + 64) * item)
    assert mha.cache == 8 * 4 * (512 + 128) * mha.a_token
    keys = 3 * 640 + 512  # K and V of all tokens, made of their latents
    prompt = 8 * 128 * (512 * ((192 + 128) * item + 4) + keys * (192 + 128) * item)
    assert talk["latent: flash2, mla"].held == latent.cache + prompt
    steps = talk["latent: mla"].phases["decode"].hbm_write
    assert steps == 60 * 8 * 4 * 128 * (128 * (512 * item + 4) + (512 + 64) * item)  # O and lse of each head, and a latent
    heads, n = 8 * 16, 1024
    qkvo, P = heads * n * (4 * 64 * item + 4), heads * n * n
    gradients, D, dQ = heads * n * 4 * 64 * item, heads * n * 4, heads * n * 64 * 4
    assert train["flash2"].held == 24 * qkvo + gradients + D + dQ
    assert train["naive"].held == 24 * (qkvo + P * item) + gradients + 2 * P * item  # dP, dS
    assert train["unfused_chain"].held == 24 * (qkvo + P * (2 * item + 1)) + gradients + 3 * P * item  # and dP before dropout
    assert not any(row.failure for rows in (text, talk, train) for row in rows.values())


def test_steps_with_a_cache_by_hand():
    """A generated token's matmuls are 4·n·d a head, and its K and V are read once a group, or once a head by naive; turns go on."""
    s = replace(SCENARIOS["long-text"].changed(layers=1, prompt=100, steps=2), turns=2)
    rows = {row.way.name: row.phases["decode"] for row in play(s, sa.Machine(name="m", sram=1 << 20, sms=1)).rows}
    flash, pages, naive = (rows[name] for name in ("cache: flash2, split_kv", "pages of 16: flash2, paged", "cache: naive"))
    lengths, d, width = (101, 102, 203, 204), 128, 2 * 128 * 2
    n = sum(lengths)
    assert {k.matmul_flops for k in (flash, pages, naive)} == {4 * n * d * 32}
    new, Q, O = 4 * 8 * width, 4 * 32 * d * 2, 4 * 32 * (d * 2 + 4)  # copied into the cache; in; out, with lse
    assert (flash.hbm_read, flash.hbm_write) == (8 * n * width + new + Q, new + O)
    assert naive.hbm_read == 32 * n * width + new + Q * 6 // 4 + 2 * 32 * n * 2  # Q for each of 1, 1, 2, 2 key blocks; S, P
    assert pages.hbm_read - flash.hbm_read == 8 * 4 * (7 + 7 + 13 + 13 + 4)  # places of pages and lengths, each KV head


def test_splits_are_those_that_split_kv_chooses():
    """Where few heads leave SMs idle, the closed forms split the keys as a run that asks the heuristic does."""
    s = SCENARIOS["long-text"].changed(layers=1, prompt=1200, steps=1)
    gpu = sa.Machine(name="m", sram=1 << 20, sms=8)
    for way in ways(s)[3:]:
        call = way.calls[-1]
        form = call.form(gpu, s.blocks)
        assert (call.algorithm, call.splits(gpu, form.blocks["Br"])) in (("split_kv", 2), ("paged", 2))
        assert call.counted([call.run(gpu, form.blocks)]).kernels == form.kernels


def test_what_does_not_fit_keeps_a_row(capsys):
    """A KV cache beyond the GPU's HBM is a row that says so, with its counts; the other ways finish. Nobody asked for it by name: exit code 0."""
    many = ("--prompt", "16", "--steps", "8", "--batch", "200")
    code, out, _ = run(capsys, "scenario", "dialogue", "--machine", "a100-40gb", *many, "--json")
    rows = json.loads(out)["results"]
    assert code == 0
    assert [row["error"] is None for row in rows] == [True, False, False, True, True]
    assert "40 GB of HBM" in rows[1]["error"]
    assert rows[1]["hbm_held_bytes"] > 40e9 > rows[3]["hbm_held_bytes"]
    tiny = play(SCENARIOS["training"].changed(prompt=64), sa.Machine(name="tiny", sram=4096, sms=4))
    assert tiny.failed
    assert all("4,096 B of SRAM" in row.failure and row.to_dict(None)["hbm_read_bytes"] is None for row in tiny.rows)
    assert "does not fit" in str(tiny)


def test_a_scenario_as_plain_data_and_as_a_table(capsys):
    """--json prints one object: machine, scenario, what was executed, a row a way; the table names models, ways and sources."""
    code, out, err = run(capsys, "scenario", "training", "--prompt", "200", "--layers", "2", "--batch", "3", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found == json.loads(json.dumps(play(SCENARIOS["training"].changed(prompt=200, layers=2, batch=3)).to_dict()))
    assert found["counted_by"] == "closed form"
    small = {"batch": 1, "turns": 1, "prompt": 200, "steps": 0, "layers": 1}
    assert found["executed"] == small | {"runs": 8, "equal": True, "unequal": []}
    assert [row["way"] for row in found["results"]] == ["unfused_chain", "naive", "flash1", "flash2"]
    assert all(set(row) >= ROW and set(row["phases"]) == {"forward", "backward"} for row in found["results"])
    assert found["results"][0]["hbm_over_first"] == 1
    code, out, _ = run(capsys, "scenario", "long-text", "--prompt", "300", "--steps", "2")
    assert code == 0
    for part in ("Llama-3-8B", "2407.21783", "by closed form", "executed", "split_kv", "131 KB", "cache: naive"):
        assert part in out
    assert "long-text" in play(SCENARIOS["long-text"].changed(prompt=300, steps=2))._repr_html_()


def test_a_run_that_differs_from_its_form_is_said(capsys, monkeypatch):
    """If an execution did not equal its closed form, the footnote would name the way, and the exit code be 1."""
    right = result.Call.run

    def wrong(call, *x):
        return replace(right(call, *x), hbm_footprint=-1) if call.algorithm == "flash1" else right(call, *x)

    monkeypatch.setattr(result.Call, "run", wrong)
    code, out, _ = run(capsys, "scenario", "training", "--prompt", "32")
    assert code == 1
    assert "NOT equal to the closed form: flash1" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dialog"], "did you mean 'dialogue'"),
        (["chess"], "known: long-text, dialogue, training"),
        (["training", "--steps", "3"], "generates nothing"),
        (["training", "--n", "64"], "--n"),
        (["training", "--prompt", "0"], "--prompt"),
        (["training", "--machine", "h100"], "did you mean 'h100-sxm'"),
        ([], "NAME"),
    ],
    ids=str,
)  # fmt: skip
def test_a_usage_error_of_a_scenario_is_one_line(capsys, arguments, message):
    """Unknown names come with the nearest; options that fit no scenario are named; exit code 2."""
    code, out, err = run(capsys, "scenario", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_numbers_that_no_scenario_has_are_refused():
    """Sizes below 1, generation of nothing, and an unknown name each raise one error with the value."""
    for wrong in ({"prompt": 0}, {"batch": -1}, {"layers": 0}, {"steps": 0}):
        with pytest.raises(ValueError, match="|".join(f"{name}={value}" for name, value in wrong.items())):
            SCENARIOS["dialogue"].changed(**wrong)
    with pytest.raises(ValueError, match="training"):
        scenario("train")
