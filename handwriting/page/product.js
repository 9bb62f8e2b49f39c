// Products of a matrix and a vector, which nearly all of the network's time goes into, in
// WebAssembly with SIMD: four at once. The module is put together here, an instruction after the
// other, so that what is read is what runs. The binary format and the numbers of instructions:
// https://webassembly.github.io/spec/core/binary
"use strict";

const SUMS = 8, ROWS = 4 * SUMS;  // sums of four floats each; outputs that are computed together
const FLOAT = 4, PAGE = 65536;  // bytes
const I32 = 0x7f, V128 = 0x7b;  // types: a whole number, four floats
const LOOP = [0x03, 0x40], END = [0x0b], AGAIN_IF = [0x0d, 0], LESS = [0x49], ADD = [0x6a];
const MULTIPLY_FLOATS = [0xfd, 0xe6, 1], ADD_FLOATS = [0xfd, 0xe4, 1];

/** A whole number >= 0, seven bits a byte, the least first. As a constant not 64 to 127: there the
 * bit of 64 is the sign. */
const number = (n) => n < 128 ? [n] : [n % 128 + 128, ...number(Math.floor(n / 128))];

const constant = (n) => [0x41, ...number(n)], get = (local) => [0x20, local];
const set = (local) => [0x21, local], tee = (local) => [0x22, local];
const load = (offset) => [0xfd, 0x00, 2, ...number(offset)];  // four floats
const loadOne = (offset) => [0xfd, 0x09, 2, ...number(offset)];  // one float, four times
const store = (offset) => [0xfd, 0x0b, 2, ...number(offset)];

/** The instructions of product(w, x, xEnd, y, yEnd), addresses in bytes: y += W x. At w are, for
 * each ROWS outputs, their weights of the first input, of the second, and so on. */
function productBody() {
  const [w, x, xEnd, y, yEnd, input, value, firstSum] = [0, 1, 2, 3, 4, 5, 6, 7];
  const each = (act) => Array.from({length: SUMS}, (_, k) => act(firstSum + k, 16 * k)).flat();
  const move = (address, bytes) => [...get(address), ...constant(bytes), ...ADD, ...tee(address)];
  return [
    ...LOOP,
    ...each((sum, offset) => [...get(y), ...load(offset), ...set(sum)]),
    ...get(x), ...set(input),
    ...LOOP,
    ...get(input), ...loadOne(0), ...set(value),
    ...each((sum, offset) => [...get(w), ...load(offset), ...get(value), ...MULTIPLY_FLOATS,
      ...get(sum), ...ADD_FLOATS, ...set(sum)]),
    ...get(w), ...constant(FLOAT * ROWS), ...ADD, ...set(w),
    ...move(input, FLOAT), ...get(xEnd), ...LESS, ...AGAIN_IF,
    ...END,
    ...each((sum, offset) => [...get(y), ...get(sum), ...store(offset)]),
    ...move(y, FLOAT * ROWS), ...get(yEnd), ...LESS, ...AGAIN_IF,
    ...END,
    ...END,
  ];
}

/** The module: it imports its memory, m.m, and exports the function, p. */
function productModule() {
  const section = (kind, content) => [kind, ...number(content.length), ...content];
  const body = [2, 1, I32, SUMS + 1, V128, ...productBody()];  // its locals of two types first
  return new WebAssembly.Module(new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, 5, I32, I32, I32, I32, I32, 0]),  // the function's type
    ...section(2, [1, 1, 0x6d, 1, 0x6d, 2, 0, 1]),  // import the memory, of a page at least
    ...section(3, [1, 0]),
    ...section(7, [1, 1, 0x70, 0, 0]),  // export the function
    ...section(10, [1, ...number(body.length), ...body]),
  ]));
}

let compiled;  // the module, once there is one

/** y = W x + b. The kernels [D, n] below each other are W, transposed. */
class Dense {
  constructor(kernels, bias) {
    const inputs = kernels.reduce((sum, {shape}) => sum + shape[0], 0), outputs = bias.length;
    const rows = ROWS * Math.ceil(outputs / ROWS), bytes = FLOAT * (rows * (inputs + 2) + inputs);
    const memory = new WebAssembly.Memory({initial: Math.ceil(bytes / PAGE)});
    const floats = (from, count) => new Float32Array(memory.buffer, FLOAT * from, count);
    const W = floats(0, rows * inputs), end = W.length + inputs;
    Object.assign(this, {bias, x: floats(W.length, inputs), y: floats(end, outputs)});
    let column = 0;
    for (const {shape: [count], values} of kernels) {
      for (let k = 0; k < values.length; k++) {
        const i = k % outputs, j = column + Math.floor(k / outputs);
        W[(i - i % ROWS) * inputs + j * ROWS + i % ROWS] = values[k];
      }
      column += count;
    }
    compiled ??= productModule();
    const {p: product} = new WebAssembly.Instance(compiled, {m: {m: memory}}).exports;
    const places = [0, W.length, end, end, end + rows].map((place) => FLOAT * place);
    this.product = () => product(...places);
  }

  /** y for x, the parts one after the other. */
  apply(...parts) {
    let at = 0;
    for (const part of parts) {
      this.x.set(part, at);
      at += part.length;
    }
    this.y.set(this.bias);
    this.product();
    return this.y.slice();
  }
}

if (typeof module !== "undefined") module.exports = {Dense};
