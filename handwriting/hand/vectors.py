"""Hands as vectors of HAND numbers, of mean square 1, from those of lines."""

import collections

from handwriting.network.cells import HAND

import numpy as np

KNOWN = 6  # lines that tell a hand, at most


def mean_hand(vectors):
    """The hand, float32 [HAND], of several lines' vectors [n, HAND]."""
    mean = np.mean(vectors, axis=0)
    return np.float32(mean * np.sqrt(HAND) / np.linalg.norm(mean))


def hands_by_others(vectors, people):
    """For each line's vector [n, HAND] the hand by at most KNOWN other lines by the same of people
    [n], the nearest in order, or zeros where there is none: float32 [n, HAND].
    """
    hands, rows = np.zeros(vectors.shape, np.float32), collections.defaultdict(list)
    for k, person in enumerate(people):
        rows[person].append(k)
    for k, person in enumerate(people):
        others = sorted(set(rows[person]) - {k}, key=lambda other: abs(other - k))[:KNOWN]
        if others:
            hands[k] = mean_hand(vectors[others])
    return hands
