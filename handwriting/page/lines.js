// Drawing the lines of a text in one hand, as `write_lines` of handwriting/text/writing.py: each
// the best of several drawings, with its marks. A generator here yields null where there is nothing to
// be seen yet.
"use strict";

if (typeof require !== "undefined") {
  Object.assign(globalThis, require("./drawing.js"), require("./accents.js"));
}

const CANDIDATES = 3, TRIES = 4;  // drawings of a line; so often, until one is good
const STAND_IN = [..."the"];  // tells how large a hand writes
const STYLE_LENGTH = 25;  // characters of the first lines that show a hand to the next ones

/** Draw side by side, a point of each in turn: returns the first drawing that ends without a
 * problem, which has the fewest points; if all have one, the first that ends. */
function* drawRace(drawings) {
  let running = drawings, first;
  while (running.length) {
    const left = [];
    for (const drawing of running) {
      const {value: line, done} = drawing.next();
      yield null;
      if (!done) left.push(drawing);
      else {
        line.problem = findProblem(line);
        if (!line.problem) return line;
        first ??= line;
      }
    }
    running = left;
  }
  return first;
}

/** The drawing of fewest points, of those with no problem, if there are: hesitant ones are hard to
 * read. Each has noise of its own, so that it does not depend on the others. */
function* bestLine(model, noise, text, bias, style) {
  const begun = yield* beginLine(model, text, style);
  let best;
  for (let tries = 0; tries < TRIES && (!best || best.problem); tries++) {
    const draw = () => drawBegun(model, new Noise(2 ** 32 * noise.uniform()), text, bias, begun);
    best = yield* drawRace(Array.from({length: CANDIDATES}, draw));
  }
  return best;
}

/** A style {strokes (pen units), text} and a line behind it as one, as `join_lines` of text.py: a
 * character's width to the right of it, on the same baseline. */
function joinLine(style, {points, text}) {
  const measure = (line, {length}) => {
    const still = [[0, 0, 0], ...line.slice(1)], pen = positions(still), x = pen.map((at) => at[0]);
    const left = Math.min(...x), right = Math.max(...x), {slope, height} = baseline(still);
    return {left, right, end: pen.at(-1), width: (right - left) / length,
      foot: (at) => height + slope * at};
  };
  const before = measure(style.strokes, style.text), after = measure(points, text);
  const x = before.right + (before.width + after.width) / 2 - after.left - before.end[0];
  const y = before.foot(before.right) - after.foot(after.left) - before.end[1];
  const strokes = [...style.strokes, [x, y, points[0][2]], ...points.slice(1)];
  return {strokes, text: `${style.text} ${text}`};
}

/** The best drawing of a text, with its marks. */
function* spelledLine(model, noise, text, bias, style) {
  const {alphabet, dataScale} = model, spelling = split(text, alphabet);
  const hand = style && {...style, text: split(plain(style.text, alphabet), alphabet).base};
  const base = spelling.base || STAND_IN.filter((c) => alphabet.includes(c)).join("") ||
    alphabet.trim()[0];  // a text of glyphs alone
  const line = yield* bestLine(model, noise, base, bias, hand);
  if (base === text) return line;
  return markLine(line, text, spelling, () => noise.uniform(), dataScale);
}

/** Draw texts, all in one hand: yields null, or a line {number, text, points, placed, ...} that is
 * whole. A hand at random is that of the first lines. */
function* writeLines(model, noise, texts, bias, style) {
  let hand = style;
  for (const [number, text] of texts.entries()) {
    const line = yield* spelledLine(model, noise, text, bias, hand);
    yield {...line, number, placed: placeLine(line)};
    if (!style && !line.problem && !(hand?.text.length >= STYLE_LENGTH)) {
      hand = hand ? joinLine(hand, line) : {strokes: line.points, text};
    }
  }
}

if (typeof module !== "undefined") {
  module.exports = {drawRace, joinLine, writeLines};
}
