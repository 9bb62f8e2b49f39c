"""The shapes of marks and glyphs, and where a drawn letter carries a mark.

Shapes are in marks.json, in x-heights: x to the right; y upwards, of glyphs from the baseline on, 1
at the x-line and 2 where tall letters end. A point that comes twice is a corner. Marks have their
places by `x` and `y`, see `anchor`.

Positions here are upright: (x, height) in pen units, height above the baseline, x where a line in
the writing's slant meets the baseline. page/accents.js has the same numbers.
"""

from typing import NamedTuple

from handwriting.text.spelling import TABLES

import numpy as np

# Characters: a letter begins where the pen came down, if that was so near to where it should be;
# strokes that no letter is near enough to may be farther away.
SNAP = (0.4, 0.65)
CLEAR = 0.24  # x-heights between a letter and what is above it
STACKED = 0.85  # how large marks are of which two stand above a letter
BESIDE = {"acute": 0.42, "grave": -0.42, "hook": 0.42}  # x-heights: beside a circumflex
STEP = 18.0  # pen units from point to point
EASE = 0.7  # how much slower the pen is at a stroke's ends
SHIFT, GROWTH, SHAKE = 0.04, 0.08, 0.025  # how much place, size and form of a shape vary
SMALL = set("acegijmnopqrsuvwxyz")
DESCENDING = set("gjpqy")


class Frame(NamedTuple):
    """How a line is written, in pen units."""

    size: float  # the x-height
    tall: float  # the height of tall letters
    lean: float  # to the right, for each unit of height
    random: object  # () -> a number from 0 to 1

    def wobble(self, amount):
        """A random number from -amount to amount."""
        return amount * (2 * self.random() - 1)


def pen_path(corners):
    """Points [n, 2] of the pen on its way through corners [k, 2]: STEP apart, closer at the ends.

    A Catmull-Rom spline.
    """
    ends = np.concatenate([corners[:1], corners, corners[-1:]])
    t, path = np.linspace(0, 1, 9)[1:, None], [corners[:1]]
    for a, b, c, d in zip(ends[:-3], ends[1:-2], ends[2:-1], ends[3:], strict=True):
        square, cube = a - 2.5 * b + 2 * c - d / 2, 1.5 * (b - c) + (d - a) / 2
        path.append(b + t * (c - a) / 2 + t**2 * square + t**3 * cube)
    path = np.concatenate(path)
    way = np.append(0, np.cumsum(np.hypot(*np.diff(path, axis=0).T)))
    share = np.linspace(0, 1, max(6, int(way[-1] / STEP) + 3))
    share -= EASE * np.sin(2 * np.pi * share) / (2 * np.pi)
    return np.stack([np.interp(share * way[-1], way, axis) for axis in path.T], axis=1)


def draw_shape(strokes, origin, scale, frame):
    """The strokes [n, 2] of a shape at its origin (x, height), a little different each time.

    scale: pen units of its units (x, y).
    """
    origin = np.add(origin, [frame.wobble(SHIFT * frame.size) for _ in "xy"])
    scale = np.multiply(scale, 1 + frame.wobble(GROWTH))
    shaken = [
        np.array([[x + frame.wobble(SHAKE), y + frame.wobble(SHAKE)] for x, y in stroke])
        for stroke in strokes
    ]
    return [pen_path(origin + scale * stroke) for stroke in shaken]


def draw_glyph(glyph, x, frame):
    """The strokes [n, 2] of a glyph that begins at x, and its width."""
    size, tall = frame.size, frame.tall / frame.size
    strokes = [
        [[right, y if y <= 1 else 1 + (y - 1) * (tall - 1)] for right, y in stroke]
        for stroke in glyph["strokes"]
    ]
    return draw_shape(strokes, (x, 0), (size, size), frame), glyph["width"] * size


# -------------------------------------------------------------------------------- letters as drawn


def find_body(points, when, starts, letters, u):
    """The points [n, 2] of a word's that are those of the letter at place u of the text.

    points [m, 2]; when [m]: the place in the text at which the pen was; starts: which of the points
    begin a stroke; letters: the first and the last of the word's places.
    """
    first, last = letters
    begins = {first: 0, last + 1: len(points)}
    for reach in SNAP:
        for place in range(first + 1, last + 1):
            free = [k for k in starts if k not in begins.values()]
            near = min(free, key=lambda k: abs(when[k] - place), default=None)
            if place not in begins and near is not None and abs(when[near] - place) < reach:
                begins[place] = near
    for place in (u, u + 1):
        begins.setdefault(place, np.append(when >= place, True).argmax())
    body = points[begins[u] : begins[u + 1]]
    near = np.argsort(np.abs(when - u - 0.5), kind="stable")[:8]
    return body if len(body) > 2 else points[near]


def anchor(body, letter, mark, frame):
    """Where a mark stands on a letter's body [n, 2]: its origin (x, height), and pen units of its
    units (x, y).
    """
    size, x, high = frame.size, body[:, 0], body[:, 1]
    limits = (0.8 * size, 1.35 * size) if letter in SMALL else (1.15 * size, 1.25 * frame.tall)
    top = np.clip(high.max(), *limits)

    def side(share, among):
        return np.percentile(x[among] if among.any() else x, share)

    trunk = (high > -0.2 * size) & (high < 1.35 * size) | (letter not in SMALL)
    left, right = side(10, trunk), side(90, trunk)
    x_of = {
        "middle": lambda: (left + right) / 2,
        "left": lambda: left,
        "right foot": lambda: side(85, high < 0.4 * size),
        "right arm": lambda: side(85, high > 0.5 * top),
        "right top": lambda: side(100, high > 0.6 * top),
        "stem": lambda: x[high.argmax()],
        "box": lambda: left,
    }
    foot = min(high.min(), 0) if letter in DESCENDING else 0
    y_of = {"above": top + CLEAR * size, "below": foot, "top": top, "box": 0}
    y = y_of[mark["y"]] if mark["y"] in y_of else mark["y"] * top
    width = right - left if mark["x"] == "box" else size
    return (x_of[mark["x"]](), y), (width, top if mark["y"] == "box" else size)


def draw_marks(names, body, letter, frame, dot):
    """The strokes [n, 2] of the marks of these names on a letter. dot: where the letter's dot was,
    x, or None.
    """
    marks = [TABLES["marks"][name] for name in names]
    stacked = STACKED if sum(mark["y"] == "above" for mark in marks) > 1 else 1.0
    drawn, rise, below = [], 0.0, ""
    for name, mark in zip(names, marks, strict=True):
        (x, y), scale = anchor(body, letter, mark, frame)
        if mark["y"] == "above":
            scale = stacked * frame.size, stacked * frame.size
            x = x if dot is None else dot
            if below == "circumflex" and name in BESIDE:
                x, y = x + BESIDE[name] * frame.size, y + 0.16 * frame.size
            else:
                y += rise
            tops = [corner[1] for stroke in mark["strokes"] for corner in stroke]
            rise, below = rise + (max(tops, default=-0.1) + 0.1) * scale[1], name
        drawn += draw_shape(mark["strokes"], (x, y), scale, frame)
    return drawn


def find_dot(body, dots, frame):
    """The number of the stroke that is the dot of an i or j with this body, or None. dots: number
    -> points.
    """
    trunk = body[(body[:, 1] > -0.2 * frame.size) & (body[:, 1] < 1.35 * frame.size)]
    x = np.median((trunk if len(trunk) else body)[:, 0])
    high = {k: dot for k, dot in dots.items() if dot[:, 1].min() > 0.75 * frame.size}
    away = {k: abs(dot[:, 0].mean() - x) for k, dot in high.items()}
    near = min(away, key=away.get, default=None)
    return near if near is not None and away[near] < 0.9 * frame.size else None
