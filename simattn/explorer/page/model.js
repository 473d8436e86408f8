"use strict";
// A run as the page holds it, and where it stands after any number of frames. Nothing here draws.

const [KIND, OPERATION, TILE, NAMED, SHAPE, NBYTES, DTYPE, BOX, LINE, COUNTS, LIVE, SRAM, CELL, READS, VALUES, RUNNING] =
  Array(16).keys();
const LOAD = 0, COMPUTE = 1, STORE = 2, ATOMIC = 3;
const [HBM_READ, HBM_WRITE, SRAM_READ, SRAM_WRITE, MATMUL] = Array(5).keys();

// Marks on an array: its cells are cut where any step's region begins or ends, so a cell is touched as a whole.
class Marks {
  constructor(rows, columns, boxes) {
    this.rows = cuts(rows, boxes, 0);
    this.columns = cuts(columns, boxes, 2);
    this.rowAt = new Map(this.rows.map((x, k) => [x, k]));
    this.columnAt = new Map(this.columns.map((x, k) => [x, k]));
    this.width = this.columns.length - 1;
    this.clear();
  }

  clear() {
    this.count = new Uint32Array((this.rows.length - 1) * this.width);
    this.most = 0;
  }

  add([r0, r1, c0, c1]) {
    for (let r = this.rowAt.get(r0); r < this.rowAt.get(r1); r++)
      for (let c = this.columnAt.get(c0); c < this.columnAt.get(c1); c++)
        this.most = Math.max(this.most, ++this.count[r * this.width + c]);
  }

  each(visit) {
    this.count.forEach((n, k) => {
      const r = Math.floor(k / this.width), c = k % this.width;
      visit(n, [this.rows[r], this.rows[r + 1], this.columns[c], this.columns[c + 1]]);
    });
  }
}

function cuts(length, boxes, at) {
  const found = new Set([0, length]);
  for (const box of boxes) found.add(box[at]).add(box[at + 1]);
  return [...found].sort((a, b) => a - b);
}

class Model {
  constructor(data) {
    this.data = data;
    this.steps = data.steps;
    this.blocks = data.blocks;
    this.blockOf = new Uint32Array(this.steps.length);
    this.blocks.forEach((block, b) => this.blockOf.fill(b, block.first, block.first + block.length));
    this.matrices = data.arrays.map((array, a) => {
      const columns = array.shape.at(-1);
      const rows = array.shape.slice(0, -1).reduce((x, y) => x * y, 1);
      const boxes = this.steps.map((step) => step[BOX]).filter((box) => box && box[0] === a).map((box) => box.slice(1));
      const marks = new Marks(rows, columns, boxes);
      boxes.forEach((box) => marks.add(box));
      return { ...array, rows, columns, marks, whole: marks.count }; // in the whole run: where that is 0, nothing ever goes
    });
    const cells = this.steps.map((step) => step[CELL]).filter(Boolean);
    if (cells.length) {
      const rows = Math.max(...cells.map((cell) => cell[1])), columns = Math.max(...cells.map((cell) => cell[3]));
      this.scores = { name: "S", rows, columns, marks: new Marks(rows, columns, cells) };
      cells.forEach((cell) => this.scores.marks.add(cell));
      this.scores.whole = this.scores.marks.count;
    }
    this.show("sequence", 0);
  }

  // The order in which steps are shown: one after another, in waves, or those of one thread block.
  show(order, block) {
    this.order = order;
    if (order === "waves") this.frames = this.waves();
    else {
      const { first, length } = order === "block" ? this.blocks[block] : { first: 0, length: this.steps.length };
      this.frames = Array.from({ length }, (_, k) => [first + k]);
    }
    this.moved = new Float64Array(this.frames.length);
    this.restart();
    let bytes = 0, last = -1;
    this.frames.forEach((frame, f) => {
      for (const s of frame) {
        const b = this.blockOf[s], heads = this.blocks[b].heads;
        if (order !== "waves" && b !== last) bytes = this.blocks[b].base[HBM_READ] + this.blocks[b].base[HBM_WRITE];
        bytes += (this.steps[s][COUNTS][HBM_READ] + this.steps[s][COUNTS][HBM_WRITE]) * heads;
        last = b;
      }
      this.moved[f] = bytes;
    });
  }

  // On a GPU the thread blocks of a launch run side by side, as many at once as there are SMs: their operations in lockstep.
  waves() {
    const frames = [];
    const wide = this.data.machine.sms || Infinity;
    for (let b = 0; b < this.blocks.length; ) {
      let end = b;
      while (end < this.blocks.length && end - b < wide && this.blocks[end].launch === this.blocks[b].launch) end++;
      const wave = this.blocks.slice(b, end);
      const longest = Math.max(...wave.map((block) => block.length));
      for (let k = 0; k < longest; k++)
        frames.push(wave.filter((block) => k < block.length).map((block) => block.first + k));
      b = end;
    }
    return frames;
  }

  restart() {
    this.at = -1;
    this.totals = Array(7).fill(0);
    this.peak = 0;
    this.matrices.forEach((matrix) => matrix.marks.clear());
    if (this.scores) this.scores.marks.clear();
  }

  // Stand after frame f: go on from where it stands, or begin anew to go back.
  seek(f) {
    if (f < this.at) this.restart();
    while (this.at < f) this.take(this.frames[++this.at]);
    this.current = this.frames[f] || [];
  }

  take(frame) {
    for (const s of frame) {
      const step = this.steps[s], block = this.blocks[this.blockOf[s]];
      if (this.order !== "waves" && s === block.first) this.totals = [...block.base];
      step[COUNTS].forEach((n, k) => (this.totals[k] += n * block.heads));
      this.peak = Math.max(this.peak, step[SRAM]);
      if (step[BOX]) this.matrices[step[BOX][0]].marks.add(step[BOX].slice(1));
      if (step[CELL]) this.scores.marks.add(step[CELL]);
    }
  }

  // The step that is described: of several at once, the one of the thread block that is looked at.
  focus(block) {
    return this.current.find((s) => this.blockOf[s] === block) ?? this.current[0];
  }

  name(s) {
    return this.data.tiles[this.steps[s][TILE]];
  }

  // What is live: [name, bytes, step in which it was made].
  live(s) {
    const first = this.blocks[this.blockOf[s]].first, found = [], live = this.steps[s][LIVE];
    for (let k = 0; k < live.length; k += 2) found.push([this.name(first + live[k]), live[k + 1], first + live[k]]);
    return found;
  }

  // The last step up to s, in its thread block, that gave a tile of this name.
  latest(name, s) {
    const first = this.blocks[this.blockOf[s]].first;
    for (let k = s; k >= first; k--) if (this.name(k) === name && this.steps[k][SHAPE]) return k;
    return null;
  }

  running(s) {
    const block = this.blocks[this.blockOf[s]];
    for (let k = s; k >= block.first; k--) if (this.steps[k][RUNNING]) return { row: this.steps[k][RUNNING], final: block.final };
    return block.final ? { row: null, final: block.final } : null;
  }

  describe(s) {
    const step = this.steps[s], data = this.data, block = this.blocks[this.blockOf[s]];
    const where = `${data.kernels[block.kernel]}, thread block ${block.number}`;
    const box = step[BOX];
    const region = box && `${data.arrays[box[0]].name}[${box[1]}:${box[2]}, ${box[3]}:${box[4]}]`;
    const shape = step[SHAPE] ? `${step[SHAPE].join(" × ")} ${step[DTYPE]}` : "";
    const own = step[NAMED] ? `${this.name(s)} = ` : "";
    const verb = data.operations[step[OPERATION]];
    if (step[KIND] === LOAD) return `${where}: ${own}load ${region}, ${bytesText(step[NBYTES])} from HBM`;
    if (step[KIND] === STORE) return `${where}: store ${region}, ${bytesText(step[COUNTS][HBM_WRITE])} to HBM`;
    if (step[KIND] === ATOMIC) return `${where}: add to ${region}, ${bytesText(2 * step[COUNTS][HBM_WRITE])} to and from HBM`;
    return `${where}: ${own}${verb}, ${shape}`;
  }
}

// As simattn writes bytes: powers of 1000, three digits.
function bytesText(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) { n /= 1000; unit++; }
  const digits = unit === 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
  return `${n.toFixed(digits)} ${units[unit]}`;
}
