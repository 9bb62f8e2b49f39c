"""The network of the post: recurrent layers, the density of the next pen point, its loss, and
samples.

Sources: D. Ha, "Handwriting Generation Demo in TensorFlow" (2015), for the network and the order
of its outputs; A. Graves, "Generating Sequences With Recurrent Neural Networks" (arXiv 1308.0850),
whose equations are cited by number.

`Model.step`, one point through all layers, defines the network; handwriting/network/ holds the
density, the cells and the window that it is made of. Whole sequences run faster by other means that
tests hold equal to it: on a CPU the loop in network/lstm.py, on a GPU the Keras layers (cuDNN).

A network with an alphabet writes a text: a soft window over its characters, moved by the first
layer, tells all layers what is to be written (Graves, section 5.1).

Axes: B batch, T time, M mixture components, H units in a layer, U characters of a text, V symbols
of the alphabet, K components of the window. A hat marks what the network puts out before it is
transformed. All in scaled units (pen units / data_scale) unless a docstring says otherwise.
"""

import math
from argparse import Namespace

from handwriting.network import checkpoint
from handwriting.network import window as windows
from handwriting.network.backend import keras, split_rows, tf
from handwriting.network.cells import (
    HAND,
    LSTMState,
    RNNState,
    drop_out,
    layer_step,
    polar_inputs,
)
from handwriting.network.lstm import lstm_sequence
from handwriting.network.mixture import (
    SIGMA_MIN,
    Mixture,
    compiled_nll,
    mixture,
    negative_log_likelihood,
)
from handwriting.network.sampling import draw_samples
from handwriting.network.window import WINDOW, WindowState, window_step
from handwriting.text.alphabet import num_symbols
from handwriting.text.writing import BIAS, write_texts

import numpy as np

LAYERS = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


class Model:
    """The network: recurrent layers with dropout on each one's output, and 1 + 6 M outputs.

    args: the flags of train.py, or config.json, as attributes. `infer`: no dropout, products in
    float32. skip: the points go into every layer, and every layer into the output (Graves, figure
    1). polar: each move's direction and log length go in beside it (`polar_inputs`). alphabet: the
    characters that it writes, for lstm layers; the empty string for a network without text. With
    text it has one output more, the last: the logit that the line ends with this point. hands: a
    vector for each line tells in whose hand it is, by what it adds to the gains and offsets of
    layer normalisation. Raises ValueError for an unknown kind of layer.
    """

    def __init__(self, args, infer=False):
        if args.model not in LAYERS:
            raise ValueError(f"model is {args.model!r}; allowed are {', '.join(LAYERS)}")
        self.kind, self.units, self.num_mixture = args.model, args.rnn_size, args.num_mixture
        self.skip, self.polar, self.alphabet = args.skip, args.polar, args.alphabet
        self.hands = args.hands
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
        self.window = {}
        if args.alphabet:
            weights = windows.first_weights(
                args.seed, args.num_layers, self.units, num_symbols(args.alphabet),
                self.output.kernel.shape[0], self.num_outputs,
            )
            self.window = make_variables(weights)

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
        if args.hands:
            extras["hand_kernel"] = np.zeros([HAND, 10 * self.units])
        return make_variables(extras, f"layer{k}_")

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

    @property
    def symbol_rows(self):
        """The names of the weights whose last rows are those of the alphabet's symbols."""
        return [name for name in self.window if "window_kernel" in name or name == "end.kernel"]

    @property
    def hand_kernels(self):
        """The names of the weights that read a hand's vector."""
        return [name for name in self.variables if name.endswith("hand_kernel")]

    def layer_weights(self, hand=None):
        """For each layer its weights, name -> tensor, where lines [B] are in hands [B, HAND], or in
        any.
        """
        weights = [{} for _ in self.layers]
        for name, variable in self.variables.items():
            owner, *k, part = name.split(".")
            if owner == "layers":
                weights[int(k[0])][part] = tf.convert_to_tensor(variable.value)
        for layer in weights:
            if "norm" in layer:
                layer["norm"] = layer["norm"][:, :, None]
            if "hand_kernel" in layer:
                kernel = layer.pop("hand_kernel")
                if hand is not None:
                    change = tf.reshape(tf.matmul(hand, kernel), [-1, 2, 5, self.units])
                    layer["norm"] += tf.transpose(change, [1, 2, 0, 3])
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

    def __call__(self, x, states=None, training=False, masks=(), chars=None, hand=None):
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
            chars = self.one_hot(chars) if self.window else None
            outputs, states = lstm_sequence(
                tf.transpose(x, [1, 0, 2]), masks, self.keep_prob, states, self.layer_weights(hand),
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

    def loss(self, x, y, seed=None, lengths=None, chars=None, hand=None):
        """The mean nats per point (scaled units) of y [B, T, 3], each row one point ahead of x [B,
        T, 3]; see `loss_sums`.
        """
        nats, _, count = self.loss_sums(x, y, lengths, chars, hand, seed)
        return nats / count

    def loss_sums(self, x, y, lengths=None, chars=None, hand=None, seed=None):
        """Nats (scaled units) summed over the points of y, what training makes small, and how many
        points there are.

        x, y [B, T, 3]: points, and each one's next. With text, chars [B, U] as in `__call__`, and
        lengths [B]: a line's points, of which the last has no next one; what lies behind them is
        padding. Training adds the nats of the question, at each end of a stroke, whether the line
        ends. seed: int32 [2], of dropout, in training; None: no dropout.
        """
        training = seed is not None
        masks = self.dropout_masks(tf.shape(x)[1], tf.shape(x)[0], seed) if training else []
        # Compiled in training; elsewhere a compilation would take longer than it saves.
        nll = compiled_nll if training else negative_log_likelihood
        nats, ends, counts = [], [], []
        for rows in split_rows(x.shape[0]):
            text = chars[rows] if self.window else None
            kept, whose = [mask[:, rows] for mask in masks], hand[rows] if self.hands else None
            z_hat, _ = self(x[rows], None, training, kept, text, whose)
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
        strokes, z_hat = draw_samples(self, sess, num, batch_size, bias, style)
        return strokes, self.params(z_hat, bias)

    def params(self, z_hat, bias):
        """The Mixture of z_hat [..., 1 + 6 M], NumPy arrays in pen units."""
        m = mixture(z_hat, bias, self.log_sigma_min)
        lengths = ("mu1", "mu2", "sigma1", "sigma2")
        m = m._replace(**{name: getattr(m, name) * self.data_scale for name in lengths})
        return Mixture(*(np.asarray(value) for value in m))

    def write(self, sess, text, bias=BIAS, style=None):
        """Draw a text: [strokes, params], float32 [n, 3] and the Mixture of each point, in pen
        units.

        sess: a tf.random.Generator. bias: as in `mixture`. style: a Style (text/hands.py), in
        whose hand it is drawn; None: in any hand.
        """
        return self.write_batch(sess, [text], bias, style)[0]

    def write_batch(self, sess, texts, bias=BIAS, style=None):
        """Draw texts at once, all in one hand: a list of [strokes, params] as `write` returns."""
        lines = write_texts(self, sess, texts, bias, style)
        return [[line.strokes, line.params] for line in lines]

    def sample(self, sess, num=1200, bias=0.0, style=None):
        """Draw `num` points: [strokes, params], float32 [num, 3] and the Mixture of each, in pen
        units.

        sess: a tf.random.Generator; the same seed draws the same. bias, style: as in
        `sample_batch`; the points of style come first, in addition to num.
        """
        strokes, params = self.sample_batch(sess, num, 1, bias, style)
        return [strokes[0], Mixture(*(value[0] for value in params))]


def make_variables(values, prefix=""):
    """Keras variables by name, of arrays by name."""
    return {
        name: keras.Variable(value, dtype="float32", name=prefix + name.replace(".", "_"))
        for name, value in values.items()
    }


def restore(folder):
    """The Model of the run in `folder`, with its best weights; `path` names their file.

    Raises UserError if there are none, or if they do not fit the run's config.json.
    """
    model = Model(Namespace(**checkpoint.read_config(folder)), infer=True)
    model.path = checkpoint.load_weights(model, folder)
    return model
