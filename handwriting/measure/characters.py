"""How well each character is written: the share that a classifier of isolated characters reads
right, of those cut out of words that a network has drawn.

The classifier is trained here on UNIPEN's isolated characters: two dense layers on a coarse map of
where the ink runs in which direction, and on its size in x-heights. That is the median height of
the same writer's small letters, or of those of the same word. Nothing tells how high a character
stands, so there are two shares: strict, and one where characters of the same shape (ALIKE) count
for each other. Beside them stand the shares of real characters by writers who were kept aside.
"""

import collections
import itertools
import re

from handwriting.measure.legibility import SENTENCES
from handwriting.network.backend import tf
from handwriting.text.words import X_HEIGHT
from handwriting.text.writing import BIAS, write_lines

import numpy as np

SMALL = frozenset("acemnorsuvwxz")  # letters as high as an x
ALIKE = "Il1| ',` -_ cC jJ kK mM oO0 pP q9 sS uU vV wW xX yY zZ"
WRITERS = 20  # too few to train on, if fewer
GRID, DIRECTIONS = 10, 4  # of a map: places a side, and directions of a line through them
MOST = 500  # of a character, to train on
HIDDEN, EPOCHS, BATCH, RATE = (384, 256), 12, 128, 2e-3
DRAWN = 20  # words for each character
LAG = 5  # points by which the window runs ahead of the pen
WHOLE = 0.7  # a stroke with so large a share of one character's points is all of it
GOOD = 0.85  # the share of a character that is well written


def features(strokes, x_height):
    """A character's strokes, [n, 2] each in one unit, as float32 [GRID^2 DIRECTIONS + 3]: the root
    of the length of ink at each place of its box in each direction; the logarithms of its width and
    height in x-heights; half the number of its strokes.
    """
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (GRID - 2) / max(extent.max(), 1e-6)
    starts, moves = [], []
    for stroke in strokes:
        path = (stroke - low - extent / 2) * scale + (GRID - 1) / 2
        if np.ptp(path, axis=0).max() < 0.5:  # a dot
            path = np.add([[-0.5, 0], [0.5, 0]], path.mean(axis=0))
        starts.append(path[:-1])
        moves.append(np.diff(path, axis=0))
    starts, moves = np.concatenate(starts), np.concatenate(moves)
    # Each move in pieces of at most a third of a place.
    pieces = np.ceil(3 * np.abs(moves).max(axis=1)).astype(int).clip(1)
    owner = np.repeat(np.arange(len(moves)), pieces)
    part = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5
    moves = moves[owner] / pieces[owner, None]
    column, row = (starts[owner] + part[:, None] * moves).clip(0, GRID - 1.001).T
    direction = np.arctan2(moves[:, 1], moves[:, 0]) / np.pi % 1 * DIRECTIONS
    maps = np.zeros(GRID * GRID * DIRECTIONS)
    for x, y, way in itertools.product(*map(neighbours, (column, row, direction))):
        place = (y[0] * GRID + x[0]) * DIRECTIONS + way[0] % DIRECTIONS
        length = np.hypot(*moves.T) * x[1] * y[1] * way[1]
        maps += np.bincount(place, length, len(maps))
    size = np.log2((extent / x_height).clip(0.05, 8))
    return np.concatenate([np.sqrt(maps), size, [len(strokes) / 2]]).astype(np.float32)


def neighbours(values):
    """The two whole numbers around each value, and how near each is, from 0 to 1."""
    low = np.floor(values).astype(int)
    return (low, low + 1 - values), (low + 1, values - low)


def median_height(characters):
    """The median height of the SMALL ones among pairs (character, strokes); 0 if there are none."""
    heights = [np.ptp(np.concatenate(s)[:, 1]) for c, s in characters if c in SMALL and s]
    return np.median(heights) if heights else 0.0


def read_characters(data_dir):
    """The isolated characters of UNIPEN in a data folder, {writer: list of (character, strokes
    [n, 2] each)}; empty where there are fewer than WRITERS. Raises UserError.
    """
    from handwriting.ink.unipen import find_unipen, read_unipen

    writers = collections.defaultdict(list)
    for source in find_unipen(data_dir):
        for maker, category, ink in read_unipen(source):
            if category.startswith("1"):
                writers[f"{maker} {ink.writer}"] += [
                    (segment.text, segment.strokes) for segment in ink.segments
                    if segment.quality != "BAD" and re.fullmatch("[!-~]", segment.text)
                ]  # fmt: skip
    return writers if len(writers) >= WRITERS else {}


def train_classifier(writers, seed):
    """A function from a list of features to a list of characters, trained on nine in ten writers
    of what `read_characters` returns; and the shares of the others' characters that it reads right:
    means over characters, strict and alike.
    """
    samples = {True: [], False: []}
    for place, writer in enumerate(sorted(writers)):
        if height := median_height(writers[writer]):
            samples[place % 10 == 0] += [(c, ink, height) for c, ink in writers[writer]]
    count, labels, rows = collections.Counter(), [], []
    for k in np.random.default_rng(seed).permutation(len(samples[False])):
        character, *ink = samples[False][k]
        count[character] += 1
        if count[character] <= MOST:
            labels.append(character)
            rows.append(features(*ink))
    known, labels = np.unique(labels, return_inverse=True)
    tf.keras.utils.set_random_seed(seed)
    layers = [tf.keras.layers.BatchNormalization()]
    for units in HIDDEN:
        layers += [tf.keras.layers.Dense(units, "relu"), tf.keras.layers.Dropout(0.4)]
    net = tf.keras.Sequential([*layers, tf.keras.layers.Dense(len(known), "softmax")])
    rate = tf.keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(rows) // BATCH))
    net.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    net.fit(np.stack(rows), labels, BATCH, EPOCHS, verbose=0)

    def classify(rows):
        return known[net.predict(np.stack(rows), verbose=0).argmax(axis=1)].tolist()

    characters, *ink = zip(*samples[True], strict=True)
    found = classify([*map(features, *ink)])
    return classify, mean_shares(share_right(characters, found))


def share_right(characters, found):
    """For each character [how often it stands there, the share that was found right, the same where
    those of ALIKE count for each other, what it is found as most often if not itself].
    """
    readings = collections.defaultdict(list)
    for character, reading in zip(characters, found, strict=True):
        readings[character].append(reading)
    rows = {}
    for character, own in sorted(readings.items()):
        alike = {character}.union(*(group for group in ALIKE.split() if character in group))
        wrong = collections.Counter(reading for reading in own if reading != character)
        right = [own.count(character), sum(reading in alike for reading in own)]
        most = wrong.most_common(1)[0][0] if wrong else ""
        rows[character] = [len(own), *(n / len(own) for n in right), most]
    return rows


def mean_shares(rows):
    """The means of both shares of what `share_right` returns, {"strict": ..., "alike": ...}."""
    means = np.mean([row[1:3] for row in rows.values()], axis=0)
    return dict(zip(("strict", "alike"), means.tolist(), strict=True))


def cut_character(line, place):
    """The strokes, [k, 2] each in pen units, of the character at a place of the text of a Line:
    its own, and its piece of each that it shares with others. Empty where it has none.
    """
    xy = np.cumsum(line.strokes[:, :2], axis=0)
    looked = line.window.argmax(axis=1)
    looked = np.append(np.repeat(looked[:1], LAG), looked)[: len(xy)]
    found = []
    for points in np.split(np.arange(len(xy)), np.flatnonzero(line.strokes[:-1, 2] > 0.5) + 1):
        count = np.bincount(looked[points])
        if count.max() > WHOLE * len(points):
            found += [xy[points]] if count.argmax() == place else []
        elif (own := points[looked[points] == place]).size > 2:
            found.append(xy[own])
    return found


def make_words(alphabet, rng):
    """DRAWN words (word, place) for each character of an alphabet but the space, which stands at
    that place within a word of small letters from our sentences."""
    found = re.findall(r"\b[a-z]{4,6}\b", SENTENCES.read_text(encoding="utf-8"))
    pool = sorted({word for word in found if set(word) <= set(alphabet)})
    words = []
    for character in alphabet.replace(" ", ""):
        for word in rng.choice(pool, DRAWN):
            place = len(word) // 2
            words.append((f"{word[:place]}{character}{word[place:]}", place))
    return words


def measure_characters(model, writers, seed):
    """How each character of the network's alphabet is read, cut out of the words that it draws at
    the default bias, each in a hand of its own: characters, what `share_right` says; strict and
    alike, means over characters; real, the same of the characters of writers who were kept aside.

    writers: what `read_characters` returns.
    """
    classify, real = train_classifier(writers, seed)
    words = make_words(model.alphabet, np.random.default_rng(seed))
    sess = tf.random.Generator.from_seed(seed)
    lines = write_lines(model, sess, [word for word, _ in words], BIAS, None, one_hand=False)
    wanted, rows = [], []
    for line, (word, place) in zip(lines, words, strict=True):
        parts = [(c, cut_character(line, k)) for k, c in enumerate(word)]
        height = median_height(parts[:place] + parts[place + 1 :]) or X_HEIGHT
        wanted.append(word[place])
        rows.append(features(parts[place][1] or [np.zeros([1, 2])], height))
    shares = share_right(wanted, classify(rows))
    return {"characters": shares, **mean_shares(shares), "real": real}
