"""Made-up lines of letters, as the network might have drawn them."""

from handwriting.network.mixture import Mixture
from handwriting.text.marks import LEAD
from handwriting.text.pen import Line

import numpy as np

SIZE, WIDE, LEAN = 100.0, 70.0, 0.3
ALPHABET = "abcdefghijklmnopqrstuvwxyzACDELO ,"
TALL = set("bdfhklACDELO")


def draw_letters(text, lean=LEAN, joined=False):
    """A made-up Line: each letter an arch with two feet, 100 high or 200, with a dot over i; spaces
    are wide. The window runs ahead of the pen. joined: a stroke leads from letter to letter.
    """
    strokes, places, x = [], [], 1000.0
    for u, c in enumerate(text):
        if c != " ":
            high = (2 if c in TALL else 1) * SIZE
            share = np.linspace(0, 1, 21)
            heights = high * np.minimum(1, 4 * np.minimum(share, 1 - share))
            across = x + WIDE * np.clip(2 * share - 0.5, 0, 1)
            arch = np.stack([across + lean * heights, 500 - heights], axis=1)
            strokes.append(arch)
            places.append(u + share)
            if c in "ij":
                y = 1.6 * SIZE + np.linspace(6, 0, 5)
                dot = np.stack([x + WIDE / 2 + lean * y + np.linspace(0, 2, 5), 500 - y], axis=1)
                strokes.append(dot)
                places.append(np.full(5, u + 0.9))
        x += 160.0 if c == " " else WIDE + 30
    if joined:
        strokes, places = [np.concatenate(strokes)], [np.concatenate(places)]
    points = np.concatenate([np.c_[s, np.arange(len(s)) == len(s) - 1] for s in strokes])
    points[:, :2] = np.diff(points[:, :2], axis=0, prepend=0)
    at = np.concatenate(places)[:, None] + LEAD
    window = np.maximum(1 - np.abs(at - np.arange(len(text)) - 0.5), 1e-6)
    window /= window.sum(axis=1, keepdims=True)
    n = len(points)
    density = [np.full([n, 3], value, np.float32) for value in (1 / 3, 0, 0, 9, 9, 0.5)]
    params = Mixture(*density, np.full(n, 0.1, np.float32))
    params.mu1[:], params.mu2[:] = points[:, :1] + 5, points[:, 1:2] - 5
    return Line(text, np.float32(points), params, np.float32(window), "")
