// What do drawn strokes say? The reader of handwriting/text/reader.py, and how choosing.py uses it,
// for browsers and Node; reasons and names are there. Points [dx, dy, eos] in pen units. N frames,
// V symbols: none, then the alphabet.
"use strict";

if (typeof require !== "undefined") {
  Object.assign(globalThis, require("./product.js"), require("./engine.js"), require("./spell.js"),
    require("./placing.js"));
}

const APART = 0.2, SHORTEST = 6, JUMP = 2, FRAME = 4;  // heights; steps; steps; points
const HEIGHT = 105, WRITTEN = 2000;  // pen units
const CELL = 0.4, COLUMNS = 9, ROWS_SEEN = 15, DARK = 0.5;  // of the picture around a frame
const FARTHEST = 4;  // heights
const DILATIONS = [1, 1, 2, 2, 4, 4];  // of the blocks
const LOOK_ALIKES = ["0Oo", "1Il|", "Cc", "Kk", "Pp", "Ss", "Uu", "Vv", "Ww", "Xx", "Yy", "Zz",
  "'`"];
const DOUBT = 2;  // nats

const deviationOf = (values) => {
  const mean = sum(values) / values.length;
  return Math.sqrt(sum(values.map((v) => (v - mean) ** 2)) / values.length);
};

// ---------------------------------------------------------------------------------- features

/** Points along strokes, about `step` apart: [x, y, whether the pen was up on the way there]. */
function resample(points, step) {
  const knots = [];  // [time, x, y, up]
  let now = -JUMP;
  for (const stroke of toStrokes(points)) {
    const path = [...stroke, stroke.at(-1)];  // so that a dot is a move, too
    const ink = path.map(([x, y], k) => k && Math.hypot(x - path[k - 1][0], y - path[k - 1][1]) +
      1e-6);
    const length = sum(ink), steps = Math.max(Math.round(length / step), SHORTEST);
    path.forEach(([x, y], k) => {
      now += k ? ink[k] * steps / length : JUMP;
      knots.push([now, x, y, k === 0]);
    });
  }
  let k = 0;
  return Array.from({length: Math.round(now) + 1}, (_, place) => {
    while (knots[k][0] < Math.min(place, now) - 1e-6) k++;
    const [end, x, y, up] = knots[k], [start, x0, y0] = knots[Math.max(k - 1, 0)];
    const share = end > start ? clip((place - start) / (end - start), 0, 1) : 1;
    return [x0 + share * (x - x0), y0 + share * (y - y0), Number(up)];
  });
}

/** The frames of a line: N arrays of what each shows. */
function features(points) {
  const {slope: steep} = baseline(points);
  const rough = Math.max(deviationOf(positions(points).map(([x, y]) => y - steep * x)), HEIGHT / 5);
  const rows = resample(points, APART * rough);
  const moves = rows.map(([x, y], k) => k ? [x - rows[k - 1][0], y - rows[k - 1][1]] : [x, y]);
  const {slope, height: middle} = baseline(moves), y = rows.map(([x, y]) => y - slope * x - middle);
  const ink = rows.length * APART * rough;
  const height = Math.sqrt((ink * deviationOf(y) ** 2 + WRITTEN * HEIGHT ** 2) / (ink + WRITTEN));
  let right = -Infinity;
  const seen = rows.map(([x, , up], k) => {
    const [dx, dy] = k ? [x - rows[k - 1][0], y[k] - y[k - 1]].map((d) => d / height) : [0, 0];
    const length = Math.hypot(dx, dy) / APART + 1e-6, shorter = Math.log1p(length) / length / APART;
    const [mx, my] = [dx * shorter, dy * shorter];
    right = Math.max(right, x / height);
    const back = Math.min(right - x / height, FARTHEST);
    return [mx * (1 - up), my * (1 - up), up, mx * up, my * up, y[k] / height, back];
  });
  const show = pictures(rows.map(([x, , up], k) => [x / height, y[k] / height, up]));
  return Array.from({length: Math.ceil(seen.length / FRAME)}, (_, n) => {
    const own = Array.from({length: FRAME}, (_, k) => seen[n * FRAME + k] ?? Array(7).fill(0));
    return [...own.flat(), ...show(Math.min(n * FRAME + FRAME / 2, rows.length - 1))];
  });
}

/** A function: the number of a point -> what is written around it, a row of cells after the
 * other. points: x and y in heights, y from the line's middle, and whether the pen was up. */
function pictures(points) {
  const left = Math.min(...points.map(([x]) => x)), paper = new Map();
  const column = points.map(([x]) => Math.floor((x - left) / CELL));
  points.forEach(([, y, up], k) => {
    const row = clip(Math.floor(y / CELL + ROWS_SEEN / 2), 0, ROWS_SEEN - 1);
    const cell = column[k] * ROWS_SEEN + row;
    if (!up) paper.set(cell, (paper.get(cell) ?? 0) + DARK);
  });
  return (k) => Array.from({length: ROWS_SEEN * COLUMNS}, (_, cell) => {
    const near = column[k] + cell % COLUMNS - Math.floor(COLUMNS / 2);
    return Math.min(paper.get(near * ROWS_SEEN + Math.floor(cell / COLUMNS)) ?? 0, 1);
  });
}

// ----------------------------------------------------------------------------------- network

/** Channels with mean 0 and variance 1. */
function normalChannels(x) {
  const mean = sum(x) / x.length;
  const scale = 1 / Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / x.length + 1e-3);
  return x.map((v) => (v - mean) * scale);
}

class Reader {
  /** A reader from what readTensors returns. */
  constructor({tensors, config: {alphabet}}) {
    this.alphabet = alphabet;
    this.convolutions = {};
    for (const [name, {shape: [count, inputs, outputs], values}] of Object.entries(tensors)) {
      if (!name.endsWith(".kernel")) continue;
      const layer = name.replace(".kernel", ""), {values: bias} = tensors[`${layer}.bias`];
      const dense = new Dense([{shape: [count * inputs, outputs], values}], bias);
      this.convolutions[layer] = {count, dense, nothing: new Float32Array(inputs)};
    }
  }

  convolve(x, layer, dilation = 1) {
    const {count, dense, nothing} = this.convolutions[layer];
    const offsets = Array.from({length: count}, (_, k) => (k - (count - 1) / 2) * dilation);
    return x.map((_, n) => dense.apply(...offsets.map((offset) => x[n + offset] ?? nothing)));
  }

  /** The logarithms of the symbols' probabilities [N][V] in a line. */
  look(points) {
    let x = this.convolve(features(points), "input");
    DILATIONS.forEach((dilation, k) => {
      let y = this.convolve(x.map(normalChannels), `blocks.${k}.look`, dilation);
      y = this.convolve(y.map((frame) => frame.map((v) => Math.max(v, 0))), `blocks.${k}.output`);
      x = x.map((frame, n) => frame.map((v, c) => v + y[n][c]));
    });
    return this.convolve(x.map(normalChannels), "output").map((logits) => {
      const most = Math.max(...logits), all = Math.log(sum(logits.map((v) => Math.exp(v - most))));
      return logits.map((v) => v - most - all);
    });
  }

  /** What is read: of each frame the likeliest symbol, repeats once. */
  text(logits) {
    const symbols = logits.map((frame) => frame.indexOf(Math.max(...frame)));
    return symbols.filter((symbol, n) => symbol !== symbols[n - 1])
      .map((symbol) => ["", ...this.alphabet][symbol]).join("");
  }

  /** How likely a line says a text, in nats: the sum over all ways to read it so (CTC). */
  logProbability(logits, text) {
    const known = [...text].map((c) => [...this.alphabet].indexOf(c) + 1).filter(Boolean);
    const symbols = [0, ...known.flatMap((symbol) => [symbol, 0])];
    let likely = symbols.map((_, k) => k ? -Infinity : 0);  // before the first frame: none
    for (const frame of logits) {
      likely = symbols.map((symbol, k) => {
        const ways = [likely[k], likely[k - 1] ?? -Infinity];
        if (symbol && symbol !== symbols[k - 2]) ways.push(likely[k - 2] ?? -Infinity);
        return logSum(ways) + frame[symbol];
      });
    }
    return logSum(likely.slice(-2));
  }
}

function logSum(values) {
  const most = Math.max(...values);
  return most === -Infinity ? most : most + Math.log(sum(values.map((v) => Math.exp(v - most))));
}

// ---------------------------------------------------------------------------------- choosing

/** A text with one character for all that look like it. */
const shapes = (text) => [...text].map((c) => LOOK_ALIKES.find((s) => s.includes(c))?.[0] ?? c);

/** All edit distances between the beginnings of a and b. */
function distances(a, b) {
  const table = [Array.from({length: b.length + 1}, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const above = table[i - 1], here = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = above[j - 1] + Number(a[i - 1] !== b[j - 1]);
      here.push(Math.min(changed, above[j] + 1, here[j - 1] + 1));
    }
    table.push(here);
  }
  return table;
}

/** For each character read its place in the text, or null; as `align` of edits.py. */
function align(read, text) {
  const table = distances(read, text), places = Array(read.length).fill(null);
  let i = read.length, j = text.length;
  while (i && j) {
    if (table[i][j] === table[i - 1][j - 1] + Number(read[i - 1] !== text[j - 1])) {
      places[--i] = --j;
    } else if (table[i][j] === table[i - 1][j] + 1) i--;
    else j--;
  }
  return places;
}

/** For each word of a text what was read in its place, without spaces. */
function wordsRead(read, text) {
  const words = wordsOf(text), parts = words.map(() => "");
  const number = words.flatMap((word, k) => Array([...word].length + 1).fill(k));
  const places = align(shapes(read), shapes(words.join(" ")));
  let word = 0;
  [...read].forEach((c, k) => {
    word = places[k] === null ? word : number[places[k]];
    parts[word] += c.trim();
  });
  return parts;
}

/** How a drawn line is read back: the numbers of its words that are misread, the wrong characters
 * in them, and how likely its text is, in nats a character. */
function readBack(reader, {points, text}) {
  const logits = reader.look(points), words = wordsOf(text);
  const parts = wordsRead(reader.text(logits), text);
  const likely = (said) => reader.logProbability(logits, said.join(" "));
  const same = (a, b) => shapes(a).join("") === shapes(b).join("");
  const misread = [...words.keys()].filter((k) => !same(parts[k], words[k]) &&
    [...words[k]].every((c) => reader.alphabet.includes(c)) &&
    likely(parts) - likely(parts.map((part, n) => n === k ? words[k] : part)) > DOUBT);
  const wrong = sum(misread.map((k) => distances([...parts[k]], [...words[k]]).at(-1).at(-1)));
  return {misread, wrong, likely: reader.logProbability(logits, text) / text.length};
}

/** Whether a drawing is better than another of its text, as `rank` has it. */
function isBetter(a, b) {
  const keys = [a, b].map(({problem, reading, points}) =>
    [Number(problem !== ""), reading.wrong, -reading.likely.toFixed(2), points.length]);
  const first = keys[0].findIndex((value, k) => value !== keys[1][k]);
  return first >= 0 && keys[0][first] < keys[1][first];
}

if (typeof module !== "undefined") {
  module.exports = {Reader, features, wordsRead, readBack, isBetter};
}
