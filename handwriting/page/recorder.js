// Recording one's own hand: sentences to copy, a surface that takes pen, touch and mouse, and the
// file hand.json. A sample of the pen is [x, y, time, pressure]: pixels, y downwards; milliseconds
// from the line's first sample; 0 to 1.
"use strict";

if (typeof require !== "undefined") Object.assign(globalThis, require("./drawing.js"));

// The first 12 have every character of the alphabet that people use, all 30 most pairs of letters.
const SENTENCES = [
  "The quick brown fox jumps over a lazy dog.",
  "Pack my box with five dozen liquor jugs!",
  "In 1984 we paid 25, 30 or even 67 pounds.",
  "\"Why not?\" asked Zoe; Quentin & I agreed.",
  "Very few Xylophones (only 2) were at Yale.",
  "Big Jim Kelly's Uncle lives in Hampshire.",
  "Dear Emma: could you come on Friday at 8?",
  "Our North-West Region has its own bureau.",
  "Aunt Carla left Leeds for Greece in May.",
  "Vienna, Zurich and Oslo are quiet places.",
  "She thought that they should wait for us.",
  "Judge Quinn will start the next inquiry.",
  "A lot of visitors cast their votes so soon.",
  "A man who travels saves up for happy days.",
  "The special offers differ from those books.",
  "It is half past nine by the kitchen clock.",
  "Mr. Turner's army carried on until morning.",
  "Remember that we have to speak about work.",
  "He took particular care to act politically.",
  "Some social progress is due to his success.",
  "It is good to sit in a cottage by the sea.",
  "Public opinion changed during the winter.",
  "The old soldier received a modest tribute.",
  "Rain began to drop on his plans for a walk.",
  "The bank kept its cash in a small basket.",
  "Religious music helps many cultures adapt.",
  "Obviously a script must include the rules.",
  "Nobody enjoyed the nasty voyage by boat.",
  "Three hundred miles is the usual minimum.",
  "Give me a moment, and I will fix the lamp.",
];
const X_HEIGHT = 125;  // pen units: the median of the database's lines
const INTERVAL = 15;  // milliseconds between the database's points, as in recording.py
const EXTENT = 10;  // pen units: a stroke that is not larger is a dot
const DOT_STEPS = [4, 16];  // from point to point in a dot, at least and at most
const STYLE_LINES = 2;  // recorded lines that give the hand

/** A canvas that records strokes, and draws them over a baseline and a line at the x-height.
 *
 * guide: {baseline, x_height} in pixels. strokes: what was recorded; added: strokes of another
 * colour. The paper is `paper` x-heights wide, or as wide as the canvas, and lies `moved` pixels to
 * the left; it moves on by itself. changed is called after each stroke. */
class Pad {
  constructor(canvas, changed, paper = 0) {
    Object.assign(this, {canvas, changed, paper, strokes: [], added: [], pointer: null, moved: 0});
    const on = (type, handle) => canvas.addEventListener(type, (event) => handle.call(this, event));
    on("pointerdown", this.begin);
    on("pointermove", this.go);
    on("pointerup", this.end);
    on("pointercancel", this.end);
  }

  /** Take over the size that the canvas has on the screen. */
  resize() {
    const {clientWidth: width, clientHeight: height} = this.canvas;
    this.canvas.width = width * devicePixelRatio;
    this.canvas.height = height * devicePixelRatio;
    const xHeight = Math.min(Math.max(width / 40, 20), 24);
    if (!this.strokes.length) this.guide = {baseline: height * 0.6, x_height: xHeight};
    this.move(this.moved);
  }

  /** How far the paper can move. */
  get room() {
    return Math.max(this.paper * this.guide.x_height - this.canvas.clientWidth, 0);
  }

  move(pixels) {
    this.moved = Math.min(Math.max(pixels, 0), this.room);
    this.draw();
  }

  /** A pen ends what a touch has begun: that was the hand that holds it. */
  begin(event) {
    if (this.pointer && !(event.pointerType === "pen" && this.pointer.type === "touch")) return;
    if (event.button !== 0) return;
    event.preventDefault();
    if (this.pointer) this.strokes.pop();
    this.pointer = {id: event.pointerId, type: event.pointerType};
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch { /* An event that a script made up has no pointer to capture. */ }
    this.strokes.push([]);
    this.add(event);
  }

  go(event) {
    if (event.pointerId !== this.pointer?.id) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.add(each);
  }

  end(event) {
    if (event.pointerId !== this.pointer?.id) return;
    this.pointer = null;
    const width = this.canvas.clientWidth, x = this.strokes.at(-1).at(-1)[0] - this.moved;
    if (x > 0.85 * width) this.move(this.moved + width / 2);
    this.changed();
  }

  add(event) {
    const box = this.canvas.getBoundingClientRect();
    if (this.strokes.flat().length === 0) this.start = event.timeStamp;
    const numbers = [event.clientX - box.left + this.moved, event.clientY - box.top,
      event.timeStamp - this.start, event.pressure];
    this.strokes.at(-1).push(numbers.map((v) => Math.round(v * 100) / 100));
    this.draw();
  }

  undo() {
    this.strokes.pop();
    this.pointer = null;
    this.changed();
    this.draw();
  }

  clear() {
    Object.assign(this, {strokes: [], pointer: null, moved: 0});
    this.resize();
    this.changed();
  }

  draw() {
    const context = this.canvas.getContext("2d"), {width, height} = this.canvas;
    const ink = getComputedStyle(this.canvas).color, {baseline, x_height: xHeight} = this.guide;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.scale(devicePixelRatio, devicePixelRatio);
    context.strokeStyle = ink;
    context.globalAlpha = 0.25;
    for (const y of [baseline, baseline - xHeight]) strokePath(context, [[0, y], [width, y]], 1);
    context.globalAlpha = 1;
    context.translate(-this.moved, 0);
    for (const stroke of this.strokes) strokePath(context, stroke, 2);
    context.strokeStyle = getComputedStyle(this.canvas).caretColor;
    for (const stroke of this.added) strokePath(context, stroke, 2);
  }

  /** What was recorded, as a line of hand.json. */
  line(text) {
    return {text, guide: this.guide, strokes: this.strokes};
  }
}

/** Draw a stroke, or a dot where it has no length, on a canvas. */
function strokePath(context, stroke, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(stroke[0][0], stroke[0][1]);
  for (const [x, y] of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(x, y);
  context.stroke();
}

/** A stroke [x, y, time, ...] in pen units at times INTERVAL apart, from its first to its last
 * sample: [x, y] each; a dot as 5 to 17 positions. */
function resample(stroke) {
  const [left, top, right, bottom] = bounds([stroke]), start = stroke[0][2], end = stroke.at(-1)[2];
  let count = Math.ceil((end - start) / INTERVAL), interval = INTERVAL;
  if (Math.max(right - left, bottom - top) <= EXTENT) {
    count = Math.min(Math.max(count, DOT_STEPS[0]), DOT_STEPS[1]);
    interval = (end - start) / count;
  }
  const drawn = [stroke[0].slice(0, 2)];
  for (let n = 1, k = 0; n <= count; n++) {
    const time = Math.min(start + n * interval, end);
    while (k < stroke.length - 2 && stroke[k + 1][2] < time) k++;
    const [a, b] = [stroke[k], stroke[k + 1] ?? stroke[k]];
    const share = b[2] > a[2] ? Math.min((time - a[2]) / (b[2] - a[2]), 1) : 1;
    drawn.push([0, 1].map((axis) => a[axis] + share * (b[axis] - a[axis])));
  }
  return drawn;
}

/** A line of hand.json as points [dx, dy, eos] in pen units, at the database's size and rate. Its
 * first move leads from 100 units left of and above its ink, as in `to_line` of recording.py. */
function toPoints({strokes, guide}) {
  const scale = X_HEIGHT / guide.x_height, points = [];
  const drawn = strokes.map((stroke) =>
    resample(stroke.map(([x, y, time]) => [x * scale, y * scale, time])));
  const [left, top] = bounds(drawn);
  let [x0, y0] = [left - 100, top - 100];
  for (const stroke of drawn) {
    for (const [x, y] of stroke) {
      points.push([x - x0, y - y0, 0]);
      [x0, y0] = [x, y];
    }
    points.at(-1)[2] = 1;
  }
  return points;
}

/** The style {strokes (pen units), text} of the first recorded lines: one behind the other on one
 * baseline, a space's width apart. */
function toStyle(recorded) {
  const joined = {strokes: [], guide: {baseline: 0, x_height: X_HEIGHT}};
  const lines = recorded.slice(0, STYLE_LINES);
  let right = 0;
  for (const {text, guide, strokes} of lines) {
    const scale = X_HEIGHT / guide.x_height, x = strokes.flat().map((sample) => sample[0]);
    const left = Math.min(...x), width = (Math.max(...x) - left) * scale;
    joined.strokes.push(...strokes.map((stroke) => stroke.map(([x, y, time]) =>
      [right + (x - left) * scale, (y - guide.baseline) * scale, time])));
    right += width + width / text.length;
  }
  return {strokes: toPoints(joined), text: lines.map(({text}) => text).join(" ")};
}

/** Written strokes (pen units) as a line of hand.json: a sample every INTERVAL, and a lift takes as
 * long as two. The pen has no pressure there, which is 0.5 as for a mouse. */
function toLine(text, strokes, baseline) {
  let time = -2 * INTERVAL;
  const timed = strokes.map((stroke) => {
    time += INTERVAL;
    const round = (v) => Math.round(v * 100) / 100;
    return stroke.map(([x, y]) => [round(x), round(y), time += INTERVAL, 0.5]);
  });
  return {text, guide: {baseline, x_height: X_HEIGHT}, strokes: timed};
}

/** The content of hand.json. */
function writeHand(lines) {
  return `${JSON.stringify({format: "hand", version: 1, lines})}\n`;
}

/** The lines of a hand.json; throws an Error with a sentence if it is none. */
function readHand(content) {
  const isNumber = (v) => Number.isFinite(v);
  const isLine = (line) => typeof line?.text === "string" && line.text.trim() &&
    isNumber(line.guide?.baseline) && line.guide.x_height > 0 && line.strokes?.length > 0 &&
    line.strokes.every?.((stroke) =>
    stroke.length > 0 && stroke.every?.((s) => [3, 4].includes(s.length) && s.every?.(isNumber)));
  let hand;
  try {
    hand = JSON.parse(content);
  } catch {
    throw new Error("This file is no JSON.");
  }
  if (hand?.format !== "hand" || hand.version !== 1) throw new Error("This file is no hand.json.");
  if (!hand.lines?.length) throw new Error("This hand.json holds no lines.");
  const damaged = hand.lines.findIndex((line) => !isLine(line));
  if (damaged >= 0) throw new Error(`Line ${damaged + 1} in this hand.json is damaged.`);
  return hand.lines;
}

if (typeof module !== "undefined") {
  module.exports = {SENTENCES, resample, toPoints, toStyle, toLine, writeHand, readHand};
}
