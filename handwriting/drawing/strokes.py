"""Pictures of strokes: in black, in colours, darker where a stroke is likelier to end, and written
before the eyes.

Positions are in picture units: pen units divided by `factor`, moved so that the picture begins at
(0, 0). A picture unit is UNIT_MM on paper. x runs to the right, y downwards, as in the data.

The SVG suits pen plotters: open paths without fill in the order of writing, a size in millimetres,
no background element (white is a style, which plotters ignore) and no path of length zero.
"""

import colorsys
import random  # of the colours; a caller may seed it

from handwriting.drawing.svg import (
    Layer,
    Marks,
    make_drawing,
    path_data,
    round_pen,
    save,
    write_svg,
)

import numpy as np

# The x-height of the database's writing is about 100 pen units. At the default factor of 10 that
# is 2.5 mm, as on ruled paper, a line is about 140 mm long, and screens show a unit as one pixel.
UNIT_MM = 0.25
MARGIN = 12  # picture units around everything that is drawn
DOT = 0.2  # picture units: what is shorter is drawn as a dash of this length
PEN_WIDTH = 0.9  # picture units


def draw_strokes(data, factor=10, svg_filename="sample.svg", given=0, smooth=False):
    """Write the strokes `data` `[n, 3]` (pen units) in black as an SVG; show it inside IPython.

    A picture unit is `factor` pen units and UNIT_MM: the default factor gives writing of natural
    size. The picture is one path with a subpath for each stroke; a stroke of a single point is a
    dash of DOT. The first `given` points, which a sample was told to continue, are a grey path of
    their own. Between points the pen moves straight, or `smooth`, along curves.

    Raises ValueError unless there are n >= 1 points of finite numbers and `factor` is positive;
    OSError if the file cannot be written.
    """
    xy, stroke_start = pen_positions(data, factor)
    origin, size = picture_frame(xy)
    picture = make_picture(size)
    group = picture.add(picture.g(**round_pen(PEN_WIDTH)))
    # Where the grey ends within a stroke, the black begins at the last grey point.
    overlap = 0 < given < len(xy) and not stroke_start[given]
    for part, color in ((slice(given), "darkgrey"), (slice(given - overlap, None), "black")):
        if len(xy[part]):
            path = strokes_path(xy[part] - origin, stroke_start[part], smooth)
            group.add(picture.path(path, stroke=color))
    save(picture, svg_filename)


def stack_lines(lines, spacing=400):
    """Lines [n, 3], pen units, one below the other as the strokes of one picture.

    Their left ends are at the same x, the means of their points `spacing` pen units apart.
    """
    positions = [np.cumsum(np.asarray(line)[:, :2], axis=0) for line in lines]
    moved = [
        xy - [xy[:, 0].min(), xy[:, 1].mean() - number * spacing]
        for number, xy in enumerate(positions)
    ]
    moves = np.diff(np.concatenate([np.zeros([1, 2]), *moved]), axis=0)
    return np.column_stack([moves, np.concatenate([np.asarray(line)[:, 2] for line in lines])])


def draw_strokes_random_color(stroke, factor=10, svg_filename="sample_color.svg",
                              per_stroke_mode=True):
    """Like `draw_strokes`, a path in a random colour for each stroke.

    Without `per_stroke_mode` there is a path for each point: the line to it or, where a stroke
    begins and where the pen rests, a dash of DOT. The colours come from Python's `random`.
    """
    xy, stroke_start = pen_positions(stroke, factor)
    split = split_strokes if per_stroke_mode else _segments
    parts = split(xy, stroke_start)
    _draw_colored(xy, parts, [_random_dark_color() for _ in parts], svg_filename)


def draw_strokes_eos_weighted(strokes, params, factor=10, svg_filename="sample_eos_pdf.svg"):
    """Like `draw_strokes`, a path for each point, the darker the likelier a stroke ends there.

    `params.eos[i]` is the probability with which `strokes[i]` ended a stroke: 0 is grey, 1 black.
    """
    xy, stroke_start = pen_positions(strokes, factor)
    eos = np.clip(one_per_point(params.eos, xy, columns=()), 0, 1)
    # The cube root spreads the small values: most probabilities are below 0.01.
    greys = np.rint(185 * (1 - np.cbrt(eos))).astype(int).tolist()
    colors = ["#" + 3 * f"{grey:02x}" for grey in greys]
    _draw_colored(xy, _segments(xy, stroke_start), colors, svg_filename)


def animate(strokes, factor, filename, speed, smooth=False):
    """Write strokes `[n, 3]` in pen units as an SVG that writes itself, `speed` times as fast as
    people do, and that is as large as the picture of `draw_strokes` with this factor.
    """
    xy, stroke_start = pen_positions(strokes, factor)
    origin, size = picture_frame(xy)
    parts = [UNIT_MM * dash(part) for part in split_strokes(xy - origin, stroke_start)]
    layer = Layer("writing", parts, "black", UNIT_MM * PEN_WIDTH, smooth)
    write_svg(filename, UNIT_MM * size, [layer], speed)


def pen_positions(strokes, factor=1):
    """The pen after each point, `[n, 2]` in `factor` pen units, and `stroke_start` `[n]` bool."""
    points = np.asarray(strokes, dtype=np.float64)  # sums of int16 would overflow
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        expected = "points (dx, dy, eos) [n, 3] with n >= 1"
        raise ValueError(f"strokes must be {expected}, not {list(points.shape)}")
    if not np.isfinite(points).all():
        raise ValueError("strokes must be finite, but they hold NaN or inf")
    if not factor > 0:
        raise ValueError(f"factor must be positive, not {factor}")
    stroke_start = np.append(True, points[:-1, 2] > 0.5)
    return np.cumsum(points[:, :2], axis=0) / factor, stroke_start


def split_strokes(xy, stroke_start):
    """A list of strokes `[k, 2]`; the first begins at the first point, whatever its flag."""
    return np.split(xy, np.flatnonzero(stroke_start[1:]) + 1)


def _segments(xy, stroke_start):
    """`[n, 2, 2]`: for each point the line to it, of length zero where a stroke begins."""
    before = np.where(stroke_start[:, None], xy, np.roll(xy, 1, axis=0))
    return np.stack([before, xy], axis=1)


def dash(xy):
    """The points `xy` `[k, 2]`; a dash of DOT if all of them lie within DOT."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    if (high - low).max() < DOT:
        return (low + high) / 2 + [[-DOT / 2, 0], [DOT / 2, 0]]
    return xy


def strokes_path(xy, stroke_start, smooth=False):
    """SVG path data with a subpath for each stroke."""
    parts = split_strokes(xy, stroke_start)
    return "".join(path_data(dash(part), smooth) for part in parts)


def _random_dark_color():
    """`#rrggbb` of a random hue, with a contrast of at least 4.5 to white (WCAG)."""
    hsv = random.random(), random.uniform(0.65, 1), random.uniform(0.6, 0.9)
    rgb = np.array(colorsys.hsv_to_rgb(*hsv))
    luminance = rgb**2.2 @ [0.2126, 0.7152, 0.0722]
    rgb *= min(1, 0.17 / luminance) ** (1 / 2.2)
    return "#{:02x}{:02x}{:02x}".format(*(255 * rgb).astype(int))


def one_per_point(values, xy, columns):
    """`values` as float64 `[n, *columns]`, checked for this shape and finiteness."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(xy), *columns):
        expected, found = [len(xy), *columns], list(values.shape)
        raise ValueError(f"params must hold arrays {expected}, a row for each point, not {found}")
    if not np.isfinite(values).all():
        raise ValueError("params must be finite, but they hold NaN or inf")
    return values


def picture_frame(marks):
    """The corner (x, y) and the size (width, height), whole numbers, of the picture that holds the
    points `marks` `[k, 2]` and a margin."""
    low = np.floor(marks.min(axis=0) - MARGIN)
    return low, np.ceil(marks.max(axis=0) + MARGIN) - low


def make_picture(size):
    """An empty Drawing of a size (width, height) in picture units."""
    return make_drawing(size, UNIT_MM, style="background:white")


def _draw_colored(xy, parts, colors, svg_filename):
    """Write a picture of the points `xy`, a path for each of the `parts` in its colour."""
    origin, size = picture_frame(xy)
    picture = make_picture(size)
    marks = [
        {"d": path_data(dash(part - origin)), "stroke": color}
        for part, color in zip(parts, colors, strict=True)
    ]
    picture.add(Marks("path", marks, factory=picture, **round_pen(PEN_WIDTH)))
    save(picture, svg_filename)
