// Marks on letters and glyphs, added to a line that is drawn, as handwriting/text/marks.py does it;
// reasons, names and units are there.
"use strict";

if (typeof require !== "undefined") Object.assign(globalThis, require("./glyphs.js"));

const LEAD = 0.07, FLAT = 0.35, LETTER_GAP = 0.22, SPACE = 1.1;

/** At which place of its text the pen is at a point, from where the window looks there. */
const penPlace = (phi) =>
  phi.reduce((all, value, u) => all + value * (u + 0.5), 0) / Math.max(sum([...phi]), 1e-9) - LEAD;

/** Points with the pen lifted where a glyph comes between words that a stroke joins. */
function cutJoined({text, points, windows}, {glyphs}) {
  const numbers = numberStrokes(text, toStrokes(points), windows);
  const cut = points.map((at) => [...at]);
  const spaces = [...text].flatMap((c, k) => c === " " ? [k] : []);
  for (const [words] of glyphs) {
    const isBetween = words > 0 && words < numbers.length;
    if (!isBetween || (numbers[words - 1].length && numbers[words].length)) continue;
    const later = windows.findIndex((phi) => penPlace(phi) >= spaces[words - 1] + 0.5);
    if (later > 0) cut[later - 1][2] = 1;
  }
  return cut;
}

/** The words of a line as drawn: {strokes: number -> upright points, low, first, last}; and its
 * frame. */
function readLine({text, points, windows}, random) {
  const strokes = toStrokes(points), {size, words} = findWords(text, strokes, windows);
  const moves = strokes.flatMap((stroke) =>
    stroke.slice(1).map(([x, y], k) => [x - stroke[k][0], y - stroke[k][1]]));
  const down = moves.filter(([dx, dy]) => dy > 0 && Math.abs(dx) < dy);
  const [dx, dy] = [0, 1].map((axis) => sum(down.map((move) => move[axis])));
  const frame = {size, lean: clip(-dx / Math.max(dy, 1), -0.3, 0.8), random};
  const highs = words.filter(({text, numbers}) => numbers.length && /[\p{Lu}\dbdfhkl]/u.test(text))
    .map(({numbers, low}) => low - bounds(numbers.map((k) => strokes[k]))[1]);
  frame.tall = highs.length ? clip(median(highs), 1.5 * size, 2.6 * size) : 1.9 * size;
  let end = 0;
  return {frame, words: words.map(({text: word, numbers, low}) => {
    const first = text.indexOf(word, end);
    end = first + word.length;
    const lift = ([x, y]) => [x - frame.lean * (low - y), low - y];
    const upright = new Map(numbers.map((k) => [k, strokes[k].map(lift)]));
    return {strokes: upright, low, first, last: end - 1};
  })};
}

const settle = (points, low, {lean}, shift = 0) =>
  points.map(([x, high]) => [x + lean * high + shift, low - high]);

/** The strokes of the marks on the letter at place u; a dot that they replace is taken from the
 * word. at: for each stroke of the line the places where the pen was. */
function markLetter(word, u, letter, names, at, frame) {
  const size = (stroke, axis) => bounds([stroke])[axis + 2] - bounds([stroke])[axis];
  const all = [...word.strokes], flat = all.filter(([, p]) => size(p, 1) < FLAT * frame.size);
  const full = all.filter((each) => !flat.includes(each)), chosen = full.length ? full : all;
  const starts = chosen.map((_, k) => sum(chosen.slice(0, k).map(([, p]) => p.length)));
  const points = chosen.flatMap(([, p]) => p), when = chosen.flatMap(([k]) => at[k]);
  const body = findBody(points, when, starts, [word.first, word.last], u);
  let dot = null;
  if ("ij".includes(letter) && names.some((name) => TABLES.marks[name].y === "above")) {
    const found = findDot(body, flat.filter(([, p]) => size(p, 0) < 0.6 * frame.size), frame);
    if (found !== undefined) {
      dot = sum(word.strokes.get(found).map(([x]) => x)) / word.strokes.get(found).length;
      word.strokes.delete(found);
    }
  }
  return drawMarks(names, body, letter, frame, dot);
}

/** How far to the right each word moves, and the glyphs' strokes with their places in the text:
 * number of words before them -> list of [points, place]. */
function setGlyphs({glyphs}, words, frame) {
  let right = 0;
  const edges = words.map(({strokes}) => {
    const x = [...strokes.values()].flat().map((at) => at[0]);
    const edge = x.length ? [Math.min(...x), Math.max(...x)] : [right, right];
    right = edge[1];
    return edge;
  });
  const parted = new Set(glyphs.map(([count]) => count));
  const gaps = edges.flatMap(([left], k) => k && !parted.has(k) ? [left - edges[k - 1][1]] : []);
  const gap = LETTER_GAP * frame.size, usual = SPACE * frame.size;
  const space = gaps.length ? clip(median(gaps), 0.7 * usual, 1.5 * usual) : usual;
  const shifts = words.map(() => 0), placed = new Map();
  for (const [count, items] of glyphs) {
    let x = count ? edges[count - 1][1] + shifts[count - 1] : edges[0]?.[0] ?? 0, free = !count;
    for (const [place, item] of items) {
      if (!GLYPHS[item]) {
        x += space;
        free = true;
        continue;
      }
      x += free ? 0 : gap;
      const {drawn, width} = drawGlyph(GLYPHS[item], x, frame);
      placed.set(count, [...placed.get(count) ?? [], ...drawn.map((points) => [points, place])]);
      x += width;
      free = false;
    }
    if (count < words.length) shifts.fill(x + (free ? 0 : gap) - edges[count][0], count);
  }
  return {shifts, placed};
}

/** The line of a text from that of spelling.base as drawn, level, {text, points, windows}: the same
 * with marks and glyphs, and source: of each point its number in the line, or null. random: () ->
 * a number from 0 to 1. */
function addMarks(line, text, spelling, random) {
  const level = {...line, points: cutJoined(line, spelling)};
  const {frame, words} = readLine(level, random), marks = words.map(() => []);
  const strokes = toStrokes(level.points);
  let count = 0;
  const rows = strokes.map((stroke) => stroke.map(() => count++));
  const at = rows.map((numbers) => numbers.map((k) => penPlace(line.windows[k])));
  for (const [place, names] of spelling.marks) {
    const u = spelling.places[place], w = words.findIndex(({last}) => u <= last);
    const numbers = [...words[w].strokes.keys()];
    if (!numbers.length || Math.max(...numbers.flatMap((k) => at[k])) <= u - 0.5) continue;
    const drawn = markLetter(words[w], u, line.text[u], names, at, frame);
    marks[w].push(...drawn.map((points) => [points, place]));
  }
  const kept = spelling.base ? words : [], {shifts, placed} = setGlyphs(spelling, kept, frame);
  const written = [];
  let last = -1;
  for (let w = 0; w <= kept.length; w++) {
    const near = kept.slice(Math.max(w - 2, 0), w + 1), low = median((near.length ? near : words
      .slice(0, 1)).map((word) => word.low));
    for (const [points, place] of placed.get(w) ?? []) {
      written.push({order: [last, 2], points: settle(points, low, frame), place});
    }
    if (w === kept.length) break;
    const {strokes, low: own} = kept[w];
    last = Math.max(last, ...strokes.keys());
    for (const [k, points] of strokes) {
      written.push({order: [k, 0], points: settle(points, own, frame, shifts[w]), rows: rows[k]});
    }
    for (const [points, place] of marks[w]) {
      written.push({order: [last, 1], points: settle(points, own, frame, shifts[w]), place});
    }
  }
  written.sort((a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1]);
  return rebuild(line, text, spelling, written);
}

/** The line of a text that consists of these strokes, in the order of writing. */
function rebuild(line, text, {places}, written) {
  const points = [], windows = [], source = [];
  let x0 = 0, y0 = 0;
  for (const {points: stroke, rows, place} of written) {
    stroke.forEach(([x, y], k) => {
      points.push([x - x0, y - y0, Number(k === stroke.length - 1)]);
      [x0, y0] = [x, y];
      const phi = rows && line.windows[rows[k]];
      windows.push(Float32Array.from(places, (u, n) => rows ? phi[u] ?? 0 : Number(n === place)));
      source.push(rows ? rows[k] : null);
    });
  }
  return {text, points, windows, source};
}

/** How far the density of a line's point k was moved since it was drawn, [dx, dy] in pen units. */
const moveOf = ({moves}, k) => moves?.[k] ?? [0, 0];

/** A drawn line {text, points, zHats, windows} with its marks. Its points are not level, and moves
 * tells how far their densities move with them; those of added points lie around them. */
function markLine(line, text, spelling, random, dataScale) {
  const {slope} = baseline(line.points), flat = {...line, points: level(line.points)};
  const marked = addMarks(flat, text, spelling, random), M = (line.zHats[0].length - 1) / 6;
  const points = marked.points.map(([dx, dy, eos]) => [dx, dy + slope * dx, eos]);
  const zHats = points.map(([, , eos], n) => {
    const k = marked.source[n];
    if (k !== null) return line.zHats[k];
    const zHat = new Float32Array(1 + 6 * M).fill(eos ? -5 : 5, 0, 1);  // narrow, around the point
    return zHat.fill(-10, 1, 1 + M).fill(10, 1, 2).fill(-Math.log(dataScale), 1 + 3 * M, 1 + 5 * M);
  });
  const moves = points.map(([dx, dy], n) => {
    const k = marked.source[n];
    if (k === null) return [dx, dy];
    const [x, y] = moveOf(line, k), own = line.points[k];
    return [x + dx - own[0], y + dy - own[1]];
  });
  return {...line, text, points, zHats, moves, windows: marked.windows};
}

if (typeof module !== "undefined") {
  module.exports = {addMarks, moveOf, markLine};
}
