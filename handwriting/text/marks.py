"""Marks on letters, and glyphs that the network has not learnt, added to a line that is drawn.

Which letter the pen is at, the window tells, which runs ahead of it; how high a letter is, the ink.
Marks come after the ink of their word, as people write. A glyph stands between two words of what
the network wrote, which are moved to make room. page/accents.js does the same.
"""

import itertools
from typing import NamedTuple

from handwriting.text.letters import Frame, draw_glyph, draw_marks, find_body, find_dot
from handwriting.text.spelling import GLYPHS, TABLES
from handwriting.text.words import find_guides, number_strokes, split_words, steady

import numpy as np

LEAD = 0.07  # characters that the window is ahead of the pen: median of 132 words
FLAT = 0.35  # x-heights: lower strokes are dots and bars
GAP = 0.22  # x-heights from letter to letter
SPACE = 1.1  # x-heights of a space, where the line has none
SIGMA = 1.0  # pen units: deviation of the density that an added point is said to be drawn from
TALL = set("bdfhkl0123456789")


class Stroke(NamedTuple):
    """A stroke of a line."""

    points: np.ndarray  # [n, 2] pen positions
    number: int | None  # among those of the network, or None
    place: int = 0  # if it is added, of its character in the text


class Word(NamedTuple):
    """A word that the network wrote."""

    strokes: dict  # number -> points [n, 2], upright (letters.py)
    low: float  # its baseline's y
    first: int  # the places of its letters in the base text
    last: int


def add_marks(line, text, spelling, random):
    """The Line of a text from that of spelling.base as drawn. random: () -> a number from 0 to 1,
    from which all variation comes.
    """
    line = cut_joined(line, spelling)
    words, frame = read_line(line, random)
    at = np.split(pen_places(line), stroke_starts(line))
    marks = [[] for _ in words]
    for place, names in spelling.marks:
        u = spelling.places[place]
        w = next(k for k, word in enumerate(words) if u <= word.last)
        if words[w].strokes and max(at[k].max() for k in words[w].strokes) > u - 0.5:
            drawn = mark_letter(words[w], u, line.text[u], names, at, frame)
            marks[w] += [(points, place) for points in drawn]
    low = words[0].low
    words = words if spelling.base else []  # else what was drawn tells only how large
    shifts, glyphs = set_glyphs(spelling, words, frame)
    written, last = [], -1
    for w in range(len(words) + 1):
        low = np.median([word.low for word in words[max(w - 2, 0) : w + 1]] or [low])
        written += [(last, 2, Stroke(settle(p, low, frame), None, u)) for p, u in glyphs.get(w, ())]
        for word in words[w : w + 1]:
            last = max([last, *word.strokes])
            moved = {k: settle(p, word.low, frame) + shifts[w] for k, p in word.strokes.items()}
            written += [(k, 0, Stroke(points, k)) for k, points in moved.items()]
            moved = [(settle(p, word.low, frame) + shifts[w], u) for p, u in marks[w]]
            written += [(last, 1, Stroke(points, None, u)) for points, u in moved]
    written.sort(key=lambda entry: entry[:2])
    return rebuild(line, text, spelling, [stroke for *_, stroke in written])


# ------------------------------------------------------------------------------ a line as drawn


def stroke_starts(line):
    """Where the strokes but the first begin."""
    return np.flatnonzero(line.strokes[:-1, 2] > 0.5) + 1


def pen_places(line):
    """At which place of its text the pen is at each point of a line [n], in characters."""
    total = np.maximum(line.window.sum(axis=1), 1e-9)
    return line.window @ (np.arange(line.window.shape[1]) + 0.5) / total - LEAD


def cut_joined(line, spelling):
    """The line, with the pen lifted where a glyph comes between words that a stroke joins."""
    numbers, strokes = number_strokes(line)[1], line.strokes.copy()
    spaces = [k for k, c in enumerate(line.text) if c == " "]
    for words, _ in spelling.glyphs:
        if 0 < words < len(numbers) and not (numbers[words - 1] and numbers[words]):
            later = np.flatnonzero(pen_places(line) >= spaces[words - 1] + 0.5)
            strokes[later[:1] - 1, 2] = 1
    return line._replace(strokes=strokes)


def read_line(line, random):
    """The Words of a line as drawn, and its Frame."""
    strokes, numbers = number_strokes(line)
    size, (guides,) = find_guides([split_words(line)])
    lows = steady(np.array(guides)[:, 0], size)
    known = np.cumsum([bool(chosen) for chosen in numbers])
    lows = lows[np.maximum(known - 1, 0)]  # a word without strokes stands as the one before
    moves = np.concatenate([np.diff(stroke, axis=0) for stroke in strokes])
    dx, dy = moves[(moves[:, 1] > 0) & (np.abs(moves[:, 0]) < moves[:, 1])].T
    lean = float(np.clip(-dx.sum() / max(dy.sum(), 1.0), -0.3, 0.8))
    texts = line.text.split()
    heights = [
        low - min(strokes[k][:, 1].min() for k in chosen)
        for low, chosen, text in zip(lows, numbers, texts, strict=True)
        if chosen and any(c.isupper() or c in TALL for c in text)
    ]
    tall = np.clip(np.median(heights), 1.5 * size, 2.6 * size) if heights else 1.9 * size
    frame, words, end = Frame(float(size), float(tall), lean, random), [], 0
    for text, low, chosen in zip(texts, lows.tolist(), numbers, strict=True):
        first = line.text.index(text, end)
        end = first + len(text)
        upright = {k: lift(strokes[k], low, frame) for k in chosen}
        words.append(Word(upright, low, first, end - 1))
    return words, frame


def lift(points, low, frame):
    """Pen positions [n, 2] as upright ones, where the baseline is at y = low."""
    high = low - points[:, 1]
    return np.stack([points[:, 0] - frame.lean * high, high], axis=1)


def settle(points, low, frame):
    """Upright positions [n, 2] as those of the pen."""
    return np.stack([points[:, 0] + frame.lean * points[:, 1], low - points[:, 1]], axis=1)


# ------------------------------------------------------------------------------- what is added


def mark_letter(word, u, letter, names, at, frame):
    """The strokes of the marks on the letter at place u, upright; a dot that they replace is taken
    from the word. at: for each stroke of the line the places [n] where the pen was.
    """
    flat = {k: p for k, p in word.strokes.items() if np.ptp(p[:, 1]) < FLAT * frame.size}
    chosen = [k for k in word.strokes if k not in flat] or list(word.strokes)
    starts = np.cumsum([0] + [len(at[k]) for k in chosen])[:-1].tolist()
    points = np.concatenate([word.strokes[k] for k in chosen])
    when = np.concatenate([at[k] for k in chosen])
    body = find_body(points, when, starts, (word.first, word.last), u)
    dot = None
    if letter in "ij" and any(TABLES["marks"][name]["y"] == "above" for name in names):
        dots = {k: p for k, p in flat.items() if np.ptp(p[:, 0]) < 0.6 * frame.size}
        found = find_dot(body, dots, frame)
        if found is not None:
            dot = word.strokes.pop(found)[:, 0].mean()
    return draw_marks(names, body, letter, frame, dot)


def set_glyphs(spelling, words, frame):
    """How far each word moves (x, y) [W, 2], and the glyphs' strokes, upright, with their places in
    the text: number of words before them -> list.
    """
    edges, right = [], 0.0
    for word in words:
        x = np.concatenate([p[:, 0] for p in word.strokes.values()] or [[right]])
        edges.append((x.min(), x.max()))
        right = x.max()
    parted = {words for words, _ in spelling.glyphs}
    gaps = [b[0] - a[1] for k, (a, b) in enumerate(itertools.pairwise(edges), 1) if k not in parted]
    gap, space = GAP * frame.size, SPACE * frame.size
    space = np.clip(np.median(gaps), 0.7 * space, 1.5 * space) if gaps else space
    shifts, drawn = np.zeros([len(words), 2]), {}
    for count, items in spelling.glyphs:
        x, free = 0.0, True  # where the pen is, and whether the next thing may begin just there
        if count:
            x, free = edges[count - 1][1] + shifts[count - 1, 0], False
        elif edges:
            x = edges[0][0]
        for place, item in items:
            if item not in GLYPHS:  # a space, or what cannot be written
                x, free = x + space, True
                continue
            x += 0 if free else gap
            strokes, width = draw_glyph(GLYPHS[item], x, frame)
            drawn.setdefault(count, []).extend((stroke, place) for stroke in strokes)
            x, free = x + width, False
        if count < len(words):
            shifts[count:, 0] = x + (0 if free else gap) - edges[count][0]
    return shifts, drawn


def rebuild(line, text, spelling, strokes):
    """The Line of a text that consists of these Strokes, in the order of writing."""
    rows = np.split(np.arange(len(line.strokes)), stroke_starts(line))
    source = np.concatenate(
        [rows[s.number] if s.number is not None else np.full(len(s.points), -1) for s in strokes]
    )
    added = source < 0
    points = np.zeros([len(source), 3], line.strokes.dtype)
    points[:, :2] = np.diff(np.concatenate([s.points for s in strokes]), axis=0, prepend=0)
    points[np.cumsum([len(s.points) for s in strokes]) - 1, 2] = 1

    window = np.zeros([len(source), len(text)], line.window.dtype)
    for k, place in enumerate(spelling.places):
        if place is not None:
            window[~added, k] = line.window[source[~added], place]
    places = np.concatenate([np.full(len(s.points), s.place) for s in strokes])
    window[added, places[added]] = 1

    # A point's density moves with it; that of an added one lies around it.
    params = line.params._replace(**{k: v[source] for k, v in line.params._asdict().items()})
    change = points[:, :2] - line.strokes[source, :2]
    for k, mu in enumerate((params.mu1, params.mu2)):
        mu[:] += change[:, k : k + 1]
        mu[added] = points[added, k : k + 1]
    for name, value in (("pi", 0), ("sigma1", SIGMA), ("sigma2", SIGMA), ("rho", 0)):
        getattr(params, name)[added] = value
    params.pi[added, 0] = 1
    params.eos[added] = points[added, 2]
    return line._replace(text=text, strokes=points, params=params, window=window)
