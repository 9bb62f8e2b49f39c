// The interface: files and the link, scribbling, and the controls of all parts. Writing is
// write.js, recording record.js.
"use strict";

const EXAMPLE = "This page writes by hand.\nWhat shall it write for you?";
// By the least width of the sheet, in pixels: characters in a line. For the lines that the example
// takes at each of them the first seed, in page.html, was chosen for how its drawings read.
const WRAPS = [[1000, 40], [600, 28], [0, 16]];
const STATE = ["text", "hand", "bias", "speed", "pen", "ink", "paper", "wrap", "seed",
  "look"];  // in the link

// ----------------------------------------------------------------------------- files and link

function download(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** A promise of the sheet as a PNG of four pixels for a picture unit, at most 16,000 in a
 * direction. */
function toPNG() {
  const {strokes, width, height} = frame(sheetStrokes()), canvas = document.createElement("canvas");
  const scale = Math.min(4, 16000 / Math.max(width, height)), context = canvas.getContext("2d");
  Object.assign(canvas, {width: width * scale, height: height * scale});
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  context.strokeStyle = inkColor();
  for (const stroke of strokes) strokePath(context, stroke, penWidth());
  return new Promise((resolve) => canvas.toBlob(resolve));
}

function saveHand() {
  const lines = sheet.lines.filter((line) => !line.stopped);
  download("hand.json", writeHand(lines.map(({text, placed}) =>
    toLine(text.replaceAll(GAP, " "), placed.strokes, 0))),
    "application/json");
}

/** Do what copies something, and say so, or what helps where the browser does not let it. */
async function copy(act, otherwise) {
  try {
    await act();
    say("write-status", "Copied.");
  } catch {
    say("write-status", otherwise);
  }
}

/** What a control says; of a group, the value of what is chosen in it. */
function chosen(control) {
  if (control.type === "checkbox") return Number(control.checked);
  return control.type === "fieldset" ? control.querySelector(":checked").value : control.value;
}

/** Set a control; one that does not take the value stays as it is. */
function choose(control, value) {
  if (control.type === "checkbox") control.checked = value === "1";
  else if (control.type === "fieldset") {
    for (const radio of control.querySelectorAll("input")) radio.checked ||= radio.value === value;
  } else {
    const before = control.value;
    control.value = value;
    const isTaken = control.value === value && control.validity.valid;
    if (control.type !== "textarea" && !isTaken) control.value = before;
  }
}

/** Put the controls' state into the link after #. */
function rememberState() {
  const state = new URLSearchParams(STATE.map((id) => [id, chosen(byId(id))]));
  history.replaceState(null, "", `#${state}`);
}

/** Set the controls from the link after #. */
function recallState() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const id of STATE.filter((id) => state.has(id))) choose(byId(id), state.get(id));
  for (const id of ["bias", "pen"]) say(`${id}-value`, byId(id).value);
  byId("more").open ||= byId("look").checked;
}

// ------------------------------------------------------------------------------- scribbling

const scribble = {seed: 0};

/** Let the network go on from the pad's strokes, to the pad's right edge. */
function goOn() {
  if (!scribble.pad.strokes.length) return say("scribble-status", "Draw a beginning first.");
  const {pad} = scribble, scale = pad.guide.x_height / X_HEIGHT, [x, y] = pad.strokes.at(-1).at(-1);
  const room = (pad.canvas.clientWidth - 10 - x) / scale;
  const request = {points: toPoints(pad.line("")), seed: scribble.seed++, room,
    bias: byId("scribble-bias").valueAsNumber};
  let strokes = [];
  halt();
  pad.added = [];
  say("scribble-status", "Reading what you drew.");
  run({request}, () => 300, {
    found: ({points}) => {
      strokes = toStrokes(points, [x / scale, y / scale])
        .map((stroke) => stroke.map((at) => at.map((v) => v * scale)));
    },
    drawn: (points) => {
      say("scribble-status", "Going on.");
      pad.added = cutStrokes(strokes, points);
      pad.draw();
    },
    ended: () => say("scribble-status", "Press Go on again for another end."),
  });
}

/** Draw a continuation of nothing away when the beginning changes. */
function scribbleChanged() {
  halt();
  say("scribble-status", "");
  scribble.pad.added = [];
  scribble.pad.draw();
}

// ------------------------------------------------------------------------------ the controls

function show(section) {
  for (const id of ["write", "scribble", "record"]) {
    byId(id).hidden = id !== section;
    byId(`to-${id}`).setAttribute("aria-pressed", String(id === section));
  }
  if (job?.writes) stop();
  halt();
  if (section === "write") showSheet();
  if (section === "scribble") scribble.pad.resize();
  if (section === "record") {
    recording.pad.resize();
    showRecorder();
  }
}

function connectWriting() {
  const textChanged = () => {
    checkText();
    say("write-status", "");
  };
  on("text", "input", textChanged);
  const begin = () => {
    startWriting();
    byId("sheet").parentElement.scrollIntoView({block: "nearest"});
  };
  on("plain", "click", () => {
    byId("text").value = leaveGaps(byId("text").value, config().alphabet);
    begin();
  });
  on("start", "click", begin);
  document.addEventListener("keydown", (event) => {
    const isMeant = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (isMeant && !byId("write").hidden) begin();
  });
  on("stop", "click", stop);
  on("replay", "click", replay);
  on("another", "click", () => {
    byId("seed").value = Math.floor(Math.random() * 2 ** 31);
    begin();
  });
  on("write", "change", rememberState);
  for (const id of ["hand", "bias", "wrap", "seed"]) on(id, "change", startWriting);
  for (const id of ["pen", "ink", "paper", "look"]) on(id, "input", showSheet);
  on("point", "input", () => {
    const shown = byId("point").valueAsNumber;
    if (job) stop();
    sheet.shown = shown;
    showInk();
  });
}

function connectSaving() {
  on("save-svg", "click", () => download("handwriting.svg",
    toSVG(sheetStrokes(), penWidth(), inkColor()), "image/svg+xml"));
  on("save-png", "click", async () => download("handwriting.png", await toPNG()));
  on("copy", "click", () => copy(
    () => navigator.clipboard.write([new ClipboardItem({"image/png": toPNG()})]),
    "This browser copies no pictures: save it as PNG."));
  on("save-hand", "click", saveHand);
  on("link", "click", () => {
    rememberState();
    copy(() => navigator.clipboard.writeText(location.href),
      "Copy it from the address bar: it holds all of this.");
  });
}

function connectParts() {
  for (const id of ["write", "scribble", "record"]) on(`to-${id}`, "click", () => show(id));
  for (const id of ["bias", "pen", "scribble-bias"]) {
    on(id, "input", () => say(`${id}-value`, byId(id).value));
    say(`${id}-value`, byId(id).value);
  }
  const redraw = () => {
    if (!byId("write").hidden) showSheet();
    for (const {pad} of [scribble, recording]) if (pad.canvas.clientWidth) pad.resize();
  };
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("hashchange", openLink);
}

function connectScribbling() {
  scribble.pad = new Pad(byId("scribble-pad"), scribbleChanged);
  on("scribble-go", "click", goOn);
  on("scribble-undo", "click", () => scribble.pad.undo());
  on("scribble-clear", "click", () => scribble.pad.clear());
}

/** Take over what the link says, and write it. */
function openLink() {
  recallState();
  startWriting();
}

[, byId("wrap").value] = WRAPS.find(([width]) => byId("sheet").clientWidth >= width);
send();  // the Worker starts meanwhile
byId("text").value = EXAMPLE;
loadRecording();
fillHands();
connectParts();
connectWriting();
connectSaving();
connectScribbling();
connectRecording();
showKept();
showRecorder();
showSheet();
openLink();
