"""The network of the post: recurrent layers, the density of the next pen point, its loss, and
samples.

Sources: D. Ha, "Handwriting Generation Demo in TensorFlow" (2015), for the network and the order
of its outputs; A. Graves, "Generating Sequences With Recurrent Neural Networks" (arXiv 1308.0850),
whose equations are cited by number.

`Model.step`, one point through all layers, defines the network. Whole sequences run faster by
other means that tests hold equal to it: on a CPU the loop in handwriting/lstm.py, on a GPU the
Keras layers (cuDNN).

A network with an alphabet writes a text: a soft window over its characters, moved by the first
layer, tells all layers what is to be written (Graves, section 5.1).

Axes: B batch, T time, M mixture components, H units in a layer, U characters of a text, V symbols
of the alphabet, K components of the window. A hat marks what the network puts out before it is
transformed. All in scaled units (pen units / data_scale) unless a docstring says otherwise.
"""

import math
from typing import NamedTuple

from handwriting.backend import compiled, keras, tf
from handwriting.text import num_symbols
from utils import START

import numpy as np

LAYERS = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
SIGMA_MIN = 0.288  # pen units: 1 / sqrt(12), the standard deviation of rounding to pen units
LOG_SIGMA_MIN = -8.1  # 0.0003 scaled units, the floor where no data_scale is known
LOG_SIGMA_MAX = 80.0
RHO_HAT_MAX = 8.0  # keeps 1 - rho^2 above 4e-7
LOGIT_MAX = 1e4  # of Z_0 and pi_hat
DISTANCE_MAX = 1e9  # from a mean to a point, per axis: its square over sigma^2 stays within float32
WINDOW = 10  # components of the window, K
PACE = 0.047  # characters a point, at which an untrained window moves: 21 points a character
BIAS = 2.0  # at which texts are drawn where none is given: what reads best
CHUNK = 100  # points drawn by one call of the compiled sampling loop
GROUP = 16  # samples in one sampling loop; more samples run as several loops at once


class Mixture(NamedTuple):
    """The density of a point: M bivariate normals and a Bernoulli end of stroke (eq. 16)."""

    pi: tf.Tensor  # [..., M] weights, they sum to 1
    mu1: tf.Tensor  # [..., M] mean of dx
    mu2: tf.Tensor  # [..., M] mean of dy
    sigma1: tf.Tensor  # [..., M] standard deviation of dx
    sigma2: tf.Tensor  # [..., M] standard deviation of dy
    rho: tf.Tensor  # [..., M] correlation of dx and dy
    eos: tf.Tensor  # [...] probability that the point ends a stroke


class LSTMState(NamedTuple):
    """The state of an lstm layer."""

    h: tf.Tensor  # [B, H] output
    c: tf.Tensor  # [B, H] memory cell


class RNNState(NamedTuple):
    """The state of an rnn or gru layer."""

    h: tf.Tensor  # [B, H] output


class WindowState(NamedTuple):
    """The state of the window over the characters."""

    w: tf.Tensor  # [B, V] the symbols that it sees, weighted
    kappa: tf.Tensor  # [B, K] its components' positions, in characters


# ------------------------------------------------------------------------------- mixture density


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

    bias >= 0: likely components become likelier, standard deviations exp(bias) times smaller (eq.
    61, 62).
    """
    eos_hat, pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = split_outputs(z_hat, log_sigma_min)
    pi = tf.nn.softmax(pi_hat * (1.0 + bias))
    sigma1, sigma2 = tf.exp(sigma1_hat - bias), tf.exp(sigma2_hat - bias)
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
    """negative_log_likelihood [...], compiled together with its gradient, once for each shape."""
    nll, gradient = nll_and_gradient(z_hat, target, log_sigma_min)
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


def draw_noise(sess, num, rows):
    """The noise [num, rows, 4] of `sample_point` for so many points, by a tf.random.Generator.

    By a key that it draws, since its streams for seeds that follow each other are one stream,
    moved by four numbers: rows would come again.
    """
    keys = tf.unstack(sess.uniform_full_int([2, 2], tf.int32))
    shape = [num, rows, 2]
    draw = (tf.random.stateless_uniform, tf.random.stateless_normal)
    return tf.concat([f(shape, key) for f, key in zip(draw, keys, strict=True)], axis=2)


# ------------------------------------------------------------------- one point through one layer


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
    else 0. norm [2, 5, H]: gains and offsets of layer normalisation (Ba, Kiros and Hinton, arXiv
    1607.06450, eq. 20 to 22): each z, and the c' inside tanh, is normalised over the layer's
    units, multiplied by its gain and moved by its offset.
    """
    i, f, g, o = z
    if norm is not None:
        (gain, offset), z = tf.unstack(norm), tf.stack([i, f, g, o])
        i, f, g, o = tf.unstack(normalise(z) * gain[:4, None] + offset[:4, None])
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


# ------------------------------------------------------------------------------------- the model


class Model:
    """The network: recurrent layers with dropout on each one's output, and 1 + 6 M outputs.

    args: the flags of train.py, or config.json, as attributes. `infer`: no dropout, products in
    float32. skip: the points go into every layer, and every layer into the output (Graves, figure
    1). polar: each move's direction and log length go in beside it (`polar_inputs`). alphabet: the
    characters that it writes, for lstm layers; the empty string for a network without text. With
    text it has one output more, the last: the logit that the line ends with this point. Raises
    ValueError for an unknown kind of layer.
    """

    def __init__(self, args, infer=False):
        if args.model not in LAYERS:
            raise ValueError(f"model is {args.model!r}; allowed are {', '.join(LAYERS)}")
        self.kind, self.units, self.num_mixture = args.model, args.rnn_size, args.num_mixture
        self.skip, self.polar, self.alphabet = args.skip, args.polar, args.alphabet
        self.num_outputs = 1 + 6 * args.num_mixture  # of the density
        self.data_scale, self.keep_prob = args.data_scale, 1.0 if infer else args.keep_prob
        self.log_sigma_min = math.log(SIGMA_MIN / args.data_scale)
        self.on_gpu = bool(tf.config.list_logical_devices("GPU"))
        fast = self.kind == "lstm" and args.precision == "bfloat16" and not infer
        self.product_type = tf.bfloat16 if fast else tf.float32

        num_inputs = 6 if args.polar else 3
        above = args.rnn_size + num_inputs * args.skip
        sizes = [num_inputs] + [above] * (args.num_layers - 1)
        seeds = np.random.SeedSequence(args.seed).generate_state(2 * args.num_layers + 1).tolist()
        self.layers = [
            self.make_layer(k, size, *seeds[2 * k : 2 * k + 2]) for k, size in enumerate(sizes)
        ]
        self.output = keras.layers.Dense(
            self.num_outputs, name="output", dtype="float32",
            kernel_initializer=keras.initializers.GlorotUniform(seeds[-1]),
        )
        self.output.build((None, args.rnn_size * (args.num_layers if args.skip else 1)))
        self.extras = [self.make_extras(k, args) for k in range(args.num_layers)]
        self.window = self.make_window(args) if args.alphabet else {}

    def make_layer(self, k, size, *seeds):
        """Keras layer k, which reads `size` numbers a point: it holds weights, and runs on GPUs."""
        layer = LAYERS[self.kind](
            self.units, return_sequences=True, return_state=True, name=f"layer{k}", dtype="float32",
            kernel_initializer=keras.initializers.GlorotUniform(seeds[0]),
            recurrent_initializer=keras.initializers.Orthogonal(seed=seeds[1]),
        )
        layer.build((None, None, size))
        return layer

    def make_extras(self, k, args):
        """The weights by name that an lstm layer has beside Keras': peepholes and `norm`."""
        extras = {}
        if args.peephole:
            extras["peephole"] = np.zeros([3, self.units])
        if args.layer_norm:  # gains 1, offsets 0, but 1 for the forget gate
            extras["norm"] = np.zeros([2, 5, self.units])
            extras["norm"][0], extras["norm"][1, 1] = 1.0, 1.0
        return {
            name: keras.Variable(value, dtype="float32", name=f"layer{k}_{name}")
            for name, value in extras.items()
        }

    def make_window(self, args):
        """The weights by name of all that a text needs; those of its outputs are 0 at first."""
        rng, symbols = np.random.default_rng([args.seed, 1]), num_symbols(args.alphabet)
        k, pace = np.zeros(WINDOW), math.log(PACE / 2 / (1 - PACE / 2))
        bias = np.concatenate([k, np.linspace(-2.5, 1, WINDOW), k + pace])
        weights = {
            f"layers.{k}.window_kernel": 0.02 * rng.standard_normal([symbols, 4 * self.units])
            for k in range(args.num_layers)
        }
        weights["window.kernel"] = 0.05 * rng.standard_normal([self.units, 3 * WINDOW])
        weights["window.bias"] = bias
        weights["output.window_kernel"] = np.zeros([symbols, self.num_outputs])
        weights["end.kernel"] = np.zeros([self.output.kernel.shape[0] + symbols, 1])
        weights["end.bias"] = [-3.0]
        return {
            name: keras.Variable(np.float32(value), dtype="float32", name=name.replace(".", "_"))
            for name, value in weights.items()
        }

    @property
    def variables(self):
        """All weights, name -> Keras variable, from the input up: `layers.0.kernel`, ..."""
        named = {}
        for k, (layer, extras) in enumerate(zip(self.layers, self.extras, strict=True)):
            cell = layer.cell
            owned = {name: getattr(cell, name) for name in ("kernel", "recurrent_kernel", "bias")}
            named |= {f"layers.{k}.{name}": variable for name, variable in (owned | extras).items()}
        named |= {"output.kernel": self.output.kernel, "output.bias": self.output.bias}
        return named | self.window

    def layer_weights(self):
        """For each layer its weights, name -> tensor."""
        weights = [{} for _ in self.layers]
        for name, variable in self.variables.items():
            owner, *k, part = name.split(".")
            if owner == "layers":
                weights[int(k[0])][part] = tf.convert_to_tensor(variable.value)
        return weights

    def window_weights(self):
        """The weights of `window_step`'s a_hat, name -> tensor; empty without text."""
        names = ("kernel", "bias") if self.window else ()
        return {name: tf.convert_to_tensor(self.window[f"window.{name}"].value) for name in names}

    def hidden_matrices(self):
        """The names of the large matrices inside: from a layer to itself and to the one above."""
        layers = range(len(self.layers))
        recurrent = [f"layers.{k}.recurrent_kernel" for k in layers]
        return recurrent + [f"layers.{k}.kernel" for k in layers[1:]]

    def initial_state(self, batch_size):
        """The zero state: a list with one LSTMState or RNNState per layer, [B, H] each; with text
        a WindowState behind them.
        """
        zero = tf.zeros([batch_size, self.units])
        state = LSTMState(zero, zero) if self.kind == "lstm" else RNNState(zero)
        states = [state for _ in self.layers]
        if self.window:
            w = tf.zeros([batch_size, num_symbols(self.alphabet)])
            states.append(WindowState(w, tf.zeros([batch_size, WINDOW])))
        return states

    def join(self, below, x):
        """What a layer above the first reads: the output [..., H] below, with skip the points."""
        return tf.concat([below, x], axis=-1) if self.skip else below

    def read(self, outputs):
        """z_hat [..., 1 + 6 M] from the outputs [..., H] of the last layer, or with skip of all;
        with text outputs ends with w [..., V], and z_hat with the logit that the line ends.
        """
        *outputs, w = outputs if self.window else [*outputs, None]
        h = tf.concat(outputs, axis=-1) if self.skip else outputs[-1]
        if w is None:
            return self.output(h)
        window, w = self.window, tf.concat([h, w], axis=-1)
        kernel = tf.concat([self.output.kernel, window["output.window_kernel"]], axis=0)
        kernel = tf.concat([kernel, window["end.kernel"]], axis=1)
        return tf.tensordot(w, kernel, 1) + tf.concat([self.output.bias, window["end.bias"]], 0)

    def step(self, x, states, weights=None, masks=None, chars=None):
        """One point through all layers, the definition of the network: x [B, 3], states -> z_hat,
        new states, and with text phi [B, U], where the window looks.

        weights: `layer_weights()`, from outside a loop. masks: for dropout, a bool [B, H] per
        layer. chars [B, U, V]: the text, one-hot. What its window saw one point ago goes into the
        first layer, whose output moves the window; what it sees then goes into the other layers
        and the output.
        """
        x = polar_inputs(x) if self.polar else x
        weights, masks = weights or self.layer_weights(), masks or [None] * len(self.layers)
        *states, window = states if self.window else [*states, None]
        below, new, outputs, w = x, [], [], window and window.w
        for layer, state, mask in zip(weights, states, masks, strict=True):
            new.append(layer_step(self.kind, below, layer, state, w))
            outputs.append(drop_out(new[-1].h, mask, self.keep_prob))
            below = self.join(outputs[-1], x)
            if window and len(new) == 1:
                a_hat = tf.matmul(outputs[0], self.window["window.kernel"])
                a_hat += self.window["window.bias"]
                window, phi = window_step(a_hat, window.kappa, chars)
                w = window.w
        if window:
            return self.read([*outputs, w]), [*new, window], phi
        return self.read(outputs), new

    def dropout_masks(self, num_steps, batch_size, seed):
        """For each layer a mask, bool [T, B, H], true with probability keep_prob; none if nothing
        is dropped.

        seed: int32 [2]. 16 random bits decide on each number, so keep_prob is met to 8e-6.
        """
        if self.keep_prob >= 1.0:
            return []
        threshold = tf.constant(min(max(round(self.keep_prob * 2**16), 1), 2**16 - 1), tf.uint16)
        shape = [len(self.layers), num_steps, batch_size, self.units]
        size = len(self.layers) * num_steps * batch_size * self.units
        words = tf.random.stateless_uniform([(size + 1) // 2], seed, None, None, tf.uint32)
        bits = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:size]
        return tf.unstack(tf.reshape(bits, shape) < threshold)

    def __call__(self, x, states=None, training=False, masks=(), chars=None):
        """z_hat [B, T, 1 + 6 M] and final states for the points x [B, T, 3], from `states` or from
        zero; with text z_hat has the end's logit behind it.

        training: keep what the derivative needs, and allow products in bfloat16. masks: for
        dropout, as from `dropout_masks`. chars: the text, int32 [B, U], -1 behind it. On a GPU the
        Keras layers run, since they are cuDNN's; it has no peepholes, no layer normalisation and
        no window, with which our loop runs anywhere.
        """
        x = polar_inputs(x) if self.polar else x
        states = self.initial_state(tf.shape(x)[0]) if states is None else states
        if self.kind == "lstm" and not (self.on_gpu and not any([*self.extras, self.window])):
            from handwriting.lstm import lstm_sequence

            chars = self.one_hot(chars) if self.window else None
            outputs, states = lstm_sequence(
                tf.transpose(x, [1, 0, 2]), masks, self.keep_prob, states, self.layer_weights(),
                self.product_type if training else tf.float32, self.skip, training,
                self.window_weights(), chars,
            )
            return tf.transpose(self.read(outputs), [1, 0, 2]), states
        below, new, outputs = x, [], []
        for k, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            h, *final = layer(below, initial_state=list(state))
            new.append(type(state)(*final))
            mask = tf.transpose(masks[k], [1, 0, 2]) if masks else None
            outputs.append(drop_out(h, mask, self.keep_prob))
            below = self.join(outputs[-1], x)
        return self.read(outputs), new

    def one_hot(self, chars):
        """The text, int32 [B, U], as float32 [B, U, V], with zeros where it is -1."""
        return tf.one_hot(chars, num_symbols(self.alphabet))

    def loss(self, x, y, seed=None, lengths=None, chars=None):
        """The mean nats per point (scaled units) of y [B, T, 3], each row one point ahead of x [B,
        T, 3]; see `loss_sums`.
        """
        nats, _, count = self.loss_sums(x, y, lengths, chars, seed)
        return nats / count

    def loss_sums(self, x, y, lengths=None, chars=None, seed=None):
        """Nats (scaled units) summed over the points of y, what training makes small, and how many
        points there are.

        x, y [B, T, 3]: points, and each one's next. With text, chars [B, U] as in `__call__`, and
        lengths [B]: a line's points, of which the last has no next one; what lies behind them is
        padding. Training adds the nats of the question, at each end of a stroke, whether the line
        ends. seed: int32 [2], of dropout, in training; None: no dropout.
        """
        from handwriting.lstm import split_rows

        training = seed is not None
        masks = self.dropout_masks(tf.shape(x)[1], tf.shape(x)[0], seed) if training else []
        # Compiled in training, where batches have few shapes; each shape costs a compilation.
        nll = compiled_nll if training else negative_log_likelihood
        nats, ends, counts = [], [], []
        for rows in split_rows(x.shape[0]):
            text = chars[rows] if self.window else None
            z_hat, _ = self(x[rows], None, training, [mask[:, rows] for mask in masks], text)
            losses = nll(z_hat[..., : self.num_outputs], y[rows], self.log_sigma_min)
            if self.window:
                left = lengths[rows, None] - 1 - tf.range(tf.shape(x)[1])  # points to come
                stroke_ends = tf.cast((left >= 0) & (x[rows][..., 2] > 0.5), tf.float32)
                last = tf.cast(left == 0, tf.float32)
                wrong = tf.nn.sigmoid_cross_entropy_with_logits(last, z_hat[..., -1])
                ends.append(tf.reduce_sum(stroke_ends * wrong))
                counts.append(tf.reduce_sum(tf.cast(left > 0, tf.float32)))
                losses = tf.where(left > 0, losses, 0.0)
            else:
                counts.append(tf.cast(tf.size(losses), tf.float32))
            nats.append(tf.reduce_sum(losses))
        nats = tf.add_n(nats)
        return nats, tf.add_n([nats, *ends]), tf.add_n(counts)

    # ----------------------------------------------------------------------------------- sampling

    @compiled
    def draw_chunk(self, point, states, noise, bias):
        """Draw noise.shape[0] points after `point` [B, 3] from `states` with noise [n, B, 4] and
        bias [].

        Returns points [n, B, 3], z_hat [n, B, 1 + 6 M] that each was drawn from, the last point
        and states.
        """
        weights, num = self.layer_weights(), noise.shape[0]

        def draw(t, point, states, points, z_hats):
            z_hat, states = self.step(point, states, weights)
            point = sample_point(z_hat, noise[t], bias, self.log_sigma_min)
            return t + 1, point, states, points.write(t, point), z_hats.write(t, z_hat)

        shapes = ([noise.shape[1], size] for size in (3, 1 + 6 * self.num_mixture))
        points, z_hats = (tf.TensorArray(tf.float32, num, element_shape=shape) for shape in shapes)
        _, point, states, points, z_hats = tf.while_loop(
            lambda t, *_: t < num, draw, (0, point, states, points, z_hats), maximum_iterations=num
        )
        return points.stack(), z_hats.stack(), point, states

    @tf.function(autograph=False)
    def draw_groups(self, groups, bias):
        """What draw_chunk returns for each group of samples (point, states, noise), all at once."""
        return [self.draw_chunk(*group, bias) for group in groups]

    def sample_batch(self, sess, num, batch_size, bias=0.0, style=None):
        """Draw `batch_size` samples of `num` points at once, from the zero state and the point
        START.

        sess: a tf.random.Generator. bias: as in `mixture`. style: points [n, 3] in pen units that
        every sample begins with, so that it goes on in the same hand (Graves, section 5.5).
        Returns float32 strokes [B, n + num, 3] and their Mixture, [B, n + num, M] and eos [B, n +
        num], NumPy arrays in pen units. A longer sample begins with the shorter one.
        """
        if self.alphabet:
            raise ValueError("this network writes given texts: draw with write or write_batch")
        number = -(-batch_size // GROUP)
        size = -(-batch_size // number)  # groups of one size, since each size is compiled
        padding = number * size - batch_size
        scale = np.array([self.data_scale, self.data_scale, 1.0], np.float32)
        bias = tf.constant(bias, tf.float32)
        style = np.asarray(np.zeros([0, 3]) if style is None else style, np.float32) / scale
        read = np.concatenate([[START], style]).astype(np.float32)
        states, style_z_hat = self.initial_state(1), tf.zeros([1, 0, 1 + 6 * self.num_mixture])
        if len(style):
            style_z_hat, states = self(tf.constant(read[None, :-1]))
        points = [tf.tile(read[-1:], [size, 1])] * number
        states = [tf.nest.map_structure(lambda value: tf.tile(value, [size, 1]), states)] * number
        chunks = []
        for _ in range(-(-num // CHUNK)):
            noise = tf.pad(draw_noise(sess, CHUNK, batch_size), [[0, 0], [0, padding], [0, 0]])
            groups = list(zip(points, states, tf.split(noise, number, axis=1), strict=True))
            *drawn, points, states = zip(*self.draw_groups(groups, bias), strict=True)
            chunks.append([tf.concat(part, axis=1) for part in drawn])
        drawn, z_hats = (
            tf.transpose(tf.concat(part, axis=0)[:num, :batch_size], [1, 0, 2])
            for part in zip(*chunks, strict=True)
        )
        z_hats = tf.concat([tf.tile(style_z_hat, [batch_size, 1, 1]), z_hats], axis=1)
        strokes = np.concatenate([np.tile(style, [batch_size, 1, 1]), drawn], axis=1)
        return strokes * scale, self.params(z_hats, bias)

    def params(self, z_hat, bias):
        """The Mixture of z_hat [..., 1 + 6 M], NumPy arrays in pen units."""
        m = mixture(z_hat, bias, self.log_sigma_min)
        lengths = ("mu1", "mu2", "sigma1", "sigma2")
        m = m._replace(**{name: getattr(m, name) * self.data_scale for name in lengths})
        return Mixture(*(np.asarray(value) for value in m))

    def write(self, sess, text, bias=BIAS, style=None):
        """Draw a text: [strokes, params], float32 [n, 3] and the Mixture of each point, in pen
        units.

        sess: a tf.random.Generator. bias: as in `mixture`. style: a handwriting.writing.Style, in
        whose hand it is drawn; None: in any hand.
        """
        return self.write_batch(sess, [text], bias, style)[0]

    def write_batch(self, sess, texts, bias=BIAS, style=None):
        """Draw texts at once, all in one hand: a list of [strokes, params] as `write` returns."""
        from handwriting.writing import write_lines

        lines = write_lines(self, sess, texts, bias, style)
        return [[line.strokes, line.params] for line in lines]

    def sample(self, sess, num=1200, bias=0.0, style=None):
        """Draw `num` points: [strokes, params], float32 [num, 3] and the Mixture of each, in pen
        units.

        sess: a tf.random.Generator; the same seed draws the same. bias, style: as in
        `sample_batch`; the points of style come first, in addition to num.
        """
        strokes, params = self.sample_batch(sess, num, 1, bias, style)
        return [strokes[0], Mixture(*(value[0] for value in params))]
