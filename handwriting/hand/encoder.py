"""Encoders of hands: lines by one person get vectors that are near each other.

Two kinds of input, one kind of network: convolutions over a line, of whose last layer the mean and
the standard deviation along the line become a vector of length 1. `pictures`: what tells the
network that writes whose hand it is, from strokes or from a photo. `strokes`: the pen's moves, by
steps of equal length; it judges how alike hands are, and nothing learns from it.
`python -m handwriting.train_hands` trains them.

Axes: B lines, W columns of a picture or steps, HAND numbers of a vector.
"""

import contextlib
import functools
import hashlib
import os

from handwriting.files import UserError, atomic_write
from handwriting.hand import pictures
from handwriting.hand.steps import steps
from handwriting.ink.parallel import run, share
from handwriting.network.backend import keras, tf
from handwriting.network.cells import HAND
from handwriting.network.checkpoint import SAVE, assign, read_tensors

import numpy as np

FOLDER = SAVE / "hands"  # where train_hands writes the encoders
# Each layer's kernel, height and width, its channels, and its strides; together 8 columns become 1.
LAYERS = {
    "pictures": [
        (5, 5, 16, 2, 2), (3, 3, 32, 2, 2), (3, 3, 64, 2, 2), (3, 3, 64, 1, 1), (3, 3, 96, 2, 1),
        (4, 1, 160, 4, 1), (1, 3, 160, 1, 1),
    ],
    "strokes": [(1, 5, 96, 1, 2), (1, 5, 96, 1, 2), (1, 5, 96, 1, 2), (1, 3, 96, 1, 1)],
}  # fmt: skip
SHAPES = {"pictures": (pictures.HEIGHT, None, 1), "strokes": (1, None, 3)}
MOMENTUM = 0.98  # of batch normalisation's means and variances
COLUMNS = 8
BLANK = 64  # columns behind a line, at least: more than the convolutions see to the right
LONGEST = 1024  # columns that are looked at
BATCH = 48  # lines encoded at once
KEPT = "strokes_hands.npz"  # in a data folder
MANY = 1 << 18  # points, from which it is done by several processes, and once


class Encoder:
    """The network of a kind: body, convolutions each with batch normalisation; head, a product."""

    def __init__(self, kind, seed=0):
        self.kind, layers = kind, []
        for number, (*kernel, channels, down, right) in enumerate(LAYERS[kind], 1):
            start = keras.initializers.HeNormal(1000 * seed + number)
            layers += [
                keras.layers.Conv2D(
                    channels, kernel, (down, right), "same", use_bias=False,
                    kernel_initializer=start,
                ),
                keras.layers.BatchNormalization(momentum=MOMENTUM),
                keras.layers.ReLU(),
            ]  # fmt: skip
        start = keras.initializers.GlorotUniform(1000 * seed)
        self.body = keras.Sequential(layers)
        self.head = keras.layers.Dense(HAND, kernel_initializer=start)
        self.body.build((None, *SHAPES[kind]))
        self.head.build((None, 2 * channels))
        specs = [tf.TensorSpec([None, *SHAPES[kind]]), tf.TensorSpec([None], tf.int32)]
        self._vectors = tf.function(self.vectors, autograph=False, input_signature=specs)

    @property
    def variables(self):
        """All weights, name -> Keras variable."""
        named = {"head.kernel": self.head.kernel, "head.bias": self.head.bias}
        for k, layer in enumerate(self.body.layers):
            for variable in layer.variables:
                named[f"body.{k // 3}.{variable.name}"] = variable
        return named

    @property
    def trained(self):
        """The variables that a gradient trains."""
        return [*self.body.trainable_variables, *self.head.trainable_variables]

    def vectors(self, x, widths, training=False, dropout=0.0):
        """Vectors [B, HAND] of length 1 of inputs [B, *SHAPES[kind]], of which so many columns are
        no padding, int32 [B].
        """
        x = self.body(x, training=training)[:, 0]
        mask = tf.sequence_mask(-(-widths // COLUMNS), tf.shape(x)[1], tf.float32)[..., None]
        number = tf.reduce_sum(mask, axis=1)
        mean = tf.reduce_sum(mask * x, axis=1) / number
        square = tf.reduce_sum(mask * (x - mean[:, None]) ** 2, axis=1) / number
        x = tf.concat([mean, tf.sqrt(square + 1e-4)], axis=1)
        x = tf.nn.dropout(x, dropout) if dropout else x
        return tf.math.l2_normalize(self.head(x), axis=1)

    def encode(self, inputs):
        """Vectors, float32 [n, HAND], of lines as `look` gives them."""
        found = np.zeros([len(inputs), HAND], np.float32)
        order = sorted(range(len(inputs)), key=lambda k: inputs[k].shape[1])
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            found[rows] = self._vectors(*pad([inputs[k] for k in rows])).numpy()
        return found


def look(kind, strokes, rng=None):
    """A line's strokes [n, 3] in pen units as the encoder of a kind reads them, float32 [h, W,
    channels]. rng: of a picture, varies it as in training.
    """
    outline = pictures.outline(strokes)
    if kind == "strokes":
        return steps(outline)
    return pictures.draw([pictures.thin(stroke) for stroke in outline], LONGEST, rng)[..., None]


def pad(inputs):
    """Inputs [h, W, channels] as one array [B, h, W, channels], and their widths, int32 [B].

    Behind each there is so much blank paper that no vector depends on what else is in the batch.
    """
    inputs = [each[:, :LONGEST] for each in inputs]
    widths = np.array([each.shape[1] for each in inputs], np.int32)
    height, _, channels = inputs[0].shape
    longest = -(-(widths.max() + BLANK) // BLANK) * BLANK
    padded = np.zeros([len(inputs), height, longest, channels], np.float32)
    for row, each in zip(padded, inputs, strict=True):
        row[:, : each.shape[1]] = each
    return padded, widths


@functools.cache
def read_encoder(kind, folder=None):
    """The Encoder of a kind in a folder, or in FOLDER. Raises UserError."""
    encoder, path = Encoder(kind), (folder or FOLDER) / f"{kind}.safetensors"
    if not path.exists():
        raise UserError(f"{path} is missing; python -m handwriting.train_hands writes it")
    assign(encoder.variables, read_tensors(path)[0], "", path)
    return encoder


def encode_lines(lines):
    """The vectors, float32 [n, HAND], of lines [n, 3] in pen units, by their pictures. Raises
    UserError.
    """
    return read_encoder("pictures").encode([look("pictures", line) for line in lines])


def encode_data(folder, lines):
    """`encode_lines` of the lines in a data folder; of many it takes minutes, so it is kept there
    beside them. Raises UserError.
    """
    path = os.path.join(folder, KEPT)
    sizes = {k: len(line) for k, line in enumerate(lines)}
    if sum(sizes.values()) < MANY:
        return encode_lines(lines)
    mark = hashlib.sha256()
    weights = [variable.numpy() for variable in read_encoder("pictures").variables.values()]
    for values in [*weights, *lines]:
        mark.update(values.tobytes())
    mark = mark.hexdigest()
    with contextlib.suppress(OSError, ValueError, KeyError), np.load(path) as kept:
        if str(kept["mark"]) == mark:
            return kept["vectors"]
    parts = share(sizes, os.cpu_count() or 1)
    found = np.zeros([len(lines), HAND], np.float32)
    jobs = [([lines[k] for k in part],) for part in parts]
    for part, vectors in zip(parts, run(encode_lines, jobs), strict=True):
        found[part] = vectors
    with contextlib.suppress(OSError), atomic_write(path) as file:
        np.savez(file, mark=mark, vectors=found)
    return found
