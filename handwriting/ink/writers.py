"""How large a writer writes, and ink in pen units: scaled to the database's size, with as many
points for each character, on its baseline.

Strokes are [n, 2] of x, y (downwards), in any unit until `normalise`, then in pen units.
"""

import re
from typing import NamedTuple

from handwriting.ink.page_lines import guess_x_height

import numpy as np

BODY = 145  # pen units: the median height of words of small letters like a, c and e
POINTS = 28  # of a character with ink, as in the database
HIGHEST = 5.0  # x-heights of a line, of outermost ink
LEAST = 3  # points of a stroke: a dot's
SMALL = frozenset("acemnorsuvwxz")
TALL = frozenset("bdhkltABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
DOTTED = frozenset("ij")
HANGING = frozenset("gjpqy,;()[]{}|/\\$_@Q")
# Where else the ink of a character lies, lowest and highest, in x-heights above the baseline.
PLACES = {
    ",": (-0.35, 0.2), ";": (-0.35, 0.9), ":": (0.05, 0.9), "'": (1.1, 1.8), '"': (1.1, 1.8),
    "`": (1.2, 1.8), "^": (1.1, 1.8), "*": (0.7, 1.6), "-": (0.45, 0.6), "~": (0.4, 0.8),
    "=": (0.35, 0.85), "+": (0.1, 1.1), "<": (0.05, 1.1), ">": (0.05, 1.1), "_": (-0.25, -0.1),
    "(": (-0.3, 1.8), ")": (-0.3, 1.8), "[": (-0.3, 1.8), "]": (-0.3, 1.8), "{": (-0.3, 1.8),
    "}": (-0.3, 1.8), "|": (-0.3, 1.8), "/": (-0.1, 1.8), "\\": (-0.1, 1.8), "$": (-0.15, 1.8),
    "@": (-0.1, 1.4), "j": (-0.7, 1.5), "f": (-0.2, 1.7), "Q": (-0.2, 1.6),
}  # fmt: skip


class Writer(NamedTuple):
    """How large a writer writes, in the unit of the ink."""

    x_height: float
    tall: float  # height of b, d, capitals
    points: float  # of a character with ink
    width: float  # of a character


def clean_text(label):
    """A label as people would write it; None if it has other characters than ASCII's."""
    text = " ".join(label.replace("\\@", "").split())  # \@ stands for a lift of the pen
    text = re.sub(r" ([.,;:?!])(?= |$)", r"\1", text)
    return text if text and all(" " <= c <= "~" for c in text) else None


def extent(strokes):
    """left, top, right, bottom of strokes."""
    points = np.concatenate(strokes)
    return (*points.min(axis=0), *points.max(axis=0))


def without_strays(strokes):
    """Strokes without dots that lie far away from what is written, as a pen leaves that was tried
    out."""
    large = [s for s in strokes if len(s) > 2]
    if not large or len(large) == len(strokes):
        return strokes
    left, top, right, bottom = extent(large)
    reach = 0.6 * (bottom - top)
    low, high = np.array([left - reach, top - reach]), np.array([right + reach, bottom + reach])
    return [s for s in strokes if len(s) > 2 or ((s >= low) & (s <= high)).all()]


def measure_writer(segments):
    """The Writer of (text, strokes) segments, or None if they do not tell."""
    if not segments:
        return None
    small, tall, points, widths = [], [], [], []
    for text, strokes in segments:
        left, top, right, bottom = extent(strokes)
        chars = set(text) - {" "}
        points.append(sum(map(len, strokes)) / len(text.replace(" ", "")))
        widths.append(((right - left) / len(text), len(text)))
        if chars <= SMALL:
            small.append(bottom - top)
        elif chars <= SMALL | TALL and len(text) < 20:
            tall.append(bottom - top)
    x_height = np.median(small or [0.0])
    if len(small) < 5:
        spreads = [guess(strokes) for text, strokes in segments if len(text) > 3][:50]
        x_height = np.median(spreads or [np.median(tall or [0.0]) / 1.7])
    tall = np.median(tall) if len(tall) > 4 else 1.7 * x_height
    several = [width for width, length in widths if length > 2]
    width = np.median(several or [width for width, _ in widths])
    if not (x_height > 0 and width > 0):
        return None
    return Writer(x_height, tall, np.median(points), width)


def guess(strokes):
    return guess_x_height([np.column_stack([s, s[:, 0]]) for s in strokes])


def place(text, strokes, writer):
    """Strokes of a text, moved so that its baseline is at y = 0. The letters tell it: they stand on
    it, but for some that hang below, in cursive also f and z; marks are at heights of their own.
    """
    _, top, _, bottom = extent(strokes)
    chars = set(text) - {" "}
    if len(chars) == 1 and (found := PLACES.get(text[0])):
        base = (top + bottom) / 2 + sum(found) / 2 * writer.x_height
    else:
        if chars & DOTTED:  # whose dots do not tell where letters end
            large = [s for s in strokes if np.ptp(s, axis=0).max() > 0.35 * writer.x_height]
            top = extent(large or strokes)[1]
        above = writer.x_height if chars <= SMALL | HANGING | DOTTED | set(".,-") else writer.tall
        hangs = chars & HANGING or bottom - top > 1.3 * above
        base = top + above if hangs else bottom
    return [s - [0.0, base] for s in strokes]


def resample(strokes, scale, factor, rounds):
    """Strokes [n, 2], scaled, with about factor times as many points each, at least LEAST, by cubic
    Hermite curves through them, smoothed before so many times."""
    lengths = np.array(list(map(len, strokes)))
    starts = np.cumsum(lengths) - lengths
    points, number = np.concatenate(strokes) * scale, np.arange(lengths.sum())
    before = np.maximum(number - 1, np.repeat(starts, lengths))
    after = np.minimum(number + 1, np.repeat(starts + lengths - 1, lengths))
    inside = ((before < number) & (number < after))[:, None]
    for _ in range(rounds):
        mean = 0.25 * points[before] + 0.5 * points + 0.25 * points[after]
        points = np.where(inside, mean, points)
    tangents = (points[after] - points[before]) / np.maximum(after - before, 1)[:, None]

    counts = np.maximum(LEAST, np.rint(lengths * factor).astype(int))
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    at = row * np.repeat((lengths - 1) / (counts - 1), counts)
    k = np.minimum(at.astype(int), np.repeat(np.maximum(lengths - 2, 0), counts))
    t, k = (at - k)[:, None], k + np.repeat(starts, counts)
    p, q, m, n = points[k], points[after[k]], tangents[k], tangents[after[k]]
    curve = (1 + 2 * t) * (1 - t) ** 2 * p + t * (1 - t) ** 2 * m
    curve += t * t * (3 - 2 * t) * q + t * t * (t - 1) * n
    return np.split(curve, np.cumsum(counts)[:-1])


def usable(segments):
    """(level, text, strokes) of the segments (handwriting.ink.unipen.Segment) that are not bad."""
    for segment in segments:
        text = clean_text(segment.text)
        if text and segment.quality != "BAD":
            yield segment.level, text, without_strays(segment.strokes)


def normalise(files):
    """For each file's (level, text, strokes) of one writer, these in pen units with the database's
    points, and the Writer; nothing if they do not tell how large the writing is."""
    segments = [segment for file in files for segment in file]
    writer = measure_writer([(text, strokes) for _, text, strokes in segments])
    if writer is None:
        return []
    scale, factor = BODY / writer.x_height, POINTS / max(writer.points, 1.0)
    rounds = int(np.clip(scale / 2, 0, 3))  # scale: of a unit of the tablet in pen units
    drawn = iter(resample([s for *_, strokes in segments for s in strokes], scale, factor, rounds))
    normal = Writer(BODY, writer.tall * scale, POINTS, writer.width * scale)
    return [
        ([(level, text, [next(drawn) for _ in strokes]) for level, text, strokes in file], normal)
        for file in files
    ]


def fits(text, strokes, writer):
    """Whether ink has about as many points and the size that a text of this writer has."""
    left, top, right, bottom = extent(strokes)
    points = sum(map(len, strokes)) / len(text.replace(" ", "")) / writer.points
    width = (right - left) / len(text) / writer.width
    wide = len(text) < 3 or 0.4 < width < 2.5
    return 0.45 < points < 2.2 and wide and bottom - top < HIGHEST * writer.x_height
