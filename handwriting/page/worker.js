// Computing beside the page, in a Worker, so that neither stalls the other, and a page out of sight
// goes on. The Worker is made of this script and those before it; the page sends it the weights,
// then requests, of which each ends the one before.
"use strict";

const SLICE = 30;  // milliseconds of computing until the Worker looks for another request
const MOST_FREE = 2000;  // points of a scribble

/** What make returns, made when it is first asked for. */
function once(make) {
  let made;
  return () => made ??= make();
}

/** Go on from points (pen units) without text, until the line is `room` pen units wide: yields null
 * for each point, and at last the line. */
function* scribbleOn(model, noise, bias, points, room) {
  let x = 0;
  for (const line of drawFreely(model, noise, bias, points)) {
    x += line ? line.points.at(-1)[0] : 0;
    if (x > room || line?.points.length === MOST_FREE) return yield {...line, number: 0};
    yield null;
  }
}

/** The steps that answer a request. */
function answer(models, {texts, points, bias, seed, style, room}) {
  const noise = new Noise(seed);
  return texts ? writeLines(models.text(), models.reader(), noise, texts, bias, style)
    : scribbleOn(models.scribble(), noise, bias, points, room);
}

/** What the Worker does. It sends each line when it is whole, as {job, line}, and at the end
 * {job, rate}: so many points a second it computed. */
function serve(worker) {
  const models = {}, {port1, port2} = new MessageChannel();
  let current;
  worker.onmessage = async ({data: {weights, job, ...request}}) => {
    for (const [name, packed] of Object.entries(weights ?? {})) {
      models[name] = once(() => new (name === "reader" ? Reader : Model)(readTensors(packed)));
    }
    if (weights) return models.text();
    current = job;
    const steps = answer(models, request);
    for (let count = 0, computed = 0, step = {}; current === job;) {
      const begun = performance.now();
      do {
        step = steps.next();
        count++;
      } while (!step.done && !step.value && performance.now() < begun + SLICE);
      computed += performance.now() - begun;
      if (step.value) worker.postMessage({job, line: step.value});
      if (step.done) return worker.postMessage({job, rate: 1000 * count / computed});
      await new Promise((resume) => {  // a message behind those of the page
        port1.onmessage = resume;
        port2.postMessage(null);
      });
    }
  };
}

// While the page is read, its scripts are those up to this one.
const SOURCES = typeof document === "undefined" ? []
  : [...document.querySelectorAll("script:not([type])")].map((script) => script.textContent);

/** Start the Worker: returns what sends it a request. receive is called with what it sends, failed
 * where the browser starts none. */
function startWorker(weights, receive, failed) {
  const worker = new Worker(URL.createObjectURL(new Blob(SOURCES, {type: "text/javascript"})));
  worker.onmessage = ({data}) => receive(data);
  worker.onerror = failed;
  worker.postMessage({weights});
  return (request) => worker.postMessage(request);
}

if (typeof WorkerGlobalScope !== "undefined") serve(self);
if (typeof module !== "undefined") {
  module.exports = {answer};
}
