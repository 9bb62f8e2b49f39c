// Pictures of strokes: SVG as drawing/strokes.py writes it, densities as ellipses, and how the
// lines of a text stand on the sheet. Positions are in pen units, y downwards, unless a comment
// says picture units: pen units / FACTOR.
"use strict";

if (typeof require !== "undefined") Object.assign(globalThis, require("./placing.js"));

const FACTOR = 10;  // pen units in a picture unit
const UNIT_MM = 0.25, MARGIN = 12, DOT = 0.2, PEN_WIDTH = 0.9;  // picture units; mm of one on paper
const LINE_SPACING = 350;  // pen units from baseline to baseline, at least
const LOOSE = 3;  // x-heights of the hand from baseline to baseline, at least
const CLEAR = 25;  // pen units between what hangs from a line and what rises from the next
const MIN_SIGMA = 0.3;  // pen units

/** A drawn line made level and put on the baseline y = 0, word by word, beginning at x = 0:
 * {text, strokes, pens: where the pen was before each point, slope, size: its x-height, and how far
 * it reaches: width, rise above and fall below the baseline}. */
function placeLine({text, points, windows}) {
  const {slope} = baseline(points), strokes = toStrokes(level(points));
  const {size, baselines} = findBaselines(text, strokes, windows);
  const [left] = bounds(strokes), move = (at, n) => [at[0] - left, at[1] - baselines[n]];
  const all = strokes.flat(), strokeOf = strokes.flatMap((stroke, n) => stroke.map(() => n));
  const pens = strokeOf.map((n, k) => move(all[k - 1] ?? [0, 0], n));
  const placed = strokes.map((stroke, n) => stroke.map((at) => move(at, n)));
  const [, top, width, bottom] = bounds(placed);
  return {text, strokes: placed, pens, slope, size, width, rise: -top, fall: bottom};
}

/** The distance of the baselines of placed lines, at which none meets the next; places: the rows
 * that they stand in. */
function lineSpacing(placed, places) {
  const needed = placed.slice(1).map(({rise}, k) =>
    (placed[k].fall + rise + CLEAR) / (places[k + 1] - places[k]));
  const sizes = placed.filter(({text}) => text.length >= ENOUGH).map(({size}) => size);
  return Math.max(LINE_SPACING, sizes.length ? LOOSE * median(sizes) : 0, ...needed);
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

/** The SVG of strokes, as `draw_strokes` of Python writes it; penWidth in picture units. */
function toSVG(strokes, penWidth = PEN_WIDTH, ink = "black") {
  const picture = frame(strokes), mm = (units) => `${(units * UNIT_MM).toFixed(2)}mm`;
  return `<?xml version="1.0" encoding="utf-8"?>
<svg xmlns="http://www.w3.org/2000/svg" style="background:white" width="${mm(picture.width)}" \
height="${mm(picture.height)}" viewBox="0 0 ${picture.width} ${picture.height}">
<g fill="none" stroke-linecap="round" stroke-linejoin="round" stroke-width="${penWidth}">
<path d="${picture.strokes.map(pathData).join("")}" stroke="${ink}"/>
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
  module.exports = {placeLine, lineSpacing, frame, pathData, toSVG, ellipses};
}
