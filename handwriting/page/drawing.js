// Pictures of strokes: SVG as handwriting/drawing/strokes.py writes it, densities as ellipses, and where
// the lines of a text stand on the page. Positions are in pen units, y downwards, unless a comment
// says picture units: pen units / FACTOR.
"use strict";

if (typeof require !== "undefined") Object.assign(globalThis, require("./engine.js"));

const FACTOR = 10;  // pen units in a picture unit
const UNIT_MM = 0.25, MARGIN = 12, DOT = 0.2, PEN_WIDTH = 0.9;  // picture units; mm of one on paper
const LINE_SPACING = 450;  // pen units from baseline to baseline
const MIN_SIGMA = 0.3;  // pen units

/** The strokes of a line's points: lists of pen positions [x, y], from the origin on. */
function toStrokes(points, [x, y] = [0, 0]) {
  const strokes = [[]];
  positions(points).forEach((pen, k) => {
    strokes.at(-1).push([x + pen[0], y + pen[1]]);
    if (points[k][2] > 0.5) strokes.push([]);
  });
  return strokes.filter((stroke) => stroke.length);
}

/** The number-th line of a text made level and put in its place: its points, and where the pen
 * starts. The first line's baseline is y = 0, and all lines begin at x = 0. Letters stand where the
 * pen turns upwards: the baseline is the median of these heights. */
function placeLine(drawn, number) {
  const points = level(drawn), pen = positions(points), y = (k) => pen[k]?.[1] ?? -Infinity;
  const turns = pen.map((_, k) => y(k)).filter((low, k) => low >= y(k - 1) && low > y(k + 1));
  const foot = turns.sort((a, b) => a - b)[turns.length >> 1];
  return {points, origin: [-Math.min(...pen.map(([x]) => x)), number * LINE_SPACING - foot]};
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

/** SVG path data through a stroke in picture units; a dash of DOT if all of it lies within DOT. */
function pathData(stroke) {
  const [left, top, right, bottom] = bounds([stroke]);
  if (Math.max(right - left, bottom - top) < DOT) {
    const x = (left + right) / 2, y = (top + bottom) / 2;
    stroke = [[x - DOT / 2, y], [x + DOT / 2, y]];
  }
  const [first, ...rest] = stroke.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`);
  return `M${first}L${rest.join(" ")}`;
}

/** Strokes in picture units from the picture's corner on, and the picture's width and height. */
function frame(strokes) {
  const inUnits = strokes.map((stroke) => stroke.map(([x, y]) => [x / FACTOR, y / FACTOR]));
  const [left, top, right, bottom] = bounds(inUnits);
  const x0 = Math.floor(left - MARGIN), y0 = Math.floor(top - MARGIN);
  return {
    strokes: inUnits.map((stroke) => stroke.map(([x, y]) => [x - x0, y - y0])),
    width: Math.ceil(right + MARGIN) - x0, height: Math.ceil(bottom + MARGIN) - y0,
  };
}

/** The SVG of strokes, as `draw_strokes` of drawing.py writes it; penWidth in picture units. */
function toSVG(strokes, penWidth = PEN_WIDTH) {
  const picture = frame(strokes), mm = (units) => `${(units * UNIT_MM).toFixed(2)}mm`;
  return `<?xml version="1.0" encoding="utf-8"?>
<svg xmlns="http://www.w3.org/2000/svg" style="background:white" width="${mm(picture.width)}" \
height="${mm(picture.height)}" viewBox="0 0 ${picture.width} ${picture.height}">
<g fill="none" stroke-linecap="round" stroke-linejoin="round" stroke-width="${penWidth}">
<path d="${picture.strokes.map(pathData).join("")}" stroke="black"/>
</g>
</svg>
`;
}

/** The components of a mixture in scaled units as ellipses in pen units: the middle x, y from the
 * pen, half axes, the longer one's angle, and the component's weight pi. */
function ellipses(m, dataScale) {
  return m.pi.map((pi, k) => {
    const [s1, s2] = [m.sigma1[k] * dataScale, m.sigma2[k] * dataScale];
    const xx = s1 * s1, yy = s2 * s2, xy = m.rho[k] * s1 * s2;
    const longer = (xx + yy) / 2 + Math.hypot((xx - yy) / 2, xy);  // an eigenvalue
    const shorter = Math.max(xx * yy - xy * xy, 0) / longer;
    return {
      x: m.mu1[k] * dataScale, y: m.mu2[k] * dataScale, pi,
      axes: [longer, shorter].map((square) => Math.max(Math.sqrt(square), MIN_SIGMA)),
      angle: Math.atan2(2 * xy, xx - yy) / 2,
    };
  });
}

if (typeof module !== "undefined") {
  module.exports = {toStrokes, placeLine, bounds, frame, pathData, toSVG, ellipses};
}
