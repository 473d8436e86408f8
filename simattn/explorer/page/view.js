"use strict";
// One run on the page: everything that is shown of it, brought up to date after each frame.

class View {
  constructor(root, model, fellows, wide) {
    this.root = root;
    this.model = model;
    this.fellows = fellows; // all runs on the page
    this.pinned = null; // the name of the tile whose values stay on show
    this.find = (name) => root.querySelector(`[data-part="${name}"]`);
    this.scale = wide; // bytes of the widest arrow
    const { machine, algorithm, note, total } = model.data;
    this.find("title").textContent = algorithm;
    this.find("machine").textContent = `on ${machine.title || machine.name}: SRAM ${bytesText(machine.sram)} a thread block`;
    this.find("total").textContent = `whole run: ${bytesText(total[HBM_READ] + total[HBM_WRITE])} by HBM`;
    this.find("note").textContent = note || "";
    this.find("note").hidden = !note;
    this.showSource();
  }

  showSource() {
    const pre = this.find("source");
    this.rows = new Map();
    pre.replaceChildren();
    this.model.data.source.forEach((file, f) => {
      for (const part of file.parts)
        part.lines.forEach((line, k) => {
          const row = document.createElement("span");
          row.className = "line";
          row.textContent = line + "\n";
          this.rows.set(`${f}:${part.first + k}`, row);
          pre.append(row);
        });
    });
    if (!this.rows.size) pre.textContent = "There is no source to show: the function was not read from a file or a notebook.";
  }

  update(block, heat) {
    const { model } = this, s = model.focus(block);
    this.step = s;
    drawMatrices(this.find("matrices"), model, this.fellows, heat);
    drawChart(this.find("chart"), model, this.scale);
    if (s === undefined) return;
    const several = model.current.length > 1 ? ` (and ${model.current.length - 1} thread blocks beside it)` : "";
    this.text("step", model.describe(s) + several);
    const hbm = model.totals[HBM_READ] + model.totals[HBM_WRITE];
    this.text("moved", bytesText(hbm));
    this.find("moved").dataset.bytes = hbm;
    const n = model.blockOf[s];
    this.text("block", `thread block ${model.blocks[n].number} of ${model.data.kernels[model.blocks[n].kernel]}`);
    this.updateSram(s);
    this.updateLine(s);
    this.updateValues(s);
    this.updateRunning(s);
  }

  text(part, text) {
    this.find(part).textContent = text;
  }

  updateSram(s) {
    const { model } = this, { sram } = model.data.machine, live = model.live(s);
    const bar = this.find("bar");
    const parts = live.map(([name, bytes], k) => {
      const part = document.createElement("span");
      part.className = `tile pattern${k % 6}`;
      part.style.width = `${(100 * bytes) / sram}%`;
      part.title = `${name}: ${bytes.toLocaleString("en")} B`;
      return part;
    });
    const peak = document.createElement("i");
    peak.className = "peak";
    peak.style.left = `${(100 * model.peak) / sram}%`;
    bar.replaceChildren(...parts, peak);
    const used = model.steps[s][SRAM];
    bar.setAttribute("aria-label", `SRAM: ${used} of ${sram} bytes`);
    this.text("sram", `${bytesText(used)} of ${bytesText(sram)}, peak so far ${bytesText(model.peak)}`);
    this.find("sram").dataset.bytes = used;
    this.find("sram").dataset.peak = model.peak;
    const list = this.find("tiles"), focused = list.contains(document.activeElement) && document.activeElement.dataset.tile;
    list.replaceChildren(...live.map(([name, bytes], k) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "name";
      const swatch = document.createElement("span");
      swatch.className = `swatch pattern${k % 6}`;
      button.append(swatch, `${name} `, Object.assign(document.createElement("small"), { textContent: bytesText(bytes) }));
      button.dataset.tile = name;
      button.setAttribute("aria-pressed", String(this.pinned === name));
      button.onclick = () => {
        this.pinned = this.pinned === name ? null : name;
        this.updateSram(this.step);
        this.updateValues(this.step);
      };
      return button;
    }));
    if (focused) [...list.children].find((button) => button.dataset.tile === focused)?.focus();
  }

  updateLine(s) {
    const { model } = this, file = model.blocks[model.blockOf[s]].file;
    const row = this.rows.get(`${file}:${model.steps[s][LINE]}`), pre = this.find("source");
    if (row === this.row) return;
    this.row?.classList.remove("now");
    this.row = row;
    if (!row) return;
    row.classList.add("now");
    const top = row.offsetTop; // from the top of pre, which has a position
    if (top < pre.scrollTop + 20 || top > pre.scrollTop + pre.clientHeight - 40) pre.scrollTop = top - pre.clientHeight / 3;
  }

  updateValues(s) {
    const { model } = this;
    const { first } = model.blocks[model.blockOf[s]], stored = model.steps[s][KIND] >= STORE;
    const own = stored ? first + model.steps[s][READS][0] : s;
    const tile = this.pinned === null ? own : model.latest(this.pinned, s);
    const step = tile === null ? null : model.steps[tile];
    if (!step || !step[VALUES]) {
      const why = model.steps.some((x) => x[VALUES]) ? "This step gives no tile." : "Traced without values: sa.Tracing(values=True) keeps them.";
      this.text("values", why);
      return;
    }
    const [some, [least, most], column] = step[VALUES];
    const what = column ? "first rows" : "first row";
    const more = (column ? step[SHAPE][0] : step[SHAPE][1]) > some.length ? " …" : "";
    this.text("values", `${model.name(tile)}, ${step[SHAPE].join(" × ")} ${step[DTYPE]}, ${what}: ${some.join("  ")}${more}\nfrom ${least} to ${most}`);
  }

  updateRunning(s) {
    const { model } = this, found = model.running(s), svg = this.find("running");
    this.find("running-box").hidden = !found;
    if (!found) return;
    const final = found.final, row = found.row || [];
    const most = Math.max(1e-9, ...[...final, ...row].map((x) => Math.abs(x ?? 0)));
    const wide = 480 / final.length, parts = [];
    const bar = (x, value, name) => {
      const high = (Math.abs(value ?? 0) / most) * 30;
      parts.push(["rect", { x, y: value < 0 ? 34 : 34 - high, width: wide * 0.36, height: Math.max(1, high), class: name }]);
    };
    final.forEach((value, k) => {
      bar(k * wide + 2, row[k], "running");
      bar(k * wide + 2 + wide * 0.4, value, "final");
    });
    svg.replaceChildren(...parts.map(([tag, attributes]) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      return element;
    }));
    const off = row.length ? Math.max(...final.map((x, k) => Math.abs((x ?? 0) - (row[k] ?? 0)))) : null;
    this.text("off", off === null ? "no keys yet" : `largest difference ${Number(off.toPrecision(2))}`);
  }
}
