"""The network of the post: recurrent layers, the density of the next pen point, its loss, and drawing samples from it.

Sources: D. Ha, "Handwriting Generation Demo in TensorFlow" (2015), for the network and the order of its outputs;
A. Graves, "Generating Sequences With Recurrent Neural Networks" (arXiv 1308.0850), for the equations cited below.

Axes: B batch, T time, M mixture components, H units in a layer. A hat marks what the network puts out before it is
transformed. Everything here is in scaled units (pen units / data_scale) unless a docstring says otherwise.
"""

import contextlib
import itertools
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils import START


@contextlib.contextmanager
def quiet_stderr():
    """Keep what compiled code writes to standard error from the screen; Python's exceptions are not touched."""
    with open(os.devnull, "wb") as nothing:
        stderr = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")  # keeps freed memory for the next step: a tenth faster
with quiet_stderr():  # TensorFlow tells of its build and of drivers that it did not find, and no setting stops it
    import keras
    import tensorflow as tf

LAYERS = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
SIGMA_MIN = 0.288  # pen units, a component's least deviation in any direction: what rounding to pen units adds
LOG_SIGMA_MIN = -8.1  # of 0.0003 scaled units, below which none is, whatever is asked for
RHO_HAT_MAX = 8.0  # 1 - rho^2 stays above 4e-7
LOGIT_MAX = 1e4  # of Z_0 and pi_hat
DISTANCE_MAX = 1e9  # from a component's mean to a point, per axis; the squared deviations stay within float32
PIECES = 2  # of a sequence in training, one after the other: what the derivative needs is held for one at a time
PART_ROWS = 12  # fewest windows of a minibatch that are worth a core of their own
NORM_EPSILON = 1e-5  # beside the variance that layer normalisation divides by
TAUGHT_DRAWS = 2  # points drawn from a teacher's density for each one of the data
SCORE_BATCH = 64  # lines whose losses are computed at once
LONG = 300  # points: some published figures are those of lines at least as long
CHUNK = 100  # points drawn by one call of the compiled sampling loop
GROUP = 16  # samples drawn by it at most; more are drawn by several at once


class Mixture(NamedTuple):
    """The density of a point: M bivariate normals and a Bernoulli end of stroke (Graves, eq. 16)."""

    pi: tf.Tensor  # [..., M] weights, they sum to 1
    mu1: tf.Tensor  # [..., M] mean of dx
    mu2: tf.Tensor  # [..., M] mean of dy
    sigma1: tf.Tensor  # [..., M] standard deviation of dx
    sigma2: tf.Tensor  # [..., M] standard deviation of dy
    rho: tf.Tensor  # [..., M] correlation of dx and dy
    eos: tf.Tensor  # [...] probability that the point ends a stroke


class LSTMState(NamedTuple):
    """What an lstm layer carries from one point to the next."""

    h: tf.Tensor  # [B, H] output
    c: tf.Tensor  # [B, H] memory cell


class RNNState(NamedTuple):
    """What an rnn or gru layer carries from one point to the next."""

    h: tf.Tensor  # [B, H] output


class LSTMWeights(NamedTuple):
    """One lstm layer, gates in Keras' order i, f, g, o; D inputs."""

    w: tf.Tensor  # [D + H, 4 H] kernel over recurrent kernel
    b: tf.Tensor  # [4 H]
    p: list  # of one tensor [3, H], the peepholes of i, f, o, or of none
    n: list  # of one tensor [2, 5, H], the gains of i, f, g, o and the cell in layer normalisation and their offsets


def compiled(function):
    """The function compiled by XLA, which makes one loop of many small operations."""
    return tf.function(function, autograph=False, jit_compile=True)


# ---------------------------------------------------------------------------------------------- the mixture density


@tf.custom_gradient
def bound(value, low, high):
    """The value [...] kept from low to high, numbers or tensors [...], which have no gradient.

    Beyond a bound the value's gradient, of a loss to be made smaller, passes where it leads back, so that nothing is
    stuck there, and is 0 where it leads further away: what wins nothing would otherwise grow for ever, and with it the
    weights that it comes from.
    """

    def backward(d):
        away = ((value < low) & (d > 0.0)) | ((value > high) & (d < 0.0))
        return tf.where(away, 0.0, d), None, None

    return tf.clip_by_value(value, low, high), backward


def split_outputs(z_hat, log_sigma_min=LOG_SIGMA_MIN):
    """The parts of z_hat [..., 1 + 6 M] in the post's order: Z_0, then pi, mu1, mu2, sigma1, sigma2, rho [..., M].

    Departure: all but the means have bounds, since a density may otherwise grow without limit on a single
    point, and end in NaN. No component is narrower than s = exp(log_sigma_min) in any direction: the smaller
    eigenvalue of its covariance is at least s^2 where each deviation is at least s, and
    rho^2 <= (1 - e1) (1 - e2) with e_j = (s / sigma_j)^2. log_sigma_min: at least LOG_SIGMA_MIN, of scaled
    units; the functions below that take it hand it on to here.
    """
    eos_hat, z_hat = bound(z_hat[..., 0], -LOGIT_MAX, LOGIT_MAX), z_hat[..., 1:]
    pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = tf.split(z_hat, 6, axis=-1)
    pi_hat = bound(pi_hat, -LOGIT_MAX, LOGIT_MAX)
    sigma1_hat, sigma2_hat = (bound(s, log_sigma_min, 80.0) for s in (sigma1_hat, sigma2_hat))
    e1, e2 = (tf.exp(2.0 * (log_sigma_min - s)) for s in (sigma1_hat, sigma2_hat))
    # artanh r = ln(1 + r) - 1/2 ln(1 - r^2), without the difference 1 - r^2, which float32 loses near r = 1
    most = tf.math.log1p(tf.sqrt((1.0 - e1) * (1.0 - e2))) - 0.5 * tf.math.log(e1 + e2 - e1 * e2)
    most = tf.minimum(most, RHO_HAT_MAX)
    rho_hat = bound(rho_hat, -most, most)
    return eos_hat, pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat


def mixture(z_hat, bias=0.0, log_sigma_min=LOG_SIGMA_MIN):
    """The Mixture that the outputs z_hat [..., 1 + 6 M] stand for (Graves, eq. 18 to 22; eos with the post's sign).

    bias: of at least 0; likely components become likelier and deviations exp(bias) times smaller (eq. 61 and 62).
    """
    eos_hat, pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = split_outputs(z_hat, log_sigma_min)
    pi, sigma1, sigma2 = tf.nn.softmax(pi_hat * (1.0 + bias)), tf.exp(sigma1_hat - bias), tf.exp(sigma2_hat - bias)
    return Mixture(pi, mu1, mu2, sigma1, sigma2, tf.tanh(rho_hat), tf.sigmoid(-eos_hat))


def mean_move(z_hat):
    """The mean [..., 2] of dx and dy in the mixture of z_hat [..., 1 + 6 M]."""
    m = mixture(z_hat)
    return tf.stack([tf.reduce_sum(m.pi * m.mu1, axis=-1), tf.reduce_sum(m.pi * m.mu2, axis=-1)], axis=-1)


def negative_log_likelihood(z_hat, target, log_sigma_min=LOG_SIGMA_MIN):
    """Nats per point [...] of target [..., 3] under z_hat [..., 1 + 6 M] (Graves, eq. 26), in logarithms throughout.

    With u_j = (x_j - mu_j) / sigma_j, eq. 24 and 25 give the logarithm of a component:
    -1/2 ((u1 - rho u2)^2 / (1 - rho^2) + u2^2) - ln(2 pi sigma1 sigma2) - 1/2 ln(1 - rho^2).
    """
    eos_hat, pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = split_outputs(z_hat, log_sigma_min)
    dx, dy, eos = (target[..., k] for k in range(3))
    u1 = bound(dx[..., None] - mu1, -DISTANCE_MAX, DISTANCE_MAX) * tf.exp(-sigma1_hat)
    u2 = bound(dy[..., None] - mu2, -DISTANCE_MAX, DISTANCE_MAX) * tf.exp(-sigma2_hat)
    # 1 - tanh(z)^2 in its own formula: in float32, tanh is 1 from about 9 on.
    size = tf.abs(rho_hat)
    log_1_rho2 = 2.0 * (math.log(2.0) - size - tf.math.log1p(tf.exp(-2.0 * size)))
    quadratic = tf.square(u1 - tf.tanh(rho_hat) * u2) * tf.exp(-log_1_rho2) + tf.square(u2)
    log_normal = -0.5 * (quadratic + log_1_rho2) - sigma1_hat - sigma2_hat - math.log(2.0 * math.pi)
    log_density = tf.reduce_logsumexp(tf.nn.log_softmax(pi_hat) + log_normal, axis=-1)
    return tf.nn.softplus((2.0 * eos - 1.0) * eos_hat) - log_density  # -ln eos, or -ln(1 - eos) where eos is 0


@compiled
def nll_and_slope(z_hat, target, log_sigma_min):
    """negative_log_likelihood [...] and its derivative by z_hat [..., 1 + 6 M]."""
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        nll = negative_log_likelihood(z_hat, target, log_sigma_min)
    return nll, tape.gradient(nll, z_hat)


@tf.custom_gradient
def compiled_nll(z_hat, target, log_sigma_min):
    """negative_log_likelihood [...], compiled for each shape with its derivative; nothing else is kept for that."""
    nll, slope = nll_and_slope(z_hat, target, log_sigma_min)
    return nll, lambda d_nll: (d_nll[..., None] * slope, None, None)


def sample_point(z_hat, noise, bias=0.0, log_sigma_min=LOG_SIGMA_MIN):
    """A point [B, 3] drawn from z_hat [B, 1 + 6 M] with noise [B, 4]: two uniform numbers and two standard normals."""
    m = mixture(z_hat, bias, log_sigma_min)
    below = tf.cast(tf.cumsum(m.pi, axis=-1)[:, :-1] < noise[:, :1], tf.int32)
    chosen = tf.one_hot(tf.reduce_sum(below, axis=-1), m.pi.shape[-1])
    mu1, mu2, sigma1, sigma2, rho = (tf.reduce_sum(chosen * value, axis=-1) for value in m[1:6])
    n1, n2 = noise[:, 2], noise[:, 3]
    dx = mu1 + sigma1 * n1
    dy = mu2 + sigma2 * (rho * n1 + tf.sqrt(1.0 - tf.square(rho)) * n2)
    return tf.stack([dx, dy, tf.cast(noise[:, 1] < m.eos, tf.float32)], axis=-1)


# --------------------------------------------------------------------------------------------- one point in one layer


def polar_inputs(x):
    """The points x [..., 3] in scaled units, and behind them dx / r, dy / r and half of ln r, all [..., 6].

    r is the length of the move, and not below 0.01, a fifth of a pen unit for the usual data_scale.
    """
    move = tf.clip_by_value(x[..., :2], -DISTANCE_MAX, DISTANCE_MAX)
    r2 = tf.maximum(tf.reduce_sum(tf.square(move), axis=-1, keepdims=True), 1e-4)
    return tf.concat([x, move * tf.math.rsqrt(r2), 0.25 * tf.math.log(r2)], axis=-1)


def matmul(a, b, transpose_a=False):
    """The product in the type of b (bfloat16 runs on units of their own in recent CPUs), the result in float32."""
    return tf.cast(tf.matmul(tf.cast(a, b.dtype), b, transpose_a=transpose_a), tf.float32)


def drop_out(h, mask, keep_prob):
    """h [...] divided by keep_prob where the mask, bool [...], is true, 0 elsewhere; h where there is no mask."""
    return h if mask is None else tf.where(mask, h / keep_prob, 0.0)


def normalise(v):
    """v [..., H] less its mean, and divided by its deviation, over the units (Ba, Kiros and Hinton, eq. 4)."""
    v = v - tf.reduce_mean(v, axis=-1, keepdims=True)
    return v * tf.math.rsqrt(tf.reduce_mean(tf.square(v), axis=-1, keepdims=True) + NORM_EPSILON)


def lstm_step(z, c, p=(), n=(), g_mask=None, g_keep_prob=1.0):
    """The new LSTMState (h', c') from z [4, B, H] and the cell c [B, H]; p and n: see LSTMWeights.

    i = sigmoid(z_i + p_i c), f = sigmoid(z_f + p_f c), g = tanh(z_g), c' = f c + i g, o = sigmoid(z_o + p_o c') and
    h' = o tanh c' (Graves, eq. 7 to 11). What goes into the cell drops out by g_mask, bool [B, H], what is in it stays
    (Semeniuta, Severyn and Barth, "Recurrent Dropout without Memory Loss", arXiv 1603.05118): c' = f c + i drop_out(g).
    With n, the z of each gate, and the c' inside tanh, are first normalised over the layer's units, multiplied by a
    gain and moved by an offset each (J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer Normalization", arXiv 1607.06450,
    eq. 20 to 22, but that all that goes into a gate is one sum).
    """
    z = tf.cast(z, tf.float32)
    if n:
        gain, offset = tf.unstack(*n)
        z = normalise(z) * gain[:4, None] + offset[:4, None]
    i, f, g, o = tf.unstack(z)
    if p:
        i, f = i + p[0][0] * c, f + p[0][1] * c
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * drop_out(tf.tanh(g), g_mask, g_keep_prob)
    o = tf.sigmoid(o + p[0][2] * c if p else o)
    return LSTMState(o * tf.tanh(normalise(c) * gain[4] + offset[4] if n else c), c)


@compiled
def lstm_cell(z, c, p=(), n=(), mask=None, keep_prob=1.0, g_mask=None, g_keep_prob=1.0):
    """What lstm_step returns, and its h after dropout by the mask, bool [B, H]."""
    state = lstm_step(z, c, p, n, g_mask, g_keep_prob)
    return state, drop_out(state.h, mask, keep_prob)


@compiled
def lstm_cell_backward(z, c, p, n, mask, keep_prob, d_xh, d_above, dc, g_mask=None, g_keep_prob=1.0):
    """The derivative of lstm_cell: dz [B, 4 H] in the type of z, dc of the cell before, and [dp, dn], lists as p and n.

    The output went into several products, and dh = d_xh + m sum(d_above) with m what drops out: d_xh [B, .. + H] of the
    layer's own next xh, d_above a list of [B, H + ..], of the xh of the layer above and of what the network puts out.
    """
    units, product_type = c.shape[1], z.dtype
    d_above = tf.add_n([tf.cast(d[:, :units], tf.float32) for d in d_above])
    dh = tf.cast(d_xh[:, -units:], tf.float32) + drop_out(d_above, mask, keep_prob)
    z = tf.cast(z, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([z, c, p, n])
        state = lstm_step(z, c, p, n, g_mask, g_keep_prob)
    dz, dc, *d_vectors = tape.gradient(state, [z, c, p, n], LSTMState(dh, dc))
    return tf.cast(tf.concat(tf.unstack(dz), axis=1), product_type), dc, d_vectors


def gru_step(x, layer, h):
    """One point in a Keras GRU layer: x [B, D], h [B, H] -> [B, H]."""
    bias_x, bias_h = tf.unstack(layer.cell.bias.value)
    xz, xr, xg = tf.split(tf.matmul(x, layer.cell.kernel.value) + bias_x, 3, axis=1)
    hz, hr, hg = tf.split(tf.matmul(h, layer.cell.recurrent_kernel.value) + bias_h, 3, axis=1)
    z, r = tf.sigmoid(xz + hz), tf.sigmoid(xr + hr)
    return z * h + (1.0 - z) * tf.tanh(xg + r * hg)


def rnn_step(x, layer, h):
    """One point in a Keras SimpleRNN layer: x [B, D], h [B, H] -> [B, H]."""
    cell = layer.cell
    return tf.tanh(tf.matmul(x, cell.kernel.value) + tf.matmul(h, cell.recurrent_kernel.value) + cell.bias.value)


# ---------------------------------------------------------------------------- a whole sequence, derivative by hand


def lstm_sequence(x, masks, keep_prob, states, layers, product_type=tf.float32, skip=False, g_masks=(),
                  g_keep_prob=1.0):
    """All lstm layers over a whole sequence as one loop over time, with its derivative written by hand.

    x [T, B, D] input; masks: bool [T, B, H] of what is kept of each layer's output, or an empty list; states: a list
    of LSTMState; layers: a list of LSTMWeights; product_type: the type of the factors of products; skip: every layer
    above the first reads x, too, behind the output of the layer below; g_masks: like masks, of each layer's gate g.
    Returns the last layer's output [T, B, H] after dropout, or with skip those of all layers side by side, and the
    list of final states, all float32.

    Forward, at point t in each layer: xh = [x, h, 1] with x the output of the layer below after dropout and h the
    layer's own last one, z = xh w with b as the last row of w, and lstm_cell. Backward, from the last point to the
    first: dz from lstm_cell_backward, then d[x, h] = dz w^T. What makes it fast on a CPU: input, last output and bias
    share one product; what lies between two products is one compiled function, forward and backward; the gradient of
    a weight is not added up inside the loop, since dw, the sum over t of xh^T dz, is one large product of all xh
    [T B, D + H + 1] and all dz [T B, 4 H] after it (those of p and n are small, and added up); and the loop keeps
    references to what the derivative needs (TensorArray), no copies, and only xh, z and c of each point, from which the
    gates are found again.
    """
    num_layers, num_steps, inputs, units = len(layers), tf.shape(x)[0], x.shape[2], states[0].h.shape[1]
    read = range(num_layers) if skip else [num_layers - 1]  # by the network's output
    widths = [inputs] + [units + inputs if skip else units] * (num_layers - 1)  # of what comes in from below
    structure = (x, list(masks), list(g_masks), list(states), layers)

    def array(width=units, dtype=tf.float32, gates=()):
        return tf.TensorArray(dtype, num_steps, element_shape=[*gates, x.shape[1], width], clear_after_read=False)

    @tf.custom_gradient
    def run(*tensors):
        x, masks, g_masks, states, layers = tf.nest.pack_sequence_as(structure, tensors)
        vectors = [more for _, _, *more in layers]  # [p, n] of each
        layers = [tf.cast(tf.concat([w, b[None]], axis=0), product_type) for w, b, *_ in layers]
        by_gate = [tf.transpose(tf.reshape(wb, [-1, 4, units]), [1, 0, 2]) for wb in layers]
        one = tf.ones([tf.shape(x)[1], 1])
        kept, g_kept = ([array(dtype=tf.bool).unstack(mask) for mask in some] for some in (masks, g_masks))
        xs = array(inputs).unstack(x)

        def drops(k, t):
            return [kept[k].read(t) if kept else None, keep_prob], [g_kept[k].read(t) if g_kept else None, g_keep_prob]

        def step(t, states, out, saved):
            states, saved, outputs, below = list(states), list(saved), [], [xs.read(t)]
            for k in range(num_layers):
                c, xh = states[k].c, tf.cast(tf.concat([*below, states[k].h, one], axis=1), product_type)
                z = tf.matmul(xh[None], by_gate[k])  # [4, B, H]: a gate each, to take one of them copies nothing
                drop, drop_g = drops(k, t)
                states[k], output = lstm_cell(z, c, *vectors[k], *drop, *drop_g)
                saved[k] = [a.write(t, value) for a, value in zip(saved[k], (xh, z, c), strict=True)]
                outputs.append(output)
                below = [output, below[-1]] if skip else [output]
            return t + 1, states, out.write(t, tf.concat([outputs[k] for k in read], axis=1)), saved

        saved = [[array(width + units + 1, product_type), array(units, product_type, [4]), array()]
                 for width in widths]
        _, finals, out, saved = tf.while_loop(lambda t, *_: t < num_steps, step,
                                              (0, states, array(units * len(read)), saved),
                                              maximum_iterations=num_steps)

        def backward(d_out, *d_finals):
            d_outs = {k: array().unstack(d) for k, d in zip(read, tf.split(d_out, len(read), axis=2), strict=True)}
            # [k]: from dz of layer k to its xh; the lowest layer's input waits until after the loop.
            w_turned = [tf.transpose(wb[0 if k else inputs:-1]) for k, wb in enumerate(layers)]

            def step_back(t, d_xhs, dcs, dzs, d_vectors):
                d_xhs, dcs, dzs, d_vectors, d_above = list(d_xhs), list(dcs), list(dzs), list(d_vectors), []
                for k in reversed(range(num_layers)):
                    d_above += [d_outs[k].read(t)] if k in d_outs else []
                    (drop, drop_g), (z, c) = drops(k, t), (a.read(t) for a in saved[k][1:])
                    dz, dcs[k], d_now = lstm_cell_backward(z, c, *vectors[k], *drop, d_xhs[k], d_above, dcs[k],
                                                           *drop_g)
                    d_vectors[k] = tf.nest.map_structure(tf.add, d_vectors[k], d_now)
                    dzs[k] = dzs[k].write(t, dz)
                    d_xhs[k] = tf.matmul(dz, w_turned[k])
                    d_above = [d_xhs[k]]
                return t - 1, d_xhs, dcs, dzs, d_vectors

            d_finals = tf.nest.pack_sequence_as(list(states), d_finals)
            d_xhs = [tf.pad(tf.cast(d.h, product_type), [[0, 0], [width if k else 0, 0]])
                     for k, (d, width) in enumerate(zip(d_finals, widths, strict=True))]
            dzs = [array(4 * units, product_type) for _ in layers]
            dcs, d_vectors = [d.c for d in d_finals], tf.nest.map_structure(tf.zeros_like, vectors)
            _, d_xhs, dcs, dzs, d_vectors = tf.while_loop(lambda t, *_: t >= 0, step_back,
                                                          (num_steps - 1, d_xhs, dcs, dzs, d_vectors),
                                                          maximum_iterations=num_steps)
            d_layers, dzs = [], [array.concat() for array in dzs]
            for (xh, *_), dz, d_more in zip(saved, dzs, d_vectors, strict=True):
                d_wb = matmul(xh.concat(), dz, transpose_a=True)
                d_layers.append([d_wb[:-1], d_wb[-1], *d_more])
            # x is the first layer's whole input, and with skip the end of that of the others.
            d_x = tf.add_n([matmul(dz, tf.transpose(wb[width - inputs:width])) for dz, wb, width
                            in zip(dzs, layers if skip else layers[:1], widths, strict=False)])
            d_states = [LSTMState(tf.cast(d_xh[:, -units:], tf.float32), dc)
                        for d_xh, dc in zip(d_xhs, dcs, strict=True)]
            no_d_masks = [None for _ in [*masks, *g_masks]]
            return [tf.reshape(d_x, tf.shape(x)), *no_d_masks, *tf.nest.flatten((d_states, d_layers))]

        return (out.stack(), *tf.nest.flatten(finals)), backward

    out, *finals = run(*tf.nest.flatten(structure))
    return out, tf.nest.pack_sequence_as(list(states), finals)


# ---------------------------------------------------------------------------------------------------------- the model


def cpu_has_bfloat16():
    """Whether this CPU multiplies matrices of bfloat16 in units of their own (Linux tells; elsewhere: no)."""
    try:
        return bool({"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False


def set_threads(batch_size):
    """Let TensorFlow work on as many parts of a minibatch at once as there are cores; see `parts`.

    Cores share the product of few rows and a weight matrix badly: a step is a tenth faster where each of two works on
    half of the rows alone, with a thread for each operation. Call it before TensorFlow's first operation; later, or
    where the minibatch is too small to part, it changes nothing.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    number = min(cores, batch_size // PART_ROWS)
    if number > 1 and not tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # what TensorFlow raises when it is at work already
            tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // number))
            tf.config.threading.set_inter_op_parallelism_threads(number)


def parts(*tensors):
    """The tensors [B, ...] in parts of nearly the same size, a list of tuples, as many as set_threads provided for.

    But where B is known, none has fewer than PART_ROWS rows, whatever the threads were set for.
    Operations on different parts do not wait for each other, so TensorFlow runs them at the same time.
    """
    size = tensors[0].shape[0] or tf.shape(tensors[0])[0]
    number = tf.config.threading.get_inter_op_parallelism_threads()  # 0 where nothing was set
    number = max(1, min(number, size // PART_ROWS if isinstance(size, int) else number))
    edges = [size * k // number for k in range(number + 1)]
    return [tuple(tensor[start:end] for tensor in tensors) for start, end in itertools.pairwise(edges)]


def input_sizes(args):
    """How many numbers each layer of Model(args) reads beside its own last output, a list, and how many the output."""
    units, skip, point = args.rnn_size, getattr(args, "skip", False), 6 if getattr(args, "polar", False) else 3
    return [point] + [units + point * skip] * (args.num_layers - 1), units * (args.num_layers if skip else 1)


def shapes(args):
    """The shapes of all that a checkpoint of Model(args) holds: its weights and its generator's state. Makes nothing.

    In the order of `trainable_variables`, then the generator's.
    """
    units, (sizes, output_size), puts_out = args.rnn_size, input_sizes(args), 1 + 6 * args.num_mixture
    width = {"rnn": 1, "gru": 3, "lstm": 4}[args.model] * units
    found = []
    for size in sizes:
        found += [[size, width], [units, width], [2, width] if args.model == "gru" else [width]]
    found += [[output_size, puts_out], [puts_out]]
    has_peephole, has_norm = (args.model == "lstm" and getattr(args, name, False)
                              for name in ("peephole", "layer_norm"))
    found += [[3, units] for _ in sizes if has_peephole]
    return found + [[2, 5, units] for _ in sizes if has_norm] + [[3]]


def training_bytes(args):
    """A number of bytes that no training with these flags of train.py gets by with; it takes a few times as many.

    That is, in float32: the weights, their gradient and two moments, and of each point of a minibatch the outputs with
    their derivative and all layers' outputs. The latter are left out where there is a GPU with memory of its own.
    """
    weights = sum(math.prod(shape) for shape in shapes(args))
    point = 2 * (1 + 6 * args.num_mixture) + args.num_layers * args.rnn_size
    points = 0 if tf.config.list_physical_devices("GPU") else args.batch_size * args.seq_length
    return 4 * (4 * weights + point * points)


class Model(tf.Module):
    """The network: `num_layers` recurrent layers of `rnn_size` units, dropout on each one's output, 1 + 6 M outputs.

    args: the flags of train.py (or config.json) as attributes: model, rnn_size, num_layers, num_mixture, keep_prob,
    data_scale, and, where given, recurrent_keep_prob, peephole, layer_norm, skip, polar, taught_share, sigma_min, seed,
    precision.
    infer: never drop out. recurrent_keep_prob: of the gate g in lstm layers; see lstm_step. skip: the points go into
    every layer and every layer into the output (Graves, figure 1). polar: what goes in is polar_inputs of the points.
    taught_share: see loss. sigma_min: the least deviation of a component in any direction, in pen units;
    `log_sigma_min` is its logarithm in scaled units. Weights lie in Keras layers (`layers`, `output`), peepholes [3, H]
    (of i, f, o) in `peepholes`, with layer_norm gains and offsets [2, 5, H] in `norms` (see LSTMWeights). Raises
    ValueError for an unknown kind of layer.
    """

    def __init__(self, args, infer=False):
        super().__init__(name="model")
        if args.model not in LAYERS:
            raise ValueError(f"model is {args.model!r}; allowed are {', '.join(LAYERS)}")
        self.kind, self.units, self.num_mixture = args.model, args.rnn_size, args.num_mixture
        self.data_scale, self.keep_prob = args.data_scale, 1.0 if infer else args.keep_prob
        self.recurrent_keep_prob = 1.0 if infer else getattr(args, "recurrent_keep_prob", 1.0)
        self.taught_share = getattr(args, "taught_share", 0.75)
        sigma_min = getattr(args, "sigma_min", SIGMA_MIN) / self.data_scale
        self.log_sigma_min = math.log(max(sigma_min, math.exp(LOG_SIGMA_MIN)))
        seed = getattr(args, "seed", None)
        seeds = iter(np.random.SeedSequence(seed).generate_state(2 * args.num_layers + 2).tolist())
        self.skip, self.polar = getattr(args, "skip", False), getattr(args, "polar", False)
        sizes, output_size = input_sizes(args)
        self.layers = []
        for size in sizes:
            layer = LAYERS[self.kind](
                self.units,
                return_sequences=True,
                return_state=True,
                kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            )
            layer.build((None, None, size))
            self.layers.append(layer)
        initializer = keras.initializers.GlorotUniform(next(seeds))
        self.output = keras.layers.Dense(1 + 6 * self.num_mixture, kernel_initializer=initializer)
        self.output.build((None, output_size))
        has_peephole, has_norm = (self.kind == "lstm" and getattr(args, name, False)
                                  for name in ("peephole", "layer_norm"))
        self.peepholes = [tf.Variable(tf.zeros([3, self.units]), name="peephole") for _ in sizes if has_peephole]
        norm = tf.constant([[1.0] * 5, [0.0, 1.0, 0.0, 0.0, 0.0]])[..., None]  # gains 1, of the forget gate's offset 1
        self.norms = [tf.Variable(tf.tile(norm, [1, 1, self.units]), name="norm") for _ in sizes if has_norm]
        self.generator = tf.random.Generator.from_seed(next(seeds))  # of the dropout masks
        self.on_gpu = bool(tf.config.list_logical_devices("GPU"))
        precision = getattr(args, "precision", "float32")
        fast = precision == "bfloat16" or (precision == "auto" and not self.on_gpu and cpu_has_bfloat16())
        self.product_type = tf.bfloat16 if fast and self.kind == "lstm" else tf.float32

    @property
    def trainable_variables(self):
        """All weights, layer by layer from the input up, the output's kernel and bias, peepholes, gains and offsets."""
        owned = [v.value for layer in [*self.layers, self.output] for v in layer.trainable_variables]
        return owned + list(self.peepholes) + list(self.norms)

    def hidden_matrices(self):
        """The large matrices inside the network: of what comes in from a layer below, and of its own last output."""
        kernels = [layer.cell.kernel.value for layer in self.layers[1:]]
        return kernels + [layer.cell.recurrent_kernel.value for layer in self.layers]

    def initial_state(self, batch_size):
        """The zero state: a list with one LSTMState or RNNState per layer, [B, H] each."""
        zero = tf.zeros([batch_size, self.units])
        return [LSTMState(zero, zero) if self.kind == "lstm" else RNNState(zero) for _ in self.layers]

    def lstm_weights(self):
        """The lstm layers' weights as a list of LSTMWeights, float32."""
        peepholes, norms = ([[v.value()] for v in some] or [[]] * len(self.layers)
                            for some in (self.peepholes, self.norms))
        cells = [layer.cell for layer in self.layers]
        return [
            LSTMWeights(tf.concat([cell.kernel.value, cell.recurrent_kernel.value], 0), cell.bias.value.value(), p, n)
            for cell, p, n in zip(cells, peepholes, norms, strict=True)
        ]

    def dropout_masks(self, num_steps, batch_size, keep_prob):
        """One mask, bool [T, B, H], per layer, true with probability keep_prob; none if nothing drops.

        16 random bits decide on each number, half of what a uniform float takes; keep_prob is met to 8e-6.
        """
        if keep_prob >= 1.0:
            return []
        kept = tf.constant(min(max(round(keep_prob * 2**16), 1), 2**16 - 1), tf.uint16)
        shape, masks = [num_steps, batch_size, self.units], []
        size = num_steps * batch_size * self.units
        for _ in self.layers:
            words = self.generator.uniform_full_int([(size + 1) // 2], tf.uint32)
            bits = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:size], shape)
            masks.append(bits < kept)
        return masks

    def step(self, x, states, weights=None):
        """One point through all layers, no dropout: x [B, 3], states -> what the output reads, and the new states.

        That is the last layer's output [B, H], or with skip those of all layers, [B, num_layers H]. weights: what
        lstm_weights() returns, where a loop around this call has them at hand already.
        """
        x = polar_inputs(x) if self.polar else x
        new, below = [], x
        weights = weights or (self.lstm_weights() if self.kind == "lstm" else self.layers)
        for layer, state in zip(weights, states, strict=True):
            if self.kind == "lstm":
                z = tf.matmul(tf.concat([below, state.h], axis=1), layer.w) + layer.b
                new.append(lstm_cell(tf.stack(tf.split(z, 4, axis=1)), state.c, layer.p, layer.n)[0])
            else:
                new.append(RNNState((gru_step if self.kind == "gru" else rnn_step)(below, layer, state.h)))
            below = self.join(new[-1].h, x)
        return self.read([state.h for state in new]), new

    def join(self, below, x):
        """What a layer above the first reads: the output [..., H] of the layer below, and with skip the points."""
        return tf.concat([below, x], axis=-1) if self.skip else below

    def read(self, outputs):
        """What the network's output reads of the outputs [..., H] of all layers: the last, or with skip all."""
        return tf.concat(outputs, axis=-1) if self.skip else outputs[-1]

    def __call__(self, x, states=None, training=False):
        """Outputs z_hat [B, T, 1 + 6 M] and final states for the points x [B, T, 3], from `states` or from zero.

        training: drop out, and use the loop whose derivative is written by hand (lstm on a CPU; `precision` bfloat16
        holds for its products alone). On a GPU the Keras layers run, since they pick cuDNN; but they have no peepholes,
        layer normalisation or dropout of g, with which the loop runs anywhere.
        """
        x = polar_inputs(x) if self.polar else x
        states = self.initial_state(tf.shape(x)[0]) if states is None else states
        masks, g_masks = (self.dropout_masks(tf.shape(x)[1], tf.shape(x)[0], keep_prob) if training else []
                          for keep_prob in (self.keep_prob, self.recurrent_keep_prob))
        if self.peepholes or self.norms or g_masks or (self.kind == "lstm" and training and not self.on_gpu):
            product_type, pieces = (self.product_type, PIECES) if training else (tf.float32, 1)
            pieces = min(pieces, x.shape[1] or pieces)
            weights, x, z_hats = self.lstm_weights(), tf.transpose(x, [1, 0, 2]), []
            edges = [tf.shape(x)[0] * k // pieces for k in range(pieces + 1)]
            for start, end in itertools.pairwise(edges):
                part, g_part = ([mask[start:end] for mask in some] for some in (masks, g_masks))
                h, states = lstm_sequence(x[start:end], part, self.keep_prob, states, weights, product_type,
                                          self.skip, g_part, self.recurrent_keep_prob)
                z_hats.append(self.output(h))
            return tf.transpose(tf.concat(z_hats, axis=0), [1, 0, 2]), states
        below, before, states, outputs = x, states, [], []
        for k, layer in enumerate(self.layers):
            h, *state = layer(below, initial_state=list(before[k]))
            states.append(type(before[k])(*state))
            outputs.append(drop_out(h, tf.transpose(masks[k], [1, 0, 2]), self.keep_prob) if masks else h)
            below = self.join(outputs[-1], x)
        return self.output(self.read(outputs)), states

    def loss(self, x, y, training=False, taught=()):
        """The mean nats per point (scaled units) of y [B, T, 3], each row one point ahead of x [B, T, 3].

        taught: what draw_taught returns for x and y; if any, their mean makes taught_share of the loss, and y the rest.
        """
        shares = [1.0 - self.taught_share] + [self.taught_share / len(taught)] * len(taught) if taught else [1.0]
        # Compiled in training, where all minibatches have one shape; each further shape would cost a compilation.
        nll = compiled_nll if training else negative_log_likelihood
        sums = []
        for part_x, *targets in parts(x, y, *taught):
            z_hat, _ = self(part_x, training=training)
            sums += [share * tf.reduce_sum(nll(z_hat, target, self.log_sigma_min))
                     for share, target in zip(shares, targets, strict=True)]
        return tf.add_n(sums) / tf.cast(tf.size(y[..., 0]), tf.float32)

    # ------------------------------------------------------------------------------------------------------ drawing

    @compiled
    def draw_chunk(self, point, states, noise, bias):
        """CHUNK points after `point` [B, 3] from `states` with noise [CHUNK, B, 4] and bias [], compiled as one loop.

        Returns points [CHUNK, B, 3], z_hat [CHUNK, B, 1 + 6 M] that each was drawn from, the last point and states.
        """
        weights = self.lstm_weights() if self.kind == "lstm" else self.layers
        w, b = (v.value.value() for v in (self.output.kernel, self.output.bias))
        steps = noise.shape[0]

        def step(t, point, states, points, z_hats):
            h, states = self.step(point, states, weights)
            z_hat = tf.matmul(h, w) + b
            point = sample_point(z_hat, noise[t], bias, self.log_sigma_min)
            return t + 1, point, states, points.write(t, point), z_hats.write(t, z_hat)

        shapes = ([noise.shape[1], size] for size in (3, b.shape[0]))
        points, z_hats = (tf.TensorArray(tf.float32, steps, element_shape=shape) for shape in shapes)
        _, point, states, points, z_hats = tf.while_loop(
            lambda t, *_: t < steps, step, (0, point, states, points, z_hats), maximum_iterations=steps
        )
        return points.stack(), z_hats.stack(), point, states

    @tf.function(autograph=False)
    def draw_chunks(self, groups, bias):
        """What draw_chunk returns for each of several groups of samples, (point, states, noise), all at once."""
        return [self.draw_chunk(*group, bias) for group in groups]

    def sample_batch(self, sess, num, batch_size, bias=0.0, style=None):
        """Draw `batch_size` samples of `num` points at once, from the zero state and the point START.

        sess: the source of randomness, a tf.random.Generator. bias: as in `mixture`. style: points [n, 3] in pen units
        that every sample begins with, so that it goes on in the same hand (Graves, section 5.5). Returns float32
        strokes [B, n + num, 3] and their Mixture, [B, n + num, M] and eos [B, n + num], NumPy arrays in pen units. A
        longer sample begins with the shorter one.
        """
        number = -(-batch_size // GROUP)
        size = -(-batch_size // number)  # the groups are of one size, or each other size would have to be compiled
        scale, bias = np.array([self.data_scale, self.data_scale, 1.0], np.float32), tf.constant(bias, tf.float32)
        style = np.zeros([0, 3], np.float32) if style is None else np.asarray(style, np.float32) / scale
        read = np.concatenate([[START], style]).astype(np.float32)
        states, z_style = self.initial_state(1), tf.zeros([1, 0, 1 + 6 * self.num_mixture])
        if len(style):
            z_style, states = self(tf.constant(read[None, :-1]))
        points = [tf.tile(read[-1:], [size, 1])] * number
        states = [tf.nest.map_structure(lambda value: tf.tile(value, [size, 1]), states)] * number
        chunks = []
        for _ in range(-(-num // CHUNK)):
            noise = [sess.uniform([CHUNK, batch_size, 2]), sess.normal([CHUNK, batch_size, 2])]
            noise = tf.pad(tf.concat(noise, axis=2), [[0, 0], [0, number * size - batch_size], [0, 0]])
            groups = list(zip(points, states, tf.split(noise, number, axis=1), strict=True))
            groups = self.draw_chunks(groups, bias) if number > 1 else [self.draw_chunk(*groups[0], bias)]
            *drawn, points, states = zip(*groups, strict=True)
            chunks.append([tf.concat(part, axis=1) for part in drawn])
        drawn, z_hats = (tf.transpose(tf.concat(part, axis=0)[:num, :batch_size], [1, 0, 2])
                         for part in zip(*chunks, strict=True))
        z_hats = tf.concat([tf.tile(z_style, [batch_size, 1, 1]), z_hats], axis=1)
        strokes = np.concatenate([np.tile(style, [batch_size, 1, 1]), drawn], axis=1)
        m = mixture(z_hats, bias, self.log_sigma_min)
        scaled = {name: getattr(m, name) * self.data_scale for name in ("mu1", "mu2", "sigma1", "sigma2")}
        return strokes * scale, Mixture(*(np.asarray(value) for value in m._replace(**scaled)))

    def sample(self, sess, num=1200, bias=0.0, style=None):
        """Draw `num` points: [strokes, params], strokes float32 [num, 3] and the Mixture of every point, in pen units.

        sess: the source of randomness, a tf.random.Generator; the same seed gives the same strokes. bias, style: as in
        sample_batch; the points of style come first, in addition to num.
        """
        strokes, params = self.sample_batch(sess, num, 1, bias, style)
        return [strokes[0], Mixture(*(value[0] for value in params))]


# --------------------------------------------------------------------------------------- learning from other networks


def put_side_by_side(model, networks):
    """Give a Model the weights of other Models, their units and their mixtures' components side by side.

    With H_k units and M_k components each, it has to have sum H_k and sum M_k, and to be like each of them otherwise;
    several have no layer normalisation, which would be over the units of all.
    Nothing connects units of different networks; the logit of the end of stroke is the mean of theirs. So it puts out
    something like the mean of their densities, and of one network, the same.
    """
    whole = [np.zeros(variable.shape, np.float32) for variable in model.trainable_variables]
    points, width = model.layers[0].cell.kernel.shape
    gates, number = np.arange(0, width, model.units)[:, None], len(model.layers)
    first_unit = first_component = 0
    for network in networks:
        # Where this network's part lies: its units, what goes into them, what the layers above the first and the
        # output read of them, and what the output puts out.
        units = first_unit + np.arange(network.units)
        into = (gates + units).ravel()
        above = np.concatenate([units, model.units + np.arange(points)]) if model.skip else units
        read = np.concatenate([k * model.units + units for k in range(number if model.skip else 1)])
        components = first_component + np.arange(network.num_mixture)
        out = np.concatenate([[0], (1 + model.num_mixture * np.arange(6)[:, None] + components).ravel()])
        bias = (np.arange(2), into) if model.kind == "gru" else (into,)
        places = [place for k in range(number) for place in ((above if k else np.arange(points), into), (units, into),
                                                             bias)]
        places += [(read, out), (out,)] + [(np.arange(3), units) for _ in model.peepholes]
        places += [(np.arange(2), np.arange(5), units) for _ in model.norms]
        for values, place, variable in zip(whole, places, network.trainable_variables, strict=True):
            values[np.ix_(*place)] += variable.numpy()
        first_unit, first_component = first_unit + network.units, first_component + network.num_mixture
    for values in whole[3 * number:3 * number + 2]:  # of the output; all networks put out the end of stroke
        values[..., 0] /= len(networks)
    for variable, values in zip(model.trainable_variables, whole, strict=True):
        variable.assign(values)


def draw_taught(teachers, x, y, generator):
    """What teachers, a list of Models that do not drop out, say of the points after x [B, T, 3] in scaled units.

    A list of TAUGHT_DRAWS tensors [B, T, 3] of points drawn from their densities with a tf.random.Generator. Each
    teacher has its share of the rows of x, B being at least their number: as rows are random, all is drawn from the
    mean of their densities, that of the ensemble (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
    Network", arXiv 1503.02531). Where a window of x starts as samples do, which teachers may never have read, the
    points are those of y [B, T, 3], one point ahead of x.
    """
    edges = [x.shape[0] * k // len(teachers) for k in range(len(teachers) + 1)]
    draw, drawn = compiled(sample_point), []
    for teacher, (start, end) in zip(teachers, itertools.pairwise(edges), strict=True):
        z_hat, _ = teacher(x[start:end], training=True)  # by the faster loop
        z_hat = tf.repeat(tf.reshape(z_hat, [1, -1, z_hat.shape[-1]]), TAUGHT_DRAWS, axis=0)
        size = [TAUGHT_DRAWS * (end - start) * x.shape[1], 2]
        noise = tf.concat([generator.uniform(size), generator.normal(size)], axis=1)
        points = draw(tf.reshape(z_hat, [-1, z_hat.shape[-1]]), noise, 0.0, teacher.log_sigma_min)
        drawn.append(tf.reshape(points, [TAUGHT_DRAWS, end - start, x.shape[1], 3]))
    starts = tf.reduce_all(x[:, :1] == START, axis=2, keepdims=True)
    return tf.unstack(tf.where(starts, y, tf.concat(drawn, axis=1)))


# ------------------------------------------------------------------------------------------------------- evaluation


def make_score(model):
    """A function: lines -> for each its losses in nats [n - 1] and the errors [n - 1, 2] of the mixture's mean.

    lines: arrays [n, 3] in scaled units, of whose points all but the first are predicted, from the zero state, with
    dropout off, in float32. The errors, too, are in scaled units.
    """

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, 3])])
    def score_batch(points):
        scores = []
        for (part,) in parts(points):
            z_hat, _ = model(part[:, :-1])
            nats = negative_log_likelihood(z_hat, part[:, 1:], model.log_sigma_min)
            scores.append((nats, mean_move(z_hat) - part[:, 1:, :2]))
        return [tf.concat(values, axis=0) for values in zip(*scores, strict=True)]

    def score(lines):
        order, scores = sorted(range(len(lines)), key=lambda k: len(lines[k])), [None] * len(lines)
        for start in range(0, len(lines), SCORE_BATCH):
            batch = order[start:start + SCORE_BATCH]
            padded = np.zeros([len(batch), len(lines[batch[-1]]), 3], np.float32)
            for row, k in enumerate(batch):
                padded[row, :len(lines[k])] = lines[k]
            nats, errors = (value.numpy() for value in score_batch(padded))
            for row, k in enumerate(batch):
                scores[k] = nats[row, :len(lines[k]) - 1], errors[row, :len(lines[k]) - 1]
        return scores

    return score


def evaluate(model, lines, deviations, limit):
    """The figures of a network on lines [n, 3] in scaled units, a dict; its keys say the same everywhere.

    nats_per_point: in scaled units. nats_per_line: the mean over lines of a line's summed loss in Graves' units, where
    the deviation of a move is 1 on each axis: a density of moves that are s_x and s_y times smaller is s_x s_y times
    higher, so each predicted point has ln(s_x s_y) less. deviations: s_x and s_y, in scaled units. ..._300: of lines
    of 300 points or more. ..._uncapped: without points whose move is at the limit (scaled units) on an axis, where a
    narrow component could win much. squared_error: per point in Graves' units, summed over both axes, the mixture's
    mean being the prediction.
    """
    scores = make_score(model)(lines)
    unit = float(np.log(deviations).sum())
    nats = [values.astype(np.float64) for values, _ in scores]
    errors = np.concatenate([errors for _, errors in scores]).astype(np.float64) / deviations
    free = [np.abs(line[1:, :2]).max(axis=1) < limit for line in lines]
    long = np.array([len(line) >= LONG for line in lines])
    figures = {"lines": len(lines), "lines_300": int(long.sum()), "points": len(errors),
               "capped": len(errors) - sum(int(kept.sum()) for kept in free),
               "squared_error": float((errors**2).sum(axis=1).mean())}
    for suffix, chosen in (("", nats), ("_uncapped", [n[kept] for n, kept in zip(nats, free, strict=True)])):
        per_line = np.array([n.sum() - len(n) * unit for n in chosen])
        figures |= {f"nats_per_point{suffix}": float(np.concatenate(chosen).mean()),
                    f"nats_per_line{suffix}": float(per_line.mean()),
                    f"nats_per_line_300{suffix}": float(per_line[long].mean()) if long.any() else None}
    return figures
