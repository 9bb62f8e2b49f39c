// The part of the interface that writes and looks inside; page.js has the others. The network is
// engine.js, what draws lines with it lines.js, their geometry drawing.js.
"use strict";

const MOST_CHARACTERS = 2000, MOST_LINES = 100;  // of a text
const SLICE = 12;  // milliseconds of computing in a frame of the screen
const EDGE = 120;  // pen units around the writing
const TOP = 300, BOTTOM = 220;  // pen units above the first baseline and below the last
const WIDTH = 190;  // pen units that a character takes, before it is known
const LENS = 160, TRAIL = 20;  // pen units across the magnified part; points whose density it shows
const LEAST = 15;  // characters for which there is room, that short texts are not huge

const byId = (id) => document.getElementById(id);
const say = (id, sentence) => { byId(id).textContent = sentence; };

/** What make returns, made when it is first asked for. */
function once(make) {
  let made;
  return () => made ??= make();
}

const textModel = once(() => new Model(readTensors(byId("text-weights").textContent)));
const styles = JSON.parse(byId("styles").textContent);

// ------------------------------------------------------------------------- work in slices

let job = null;  // what runs: its steps so far, milliseconds computed, and whether it writes

/** Run steps, a generator, a slice in each frame: shown(value) after each that yields something,
 * drawn() once a frame, ended(job) behind the last. speed(): such steps a second, 0: no limit. */
function run(steps, speed, {shown, drawn, ended}) {
  const mine = job = {steps: 0, computed: 0};
  let last = performance.now(), due = 0;
  const frame = () => {
    if (job !== mine) return;
    const begun = performance.now();
    due = speed() ? Math.min(due + speed() * (begun - last) / 1000, speed()) : Infinity;
    last = begun;
    let step = {};
    while (performance.now() < begun + SLICE && due >= 1 && !step.done) {
      step = steps.next();
      mine.steps++;
      if (step.value) {
        due--;
        shown(step.value);
      }
    }
    mine.computed += performance.now() - begun;
    drawn();
    if (!step.done) return requestAnimationFrame(frame);
    job = null;
    ended(mine);
  };
  requestAnimationFrame(frame);
}

// --------------------------------------------------------------------------------- writing

const sheet = {lines: [], places: [], shown: 0, bias: 1};  // shown: points, of all lines together

/** The text as lines of at most `wrap` characters, broken at spaces; empty lines stay. */
function wrapLines(text, wrap) {
  return text.split("\n").flatMap((paragraph) => {
    const lines = [""];
    for (const word of paragraph.split(/\s+/).filter(Boolean)) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (longer.length <= wrap || !lines.at(-1)) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines;
  });
}

const PLAIN = {"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
  "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "−": "-", "…": "...", "ß": "ss", "æ": "ae",
  "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe"};

/** The text with typographic quotes, dashes and accents as plain characters (text.py). */
function plain(text) {
  const replaced = [...text].map((c) => PLAIN[c] ?? c).join("");
  return replaced.normalize("NFKD").replace(/[\p{M}\p{Cf}]/gu, "");
}

/** Characters of a text that the network has not learnt. */
function unknownIn(text) {
  const known = new Set(textModel().alphabet);
  return [...new Set(text)].filter((c) => !known.has(c) && !/\s/.test(c));
}

/** A character, or its number where it shows nothing. */
function visible(character) {
  const number = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return /[\p{C}\p{Z}]/u.test(character) ? `U+${number}` : character;
}

/** Show what cannot be written; returns whether all can. */
function checkText() {
  const text = byId("text").value, unknown = unknownIn(text);
  let problem = "";
  if (text.length > MOST_CHARACTERS) {
    problem = `The text has ${text.length} characters; at most ${MOST_CHARACTERS} can be written.`;
  } else if (text.split("\n").length > MOST_LINES) {
    problem = `At most ${MOST_LINES} lines can be written.`;
  } else if (unknown.length) {
    const more = unknown.length > 20 ? ` and ${unknown.length - 20} more` : "";
    problem = `The network has not learnt: ${unknown.slice(0, 20).map(visible).join(" ")}${more}`;
  }
  say("unknown", problem);
  byId("unknown").hidden = !problem;
  byId("plain").hidden = !unknown.length || unknownIn(plain(text)).length === unknown.length;
  return !problem && text.trim() !== "";
}

/** The style that the control names, or null for a hand at random. */
function chosenStyle() {
  const name = byId("hand").value;
  if (name === "recorded") return toStyle(recording.lines);
  return styles[name] ?? null;
}

function fillHands() {
  const select = byId("hand"), before = select.value;
  const names = [["", "at random"], ...Object.keys(styles).map((name) => [name, name])];
  if (recording.lines.length) names.push(["recorded", "as recorded"]);
  select.replaceChildren(...names.map(([value, label]) => new Option(label, value)));
  select.value = names.some(([value]) => value === before) ? before : "";
}

const speed = () => Number(byId("speed").value);  // points a second

function startWriting() {
  if (!checkText()) {
    return say("write-status", byId("unknown").textContent || "There is no text yet.");
  }
  if (!["wrap", "seed"].every((id) => byId(id).reportValidity())) return;
  rememberState();
  const wrapped = wrapLines(byId("text").value, byId("wrap").valueAsNumber);
  const places = wrapped.flatMap((text, place) => text ? [place] : []);
  const texts = places.map((place) => wrapped[place]);
  const width = WIDTH * Math.max(LEAST, ...texts.map((text) => text.length));
  Object.assign(sheet, {lines: [], places, shown: 0, width, bias: byId("bias").valueAsNumber});
  const noise = new Noise(byId("seed").valueAsNumber);
  const steps = writeLines(textModel(), noise, texts, sheet.bias, chosenStyle());
  say("write-status", "Finding a hand.");
  run(steps, speed, {
    shown: (line) => {
      if (line.points.length === 1) {
        const again = sheet.lines[line.number] ? " again: it was not that of its text" : "";
        say("write-status", `Writing line ${line.number + 1} of ${texts.length}${again}.`);
      }
      sheet.lines[line.number] = line;
      sheet.shown = countPoints();
    },
    drawn: drawSheet,
    ended: ({steps, computed}) => {
      const bad = sheet.lines.filter((line) => line.problem);
      const problem = bad.map((line) => ` Line ${line.number + 1}: ${line.problem}.`).join("");
      const rate = Math.round(1000 * steps / computed);
      say("write-status", `Wrote ${countPoints()} points, computed at ${rate} a second.${problem}`);
      showButtons();
    },
  });
  job.writes = true;
  showButtons();
}

function replay() {
  const total = countPoints();
  const steps = (function* () {
    for (sheet.shown = 1; sheet.shown < total; sheet.shown++) yield true;
  })();
  run(steps, speed, {shown: () => {}, drawn: drawSheet, ended: showButtons});
  showButtons();
}

function stop() {
  const line = sheet.lines.at(-1);
  if (line && job?.writes) {
    line.points.at(-1)[2] = 1;
    line.stopped = true;
  }
  job = null;
  sheet.shown = countPoints();
  say("write-status", "Stopped.");
  drawSheet();
  showButtons();
}

function showButtons() {
  byId("stop").disabled = !job;
  for (const id of ["replay", "save-svg", "save-png", "save-hand"]) {
    byId(id).disabled = Boolean(job) || !sheet.lines.length;
  }
  byId("save-hand").disabled ||= sheet.lines.every((line) => line.stopped);
}

const countPoints = () => sheet.lines.reduce((total, line) => total + line.points.length, 0);

/** A line in its place on the sheet, its strokes and their bounds; kept until it grows. */
function placed(line) {
  if (line.placed?.points.length !== line.points.length) {
    line.placed = placeLine(line.points, sheet.places[line.number]);
    line.strokes = toStrokes(line.placed.points, line.placed.origin);
    const [left, top, right, bottom] = bounds(line.strokes);
    line.corners = [[left, top], [right, bottom]];
  }
  return line;
}

/** All strokes of the sheet in pen units. */
const sheetStrokes = () => sheet.lines.flatMap((line) => placed(line).strokes);

/** The context of the sheet's canvas for pen units: as wide as the canvas is, as high as needed. */
function prepareCanvas(canvas) {
  const corners = sheet.lines.map((line) => placed(line).corners);
  const [left, top, right, bottom] = bounds([...corners, [[0, 0]]]);
  const x0 = Math.min(left, 0) - EDGE, x1 = Math.max(right, sheet.width ?? 0) + EDGE;
  const y0 = Math.min(top - EDGE, -TOP);
  const y1 = Math.max(bottom + EDGE, LINE_SPACING * (sheet.places.at(-1) ?? 0) + BOTTOM);
  const width = Math.round(canvas.clientWidth * devicePixelRatio), scale = width / (x1 - x0);
  const height = Math.ceil((y1 - y0) * scale);
  if (canvas.width !== width || canvas.height < height || canvas.height > height + 40) {
    Object.assign(canvas, {width, height});
  }
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, -x0 * scale, -y0 * scale);
  context.lineCap = context.lineJoin = "round";
  return context;
}

/** Draw the first sheet.shown points, and what is inside the network at the last of them. */
function drawSheet() {
  const canvas = byId("sheet"), context = prepareCanvas(canvas);
  const look = byId("look").checked;
  context.strokeStyle = getComputedStyle(canvas).color;
  let left = sheet.shown, last = null;
  for (const line of sheet.lines) {
    const count = Math.min(left, line.points.length);
    if (count > 0) last = {line, k: count - 1};
    if (look) drawByEnds(context, line, count, penWidth() * FACTOR);
    else drawPlain(context, line, count);
    left -= count;
  }
  byId("inside").hidden = !look;
  if (look && last) {
    drawDensity(context, last.line, last.k);
    drawLens(last.line, last.k);
    showWindow(last.line, last.k);
    Object.assign(byId("point"), {max: countPoints(), value: sheet.shown});
    say("point-value", `${sheet.shown} of ${byId("point").max}`);
  }
}

const penWidth = () => byId("pen").valueAsNumber;  // picture units

function drawPlain(context, line, count) {
  for (const stroke of line.strokes) {
    if (count <= 0) return;
    const part = count < stroke.length ? stroke.slice(0, count) : stroke;
    strokePath(context, part, penWidth() * FACTOR);
    count -= stroke.length;
  }
}

/** Each point's piece of the line, stronger where the end of a stroke was likelier. */
function drawByEnds(context, line, count, width) {
  const ink = getComputedStyle(byId("sheet")).color;
  const paper = getComputedStyle(document.body).backgroundColor;
  let k = 0;
  for (const stroke of line.strokes) {
    for (let j = 0; j < stroke.length && k < count; j++, k++) {
      const share = 45 + 55 * sigmoid(-line.zHats[k][0]);
      context.strokeStyle = `color-mix(in srgb, ${ink} ${share.toFixed()}%, ${paper})`;
      strokePath(context, stroke.slice(Math.max(j - 1, 0), j + 1), width);
    }
  }
}

/** Where the pen was before the line's point k. */
function penBefore(line, k) {
  const {points, origin} = line.placed, [x, y] = positions(points.slice(0, k)).at(-1) ?? [0, 0];
  return [origin[0] + x, origin[1] + y];
}

/** The density of the line's point k: two standard deviations of each component. */
function drawDensity(context, line, k) {
  const model = textModel(), {slope} = baseline(line.points), pen = penBefore(line, k);
  const m = levelMixture(mixture(line.zHats[k], sheet.bias, model.logSigmaMin), slope);
  context.fillStyle = getComputedStyle(byId("sheet")).caretColor;
  for (const {x, y, axes, angle, pi} of ellipses(m, model.dataScale)) {
    context.globalAlpha = 0.7 * Math.sqrt(pi);
    context.beginPath();
    const [long, short] = axes.map((axis) => 2 * axis);
    context.ellipse(pen[0] + x, pen[1] + y, long, short, angle, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}

/** The same, magnified, with the line and the densities of the points before. */
function drawLens(line, k) {
  const canvas = byId("lens"), size = Math.round(canvas.clientWidth * devicePixelRatio);
  Object.assign(canvas, {width: size, height: size});
  const context = canvas.getContext("2d"), scale = size / LENS, [x, y] = penBefore(line, k);
  context.setTransform(scale, 0, 0, scale, size / 2 - x * scale, size / 2 - y * scale);
  drawByEnds(context, line, k, penWidth());
  for (let j = Math.max(k - TRAIL, 0); j <= k; j++) drawDensity(context, line, j);
}

/** The line's text with marks where the window looked at point k, the strongest where most. */
function showWindow(line, k) {
  const phi = line.windows[k], most = Math.max(...phi);
  byId("window").replaceChildren(...[...line.text].map((character, u) => {
    const span = document.createElement("span"), share = Math.round(70 * phi[u] / most);
    span.textContent = character;
    span.style.background = `color-mix(in srgb, var(--accent) ${share}%, transparent)`;
    return span;
  }));
}
