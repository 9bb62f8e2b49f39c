"""Pictures: strokes and the densities they were drawn from as SVG and PNG; curves of the loss.

Positions are in picture units: pen units divided by `factor`, moved so that the picture begins at
(0, 0). A picture unit is UNIT_MM on paper. x runs to the right, y downwards, as in the data.

The SVG suits pen plotters: open paths without fill in the order of writing, a size in millimetres,
no background element (white is a style, which plotters ignore) and no path of length zero.
"""

import colorsys
import io
import os
import random  # of the colours; a caller may seed it
import sys

from handwriting.files import atomic_write

import numpy as np

# The x-height of the database's writing is about 100 pen units. At the default factor of 10 that
# is 2.5 mm, as on ruled paper, a line is about 140 mm long, and screens show a unit as one pixel.
UNIT_MM = 0.25
MARGIN = 12  # picture units around everything that is drawn
DOT = 0.2  # picture units: what is shorter is drawn as a dash of this length
PEN_WIDTH = 0.9  # picture units
ROUND_PEN = 'fill="none" stroke-linecap="round" stroke-linejoin="round"'
MIN_SIGMA = 0.3  # pen units: the deviation that rounding to whole pen units alone makes
MAX_SIGMA = 500  # pen units: wider than any move in the data, so not worth drawing
MAX_ELLIPSES = 40_000  # about 4 MB; all components of some 5,000 points


def draw_strokes(data, factor=10, svg_filename="sample.svg", given=0):
    """Write the strokes `data` `[n, 3]` (pen units) in black as an SVG; show it inside IPython.

    A picture unit is `factor` pen units and UNIT_MM: the default factor gives writing of natural
    size. The picture is one path with a subpath for each stroke; a stroke of a single point is a
    dash of DOT. The first `given` points, which a sample was told to continue, are a grey path of
    their own.

    Raises ValueError unless there are n >= 1 points of finite numbers and `factor` is positive;
    OSError if the file cannot be written.
    """
    xy, stroke_start = pen_positions(data, factor)
    origin, size = _frame(xy)
    # Where the grey ends within a stroke, the black begins at the last grey point.
    overlap = 0 < given < len(xy) and not stroke_start[given]
    paths = []
    for part, color in ((slice(given), "darkgrey"), (slice(given - overlap, None), "black")):
        if len(xy[part]):
            path = _strokes_path(xy[part] - origin, stroke_start[part])
            paths.append(f'<path d="{path}" stroke="{color}"/>')
    _save_svg(size, _pen_group(paths), svg_filename)


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
    eos = np.clip(_one_per_point(params.eos, xy, columns=()), 0, 1)
    # The cube root spreads the small values: most probabilities are below 0.01.
    greys = np.rint(185 * (1 - np.cbrt(eos))).astype(int).tolist()
    colors = ["#" + 3 * f"{grey:02x}" for grey in greys]
    _draw_colored(xy, _segments(xy, stroke_start), colors, svg_filename)


def draw_strokes_pdf(strokes, params, factor=10, svg_filename="sample_pdf.svg"):
    """Like `draw_strokes`, over the density of every point: an ellipse at one standard deviation
    for each component, its opacity proportional to weight / area.

    Row i of the mixture `params` (arrays `[n, M]`, pen units) is the one from which `strokes[i]`
    was drawn, so it is centred on the pen's position before. Components that could not be seen are
    left out: those of almost no weight and those so wide that they would be transparent. Of more
    than MAX_ELLIPSES, those with the most ink (opacity times area) stay: the first of every point,
    then the second of every point, and so on.
    """
    xy, stroke_start = pen_positions(strokes, factor)
    pi, means, covariance = _mixture(strokes, params)
    axes, angle = _ellipses(covariance)
    area = axes.prod(axis=-1)
    # Within a stroke most components get the full 0.35, those of a pen in the air a few hundredths.
    opacity = np.minimum(0.35, 250 * pi / area)
    visible = (opacity >= 0.01) & (axes[..., 0] <= MAX_SIGMA)
    visible &= pi > 0.02 * pi.max(axis=1, keepdims=True)
    kept = _most_ink(np.where(visible, opacity * area, 0), MAX_ELLIPSES)
    center, axes, angle = means[kept] / factor, axes[kept] / factor, angle[kept]

    turn = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    reach = np.hypot(axes[:, :1] * turn, axes[:, 1:] * turn[:, ::-1])  # half the bounding box
    origin, size = _frame(np.concatenate([xy, center - reach, center + reach]))
    rows = [np.maximum(axes, 0.01), opacity[kept], center - origin, np.degrees(angle)]
    ellipses = [
        f'<ellipse rx="{rx:g}" ry="{ry:g}" fill-opacity="{ink:g}" '
        f'transform="translate({x:.8g} {y:.8g})rotate({degrees:.1f})"/>'
        for rx, ry, ink, x, y, degrees in np.column_stack(rows).round(2).tolist()
    ]
    path = f'<path d="{_strokes_path(xy - origin, stroke_start)}" stroke="black"/>'
    body = ['<g fill="#1668c7">', *ellipses, "</g>", *_pen_group([path], width=0.5)]
    _save_svg(size, body, svg_filename)


def plot_density(strokes, params, png_filename="sample_density.png"):
    """Write a PNG as in Graves (arXiv 1308.0850), figure 10; show it inside IPython.

    Above, a heat map: the densities of all points, added up over the plane of the writing (pen
    units); below, the weights of the M components over time. `params` and what is raised: as in
    `draw_strokes_pdf`.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    xy, _ = pen_positions(strokes)
    pi, means, covariance = _mixture(strokes, params)
    box = xy.min(axis=0) - 200, xy.max(axis=0) + 200
    density, extent = _density_map(pi, means, covariance, *box)
    height = 13 * np.clip(density.shape[0] / density.shape[1], 0.06, 0.6)
    figure = Figure(figsize=(14, height + 3.6), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, height_ratios=[height, 2.2])
    above.imshow(density, extent=extent, cmap="inferno", norm=PowerNorm(0.35, vmin=0))
    above.set(title="density of the next point", xlabel="x (pen units)", ylabel="y (pen units)")
    extent = (0.5, pi.shape[0] + 0.5, pi.shape[1] + 0.5, 0.5)
    style = {"cmap": "inferno", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    below.imshow(pi.T, extent=extent, aspect="auto", **style)
    below.set(title="weights of the components", xlabel="point", ylabel="component")
    below.yaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(below.images[0], ax=below, pad=0.01)
    save_figure(figure, png_filename)


def plot_window(strokes, window, text, png_filename="sample_window.png"):
    """Write a PNG as in Graves (arXiv 1308.0850), figure 13; show it inside IPython.

    Above, the window's weights [n, U] over the characters of the text, from below to above, and
    over time; below, the strokes [n, 3], each point under the time of its drawing.
    """
    from matplotlib.figure import Figure

    xy, _ = pen_positions(strokes)
    height = min(2.0 + 0.16 * len(text), 14.0)
    figure = Figure(figsize=(14, height + 2.4), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, height_ratios=[height, 2.2], sharex=True)
    above.imshow(np.asarray(window).T, aspect="auto", origin="lower", cmap="inferno", vmin=0)
    above.set_yticks(range(len(text)), text, fontsize=min(9, 500 / len(text)), family="monospace")
    above.set(title="where the window looks", ylabel="text")
    ends = np.flatnonzero(np.asarray(strokes)[:-1, 2] > 0.5) + 1
    for stroke in np.split(np.arange(len(xy)), ends):
        below.plot(stroke, -xy[stroke, 1], color="black", linewidth=0.8)
    below.set(xlabel="point", ylabel="height of the pen\n(pen units)")
    save_figure(figure, png_filename)


def plot_losses(history, file):
    """Write a PNG of every epoch's losses to the binary `file`.

    `history` holds the rows of loss.csv: dicts with epoch, train_loss, valid_loss (nats per point).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    labels = {"train_loss": "training (dropout on)", "valid_loss": "validation (dropout off)"}
    for name, label in labels.items():
        axes.plot(epochs, [row[name] for row in history], marker=".", label=label)
    axes.set(xlabel="epoch", ylabel="loss, nats per point")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120, format="png")


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


def _path_data(xy):
    """SVG path data through `xy` `[k, 2]`; a dash of DOT if all of it lies within DOT."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    if (high - low).max() < DOT:
        xy = (low + high) / 2 + [[-DOT / 2, 0], [DOT / 2, 0]]
    first, *rest = (f"{x:.2f},{y:.2f}" for x, y in xy.tolist())
    return f"M{first}L{' '.join(rest)}"


def _strokes_path(xy, stroke_start):
    """SVG path data with a subpath for each stroke."""
    return "".join(map(_path_data, split_strokes(xy, stroke_start)))


def _random_dark_color():
    """`#rrggbb` of a random hue, with a contrast of at least 4.5 to white (WCAG)."""
    hsv = random.random(), random.uniform(0.65, 1), random.uniform(0.6, 0.9)
    rgb = np.array(colorsys.hsv_to_rgb(*hsv))
    luminance = rgb**2.2 @ [0.2126, 0.7152, 0.0722]
    rgb *= min(1, 0.17 / luminance) ** (1 / 2.2)
    return "#{:02x}{:02x}{:02x}".format(*(255 * rgb).astype(int))


def _one_per_point(values, xy, columns):
    """`values` as float64 `[n, *columns]`, checked for this shape and finiteness."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(xy), *columns):
        expected, found = [len(xy), *columns], list(values.shape)
        raise ValueError(f"params must hold arrays {expected}, a row for each point, not {found}")
    if not np.isfinite(values).all():
        raise ValueError("params must be finite, but they hold NaN or inf")
    return values


def _mixture(strokes, params):
    """Weights `[n, M]`, means in the plane `[n, M, 2]` and covariances (xx, xy, yy) `[n, M, 3]`
    in pen units."""
    xy, _ = pen_positions(strokes)
    pi, mu1, mu2, sigma1, sigma2, rho = (
        _one_per_point(getattr(params, name), xy, columns=np.shape(params.pi)[1:2])
        for name in ("pi", "mu1", "mu2", "sigma1", "sigma2", "rho")
    )
    before = np.concatenate([np.zeros((1, 2)), xy[:-1]])
    sigma1, sigma2 = np.clip([sigma1, sigma2], 1e-6, 1e6)
    covariance = np.stack([sigma1**2, rho * sigma1 * sigma2, sigma2**2], axis=-1)
    return pi, before[:, None] + np.stack([mu1, mu2], axis=-1), covariance


def _ellipses(covariance):
    """Half axes `[..., 2]`, the longer first, at least MIN_SIGMA; the longer's angle (radians)."""
    xx, xy, yy = np.moveaxis(covariance, -1, 0)
    longer = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)  # an eigenvalue
    shorter = np.maximum(xx * yy - xy**2, 0) / longer  # determinant / the other eigenvalue
    axes = np.maximum(np.sqrt(np.stack([longer, shorter], axis=-1)), MIN_SIGMA)
    return axes, np.arctan2(2 * xy, xx - yy) / 2


def _most_ink(ink, limit):
    """Which components of `ink` `[n, M]` to draw, bool `[n, M]`: at most `limit`, each with ink.

    First the one with the most ink of every point, then the second of every point, and so on.
    """
    if np.count_nonzero(ink) <= limit:
        return ink > 0
    rank = np.argsort(np.argsort(-ink, axis=1), axis=1)  # 0: the most ink of its point
    where = np.flatnonzero(ink)
    order = np.lexsort([-ink.flat[where], rank.flat[where]])
    kept = np.zeros(ink.shape, bool)
    kept.flat[where[order[:limit]]] = True
    return kept


def _density_map(pi, means, covariance, low, high, cells=900):
    """The densities of all components, added up on a grid `[rows, columns]` from `low` to `high`
    (x, y), and the grid's edges: left, right, bottom, top.

    The longer side has `cells` cells. A component is added within four standard deviations, after
    a blur of half a cell so that one narrower than a cell is not lost.
    """
    step = (high - low).max() / cells
    width, height = np.ceil((high - low) / step).astype(int).tolist()
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros((height, width), np.float32)
    kept = pi > 0.002 * pi.max(axis=1, keepdims=True)
    kept &= covariance[..., ::2].max(axis=-1) <= MAX_SIGMA**2
    centers = (means[kept] - low) / step - 0.5
    covariance = covariance[kept] / step**2 + [0.25, 0, 0.25]
    components = zip(pi[kept].tolist(), centers.tolist(), covariance.tolist(), strict=True)
    for weight, (mx, my), (xx, xy, yy) in components:
        columns, rows = (
            slice(max(0, int(mean - reach)), max(0, int(mean + reach) + 2))
            for mean, reach in ((mx, 4 * xx**0.5), (my, 4 * yy**0.5))
        )
        dx, dy, determinant = x[columns] - mx, y[rows] - my, xx * yy - xy**2
        exponent = (dx * (dy * (2 * xy) - dx * yy) - dy**2 * xx) / (2 * determinant)
        peak = weight / (2 * np.pi * determinant**0.5 * step**2)
        total[rows, columns] += peak * np.exp(exponent)
    return total, (low[0], low[0] + width * step, low[1] + height * step, low[1])


def _frame(marks):
    """The corner (x, y) and the size (width, height), whole numbers, of the picture that holds the
    points `marks` `[k, 2]` and a margin."""
    low = np.floor(marks.min(axis=0) - MARGIN)
    return low, np.ceil(marks.max(axis=0) + MARGIN) - low


def _pen_group(paths, width=PEN_WIDTH):
    """The elements `paths` in a group that gives them their pen."""
    return [f'<g {ROUND_PEN} stroke-width="{width}">', *paths, "</g>"]


def _draw_colored(xy, parts, colors, svg_filename):
    """Write a picture of the points `xy`, a path for each of the `parts` in its colour."""
    origin, size = _frame(xy)
    paths = [
        f'<path d="{_path_data(part - origin)}" stroke="{color}"/>'
        for part, color in zip(parts, colors, strict=True)
    ]
    _save_svg(size, _pen_group(paths), svg_filename)


def _save_svg(size, elements, filename):
    """Write an SVG of `size` (picture units) from its elements' text."""
    width, height = size
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" style="background:white" '
        f'width="{width * UNIT_MM:.2f}mm" height="{height * UNIT_MM:.2f}mm" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">'
    )
    text = "\n".join(['<?xml version="1.0" encoding="utf-8"?>', head, *elements, "</svg>", ""])
    save(text.encode(), filename, "SVG")


def save_figure(figure, png_filename):
    """Write a figure of matplotlib as `save` does."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    save(png.getvalue(), png_filename, "Image")


def save(content, filename, kind):
    """Write the bytes `content`, whole or not at all; in IPython, show them as SVG or Image."""
    with atomic_write(filename) as file:
        file.write(content)
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython import display

        display.display(getattr(display, kind)(filename=os.fspath(filename)))
