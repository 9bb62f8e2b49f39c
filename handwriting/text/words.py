"""Words of drawn lines: which strokes belong to which word, its baseline, its size.

The window tells which character the network looked at when it drew a point, but it runs ahead, and
a dot or the bar of a t may come after the next word has begun. Gaps between strokes tell the rest.

Positions are in pen units, x to the right and y downwards, until `find_words` gives them in
x-heights: heights of an x in this hand.
"""

import itertools
from typing import NamedTuple

import numpy as np

UNSURE = 0.02  # the share of the window that a stroke of another word may have
NAT = 25.0  # pen units of gap between two words count as much as one nat of the window
FAR = 200.0  # pen units: the most that counts of a gap or of an overlap
NO_STROKE = 10.0  # nats against a word without strokes: one that is joined to the next
X_HEIGHT = 100.0  # pen units, about; where the search for the hand's own begins
SIZES = np.arange(-3, 6) / 4  # x-heights that a word may have, in octaves from the hand's
SAME_SIZE = 1.15  # how much larger or smaller than the hand's a word's x-height may stay
CAPITAL = 0.6  # the x-height of a text of capitals or digits alone, in their heights
STRAY = 0.7  # x-heights between a word's baseline and those of its neighbours
BESIDE = 50.0  # pen units beside a word at which others' points count half
DOT = 0.12  # x-heights: what is shorter is drawn as a dash of this length


class Word(NamedTuple):
    """A word as drawn, in units of the x-height."""

    text: str
    strokes: list  # of arrays [k, 2], k >= 2: x from the word's left edge, y from its baseline
    gap: float  # between the word before and this one

    @property
    def width(self):
        return max(stroke[:, 0].max() for stroke in self.strokes)

    def scaled(self, factor):
        return Word(self.text, [factor * stroke for stroke in self.strokes], factor * self.gap)


def find_words(lines):
    """The Words of drawn lines (with text, strokes, window as a Line has them) of one hand: a list
    for each line, in reading order. Words joined by a stroke are one Word.

    The hand's x-height is the median over all words that have a small letter. A gap is the usual
    one where a line begins, and kept between 0.6 and 2 times the usual one elsewhere.
    """
    parts = [split_words(line) for line in lines]
    size, guides = find_guides(parts)
    lines = [make_words(*both, size) for both in zip(parts, guides, strict=True)]
    gaps = [word.gap for words in lines for word in words[1:]]
    usual = max(np.median(gaps), 0.5) if gaps else 1.0
    for words in lines:
        for k, word in enumerate(words):
            gap = np.clip(word.gap, 0.6 * usual, 2 * usual) if k else usual
            words[k] = word._replace(gap=gap)
    return lines


def find_guides(parts):
    """The x-height of the hand that wrote lines, lists of words (text, strokes), and the guide
    lines of each word of each line.
    """
    size = X_HEIGHT
    for _ in range(2):
        guides = [guide_lines([strokes for _, strokes in words], size) for words in parts]
        heights = np.array([low - high for pairs in guides for low, high in pairs])
        small = [has_small(text) for words in parts for text, _ in words]
        size = np.median(heights[small]) if any(small) else CAPITAL * np.median(heights)
    return size, guides


def steady(lows, size):
    """The heights of words' baselines [W]; one that is far from those of the neighbours, as
    quotation marks may give, is theirs.
    """
    around = [np.median(lows[max(k - 2, 0) : k + 3]) for k in range(len(lows))]
    return np.where(np.abs(lows - around) < STRAY * size, lows, around)


def make_words(parts, guides, size):
    """The Words of one line from its words (text, strokes), their guide lines and the hand's size.

    Where a word and its neighbours are larger or smaller by more than SAME_SIZE, they are made as
    large as the rest; capitals alone tell no x-height and stay as they are.
    """
    lows, heights = steady(np.array(guides)[:, 0], size), -np.diff(guides)[:, 0]
    heights[[not has_small(text) for text, _ in parts]] = size
    words, right = [], 0.0
    for k, (text, strokes) in enumerate(parts):
        low, height = lows[k], np.median(heights[max(k - 2, 0) : k + 3])
        unit = height / np.clip(height / size, 1 / SAME_SIZE, SAME_SIZE)
        (left, _), (end, _) = box(strokes)
        moved = [dash((stroke - [left, low]) / unit) for stroke in strokes]
        moved = [stroke - [box(moved)[0][0], 0] for stroke in moved]
        words.append(Word(text, moved, (left - right) / unit))
        right = end
    return words


def has_small(text):
    """Whether a word has a small letter, whose height tells the size of the hand."""
    return any(character.islower() for character in text)


def box(strokes):
    """The corners (left, top) and (right, bottom) of strokes."""
    points = np.concatenate(strokes)
    return points.min(axis=0), points.max(axis=0)


def dash(stroke):
    """The stroke, or a dash of DOT if all of it lies within DOT."""
    low, high = stroke.min(axis=0), stroke.max(axis=0)
    if (high - low).max() < DOT:
        return (low + high) / 2 + [[-DOT / 2, 0], [DOT / 2, 0]]
    return stroke


# --------------------------------------------------------------------------------- strokes to words


def split_words(line):
    """The words of a line from left to right: pairs of text and strokes, in the order of drawing.
    Words joined by a stroke are one.
    """
    strokes, numbers = number_strokes(line)
    words, waiting = [], []
    for text, chosen in zip(line.text.split(), numbers, strict=True):
        waiting.append(text)
        if chosen:
            words.append((" ".join(waiting), [strokes[k] for k in chosen]))
            waiting = []
    return words


def number_strokes(line):
    """The strokes [k, 2] of a line, and for each of its words the numbers of its strokes.

    Strokes, sorted by the middle of their width, are cut into as many runs as there are words, so
    that the window's shares and the gaps between runs, both in nats, add up to the most.
    """
    xy = np.cumsum(line.strokes[:, :2], axis=0, dtype=float)
    ends = np.flatnonzero(line.strokes[:-1, 2] > 0.5) + 1
    strokes = np.split(xy, ends)
    shares = np.array([part.sum(axis=0) for part in np.split(word_weights(line), ends)])
    shares = np.log(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9) + UNSURE)
    left = np.array([stroke[:, 0].min() for stroke in strokes])
    right = np.array([stroke[:, 0].max() for stroke in strokes])
    order = np.argsort(left + right, kind="stable")
    gaps = np.minimum.accumulate(left[order][::-1])[::-1][1:]
    gaps = gaps - np.maximum.accumulate(right[order])[:-1]
    cuts = best_cuts(shares[order], np.clip(gaps, -FAR, FAR) / NAT)
    return strokes, [sorted(order[start:end].tolist()) for start, end in itertools.pairwise(cuts)]


def word_weights(line):
    """The window's weights [n, W] over the W words of the line's text, less the spaces."""
    space = np.array([c.isspace() for c in line.text])
    begins = ~space & np.append(True, space[:-1])
    word = np.cumsum(begins) - 1
    columns = [line.window[:, ~space & (word == k)].sum(axis=1) for k in range(word[-1] + 1)]
    return np.stack(columns, axis=1)


def best_cuts(scores, gaps):
    """Where N strokes are cut into W runs: places [W + 1] from 0 to N.

    scores [N, W]: what a stroke adds in each run; gaps [N - 1]: what a cut adds between a stroke
    and the next.
    """
    strokes, words = scores.shape
    total = np.vstack([np.zeros(words), np.cumsum(scores, axis=0)])
    gaps = np.concatenate([[0], gaps, [0]])
    best, back = np.append(0.0, np.full(strokes, -np.inf)), []
    for k in range(words):
        options = (best + gaps - total[:, k])[None] + total[:, k, None]  # [end, start]
        options -= NO_STROKE * np.eye(strokes + 1)
        options[np.triu_indices(strokes + 1, 1)] = -np.inf
        back.append(options.argmax(axis=1))
        best = options.max(axis=1)
    cuts = [strokes]
    for starts in reversed(back):
        cuts.append(int(starts[cuts[-1]]))
    return cuts[::-1]


# ----------------------------------------------------------------------------- baselines and sizes


def guide_lines(words, size):
    """For each word (a list of strokes) of a line: the heights of its baseline and of its x-line.

    These are the two heights at a distance near `size` at which the most strokes turn, those of
    the word itself first.
    """
    strokes = [stroke for word in words for stroke in word]
    low, high = turns(strokes, 1), turns(strokes, -1)
    pairs = []
    for word in words:
        (left, _), (right, _) = box(word)
        near_low, near_high = nearness(low, left, right), nearness(high, left, right)
        found = []
        for octaves in SIZES:
            height = size * 2**octaves
            below = closeness(low[:, 1], low[:, 1], height) * near_low
            above = closeness(low[:, 1] - height, high[:, 1], height) * near_high
            support = (below.sum(axis=1) + above.sum(axis=1)) * (1 - 0.3 * abs(octaves))
            best = support.argmax()
            base = below[best] @ low[:, 1] / below[best].sum()
            weight = above[best].sum()
            top = above[best] @ high[:, 1] / weight if weight > 0 else base - height
            found.append((support[best], base, top))
        pairs.append(max(found)[1:])
    return pairs


def turns(strokes, sign):
    """Where strokes turn: their lowest points [k, 2] (sign 1) or highest ones (-1) among the eight
    around each. Dots and bars are left out; of points at one place one counts.
    """
    heights = [np.ptp(stroke[:, 1]) for stroke in strokes]
    points = []
    for stroke, height in zip(strokes, heights, strict=True):
        if height >= np.median(heights) / 2:
            y = sign * stroke[:, 1]
            around = np.pad(y, 4, constant_values=-np.inf)
            around = np.lib.stride_tricks.sliding_window_view(around, 9)
            points.append(stroke[y == around.max(axis=1)])
    points = np.concatenate(points)
    places = np.unique(points // 20, axis=0, return_index=True)[1]
    return points[places]


def nearness(points, left, right):
    """1 for points [k, 2] above or below a word, less beside it."""
    beside = np.maximum(np.maximum(left - points[:, 0], points[:, 0] - right), 0)
    return 1 / (1 + (beside / BESIDE) ** 2)


def closeness(heights, others, size):
    """[k, l]: 1 where two heights are the same, 0 at 0.3 of the size and beyond."""
    return np.maximum(1 - ((heights[:, None] - others) / (0.3 * size)) ** 2, 0)
