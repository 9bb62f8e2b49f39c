// Drawing the lines of a text in one hand, as `write_lines` of handwriting/text/writing.py: each
// the best of several drawings, with its marks. A generator here yields null where there is nothing
// to be seen yet.
"use strict";

if (typeof require !== "undefined") {
  Object.assign(globalThis, require("./drawing.js"), require("./accents.js"),
    require("./reading.js"));
}

const CANDIDATES = 3;  // drawings of a line
const TRIES = 4, READ_TRIES = 2;  // so often, until one is good, and until one is read right
const STAND_IN = [..."the"];  // tells how large a hand writes
const STYLE_LENGTH = 25;  // characters of the first lines that show a hand to the next ones

/** The drawing that is read best, of those with no problem, if there are. Each has noise of its
 * own, so that it does not depend on the others. */
function* bestLine(model, reader, noise, text, bias, style) {
  const begun = yield* beginLine(model, text, style);
  let best;
  for (let tries = 0; tries < TRIES; tries++) {
    for (let drawing = 0; drawing < CANDIDATES; drawing++) {
      const own = new Noise(2 ** 32 * noise.uniform());
      const line = yield* drawBegun(model, own, text, bias, begun);
      line.problem = findProblem(line);
      line.reading = readBack(reader, line);
      if (!best || isBetter(line, best)) best = line;
    }
    if (!best.problem && (!best.reading.wrong || tries + 1 >= READ_TRIES)) break;
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

/** The words of a text that are misread in the line of its base. */
function wordsMisread({text: base, reading}, text, {places}) {
  const wordAt = (characters, place) => wordsOf(characters.slice(0, place + 1).join("")).length - 1;
  const numbers = [...text].map((_, place) => place).filter((place) => places[place] !== null &&
    base[places[place]] !== " " && reading.misread.includes(wordAt([...base], places[place])));
  const misread = new Set(numbers.map((place) => wordAt([...text], place)));
  return [...misread].map((k) => wordsOf(text)[k]);
}

/** The best drawing of a text, with its marks, and misread: its words that are hard to read. */
function* spelledLine(model, reader, noise, text, bias, style) {
  const {alphabet, dataScale} = model, spelling = split(text, alphabet);
  const hand = style && {...style, text: split(plain(style.text, alphabet), alphabet).base};
  const base = spelling.base || STAND_IN.filter((c) => alphabet.includes(c)).join("") ||
    alphabet.trim()[0];  // a text of glyphs alone
  const line = yield* bestLine(model, reader, noise, base, bias, hand);
  line.misread = wordsMisread(line, text, spelling);
  if (base === text) return line;
  return markLine(line, text, spelling, () => noise.uniform(), dataScale);
}

/** Draw texts, all in one hand: yields null, or a line {number, text, points, placed, ...} that is
 * whole. A hand at random is that of the first lines. */
function* writeLines(model, reader, noise, texts, bias, style) {
  let hand = style;
  for (const [number, text] of texts.entries()) {
    const line = yield* spelledLine(model, reader, noise, text, bias, hand);
    yield {...line, number, placed: placeLine(line)};
    if (!style && !line.problem && !(hand?.text.length >= STYLE_LENGTH)) {
      hand = hand ? joinLine(hand, line) : {strokes: line.points, text};
    }
  }
}

if (typeof module !== "undefined") {
  module.exports = {joinLine, wordsMisread, writeLines};
}
