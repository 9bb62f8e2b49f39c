// The part of the interface that records a hand; the recorder is recorder.js.
"use strict";

const KEPT = "handwriting-recording";  // in the browser's storage
// again: a text; sentences: one's own to copy
const recording = {lines: [], next: 0, again: null, note: "", sentences: []};
const ENOUGH_LINES = 12;  // lines show a hand

function loadRecording() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    if (!kept) return;
    const {hand, next, sentences = []} = kept, lines = hand ? readHand(JSON.stringify(hand)) : [];
    Object.assign(recording, {lines, next, sentences});
    byId("sentences").value = sentences.join("\n");
    byId("own").open = sentences.length > 0;
  } catch { /* A browser may keep nothing for files, or the text may be damaged. */ }
}

function recordingChanged(note = "") {
  recording.note = note;
  try {
    const {lines, next, sentences} = recording, hand = lines.length && JSON.parse(writeHand(lines));
    localStorage.setItem(KEPT, JSON.stringify({hand, next, sentences}));
  } catch {
    recording.note += " This browser keeps nothing: save hand.json before you leave.";
  }
  fillHands();
  showKept();
  showRecorder();
}

/** The sentence to copy, one that is written again first; undefined behind the last. */
const sentence = () => recording.again ?? sentences()[recording.next];

/** All that is to be copied: one's own sentences or those of this page. */
const sentences = () => recording.sentences.length ? recording.sentences : SENTENCES;

/** Take over the sentences that were typed, and begin with the first that is not kept. */
function sentencesChanged() {
  recording.sentences = byId("sentences").value.normalize("NFC").split("\n")
    .map((text) => text.replace(/[\s\p{Z}]+/gu, " ").replace(/\p{C}/gu, "").trim()).filter(Boolean);
  goTo(firstNew());
}

/** The number of the first sentence that is not kept. */
function firstNew() {
  const kept = new Set(recording.lines.map(({text}) => text));
  const next = sentences().findIndex((text) => !kept.has(text));
  return next < 0 ? sentences().length : next;
}

function showRecorder() {
  const {pad, lines, note} = recording, text = sentence();
  const isKept = lines.some((line) => line.text === text);
  say("sentence", text ?? "That was the last sentence. Thank you.");
  const place = sentences().indexOf(text) + 1;
  const where = place ? `Sentence ${place} of ${sentences().length}; ` : "";
  const again = isKept ? ", this one, too" : "";
  const more = lines.length < ENOUGH_LINES ? ` of the ${ENOUGH_LINES} that a hand needs` : "";
  say("record-status", `${where}${lines.length} kept${more}${again}.${note}`);
  byId("recorded").value = lines.length;
  byId("ready").hidden = lines.length < ENOUGH_LINES;
  byId("keep").disabled = !text || !pad.strokes.length;
  byId("skip").disabled = !text;
  byId("previous").disabled = recording.next === 0;
  byId("record-undo").disabled = byId("record-clear").disabled = !pad.strokes.length;
  if (pad.guide) Object.assign(byId("strip"), {max: pad.room, value: pad.moved});
  byId("record-save").disabled = byId("forget").disabled = !lines.length;
}

/** Show a picture of each line that is kept, which leads to writing it again. */
function showKept() {
  byId("kept").replaceChildren(...recording.lines.map((line) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.ariaLabel = button.title = `Write again: ${line.text}`;
    button.append(picture(toStrokes(toPoints(line))));
    button.addEventListener("click", () => goTo(recording.next, line.text));
    item.append(button);
    return item;
  }));
}

/** Go to a sentence, or to one that is written again first. What is kept of it stays until another
 * line of it is kept. */
function goTo(next, again = null, note = "") {
  Object.assign(recording, {next, again});
  recording.pad.clear();
  recordingChanged(note);
}

const skip = () => goTo(recording.again ? recording.next : recording.next + 1);

function keep() {
  const line = recording.pad.line(sentence()), {text} = line, {lines} = recording;
  const place = lines.findIndex((other) => other.text === text);
  recording.lines = place < 0 ? [...lines, line] : lines.with(place, line);
  const problem = findProblem({text, points: toPoints(line)});
  const note = problem ? ` Look at the last line again: ${problem}.` : "";
  goTo(recording.again ? recording.next : recording.next + 1, null, note);
}

async function openHand(file) {
  try {
    const lines = readHand(await file.text());
    const question = "Replace the lines recorded here by those of the file?";
    if (recording.lines.length && !confirm(question)) return;
    Object.assign(recording, {lines, again: null});
    recording.next = firstNew();
    recordingChanged();
  } catch (error) {
    say("record-status", error.message);
  }
}

function connectRecording() {
  recording.pad = new Pad(byId("record-pad"), showRecorder, 80);
  on("strip", "input", () => recording.pad.move(byId("strip").valueAsNumber));
  on("keep", "click", keep);
  on("skip", "click", skip);
  on("sentences", "change", sentencesChanged);
  on("previous", "click", () => goTo(recording.next - (recording.again ? 0 : 1)));
  on("record-undo", "click", () => recording.pad.undo());
  on("record-clear", "click", () => recording.pad.clear());
  on("record-save", "click", () =>
    download("hand.json", writeHand(recording.lines), "application/json"));
  on("record-load", "click", () => byId("record-file").click());
  on("record-file", "change", async () => {
    await openHand(byId("record-file").files[0]);
    byId("record-file").value = "";  // so that the same file can be opened again
  });
  on("ready", "click", () => {
    choose(byId("hand"), "recorded");
    show("write");
    startWriting();
  });
  on("forget", "click", () => {
    if (!confirm("Delete all recorded lines from this browser?")) return;
    Object.assign(recording, {lines: [], next: 0, again: null});
    recordingChanged();
  });
}
