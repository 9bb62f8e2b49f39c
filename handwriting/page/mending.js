// Words that are misread, set in from other drawings, as handwriting/text/choosing.py does it;
// reasons and names are there. A line is {text, points, zHats, windows, problem, reading}.
"use strict";

if (typeof require !== "undefined") {
  Object.assign(globalThis, require("./accents.js"), require("./reading.js"));
}

/** The height of the baseline at a word, from those of the words around it. */
function baselineAround(guides, word) {
  const lows = guides.map(([low]) => low);
  const around = [...lows.slice(Math.max(word - 2, 0), word), ...lows.slice(word + 1, word + 3)];
  return median(around.length ? around : lows);
}

/** Where the words of a text begin. */
const wordStarts = (text) => [...text.matchAll(/\S+/g)].map(({index}) => index);

/** The line with its word of this number as in another drawing, where it is the word number
 * `place`, as high above the words around it; what follows makes room. null where a stroke joins
 * the word to others. */
function splice(line, other, word, place) {
  const both = [[line, word], [other, place]].map(([drawing, at]) => {
    const strokes = toStrokes(level(drawing.points)), {text, windows} = drawing;
    const numbers = numberStrokes(text, strokes, windows);
    const near = numbers.slice(Math.max(at - 1, 0), at + 2), chosen = numbers[at];
    return {drawing, strokes, numbers, chosen, apart: near.every((own) => own.length),
      run: numbers.slice(0, at).filter((own) => own.length).length,
      start: wordStarts(text)[at]};
  });
  if (!both.every(({apart}) => apart)) return null;
  const {guides} = findGuides(both.map(({drawing: {text, windows}, strokes}) =>
    splitWords(text, strokes, windows)));
  const [old, fresh] = both.map(({strokes, chosen, run}, n) => {
    const [left, , right] = bounds(chosen.map((k) => strokes[k]));
    return {left, width: right - left, low: baselineAround(guides[n], run)};
  });
  const [{strokes, numbers, chosen, start}, from] = both;
  const after = new Set(numbers.slice(word + 1).flat()), wider = fresh.width - old.width;
  const kept = strokes.map((_, k) => ({source: both[0], k, move: [after.has(k) ? wider : 0, 0]}));
  const set = from.chosen.map((k) =>
    ({source: from, k, move: [old.left - fresh.left, old.low - fresh.low]}));
  const order = [...kept.slice(0, chosen[0]), ...set,
    ...kept.slice(chosen[0]).filter(({k}) => !chosen.includes(k))];
  const {slope} = baseline(line.points);
  const mended = {...line, points: [], zHats: [], moves: [], windows: []};
  let x0 = 0, y0 = 0;
  for (const {source: {drawing, strokes: all, start: begin}, k, move} of order) {
    let row = sum(all.slice(0, k).map((stroke) => stroke.length));
    for (const at of all[k]) {
      const [x, y] = [at[0] + move[0], at[1] + move[1]], own = drawing.points[row];
      const point = [x - x0, y - y0 + slope * (x - x0), own[2]];
      mended.points.push(point);
      const [mx, my] = moveOf(drawing, row);
      mended.zHats.push(drawing.zHats[row]);
      mended.moves.push([mx + point[0] - own[0], my + point[1] - own[1]]);
      const phi = drawing.windows[row++];
      mended.windows.push(Float32Array.from(line.text, (_, u) => phi[u + begin - start] ?? 0));
      [x0, y0] = [x, y];
    }
  }
  mended.problem = findProblem(mended);
  return mended;
}

/** The line, with its word of this number from the best of other drawings, of which it is the word
 * number `place`, that has it right, if there is one. */
function setIn(line, word, others, place) {
  const best = [...others].sort((a, b) => isBetter(b, a) - isBetter(a, b));
  for (const other of best.filter(({reading}) => !reading.misread.includes(place))) {
    const mended = splice(line, other, word, place);
    if (mended) return mended;
  }
  return line;
}

/** Of a line and what it was mended to the one that is read better. */
function better(reader, line, mended) {
  if (mended === line) return line;
  mended.reading = readBack(reader, mended);
  return isBetter(mended, line) ? mended : line;
}

/** The line, with each word that is misread from the best of other drawings in the same hand that
 * has it right, where the line is read better then. */
function mend(reader, line, others) {
  return better(reader, line, line.reading.misread.reduce((mended, word) =>
    setIn(mended, word, others, word), line));
}

if (typeof module !== "undefined") {
  module.exports = {splice, setIn, better, mend};
}
