"""All SVG that is written: pictures, sheets for plotters, drawings that write themselves; and the
PNG of an SVG.

x runs to the right, y downwards. A stroke is an open path without fill; a layer is one to Inkscape
and to vpype; there is no background element, which a plotter would draw.
"""

import os
import sys
import xml.etree.ElementTree as ET
from typing import NamedTuple

from handwriting.drawing.curves import curve_points, handles
from handwriting.files import atomic_write

import numpy as np
import svgwrite
from svgwrite.extensions import Inkscape

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
POINT_SECONDS = 0.015  # from a point to the next, in the database and so in what is drawn
DPI = 200
MOST_PIXELS = 10_000  # of a PNG's side
STEPS = 8  # straight pieces of a curve from point to point, where its length is measured


class Layer(NamedTuple):
    """Strokes of one colour and one pen."""

    label: str
    strokes: list  # of arrays [k, 2], k >= 2, in mm, in the order of writing
    color: str = "black"
    pen_width: float = 0.4  # mm
    smooth: bool = False  # curves through the points, not straight lines


class Marks(svgwrite.container.Group):
    """A group of very many elements of one tag, made without an object of svgwrite for each, which
    takes twice as long.
    """

    def __init__(self, tag, marks, **attributes):
        super().__init__(**attributes)
        self.tag, self.marks = tag, marks  # marks: a dict of attributes for each

    def get_xml(self):
        group = super().get_xml()
        for mark in self.marks:
            ET.SubElement(group, self.tag, mark)
        return group


def make_drawing(size, unit=1.0, **attributes):
    """An empty svgwrite Drawing of a size (width, height) in units of `unit` mm."""
    width, height = size
    drawing = svgwrite.Drawing(
        size=(f"{width * unit:.8g}mm", f"{height * unit:.8g}mm"),
        viewBox=f"0 0 {width:.10g} {height:.10g}",
        debug=False,  # the validator takes most of the time
        **attributes,
    )
    drawing.elements.clear()  # an empty <defs>
    return drawing


def round_pen(width, **attributes):
    """The attributes of a group of strokes."""
    ends = {"stroke_linecap": "round", "stroke_linejoin": "round"}
    return {"fill": "none", **ends, "stroke_width": f"{width:g}", **attributes}


def path_data(stroke, smooth=False):
    """SVG path data through a stroke `[k, 2]`, k >= 2: straight lines, or smooth curves."""
    if not smooth or len(stroke) == 2:
        first, *others = (f"{x:.2f},{y:.2f}" for x, y in stroke.tolist())
        return f"M{first}L{' '.join(others)}"
    corners = np.concatenate([handles(stroke), stroke[1:, None]], axis=1).reshape(-1, 2)
    # A digit more, since handles are short.
    first, *others = (f"{x:.3f},{y:.3f}" for x, y in [*stroke[:1].tolist(), *corners.tolist()])
    return f"M{first}C{' '.join(others)}"


def write_svg(filename, size, layers, speed=None):
    """Write layers as an SVG of a size (width, height) in mm.

    With a speed the strokes of the last layer appear one after the other, at so many times the
    speed of writing.
    """
    drawing = make_drawing(size)
    inkscape = Inkscape(drawing)
    for number, layer in enumerate(layers, 1):
        pen = round_pen(layer.pen_width, stroke=layer.color)
        group = drawing.add(inkscape.layer(layer.label, id=f"layer{number}", **pen))
        for stroke in layer.strokes:
            group.add(drawing.path(path_data(stroke, layer.smooth)))
    if speed:
        animate_paths(drawing, group.elements, layers[-1], speed)
    save(drawing, filename)


def animate_paths(drawing, paths, layer, speed):
    """Let the paths of a layer's strokes show nothing first, then as much as is written, without a
    script.

    A path is a dash as long as itself behind a gap, which moves until no gap is left.
    """
    tick = POINT_SECONDS / speed
    seconds = 0.0
    for path, stroke in zip(paths, layer.strokes, strict=True):
        way = way_along(stroke, layer.smooth)
        path.update({"pathLength": 1, "stroke-dasharray": "1 2", "stroke-dashoffset": 1.5})
        path.add(
            drawing.animate(
                attributeName="stroke-dashoffset",
                begin=f"{seconds + tick:.5f}s",
                dur=f"{tick * (len(stroke) - 1):.5f}s",
                values=[f"{left:.3g}" for left in (1 - way / way[-1]).round(3).tolist()],
                fill="freeze",
            )
        )
        seconds += tick * len(stroke)


def way_along(stroke, smooth):
    """The way of the pen `[k]` from the beginning of a stroke to each of its points."""
    points = curve_points(stroke, STEPS) if smooth else np.stack([stroke[:-1], stroke[1:]], axis=1)
    lengths = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(axis=1)
    return np.append(0, np.cumsum(lengths))


def save(drawing, filename):
    """Write a Drawing, an element a line; in IPython, show it."""
    root = drawing.get_xml()
    ET.indent(root, space="")
    text = f"{DECLARATION}\n{ET.tostring(root, 'unicode')}\n"
    save_shown(text.encode(), filename, "SVG")


def save_shown(content, filename, kind):
    """Write the bytes `content`, whole or not at all; in IPython, show them as SVG or Image."""
    with atomic_write(filename) as file:
        file.write(content)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython import display

        display.display(getattr(display, kind)(filename=os.fspath(filename)))


def write_png(svg_filename):
    """Write the PNG of an SVG of ours beside it, on white; returns its name."""
    import resvg_py

    with open(svg_filename, "rb") as file:
        _, root = next(ET.iterparse(file, events=["start"]))
    longest = max(float(root.get(side).removesuffix("mm")) for side in ("width", "height"))
    dpi = min(DPI, MOST_PIXELS * 25.4 / longest)
    svg = os.fspath(svg_filename)
    png = resvg_py.svg_to_bytes(svg_path=svg, dpi=dpi, background="white", skip_system_fonts=True)
    name = svg.removesuffix(".svg") + ".png"
    save_shown(png, name, "Image")
    return name
