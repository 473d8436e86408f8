"use strict";
// The matrices on a canvas: at one scale, so that N × N is seen beside N × d.

const GAP = 16, LABEL = 18, THINNEST = 5;

function palette() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "faint", "paper", "load", "store", "visited", "skipped"].map((name) => [
    name, style.getPropertyValue(`--${name}`).trim(),
  ]));
}

// The matrices of a run, and S as it would be, where it is never all there.
function shown(model) {
  return model.scores && !model.matrices.some((m) => m.name === "S") ? [...model.matrices, model.scores] : model.matrices;
}

// Pixels an element, the same for all runs, on canvases of this width: smaller by a third, if that makes one row of each.
function commonScale(models, width) {
  const longest = Math.max(1, ...models.flatMap((model) => shown(model).flatMap((m) => [m.rows, m.columns])));
  const largest = Math.min(200, 0.55 * width) / longest;
  const one = [1, 0.9, 0.8, 0.7].find((part) =>
    models.every((model) => placed(shown(model), width, part * largest).places.every((place) => place.y === LABEL)));
  return (one || 1) * largest;
}

// Where each matrix lies: left to right, and then down.
function placed(matrices, width, scale) {
  let x = 0, y = LABEL, tallest = 0;
  const places = matrices.map((m) => {
    const w = Math.max(THINNEST, m.columns * scale), h = Math.max(THINNEST, m.rows * scale);
    const needed = Math.max(w, 40);
    if (x > 0 && x + needed > width) {
      x = 0;
      y += tallest + GAP + LABEL;
      tallest = 0;
    }
    const place = { x, y, w, h };
    x += needed + GAP;
    tallest = Math.max(tallest, h);
    return place;
  });
  return { places, height: y + tallest + 4 };
}

function boxOn(place, matrix, [r0, r1, c0, c1]) {
  const x = (c) => Math.round(place.x + (c / matrix.columns) * place.w); // whole pixels: no seams
  const y = (r) => Math.round(place.y + (r / matrix.rows) * place.h);
  return [x(c0), y(r0), Math.max(2, x(c1) - x(c0)), Math.max(2, y(r1) - y(r0))];
}

function hatch(context, [x, y, w, h], color, gap) {
  context.save();
  context.beginPath();
  context.rect(x, y, w, h);
  context.clip();
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.beginPath();
  for (let d = -h; d < w; d += gap) {
    context.moveTo(x + d, y + h);
    context.lineTo(x + d + h, y);
  }
  context.stroke();
  context.restore();
}

// What is read is filled; what is written is hatched and has a dashed edge: the two are told apart without colour.
function drawTile(context, box, kind, colors) {
  const color = kind === LOAD || kind === COMPUTE ? colors.load : colors.store;
  context.save();
  if (kind === LOAD || kind === COMPUTE) {
    context.globalAlpha = 0.75;
    context.fillStyle = color;
    context.fillRect(...box);
    context.globalAlpha = 1;
  } else {
    context.fillStyle = colors.paper;
    context.fillRect(...box);
    hatch(context, box, color, 4);
    context.setLineDash([3, 2]);
  }
  context.strokeStyle = color;
  context.lineWidth = 2;
  context.strokeRect(...box);
  context.restore();
}

function drawMatrices(canvas, model, fellows, heat) {
  const matrices = shown(model);
  const width = canvas.parentElement.clientWidth, colors = palette();
  const { places, height } = placed(matrices, width, commonScale(fellows, width)), ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "13px system-ui, sans-serif";
  const most = Math.max(1, ...model.matrices.map((m) => m.marks.most));
  matrices.forEach((matrix, m) => {
    const place = places[m], onChip = matrix === model.scores;
    context.fillStyle = colors.ink;
    const touched = heat && !onChip && matrix.marks.most ? ` ${matrix.marks.most}×` : "";
    context.fillText(onChip ? "S, on chip only" : matrix.name + touched, place.x, place.y - 5);
    matrix.marks.each((n, cells) => {
      const box = boxOn(place, matrix, cells);
      if (n) {
        context.globalAlpha = heat && !onChip ? 0.12 + (0.88 * n) / most : 0.35;
        context.fillStyle = colors.visited;
        context.fillRect(...box);
        context.globalAlpha = 1;
      }
    });
    if (!model.data.note)
      matrix.whole.forEach((n, k) => {
        const r = Math.floor(k / matrix.marks.width), c = k % matrix.marks.width;
        const { rows, columns } = matrix.marks;
        if (!n) hatch(context, boxOn(place, matrix, [rows[r], rows[r + 1], columns[c], columns[c + 1]]), colors.skipped, 6);
      });
    context.strokeStyle = colors.faint;
    context.lineWidth = 1;
    context.setLineDash(onChip ? [4, 3] : []);
    context.strokeRect(place.x, place.y, place.w, place.h);
    context.setLineDash([]);
  });
  for (const s of model.current) {
    const step = model.steps[s];
    if (step[BOX]) {
      const m = step[BOX][0];
      drawTile(context, boxOn(places[m], matrices[m], step[BOX].slice(1)), step[KIND], colors);
    }
    if (step[CELL] && matrices.includes(model.scores)) drawTile(context, boxOn(places.at(-1), model.scores, step[CELL]), COMPUTE, colors);
  }
}

// The memory chart: HBM, L2 where the machine has one, SRAM (registers and shared memory), arithmetic; arrows as wide as the bytes.
function drawChart(svg, model, scale) {
  const { machine } = model.data, totals = model.totals;
  const boxes = [["HBM", machine.hbm ? bytesText(machine.hbm) : "no limit"]];
  if (machine.l2) boxes.push(["L2", "not counted yet"]);
  boxes.push(["SRAM", "and registers"], ["compute", flopText(totals[MATMUL])]);
  const last = boxes.length - 1, step = 480 / boxes.length, wide = step - 44;
  const parts = [];
  boxes.forEach(([name, below], k) => {
    const x = k * step + 2;
    parts.push(["rect", { x, y: 22, width: wide, height: 56, rx: 4, class: name === "L2" ? "level idle" : "level" }]);
    parts.push(["text", { x: x + wide / 2, y: 55, class: "level-name" }, name], ["text", { x: x + wide / 2, y: 94, class: "small" }, below]);
  });
  const arrow = (k, y, bytes, right, label) => {
    const from = k * step + wide + 4, to = (k + 1) * step - 0, width = bytes ? 1.5 + 8 * Math.min(1, bytes / scale) : 0.5;
    const [x1, x2] = right ? [from, to] : [to, from];
    parts.push(["line", { x1, y1: y, x2, y2: y, "stroke-width": width, class: right ? "read" : "write" }]);
    parts.push(["text", { x: (from + to) / 2, y: y === 40 ? 14 : 112, class: "small" }, label]);
  };
  for (let k = 0; k < last; k++) {
    const inner = k === last - 1;
    const [read, written] = inner ? [totals[SRAM_READ], totals[SRAM_WRITE]] : [totals[HBM_READ], totals[HBM_WRITE]];
    const first = inner || k === 0;
    arrow(k, 40, read, true, first ? `${bytesText(read)} →` : "");
    arrow(k, 62, written, false, first ? `← ${bytesText(written)}` : "");
  }
  svg.replaceChildren(...parts.map(([tag, attributes, text]) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text) element.textContent = text;
    return element;
  }));
}

function flopText(n) {
  return bytesText(n).replace("B", "FLOP");
}
