"""Lines of writing from UNIPEN's segments: texts cut at their lines, words as they stand side by
side or joined, isolated characters composed.
"""

import hashlib
import itertools
import os

from handwriting.files import UserError
from handwriting.ink import parallel
from handwriting.ink.composing import compose
from handwriting.ink.database import PENS, Lines
from handwriting.ink.page_lines import divide
from handwriting.ink.points import to_line
from handwriting.ink.unipen import parse_files, read_files
from handwriting.ink.writers import (
    BODY,
    HIGHEST,
    POINTS,
    extent,
    fits,
    normalise,
    place,
    usable,
)

import numpy as np

WIDEST = 45  # characters of a line that words are joined to
WIDE = 2.8  # x-heights of a character, on average, at most
LONGEST = 60  # characters of a line that is not cut


def cut_rows(text, strokes, writer):
    """(text, strokes) of each line of writing in a text's ink; none if it cannot be told which
    words are in which line."""
    _, top, _, bottom = extent(strokes)
    if bottom - top < 4.5 * writer.x_height:
        return [(text, strokes)]
    try:
        rows = divide([np.column_stack([s, np.zeros(len(s))]) for s in strokes])
    except UserError:  # too many lines or strokes
        return []
    rows = [[s[:, :2] for s in row] for row in rows if row]
    words = text.split()
    if len(rows) == 1:
        return [(text, rows[0])]
    if len(rows) > len(words):
        return []
    widths = np.array([extent(row)[2] - extent(row)[0] for row in rows])
    share, lengths = widths / widths.sum(), np.array([len(w) + 1 for w in words])
    total = lengths.sum()
    done = np.cumsum(lengths)
    # best[r][k]: least squared difference of the first k words in the first r rows
    best = np.full((len(rows) + 1, len(words) + 1), np.inf)
    came = np.zeros((len(rows) + 1, len(words) + 1), int)
    best[0, 0] = 0
    for r in range(1, len(rows) + 1):
        for k in range(r, len(words) + 1):
            for j in range(r - 1, k):
                part = (done[k - 1] - (done[j - 1] if j else 0)) / total
                cost = best[r - 1, j] + (part - share[r - 1]) ** 2
                if cost < best[r, k]:
                    best[r, k], came[r, k] = cost, j
    found, k = [], len(words)
    for r in range(len(rows), 0, -1):
        j = came[r, k]
        found.append((" ".join(words[j:k]), rows[r - 1]))
        k = j
    pace = widths.sum() / total
    if not all(
        0.5 < (extent(row)[2] - extent(row)[0]) / pace / (len(t) + 1) < 1.7 for t, row in found
    ):
        return []
    return found[::-1]


def cut_long(text, strokes):
    """(text, strokes) of parts of at most LONGEST characters of one line of writing, cut at gaps
    between words; none if the gaps do not tell where the words are."""
    if len(text) <= LONGEST:
        return [(text, strokes)]
    words = text.split()
    lefts, rights = (np.array([f(s[:, 0]) for s in strokes]) for f in (np.min, np.max))
    order = np.argsort(lefts)
    reach = np.maximum.accumulate(rights[order])
    gaps = lefts[order][1:] - reach[:-1]
    cuts = np.sort(np.argsort(-gaps)[: len(words) - 1])  # behind these, by order
    edges = np.concatenate([[lefts.min()], (reach[:-1] + gaps / 2)[cuts], [rights.max()]])
    lengths = np.array([len(word) + 1 for word in words])
    if len(edges) != len(words) + 1:
        return []
    parts = -(-len(text) // LONGEST)
    ends = np.cumsum(lengths)
    stops = [int(np.argmin(abs(ends - ends[-1] * k / parts))) + 1 for k in range(1, parts + 1)]
    found, before = [], 0
    middles = (lefts + rights) / 2
    pace = (edges[-1] - edges[0]) / ends[-1]
    for stop in stops:
        low, high = edges[before], edges[stop]
        count = lengths[before:stop].sum()
        if not (count and 0.7 < (high - low) / pace / count < 1.4):
            return []
        inside = (middles >= low) & (middles <= high)
        part = [s for s, i in zip(strokes, inside, strict=True) if i]
        if not part:
            return []
        found.append((" ".join(words[before:stop]), part))
        before = stop
    return found


def space_between(text, after, gap, writer):
    """What stands between two words with so wide a gap, "" or " "; None if they do not lie side by
    side."""
    h = writer.x_height
    if not -0.6 * h < gap < 5 * h:
        return None
    single = len(text) == 1 or len(after) == 1
    if after[0] in ".,;:?!)%'\"" and gap < 1.2 * h:
        return ""
    if single and gap < 0.45 * writer.width:
        return ""
    return " " if gap > 0.3 * writer.width else None


def chain_words(segments, writer):
    """(text, strokes) of words that stand side by side on one line, as they were written."""
    lines, before = [], None
    for text, strokes in segments:
        left, _, right, _ = extent(strokes)
        base = strokes[0][0, 1] - place(text, strokes, writer)[0][0, 1]
        if before is not None:
            space = space_between(lines[-1][0], text, left - before[0], writer)
            level = abs(base - before[1]) < 0.5 * writer.x_height
            if space is not None and level and len(lines[-1][0]) + len(text) < LONGEST:
                lines[-1] = (lines[-1][0] + space + text, lines[-1][1] + strokes)
                before = right, base
                continue
        lines.append((text, strokes))
        before = right, base
    return lines


def join_pieces(pieces, writer, rng):
    """(text, strokes) of lines that pieces, (text, strokes), are joined to, each next one a word's
    distance to the right on the same baseline."""
    lines, edge, target = [], 0.0, 0
    for text, ink in pieces:
        strokes = place(text, ink, writer)
        left, _, right, _ = extent(strokes)
        if lines and len(lines[-1][0]) + len(text) < target:
            gap = writer.width * rng.uniform(0.6, 1.1) + 0.4 * writer.x_height
            moved = [s + np.array([edge + gap - left, 0.0]) for s in strokes]
            lines[-1] = (f"{lines[-1][0]} {text}", lines[-1][1] + moved)
            edge += gap + right - left
        else:
            lines.append((text, strokes))
            edge, target = right, rng.integers(20, WIDEST)
    return lines


def lines_of_hand(files, isolated, rng):
    """(text, strokes) of all lines of one writer, from the segments of each file and from isolated
    characters."""
    lines, pieces = [], []
    for segments, writer in normalise([list(usable(segments)) for segments in files]):
        rows = [
            part
            for level, text, strokes in segments
            if level == "TEXT"
            for row in cut_rows(text, strokes, writer)
            for part in cut_long(*row)
        ]
        words = [(t, s) for level, t, s in segments if level != "TEXT" and fits(t, s, writer)]
        for text, strokes in rows + chain_words(words, writer):
            if fits(text, strokes, writer):
                (lines if len(text) >= 12 else pieces).append((text, strokes))
        lines += join_pieces(pieces, writer, rng)
        pieces = []
    for segments, writer in normalise([list(usable(isolated))]):
        own = [(t, s) for _, t, s in segments if 0.2 < sum(map(len, s)) / POINTS < 3]
        lines += compose(own, writer, rng)
    return [(text, strokes) for text, strokes in lines if is_line(text, strokes)]


def is_line(text, strokes):
    """Whether strokes in pen units are as high and wide as a line may be."""
    left, top, right, bottom = extent(strokes)
    return bottom - top < HIGHEST * BODY and right - left < WIDE * BODY * len(text)


def name_hand(maker, writer):
    """What a writer's hand is called: without the names that the files give."""
    digest = hashlib.sha256(f"{maker}/{writer}".encode()).hexdigest()
    return f"{PENS}{digest[:8]}"


def lines_of_files(labelled, included):
    """(name, int16 [n, 3], text) of all lines in files of `read_files`."""
    hands = {}
    for maker, category, ink in parse_files(labelled, included):
        texts, isolated = hands.setdefault(name_hand(maker, ink.writer), ([], []))
        if category.startswith("1"):
            isolated += ink.segments
        else:
            texts.append(ink.segments)
    return [
        (f"{hand}-{k:04d}", to_line(strokes), text)
        for hand, segments in hands.items()
        for k, (text, strokes) in enumerate(
            lines_of_hand(*segments, np.random.default_rng(int(hand.removeprefix(PENS), 16))), 1
        )
    ]


def parse_folder(source):
    """The Lines of an archive or folder of UNIPEN, makers shared between processes; see
    handwriting.ink.unipen. Raises UserError."""
    labelled, included = read_files(source)
    sizes = {}  # labels, more than ink, tell how long a maker's files take
    for maker, _, _, content in labelled:
        sizes[maker] = sizes.get(maker, 0) + len(content)
    several = sum(sizes.values()) > parallel.LARGE
    parts = parallel.share(sizes, (os.cpu_count() or 1) if several else 1)
    jobs = [
        (
            [item for item in labelled if item[0] in part],
            {name: ink for name, ink in included.items() if name.partition("/")[0] in part},
        )
        for part in parts
    ]
    rows = sorted(itertools.chain(*parallel.run(lines_of_files, jobs)), key=lambda row: row[0])
    if not rows:
        raise UserError(f"{source} holds no labelled ink in UNIPEN's format; copy it again.")
    names, raw_data, texts = map(list, zip(*rows, strict=True))
    return Lines(raw_data, names, 0, [], texts)
