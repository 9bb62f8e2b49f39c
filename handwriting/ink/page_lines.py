"""The lines of writing on a page, found by their height, and how large writing is.

Strokes are [n, 3] of (x, y, milliseconds) in any unit, y downwards. Tried on pages of up to six
lines of the shipped styles, cut off at random, 400 pen units apart as in the database: level or all
on one slope, 4 of 180 pages have a wrong number of lines, and 1 of 1,500 strokes is in a wrong one;
at 350 units 3 of 180 and 1 of 500; where slopes differ by 1 % from line to line 4 and 6 of 180.
"""

import bisect

from handwriting.files import UserError

import numpy as np

SPREAD = 0.66  # x-heights: the median standard deviation of the height of ink in database lines
STROKE_SPREAD = 0.35  # the same within a stroke: of a letter in print; of a cursive word it is more
SMALL = 0.75  # x-heights: dots and bars are lower, and letters higher
NEW = 1.15  # x-heights: a letter as far from all lines near it begins one, and
SAME = 1.3  # lines whose letters are nearer to another are one
HANGING = 1.3  # x-heights: dots and bars are nearer to the line of the letters before and after,
ABOVE = 0.4  # which they stand above by about so many
NEIGHBOURS = 2  # letters on either side that tell the height of a line at a place
STEP = 12  # x-heights: letters that follow one another within it tell the slope of lines
RULE = 10  # heights of a usual stroke: straight lines as long as this, and of
REACH = 0.6  # of the page's width or height, are rules
MAX_STROKES = 20_000  # on a page; one that is full of print has 3,000
MAX_LINES = 200


class Line(list):
    """Positions (x, y) of the letters of a line, sorted."""

    def height(self, x):
        """The mean y of the letters about x."""
        place = bisect.bisect(self, (x,))
        near = self[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS]
        return sum(y for _, y in near) / len(near)

    def distance(self, position):
        return abs(position[1] - self.height(position[0]))


def find_rules(strokes):
    """Which strokes, bool [strokes], are ruled lines or margins: straight along x or y, and far
    longer than curved ones are high. None is where nothing is curved."""
    extents = np.array([np.ptp(stroke[:, :2], axis=0) for stroke in strokes])
    chords = np.array([np.abs(stroke[-1, :2] - stroke[0, :2]).max() for stroke in strokes])
    lengths = extents.max(axis=1)
    straight = (extents.min(axis=1) <= 0.02 * lengths) & (lengths <= 1.001 * chords)
    if straight.all():
        return np.zeros(len(strokes), bool)
    page = np.ptp(np.concatenate(strokes)[:, :2], axis=0)
    far = (extents >= REACH * page).any(axis=1)
    return straight & far & (lengths >= RULE * np.median(extents[~straight, 1]))


def guess_x_height(strokes):
    """About the x-height of strokes: the median spread of their height, each weighted by how far it
    goes up and down; 0 if none does."""
    lengths = np.array(list(map(len, strokes)))
    number = np.repeat(np.arange(len(strokes)), lengths)
    y = np.concatenate([stroke[:, 1] for stroke in strokes])
    inside = number[1:] == number[:-1]
    number, way = number[1:][inside], np.abs(np.diff(y))[inside]
    middle = ((y[1:] + y[:-1]) / 2)[inside]

    def total(values):
        return np.bincount(number, values, len(strokes))

    ways = total(way)
    some = np.where(ways > 0, ways, 1.0)
    mean = total(way * middle) / some
    spreads = np.sqrt((total(way * (middle - mean[number]) ** 2) + total(way**3) / 12) / some)
    order = np.argsort(spreads)
    upto = np.cumsum(ways[order])
    return spreads[order][np.searchsorted(upto, upto[-1] / 2)] / STROKE_SPREAD


def find_slope(letters, size):
    """The slope of lines, from letters [n, 2] in the order of writing."""
    moves = np.diff(letters, axis=0)
    onward = (moves[:, 0] > 0) & (moves[:, 0] < STEP * size) & (abs(moves[:, 1]) < NEW * size)
    across, down = moves[onward].sum(axis=0)
    return down / across if across else 0.0


def find_lines(letters, size):
    """Lines of letters, (x, y) in the order of writing; each is with those near it, if at about
    their height. Raises UserError."""
    lines = []
    for letter in letters:
        nearest = min(lines, key=lambda line: line.distance(letter), default=None)
        if nearest is None or nearest.distance(letter) > NEW * size:
            nearest = Line()
            lines.append(nearest)
        bisect.insort(nearest, letter)
        if len(lines) > MAX_LINES:
            raise UserError(f"has over {MAX_LINES} lines on a page; leave drawings out")
    found = []  # a line that began in two places, or with a capital far up, is one
    for line in sorted(lines, key=len, reverse=True):
        gaps = [np.median([other.distance(letter) for letter in line]) for other in found]
        if gaps and min(gaps) < SAME * size:
            for letter in line:
                bisect.insort(found[np.argmin(gaps)], letter)
        else:
            found.append(line)
    return sorted(found, key=lambda line: np.mean([y for _, y in line]))


def number_lines(strokes):
    """The number of its line, from 0 at the top, for each of strokes [n, 3]; -1 for rules. Raises
    UserError."""
    if len(strokes) > MAX_STROKES:
        raise UserError(f"has over {MAX_STROKES:,} strokes on a page; divide it")
    numbers = np.where(find_rules(strokes), -1, 0)
    ink = [stroke for stroke, number in zip(strokes, numbers, strict=True) if number == 0]
    size = guess_x_height(ink)
    if not size > 0:
        return numbers
    middles = [(np.ptp(s[:, 0]) / 2 + s[:, 0].min(), s[:, 1].mean()) for s in ink]
    heights = np.array([np.ptp(stroke[:, 1]) for stroke in ink])
    large = heights >= min(SMALL * size, heights.max())
    at = np.array(middles)
    at[:, 1] -= find_slope(at[large], size) * at[:, 0]
    lines = find_lines(list(map(tuple, at[large].tolist())), size)
    at[~large, 1] += ABOVE * size
    away = np.array([[line.distance(position) for line in lines] for position in at.tolist()])
    found = away.argmin(axis=1)
    for k in np.flatnonzero(~large):
        earlier, later = np.flatnonzero(large[:k])[-1:], k + np.flatnonzero(large[k:])[:1]
        around = found[[*earlier, *later]]
        nearest = around[away[k, around].argmin()]
        if away[k, nearest] < HANGING * size:
            found[k] = nearest
    numbers[numbers == 0] = np.unique(found, return_inverse=True)[1]
    return numbers


def divide(strokes):
    """Lists of strokes, one for each line of writing on a page, the highest first; without rules.
    Raises UserError."""
    numbers = number_lines(strokes)
    lines = [[] for _ in range(numbers.max() + 1)]
    for stroke, number in zip(strokes, numbers, strict=True):
        if number >= 0:
            lines[number].append(stroke)
    return lines


def share_text(text, number):
    """The texts of so many lines that together say this text, or None: a list of str or None."""
    said = [line.strip() for line in (text or "").strip().splitlines()]
    return said if len(said) == number and all(said) else [None] * number


def estimate_x_height(strokes):
    """The x-height of a line's strokes [n, 3], in their unit, from how far ink spreads about its
    baseline. Raises UserError if they have no height.
    """
    pieces = np.concatenate([np.hstack([s[:-1, :2], s[1:, :2]]) for s in strokes])
    x, y = (pieces[:, :2] + pieces[:, 2:]).T / 2
    lengths = np.hypot(*(pieces[:, 2:] - pieces[:, :2]).T)
    if not lengths.sum() > 0:
        raise UserError("holds nothing but dots; name a file with writing")
    covariance = np.cov(x, y, aweights=lengths, bias=True) + np.eye(2) * 1e-18
    # Short writing has no slope to speak of, as in handwriting.text.lines.baseline.
    slope = covariance[0, 1] / (covariance[0, 0] + 6 * covariance[1, 1])
    spread = np.sqrt(np.cov(y - slope * x, aweights=lengths, bias=True))
    if not spread > 1e-9:
        raise UserError("holds nothing but a straight line; name a file with writing")
    return spread / SPREAD
