// The network of model.py, and how text/pen.py draws a text with it, for browsers and Node; its
// products are those of product.js.
// The equations and names are those of model.py, where each is explained; "eq." counts as in
// A. Graves, "Generating Sequences With Recurrent Neural Networks" (arXiv 1308.0850). Only lstm
// layers run here. Scaled units (pen units / dataScale) unless a comment says otherwise. A point is
// [dx, dy, eos]. D inputs, H units, M mixture components, U symbols of a text, V symbols of the
// alphabet, K components of the window.
"use strict";

if (typeof require !== "undefined") Object.assign(globalThis, require("./product.js"));

const START = [0, 0, 1];  // the point before a line's first
const LIMIT = 500, SIGMA_MIN = 0.288;  // pen units: most move of a style; least deviation
const LOG_SIGMA_MAX = 80, RHO_HAT_MAX = 8, DISTANCE_MAX = 1e9;
const ENDS = 3;  // symbols of the end behind a text
const MOST_POINTS = 60;  // for each character; and so many more for a line
const GONE = 0.01;  // of the window's weight left on a text: it has run past the end
const USUAL = {length: [9, 46], width: [41, 391]};  // points, pen units for each character
const ENOUGH = 8;  // characters: shorter texts vary more

// ---------------------------------------------------------------------------------- weights

/** The number that each of the 65,536 float16 stands for. */
function halfValues() {
  return new Float32Array(1 << 16).map((_, bits) => {
    const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  });
}

/** The bytes of base64. */
function decode(base64) {
  const characters = atob(base64), bytes = new Uint8Array(characters.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = characters.charCodeAt(k);
  return bytes;
}

/** What stands before the tensors of a safetensors file: its entries, the config in it, and where
 * the tensors begin. */
function readHeader(bytes) {
  const start = 8 + new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const {__metadata__: {config}, ...entries} = header;
  return {entries, config: JSON.parse(config), start};
}

/** Of a safetensors file in base64: tensors, name -> {shape, values}, and the config in it. */
function readTensors(base64) {
  const bytes = decode(base64.trim()), {entries, config, start} = readHeader(bytes);
  const half = halfValues(), tensors = {};
  for (const [name, {shape, data_offsets: [from, to]}] of Object.entries(entries)) {
    const bits = new Uint16Array(bytes.buffer.slice(start + from, start + to));
    const values = new Float32Array(bits.length);
    for (let k = 0; k < bits.length; k++) values[k] = half[bits[k]];
    tensors[name] = {shape, values};
  }
  return {tensors, config};
}

// -------------------------------------------------------------------------- mixture density

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const tanh = (x) => 1 - 2 / (1 + Math.exp(2 * x));
const clip = (x, low, high) => Math.min(Math.max(x, low), high);
const sum = (values) => values.reduce((a, b) => a + b, 0);

function softmax(values) {
  const most = Math.max(...values), e = values.map((v) => Math.exp(v - most)), total = sum(e);
  return e.map((v) => v / total);
}

/** The density of a point (eq. 16 to 22) from zHat [1 + 6 M], as `mixture` and `split_outputs` of
 * mixture.py: M bivariate normals and eos, with the post's sign. bias > 0: neater. */
function mixture(zHat, bias, logSigmaMin) {
  const M = (zHat.length - 1) / 6;
  const part = (k) => Array.from(zHat.subarray(1 + k * M, 1 + (k + 1) * M));
  const [piHat, mu1, mu2, sigma1Hat, sigma2Hat, rhoHat] = [0, 1, 2, 3, 4, 5].map(part);
  const s1 = sigma1Hat.map((s) => clip(s, logSigmaMin, LOG_SIGMA_MAX));
  const s2 = sigma2Hat.map((s) => clip(s, logSigmaMin, LOG_SIGMA_MAX));
  const rho = rhoHat.map((value, k) => {
    const e1 = Math.exp(2 * (logSigmaMin - s1[k])), e2 = Math.exp(2 * (logSigmaMin - s2[k]));
    const r = Math.sqrt((1 - e1) * (1 - e2));
    const limit = Math.min(Math.log1p(r) - 0.5 * Math.log(e1 + e2 - e1 * e2), RHO_HAT_MAX);
    return Math.tanh(clip(value, -limit, limit));
  });
  const [sigma1, sigma2] = [s1, s2].map((values) => values.map((s) => Math.exp(s - bias)));
  const longer = mu1.map((mu, k) => {
    const variance = sigma1[k] ** 2 + sigma2[k] ** 2;
    const share = variance / (mu ** 2 + mu2[k] ** 2 + variance);
    return Math.sqrt(1 + share * (Math.exp(2 * bias) - 1));
  });
  const [m1, m2] = [mu1, mu2].map((values) => values.map((mu, k) => longer[k] * mu));
  const pi = softmax(piHat.map((p) => p * (1 + bias)));
  return {pi, mu1: m1, mu2: m2, sigma1, sigma2, rho, eos: sigmoid(-zHat[0])};
}

/** The least logarithm of a deviation in scaled units. */
const logSigmaMin = (dataScale) => Math.log(SIGMA_MIN / dataScale);

/** A point drawn from the mixture m with two uniform and two normal numbers. */
function samplePoint(m, [u1, u2, n1, n2]) {
  let k = 0;
  for (let below = m.pi[0]; below < u1 && k < m.pi.length - 1; below += m.pi[k]) k++;
  const dx = m.mu1[k] + m.sigma1[k] * n1;
  const dy = m.mu2[k] + m.sigma2[k] * (m.rho[k] * n1 + Math.sqrt(1 - m.rho[k] ** 2) * n2);
  return [dx, dy, u2 < m.eos ? 1 : 0];
}

/** The source of randomness, from a whole number (mulberry32); the same seed draws the same. */
class Noise {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  uniform() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Two uniform and two normal numbers (Box and Muller), of one point. */
  next() {
    const r = Math.sqrt(-2 * Math.log(1 - this.uniform())), angle = 2 * Math.PI * this.uniform();
    return [this.uniform(), this.uniform(), r * Math.cos(angle), r * Math.sin(angle)];
  }
}

// ------------------------------------------------------------- one point through the network

/** x with the direction and log length of its move: dx / r, dy / r, 1/2 ln r. */
function polarInputs(x) {
  const [dx, dy] = x.map((v) => clip(v, -DISTANCE_MAX, DISTANCE_MAX));
  const r2 = Math.max(dx * dx + dy * dy, 1e-4), r = Math.sqrt(r2);
  return [...x, dx / r, dy / r, 0.25 * Math.log(r2)];
}

/** Make v, in place, have mean 0 and standard deviation 1; then times gain, plus offset. */
function normalise(v, gain, offset) {
  let mean = 0, variance = 0;
  for (let k = 0; k < v.length; k++) mean += v[k];
  mean /= v.length;
  for (let k = 0; k < v.length; k++) variance += (v[k] - mean) ** 2;
  const scale = 1 / Math.sqrt(variance / v.length + 1e-5);
  for (let k = 0; k < v.length; k++) v[k] = (v[k] - mean) * scale * gain[k] + offset[k];
  return v;
}

/** Bring an lstm layer's state h, c [H] to its next, in place (eq. 7 to 11).
 * z [4 H]: the gates' inputs i, f, g, o; peephole [3 H] and norm [2, 5, H] as in `lstm_step`. */
function lstmStep(z, {h, c}, {peephole: p, norm}) {
  const H = h.length, block = (array, k) => array.subarray(k * H, (k + 1) * H);
  const [zi, zf, zg, zo] = [0, 1, 2, 3].map((k) =>
    norm ? normalise(block(z, k), block(norm, k), block(norm, 5 + k)) : block(z, k));
  for (let k = 0; k < H; k++) {
    const i = sigmoid(zi[k] + (p ? p[k] * c[k] : 0));
    const f = sigmoid(zf[k] + (p ? p[H + k] * c[k] : 0));
    c[k] = f * c[k] + i * tanh(zg[k]);
  }
  const seen = norm ? normalise(c.slice(), block(norm, 4), block(norm, 9)) : c;
  for (let k = 0; k < H; k++) {
    h[k] = sigmoid(zo[k] + (p ? p[2 * H + k] * c[k] : 0)) * tanh(seen[k]);
  }
}

/** Move the window, w [V] and kappa [K] in place, over the text's symbols chars [U] (eq. 46 to
 * 51): phi [U], where it looks. With model.py's departures: alpha sums to 1, beta is bounded. */
function windowStep(aHat, {w, kappa}, chars) {
  const K = kappa.length, alpha = softmax(aHat.subarray(0, K));
  const phi = new Float32Array(chars.length);
  for (let k = 0; k < K; k++) {
    const beta = 0.05 + 4 * sigmoid(aHat[K + k]);
    kappa[k] += 2 * sigmoid(aHat[2 * K + k]);
    const height = alpha[k] * Math.sqrt(beta / Math.PI);
    for (let u = 0; u < phi.length; u++) {
      phi[u] += height * Math.exp(-beta * (kappa[k] - u - 0.5) ** 2);
    }
  }
  w.fill(0);
  for (let u = 0; u < phi.length; u++) if (chars[u] >= 0) w[chars[u]] += phi[u];
  return phi;
}

class Model {
  /** A network from what readTensors returns. */
  constructor({tensors, config}) {
    const values = (name) => tensors[name]?.values;
    const known = (names) => names.map((name) => tensors[name]).filter(Boolean);
    const dense = (names, bias) => new Dense(known(names), values(bias));
    const {alphabet, skip, polar, rnn_size: units, data_scale: dataScale} = config;
    Object.assign(this, {alphabet, skip, polar, units, dataScale});
    this.logSigmaMin = logSigmaMin(this.dataScale);
    this.layers = Array.from({length: config.num_layers}, (_, k) => {
      const kernels = ["kernel", "window_kernel", "recurrent_kernel"];
      return {
        gates: dense(kernels.map((name) => `layers.${k}.${name}`), `layers.${k}.bias`),
        peephole: values(`layers.${k}.peephole`),
        norm: values(`layers.${k}.norm`),
      };
    });
    this.output = dense(["output.kernel", "output.window_kernel"], "output.bias");
    if (this.alphabet) {
      this.window = dense(["window.kernel"], "window.bias");
      this.numWindow = values("window.bias").length / 3;
      this.end = dense(["end.kernel"], "end.bias");
    }
  }

  /** The zero state. Steps change it in place. */
  initialState() {
    const zeros = (size) => new Float32Array(size);
    return {
      layers: this.layers.map(() => ({h: zeros(this.units), c: zeros(this.units)})),
      w: zeros(this.alphabet ? this.alphabet.length + 1 : 0),
      kappa: zeros(this.numWindow ?? 0),
    };
  }

  /** One point through all layers: zHat; with chars, a text's symbols, also phi [U], where the
   * window looks, and end, the logit that the line ends with this point. */
  step(point, state, chars) {
    const x = this.polar ? polarInputs(point) : point;
    const outputs = state.layers.map(({h}) => h);
    let phi;
    this.layers.forEach((layer, k) => {
      const below = k === 0 ? [x] : this.skip ? [outputs[k - 1], x] : [outputs[k - 1]];
      lstmStep(layer.gates.apply(...below, state.w, outputs[k]), state.layers[k], layer);
      if (k === 0 && this.alphabet) phi = windowStep(this.window.apply(outputs[0]), state, chars);
    });
    const seen = [...(this.skip ? outputs : outputs.slice(-1)), state.w];
    const end = this.alphabet ? this.end.apply(...seen)[0] : undefined;
    return {zHat: this.output.apply(...seen), phi, end};
  }

  /** A point in pen units as one in scaled units, and back. */
  scaled([dx, dy, eos]) {
    return [...[dx, dy].map((v) => clip(v, -LIMIT, LIMIT) / this.dataScale), eos];
  }
  penUnits([dx, dy, eos]) {
    return [dx * this.dataScale, dy * this.dataScale, eos];
  }
}

// ---------------------------------------------------------------------------- drawing texts

/** The symbols of a text: 0 is the end, k the alphabet's character k - 1, -1 none of it. */
function encode(text, alphabet) {
  const symbols = [...text].map((character) => alphabet.indexOf(character) + 1 || -1);
  return [...symbols, ...Array(ENDS).fill(0)];
}

/** Bring a state behind the points of a style (pen units), a step for each next(); returns the last
 * of them. */
function* readStyle(model, state, strokes, chars) {
  let point = START;
  for (const next of strokes) {
    model.step(point, state, chars);
    point = model.scaled(next);
    yield null;
  }
  return point;
}

/** Draw on from points (pen units), without text and without end: yields null for each point read,
 * then a line {points (pen units), zHats} that grows by a point each time. */
function* drawFreely(model, noise, bias, strokes) {
  const state = model.initialState(), line = {points: [], zHats: []};
  let point = yield* readStyle(model, state, strokes);
  for (;;) {
    const {zHat} = model.step(point, state);
    point = samplePoint(mixture(zHat, bias, model.logSigmaMin), noise.next());
    line.points.push(model.penUnits(point));
    line.zHats.push(zHat);
    yield line;
  }
}

/** What a text behind a style, {strokes (pen units), text} or null, begins with: its symbols, where
 * it begins among them, the state behind the style and its last point. Yields as readStyle does. */
function* beginLine(model, text, style) {
  const before = style ? `${style.text} ` : "", chars = encode(before + text, model.alphabet);
  const state = model.initialState();
  const point = yield* readStyle(model, state, style ? style.strokes : [], chars);
  return {chars, first: before.length, state, point};
}

function copyState({layers, w, kappa}) {
  const copies = layers.map(({h, c}) => ({h: h.slice(), c: c.slice()}));
  return {layers: copies, w: w.slice(), kappa: kappa.slice()};
}

/** Draw a text once, as `write_chunk` of pen.py. begun: what beginLine returns. Yields for
 * each point, and returns the line {text, points (pen units), zHats, windows}. */
function* drawBegun(model, noise, text, bias, begun) {
  const {chars, first} = begun, last = first + text.length - 1;
  const most = MOST_POINTS * (text.length + 1), state = copyState(begun.state);
  const line = {text, points: [], zHats: [], windows: []};
  let {point} = begun;
  while (line.points.length < most) {
    const {zHat, phi, end} = model.step(point, state, chars);
    const place = phi.indexOf(Math.max(...phi)), left = sum(phi.subarray(0, last + 1));
    const ends = (point[2] > 0.5 && end > 0 && place >= last) || left < GONE;
    if (ends && line.points.length > 0) break;
    point = samplePoint(mixture(zHat, bias, model.logSigmaMin), noise.next());
    line.points.push(model.penUnits(point));
    line.zHats.push(zHat);
    line.windows.push(phi.subarray(first, last + 1));
    yield null;
  }
  line.points.at(-1)[2] = 1;
  return line;
}

/** What is wrong with a drawn line, or the empty string. */
function findProblem({text, points}) {
  if (points.length >= MOST_POINTS * (text.length + 1)) return "it did not end";
  if (text.length < ENOUGH) return "";
  const x = positions(points.slice(1)).map(([x]) => x);
  const ink = {length: points.length, width: Math.max(...x) - Math.min(...x)};
  for (const [name, [low, high]] of Object.entries(USUAL)) {
    const each = ink[name] / text.length;
    if (each < low || each > high) return `its ${name} does not fit its text`;
  }
  return "";
}

/** Where the pen is after each point. */
function positions(points) {
  let x = 0, y = 0;
  return points.map(([dx, dy]) => [x += dx, y += dy]);
}

/** Slope and height at x = 0 of the straight line through points (pen units), as in text.py. */
function baseline(points) {
  const pen = positions(points), n = pen.length;
  const [mx, my] = [0, 1].map((axis) => sum(pen.map((at) => at[axis])) / n);
  const covariance = sum(pen.map(([x, y]) => (x - mx) * (y - my))) / n;
  const slope = covariance / (sum(pen.map(([x]) => (x - mx) ** 2)) / n + 200 ** 2);
  return {slope, height: my - slope * mx};
}

/** Points sheared so that their baseline is horizontal; upright strokes stay upright. */
function level(points) {
  const {slope} = baseline(points);
  return points.map(([dx, dy, eos]) => [dx, dy - slope * dx, eos]);
}

/** The mixture of a point that is sheared by slope. */
function levelMixture(m, slope) {
  const own = m.sigma2.map((s, k) => s * Math.sqrt(1 - m.rho[k] ** 2));
  const shared = m.sigma2.map((s, k) => m.rho[k] * s - slope * m.sigma1[k]);
  const sigma2 = own.map((s, k) => Math.hypot(s, shared[k]));
  const mu2 = m.mu2.map((mu, k) => mu - slope * m.mu1[k]);
  return {...m, mu2, sigma2, rho: shared.map((s, k) => s / sigma2[k])};
}

if (typeof module !== "undefined") {
  module.exports = {ENOUGH, clip, sum, readTensors, Model, Noise, mixture, encode, drawFreely,
    beginLine, drawBegun, findProblem, positions, baseline, level, levelMixture};
}
