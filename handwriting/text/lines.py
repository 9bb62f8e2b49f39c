"""A line and what it says: lines of one writer joined, ink that does not fit a text.

Lines are [n, 3] in pen units.
"""

import itertools

from handwriting.ink.points import baseline

import numpy as np

POINTS = 25  # of a character, about
MOST_POINTS = 60  # for each character; and so many more for a line
# For each character, in 99.9 of 100 real lines of IAM and UNIPEN: a line's length in points, its
# width in pen units.
USUAL = {"length": (9, 46), "width": (41, 391)}
ENOUGH = 8  # characters: shorter texts vary more


def word_gap(line, text):
    """The pen's usual move from word to word to the right in a line [n, 3], in pen units."""
    width = np.ptp(np.cumsum(line[1:, 0])) / len(text)
    lifts = np.sort(line[1:, 0][line[:-1, 2] > 0.5])
    spaces = min(text.count(" "), len(lifts))
    gap = np.median(lifts[-spaces:]) if spaces else width
    return float(np.clip(gap, 0.5 * width, 2.0 * width))


def join_lines(lines, texts):
    """Lines [n, 3] of one writer, in pen units, as one line, and its text, joined by spaces.

    Each next line begins a word's distance to the right of the one before, on the same baseline.
    """
    joined = [lines[0]]
    for (line, text), (after, after_text) in itertools.pairwise(zip(lines, texts, strict=True)):
        x, y = np.cumsum(line[1:, :2], axis=0).T
        next_x, next_y = np.cumsum(np.vstack([[0, 0], after[1:, :2]]), axis=0).T
        gap = (word_gap(line, text) + word_gap(after, after_text)) / 2
        (slope, height), (next_slope, next_height) = baseline(x, y), baseline(next_x, next_y)
        left = next_x.min()
        move_x = x.max() + gap - left - x[-1]
        move_y = slope * x.max() + height - (next_slope * left + next_height) - y[-1]
        joined.append(after.copy())
        joined[-1][0, :2] = np.rint([move_x, move_y])
    return np.concatenate(joined), " ".join(texts)


def find_problem(text, strokes):
    """What is wrong with a drawing of text, or the empty string."""
    if len(strokes) >= MOST_POINTS * (len(text) + 1):
        return "it did not end"
    if len(text) >= ENOUGH:
        ink = {"length": len(strokes), "width": np.ptp(np.cumsum(strokes[:, 0]))}
        for name, (low, high) in USUAL.items():
            if not low <= ink[name] / len(text) <= high:
                return f"its {name} does not fit its text"
    return ""
