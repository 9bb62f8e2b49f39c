"""The densities that strokes were drawn from: as ellipses under them, and on a grid."""

from handwriting.drawing.strokes import (
    make_picture,
    one_per_point,
    pen_positions,
    picture_frame,
    strokes_path,
)
from handwriting.drawing.svg import Marks, round_pen, save

import numpy as np

MIN_SIGMA = 0.3  # pen units: the deviation that rounding to whole pen units alone makes
MAX_SIGMA = 500  # pen units: wider than any move in the data, so not worth drawing
MAX_ELLIPSES = 40_000  # about 4 MB; all components of some 5,000 points


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
    pi, means, covariance = mixture(strokes, params)
    axes, angle = ellipses(covariance)
    area = axes.prod(axis=-1)
    # Within a stroke most components get the full 0.35, those of a pen in the air a few hundredths.
    opacity = np.minimum(0.35, 250 * pi / area)
    visible = (opacity >= 0.01) & (axes[..., 0] <= MAX_SIGMA)
    visible &= pi > 0.02 * pi.max(axis=1, keepdims=True)
    kept = most_ink(np.where(visible, opacity * area, 0), MAX_ELLIPSES)
    center, axes, angle = means[kept] / factor, axes[kept] / factor, angle[kept]

    turn = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    reach = np.hypot(axes[:, :1] * turn, axes[:, 1:] * turn[:, ::-1])  # half the bounding box
    origin, size = picture_frame(np.concatenate([xy, center - reach, center + reach]))
    rows = [np.maximum(axes, 0.01), opacity[kept], center - origin, np.degrees(angle)]
    marks = [
        {"rx": f"{rx:g}", "ry": f"{ry:g}", "fill-opacity": f"{ink:g}",
         "transform": f"translate({x:.8g} {y:.8g})rotate({degrees:.1f})"}
        for rx, ry, ink, x, y, degrees in np.column_stack(rows).round(2).tolist()
    ]  # fmt: skip
    picture = make_picture(size)
    picture.add(Marks("ellipse", marks, factory=picture, fill="#1668c7"))
    pen = picture.add(picture.g(**round_pen(0.5)))
    pen.add(picture.path(strokes_path(xy - origin, stroke_start), stroke="black"))
    save(picture, svg_filename)


def mixture(strokes, params):
    """Weights `[n, M]`, means in the plane `[n, M, 2]` and covariances (xx, xy, yy) `[n, M, 3]`
    in pen units."""
    xy, _ = pen_positions(strokes)
    pi, mu1, mu2, sigma1, sigma2, rho = (
        one_per_point(getattr(params, name), xy, columns=np.shape(params.pi)[1:2])
        for name in ("pi", "mu1", "mu2", "sigma1", "sigma2", "rho")
    )
    before = np.concatenate([np.zeros((1, 2)), xy[:-1]])
    sigma1, sigma2 = np.clip([sigma1, sigma2], 1e-6, 1e6)
    covariance = np.stack([sigma1**2, rho * sigma1 * sigma2, sigma2**2], axis=-1)
    return pi, before[:, None] + np.stack([mu1, mu2], axis=-1), covariance


def ellipses(covariance):
    """Half axes `[..., 2]`, the longer first, at least MIN_SIGMA; the longer's angle (radians)."""
    xx, xy, yy = np.moveaxis(covariance, -1, 0)
    longer = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)  # an eigenvalue
    shorter = np.maximum(xx * yy - xy**2, 0) / longer  # determinant / the other eigenvalue
    axes = np.maximum(np.sqrt(np.stack([longer, shorter], axis=-1)), MIN_SIGMA)
    return axes, np.arctan2(2 * xy, xx - yy) / 2


def most_ink(ink, limit):
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


def density_map(pi, means, covariance, low, high, cells=900):
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
