"""The density of a pen point: a mixture of bivariate normals and a Bernoulli end of stroke; its
loss, and a point drawn from it.

Sources: A. Graves, "Generating Sequences With Recurrent Neural Networks" (arXiv 1308.0850), whose
equations are cited by number, and D. Ha's post for the order of the outputs and the sign of eos.

Axes: B batch, M mixture components. A hat marks what the network puts out before it is
transformed. All in scaled units (pen units / data_scale).
"""

import math
from typing import NamedTuple

from handwriting.network.backend import compiled, tf

SIGMA_MIN = 0.288  # pen units: 1 / sqrt(12), the standard deviation of rounding to pen units
LOG_SIGMA_MIN = -8.1  # 0.0003 scaled units, the floor where no data_scale is known
LOG_SIGMA_MAX = 80.0
RHO_HAT_MAX = 8.0  # keeps 1 - rho^2 above 4e-7
LOGIT_MAX = 1e4  # of Z_0 and pi_hat
DISTANCE_MAX = 1e9  # from a mean to a point, per axis: its square over sigma^2 stays within float32
BLOCK = 2048  # points of which the loss is compiled together


class Mixture(NamedTuple):
    """The density of a point: M bivariate normals and a Bernoulli end of stroke (eq. 16)."""

    pi: tf.Tensor  # [..., M] weights, they sum to 1
    mu1: tf.Tensor  # [..., M] mean of dx
    mu2: tf.Tensor  # [..., M] mean of dy
    sigma1: tf.Tensor  # [..., M] standard deviation of dx
    sigma2: tf.Tensor  # [..., M] standard deviation of dy
    rho: tf.Tensor  # [..., M] correlation of dx and dy
    eos: tf.Tensor  # [...] probability that the point ends a stroke


@tf.custom_gradient
def clip_keep_inward_gradient(value, low, high):
    """Clip value [...] to low..high, but keep gradients that pull it back into range.

    A plain clip has no gradient outside, so a value there is stuck. The full gradient would push
    it ever further out where that lowers the loss: weights grow without limit and the run
    diverges.
    """

    def backward(d):
        outward = ((value < low) & (d > 0.0)) | ((value > high) & (d < 0.0))
        return tf.where(outward, 0.0, d), None, None

    return tf.clip_by_value(value, low, high), backward


def split_outputs(z_hat, log_sigma_min=LOG_SIGMA_MIN):
    """Split z_hat [..., 1 + 6 M] into Z_0 [...] and pi, mu1, mu2, sigma1, sigma2, rho [..., M],
    clipped.

    Departure: without limits a density grows without bound on a single point and the loss becomes
    NaN. The standard deviation of a component is at least s = exp(log_sigma_min) in every
    direction: the smaller eigenvalue of its covariance is at least s^2 if sigma_j >= s and rho^2
    <= (1 - e1) (1 - e2) with e_j = (s / sigma_j)^2.
    """
    clip = clip_keep_inward_gradient
    eos_hat, z_hat = clip(z_hat[..., 0], -LOGIT_MAX, LOGIT_MAX), z_hat[..., 1:]
    pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = tf.split(z_hat, 6, axis=-1)
    pi_hat = clip(pi_hat, -LOGIT_MAX, LOGIT_MAX)
    sigma1_hat = clip(sigma1_hat, log_sigma_min, LOG_SIGMA_MAX)
    sigma2_hat = clip(sigma2_hat, log_sigma_min, LOG_SIGMA_MAX)
    e1, e2 = (tf.exp(2.0 * (log_sigma_min - s)) for s in (sigma1_hat, sigma2_hat))
    # artanh r = ln(1 + r) - 1/2 ln(1 - r^2), with 1 - r^2 in a form that float32 keeps near r = 1
    limit = tf.math.log1p(tf.sqrt((1.0 - e1) * (1.0 - e2))) - 0.5 * tf.math.log(e1 + e2 - e1 * e2)
    limit = tf.minimum(limit, RHO_HAT_MAX)
    return eos_hat, pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, clip(rho_hat, -limit, limit)


def mixture(z_hat, bias=0.0, log_sigma_min=LOG_SIGMA_MIN):
    """The Mixture of the outputs z_hat [..., 1 + 6 M] (Graves, eq. 18 to 22; eos with the post's
    sign).

    bias >= 0: likely components become likelier and standard deviations exp(bias) times smaller
    (eq. 61, 62). Departure: means are scaled up by as much as smaller deviations lower the root
    mean square length of a move; otherwise writing shrinks to 0.6 of its size.
    """
    eos_hat, pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = split_outputs(z_hat, log_sigma_min)
    pi = tf.nn.softmax(pi_hat * (1.0 + bias))
    sigma1, sigma2 = tf.exp(sigma1_hat - bias), tf.exp(sigma2_hat - bias)
    squares = [tf.clip_by_value(v, -1e15, 1e15) ** 2 for v in (mu1, mu2, sigma1, sigma2)]  # finite
    share = (squares[2] + squares[3]) / tf.add_n(squares)  # of a move's mean square length
    scale = tf.sqrt(1.0 + share * (tf.exp(2.0 * bias) - 1.0))
    mu1, mu2 = scale * mu1, scale * mu2
    return Mixture(pi, mu1, mu2, sigma1, sigma2, tf.tanh(rho_hat), tf.sigmoid(-eos_hat))


def negative_log_likelihood(z_hat, target, log_sigma_min=LOG_SIGMA_MIN):
    """Nats per point [...] of target [..., 3] under z_hat [..., 1 + 6 M] (Graves, eq. 26), in
    logarithms.

    With u_j = (x_j - mu_j) / sigma_j, eq. 24 and 25 give the logarithm of a component:
    -1/2 ((u1 - rho u2)^2 / (1 - rho^2) + u2^2) - ln(2 pi sigma1 sigma2) - 1/2 ln(1 - rho^2).
    """
    eos_hat, pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = split_outputs(z_hat, log_sigma_min)
    dx, dy, eos = (target[..., k] for k in range(3))
    clip = clip_keep_inward_gradient
    u1 = clip(dx[..., None] - mu1, -DISTANCE_MAX, DISTANCE_MAX) * tf.exp(-sigma1_hat)
    u2 = clip(dy[..., None] - mu2, -DISTANCE_MAX, DISTANCE_MAX) * tf.exp(-sigma2_hat)
    # ln(1 - tanh(z)^2) in its own formula: in float32 tanh is 1 from about 9 on.
    size = tf.abs(rho_hat)
    log_1_rho2 = 2.0 * (math.log(2.0) - size - tf.math.log1p(tf.exp(-2.0 * size)))
    quadratic = tf.square(u1 - tf.tanh(rho_hat) * u2) * tf.exp(-log_1_rho2) + tf.square(u2)
    log_normal = -0.5 * (quadratic + log_1_rho2) - sigma1_hat - sigma2_hat - math.log(2.0 * math.pi)
    log_density = tf.reduce_logsumexp(tf.nn.log_softmax(pi_hat) + log_normal, axis=-1)
    return tf.nn.softplus((2.0 * eos - 1.0) * eos_hat) - log_density  # -ln eos, or -ln(1 - eos)


@compiled
def nll_and_gradient(z_hat, target, log_sigma_min):
    """negative_log_likelihood [...] and its gradient by z_hat [..., 1 + 6 M]."""
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        nll = negative_log_likelihood(z_hat, target, log_sigma_min)
    return nll, tape.gradient(nll, z_hat)


@tf.custom_gradient
def compiled_nll(z_hat, target, log_sigma_min):
    """negative_log_likelihood [...], compiled together with its gradient for BLOCK points at a
    time, so that sequences of all lengths share one compilation, which takes seconds.
    """
    points = [tf.reshape(part, [-1, part.shape[-1]]) for part in (z_hat, target)]
    number = tf.shape(points[0])[0]
    padded = [tf.pad(part, [[0, -number % BLOCK], [0, 0]]) for part in points]
    blocks = [tf.reshape(part, [-1, BLOCK, part.shape[-1]]) for part in padded]
    nll, gradient = tf.map_fn(
        lambda block: nll_and_gradient(*block, log_sigma_min), blocks,
        fn_output_signature=(tf.float32, tf.float32),
    )  # fmt: skip
    nll = tf.reshape(tf.reshape(nll, [-1])[:number], tf.shape(z_hat)[:-1])
    gradient = tf.reshape(gradient, [-1, z_hat.shape[-1]])[:number]
    gradient = tf.reshape(gradient, tf.shape(z_hat))
    return nll, lambda d_nll: (d_nll[..., None] * gradient, None, None)


def sample_point(z_hat, noise, bias=0.0, log_sigma_min=LOG_SIGMA_MIN):
    """A point [B, 3] drawn from z_hat [B, 1 + 6 M]; noise [B, 4]: two uniform, two normal."""
    m = mixture(z_hat, bias, log_sigma_min)
    below = tf.cast(tf.cumsum(m.pi, axis=-1)[:, :-1] < noise[:, :1], tf.int32)
    chosen = tf.one_hot(tf.reduce_sum(below, axis=-1), m.pi.shape[-1])
    mu1, mu2, sigma1, sigma2, rho = (tf.reduce_sum(chosen * value, axis=-1) for value in m[1:6])
    n1, n2 = noise[:, 2], noise[:, 3]
    dx = mu1 + sigma1 * n1
    dy = mu2 + sigma2 * (rho * n1 + tf.sqrt(1.0 - tf.square(rho)) * n2)
    return tf.stack([dx, dy, tf.cast(noise[:, 1] < m.eos, tf.float32)], axis=-1)
