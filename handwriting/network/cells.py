"""One point through one recurrent layer: rnn, gru, and lstm with peepholes and layer normalisation.

Axes: B batch, D inputs, H units in a layer, V symbols of the alphabet. In scaled units.
"""

from typing import NamedTuple

from handwriting.network.backend import tf
from handwriting.network.mixture import DISTANCE_MAX

HAND = 64  # numbers that tell a hand


class LSTMState(NamedTuple):
    """The state of an lstm layer."""

    h: tf.Tensor  # [B, H] output
    c: tf.Tensor  # [B, H] memory cell


class RNNState(NamedTuple):
    """The state of an rnn or gru layer."""

    h: tf.Tensor  # [B, H] output


def polar_inputs(x):
    """x [..., 3] with the direction and log length of each move behind it: dx / r, dy / r, 1/2 ln
    r; [..., 6].

    r, the length of the move, is at least 0.01 scaled units, a fifth of a pen unit at the usual
    data_scale.
    """
    move = tf.clip_by_value(x[..., :2], -DISTANCE_MAX, DISTANCE_MAX)
    r2 = tf.maximum(tf.reduce_sum(tf.square(move), axis=-1, keepdims=True), 1e-4)
    return tf.concat([x, move * tf.math.rsqrt(r2), 0.25 * tf.math.log(r2)], axis=-1)


def normalise(v):
    """v [..., H] with mean 0 and standard deviation 1 over the units."""
    v = v - tf.reduce_mean(v, axis=-1, keepdims=True)
    return v * tf.math.rsqrt(tf.reduce_mean(tf.square(v), axis=-1, keepdims=True) + 1e-5)


def lstm_step(z, c, peephole=None, norm=None):
    """The new LSTMState (h', c') from the gates' inputs z, four of [B, H] in the order i, f, g, o,
    and c [B, H].

    i = sigmoid(z_i + p_i c), f = sigmoid(z_f + p_f c), g = tanh(z_g), c' = f c + i g, o =
    sigmoid(z_o + p_o c') and h' = o tanh c' (Graves, eq. 7 to 11). peephole [3, H]: p_i, p_f, p_o,
    else 0. norm [2, 5, B or 1, H]: gains and offsets of layer normalisation (Ba, Kiros and Hinton,
    arXiv 1607.06450, eq. 20 to 22): each z, and the c' inside tanh, is normalised over the layer's
    units, multiplied by its gain and moved by its offset.
    """
    i, f, g, o = z
    if norm is not None:
        (gain, offset), z = tf.unstack(norm), tf.stack([i, f, g, o])
        i, f, g, o = tf.unstack(normalise(z) * gain[:4] + offset[:4])
    if peephole is not None:
        i, f = i + peephole[0] * c, f + peephole[1] * c
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    o = tf.sigmoid(o if peephole is None else o + peephole[2] * c)
    return LSTMState(o * tf.tanh(c if norm is None else normalise(c) * gain[4] + offset[4]), c)


def gru_step(x, weights, h):
    """One point in a gru layer in Keras' form: x [B, D], h [B, H] -> [B, H]."""
    bias_x, bias_h = tf.unstack(weights["bias"])
    xz, xr, xg = tf.split(tf.matmul(x, weights["kernel"]) + bias_x, 3, axis=1)
    hz, hr, hg = tf.split(tf.matmul(h, weights["recurrent_kernel"]) + bias_h, 3, axis=1)
    z, r = tf.sigmoid(xz + hz), tf.sigmoid(xr + hr)
    return z * h + (1.0 - z) * tf.tanh(xg + r * hg)


def layer_step(kind, x, weights, state, w=None):
    """One point in one layer: x [B, D], its weights by name, its state -> its new state.

    w [B, V]: what the window sees, which an lstm layer reads through weights of its own.
    """
    if kind == "gru":
        return RNNState(gru_step(x, weights, state.h))
    z = tf.matmul(x, weights["kernel"]) + tf.matmul(state.h, weights["recurrent_kernel"])
    z += weights["bias"] if w is None else weights["bias"] + tf.matmul(w, weights["window_kernel"])
    if kind == "rnn":
        return RNNState(tf.tanh(z))
    return lstm_step(tf.split(z, 4, axis=1), state.c, weights.get("peephole"), weights.get("norm"))


def drop_out(h, mask, keep_prob):
    """h [...] / keep_prob where the mask, bool [...], is true, else 0; h where there is no mask."""
    return h if mask is None else tf.where(mask, h / keep_prob, 0.0)
