"""Which drawing of a text is kept: the one that the reader reads best, and in it words of other
drawings in the same hand in place of those that it misreads.
"""

import re
from typing import NamedTuple

from handwriting.text.edits import align, edit_distance
from handwriting.text.lines import find_problem
from handwriting.text.words import find_guides, number_strokes, split_words

import numpy as np

# Characters of one shape, which only those around them tell apart: each of a group counts as read
# where another of it is. Nothing else in the loop makes an exception for a character.
LOOK_ALIKES = "0Oo", "1Il|", "Cc", "Kk", "Pp", "Ss", "Uu", "Vv", "Ww", "Xx", "Yy", "Zz", "'`"
SHAPES = str.maketrans({c: group[0] for group in LOOK_ALIKES for c in group})
# Nats by which the strokes may be likelier to say what was read than what should be read.
DOUBT = 2.0


class Reading(NamedTuple):
    """How a line is read back."""

    misread: tuple = ()  # the numbers of its words that are not read right
    wrong: int = 0  # characters in them
    log_probability: float = 0.0  # of the text, in nats a character


def rank(line):
    """A key by which the best of some drawings of one text is the first."""
    reading = line.reading
    likely = round(reading.log_probability, 2)
    return bool(line.problem), reading.wrong, -likely, len(line.strokes)


def words_read(read, text):
    """For each word of a text, what was read in its place, without spaces."""
    words, number, parts = text.split(), [], [""] * len(text.split())
    for k, word in enumerate(words):
        number += [k] * (len(word) + 1)
    word = 0
    places = align(read.translate(SHAPES), " ".join(words).translate(SHAPES))
    for character, place in zip(read, places, strict=True):
        word = word if place is None else number[place]
        parts[word] += character.strip()
    return parts


def read_back(reader, lines):
    """The lines, each with its Reading; without a reader (None) as they are.

    A word is misread where the strokes are likelier, by DOUBT, to say something else. One with a
    character that the reader does not know is never misread.
    """
    if not (reader and lines):
        return lines
    logits = reader.look([line.strokes for line in lines])
    nats = reader.log_probabilities(logits, [line.text for line in lines])
    parts = [words_read(reader.text(z), line.text) for z, line in zip(logits, lines, strict=True)]
    doubted = [
        (k, number)
        for k, line in enumerate(lines)
        for number, (part, word) in enumerate(zip(parts[k], line.text.split(), strict=True))
        if part.translate(SHAPES) != word.translate(SHAPES) and set(word) <= set(reader.alphabet)
    ]
    words = [line.text.split() for line in lines]
    meant = [parts[k][:n] + words[k][n : n + 1] + parts[k][n + 1 :] for k, n in doubted]
    texts = [" ".join(found) for found in [*(parts[k] for k, _ in doubted), *meant]]
    nats_of = reader.log_probabilities([logits[k] for k, _ in doubted] * 2, texts)
    as_read, as_meant = nats_of[: len(doubted)], nats_of[len(doubted) :]
    misread = [pair for pair, lost in zip(doubted, as_meant < as_read - DOUBT, strict=True) if lost]
    found = []
    for k, line in enumerate(lines):
        numbers = tuple(number for row, number in misread if row == k)
        wrong = sum(edit_distance(parts[k][number], words[k][number]) for number in numbers)
        found.append(line._replace(reading=Reading(numbers, wrong, nats[k] / len(line.text))))
    return found


def choose(reader, drawings, one_hand):
    """The best Line of each list of drawings, which have been read back if there is a reader.

    one_hand: whether all drawings are in one hand, so that words of one fit another.
    """
    best = [min(lines, key=rank) for lines in drawings]
    if not one_hand:
        return best
    return keep_better(reader, best, list(map(mend, best, drawings)))


def keep_better(reader, lines, mended):
    """Each of the lines, or what it was mended to, where the reader reads that better."""
    kept = list(lines)
    rows = [k for k, line in enumerate(mended) if line is not lines[k]]
    for k, line in zip(rows, read_back(reader, [mended[k] for k in rows]), strict=True):
        kept[k] = min(lines[k], line, key=rank)
    return kept


def mend(line, others):
    """The line, with each word that is misread from the best of other drawings that has it right,
    if there is one."""
    for word in line.reading.misread:
        line = set_in(line, word, others, word)
    return line


def set_in(line, word, others, place):
    """The line, with its word of this number from the best of other drawings, of which it is the
    word number `place`, that has it right, if there is one."""
    for other in sorted(others, key=rank):
        right = place not in other.reading.misread
        if right and (mended := splice(line, other, word, place)):
            return mended
    return line


def baseline_around(guides, word):
    """The height of the baseline at a word, from those of the words around it: one that is misread
    may tell none, and capitals a wrong one.
    """
    lows = np.array(guides)[:, 0]
    around = [*lows[max(word - 2, 0) : word], *lows[word + 1 : word + 3]]
    return np.median(around or lows)


def shifted_window(other, place, text, word):
    """The window [n, U] of a drawing over the U characters of another text, of which the word
    number `word` is its word number `place`.
    """
    begin, at = (
        [found.start() for found in re.finditer(r"\S+", said)][number]
        for said, number in ((other.text, place), (text, word))
    )
    columns = np.arange(len(other.text)) + at - begin
    inside = (columns >= 0) & (columns < len(text))
    window = np.zeros([len(other.window), len(text)], other.window.dtype)
    window[:, columns[inside]] = other.window[:, inside]
    return window


def splice(line, other, word, place):
    """The line with its word of this number as in another drawing, where it is the word number
    `place`, as high above the words around it; what follows makes room. None where a stroke joins
    the word to others.
    """
    both, at = (line, other), (word, place)
    strokes, numbers = zip(*map(number_strokes, both), strict=True)
    if not all(all(found[max(k - 1, 0) : k + 2]) for found, k in zip(numbers, at, strict=True)):
        return None
    _, guides = find_guides([split_words(drawing) for drawing in both])
    run = [sum(map(bool, found[:k])) for found, k in zip(numbers, at, strict=True)]
    low, other_low = map(baseline_around, guides, run)
    old, new = numbers[0][word], numbers[1][place]
    old_ink, new_ink = (
        np.concatenate([drawn[k] for k in chosen])[:, 0]
        for drawn, chosen in zip(strokes, (old, new), strict=True)
    )
    after = {k for found in numbers[0][word + 1 :] for k in found}
    wider = np.ptp(new_ink) - np.ptp(old_ink)
    xy = [np.add(stroke, (wider * (k in after), 0)) for k, stroke in enumerate(strokes[0])]
    move = old_ink.min() - new_ink.min(), low - other_low
    xy += [np.add(stroke, move) for stroke in strokes[1]]
    rows = np.split(np.arange(sum(map(len, xy))), np.cumsum([len(stroke) for stroke in xy])[:-1])
    kept = [k for k in range(old[0], len(strokes[0])) if k not in old]
    order = [*range(old[0]), *(len(strokes[0]) + k for k in new), *kept]
    order = np.concatenate([rows[k] for k in order])

    def join(arrays):
        return np.concatenate(arrays)[order]

    points = join([line.strokes, other.strokes])
    points = np.column_stack([np.diff(np.concatenate(xy)[order], axis=0, prepend=0), points[:, 2]])
    params = type(line.params)(*map(join, zip(line.params, other.params, strict=True)))
    moved = points[:, :2] - join([line.strokes, other.strokes])[:, :2]
    params = params._replace(mu1=params.mu1 + moved[:, :1], mu2=params.mu2 + moved[:, 1:])
    window = join([line.window, shifted_window(other, place, line.text, word)])
    points = points.astype(np.float32)
    return line._replace(
        strokes=points, params=params, window=window, problem=find_problem(line.text, points)
    )
