// Drawing the lines of a text in one hand, as `write_lines` of handwriting/text/writing.py: each
// the best of several drawings, with its marks. A generator here yields null where there is nothing
// to be seen yet.
"use strict";

if (typeof require !== "undefined") {
  Object.assign(globalThis, require("./drawing.js"), require("./accents.js"),
    require("./reading.js"), require("./mending.js"));
}

const CANDIDATES = 3;  // drawings of a line
const TRIES = 4, READ_TRIES = 2;  // so often, until one is good, and until one is read well
const BADLY = 1 / 3;  // of a line's words misread: it is not read well; in any hand: one
const WORD_TRIES = 2;  // so often, other misread words are drawn by themselves
const STAND_IN = [..."the"];  // tells how large a hand writes
const STYLE_LENGTH = 25;  // characters of the first lines that show a hand to the next ones

/** CANDIDATES drawings of a text, read back. Each has noise of its own, so that it does not depend
 * on the others. */
function* drawAll(model, reader, noise, text, bias, begun) {
  const drawings = [];
  while (drawings.length < CANDIDATES) {
    const own = new Noise(2 ** 32 * noise.uniform());
    const line = yield* drawBegun(model, own, text, bias, begun);
    line.problem = findProblem(line);
    line.reading = readBack(reader, line);
    drawings.push(line);
  }
  return drawings;
}

/** The drawing that is read best, of those with no problem, if there are; in a style with words of
 * the others in place of those that are misread. */
function* bestLine(model, reader, noise, text, bias, style) {
  const begun = yield* beginLine(model, text, style), drawings = [];
  let best;
  for (let tries = 0; tries < TRIES; tries++) {
    drawings.push(...yield* drawAll(model, reader, noise, text, bias, begun));
    best = drawings.reduce((one, other) => isBetter(other, one) ? other : one);
    if (style) best = mend(reader, best, drawings);
    const enough = style ? BADLY * wordsOf(text).length : 0;
    const badly = best.reading.misread.length > enough;
    if (!best.problem && (!badly || tries + 1 >= READ_TRIES)) break;
  }
  return best;
}

/** The line, with the words that are misread drawn again, between their neighbours and in the style
 * or, without one, the line's hand, where that is read better. */
function* redrawWords(model, reader, noise, line, bias, style) {
  const {text, points, problem, reading} = line, words = wordsOf(text);
  let mended = line;
  for (const word of style || !problem ? reading.misread : []) {
    const around = words.slice(Math.max(word - 1, 0), word + 2).join(" ");
    const begun = yield* beginLine(model, around, style ?? {strokes: points, text});
    const drawings = yield* drawAll(model, reader, noise, around, bias, begun);
    const good = drawings.filter((drawing) => !drawing.problem);
    mended = setIn(mended, word, good, Math.min(word, 1));
  }
  return better(reader, line, mended);
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
  let line = yield* bestLine(model, reader, noise, base, bias, hand);
  for (let tries = 0; tries < WORD_TRIES; tries++) {
    line = yield* redrawWords(model, reader, noise, line, bias, hand);
  }
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
  module.exports = {bestLine, redrawWords, joinLine, wordsMisread, writeLines};
}
