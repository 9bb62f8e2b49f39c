// Drawing the lines of a text in one hand, as `write_lines` of handwriting/text/writing.py. The first
// line is shown as it is drawn; of each next one the best of several drawings, made while the pen
// is busy with the line before. A generator here yields null where nothing is to be seen.
"use strict";

if (typeof require !== "undefined") Object.assign(globalThis, require("./engine.js"));

const CANDIDATES = 3, TRIES = 4;  // drawings of a line; so often, until one is good
const AHEAD = 4;  // points of the next line's drawings that are drawn for each point shown
const HAND = "the quick brown fox jumps over a lazy dog";

/** What steps, a generator, returns; yields null where it yields. */
function* unseen(steps) {
  for (;;) {
    const {value, done} = steps.next();
    if (done) return value;
    yield null;
  }
}

/** Draw a text until a drawing is good: yields as drawLine does. */
function* writeLine(model, noise, text, bias, style) {
  let line;
  for (let tries = 0; tries < TRIES && (!line || line.problem); tries++) {
    line = yield* drawLine(model, noise, text, bias, style);
    line.problem = findProblem(line);
  }
  return line;
}

/** The drawing of fewest points, of those with no problem, if there are: hesitant ones are hard to
 * read. */
function* bestLine(model, noise, text, bias, style) {
  const begun = yield* beginLine(model, text, style);
  let best;
  for (let tries = 0; tries < TRIES && (!best || best.problem); tries++) {
    for (let candidate = 0; candidate < CANDIDATES; candidate++) {
      const line = yield* unseen(drawBegun(model, noise, text, bias, begun));
      line.problem = findProblem(line);
      const isBetter = best && Boolean(line.problem) === Boolean(best.problem)
        ? line.points.length < best.points.length : !line.problem;
      if (!best || isBetter) best = line;
    }
  }
  return best;
}

/** Show a line that is drawn already: yields it growing by a point each time. */
function* showLine(line) {
  const grown = {...line, points: [], zHats: [], windows: []};
  for (let k = 0; k < line.points.length; k++) {
    for (const part of ["points", "zHats", "windows"]) grown[part].push(line[part][k]);
    yield grown;
  }
}

/** A hand at random: the style of a sentence that is drawn for nothing else. */
function* drawHand(model, noise, bias) {
  const known = HAND.split(" ").filter((word) => !encode(word, model.alphabet).includes(-1));
  const line = yield* unseen(writeLine(model, noise, known.join(" "), bias, null));
  return {strokes: line.points, text: line.text};
}

/** Draw texts, all in one hand: yields null or a line {number, text, points, ...} that grows by a
 * point each time; one drawn again has the same number. */
function* writeLines(model, noise, texts, bias, style) {
  if (!style && texts.length > 1) style = yield* drawHand(model, noise, bias);
  let shown = writeLine(model, noise, texts[0], bias, style);
  for (let number = 0; number < texts.length; number++) {
    const isLast = number + 1 === texts.length;
    const ahead = isLast ? null : bestLine(model, noise, texts[number + 1], bias, style);
    let next = {done: isLast};
    for (const line of shown) {
      if (line) line.number = number;
      yield line;
      for (let k = 0; line && k < AHEAD && !next.done; k++) {
        next = ahead.next();
        yield null;
      }
    }
    const best = next.done ? next.value : yield* ahead;
    if (best) shown = showLine(best);
  }
}

if (typeof module !== "undefined") {
  module.exports = {CANDIDATES, bestLine, writeLines};
}
