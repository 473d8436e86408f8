"""The explorer shows what the trace says, and nothing else: in a browser, as its reader sees it."""

import json
import linecache
import re

import numpy as np
import pytest
from browser import visit
from conftest import ROOMY

import simattn as sa
from simattn.cli.app import run as cli
from simattn.explorer import explorer, panel, tours
from simattn.hierarchy.counts import COUNTS

RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal((64, 8)).astype(np.float32) for _ in range(3))
VALUES = sa.Tracing(values=True)


def traced(algorithm=sa.flash2, trace=VALUES, Br=16, Bc=16, **options):
    return ROOMY.run(algorithm, Q, K, V, Br=Br, Bc=Bc, trace=trace, **options)


def my_flash(gpu, Q, K, V, *, Br, Bc):
    """Attention whose tiles have names that no other algorithm has."""
    O = gpu.empty((Q.shape[0], V.shape[1]), name="O")
    for sram, i in gpu.launch("mine", sa.blocks(Q.shape[0], Br)):
        queries = sram.load(Q[i])
        planted = queries @ sram.load(K[0:16]).T
        sram.store(O[i], planted @ sram.load(V[0:16]))
    return O


SEEN = """
  const at = (part, panel = 0) => document.querySelectorAll(`[data-part="${part}"]`)[panel];
  const state = (panel = 0) => ({
    moved: Number(at("moved", panel).dataset.bytes), sram: Number(at("sram", panel).dataset.bytes),
    peak: Number(at("sram", panel).dataset.peak), live: [...at("tiles", panel).children].map((b) => b.dataset.tile),
    step: at("step", panel).textContent, values: at("values", panel).textContent,
    line: (at("source", panel).querySelector(".now") || {}).textContent,
  });
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const click = (id) => document.getElementById(id).click();
"""


def test_every_step_shows_the_trace(tmp_path):
    """Bytes moved, what is live by name, SRAM and its peak, and the source line: at each step, those of the trace."""
    run = traced(causal=True)
    steps = [step for step in run.trace if step.block is not None]
    script = (
        SEEN
        + "const all = []; for (let k = 0; k < player.ticks.length; k++) { all.push(state()); press('ArrowRight'); } return all;"
    )
    found = visit(tmp_path, run.explore().html, script)
    assert len(found) == len(steps)
    peak = 0
    for seen, step in zip(found, steps, strict=True):
        peak = max(peak, step.sram)
        assert seen["moved"] == step.total.hbm_read + step.total.hbm_write
        assert (seen["sram"], seen["peak"], len(seen["live"])) == (step.sram, peak, len(step.live))
        assert [name for name, tile in zip(seen["live"], step.live, strict=True) if name != tile.name] == []
        assert seen["line"].strip() == linecache.getline(step.file, step.line).strip()
    assert found[-1]["moved"] == run.hbm_read + run.hbm_write
    assert found[-1]["peak"] == run.peak_sram


def test_a_tile_of_ones_own_is_found_by_its_name(tmp_path):
    """With the counts of the run, and its numbers."""
    run = traced(my_flash)
    step = next(step for step in run.trace if step.tile == "planted")
    script = SEEN + f"player.go({step.number - 1}); return state();"
    seen = visit(tmp_path, run.explore().html, script)
    assert "planted" in seen["live"]
    assert seen["step"].endswith("planted = matmul, 16 × 16 float32")
    assert seen["moved"] == step.total.hbm_read + step.total.hbm_write
    assert f"{float(step.values[0, 0]):.4g}" in seen["values"]


def test_names_with_markup_are_text(tmp_path):
    """An array and a kernel whose names are HTML make no element, and end no script."""
    name = "</script><img src=x onerror=alert(1)><b>"

    def nasty(gpu, Q, *, Br):
        O = gpu.empty(Q.shape, name=name)
        for sram, i in gpu.launch(name, sa.blocks(Q.shape[0], Br)):
            sram.store(O[i], sram.load(Q[i]))
        return O

    page = ROOMY.run(nasty, Q, Br=16, trace=True).explore().html
    seen = visit(tmp_path, page, SEEN + "press('ArrowRight'); return [state().step, document.images.length];")
    assert name in seen[0]
    assert seen[1] == 0


def test_the_two_stand_side_by_side_by_bytes(tmp_path):
    """At every tick, a run that is behind in bytes is the one that goes on; both end with their own totals."""
    runs = [traced(f) for f in (sa.naive, sa.flash2)]
    script = (
        SEEN
        + """
      const all = [];
      for (let k = 0; k < player.ticks.length; k++) { player.go(k); all.push([state(0).moved, state(1).moved]); }
      return all;
    """
    )
    found = visit(tmp_path, sa.explore(*runs).html, script)
    ends = [run.hbm_read + run.hbm_write for run in runs]
    assert found[-1] == ends
    largest = max(step.counts.hbm_read + step.counts.hbm_write for run in runs for step in run.trace)
    for pair in found:
        assert abs(pair[0] - pair[1]) <= largest or pair[1] == ends[1]


def test_the_executed_line_is_in_view(tmp_path):
    """At every step, without scrolling by hand."""
    script = (
        SEEN
        + """
      const pre = at("source"), seen = [];
      for (let k = 0; k < player.ticks.length; k++) {
        player.go(k);
        const line = pre.querySelector(".now").getBoundingClientRect(), box = pre.getBoundingClientRect();
        seen.push(line.top >= box.top - 1 && line.bottom <= box.bottom + 1);
      }
      return seen.every(Boolean) && pre.scrollHeight > pre.clientHeight + 40;
    """
    )
    assert visit(tmp_path, traced(sa.flash1).explore().html, script)


def test_everything_has_a_key(tmp_path):
    """Steps, thread blocks, ends, heat, speed, the order and the tour, and each goes back to where it was."""
    script = (
        SEEN
        + """
      const done = {};
      const tick = () => Number(document.body.dataset.tick);
      press("ArrowRight"); press("ArrowRight"); press("ArrowLeft"); done.step = tick();
      press("End"); done.end = tick() === player.ticks.length - 1;
      press("p"); done.back = tick() < player.ticks.length - 1;
      press("Home"); press("n"); done.block = player.block;
      press("h"); done.heat = document.getElementById("heat").getAttribute("aria-pressed");
      press("+"); done.speed = player.speed;
      press("2"); done.order = player.order; press("3"); done.alone = player.order; press("1");
      press("t"); press("t"); done.tour = document.getElementById("tour-number").textContent;
      press("Escape"); done.left = document.getElementById("tour").hidden;
      press(" "); done.playing = player.playing; press(" "); done.paused = !player.playing;
      return done;
    """
    )
    runs = [traced(f) for f in (sa.naive, sa.flash2)]
    assert visit(tmp_path, sa.explore(*runs).html, script) == {
        "step": 1, "end": True, "back": True, "block": 1, "heat": "true", "speed": 4, "order": "waves", "alone": "block",
        "tour": "2 of 12", "left": True, "playing": True, "paused": True,
    }  # fmt: skip


def test_waves_run_as_many_thread_blocks_as_there_are_sms(tmp_path):
    """Four thread blocks on a GPU of four SMs take one wave, in lockstep, and move what the run moved."""
    run = traced()
    script = (
        SEEN
        + "press('2'); const n = player.models[0].current.length; press('End'); return [n, player.ticks.length, state().moved];"
    )
    longest = sum(step.block == 0 for step in run.trace)
    assert visit(tmp_path, run.explore().html, script) == [4, longest, run.hbm_read + run.hbm_write]


def test_heat_is_how_often_each_byte_was_touched(tmp_path):
    """Of K, once for every thread block; of Q and O, once."""
    script = SEEN + "press('End'); return Object.fromEntries(player.models[0].matrices.map((m) => [m.name, [...m.marks.count]]));"
    found = visit(tmp_path, traced().explore().html, script)
    assert {name: set(counts) for name, counts in found.items()} == {"Q": {1}, "K": {4}, "V": {4}, "O": {1}, "lse": {1}}


def test_what_a_mask_skips_is_known(tmp_path):
    """With a causal mask and equal blocks, the blocks of S above the diagonal."""
    script = SEEN + "return [...player.models[0].scores.whole];"
    found = np.reshape(visit(tmp_path, traced(causal=True).explore().html, script), (4, 4))
    np.testing.assert_array_equal(found > 0, np.tril(np.ones((4, 4), bool)))


def test_the_running_output_ends_at_the_output():
    """The last row that is shown is the first row of what the thread block stores."""
    run = traced()
    shown = panel.panel(run.trace, list(run.outputs))
    rows = [panel.Row(*row) for row in shown["steps"]]
    for block in shown["blocks"]:
        running = [row.running for row in rows[block["first"] : block["first"] + block["length"]] if row.running]
        assert len(running) >= 4
        np.testing.assert_allclose(running[-1], block["final"], rtol=1e-3)
        np.testing.assert_allclose(block["final"], run.output[16 * block["number"], : panel.SHOWN], rtol=1e-3)


@pytest.mark.parametrize("phone", ["360,800", "1280,900"])
def test_nothing_is_wider_than_the_window(tmp_path, phone):
    """On a phone, and at 200 % on a laptop, which is the same to a page: nothing has to be scrolled sideways."""
    script = "return [document.documentElement.scrollWidth, window.innerWidth];"
    wide, window = visit(tmp_path, sa.explore(traced(sa.naive), traced()).html, script, size=phone)
    assert wide <= window


@pytest.mark.parametrize("at", range(len(tours.tours())))
def test_every_stop_of_a_tour_is_found(at):
    """A dozen stops in order, with the run's own numbers in the sentences."""
    q, k, v = (RNG.standard_normal((512, 64)).astype(np.float16) for _ in range(3))
    written = tours.tours()[at]
    runs = []
    for name in written["algorithms"]:
        queries, plain, backward = q[:1] if name == "split_kv" else q, name.removesuffix("_backward"), name.endswith("_backward")
        c = sa.compare("a100-40gb", [plain], queries, k, v, backward=backward, Br=64, Bc=64, trace=VALUES)
        runs.append(c.results[0].run)
    page = sa.explore(*runs)
    assert len(page.tour) == len(written["stops"]) == 12
    ends = [stop["steps"] for stop in page.tour]
    assert ends == sorted(ends)
    assert not any("{" in stop["text"] for stop in page.tour)
    total = sa.bytes_text(runs[0].hbm_read + runs[0].hbm_write)
    assert total in page.tour[-1]["text"]


def test_a_long_trace_thins_with_a_note():
    """Of over 10⁵ steps some thread blocks are there, whole, in less than 10 MB; their totals are those of the whole run."""
    long = [RNG.standard_normal((2048, 8)).astype(np.float32) for _ in range(3)]
    run = ROOMY.run(sa.flash2, *long, Br=16, Bc=16, trace=True)
    assert len(run.trace) > 100_000
    page = run.explore()
    assert len(page.html) < 10e6
    shown = page.panels[0]
    assert "of the whole run" in shown["note"]
    assert len(shown["steps"]) <= panel.THIN * 1.1
    assert shown["total"] == [getattr(run, name) for name in COUNTS]
    by_block = {}
    for step in run.trace:
        by_block[step.block] = step.total
    for block in shown["blocks"]:
        rows = [panel.Row(*row) for row in shown["steps"][block["first"] : block["first"] + block["length"]]]
        assert block["base"][0] + sum(row.counts[0] for row in rows) == by_block[block["number"]].hbm_read


def test_a_notebook_shows_the_page_in_a_frame():
    """Of its own, with nothing beside it."""
    shown = traced().explore()._repr_html_()
    assert re.match(r'<iframe title="flash2" srcdoc="&lt;!doctype html&gt;', shown)
    assert shown.count("<") == 2


def test_a_run_writes_its_page_where_it_is_told(tmp_path):
    """The same page that it gives."""
    page = traced().explore(tmp_path / "flash2.html")
    assert (tmp_path / "flash2.html").read_text() == page.html


def test_what_cannot_be_explored_is_refused(monkeypatch):
    """A run without a trace, no run, three of them, and a page that is too large."""
    with pytest.raises(ValueError, match=r"trace=sa\.Tracing\(values=True\)"):
        traced(trace=False).explore()
    with pytest.raises(TypeError, match="not a str"):
        sa.explore("flash2")
    for runs in ((), (traced(),) * 3):
        with pytest.raises(TypeError, match="one run, or two side by side"):
            sa.explore(*runs)
    monkeypatch.setattr(explorer, "LARGEST", 1000)
    with pytest.raises(ValueError, match="use a smaller N"):
        traced().explore()


def test_the_command_writes_a_page_here(tmp_path, monkeypatch, capsys):
    """Named after the algorithms, under 2 MB for the default size, and the name is printed."""
    monkeypatch.chdir(tmp_path)
    assert cli(["explore"]) == 0
    assert capsys.readouterr().out.startswith("explore-naive-flash2.html: ")
    page = (tmp_path / "explore-naive-flash2.html").read_text()
    assert len(page.encode()) < 2e6
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    assert [p["algorithm"] for p in data["panels"]] == ["naive", "flash2"]


def test_the_command_takes_ones_own_function_and_makes_pictures(tmp_path, monkeypatch, capsys):
    """A moving picture of several frames, and stills; an algorithm without a tour has some all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("simattn.explorer.stills.FRAMES", 3)
    (tmp_path / "mine.py").write_text(
        "import simattn as sa\ndef mine(gpu, Q, K, V, *, Br, Bc):\n    return sa.flash2(gpu, Q, K, V, Br=Br, Bc=Bc)\n"
    )
    sizes = ["--n", "64", "--d", "8", "--br", "32", "--bc", "32"]
    assert (
        cli(["explore", "--algorithms", "mine.py:mine", *sizes, "--gif", "a.gif", "--figures", "stills", "--output", "a.html"]) == 0
    )
    assert (tmp_path / "a.gif").read_bytes()[:6] == b"GIF89a"
    assert len(list((tmp_path / "stills").glob("*.svg"))) == 8
    assert "8 stills" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "says"), [
    (["--n", "200000"], "give --n"),
    (["--algorithms", "naive,flash1,flash2"], "name at most two"),
    (["--algorithms", "flash9"], "flash9"),
    (["--output", "nowhere/a.html"], "there is no folder nowhere"),
    (["--gif", "nowhere/a.gif"], "there is no folder nowhere"),
    (["--figures", "/dev/null/stills"], "no folder can be made there"),
])  # fmt: skip
def test_the_command_refuses_in_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    """And leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    assert cli(["explore", *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_largest_numbers_are_shown():
    """float64 rounded to four digits becomes infinity, for which JSON has no number; a softmax begins with the most negative one."""
    wide = [x.astype(np.float64) for x in (Q, K, V)]
    wide[2][:, 0] = np.finfo(np.float64).max
    page = ROOMY.run(sa.flash2, *wide, Br=16, Bc=16, trace=VALUES).explore().html
    assert '"-1.798e+308"' in page
    assert '"1.798e+308"' in page


@pytest.mark.parametrize("algorithms", [(sa.flash2, sa.naive), (sa.row_sum, sa.flash2), (sa.naive, sa.transpose)])
def test_every_thread_block_is_reached(tmp_path, algorithms):
    """Whichever of two runs has more of them: by the slider, in every order, and by key."""
    script = (
        SEEN
        + """
      const slider = document.getElementById("blocks"), found = [];
      for (const order of ["sequence", "waves", "block"]) {
        player.reorder(order);
        for (let b = 0; b <= Number(slider.max); b++) {
          slider.value = b;
          slider.oninput();
          found.push(Number(slider.value) === b && slider.getAttribute("aria-valuetext") !== null);
        }
      }
      player.reorder("sequence");
      const leaps = [];
      for (let b = 0; b <= Number(slider.max); b++) { leaps.push(player.block); press("n"); }
      return [found.every(Boolean), found.length, leaps];
    """
    )
    runs = [traced(f) if f in (sa.flash2, sa.naive) else ROOMY.run(f, Q, Br=32, Bc=8, trace=VALUES) for f in algorithms]
    page = sa.explore(*runs)
    most = max(len(p["blocks"]) for p in page.panels)
    assert visit(tmp_path, page.html, script) == [True, 3 * most, list(range(most))]


def test_keys_work_from_where_the_focus_is(tmp_path):
    """After the slider of the steps was used, keys that are none of a slider's still work; a tile keeps the focus; the tour gives it back."""
    script = (
        SEEN
        + """
      const key = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })), done = {};
      document.getElementById("scrub").focus();
      key("ArrowRight"); done.slider = player.tick;
      key("h"); done.heat = player.heat;
      key(" "); done.playing = player.playing; key(" ");
      player.go(20);
      const tile = at("tiles").children[0], name = tile.dataset.tile;
      tile.focus(); tile.click(); done.tile = document.activeElement.dataset.tile === name;
      key("ArrowRight"); done.still = document.activeElement.dataset.tile === name && player.tick === 21;
      click("begin-tour"); document.getElementById("tour-end").focus(); click("tour-end");
      done.tour = document.activeElement.id;
      done.spoken = [...document.querySelectorAll("main [aria-live], main[aria-live]")].map((e) => e.dataset.part);
      return done;
    """
    )
    assert visit(tmp_path, sa.explore(traced(sa.naive), traced()).html, script) == {
        "slider": 0, "heat": True, "playing": True, "tile": True, "still": True, "tour": "begin-tour", "spoken": ["step", "step"],
    }  # fmt: skip


def test_a_run_without_a_step_is_refused():
    """Whose thread blocks do nothing."""

    def idle(gpu, X):
        O = gpu.empty(X.shape, name="O")
        for _ in gpu.launch("idle", sa.blocks(X.shape[0], 16)):
            pass
        for sram, i in gpu.launch("copy", sa.blocks(X.shape[0], 16)):
            sram.store(O[i], sram.load(X[i]))
        return O

    with pytest.raises(ValueError, match=r"no step: the thread blocks of idle\[0\] do nothing"):
        ROOMY.run(idle, Q, trace="idle[0]").explore()


def test_the_command_proposes_a_smaller_n(tmp_path, monkeypatch, capsys):
    """Where a trace cannot hold the values; and the backward pass does not take the name of the forward pass."""
    monkeypatch.chdir(tmp_path)
    sizes = ["--algorithms", "flash2", "--d", "8", "--br", "32", "--bc", "32"]
    assert cli(["explore", "--n", "64", "--backward", *sizes]) == 0
    assert capsys.readouterr().out.startswith("explore-flash2-backward.html: ")
    monkeypatch.setattr("simattn.hierarchy.interpret.tracer.MOST_VALUES", 1000)
    assert cli(["explore", "--n", "256", *sizes]) == 1
    assert capsys.readouterr().err.endswith(": give --n 64\n")


def test_a_long_thread_block_is_cut_with_a_note(monkeypatch):
    """Its beginning is shown; the bytes of the whole run are still said."""
    run = traced(sa.naive, trace="output[0]")
    length = sum(step.block is not None for step in run.trace)
    monkeypatch.setattr(panel, "THIN", length - 3)
    page = run.explore()
    shown = page.panels[0]
    assert len(shown["steps"]) == shown["blocks"][0]["length"] == length - 3
    assert f"One of {length} steps is cut after {length - 3}." in shown["note"]
    assert shown["total"][0] == [step.total.hbm_read for step in run.trace][-1]
