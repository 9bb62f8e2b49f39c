"""Lines as small grey pictures, drawn as varied pens, papers and cameras would show them."""

from handwriting.ink.points import baseline

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

HEIGHT = 64  # pixels of a picture
UNIT = 8.0  # pixels of the standard deviation of ink from its middle
MARGIN = 8  # pixels left and right
OVERSAMPLING = 2
STEP = 0.14  # standard deviations between points, at least
SMALLEST = 4.0  # pen units of the deviation, so that a row of dots is not blown up


def outline(line):
    """The strokes of a line [n, 3] in pen units, a list of [k, 2]: level, from x = 0, with the
    middle of its ink at y = 0, in units of its ink's standard deviation; none if it is of dots.
    """
    xy = np.cumsum(np.asarray(line, float)[:, :2], axis=0)
    if len(xy) > 2:
        xy[:, 1] -= baseline(*xy[1:].T)[0] * xy[:, 0]
    strokes = np.split(xy, np.flatnonzero(np.asarray(line)[:-1, 2] > 0.5) + 1)
    mids = np.concatenate([(s[1:, 1] + s[:-1, 1]) / 2 for s in strokes])
    lengths = np.concatenate([np.hypot(*np.diff(s, axis=0).T) for s in strokes])
    ink = lengths.sum()
    if not ink:
        return []
    middle = np.average(mids, weights=lengths)
    unit = max(np.sqrt(np.average((mids - middle) ** 2, weights=lengths)), SMALLEST)
    return [(s - (xy[:, 0].min(), middle)) / unit for s in strokes]


def thin(stroke):
    """The points of a stroke [k, 2] that are STEP apart along it, and its last."""
    along = np.cumsum(np.hypot(*np.diff(stroke, axis=0, prepend=stroke[:1]).T))
    kept = np.searchsorted(along, np.arange(0, along[-1], STEP))
    return stroke[np.unique([0, *kept, len(stroke) - 1])]


def draw(strokes, width=None, rng=None):
    """The picture of an outline, float32 [HEIGHT, w], ink 1, paper 0.

    width: pixels, at most; of a longer line a part. rng: varies size, slope and pen, as in
    training.
    """
    unit, thick, turn, up = UNIT, 2.0, 0.0, 0.0
    if rng:
        unit, thick = UNIT * np.exp(0.1 * rng.normal()), rng.uniform(1.2, 3.5)
        turn, up = rng.normal(0, 0.02), rng.normal(0, 1.5)
    total = int(max((s[:, 0].max() for s in strokes), default=0.0) * unit) + 2 * MARGIN
    width = min(total, width or total)
    left = rng.uniform(0, total - width) if rng else 0.0
    size = width * OVERSAMPLING, HEIGHT * OVERSAMPLING
    image = Image.new("L", size)
    canvas, radius = ImageDraw.Draw(image), thick * OVERSAMPLING / 2
    for stroke in strokes:
        x = stroke[:, 0] * unit + MARGIN - left
        y = stroke[:, 1] * unit + turn * (x - width / 2) + HEIGHT / 2 + up
        points = np.stack([x, y], axis=1) * OVERSAMPLING
        if points[:, 0].max() < 0 or points[:, 0].min() > size[0]:
            continue
        canvas.line([*map(tuple, points)], 255, max(1, round(2 * radius)), joint="curve")
        for x, y in points[[0, -1]]:
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(image.resize((width, HEIGHT), Image.Resampling.BOX), np.float32) / 255


def photograph(picture, rng):
    """A picture, float32 [HEIGHT, w], as on some paper, with some ink, by some camera."""
    if rng.random() < 0.7:
        picture = ndimage.gaussian_filter(picture, rng.uniform(0.3, 1.2), truncate=2.5)
    picture = picture * np.float32(rng.uniform(0.5, 1.0))
    if rng.random() < 0.5:
        picture **= np.float32(rng.uniform(0.6, 1.6))
    noise = rng.standard_normal(picture.shape, np.float32)
    return brighten(picture + noise * np.float32(rng.uniform(0, 0.08)))


def brighten(picture):
    """A picture with its darkest ink at about 1."""
    return picture / np.float32(max(0.3, np.percentile(picture[::3, ::3], 99.5)))
