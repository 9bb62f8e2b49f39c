"""Drawing points without a text, many samples at once, as loops compiled by XLA.

Axes: B batch, M mixture components.
"""

from handwriting.ink.points import START
from handwriting.network.backend import compiled, tf
from handwriting.network.mixture import sample_point

import numpy as np

CHUNK = 100  # points drawn by one call of the compiled sampling loop
GROUP = 16  # samples in one sampling loop; more samples run as several loops at once


def draw_noise(sess, num, rows):
    """The noise [num, rows, 4] of `sample_point` for so many points, by a tf.random.Generator.

    By a key that it draws, since its streams for seeds that follow each other are one stream,
    moved by four numbers: rows would come again.
    """
    keys = tf.unstack(sess.uniform_full_int([2, 2], tf.int32))
    shape = [num, rows, 2]
    draw = (tf.random.stateless_uniform, tf.random.stateless_normal)
    return tf.concat([f(shape, key) for f, key in zip(draw, keys, strict=True)], axis=2)


@compiled
def draw_chunk(model, point, states, noise, bias):
    """Draw noise.shape[0] points after `point` [B, 3] from `states` with noise [n, B, 4] and
    bias [].

    Returns points [n, B, 3], z_hat [n, B, 1 + 6 M] that each was drawn from, the last point
    and states.
    """
    weights, num = model.layer_weights(), noise.shape[0]

    def draw(t, point, states, points, z_hats):
        z_hat, states = model.step(point, states, weights)
        point = sample_point(z_hat, noise[t], bias, model.log_sigma_min)
        return t + 1, point, states, points.write(t, point), z_hats.write(t, z_hat)

    shapes = ([noise.shape[1], size] for size in (3, 1 + 6 * model.num_mixture))
    points, z_hats = (tf.TensorArray(tf.float32, num, element_shape=shape) for shape in shapes)
    _, point, states, points, z_hats = tf.while_loop(
        lambda t, *_: t < num, draw, (0, point, states, points, z_hats), maximum_iterations=num
    )
    return points.stack(), z_hats.stack(), point, states


@tf.function(autograph=False)
def draw_groups(model, groups, bias):
    """What draw_chunk returns for each group of samples (point, states, noise), all at once."""
    return [draw_chunk(model, *group, bias) for group in groups]


def draw_samples(model, sess, num, batch_size, bias=0.0, style=None):
    """Draw samples: `Model.sample_batch`. Returns float32 strokes [B, n + num, 3] in pen units, and
    the z_hat [B, n + num, 1 + 6 M] that each point was drawn from.
    """
    number = -(-batch_size // GROUP)
    size = -(-batch_size // number)  # groups of one size, since each size is compiled
    padding = number * size - batch_size
    scale = np.array([model.data_scale, model.data_scale, 1.0], np.float32)
    bias = tf.constant(bias, tf.float32)
    style = np.asarray(np.zeros([0, 3]) if style is None else style, np.float32) / scale
    read = np.concatenate([[START], style]).astype(np.float32)
    states, style_z_hat = model.initial_state(1), tf.zeros([1, 0, 1 + 6 * model.num_mixture])
    if len(style):
        style_z_hat, states = model(tf.constant(read[None, :-1]))
    points = [tf.tile(read[-1:], [size, 1])] * number
    states = [tf.nest.map_structure(lambda value: tf.tile(value, [size, 1]), states)] * number
    chunks = []
    for _ in range(-(-num // CHUNK)):
        noise = tf.pad(draw_noise(sess, CHUNK, batch_size), [[0, 0], [0, padding], [0, 0]])
        groups = list(zip(points, states, tf.split(noise, number, axis=1), strict=True))
        *drawn, points, states = zip(*draw_groups(model, groups, bias), strict=True)
        chunks.append([tf.concat(part, axis=1) for part in drawn])
    drawn, z_hats = (
        tf.transpose(tf.concat(part, axis=0)[:num, :batch_size], [1, 0, 2])
        for part in zip(*chunks, strict=True)
    )
    z_hats = tf.concat([tf.tile(style_z_hat, [batch_size, 1, 1]), z_hats], axis=1)
    strokes = np.concatenate([np.tile(style, [batch_size, 1, 1]), drawn], axis=1)
    return strokes * scale, z_hats
