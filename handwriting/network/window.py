"""The soft window over the characters of a text (Graves, arXiv 1308.0850, section 5.1).

Axes: B batch, U characters of a text, V symbols of the alphabet, K components of the window.
"""

import math
from typing import NamedTuple

from handwriting.network.backend import tf

import numpy as np

WINDOW = 10  # components of the window, K
PACE = 0.047  # characters a point, at which an untrained window moves: 21 points a character


class WindowState(NamedTuple):
    """The state of the window over the characters."""

    w: tf.Tensor  # [B, V] the symbols that it sees, weighted
    kappa: tf.Tensor  # [B, K] its components' positions, in characters


def window_step(a_hat, kappa, chars):
    """Move the window and look through it: the new WindowState, and phi [B, U].

    a_hat [B, 3 K]: what the first layer says of alpha, beta and kappa; kappa [B, K]: where the
    components were; chars [B, U, V]: the text, one-hot. As in Graves' eq. 46 to 51, component k
    lies kappa_k characters into the text, and character u has the weight phi_u = sum over k of
    alpha_k sqrt(beta_k / pi) exp(-beta_k (kappa_k - u - 1/2)^2), u from 0.

    Departure: alpha is a softmax and the bells have an area of 1, so that phi sums to about 1; beta
    lies between 0.05 and 4.05 and a step of kappa between 0 and 2 characters, where exp(a_hat)
    has no bound.
    """
    alpha_hat, beta_hat, kappa_hat = tf.split(a_hat, 3, axis=1)
    alpha, beta = tf.nn.softmax(alpha_hat), 0.05 + 4.0 * tf.sigmoid(beta_hat)
    kappa = kappa + 2.0 * tf.sigmoid(kappa_hat)
    u = tf.range(tf.shape(chars)[1])
    distance = kappa[:, :, None] - (tf.cast(u, tf.float32) + 0.5)
    bells = tf.exp(-beta[:, :, None] * tf.square(distance))
    phi = tf.reduce_sum((alpha * tf.sqrt(beta / math.pi))[:, :, None] * bells, axis=1)
    return WindowState(tf.einsum("bu,buv->bv", phi, chars), kappa), phi


def first_weights(seed, num_layers, units, num_symbols, num_read, num_outputs):
    """The weights, name -> float32 array, of all that a text adds to a network before it is
    trained; those of its outputs are 0 at first.

    num_read: how many outputs of layers the output reads; num_outputs: its own without text.
    """
    rng = np.random.default_rng([seed, 1])
    k, pace = np.zeros(WINDOW), math.log(PACE / 2 / (1 - PACE / 2))
    weights = {
        f"layers.{k}.window_kernel": 0.02 * rng.standard_normal([num_symbols, 4 * units])
        for k in range(num_layers)
    }
    weights["window.kernel"] = 0.05 * rng.standard_normal([units, 3 * WINDOW])
    weights["window.bias"] = np.concatenate([k, np.linspace(-2.5, 1, WINDOW), k + pace])
    weights["output.window_kernel"] = np.zeros([num_symbols, num_outputs])
    weights["end.kernel"] = np.zeros([num_read + num_symbols, 1])
    weights["end.bias"] = np.array([-3.0])
    return {name: np.float32(value) for name, value in weights.items()}
