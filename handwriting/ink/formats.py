"""Ink in other formats: InkML and SVG paths as strokes.

A reader takes the bytes of a file and returns a list of (strokes, text or None), one for each line
of writing: strokes [n, 3] of (x, y, milliseconds) in the file's own unit, y downwards, milliseconds
0 where the file has none. Its UserError has no name of a file in it.

Sources: Ink Markup Language (W3C, 2011); Scalable Vector Graphics 1.1 (W3C, 2011), 8.3.
"""

import io
import itertools
import os
import re
from xml.etree import ElementTree
from xml.parsers import expat

from handwriting.files import UserError
from handwriting.ink.database import transcription
from handwriting.ink.line_strokes import parse_line
from handwriting.ink.points import check_points, check_size
from handwriting.ink.recording import read_file, read_hand, to_line

import numpy as np

SPREAD = 0.66  # x-heights: the median standard deviation of the height of ink in database lines
ANNOTATIONS = ("truth", "transcription", "text", "label")  # types that tell what a line says
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
# How many numbers each command of a path takes.
COMMANDS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}
SMOOTH = {"S": ("C", "S"), "T": ("Q", "T")}  # and behind which commands they are smooth
PIECES = 16  # straight pieces of a curve
MAX_POINTS = 1_000_000  # in a line
MAX_SVG_BYTES = 2 << 20  # a line of writing has about 20 kB
NOT_INK = ("defs", "clipPath", "mask", "symbol", "marker", "pattern")
SHAPES = ("line", "polyline", "polygon", "rect", "circle", "ellipse", "use", "image", "text")


def read_tree(content):
    """The root of an XML document, without namespaces. Raises UserError; no entity is expanded."""

    def refuse(*_):
        raise UserError("declares entities, which ink has no need of; save it without")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
        root = ElementTree.fromstring(content)
    except UserError:
        raise
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"is not well-formed XML ({error}); save it again") from None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def check_strokes(strokes):
    """These strokes [n, 3], or UserError if they are none, or too large."""
    if not strokes:
        raise UserError("holds no ink; name a file with traces or paths")
    if sum(map(len, strokes)) > MAX_POINTS:
        raise UserError(f"has over {MAX_POINTS:,} points; divide it")
    if not all((np.abs(stroke) < 1e12).all() for stroke in strokes):
        raise UserError("has a coordinate that is infinite or no number; correct it")
    return strokes


# -------------------------------------------------------------------------------------- InkML


def read_inkml(content):
    """The lines of InkML: one for each traceGroup that holds traces, else one of all traces.

    Times are those of a channel T.
    """
    root = read_tree(content)
    if root.tag != "ink":
        raise UserError("is no InkML, whose root is ink; save it as InkML")
    channels = list(next(root.iter("traceFormat"), root).iter("channel"))
    names = [channel.get("name") for channel in channels] or ["X", "Y"]
    if not {"X", "Y"} <= set(names):
        raise UserError("has no channels X and Y; save positions")
    in_seconds = "T" in names and channels[names.index("T")].get("units") == "s"
    groups = [group for group in root.iter("traceGroup") if group.find("trace") is not None]
    lines = []
    for group in groups or [root]:
        traces = [trace for trace in group.iter("trace") if trace.get("type") != "penUp"]
        strokes = check_strokes([read_trace(trace.text, names) for trace in traces])
        if in_seconds:
            strokes = [stroke * [1, 1, 1000] for stroke in strokes]
        notes = [*group.findall("annotation"), *(root.findall("annotation") if not groups else [])]
        said = [n.text for n in notes if (n.get("type") or "").lower() in ANNOTATIONS and n.text]
        lines.append((strokes, said[0].strip() if said else None))
    return lines


def read_trace(text, names):
    """The points of a trace, whose channels have these names, as [n, 3]."""
    rows = [row.split() for row in (text or "").strip().strip(",").split(",")]
    if rows == [[]]:
        raise UserError("has a trace without points; remove it")
    if any(len(row) < len(names) for row in rows):
        raise UserError(f"has a point without all of its channels {', '.join(names)}; correct it")
    try:
        values = np.array([row[: len(names)] for row in rows], float)
    except ValueError as error:
        raise UserError(f"has a trace of more than plain numbers ({error}); save those") from None
    columns = [values[:, names.index(name)] for name in ("X", "Y")]
    times = values[:, names.index("T")] if "T" in names else np.zeros(len(values))
    return np.stack([*columns, times], axis=1)


# ---------------------------------------------------------------------------------------- SVG


@np.errstate(all="ignore")  # check_strokes tells of what overflows
def read_svg(content):
    """The paths of an SVG as one line, whose text is the document's title, if it has one."""
    if len(content) > MAX_SVG_BYTES:
        raise UserError("is too large for a line; divide it, or leave other things out")
    root = read_tree(content)
    if root.tag != "svg":
        raise UserError("is no SVG, whose root is svg; save it as SVG")
    strokes, rest = [], [(root, np.eye(3))]
    while rest:
        element, transform = rest.pop()
        if element.tag in NOT_INK:
            continue
        if element.tag in SHAPES:
            raise UserError(f"has a <{element.tag}>, but only paths are read; convert it to a path")
        transform = transform @ read_transform(element.get("transform", ""))
        rest += [(child, transform) for child in reversed(element)]
        for subpath in read_path(element.get("d", "")) if element.tag == "path" else []:
            points = np.array([[z.real, z.imag, 1.0] for z in subpath]) @ transform.T
            strokes.append(points * [1, 1, 0])
    closed = sum(len(s) > 3 and (s[0] == s[-1]).all() for s in strokes)
    if closed > len(strokes) / 2:
        raise UserError("has closed outlines, not a pen's open paths; trace centre lines")
    title = root.findtext("title", "").strip()
    return [(check_strokes(strokes), title or None)]


def read_transform(text):
    """The matrix [3, 3] of an SVG transform: translate, scale and matrix."""
    product = np.eye(3)
    for name, inside in re.findall(r"(\w+)\s*\(([^)]*)\)", text):
        values = list(map(float, re.findall(NUMBER, inside)))
        if name == "translate" and len(values) in (1, 2):
            values = [1, 0, 0, 1, values[0], (*values, 0)[1]]
        elif name == "scale" and len(values) in (1, 2):
            values = [values[0], 0, 0, values[-1], 0, 0]
        elif name != "matrix" or len(values) != 6:
            raise UserError(f"has the transform {name}({inside[:40]}); apply it to the paths")
        a, b, c, d, e, f = values
        product = product @ [[a, c, e], [b, d, f], [0, 0, 1]]
    return product


def read_commands(data):
    """The (command, values) of an SVG path, each with as many numbers as it takes."""
    if data.strip()[:1] not in ("M", "m", ""):
        raise UserError("has a path that does not begin with M; correct it")
    commands = []
    for command, inside in re.findall(r"([A-DF-Za-df-z])([^A-DF-Za-df-z]*)", data):
        if command.upper() not in COMMANDS:
            raise UserError(f"has {command} in a path, but only {' '.join(COMMANDS)} are read")
        values, size = list(map(float, re.findall(NUMBER, inside))), COMMANDS[command.upper()]
        if re.sub(NUMBER, "", inside).strip(" \t\r\n,"):
            raise UserError(f"has {inside.strip()[:20]!r} in a path among the numbers; correct it")
        if (len(values) % size or not values) if size else values:
            raise UserError(f"has {len(values)} numbers for {command} in a path; correct it")
        parts = [values[k : k + size] for k in range(0, len(values), size or 1)] or [[]]
        further = {"M": "L", "m": "l"}.get(command, command)
        commands += [(command if k == 0 else further, part) for k, part in enumerate(parts)]
    return commands


def read_path(data):
    """The subpaths of an SVG path as lists of complex positions, curves as PIECES straight ones."""
    subpaths, here, control, before = [], 0j, 0j, ""
    for command, values in read_commands(data):
        kind, origin = command.upper(), here if command.islower() else 0j
        if kind == "Z":
            ends = [subpaths[-1][0]]
        elif kind == "H":
            ends = [complex(values[0] + origin.real, here.imag)]
        elif kind == "V":
            ends = [complex(here.real, values[0] + origin.imag)]
        else:
            ends = [origin + complex(*values[k : k + 2]) for k in range(0, len(values), 2)]
        if kind in SMOOTH:  # its first control point mirrors the one before, if there is one
            ends.insert(0, 2 * here - control if before in SMOOTH[kind] else here)
        if kind == "M":
            subpaths.append(ends)
        else:
            if before == "Z":
                subpaths.append([here])
            subpaths[-1] += curve([here, *ends])
        here, control, before = ends[-1], ends[-2] if len(ends) > 1 else ends[-1], kind
    return subpaths


def curve(corners):
    """Positions behind the first on a Bezier curve with these corners (complex)."""
    if len(corners) == 2:
        return corners[1:]
    t = np.arange(1, PIECES + 1) / PIECES
    points = [np.full(PIECES, corner) for corner in corners]
    while len(points) > 1:  # de Casteljau
        points = [a + t * (b - a) for a, b in itertools.pairwise(points)]
    return points[0].tolist()


# --------------------------------------------------------------------------------------- size


def estimate_x_height(strokes):
    """The x-height of a line's strokes [n, 3], in their unit, from how far ink spreads about its
    baseline. Raises UserError if they have no height, or look like several lines.
    """
    pieces = np.concatenate([np.hstack([s[:-1, :2], s[1:, :2]]) for s in strokes])
    x, y = (pieces[:, :2] + pieces[:, 2:]).T / 2
    lengths = np.hypot(*(pieces[:, 2:] - pieces[:, :2]).T)
    if not lengths.sum() > 0:
        raise UserError("holds nothing but dots; name a file with writing")
    covariance = np.cov(x, y, aweights=lengths, bias=True) + np.eye(2) * 1e-18
    # Short writing has no slope to speak of, as in handwriting.text.loader.baseline.
    slope = covariance[0, 1] / (covariance[0, 0] + 6 * covariance[1, 1])
    spread = np.sqrt(np.cov(y - slope * x, aweights=lengths, bias=True))
    if not spread > 1e-9:
        raise UserError("holds nothing but a straight line; name a file with writing")
    means = np.array([stroke[:, :2].mean(axis=0) @ [-slope, 1] for stroke in strokes])
    for k, (before, after) in enumerate(itertools.pairwise(strokes), 1):
        back = before[-1, 0] - after[0, 0] > np.ptp(x) / 2
        if back and means[k:].mean() - means[:k].mean() > 1.5 * spread:
            raise UserError("looks like several lines; put each in a file of its own")
    return spread / SPREAD


# ------------------------------------------------------------------------------ files of any kind


def read_line_strokes(path):
    """The line of one XML file of the database, and its text where transcriptions lie beside the
    folder that it is in: ([line], [text or None]). Raises UserError."""
    line = to_pen_units(parse_line(read_file(path)), path)
    return [line], [transcription(path)]


def read_npy(path):
    """The line of an .npy of points (dx, dy, eos) in pen units: ([line], [None]).

    Raises UserError, also for another unit."""
    try:
        points = np.lib.format.read_array(io.BytesIO(read_file(path)), allow_pickle=False)
    except UserError:
        raise
    except Exception as error:  # a damaged header fails in any way
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is no .npy of numbers ({reason}); use np.save.") from None
    return [to_pen_units(points, path)], [None]


def to_pen_units(points, path):
    """Points as a line, int16 [n, 3]. Raises UserError where they are no line in pen units."""
    points = check_points(points, f"The points in {path}")
    check_size([points], f"The points in {path}")
    return np.rint(points).astype(np.int16)


def read_foreign(path):
    """The lines and texts of InkML or SVG, which tell no unit: scaled by their own x-height."""
    found = FOREIGN[kind_of(path)](read_file(path))
    x_height = np.median([estimate_x_height(strokes) for strokes, _ in found])
    return [to_line(strokes, x_height) for strokes, _ in found], [text for _, text in found]


def kind_of(path):
    return os.path.splitext(path)[1].lower()


FOREIGN = {".inkml": read_inkml, ".svg": read_svg}
READERS = {".json": read_hand, ".xml": read_line_strokes, ".npy": read_npy}
READERS |= dict.fromkeys(FOREIGN, read_foreign)


def read_ink(path):
    """The lines, int16 [n, 3] each in pen units, and their texts (str or None) in a file of one of
    READERS. Raises UserError."""
    path = os.fspath(path)
    if kind_of(path) not in READERS:
        raise UserError(f"{path} is none of {', '.join(READERS)}; convert it to one.")
    try:
        return READERS[kind_of(path)](path)
    except UserError as error:
        message = str(error)
        raise UserError(message if path in message else f"{path} {message}.") from None
