// The part of the interface that writes; sheet.js shows it, page.js and record.js are the others.
"use strict";

const MOST_CHARACTERS = 2000, MOST_LINES = 100;  // of a text
const WIDTH = 190;  // pen units that a character takes, before it is known
const LEAST = 15;  // characters for which there is room, that short texts are not huge
const MOST_HARD = 10;  // words that are named as hard to read
const SHOWN_HAND = [1100, 2300];  // pen units of a hand's picture

const styles = JSON.parse(byId("styles").textContent);

/** The config of the network that writes texts: the header alone is decoded, which is short. */
const config = once(() =>
  readHeader(decode(byId("text-weights").textContent.slice(0, 2 ** 16))).config);

// ---------------------------------------------------------------------- computing and the pen

let job = null, jobs = 0;  // what runs, and how many did

const send = once(() => {
  const packed = (id) => byId(id).textContent;
  const weights = Object.fromEntries(["text", "reader", "scribble"].map((name) =>
    [name, packed(`${name}-weights`)]));
  return startWorker(weights, receive, () => {
    job = null;
    for (const id of ["write-status", "scribble-status"]) say(id, "This browser cannot compute.");
    showButtons();
  });
});

function receive({job: number, line, rate}) {
  if (number !== job?.number) return;
  if (!line) return Object.assign(job, {done: true, rate});
  job.total += line.points.length;
  job.found(line);
}

/** Let a pen draw the lines that the Worker finds for a request, or without one `total` points that
 * are there: found(line) for each line; drawn(points) as they get more; ended(job). A page that was
 * out of sight goes on where the pen would be. speed(): points a second, 0: no limit. */
function run({request, total = 0}, speed, {found, drawn, ended}) {
  const mine = job = {number: ++jobs, total, shown: 0, done: !request, found};
  if (request) send()({...request, job: mine.number});
  let last;
  const frame = (now) => {
    if (job !== mine) return;
    const next = speed() ? mine.shown + speed() * (now - (last ?? now)) / 1000 : mine.total;
    const before = Math.floor(mine.shown);
    last = now;
    mine.shown = Math.min(next, mine.total);
    if (Math.floor(mine.shown) > before) drawn(Math.floor(mine.shown));
    if (!mine.done || mine.shown < mine.total) return requestAnimationFrame(frame);
    job = null;
    ended(mine);
  };
  requestAnimationFrame(frame);
}

/** End what runs. */
function halt() {
  if (job) send()({job: 0, texts: []});
  job = null;
}

// ------------------------------------------------------------------------------------- texts

/** A text without typographic characters as lines of at most `wrap` characters, broken at spaces;
 * empty lines stay. */
function wrapLines(text, wrap) {
  return text.split("\n").flatMap((paragraph) => {
    const lines = [""];
    for (const word of paragraph.split(" ").filter(Boolean)) {
      const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
      if (longer.length <= wrap || !lines.at(-1)) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines;
  });
}

/** Show what cannot be written; returns whether all can. */
function checkText() {
  const text = byId("text").value, {alphabet} = config(), unknown = unknownIn(text, alphabet);
  let problem = "";
  if (text.length > MOST_CHARACTERS) {
    problem = `The text has ${text.length} characters; at most ${MOST_CHARACTERS} can be written.`;
  } else if (text.split("\n").length > MOST_LINES) {
    problem = `At most ${MOST_LINES} lines can be written.`;
  } else if (unknown.length) {
    const more = unknown.length > 20 ? ` and ${unknown.length - 20} more` : "";
    problem = `Cannot be written: ${unknown.slice(0, 20).map(visible).join(" ")}${more}`;
  }
  say("unknown", problem);
  byId("unknown").hidden = !problem;
  byId("plain").hidden = !unknown.length || !leaveGaps(text, alphabet).trim();
  return !problem && text.trim() !== "";
}

// ------------------------------------------------------------------------------------- hands

/** The style that the control names, or null for a hand at random. */
function chosenStyle() {
  const name = chosen(byId("hand"));
  return name === "recorded" ? toStyle(recording.lines) : styles[name] ?? null;
}

/** A small picture of strokes (pen units). */
function picture(strokes) {
  const [left, top, right, bottom] = bounds(strokes), box = [left, top, right - left, bottom - top];
  const image = svg("svg", {class: "picture", viewBox: box.map(Math.round).join(" "),
    "aria-hidden": "true", overflow: "visible"});
  const d = strokes.map(pathData).join("");
  image.append(svg("path", {d, "vector-effect": "non-scaling-stroke"}));
  return image;
}

/** The first words of a style: its strokes up to the widest gap in SHOWN_HAND. */
function firstWords({strokes}) {
  const all = toStrokes(level(strokes)), [start] = bounds(all), [least, most] = SHOWN_HAND;
  const boxes = all.map((stroke) => bounds([stroke]).map((at) => at - start));
  let widest = -Infinity, count = all.length, right = -Infinity;
  for (let k = 1; k < all.length && right < most; k++) {
    right = Math.max(right, boxes[k - 1][2]);
    const gap = Math.min(...boxes.slice(k).map(([left]) => left)) - right;
    if (right > least && right < most && gap > widest) [widest, count] = [gap, k];
  }
  return all.slice(0, count);
}

/** Offer the hands to choose from, each by a picture. */
function fillHands() {
  const before = byId("hand").querySelector(":checked")?.value ?? "";
  const hands = [["", "any hand"], ...Object.keys(styles).map((name) => [name, name])];
  if (recording.lines.length) hands.push(["recorded", "your own"]);
  byId("hands").replaceChildren(...hands.map(([value, name]) => {
    const label = document.createElement("label"), radio = document.createElement("input");
    Object.assign(radio, {type: "radio", name: "hand", value});
    radio.defaultChecked = value === "";
    const any = document.createElement("span");
    Object.assign(any, {className: "any", textContent: "?", ariaHidden: "true"});
    const style = value === "recorded" ? toStyle(recording.lines) : styles[value];
    label.append(radio, style ? picture(firstWords(style)) : any, name);
    return label;
  }));
  choose(byId("hand"), before);
}

// ----------------------------------------------------------------------------------- writing

const speed = () => Number(byId("speed").value);  // points a second

function startWriting() {
  if (!checkText()) {
    return say("write-status", byId("unknown").hidden ? "There is no text yet." : "");
  }
  const wrong = ["wrap", "seed"].find((id) => !byId(id).validity.valid);
  if (wrong) {
    byId("more").open = true;
    return byId(wrong).reportValidity();
  }
  rememberState();
  halt();
  const text = byId("text").value, {alphabet} = config(), note = plainNote(text, alphabet);
  const lines = text.split("\n").map((line) => plain(line, alphabet)).join("\n");
  const wrapped = wrapLines(lines, byId("wrap").valueAsNumber);
  const places = wrapped.flatMap((text, place) => text ? [place] : []);
  const texts = places.map((place) => wrapped[place]), bias = byId("bias").valueAsNumber;
  const width = WIDTH * Math.max(LEAST, ...texts.map((text) => text.length));
  const request = {texts, bias, style: chosenStyle(), seed: byId("seed").valueAsNumber};
  say("write-status", `Writing line 1 of ${texts.length}`);
  byId("progress").value = 0;
  run({request}, speed, {
    found: (line) => {  // until the first is there, the sheet stays as it was
      if (line.number === 0) Object.assign(sheet, {lines: [], places, shown: 0, width, bias});
      addLine(line);
    },
    drawn: (points) => showPoints(points, texts.length),
    ended: ({rate}) => {
      const hard = sheet.lines.flatMap(({problem, misread, number}) =>
        problem ? [`line ${number + 1}`] : misread);
      const more = hard.length > MOST_HARD ? ` and ${hard.length - MOST_HARD} more` : "";
      say("write-status", hard.length === 0 ? "Written." : "Written. Perhaps hard to read: " +
        `${hard.slice(0, MOST_HARD).join(", ")}${more}. Try again writes anew.`);
      if (note) byId("write-status").append(` ${note}`);
      say("rate", `Computed at ${Math.round(rate)} points a second.`);
      showButtons();
    },
  });
  job.writes = true;
  showButtons();
}

/** Show so many points of a text of so many lines, and say how far the pen is. */
function showPoints(points, count) {
  let number = 0, left = sheet.shown = points;
  while (left > sheet.lines[number].points.length) left -= sheet.lines[number++].points.length;
  const line = sheet.lines[number];
  byId("progress").value = (number + left / line.points.length) / count;
  say("write-status", `Writing line ${number + 1} of ${count}`);
  showInk();
  const paper = byId("sheet").parentElement, box = line.group.getBoundingClientRect();
  const below = box.bottom - paper.getBoundingClientRect().bottom;
  if (below > 0) paper.scrollTop += below + box.height;
}

function replay() {
  run({total: countPoints()}, speed, {
    drawn: (points) => showPoints(points, sheet.lines.length),
    ended: () => {
      say("write-status", "Written.");
      showButtons();
    },
  });
  byId("sheet").parentElement.scrollTop = 0;
  showButtons();
}

/** End what runs; what the pen has not written yet is not kept. */
function stop() {
  const writes = job?.writes && job.total > 0;
  halt();
  if (writes) {
    let left = sheet.shown;
    sheet.lines = sheet.lines.filter((line) => {
      const {points, placed} = line, count = Math.min(left, points.length);
      left -= count;
      if (count === points.length || count === 0) return count;
      line.points = [...points.slice(0, count - 1), [...points[count - 1].slice(0, 2), 1]];
      line.placed = {...placed, strokes: cutStrokes(placed.strokes, count)};
      return line.stopped = true;
    });
  }
  sheet.shown = countPoints();
  say("write-status", "Stopped.");
  showSheet();
  showButtons();
}

function showButtons() {
  byId("stop").disabled = !job;
  for (const id of ["replay", "save-svg", "save-png", "copy", "save-hand"]) {
    byId(id).disabled = Boolean(job) || !sheet.lines.length;
  }
  byId("save-hand").disabled ||= sheet.lines.every((line) => line.stopped);
}
