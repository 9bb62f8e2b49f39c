"""One drawing of each of some texts: from characters to strokes, point by point.

The loop over points is compiled once for texts of up to 120 characters and a number of lines. A
line ends at the end of a stroke where the network says so and its window looks at the last
character. Axes as in model.py. A line's text is its symbols, ends and padding behind it
(alphabet.py).
"""

import functools
from typing import NamedTuple

from handwriting.ink.points import LIMIT, START, baseline
from handwriting.network.backend import compiled, tf
from handwriting.network.cells import HAND
from handwriting.network.mixture import Mixture, sample_point
from handwriting.network.sampling import CHUNK, GROUP, draw_noise
from handwriting.text.alphabet import encode
from handwriting.text.choosing import Reading
from handwriting.text.lines import MOST_POINTS, POINTS, find_problem

import numpy as np

SIZES = (1, 4, GROUP)  # lines drawn in one loop; fewer are filled up, since each is compiled
WIDTH = 128  # symbols that a text is padded to, at least
GONE = 0.01  # of the window's weight left on a text: it has run past the end


class Line(NamedTuple):
    """A text as drawn."""

    text: str
    strokes: np.ndarray  # float32 [n, 3] in pen units, level
    params: Mixture  # of each point, [n, M], in pen units
    window: np.ndarray  # float32 [n, U]: the window's weights over the text's characters
    problem: str  # what is wrong with it, or the empty string
    reading: Reading = Reading()  # how it is read back

    @property
    def misread(self):
        """Its words that are hard to read."""
        words = self.text.split()
        return [words[number] for number in self.reading.misread]


class Pen(NamedTuple):
    """Where the drawing of B lines stands."""

    point: tf.Tensor  # [B, 3] the last one, scaled units
    states: list
    done: tf.Tensor  # bool [B]
    count: tf.Tensor  # int32 [B] points drawn
    hand: tf.Tensor  # [B, HAND] in whose hand, zero: in any


@compiled
def write_chunk(model, pen, chars, last, most, noise, bias):
    """Draw at most noise.shape[0] points of each line, until all are done.

    pen: a Pen. chars [B, U, V]: the texts, one-hot. last, most: int32 [B], the place of a text's
    last character, and at how many points it is given up. noise [n, B, 4]. Returns points [n, B,
    3], the z_hat [n, B, 1 + 6 M] that each was drawn from, phi [n, B, U] and the new Pen.
    """
    weights, num, places = model.layer_weights(pen.hand), noise.shape[0], tf.range(chars.shape[1])

    def draw(t, pen, points, z_hats, phis):
        z_hat, states, phi = model.step(pen.point, pen.states, weights, None, chars)
        z_hat, end = z_hat[:, :-1], z_hat[:, -1] > 0.0
        place = tf.argmax(phi, axis=1, output_type=tf.int32)
        left = tf.reduce_sum(tf.where(places <= last[:, None], phi, 0.0), axis=1)
        ends = ((pen.point[:, 2] > 0.5) & end & (place >= last)) | (left < GONE)
        done = pen.done | (ends & (pen.count > 0)) | (pen.count >= most)
        point = sample_point(z_hat, noise[t], bias, model.log_sigma_min)
        point = tf.where(done[:, None], pen.point, point)
        count = pen.count + tf.cast(~done, tf.int32)
        arrays = zip((points, z_hats, phis), (point, z_hat, phi), strict=True)
        return t + 1, Pen(point, states, done, count, pen.hand), *(a.write(t, v) for a, v in arrays)

    shapes = ([chars.shape[0], size] for size in (3, model.num_outputs, chars.shape[1]))
    arrays = [tf.TensorArray(tf.float32, num, element_shape=shape) for shape in shapes]
    _, pen, *arrays = tf.while_loop(
        lambda t, pen, *_: (t < num) & ~tf.reduce_all(pen.done), draw, (0, pen, *arrays),
        maximum_iterations=num,
    )  # fmt: skip
    return *(array.stack() for array in arrays), pen


@tf.function(autograph=False)
def write_groups(model, groups, bias):
    """What write_chunk returns for each group of lines (its arguments), all at once."""
    return [write_chunk(model, *group, bias) for group in groups]


@tf.function(autograph=False, reduce_retracing=True)
def read_points(model, points, chars, states, hand):
    """The states after points [B, n, 3] in scaled units, from states, of texts [B, U]."""
    return model(points, states, chars=chars, hand=hand)[1]


def begin(model, texts, styles):
    """The Pen before the first point of each text (str), in its Style or None, and the texts'
    symbols [B, U, V], one-hot.

    Styles are read side by side, the states of each kept where it ends; drawings of one text in one
    style share what was read.
    """
    chars, numbers = tf.constant(encode(texts, model.alphabet, WIDTH)), {}
    hand = [style.hand if style and style.hand is not None else np.zeros(HAND) for style in styles]
    hand = tf.constant(np.array(hand, np.float32))
    pairs = [(text, id(style)) for text, style in zip(texts, styles, strict=True)]
    which = [numbers.setdefault(pair, len(numbers)) for pair in pairs]
    firsts = np.unique(which, return_index=True)[1]
    scale = np.float32([model.data_scale, model.data_scale, 1.0])
    lengths = np.array([len(styles[k].strokes) if styles[k] else 0 for k in firsts])
    points = np.tile(np.float32(START), [len(firsts), lengths.max() + 1, 1])
    for row, k, length in zip(points, firsts, lengths, strict=True):
        if length:
            row[1 : length + 1] = styles[k].strokes.clip(-LIMIT, LIMIT) / scale
    states, start = model.initial_state(len(firsts)), 0
    for end in np.unique(lengths[lengths > 0]):
        after = read_points(
            model, points[:, start:end], tf.gather(chars, firsts), states, tf.gather(hand, firsts)
        )
        going_on = functools.partial(tf.where, lengths[:, None] >= end)
        states, start = tf.nest.map_structure(going_on, after, states), end
    states = tf.nest.map_structure(lambda state: tf.gather(state, which), states)
    nothing = tf.zeros([len(texts)], tf.int32)
    point = tf.constant(points[np.arange(len(firsts)), lengths][which])
    return Pen(point, states, nothing > 0, nothing, hand), model.one_hot(chars)


def draw_lines(model, sess, texts, bias, styles, limit, progress=None):
    """One drawing of each text: a list of Line.

    sess: a tf.random.Generator. styles: for each text a Style, or None for any hand. limit: points
    of a line, at most, or None. progress: a function that is told which share of all is drawn,
    about, again and again.
    """
    size = next((size for size in SIZES if size >= len(texts)), GROUP)
    # Groups are of like length, and drawings of one text are side by side.
    order = sorted(range(len(texts)), key=lambda k: (len(texts[k]), texts[k]))
    order += order[:1] * (-len(texts) % size)
    before = [style.text + " " if style and style.text else "" for style in styles]
    groups, filling = [], np.arange(len(order)) >= len(texts)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        pen, chars = begin(model, [before[k] + texts[k] for k in rows], [styles[k] for k in rows])
        pen = pen._replace(done=tf.constant(filling[start : start + size]))
        lengths = np.array([len(texts[k]) for k in rows], np.int32)
        most = np.minimum(MOST_POINTS * (lengths + 1), limit or np.iinfo(np.int32).max)
        last = lengths - 1 + [len(before[k]) for k in rows]
        groups.append([pen, chars, tf.constant(last, tf.int32), tf.constant(most)])
    chunks = []
    while not all(np.all(pen.done) for pen, *_ in groups):
        noise = tf.split(draw_noise(sess, CHUNK, len(order)), len(groups), axis=1)
        arguments = [(*group, part) for group, part in zip(groups, noise, strict=True)]
        drawn = write_groups(model, arguments, tf.constant(bias, tf.float32))
        chunks.append([part[:3] for part in drawn])
        for group, part in zip(groups, drawn, strict=True):
            group[0] = part[3]
        if progress:
            progress(share_drawn([pen for pen, *_ in groups], [len(texts[k]) for k in order]))
    lines = {}
    for number, (pen, *_) in enumerate(groups):
        points, z_hats, phis = (
            np.concatenate(part) for part in zip(*(c[number] for c in chunks), strict=True)
        )
        for row, k in enumerate(order[number * size : (number + 1) * size]):
            if k not in lines:
                kept = slice(0, int(pen.count[row])), row
                place = slice(len(before[k]), len(before[k]) + len(texts[k]))
                window = phis[kept][:, place].copy()  # a view would keep the whole group's
                drawn = points[kept], z_hats[kept], window
                lines[k] = make_line(model, texts[k], *drawn, bias)
    return [lines[k] for k in range(len(texts))]


def share_drawn(pens, lengths):
    """About which share of lines with so many characters is drawn, from 0 to 1."""
    count = np.concatenate([pen.count for pen in pens])
    done = np.concatenate([pen.done for pen in pens])
    shares = np.minimum(count / (POINTS * np.array(lengths)), 0.95)
    return float(np.where(done, 1.0, shares).mean())


def make_line(model, text, points, z_hat, window, bias):
    """The Line of what was drawn for a text, in pen units."""
    strokes = points * np.float32([model.data_scale, model.data_scale, 1.0])
    strokes[-1:, 2] = 1.0
    problem = find_problem(text, strokes)
    return Line(text, *level(strokes, model.params(z_hat, bias)), window, problem)


def level(strokes, params):
    """Strokes [n, 3] and the Mixture of each point, sheared so that the baseline is horizontal.

    People's lines rise or fall, and the network's do as theirs. With dy' = dy - s dx, and s the
    slope, upright strokes stay upright.
    """
    slope, _ = baseline(*np.cumsum(strokes[:, :2], axis=0).T)
    strokes[:, 1] -= slope * strokes[:, 0]
    own = params.sigma2 * np.sqrt(1 - params.rho**2)
    shared = params.rho * params.sigma2 - slope * params.sigma1  # of dy's deviation, what dx tells
    sigma2 = np.hypot(own, shared)
    mu2, rho = params.mu2 - slope * params.mu1, shared / sigma2
    return strokes, params._replace(mu2=mu2, sigma2=sigma2, rho=rho)
