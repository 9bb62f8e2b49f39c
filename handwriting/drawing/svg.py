"""SVG for plotters, SVG that writes itself, and the PNG of an SVG of ours.

Positions are in millimetres, x to the right and y downwards. A stroke is an open path without fill;
a layer is one to Inkscape and to vpype; there is no background.
"""

import os
import re
import xml.etree.ElementTree as ET
from typing import NamedTuple

from handwriting.drawing.strokes import (
    ROUND_PEN,
    UNIT_MM,
    pen_positions,
    save,
    save_figure,
    split_strokes,
)

import numpy as np

POINT_SECONDS = 0.015  # from a point to the next, in the database and so in what is drawn
DPI = 200
MOST_PIXELS = 10_000  # of a PNG's side
MM = 72 / 25.4  # in points
INKSCAPE = "http://www.inkscape.org/namespaces/inkscape"


class Layer(NamedTuple):
    """Strokes of one colour and one pen."""

    label: str
    strokes: list  # of arrays [k, 2], k >= 2, in mm, in the order of writing
    color: str = "black"
    pen_width: float = 0.4  # mm


def write_svg(filename, size, layers, speed=None):
    """Write layers as an SVG of a size (width, height) in mm.

    With a speed the strokes of the last layer appear one after the other, at so many times the
    speed of writing.
    """
    width, height = size
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:inkscape="{INKSCAPE}" '
        f'width="{width:g}mm" height="{height:g}mm" viewBox="0 0 {width:g} {height:g}">',
    ]
    for number, layer in enumerate(layers, 1):
        pen = f'{ROUND_PEN} stroke="{layer.color}" stroke-width="{layer.pen_width:g}"'
        name = f'inkscape:groupmode="layer" inkscape:label="{layer.label}"'
        lines.append(f'<g id="layer{number}" {name} {pen}>')
        if speed and layer is layers[-1]:
            paths = moving_paths(layer.strokes, speed)
        else:
            paths = [f'<path d="{path_data(stroke)}"/>' for stroke in layer.strokes]
        lines += [*paths, "</g>"]
    save("\n".join([*lines, "</svg>", ""]).encode(), filename, "SVG")


def path_data(stroke):
    first, *rest = (f"{x:.2f},{y:.2f}" for x, y in stroke.tolist())
    return f"M{first}L{' '.join(rest)}"


def moving_paths(strokes, speed):
    """A path for each stroke that shows none of it, then as much as is written, without a script.

    The path is a dash as long as itself behind a gap, which moves until no gap is left.
    """
    seconds, paths = 0.0, []
    for stroke in strokes:
        way = np.append(0, np.cumsum(np.hypot(*np.diff(stroke, axis=0).T)))
        values = ";".join(f"{left:.3g}" for left in (1 - way / way[-1]).round(3).tolist())
        tick = POINT_SECONDS / speed
        times = f'begin="{seconds + tick:.5f}s" dur="{tick * (len(stroke) - 1):.5f}s"'
        paths.append(
            f'<path d="{path_data(stroke)}" pathLength="1" stroke-dasharray="1 2" '
            f'stroke-dashoffset="1.5"><animate attributeName="stroke-dashoffset" {times} '
            f'values="{values}" fill="freeze"/></path>'
        )
        seconds += tick * len(stroke)
    return paths


def animate(strokes, factor, filename, speed):
    """Write strokes [n, 3] in pen units as an SVG that writes itself, as large as the pictures of
    drawing.py with this factor, in black.
    """
    xy, stroke_start = pen_positions(strokes, factor / UNIT_MM)
    margin, dot = 3.0, [[-0.025, 0], [0.025, 0]]
    xy += margin - xy.min(axis=0)
    parts = split_strokes(xy, stroke_start)
    parts = [part if np.ptp(part, axis=0).any() else part[:1] + dot for part in parts]
    write_svg(filename, xy.max(axis=0) + margin, [Layer("writing", parts, "black", 0.225)], speed)


def write_png(svg_filename):
    """Write the PNG of an SVG of drawing.py or of write_svg beside it; returns its name."""
    from matplotlib.collections import EllipseCollection, LineCollection
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    root = ET.parse(svg_filename).getroot()
    width, height = (float(root.get(name).removesuffix("mm")) for name in ("width", "height"))
    *_, right, bottom = map(float, root.get("viewBox").split())
    dpi = min(DPI, MOST_PIXELS * 25.4 / max(width, height))
    figure = Figure(figsize=(width / 25.4, height / 25.4), dpi=dpi, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, right), ylim=(bottom, 0))
    axes.set_axis_off()
    for group in root:
        marks = [{**group.attrib, **mark.attrib} for mark in group]
        paths = [mark for mark in marks if "d" in mark]
        lines = [(line, mark["stroke"]) for mark in paths for line in read_path(mark["d"])]
        if lines:
            pen = float(group.get("stroke-width")) * width / right * MM
            lines, colors = zip(*lines, strict=True)
            ends = {"capstyle": "round", "joinstyle": "round"}
            axes.add_collection(LineCollection(lines, linewidths=pen, colors=colors, **ends))
        ellipses = [mark for mark in marks if "rx" in mark]
        if ellipses:
            radii = np.array([[mark["rx"], mark["ry"]] for mark in ellipses], float)
            place = [re.findall(r"[-\d.]+", mark["transform"]) for mark in ellipses]
            x, y, angles = np.array(place, float).T
            colors = [to_rgba(mark["fill"], float(mark["fill-opacity"])) for mark in ellipses]
            axes.add_collection(
                EllipseCollection(
                    *2 * radii.T, angles, units="xy", offsets=np.stack([x, y], axis=1),
                    offset_transform=axes.transData, facecolors=colors, linewidths=0,
                )
            )  # fmt: skip
    name = os.fspath(svg_filename).removesuffix(".svg") + ".png"
    save_figure(figure, name)
    return name


def read_path(data):
    """The arrays [k, 2] of a path's subpaths."""
    parts = [re.split("[L ,]", part) for part in data.split("M")[1:]]
    return [np.array(part, float).reshape(-1, 2) for part in parts]
