"""A line as lineStrokes XML: read, and written.

A line's first move leads from the origin, 100 units left of and above the box of its
WhiteboardDescription, to its first point. Source: the IAM On-Line Handwriting Database.
"""

import itertools
from xml.parsers import expat

from handwriting.files import UserError

import numpy as np

MAX_XML_BYTES = 16 << 20  # no file is read beyond this; a line has about 40 kB
HEAD = """<?xml version="1.0" encoding="ISO-8859-1"?>
<WhiteboardCaptureSession>
  <WhiteboardDescription>
    <SensorLocation corner="top_left"/>
    <DiagonallyOppositeCoords x="{2}" y="{3}"/>
    <VerticallyOppositeCoords x="{0}" y="{3}"/>
    <HorizontallyOppositeCoords x="{2}" y="{1}"/>
  </WhiteboardDescription>
  <StrokeSet>
"""
STROKE = '    <Stroke colour="black" start_time="{:.2f}" end_time="{:.2f}">\n{}    </Stroke>\n'
TAIL = "  </StrokeSet>\n</WhiteboardCaptureSession>\n"



def parse_line(xml):
    """The line of one lineStrokes XML file (bytes) as int16 [n, 3] in pen units, or UserError.

    As in the 2015 program: positions relative to the origin are truncated to integers before their
    differences are taken, and the point before the first is the origin itself.
    """
    x, y, stroke_starts, corners = read_elements(xml)
    if not x:
        raise UserError("has no points")
    if not corners:
        raise UserError("has no WhiteboardDescription with the corners of its box")
    if not stroke_starts or stroke_starts[0] > 0:
        raise UserError("has a point outside of a stroke")
    positions = to_numbers([x, y])
    origin = to_numbers(corners).min(axis=0) - 100
    moves = np.diff(np.trunc(positions - origin[:, None]), axis=1, prepend=0)
    if moves.min() < -(2**15) or moves.max() >= 2**15:
        raise UserError("has a move that does not fit 16 bits")
    line = np.zeros((len(x), 3), np.int16)
    line[:, :2] = moves.T
    line[[end - 1 for end in [*stroke_starts, len(x)] if end], 2] = 1
    return line


def read_elements(xml):
    """x and y of all points, the number of points before each stroke, the corners (x, y) of the box
    (strings, or None where an attribute is missing). Raises UserError if it is no XML.
    """
    x, y, stroke_starts, corners = [], [], [], []

    def start_element(name, attributes):
        if name == "Point":
            x.append(attributes.get("x"))
            y.append(attributes.get("y"))
        elif name == "Stroke":
            stroke_starts.append(len(x))
        elif name.endswith("OppositeCoords"):
            corners.append((attributes.get("x"), attributes.get("y")))

    def refuse_dtd(*_):  # so no entity is ever declared or expanded
        raise UserError("has a DTD, which a line has no need of")

    if len(xml) > MAX_XML_BYTES:
        raise UserError("is too large for a line")
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.StartDoctypeDeclHandler = start_element, refuse_dtd
    try:
        parser.Parse(xml, True)
    except UserError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise UserError(f"is not well-formed XML ({error})") from None
    return x, y, stroke_starts, corners


def to_numbers(rows):
    """Attributes (strings, or None where one is missing) as float64 [rows, columns]."""
    try:
        numbers = np.array([list(map(float, row)) for row in rows])
    except (TypeError, ValueError):
        raise UserError("has a coordinate that is missing or no number") from None
    if not (np.abs(numbers) < 1e9).all():
        raise UserError("has a coordinate that is infinite or not a number")
    return numbers


def line_to_xml(line):
    """The lineStrokes XML (bytes) of a line [n, 3] in pen units; 10 ms from point to point."""
    positions = np.rint(np.cumsum(line[:, :2], axis=0)).astype(int)
    positions += 1000 - positions.min(axis=0)
    points = [
        f'      <Point x="{x}" y="{y}" time="{i / 100:.2f}"/>\n'
        for i, (x, y) in enumerate(positions)
    ]
    bounds = [0, *(np.flatnonzero(line[:-1, 2]) + 1), len(line)]
    strokes = [
        STROKE.format(start / 100, (end - 1) / 100, "".join(points[start:end]))
        for start, end in itertools.pairwise(bounds)
    ]
    head = HEAD.format(*positions.min(axis=0), *positions.max(axis=0))
    return (head + "".join(strokes) + TAIL).encode()
