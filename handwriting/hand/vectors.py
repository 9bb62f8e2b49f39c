"""Hands as vectors of HAND numbers, of mean square 1: from strokes, from photos, at random, between
two, and in files.

A file of a hand is JSON: {"hand": [HAND whole numbers], "text": ..., "strokes": [[dx, dy, eos],
...]}; the numbers are 32 times the vector's, and without a line to go on from text and strokes are
missing. save/hands/people.json tells of the hands that the network learnt from: {"mean": [...],
"spread": [[...], ...]}, the mean of their vectors and a root of the covariance, as such numbers.
"""

import collections
import functools
import json

from handwriting.files import UserError, atomic_write
from handwriting.network.cells import HAND
from handwriting.network.checkpoint import SAVE

import numpy as np

PEOPLE = SAVE / "hands" / "people.json"
KNOWN = 6  # lines that tell a hand, at most
UNIT = 32.0  # a whole number in a file is this part of a vector's


def to_hand(vector):
    """A vector [HAND] as one of a hand, float32, of mean square 1."""
    return np.float32(vector * np.sqrt(HAND) / np.linalg.norm(vector))


def mean_hand(vectors):
    """The hand of several lines' vectors [n, HAND]."""
    return to_hand(np.mean(vectors, axis=0))


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


def blend(one, other, share):
    """The hand that has this share of the other's, from 0 to 1."""
    return to_hand((1 - share) * one + share * other)


def hand_of_lines(lines):
    """The hand of lines [n, 3] in pen units."""
    from handwriting.hand.encoder import encode_lines  # TensorFlow

    return mean_hand(encode_lines(lines))


def hand_of_photo(path):
    """The hand in a picture of handwriting. Raises UserError."""
    from handwriting.hand.encoder import read_encoder
    from handwriting.hand.photo import read_photo

    lines = read_photo(path)
    return mean_hand(read_encoder("pictures").encode([line[..., None] for line in lines]))


@functools.cache
def read_people():
    """The mean [HAND] and spread [HAND, n] of save/hands/people.json, float32."""
    found = json.loads(PEOPLE.read_text(encoding="utf-8"))
    return [np.float32(found[name]) / UNIT for name in ("mean", "spread")]


def random_hand(seed):
    """A hand that nobody has, the same for the same seed."""
    mean, spread = read_people()
    return to_hand(mean + spread @ np.random.default_rng(seed).standard_normal(spread.shape[1]))


def to_numbers(hand):
    """A hand as whole numbers of a byte each, a list."""
    return np.rint(UNIT * hand).clip(-127, 127).astype(int).tolist()


def save_hand(path, hand, text="", strokes=()):
    """Write the file of a hand, with a line to go on from if there is one."""
    content = {"hand": to_numbers(hand)}
    if len(strokes):
        content |= {"text": text, "strokes": np.rint(strokes).astype(int).tolist()}
    with atomic_write(path) as file:
        file.write((json.dumps(content) + "\n").encode())


def parse_hand(found, path):
    """The hand, text and strokes [n, 3] of the content of such a file, a dict. Raises UserError."""
    try:
        hand, strokes = (np.asarray(found.get(k, ()), float) for k in ("hand", "strokes"))
        strokes = strokes.reshape([-1, 3])
        right = hand.shape == (HAND,) and np.isfinite(hand).all() and hand.any()
        right = right and np.isfinite(strokes).all() and isinstance(found.get("text", ""), str)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise UserError(f"{path} holds no hand of {HAND} numbers; write it anew with --save_style")
    return to_hand(hand), found.get("text", ""), strokes
