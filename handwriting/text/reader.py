"""A reader of strokes: what does a line say, and how likely is it that it says a given text?

A small network of convolutions looks at a line in frames of a few points along the pen's way, and
gives for each the probabilities of the characters and of none (CTC: A. Graves et al., ICML 2006).
It sees the pen's moves and a picture of the ink around each frame, both in units of the line's own
height, so that size, slope and speed of the writing matter little.
`python -m handwriting.train_reader` trains it.

Axes: B lines, N frames, D features of a frame, C channels, V symbols: none, then the alphabet.
"""

import functools
import itertools
import json
from pathlib import Path

from handwriting.files import UserError
from handwriting.ink.points import baseline
from handwriting.network.backend import keras, tf
from handwriting.network.checkpoint import BEST, TEXT, assign, read_tensors
from handwriting.text.alphabet import encode
from handwriting.text.edits import greedy_ctc

import numpy as np

FOLDER = TEXT.parent / "reader"  # the weights that come with the program
STEP = 0.2  # heights from point to point
SHORTEST = 6  # steps of a stroke at least, so that even a dot has frames enough
JUMP = 2  # steps from a stroke to the next
FRAME = 4  # points
HEIGHT, WRITTEN = 105.0, 2000.0  # pen units: a line's usual height counts like so much ink
CELL, COLUMNS, ROWS = 0.4, 9, 15  # of the picture around a frame: heights, cells
DARK = 0.5  # what a point adds to its cell; 1 is black
FAR = 4.0  # heights to the left of the rightmost point, at most
FEATURES = 7 * FRAME + COLUMNS * ROWS  # D
KERNEL, DILATIONS = 5, (1, 1, 2, 2, 4, 4)  # frames; a dilation for each block
BATCH, PADDING = 64, 32  # lines read at once, whose number of frames is a multiple of the other


# ---------------------------------------------------------------------------------------- features


def resample(strokes, step):
    """Points along strokes [n, 3], about `step` apart: x, y, and whether the pen was up on the way
    there, [m, 3]. A stroke has at least SHORTEST steps, and the way to the next one JUMP.
    """
    copies = 1 + (strokes[:, 2] > 0.5)
    copies[-1] = 2  # the last point of each stroke, so that a dot is a move, too
    xy = np.repeat(np.cumsum(strokes[:, :2], axis=0, dtype=float), copies, axis=0)
    up = np.zeros(len(xy), bool)
    up[np.append(0, np.cumsum(copies)[copies == 2][:-1])] = True  # where strokes begin
    stroke = np.cumsum(up) - 1
    ink = np.where(up, 0.0, np.hypot(*np.diff(xy, axis=0, prepend=xy[:1]).T) + 1e-6)
    length = np.bincount(stroke, ink)
    steps = np.maximum(np.rint(length / step), SHORTEST)
    time = np.cumsum(np.where(up, JUMP, ink * (steps / length)[stroke])) - JUMP
    places = np.arange(round(time[-1]) + 1)
    lifted = up[np.searchsorted(time, np.minimum(places, time[-1]) - 1e-6)]
    return np.stack([*(np.interp(places, time, values) for values in xy.T), lifted], axis=1)


def features(strokes):
    """The frames of a line's strokes [n, 3] in pen units, float32 [N, D]."""
    x, y = np.cumsum(strokes[:, :2], axis=0, dtype=float).T
    rough = max((y - baseline(x, y)[0] * x).std(), HEIGHT / 5)
    x, y, up = resample(strokes, STEP * rough).T
    slope, middle = baseline(x, y)
    y = y - slope * x - middle
    ink = len(x) * STEP * rough
    height = np.sqrt((ink * y.var() + WRITTEN * HEIGHT**2) / (ink + WRITTEN))
    x, y, down = x / height, y / height, 1 - up
    dx, dy = np.diff(x, prepend=x[0]), np.diff(y, prepend=y[0])
    length = np.hypot(dx, dy) / STEP + 1e-6
    shorter = np.log1p(length) / length / STEP
    dx, dy = dx * shorter, dy * shorter
    back = np.minimum(np.maximum.accumulate(x) - x, FAR)
    rows = np.stack([dx * down, dy * down, up, dx * up, dy * up, y, back], axis=1)
    frames = -(-len(rows) // FRAME)
    rows = np.pad(rows, [(0, frames * FRAME - len(rows)), (0, 0)])
    middle = np.minimum(np.arange(frames) * FRAME + FRAME // 2, len(x) - 1)
    seen = pictures(x, y, up < 0.5, middle)
    return np.concatenate([rows.reshape([frames, -1]), seen], axis=1).astype(np.float32)


def pictures(x, y, down, places):
    """What is written around each place, a number of a point: [N, ROWS * COLUMNS] from 0 to 1.

    x, y: points in heights, y from the line's middle; down: those to which the pen drew.
    """
    column = np.floor((x - x.min()) / CELL).astype(int)
    row = np.clip(np.floor(y / CELL + ROWS / 2), 0, ROWS - 1).astype(int)
    paper = np.zeros([column.max() + COLUMNS, ROWS])
    np.add.at(paper, (column[down] + COLUMNS // 2, row[down]), DARK)
    views = np.lib.stride_tricks.sliding_window_view(np.minimum(paper, 1), COLUMNS, axis=0)
    return views[column[places]].reshape([len(places), -1])


def pad(lines):
    """Frames of lines, a list of [N, D], as one array, and their numbers, int32 [B]."""
    lengths = np.array(list(map(len, lines)), np.int32)
    shape = len(lines), -(-lengths.max() // PADDING) * PADDING, lines[0].shape[1]
    padded = np.zeros(shape, np.float32)
    for row, line in zip(padded, lines, strict=True):
        row[: len(line)] = line
    return padded, lengths


# ----------------------------------------------------------------------------------------- network


def normalize(x):
    """Each frame's channels with mean 0 and variance 1."""
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-3)


def ctc_losses(logits, lengths, chars):
    """Nats [B] against texts, given logits [B, N, V]; 0 where a text needs more frames than there
    are. chars: int32 [B, U], the texts' symbols, and others than those of characters.
    """
    places = tf.where(chars > 0)
    return tf.raw_ops.CTCLoss(  # whose last symbol is none
        inputs=tf.transpose(tf.roll(logits, -1, axis=-1), [1, 0, 2]), labels_indices=places,
        labels_values=tf.gather_nd(chars, places) - 1, sequence_length=lengths,
        ignore_longer_outputs_than_inputs=True,
    )[0]  # fmt: skip


class Reader:
    """The network: a convolution, blocks of one with a residual each, logits of the symbols.

    alphabet: the characters that it knows. variables: name -> keras.Variable.
    """

    def __init__(self, alphabet, channels, seed=0):
        self.alphabet, self.variables, rng = alphabet, {}, np.random.default_rng(seed)

        def add(name, *shape):
            size = 1 / np.sqrt(np.prod(shape[:-1]))
            values = {"kernel": rng.normal(0, size, shape), "bias": np.zeros(shape[-1])}
            for kind, value in values.items():
                self.variables[f"{name}.{kind}"] = keras.Variable(value, dtype="float32")

        add("input", 3, FEATURES, channels)
        for k in range(len(DILATIONS)):
            add(f"blocks.{k}.look", KERNEL, channels, channels)
            add(f"blocks.{k}.output", 1, channels, channels)
        add("output", 1, channels, len(alphabet) + 1)
        specs = tf.TensorSpec([None, None, FEATURES]), tf.TensorSpec([None], tf.int32)
        self._logits = tf.function(self.logits, autograph=False, input_signature=specs)

    def logits(self, frames, lengths, dropout=0.0):
        """Logits [B, N, V] of frames [B, N, D], of which each line has so many."""

        def convolve(x, name, dilation=1):
            kernel, bias = (self.variables[f"{name}.{kind}"].value for kind in ("kernel", "bias"))
            return tf.nn.conv1d(x, kernel, 1, "SAME", dilations=dilation) + bias

        mask = tf.sequence_mask(lengths, tf.shape(frames)[1], tf.float32)[..., None]
        x = convolve(frames, "input")
        for k, dilation in enumerate(DILATIONS):
            y = tf.nn.relu(convolve(mask * normalize(x), f"blocks.{k}.look", dilation))
            y = tf.nn.dropout(y, dropout) if dropout else y
            x += convolve(y, f"blocks.{k}.output")
        x = normalize(x)
        return convolve(tf.nn.dropout(x, dropout) if dropout else x, "output")

    def look(self, lines):
        """Logits, float32 [N, V], of each of lines, arrays [n, 3] in pen units."""
        frames, found = [features(line) for line in lines], [None] * len(lines)
        order = sorted(range(len(lines)), key=lambda k: len(frames[k]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            padded, lengths = pad([frames[k] for k in batch])
            for k, logits, length in zip(
                batch, self._logits(padded, lengths).numpy(), lengths, strict=True
            ):
                found[k] = logits[:length]
        return found

    def text(self, logits):
        """What is read in logits [N, V]: the likeliest symbol of each frame counts."""
        return greedy_ctc(logits.argmax(axis=1), ["", *self.alphabet])

    def log_probabilities(self, logits, texts):
        """How likely lines, of which logits [N, V] are given, say their texts, in nats, float [B].

        Characters that the reader does not know count as if they were not there.
        """
        found = []
        for start in range(0, len(texts), BATCH):
            part = slice(start, start + BATCH)
            padded, lengths = pad(logits[part])
            chars = encode(texts[part], self.alphabet)
            known = [row[row > 0].tolist() for row in chars]
            chars[[not row for row in known], 0] = 1  # the operation takes no empty text
            nats = -ctc_losses(padded, lengths, chars).numpy().astype(float)
            for k, row in enumerate(known):
                needed = len(row) + sum(a == b for a, b in itertools.pairwise(row))
                if not row:
                    nats[k] = tf.nn.log_softmax(logits[start + k]).numpy()[:, 0].sum()
                elif needed > lengths[k]:
                    nats[k] = -np.inf
            found.append(nats)
        return np.concatenate([np.zeros(0), *found])


def load_reader(folder):
    """The Reader whose weights are in a folder of train_reader.py. Raises UserError."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        reader = Reader(config["alphabet"], config["channels"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} does not tell of a reader; restore it, or train again") from None
    path = Path(folder) / BEST
    assign(reader.variables, read_tensors(path)[0], "", path)
    return reader


@functools.cache
def read_reader():
    """The Reader that comes with the program, or None where it is missing."""
    return load_reader(FOLDER) if FOLDER.exists() else None
