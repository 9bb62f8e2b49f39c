// The sheet of paper and what is written on it, as SVG in pen units, and the look inside: the
// densities of the points, and where the network looked.
"use strict";

const EDGE = 150;  // pen units of paper left and right of the writing
const HEAD = 1, FOOT = 0.6;  // distances of lines above the first baseline and below the last
const LEAST_HIGH = 0.45;  // of the window's height: the sheet
const LEVELS = 8;  // strengths of ink that show how likely the end of a stroke was
const TRAIL = 20;  // points whose density the lens shows
const LENS = 10, LEAST_LENS = 2;  // the lens reaches so many deviations of densities; pen units
const MOST_LENS = 100;  // and at most so many half axes of the longest ellipse, so that it is seen

const byId = (id) => document.getElementById(id);
const on = (id, type, act) => byId(id).addEventListener(type, act);
const say = (id, sentence) => { byId(id).textContent = sentence; };

/** The SVG element with these attributes. */
function svg(name, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** The lines that are written, in the rows `places`; shown: points, of all lines together; width
 * that they are thought to take, pen units. */
const sheet = {lines: [], places: [], shown: 0, bias: 2, width: 3000, spacing: LINE_SPACING};

const penWidth = () => byId("pen").valueAsNumber;  // picture units
const inkColor = () => `#${chosen(byId("ink"))}`;
const countPoints = () => sheet.lines.reduce((total, line) => total + line.points.length, 0);

/** All strokes of the sheet in pen units. */
const sheetStrokes = () => sheet.lines.flatMap(({placed, number}) => placed.strokes.map((stroke) =>
  stroke.map(([x, y]) => [x, y + sheet.places[number] * sheet.spacing])));

/** The first points of strokes, so many. */
function cutStrokes(strokes, count) {
  const kept = [];
  for (const stroke of strokes) {
    if (count <= 0) break;
    kept.push(stroke.slice(0, count));
    count -= stroke.length;
  }
  return kept;
}

function addLine(line) {
  sheet.lines.push(line);
  const placed = sheet.lines.map((each) => each.placed);
  sheet.spacing = lineSpacing(placed, sheet.lines.map(({number}) => sheet.places[number]));
  showSheet();
}

/** Show paper and ink anew. */
function showSheet() {
  const {lines, places, spacing} = sheet, paper = byId("sheet");
  const width = Math.max(sheet.width, ...lines.map(({placed}) => placed.width)) + 2 * EDGE;
  const least = LEAST_HIGH * innerHeight * width / (paper.clientWidth || width);
  const written = ((places.at(-1) ?? 0) + HEAD + FOOT) * spacing;
  const top = -Math.max(HEAD * spacing, (lines[0]?.placed.rise ?? 0) + EDGE);
  const height = Math.max(least, written, (places.at(-1) ?? 0) * spacing - top +
    (lines.at(-1)?.placed.fall ?? 0) + EDGE);
  paper.setAttribute("viewBox", [-EDGE, top, width, height].map(Math.round).join(" "));
  const ink = svg("g", {id: "writing", stroke: inkColor(), "stroke-width": penWidth() * FACTOR});
  for (const line of lines) {
    line.group ??= svg("g");
    line.group.setAttribute("transform", `translate(0 ${places[line.number] * spacing})`);
    ink.append(line.group);
  }
  paper.replaceChildren(rules(-EDGE, top, width, height), ink, svg("g", {class: "density"}));
  showInk();
}

/** The faint lines of the paper that control `paper` names. */
function rules(left, top, width, height) {
  const {spacing} = sheet, kind = byId("paper").value;
  const apart = kind === "squared" ? spacing / 3 : spacing, pixels = byId("sheet").clientWidth;
  let d = "";
  if (kind !== "plain") {
    for (let y = Math.ceil(top / apart) * apart; y < top + height; y += apart) {
      d += `M${left},${y}h${width}`;
    }
  }
  if (kind === "squared") {
    for (let x = 0; x < left + width; x += apart) d += `M${x},${top}v${height}`;
  }
  return svg("path", {class: "rules", d, "stroke-width": width / (pixels || width)});
}

/** Show the first sheet.shown points, and what is inside the network at the last of them. */
function showInk() {
  const look = byId("look").checked;
  let left = sheet.shown, last = null;
  for (const line of sheet.lines) {
    const count = clip(left, 0, line.points.length), state = `${count} ${look}`;
    if (count > 0) last = {line, k: count - 1};
    if (line.state !== state) line.group.replaceChildren(...inkPaths(line, count, look));
    line.state = state;
    left -= count;
  }
  byId("inside").hidden = !look;
  if (look && last) showInside(last.line, last.k);
}

/** The paths of a line's first points; with look by how likely the end of a stroke was. */
function inkPaths({placed, zHats}, count, look) {
  const strokes = cutStrokes(placed.strokes, count);
  if (!look) return [svg("path", {d: strokes.map(pathData).join("")})];
  const levels = Array.from({length: LEVELS}, () => "");
  let k = 0;
  for (const stroke of strokes) {
    for (let j = 0; j < stroke.length; j++, k++) {
      const level = Math.min(Math.floor(LEVELS * sigmoid(-zHats[k][0])), LEVELS - 1);
      levels[level] += pathData(stroke.slice(Math.max(j - 1, 0), j + 1));
    }
  }
  return levels.map((d, level) =>
    svg("path", {d, "stroke-opacity": 0.4 + 0.6 * level / (LEVELS - 1)}));
}

// -------------------------------------------------------------------------------- look inside

/** The density of the line's point k as ellipses of two standard deviations. */
function density(line, k) {
  const {data_scale: dataScale} = config(), {pens, slope} = line.placed, [dx, dy] = moveOf(line, k);
  const m = levelMixture(mixture(line.zHats[k], sheet.bias, logSigmaMin(dataScale)), slope);
  const [left, top] = [pens[k][0] + dx, pens[k][1] + dy - slope * dx];
  return ellipses(m, dataScale).map((each) => ({...each, x: left + each.x, y: top + each.y}));
}

const ellipseOf = ({x, y, axes: [long, short], angle, pi}) => svg("ellipse", {
  rx: 2 * long, ry: 2 * short, opacity: 0.7 * Math.sqrt(pi),
  transform: `translate(${x} ${y}) rotate(${angle * 180 / Math.PI})`,
});

/** Where a density lies: its mean x, y and its standard deviation. */
function spread(parts) {
  const [x, y] = ["x", "y"].map((axis) => sum(parts.map((part) => part.pi * part[axis])));
  const square = sum(parts.map(({pi, axes, ...at}) =>
    pi * ((at.x - x) ** 2 + (at.y - y) ** 2 + axes[0] ** 2 + axes[1] ** 2)));
  return {x, y, deviation: Math.sqrt(square / 2)};
}

/** The density of the line's point k, on the sheet and in a lens as large as the last ones need;
 * and where the window looked in the text, the strongest mark where most. */
function showInside(line, k) {
  const transform = line.group.getAttribute("transform"), parts = density(line, k);
  const onSheet = byId("sheet").lastChild;
  onSheet.setAttribute("transform", transform);
  onSheet.replaceChildren(...parts.map(ellipseOf));
  const trail = line.points.slice(Math.max(k - TRAIL, 0), k + 1)
    .map((_, j, all) => density(line, k + 1 - all.length + j));
  const {x, y} = spread(parts);
  const usual = LENS * median(trail.map((each) => spread(each).deviation));
  const longest = Math.max(...parts.map(({axes}) => axes[0]));
  const r = Math.max(Math.min(usual, MOST_LENS * longest), LEAST_LENS);
  const before = svg("g", {class: "density before"}), now = svg("g", {class: "density"});
  const ink = svg("g", {stroke: inkColor(), "stroke-width": r / 40});
  before.append(...trail.slice(0, -1).flat().map(ellipseOf));
  now.append(...parts.map(ellipseOf));
  ink.append(...inkPaths(line, k, true));
  byId("lens").setAttribute("viewBox", `${x - r} ${y - r} ${2 * r} ${2 * r}`);
  byId("lens").replaceChildren(before, ink, now);
  const xHeight = Math.round(line.placed.size);
  say("across", `the lens is ${Math.round(2 * r)} pen units wide, an x ${xHeight} high`);
  const phi = line.windows[k], most = Math.max(...phi);
  byId("window").replaceChildren(...[...line.text].map((character, u) => {
    const span = document.createElement("span"), share = Math.round(70 * phi[u] / most);
    span.textContent = character;
    span.style.background = `color-mix(in srgb, var(--accent) ${share}%, transparent)`;
    return span;
  }));
  Object.assign(byId("point"), {max: countPoints(), value: sheet.shown});
  say("point-value", `${sheet.shown} of ${byId("point").max}`);
}
