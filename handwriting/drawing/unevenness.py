"""What sets people's lines apart from typeset ones: gaps, edges and baselines that vary.

The numbers are of 373 forms of the IAM On-Line Handwriting Database (five lines or more each, on a
whiteboard without ruled lines), in heights of an x: medians over forms, of straight lines and
parabolas through the baselines of a line's words. A line is about 45 heights of an x long there.
"""

import numpy as np

# Standard deviation of a form's gaps between words, of their mean, 0.28, less that of drawn ones,
# 0.17.
GAP = 0.22
EDGE = 0.7  # of where lines begin
HEIGHT = 0.33  # of how far lines lie too high or too low
# How much lower a line ends than it begins (lines rise), and how much lower its ends are than a
# straight line, less twice that in the middle: mean and standard deviation.
RISE = -0.7, 1.0
BEND = 0.13, 0.17
CARRY = 0.7  # correlation of a line's edge or rise with that of the line before
MOST = 2.0  # standard deviations that a line may differ from the mean


def wander(rng):
    """Yield values of mean 0 and standard deviation 1 without end, each close to the one before."""
    value = rng.standard_normal()
    while True:
        yield np.clip(value, -MOST, MOST)
        value = CARRY * value + np.sqrt(1 - CARRY**2) * rng.standard_normal()


class Unevenness:
    """The unevenness of a letter: `amount` times that of people; 0 is none.

    x_height: in mm, as all lengths here. rng: a NumPy Generator.
    """

    def __init__(self, amount, x_height, rng):
        self.amount, self.unit, self.rng = amount, amount * x_height, rng
        self.rises = wander(rng)
        self.edges = self.find_edges(wander(rng), wander(rng))

    def find_edges(self, lefts, rights):
        """Yield for each row how far its left and its right end stay within the margins."""
        for pair in zip(lefts, rights, strict=True):
            yield self.unit * EDGE * (MOST + np.array(pair))

    def vary_gap(self, word):
        """The word behind a wider or narrower gap."""
        spread = np.clip(self.rng.standard_normal(), -MOST, MOST)
        return word._replace(gap=word.gap * np.exp(self.amount * GAP * spread))

    def move_row(self, strokes, room):
        """Strokes `[k, 2]` of a row, y from a straight baseline, on an uneven one.

        room: from the left margin, x = 0, to the right one.
        """
        spread = np.clip(self.rng.standard_normal(2), -MOST, MOST)
        height, bend = HEIGHT * spread[0], BEND[0] + BEND[1] * spread[1]
        rise = RISE[0] + RISE[1] * next(self.rises)
        moved = []
        for x, y in (stroke.T for stroke in strokes):
            t = 2 * x / room - 1  # -1 to 1
            baseline = height + rise * t / 2 + bend * (3 * t**2 - 1) / 2
            moved.append(np.stack([x, y + self.unit * baseline], axis=1))
        return moved
