// The shapes of marks and glyphs, and where a drawn letter carries a mark, as
// handwriting/text/letters.py has them; reasons, names and units are there. Upright positions are
// [x, height].
"use strict";

if (typeof require !== "undefined") Object.assign(globalThis, require("./placing.js"));

const SNAP = [0.4, 0.65], ABOVE = 0.24, STACKED = 0.85;
const BESIDE_HAT = {acute: 0.42, grave: -0.42, hook: 0.42};
const STEP = 18, EASE = 0.7, SHIFT = 0.04, GROWTH = 0.08, SHAKE = 0.025;
const SMALL = new Set("acegijmnopqrsuvwxyz"), DESCENDING = new Set("gjpqy");

/** The q-th percentile of numbers, as NumPy has it. */
function percentile(values, q) {
  const sorted = [...values].sort((a, b) => a - b), at = q / 100 * (sorted.length - 1);
  const low = Math.floor(at), high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

const wobble = ({random}, amount) => amount * (2 * random() - 1);

/** Points of the pen on its way through corners [x, y]. */
function penPath(corners) {
  const ends = [corners[0], ...corners, corners.at(-1)], path = [corners[0]];
  for (let k = 1; k + 2 < ends.length; k++) {
    for (let t = 0.125; t <= 1; t += 0.125) {
      path.push([0, 1].map((axis) => {
        const [a, b, c, d] = ends.slice(k - 1, k + 3).map((at) => at[axis]);
        const square = a - 2.5 * b + 2 * c - d / 2, cube = 1.5 * (b - c) + (d - a) / 2;
        return b + t * (c - a) / 2 + t ** 2 * square + t ** 3 * cube;
      }));
    }
  }
  const way = [0];
  for (let k = 1; k < path.length; k++) {
    way.push(way[k - 1] + Math.hypot(path[k][0] - path[k - 1][0], path[k][1] - path[k - 1][1]));
  }
  const total = way.at(-1), count = Math.max(6, Math.floor(total / STEP) + 3);
  return Array.from({length: count}, (_, n) => {
    const share = n / (count - 1);
    const at = (share - EASE * Math.sin(2 * Math.PI * share) / (2 * Math.PI)) * total;
    let k = 1;
    while (k < way.length - 1 && way[k] < at) k++;
    const part = way[k] > way[k - 1] ? clip((at - way[k - 1]) / (way[k] - way[k - 1]), 0, 1) : 0;
    return [0, 1].map((axis) => path[k - 1][axis] + part * (path[k][axis] - path[k - 1][axis]));
  });
}

/** The strokes of a shape at its origin, a little different each time. */
function drawShape(strokes, origin, scale, frame) {
  const from = origin.map((at) => at + wobble(frame, SHIFT * frame.size));
  const growth = 1 + wobble(frame, GROWTH);
  const shaken = strokes.map((stroke) =>
    stroke.map((at) => at.map((v) => v + wobble(frame, SHAKE))));
  return shaken.map((stroke) => penPath(stroke.map((at) =>
    at.map((v, axis) => from[axis] + growth * scale[axis] * v))));
}

/** The strokes of a glyph that begins at x, and its width. */
function drawGlyph({width, strokes}, x, frame) {
  const {size} = frame, tall = frame.tall / size;
  const high = strokes.map((stroke) =>
    stroke.map(([right, y]) => [right, y <= 1 ? y : 1 + (y - 1) * (tall - 1)]));
  return {drawn: drawShape(high, [x, 0], [size, size], frame), width: width * size};
}

/** The points of a word's that are those of the letter at place u of the text. */
function findBody(points, when, starts, [first, last], u) {
  const begins = new Map([[first, 0], [last + 1, points.length]]);
  const away = (k, place) => Math.abs(when[k] - place);
  for (const reach of SNAP) {
    for (let place = first + 1; place <= last; place++) {
      const taken = new Set(begins.values()), free = starts.filter((k) => !taken.has(k));
      if (begins.has(place) || !free.length) continue;
      const near = free.reduce((a, b) => away(b, place) < away(a, place) ? b : a);
      if (away(near, place) < reach) begins.set(place, near);
    }
  }
  for (const place of [u, u + 1]) {
    const later = when.findIndex((at) => at >= place);
    if (!begins.has(place)) begins.set(place, later < 0 ? when.length : later);
  }
  const body = points.slice(begins.get(u), begins.get(u + 1));
  if (body.length > 2) return body;
  const near = points.map((_, k) => k).sort((a, b) => away(a, u + 0.5) - away(b, u + 0.5));
  return near.slice(0, 8).map((k) => points[k]);
}

/** Where a mark stands on a letter's body: its origin and pen units of its units. */
function anchor(body, letter, mark, {size, tall}) {
  const isSmall = SMALL.has(letter), highs = body.map(([, high]) => high);
  const most = Math.max(...highs), least = Math.min(...highs);
  const top = isSmall ? clip(most, 0.8 * size, 1.35 * size) : clip(most, 1.15 * size, 1.25 * tall);
  const side = (q, isAmong) => {
    const among = body.filter(([, high]) => isAmong(high));
    return percentile((among.length ? among : body).map(([x]) => x), q);
  };
  const isTrunk = (high) => !isSmall || (high > -0.2 * size && high < 1.35 * size);
  const left = side(10, isTrunk), right = side(90, isTrunk);
  const x = {
    middle: () => (left + right) / 2, left: () => left, box: () => left,
    "right foot": () => side(85, (high) => high < 0.4 * size),
    "right arm": () => side(85, (high) => high > 0.5 * top),
    "right top": () => side(100, (high) => high > 0.6 * top),
    stem: () => body[highs.indexOf(most)][0],
  }[mark.x]();
  const foot = DESCENDING.has(letter) ? Math.min(least, 0) : 0;
  const y = {above: top + ABOVE * size, below: foot, top, box: 0}[mark.y] ?? mark.y * top;
  return {x, y, scale: [mark.x === "box" ? right - left : size, mark.y === "box" ? top : size]};
}

/** The strokes of the marks of these names on a letter; dot: x where its dot was, or null. */
function drawMarks(names, body, letter, frame, dot) {
  const marks = names.map((name) => TABLES.marks[name]), drawn = [];
  const stacked = marks.filter(({y}) => y === "above").length > 1 ? STACKED : 1;
  let rise = 0, below = "";
  marks.forEach((mark, k) => {
    let {x, y, scale} = anchor(body, letter, mark, frame);
    if (mark.y === "above") {
      scale = [stacked * frame.size, stacked * frame.size];
      x = dot ?? x;
      const beside = below === "circumflex" && BESIDE_HAT[names[k]];
      if (beside) [x, y] = [x + beside * frame.size, y + 0.16 * frame.size];
      else y += rise;
      const tops = mark.strokes.flat().map((corner) => corner[1]);
      rise += ((tops.length ? Math.max(...tops) : -0.1) + 0.1) * scale[1];
      below = names[k];
    }
    drawn.push(...drawShape(mark.strokes, [x, y], scale, frame));
  });
  return drawn;
}

/** The number of the stroke that is the dot of an i or j, or undefined. */
function findDot(body, dots, {size}) {
  const trunk = body.filter(([, high]) => high > -0.2 * size && high < 1.35 * size);
  const x = median((trunk.length ? trunk : body).map((at) => at[0]));
  const away = dots.filter(([, dot]) => Math.min(...dot.map((at) => at[1])) > 0.75 * size)
    .map(([k, dot]) => [k, Math.abs(sum(dot.map((at) => at[0])) / dot.length - x)]);
  const [near] = away.sort((a, b) => a[1] - b[1]);
  return near?.[1] < 0.9 * size ? near[0] : undefined;
}

if (typeof module !== "undefined") {
  module.exports = {drawGlyph, drawMarks, findBody, findDot};
}
