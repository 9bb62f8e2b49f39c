"""All lstm layers over a whole sequence as one loop over time, with its derivative written by hand.

An accelerator for CPUs, about twice as fast as the Keras layers. `Model.step` in model.py
is the definition of the network; tests hold this loop and its derivative equal to it.

What makes it fast:
- a layer's input, its last output and a 1 for the bias share one product of matrices per point;
- all between two products is one function compiled by XLA, forward and backward;
- the gradient of the weights is not summed inside the loop: dW, the sum over t of xh_t^T dz_t, is
one large product of all xh [T B, D + H + 1] and all dz [T B, 4 H] after it;
- only xh, z and c of each point are kept for the derivative, in the type of the products; the
gates are computed again.
"""

from handwriting.network.backend import compiled, tf
from handwriting.network.cells import LSTMState, drop_out, lstm_step
from handwriting.network.window import WindowState, window_step

# ------------------------------------------------------------------------------------- one point


@compiled
def lstm_cell(z, c, norms, mask, keep_prob):
    """LSTMState from z [4, B, H] and c [B, H], and its h after dropout; norms: of lstm_step."""
    state = lstm_step(tf.unstack(tf.cast(z, tf.float32)), c, **norms)
    return state, drop_out(state.h, mask, keep_prob)


@compiled
def lstm_cell_gradient(z, c, norms, mask, keep_prob, d_xh, d_above, dc):
    """The gradient of lstm_cell: dz [B, 4 H] in the type of z, dc of the cell before, and that of
    norms, a dict.

    dh sums the recurrent gradient and the (dropout-masked) gradients from above. d_xh [B, .. + H]:
    of the layer's own next xh; d_above: a list of [B, H + ..], of the xh of the layer above and of
    the loop's output.
    """
    units, product_type = c.shape[1], z.dtype
    d_above = tf.add_n([tf.cast(d[:, :units], tf.float32) for d in d_above])
    dh = tf.cast(d_xh[:, -units:], tf.float32) + drop_out(d_above, mask, keep_prob)
    z = tf.cast(z, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([z, c, norms])
        state = lstm_step(tf.unstack(z), c, **norms)
    dz, dc, d_norms = tape.gradient(state, [z, c, norms], LSTMState(dh, dc))
    return tf.cast(tf.concat(tf.unstack(dz), axis=1), product_type), dc, d_norms


@compiled
def window_cell(output, kappa, weights, chars):
    """The WindowState after the first layer's output [B, H], and a_hat [B, 3 K]."""
    a_hat = tf.matmul(output, weights["kernel"]) + weights["bias"]
    return window_step(a_hat, kappa, chars)[0], a_hat


@compiled
def window_cell_gradient(a_hat, kappa, weights, chars, d_ws, d_kappa):
    """The gradient of window_cell by a_hat, kappa and the first layer's output; d_ws: a list of
    gradients [B, V] of w."""
    with tf.GradientTape() as tape:
        tape.watch([a_hat, kappa])
        state, _ = window_step(a_hat, kappa, chars)
    d_w = tf.add_n([tf.cast(d, tf.float32) for d in d_ws])
    d_a, d_kappa = tape.gradient(state, [a_hat, kappa], WindowState(d_w, d_kappa))
    return d_a, d_kappa, tf.matmul(d_a, weights["kernel"], transpose_b=True)


def product(a, b, transpose_a=False):
    """a b, or a^T b, with factors in the type of b; the result is float32."""
    return tf.cast(tf.matmul(tf.cast(a, b.dtype), b, transpose_a=transpose_a), tf.float32)


# ----------------------------------------------------------------------------- a whole sequence


def lstm_sequence(
    x, masks, keep_prob, states, layers, product_type, skip, derivative=True, window=(), chars=None
):  # fmt: skip
    """The outputs of all lstm layers for a sequence, and the final states.

    x [T, B, D]: inputs. masks: for each layer a bool [T, B, H] of the outputs that dropout keeps,
    or an empty list. states: an LSTMState per layer. layers: for each its weights by name
    (`Model.layer_weights`). product_type: of the products' factors. skip: layers above the first
    read x, too, behind the output of the layer below. derivative: keep what the gradient needs.
    window: with text, its weights by name (`Model.window_weights`), and chars [B, U, V]: the text,
    one-hot; the last of states is the WindowState then.
    Returns a list of outputs [T, B, H] after dropout, the last layer's or with skip those of all,
    with text w [T, B, V] behind them; and a list of final states; all float32.
    """
    structure = (x, list(masks), list(states), list(layers), dict(window))

    def forward(*tensors):
        parts = tf.nest.pack_sequence_as(structure, tensors)
        loop = Loop(*parts, chars, keep_prob, product_type, skip)
        out, finals, saved = loop.forward(derivative)
        flat = (*tf.split(out, loop.read_widths, axis=2), *tf.nest.flatten(finals))

        def backward(*d_flat):
            d_outs, d_finals = d_flat[: len(loop.read_widths)], d_flat[len(loop.read_widths) :]
            d_finals = tf.nest.pack_sequence_as(finals, d_finals)
            dx, *gradients = loop.backward(saved, d_outs, d_finals)
            return [dx, *[None for _ in masks], *tf.nest.flatten(gradients)]

        return flat, backward

    tensors = tf.nest.flatten(structure)
    flat = tf.custom_gradient(forward)(*tensors) if derivative else forward(*tensors)[0]
    number = len(flat) - len(tf.nest.flatten(list(states)))
    return list(flat[:number]), tf.nest.pack_sequence_as(list(states), flat[number:])


class Loop:
    """The loop over time, forward and backward; arguments as in lstm_sequence.

    At point t each layer has xh = [x, h, 1], with x the output of the layer below after dropout
    and h its own last output, z = xh W with the bias as the last row of W, and the cell's
    equations in `lstm_step`. Backward, from the last point to the first: dz from the cell's
    gradient, then d[x, h] = dz W^T.

    With text xh = [x, w, h, 1], with w that of the point before in the first layer. Backward, w of
    a point collects its gradient from the output, the layers above and the first layer's next
    point; the window's own gradient turns it into that of a_hat, so of the first layer's output.
    """

    def __init__(self, x, masks, states, layers, window, chars, keep_prob, product_type, skip):
        self.x, self.states, self.keep_prob = x, states, keep_prob
        self.product_type, self.skip, self.window, self.chars = product_type, skip, window, chars
        self.num_steps, self.batch, self.inputs = tf.shape(x)[0], x.shape[1], x.shape[2]
        self.units, self.num_layers = states[0].h.shape[1], len(layers)
        self.symbols = chars.shape[2] if window else 0
        above = self.units + self.inputs * skip
        self.widths = [self.inputs] + [above] * (self.num_layers - 1)  # of each layer's input
        self.read = range(self.num_layers) if skip else [self.num_layers - 1]  # by the output
        self.read_widths = [self.units] * len(self.read) + [self.symbols] * bool(window)
        parts = ("kernel", "window_kernel", "recurrent_kernel")[:: 1 if window else 2]
        stacked = (tf.concat([*(w[n] for n in parts), w["bias"][None]], axis=0) for w in layers)
        self.w = [tf.cast(w, product_type) for w in stacked]
        names = ("peephole", "norm")
        self.norms = [{name: w[name] for name in names if name in w} for w in layers]
        self.masks = [self.array(dtype=tf.bool).unstack(mask) for mask in masks]

    def array(self, width=None, dtype=tf.float32, gates=()):
        """A TensorArray of [*gates, B, width], one for each point; width: H if not given."""
        shape = [*gates, self.batch, width or self.units]
        return tf.TensorArray(dtype, self.num_steps, element_shape=shape, clear_after_read=False)

    def drop(self, k, t):
        return (self.masks[k].read(t) if self.masks else None), self.keep_prob

    def forward(self, save):
        """Outputs [T, B, sum of read_widths], final states; with `save` all xh, z and c of each
        layer, and output, a_hat and kappa of the window.
        """
        units, product_type, layers = self.units, self.product_type, range(self.num_layers)
        # A product for each gate, [4, B, H], so that taking one of them copies nothing.
        by_gate = [tf.transpose(tf.reshape(w, [-1, 4, units]), [1, 0, 2]) for w in self.w]
        one = tf.ones([tf.shape(self.x)[1], 1])
        xs = self.array(self.inputs).unstack(self.x)

        def step(t, states, out, saved):
            states, saved, outputs, below = list(states), list(saved), [], [xs.read(t)]
            for k in layers:
                w = [states[-1].w] if self.window else []
                xh, c = tf.concat([*below, *w, states[k].h, one], axis=1), states[k].c
                xh = tf.cast(xh, product_type)
                z = tf.matmul(xh[None], by_gate[k])
                states[k], output = lstm_cell(z, c, self.norms[k], *self.drop(k, t))
                if save:
                    saved[k] = [a.write(t, v) for a, v in zip(saved[k], (xh, z, c), strict=True)]
                if self.window and k == 0:
                    kappa = states[-1].kappa
                    states[-1], a_hat = window_cell(output, kappa, self.window, self.chars)
                    if save:
                        now = output, a_hat, kappa
                        saved[-1] = [a.write(t, v) for a, v in zip(saved[-1], now, strict=True)]
                outputs.append(output)
                below = [output, below[-1]] if self.skip else [output]
            w = [states[-1].w] if self.window else []
            out = out.write(t, tf.concat([*(outputs[k] for k in self.read), *w], axis=1))
            return t + 1, states, out, saved

        saved = []
        for width in self.widths * save:
            xhs = self.array(width + self.symbols + units + 1, product_type)
            saved.append([xhs, self.array(units, product_type, [4]), self.array()])
        if self.window and save:
            num_components = self.states[-1].kappa.shape[1]
            saved.append([self.array(n) for n in (units, 3 * num_components, num_components)])
        start = 0, list(self.states), self.array(sum(self.read_widths)), saved
        _, finals, out, saved = tf.while_loop(
            lambda t, *_: t < self.num_steps, step, start, maximum_iterations=self.num_steps
        )
        return out.stack(), finals, saved

    def backward(self, saved, d_outs, d_finals):
        """Gradients of x [T, B, D], states, the layers' weights and the window's, like those in
        `__init__`; d_outs: for each of read_widths [T, B, width].
        """
        units, inputs, product_type = self.units, self.inputs, self.product_type
        symbols = self.symbols
        d_outs = [self.array(d.shape[2]).unstack(d) for d in d_outs]
        d_reads = dict(zip(self.read, d_outs, strict=False))
        # From dz to d[x, w, h] in each layer; the lowest layer's dx waits until after the loop.
        turned = [tf.transpose(w[0 if k else inputs : -1]) for k, w in enumerate(self.w)]

        def step(t, d_xhs, dcs, dzs, d_norms, d_kappa, d_as):
            d_xhs, dcs, dzs, d_norms, d_above = list(d_xhs), list(dcs), list(dzs), list(d_norms), []
            d_ws = [d_outs[-1].read(t), d_xhs[0][:, :symbols]] if self.window else []
            for k in reversed(range(self.num_layers)):
                d_above += [d_reads[k].read(t)] if k in d_reads else []
                if self.window and k == 0:
                    _, a_hat, kappa = saved[-1]
                    a_hat, kappa = a_hat.read(t), kappa.read(t)
                    d_a, d_kappa, d_output = window_cell_gradient(
                        a_hat, kappa, self.window, self.chars, d_ws, d_kappa
                    )
                    d_as = d_as.write(t, d_a)
                    d_above.append(d_output)
                z, c = (a.read(t) for a in saved[k][1:])
                dz, dcs[k], d_now = lstm_cell_gradient(
                    z, c, self.norms[k], *self.drop(k, t), d_xhs[k], d_above, dcs[k]
                )
                d_norms[k] = tf.nest.map_structure(tf.add, d_norms[k], d_now)
                dzs[k] = dzs[k].write(t, dz)
                d_xhs[k] = tf.matmul(dz, turned[k])
                d_ws.append(d_xhs[k][:, -units - symbols : -units])
                d_above = [d_xhs[k]]
            return t - 1, d_xhs, dcs, dzs, d_norms, d_kappa, d_as

        *d_finals, d_window = d_finals if self.window else [*d_finals, None]
        d_xhs = []
        for k, (d, width) in enumerate(zip(d_finals, self.widths, strict=True)):
            parts = [tf.zeros([self.batch, width])] if k else []
            if self.window:
                parts.append(tf.zeros_like(d_window.w) if k else d_window.w)
            d_xhs.append(tf.cast(tf.concat([*parts, d.h], axis=1), product_type))
        dzs = [self.array(4 * units, product_type) for _ in self.w]
        d_norms = tf.nest.map_structure(tf.zeros_like, self.norms)
        d_kappa = d_as = 0.0
        if self.window:
            d_kappa, d_as = d_window.kappa, self.array(3 * d_window.kappa.shape[1])
        start = self.num_steps - 1, d_xhs, [d.c for d in d_finals], dzs, d_norms, d_kappa, d_as
        _, d_xhs, dcs, dzs, d_norms, d_kappa, d_as = tf.while_loop(
            lambda t, *_: t >= 0, step, start, maximum_iterations=self.num_steps
        )

        dzs = [array.concat() for array in dzs]
        # x is the first layer's whole input, and with skip the end of that of the others.
        readers = list(zip(dzs, self.w, self.widths, strict=True))[: None if self.skip else 1]
        dx = [product(dz, tf.transpose(w[size - inputs : size])) for dz, w, size in readers]
        d_states = [
            LSTMState(tf.cast(d_xh[:, -units:], tf.float32), dc)
            for d_xh, dc in zip(d_xhs, dcs, strict=True)
        ]
        d_weights = {}
        if self.window:
            d_states.append(WindowState(tf.cast(d_xhs[0][:, :symbols], tf.float32), d_kappa))
            d_as = d_as.concat()
            d_weights["kernel"] = product(saved[-1][0].concat(), d_as, transpose_a=True)
            d_weights["bias"] = tf.reduce_sum(d_as, axis=0)
        dx = tf.reshape(tf.add_n(dx), tf.shape(self.x))
        return dx, d_states, self.layer_gradients(saved, dzs, d_norms), d_weights

    def layer_gradients(self, saved, dzs, d_norms):
        """For each layer the gradients of its weights by name, from all xh and dz [T B, 4 H]."""
        d_layers = []
        for k, (dz, width, d_norm) in enumerate(zip(dzs, self.widths, d_norms, strict=True)):
            d_w = product(saved[k][0].concat(), dz, transpose_a=True)
            sizes = [width, self.symbols, self.units, 1]
            kernel, from_window, recurrent, bias = tf.split(d_w, sizes)
            d_layer = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias[0]}
            d_layer |= {"window_kernel": from_window} if self.window else {}
            d_layers.append(d_layer | d_norm)
        return d_layers
