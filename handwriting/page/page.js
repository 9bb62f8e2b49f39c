// The interface: files and the link, scribbling, recording, and the controls of all parts. Writing
// is write.js, the recorder recorder.js.
"use strict";

const EXAMPLE = "This page writes by hand.";
const STATE = ["text", "hand", "bias", "speed", "pen", "wrap", "seed", "look"];  // in the link

// ----------------------------------------------------------------------------- files and link

function download(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** The sheet as a PNG of four pixels for a picture unit, at most 16,000 in a direction. */
function savePNG() {
  const {strokes, width, height} = frame(sheetStrokes()), canvas = document.createElement("canvas");
  const scale = Math.min(4, 16000 / Math.max(width, height)), context = canvas.getContext("2d");
  Object.assign(canvas, {width: width * scale, height: height * scale});
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  for (const stroke of strokes) strokePath(context, stroke, penWidth());
  canvas.toBlob((blob) => download("handwriting.png", blob));
}

function saveHand() {
  const lines = sheet.lines.filter((line) => !line.stopped).map((line) =>
    toLine(line.text, placed(line).strokes, LINE_SPACING * sheet.places[line.number]));
  download("hand.json", writeHand(lines), "application/json");
}

const valueOf = (control) => control.type === "checkbox" ? Number(control.checked) : control.value;

/** Put the controls' state into the link after #. */
function rememberState() {
  const state = new URLSearchParams(STATE.map((id) => [id, valueOf(byId(id))]));
  history.replaceState(null, "", `#${state}`);
}

/** Set the controls from the link after #; one that does not take its value stays as it is. */
function recallState() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const id of STATE.filter((id) => state.has(id))) {
    const control = byId(id), before = control.value, value = state.get(id);
    if (control.type === "checkbox") control.checked = value === "1";
    else control.value = value;
    const taken = control.value === value && control.validity.valid;
    if (control.type !== "textarea" && !taken) control.value = before;
  }
}

// ------------------------------------------------------------------------------- scribbling

const scribbleModel = once(() => new Model(readTensors(byId("scribble-weights").textContent)));
const scribble = {seed: 0};

function goOn() {
  if (!scribble.pad.strokes.length) return say("scribble-status", "Draw a beginning first.");
  const pad = scribble.pad, model = scribbleModel(), {baseline, x_height: xHeight} = pad.guide;
  const scale = xHeight / X_HEIGHT, [x, y] = pad.strokes.at(-1)?.at(-1) ?? [20, baseline];
  const most = pad.canvas.clientWidth - 10;
  const steps = drawFreely(model, new Noise(scribble.seed++), byId("scribble-bias").valueAsNumber,
    toPoints(pad.line("")));
  const untilEdge = (function* () {
    for (const line of steps) {
      yield line;
      const [right] = (line ? positions(line.points) : []).at(-1) ?? [0];
      if (line && (line.points.length > 2000 || x + right * scale > most)) return;
    }
  })();
  pad.added = [];
  say("scribble-status", "Reading what you drew.");
  run(untilEdge, () => 300, {
    shown: ({points}) => {
      pad.added = toStrokes(points, [x / scale, y / scale])
        .map((stroke) => stroke.map(([x, y]) => [x * scale, y * scale]));
    },
    drawn: () => pad.draw(),
    ended: () => {
      say("scribble-status", "Press Go on again for another end.");
      showButtons();
    },
  });
}

/** Draw a continuation of nothing away when the beginning changes. */
function scribbleChanged() {
  job = null;
  say("scribble-status", "");
  scribble.pad.added = [];
  scribble.pad.draw();
}

// -------------------------------------------------------------------------------- recording

const KEPT = "handwriting-recording";  // in the browser's storage
const recording = {lines: [], next: 0, note: ""};

function loadRecording() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    if (!kept) return;
    Object.assign(recording, {lines: readHand(JSON.stringify(kept.hand)), next: kept.next});
  } catch { /* A browser may keep nothing for files, or the text may be damaged. */ }
}

function recordingChanged(note = "") {
  recording.note = note;
  try {
    const hand = JSON.parse(writeHand(recording.lines));
    localStorage.setItem(KEPT, JSON.stringify({hand, next: recording.next}));
  } catch {
    recording.note += " This browser keeps nothing: save hand.json before you leave.";
  }
  fillHands();
  showRecorder();
}

function showRecorder() {
  const sentence = SENTENCES[recording.next], done = sentence === undefined, {pad} = recording;
  say("sentence", done ? "That was the last sentence. Thank you." : sentence);
  const place = Math.min(recording.next + 1, SENTENCES.length);
  const again = recording.lines.some(({text}) => text === sentence) ? ", this one, too" : "";
  say("record-status", `Sentence ${place} of ${SENTENCES.length}; ` +
    `${recording.lines.length} kept${again}.${recording.note}`);
  byId("keep").disabled = done || !pad.strokes.length;
  byId("skip").disabled = done;
  byId("previous").disabled = recording.next === 0;
  byId("record-undo").disabled = byId("record-clear").disabled = !pad.strokes.length;
  if (pad.guide) Object.assign(byId("paper"), {max: pad.room, value: pad.moved});
  byId("record-save").disabled = byId("forget").disabled = !recording.lines.length;
}

function nextSentence(keep) {
  let note = "";
  if (keep) {
    const line = recording.pad.line(SENTENCES[recording.next]), {text} = line;
    recording.lines = [...recording.lines.filter((other) => other.text !== text), line];
    const problem = findProblem({text, points: toPoints(line)});
    if (problem) note = ` Look at the last line again: ${problem}.`;
  }
  recording.next++;
  recording.pad.clear();
  recordingChanged(note);
}

/** Go back to the sentence before; what was kept of it stays until another line of it is kept. */
function previousSentence() {
  recording.next--;
  recording.pad.clear();
  recordingChanged();
}

async function openHand(file) {
  try {
    const lines = readHand(await file.text());
    const unknown = unknownIn(lines.map(({text}) => text).join(""));
    if (unknown.length) throw new Error(`The network has not learnt: ${unknown.join(" ")}`);
    const question = "Replace the lines recorded here by those of the file?";
    if (recording.lines.length && !confirm(question)) return;
    recording.lines = lines;
    const kept = new Set(recording.lines.map(({text}) => text));
    recording.next = SENTENCES.findIndex((sentence) => !kept.has(sentence));
    if (recording.next < 0) recording.next = SENTENCES.length;
    recordingChanged();
  } catch (error) {
    say("record-status", error.message);
  }
}

// ------------------------------------------------------------------------------ the controls

function show(section) {
  for (const id of ["write", "scribble", "record"]) {
    byId(id).hidden = id !== section;
    byId(`to-${id}`).setAttribute("aria-pressed", String(id === section));
  }
  if (job) stop();
  if (section === "write") drawSheet();
  if (section === "scribble") scribble.pad.resize();
  if (section === "record") {
    recording.pad.resize();
    showRecorder();
  }
}

function connect() {
  const on = (id, type, act) => byId(id).addEventListener(type, act);
  for (const id of ["write", "scribble", "record"]) on(`to-${id}`, "click", () => show(id));
  for (const id of ["bias", "pen", "scribble-bias"]) {
    on(id, "input", () => say(`${id}-value`, byId(id).value));
    say(`${id}-value`, byId(id).value);
  }
  on("text", "input", checkText);
  on("plain", "click", () => {
    byId("text").value = plain(byId("text").value);
    checkText();
  });
  on("start", "click", startWriting);
  on("stop", "click", stop);
  on("replay", "click", replay);
  on("another", "click", () => {
    byId("seed").value = Math.floor(Math.random() * 2 ** 31);
    startWriting();
  });
  for (const id of ["pen", "look"]) on(id, "input", drawSheet);
  on("point", "input", () => {
    const shown = byId("point").valueAsNumber;
    if (job) stop();
    sheet.shown = shown;
    drawSheet();
  });
  on("save-svg", "click", () => download("handwriting.drawing.svg",
    toSVG(sheetStrokes(), penWidth()), "image/svg+xml"));
  on("save-png", "click", savePNG);
  on("save-hand", "click", saveHand);
  on("link", "click", async () => {
    rememberState();
    try {
      await navigator.clipboard.writeText(location.href);
      say("write-status", "Copied.");
    } catch {
      say("write-status", "Copy it from the address bar: it holds all of this.");
    }
  });

  scribble.pad = new Pad(byId("scribble-pad"), scribbleChanged);
  on("scribble-go", "click", goOn);
  on("scribble-undo", "click", () => scribble.pad.undo());
  on("scribble-clear", "click", () => scribble.pad.clear());

  recording.pad = new Pad(byId("record-pad"), showRecorder, 80);
  on("paper", "input", () => recording.pad.move(byId("paper").valueAsNumber));
  on("keep", "click", () => nextSentence(true));
  on("skip", "click", () => nextSentence(false));
  on("previous", "click", previousSentence);
  on("record-undo", "click", () => recording.pad.undo());
  on("record-clear", "click", () => recording.pad.clear());
  on("record-save", "click", () =>
    download("hand.json", writeHand(recording.lines), "application/json"));
  on("record-load", "click", () => byId("record-file").click());
  on("record-file", "change", async () => {
    await openHand(byId("record-file").files[0]);
    byId("record-file").value = "";  // so that the same file can be opened again
  });
  on("forget", "click", () => {
    if (!confirm("Delete all recorded lines from this browser?")) return;
    Object.assign(recording, {lines: [], next: 0});
    recordingChanged();
  });

  const redraw = () => {
    if (!byId("write").hidden) drawSheet();
    for (const {pad} of [scribble, recording]) if (pad.canvas.clientWidth) pad.resize();
  };
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("hashchange", openLink);
}

/** Take over what the link says, and write it. */
function openLink() {
  recallState();
  startWriting();
}

byId("text").value = EXAMPLE;
byId("wrap").value = Math.max(16, Math.min(45, Math.floor(byId("sheet").clientWidth / 18)));
loadRecording();
fillHands();
connect();
showRecorder();
openLink();
