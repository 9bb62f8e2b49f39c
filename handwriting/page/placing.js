// Which strokes of a drawn line belong to which word, and where each word stands, as
// handwriting/text/words.py finds them; reasons and names are there. Positions are in pen units, y
// downwards; a stroke is a list of pen positions [x, y].
"use strict";

if (typeof require !== "undefined") {
  Object.assign(globalThis, require("./engine.js"), require("./spell.js"));
}

const UNSURE = 0.02, NAT = 25, FAR = 200, NO_STROKE = 10;
const WORD_SIZE = 100, CAPITAL = 0.6, STRAY = 0.7, BESIDE = 50;
const SIZES = [-3, -2, -1, 0, 1, 2, 3, 4, 5].map((k) => k / 4);  // octaves

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

/** The strokes of a line's points: lists of pen positions, from the origin on. */
function toStrokes(points, [x, y] = [0, 0]) {
  const strokes = [[]];
  positions(points).forEach((pen, k) => {
    strokes.at(-1).push([x + pen[0], y + pen[1]]);
    if (points[k][2] > 0.5) strokes.push([]);
  });
  return strokes.filter((stroke) => stroke.length);
}

/** The least and the most x and y of strokes: [x, y, x, y]. */
function bounds(strokes) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of strokes.flat()) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/** The numbers of the strokes of each word of a line. windows: of each point, where the network
 * looked in the text. A word that a stroke joins to the next one may have none. */
function numberStrokes(text, strokes, windows) {
  let count = 0;
  const wordOf = [...text].map((c, u, all) => /\s/.test(c) ? -1
    : /\s/.test(all[u - 1] ?? " ") ? count++ : count - 1);
  let at = 0;
  const shares = strokes.map((stroke) => {
    const share = new Array(count).fill(0);
    for (const phi of windows.slice(at, at += stroke.length)) {
      wordOf.forEach((word, u) => {
        if (word >= 0) share[word] += phi[u];
      });
    }
  const total = Math.max(sum(share), 1e-9);
    return share.map((each) => Math.log(each / total + UNSURE));
  });
  const boxes = strokes.map((stroke) => bounds([stroke]));
  const middle = (k) => boxes[k][0] + boxes[k][2];
  const order = strokes.map((_, k) => k).sort((a, b) => middle(a) - middle(b));
  const gaps = order.slice(1).map((_, k) => {
    const right = Math.max(...order.slice(0, k + 1).map((n) => boxes[n][2]));
    const left = Math.min(...order.slice(k + 1).map((n) => boxes[n][0]));
    return clip(left - right, -FAR, FAR) / NAT;
  });
  const cuts = bestCuts(order.map((k) => shares[k]), gaps);
  return cuts.slice(1).map((end, k) => order.slice(cuts[k], end).sort((a, b) => a - b));
}

/** The words of a line, of which those joined by a stroke are one: {text, strokes}. */
function splitWords(text, strokes, windows) {
  const numbers = numberStrokes(text, strokes, windows), found = [];
  let waiting = [];
  wordsOf(text).forEach((word, k) => {
    waiting.push(word);
    if (!numbers[k].length) return;
    found.push({text: waiting.join(" "), strokes: numbers[k].map((n) => strokes[n])});
    waiting = [];
  });
  return found;
}

/** Where N strokes are cut into W runs: places [W + 1] from 0 to N. scores [N][W]: what a stroke
 * adds in each run; gaps [N - 1]: what a cut adds between a stroke and the next. */
function bestCuts(scores, gaps) {
  const N = scores.length, back = [];
  let best = Array.from({length: N + 1}, (_, k) => k ? -Infinity : 0);
  for (let w = 0; w < scores[0].length; w++) {
    const total = [0], next = [], starts = [];
    for (const score of scores) total.push(total.at(-1) + score[w]);
    for (let end = 0; end <= N; end++) {
      next[end] = -Infinity;
      for (let start = 0; start <= end; start++) {
        const cut = start && start < N ? gaps[start - 1] : 0;
        const value = best[start] + cut - total[start] + total[end] -
          (start === end ? NO_STROKE : 0);
        if (value > next[end]) [next[end], starts[end]] = [value, start];
      }
    }
    back.push(starts);
    best = next;
  }
  const cuts = [N];
  for (const starts of back.reverse()) cuts.unshift(starts[cuts[0]] ?? 0);
  return cuts;
}

/** Where strokes turn: their lowest points (sign 1) or highest ones (-1) among the eight around
 * each. Dots and bars are left out; of points at one place one counts. */
function turns(strokes, sign) {
  const heights = strokes.map((stroke) => {
    const [, top, , bottom] = bounds([stroke]);
    return bottom - top;
  });
  const least = median(heights) / 2, places = new Map();
  strokes.forEach((stroke, n) => stroke.forEach(([x, y], k) => {
    const around = stroke.slice(Math.max(k - 4, 0), k + 5).map((at) => sign * at[1]);
    const place = `${Math.floor(x / 20)} ${Math.floor(y / 20)}`;
    const isTurn = heights[n] >= least && sign * y === Math.max(...around);
    if (isTurn && !places.has(place)) places.set(place, [x, y]);
  }));
  return [...places.values()];
}

/** How many of points [x, y], counted by their weights, lie near a height; their mean height. */
function support(points, weights, height, size) {
  let total = 0, mean = 0;
  for (let k = 0; k < points.length; k++) {
    const closeness = 1 - ((points[k][1] - height) / (0.3 * size)) ** 2;
    if (closeness <= 0) continue;
    total += closeness * weights[k];
    mean += closeness * weights[k] * points[k][1];
  }
  return {total, mean: total > 0 ? mean / total : height};
}

/** For each word, a list of strokes: the heights [low, high] of its baseline and of its x-line, the
 * two at a distance near size at which the most strokes turn, those of the word itself first. */
function guideLines(words, size) {
  const strokes = words.flat(), low = turns(strokes, 1), high = turns(strokes, -1);
  return words.map((word) => {
    const [left, , right] = bounds(word);
    const nearness = ([x]) => 1 / (1 + (Math.max(left - x, x - right, 0) / BESIDE) ** 2);
    const nearLow = low.map(nearness), nearHigh = high.map(nearness);
    let most = -Infinity, found;
    for (const octaves of SIZES) {
      const height = size * 2 ** octaves;
      for (const [, foot] of low) {
        const below = support(low, nearLow, foot, height);
        const above = support(high, nearHigh, foot - height, height);
        const both = (below.total + above.total) * (1 - 0.3 * Math.abs(octaves));
        if (both < most) continue;
        most = both;
        found = [below.mean, above.total > 0 ? above.mean : below.mean - height];
      }
    }
    return found;
  });
}

/** The x-height of the hand that wrote lines, lists of words {text, strokes}, and the guide lines
 * of each word of each line. */
function findGuides(lines) {
  const isSmall = lines.flat().map(({text}) => /\p{Ll}/u.test(text));
  let size = WORD_SIZE, guides;
  for (let round = 0; round < 2; round++) {
    guides = lines.map((words) => guideLines(words.map(({strokes}) => strokes), size));
    const heights = guides.flat().map(([low, high]) => low - high);
    const small = heights.filter((_, k) => isSmall[k]);
    size = small.length ? median(small) : CAPITAL * median(heights);
  }
  return {size, guides};
}

/** The x-height of the hand that wrote a line, and its words, {text, numbers, low}: the heights of
 * their baselines. One far from those of the neighbours, as quotation marks may give, is theirs; a
 * word without strokes stands as the one before. */
function findWords(text, strokes, windows) {
  const {size, guides: [guides]} = findGuides([splitWords(text, strokes, windows)]);
  const lows = guides.map(([low]) => low).map((low, k, all) => {
    const around = median(all.slice(Math.max(k - 2, 0), k + 3));
    return Math.abs(low - around) < STRAY * size ? low : around;
  });
  let known = 0;
  return {size, words: numberStrokes(text, strokes, windows).map((numbers, k) => {
    known += numbers.length > 0;
    return {text: wordsOf(text)[k], numbers, low: lows[Math.max(known - 1, 0)]};
  })};
}

/** Where the words of a line stand: the x-height of the hand, and for each stroke the baseline of
 * its word. */
function findBaselines(text, strokes, windows) {
  const {size, words} = findWords(text, strokes, windows), baselines = [];
  for (const {numbers, low} of words) for (const stroke of numbers) baselines[stroke] = low;
  return {size, baselines};
}

if (typeof module !== "undefined") {
  module.exports = {median, toStrokes, bounds, numberStrokes, splitWords, guideLines, findGuides,
    findWords, findBaselines};
}
