"use strict";
// Where the page stands and how it gets on: one or two runs on a common line of ticks.

const WHOLE = 40; // seconds that the whole takes at speed 1
const SPEEDS = [0.125, 0.25, 0.5, 1, 2, 4, 8];

class Player {
  constructor(data) {
    this.models = data.panels.map((panel) => new Model(panel));
    const template = document.getElementById("panel");
    const wide = Math.max(...data.panels.map((p) => Math.max(...p.total.slice(0, 4))));
    this.views = this.models.map((model, k) => {
      const root = template.content.firstElementChild.cloneNode(true);
      root.dataset.panel = k;
      root.setAttribute("aria-label", model.data.algorithm);
      document.getElementById("panels").append(root);
      return new View(root, model, this.models, wide);
    });
    const most = Math.max(...this.models.map((model) => model.blocks.length));
    this.lead = this.models.findIndex((model) => model.blocks.length === most); // the run whose thread blocks the slider names
    this.tour = data.tour;
    this.heat = false;
    this.speed = SPEEDS.indexOf(1);
    this.order = "sequence";
    this.block = 0;
    this.stop = null;
    this.by = (id) => document.getElementById(id);
    this.controls();
    this.arrange();
    this.go(0);
  }

  // Every tick brings one run on by a frame: the one that has moved fewer bytes, so two runs stand side by side in bytes moved.
  arrange() {
    this.models.forEach((model) => model.show(this.order, Math.min(this.block, model.blocks.length - 1)));
    this.ticks = [this.models.map(() => 0)];
    const at = this.models.map(() => 0);
    const next = (k) => (at[k] + 1 < this.models[k].frames.length ? this.models[k].moved[at[k] + 1] : Infinity);
    for (;;) {
      const k = this.models.reduce((best, _, k) => (next(k) < next(best) ? k : best), 0);
      if (next(k) === Infinity) break;
      at[k]++;
      this.ticks.push([...at]);
    }
    // A tick takes time for its bytes, and a little for itself, or arithmetic would pass unseen.
    const bytes = this.ticks.map((tick) => Math.max(...tick.map((f, k) => this.models[k].moved[f] || 0)));
    const base = this.order === "block" ? bytes[0] : 0, span = Math.max(1, (bytes.at(-1) || 0) - base);
    this.when = bytes.map((b, t) => 0.6 * ((b - base) / span) + (0.4 * (t + 1)) / this.ticks.length);
    const scrub = this.by("scrub");
    scrub.max = Math.max(0, this.ticks.length - 1);
    this.by("blocks").max = this.models[this.lead].blocks.length - 1;
  }

  go(tick) {
    this.tick = Math.max(0, Math.min(this.ticks.length - 1, tick));
    const frames = this.ticks[this.tick];
    this.models.forEach((model, k) => model.seek(frames[k]));
    this.draw();
  }

  draw() {
    this.views.forEach((view) => view.update(this.block, this.heat));
    this.by("scrub").value = this.tick;
    const moved = this.models.map((m) => bytesText(m.totals[HBM_READ] + m.totals[HBM_WRITE]));
    this.by("scrub").setAttribute("aria-valuetext", `step ${this.tick + 1} of ${this.ticks.length}, ${moved.join(" and ")} moved`);
    this.by("where").textContent = `step ${(this.tick + 1).toLocaleString("en")} of ${this.ticks.length.toLocaleString("en")}`;
    const lead = this.models[this.lead];
    if (this.order === "sequence") {
      this.block = lead.blockOf[this.views[this.lead].step];
      this.by("blocks").value = this.block;
    }
    const block = lead.blocks[this.block], name = `${lead.data.kernels[block.kernel]} ${block.number}`;
    this.by("block-name").textContent = name;
    this.by("blocks").setAttribute("aria-valuetext", name);
    document.body.dataset.tick = this.tick;
  }

  play(on = !this.playing) {
    this.playing = on && this.ticks.length > 1;
    this.by("play").textContent = this.playing ? "Pause" : "Play";
    this.views.forEach((view) => view.find("step").setAttribute("aria-live", this.playing ? "off" : "polite"));
    if (!this.playing) return;
    if (this.tick >= this.ticks.length - 1) this.go(0);
    this.leaveTour();
    let time = this.when[this.tick], last = null;
    const frame = (now) => {
      if (!this.playing) return;
      time += last === null ? 0 : ((now - last) / 1000 / WHOLE) * SPEEDS[this.speed];
      last = now;
      let tick = this.tick;
      while (tick < this.ticks.length - 1 && this.when[tick + 1] <= time) tick++;
      if (tick !== this.tick) this.go(tick);
      if (tick >= this.ticks.length - 1) this.play(false);
      else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  move(by) {
    this.play(false);
    this.leaveTour();
    this.go(this.tick + by);
  }

  // To the beginning of the next thread block, or of this one or the one before.
  leap(direction) {
    this.play(false);
    this.leaveTour();
    if (this.order === "block") return this.choose(this.block + direction);
    const lead = this.models[this.lead], moves = (tick) => this.ticks[tick][this.lead] !== this.ticks[tick - 1][this.lead];
    const begins = (tick) => {
      return lead.frames[this.ticks[tick][this.lead]].some((s) => s === lead.blocks[lead.blockOf[s]].first);
    };
    let tick = this.tick + direction;
    while (tick > 0 && tick < this.ticks.length - 1 && !(begins(tick) && moves(tick))) tick += direction;
    this.go(tick);
  }

  choose(block) {
    this.block = Math.max(0, Math.min(Number(this.by("blocks").max), block));
    this.by("blocks").value = this.block;
    if (this.order === "block") this.arrange(), this.go(0);
    else if (this.order === "waves") this.draw();
    else {
      const first = this.models[this.lead].blocks[this.block].first;
      this.go(this.ticks.findIndex((tick) => tick[this.lead] === first));
    }
  }

  reorder(order) {
    this.play(false);
    this.leaveTour();
    this.order = this.by("order").value = order;
    this.arrange();
    this.go(0);
  }

  faster(by) {
    this.speed = Math.max(0, Math.min(SPEEDS.length - 1, this.speed + by));
    this.by("speed").value = this.speed;
  }

  toggleHeat() {
    this.heat = !this.heat;
    this.by("heat").setAttribute("aria-pressed", String(this.heat));
    this.draw();
  }

  // A guided tour: each stop has a sentence, and a step of each run at which to stand.
  visit(stop) {
    this.play(false);
    if (!this.tour.length) return;
    if (this.order !== "sequence") this.reorder("sequence");
    this.stop = Math.max(0, Math.min(this.tour.length - 1, stop));
    const { text, steps } = this.tour[this.stop];
    this.by("tour").hidden = false;
    this.by("tour-text").textContent = text;
    this.by("tour-number").textContent = `${this.stop + 1} of ${this.tour.length}`;
    const tick = this.ticks.findIndex((at) => at.some((f, k) => f === steps[k]));
    this.tick = Math.max(0, tick);
    this.models.forEach((model, k) => model.seek(steps[k]));
    this.draw();
  }

  leaveTour() {
    this.stop = null;
    if (this.by("tour").contains(document.activeElement)) this.by("begin-tour").focus();
    this.by("tour").hidden = true;
  }

  controls() {
    const on = (id, what, event = "onclick") => (this.by(id)[event] = what);
    on("play", () => this.play());
    on("back", () => this.move(-1));
    on("step", () => this.move(1));
    on("back-block", () => this.leap(-1));
    on("step-block", () => this.leap(1));
    on("scrub", () => this.move(Number(this.by("scrub").value) - this.tick), "oninput");
    on("speed", () => (this.speed = Number(this.by("speed").value)), "oninput");
    on("order", () => this.reorder(this.by("order").value), "onchange");
    on("blocks", () => (this.play(false), this.leaveTour(), this.choose(Number(this.by("blocks").value))), "oninput");
    on("heat", () => this.toggleHeat());
    on("begin-tour", () => this.visit(0));
    on("tour-next", () => this.visit(this.stop + 1));
    on("tour-back", () => this.visit(this.stop - 1));
    on("tour-end", () => this.leaveTour());
    this.by("begin-tour").hidden = !this.tour.length;
    this.by("speed").max = SPEEDS.length - 1;
    this.by("speed").value = this.speed;
    if (this.models.some((model) => model.data.note)) this.by("waves").disabled = true;
    const keys = {
      " ": () => this.play(), k: () => this.play(),
      ArrowRight: () => this.move(1), ArrowLeft: () => this.move(-1),
      Home: () => this.move(-Infinity), End: () => this.move(Infinity),
      n: () => this.leap(1), p: () => this.leap(-1), h: () => this.toggleHeat(),
      "+": () => this.faster(1), "-": () => this.faster(-1),
      t: () => this.visit(this.stop === null ? 0 : this.stop + 1), b: () => this.visit((this.stop ?? 0) - 1), Escape: () => this.leaveTour(),
      1: () => this.reorder("sequence"), 2: () => this.by("waves").disabled || this.reorder("waves"), 3: () => this.reorder("block"),
      "?": () => (this.by("keys").open = !this.by("keys").open),
    };
    document.addEventListener("keydown", (event) => {
      const moves = /^(Arrow|Home|End)/.test(event.key); // the keys of a slider
      const taken = event.target.matches(moves ? "input, select" : event.key === " " ? "button, summary, select" : "select");
      if (taken || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
    window.addEventListener("resize", () => this.draw());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }
}

const player = new Player(JSON.parse(document.getElementById("data").textContent));
