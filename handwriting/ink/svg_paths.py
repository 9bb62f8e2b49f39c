"""The strokes of an SVG: paths and lines, as svgelements reads them.

svgelements fetches and runs nothing, but repeats what `use` names, and copies to each element what
those around it say: `check_cost` tells beforehand how much that is.
"""

import io
import re
from xml.etree import ElementTree

from handwriting.files import UserError
from handwriting.ink.page_lines import divide, share_text
from handwriting.ink.xml_tree import MAX_POINTS, check_strokes, read_tree

import numpy as np
from svgelements import SVG, Close, Line, Move, Path, Shape

PIECES = 16  # straight pieces of a curve
MAX_BYTES = 2 << 20  # a page of writing has about 200 kB
MAX_DEPTH = 50
MAX_COST = 8 << 20  # characters that svgelements looks at
MAX_ATTRIBUTE = 2000  # characters, but of what tells positions, or is a picture
LONG = ("d", "points", "href", "{http://www.w3.org/1999/xlink}href")
NOT_DRAWN = ("mask", "marker", "symbol")  # which svgelements would draw
LABEL = "{http://www.inkscape.org/namespaces/inkscape}label"
RULES = "ruled lines"  # the label of a layer in our sheets, see handwriting.drawing.sheets
NORMAL = "give NAME.normal.svg in place of a picture of ours"


def check_cost(root, content):
    """Raise UserError where reading an SVG would take long: see above."""
    if len(content) > MAX_BYTES:
        raise UserError(f"is larger than {MAX_BYTES >> 20} MB; divide it, or leave pictures out")
    if re.search(rb"\d{100}", content):
        raise UserError("has a number of a hundred digits; correct it")
    ids = {element.get("id"): element for element in root.iter()}
    styles = sum(len(element.text or "") for element in root.iter("style"))
    cost, rest = 0, [(root, 0, 0)]
    while rest:
        element, depth, around = rest.pop()
        sizes = {name: len(value) for name, value in element.attrib.items()}
        around += sum(sizes.values()) + 50
        cost += around + styles
        if any(size > MAX_ATTRIBUTE for name, size in sizes.items() if name not in LONG):
            raise UserError("has an attribute that is too long; leave other things than paths out")
        if depth > MAX_DEPTH or cost > MAX_COST:
            raise UserError("is too intricate; save it with plain paths, in few groups")
        rest += [(child, depth + 1, around) for child in element]
        for name in LONG[2:] if element.tag == "use" else ():
            if (again := ids.get(element.get(name, "")[1:])) is not None:
                rest.append((again, depth + 1, around))


def prepare(root):
    """The SVG as svgelements reads it, without what it would draw though browsers do not, or take
    long to find nothing in."""
    for element in root.iter():
        if element.tag in NOT_DRAWN:
            element.tag = "defs"
        elif element.tag == "style":
            words = (element.text or "").split()
            element.text = "\n".join(words) if sum(map(len, words)) < 10_000 else ""
        elif element.tag == "path" and "d" not in element.attrib:
            element.set("d", "")
    return io.BytesIO(ElementTree.tostring(root))


def is_writing(element):
    return isinstance(element, Shape) and element.values.get(LABEL) != RULES


def flatten(path):
    """The subpaths of a Path as lists of positions (x, y), curves as PIECES straight ones."""
    subpaths, closed, fractions = [], False, np.arange(1, PIECES + 1) / PIECES
    for segment in path:
        if isinstance(segment, Move):
            subpaths.append([segment.end])
        elif not subpaths:
            raise UserError("has a path that does not begin with M; correct it")
        else:
            if closed:
                subpaths.append([segment.start])
            straight = isinstance(segment, (Line, Close))
            subpaths[-1] += [segment.end] if straight else list(segment.npoint(fractions))
        closed = isinstance(segment, Close)
    return subpaths


def read_shapes(root):
    """The strokes [n, 3] of an SVG, and how many outlines it has, closed and filled, which are no
    strokes."""
    shapes = list(SVG.parse(prepare(root), on_error="raise").select(is_writing))
    paths = [abs(Path(shape)) for shape in shapes]
    curves = sum(not isinstance(piece, (Move, Line, Close)) for path in paths for piece in path)
    if curves * PIECES > MAX_POINTS:
        raise UserError(f"has {curves:,} curves; divide it, or draw them with fewer nodes")
    strokes, outlines = [], 0
    for shape, path in zip(shapes, paths, strict=True):
        filled = shape.fill.value is not None and shape.stroke.value is None
        for subpath in flatten(path):
            if filled and len(subpath) > 3 and tuple(subpath[0]) == tuple(subpath[-1]):
                outlines += 1
            else:
                strokes.append(np.array([[*position, 0] for position in subpath], float))
    return strokes, outlines


def check_pieces(strokes):
    """Raise UserError where most strokes begin at the end of the one before."""
    ends = np.array([[stroke[0, :2], stroke[-1, :2]] for stroke in strokes])
    gaps = np.abs(ends[1:, 0] - ends[:-1, 1]).max(axis=1)
    if len(strokes) > 3 and np.mean(gaps <= 1e-6 * np.abs(ends).max()) > 0.5:
        what = "has a path for each piece of a stroke, as our NAME.multi_color.svg and NAME.eos_pdf"
        raise UserError(f"{what}.svg have; {NORMAL}, or join the paths")


@np.errstate(all="ignore")  # check_strokes tells of what overflows
def read_svg(content):
    """The lines of writing in an SVG, (strokes, text or None) each, found by their height. The
    text is the document's title, where it has as many lines. Raises UserError.
    """
    root = read_tree(content)
    if root.tag != "svg":
        raise UserError("is no SVG, whose root is svg; save it as SVG")
    if len(list(root.iter("ellipse"))) > len(list(root.iter("path"))):
        raise UserError(f"is made of ellipses, as our NAME.pdf.svg is; {NORMAL}")
    check_cost(root, content)
    try:
        strokes, outlines = read_shapes(root)
    except UserError:
        raise
    except Exception:  # what is damaged fails in any way
        raise UserError("has a path or shape that cannot be read; correct it") from None
    if outlines > len(strokes):
        raise UserError("has closed outlines, not a pen's open paths; trace centre lines")
    check_pieces(check_strokes(strokes))
    lines = divide(strokes)
    return list(zip(lines, share_text(root.findtext("title"), len(lines)), strict=True))
