// How any text is spelt with the characters that a network has learnt, as
// handwriting/text/spelling.py does it; reasons and names are there. TABLES is marks.json there.
"use strict";

if (typeof require !== "undefined") globalThis.TABLES = require("../text/marks.json");

const {plain: STANDS_FOR, combining: COMBINING, letters: LETTERS, glyphs: GLYPHS} = TABLES;
const GAP = "\u2003";  // stands for what cannot be written, and is left free
const RAISED = /[\u02b0-\u02b8\u02e0-\u02e4\u1d2c-\u1d6a\u2070-\u207f]/;

/** The base letter and the names of the marks of a character that is not in the alphabet; or
 * null. */
function compose(c, alphabet) {
  const [letter, ...others] = LETTERS[c] ?? [...c.normalize("NFD")];
  if (!LETTERS[c] && !others.every((mark) => COMBINING[mark])) return null;
  const marks = LETTERS[c] ? others : others.map((mark) => COMBINING[mark]);
  if (alphabet.includes(letter)) return {letter, marks};
  const inner = marks.length && LETTERS[letter] ? compose(letter, alphabet) : null;
  return inner && {letter: inner.letter, marks: [...inner.marks, ...marks]};
}

/** Whether a character is written by the network or drawn. */
function canWrite(c, alphabet) {
  const known = alphabet.includes(c) || GLYPHS[c] || COMBINING[c] || c === GAP;
  return Boolean(known || compose(c, alphabet));
}

/** What a character stands for: itself, where it can be written or nothing is known. */
function plainCharacter(c, alphabet) {
  if (canWrite(c, alphabet)) return c;
  if (/[\s\p{Z}]/u.test(c)) return " ";
  if (/[\p{Cf}\ufe00-\ufe0f]/u.test(c)) return "";
  if (c in STANDS_FOR) return STANDS_FOR[c];
  const form = c.normalize("NFKC");
  if (form === c || RAISED.test(c)) return c;
  return [...form].map((part) => plainCharacter(part, alphabet)).join("");
}

/** The text with plain characters in place of typographic ones; 2 1/2 for 2½. */
function plain(text, alphabet) {
  let written = "";
  for (const c of text.normalize("NFC")) {
    const form = plainCharacter(c, alphabet);
    written += form.length > 2 && form.includes("/") && /\d$/.test(written) ? ` ${form}` : form;
  }
  return written;
}

/** What tells which typographic characters of a text are written as what, or "". */
function plainNote(text, alphabet) {
  const names = {"": "nothing", " ": "a space"};
  const shown = [...new Set(text)].filter((c) => !canWrite(c, alphabet) && !/[\t\r\n]/.test(c))
    .map((c) => [c, plain(c, alphabet)]).filter(([c, form]) => form !== c.normalize("NFC"))
    .map(([c, form]) => `${visible(c)} as ${names[form] ?? form}`);
  return shown.length ? `Typographic characters are plain ones: ${shown.join(", ")}.` : "";
}

/** A character, or its number where it shows nothing. */
function visible(c) {
  const number = c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return /[\p{C}\p{Z}]/u.test(c) ? `U+${number}` : c;
}

/** The characters of a text that cannot be written, each once. */
function unknownIn(text, alphabet) {
  return [...new Set(text)].filter((c) =>
    [...plainCharacter(c, alphabet)].some((part) => part !== " " && !canWrite(part, alphabet)));
}

/** The text with GAP for each run of what cannot be written. */
function leaveGaps(text, alphabet) {
  const unknown = new Set(unknownIn(text, alphabet));
  return [...text].map((c) => unknown.has(c) ? GAP : c).join("").replace(/\u2003+/g, GAP);
}

/** The spelling of a text: {base, places, marks, glyphs}. */
function split(text, alphabet) {
  const tokens = [], marks = new Map(), characters = [...text];
  characters.forEach((c, place) => {
    const isKnown = alphabet.includes(c);
    const found = isKnown ? {letter: c, marks: []} : compose(c, alphabet);
    if (COMBINING[c] && !isKnown) {
      const last = tokens.at(-1);
      if (last?.kind === "l") marks.set(last.place, [...marks.get(last.place) ?? [], COMBINING[c]]);
    } else if (found) {
      tokens.push({place, kind: c === " " ? "s" : "l", item: found.letter});
      if (found.marks.length) marks.set(place, found.marks);
    } else tokens.push({place, kind: "g", item: GLYPHS[c] ? c : GAP});
  });
  const places = characters.map(() => null), glyphs = [];
  let base = "", at = 0;
  const runs = [...tokens.map(({kind}) => kind).join("").matchAll(/s*g[sg]*/g), null];
  for (const run of runs) {
    const start = run ? run.index : tokens.length;
    for (const {place, item} of tokens.slice(at, start)) {
      places[place] = base.length;
      base += item;
    }
    if (!run) continue;
    at = start + run[0].length;
    const items = [];
    for (const {place, item} of tokens.slice(start, at)) {
      if (item !== GAP || items.at(-1)?.[1] !== GAP) items.push([place, item]);
    }
    glyphs.push([wordsOf(base).length, items]);
    if (base && at < tokens.length) {
      places[tokens[start].place] = base.length;
      base += " ";
    }
  }
  return {base, places, marks: [...marks].sort(([a], [b]) => a - b), glyphs};
}

/** The words of a text. */
const wordsOf = (text) => text.split(/\s+/).filter(Boolean);

if (typeof module !== "undefined") {
  module.exports = {GAP, GLYPHS, TABLES, canWrite, plain, plainNote, visible, unknownIn, leaveGaps,
    split, wordsOf};
}
