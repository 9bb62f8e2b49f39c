"""What run.py measures this program beside: the same networks in Keras and PyTorch, the parsing of
the 2015 program.

Packages are imported inside the functions, so that a process which measures one of them holds no
other. `network` is what train.py's flags are there: an object with rnn_size, num_layers and so on.
"""

import math
import tarfile
import xml.etree.ElementTree as ET

CHUNK = 4  # points that PyTorch compiles as one piece; 8 gain a few percent and compile for minutes


def keras_step(network, precision, x, y):
    """A function that takes a training step on x, y [B, T, 3] and returns the loss.

    Keras' own layers, dropout, clipping and Adam in a tf.function; the loss is our function, in
    float32.
    """
    from model import negative_log_likelihood

    import keras
    import tensorflow as tf

    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
    layers = keras.Sequential([keras.Input(x.shape[1:])])
    for _ in range(network.num_layers):
        layers.add(keras.layers.LSTM(network.rnn_size, return_sequences=True, dtype=policy))
        layers.add(keras.layers.Dropout(1 - network.keep_prob, dtype=policy))
    layers.add(keras.layers.Dense(1 + 6 * network.num_mixture, dtype=policy))
    optimizer = keras.optimizers.Adam(
        network.learning_rate, epsilon=1e-8, global_clipnorm=network.grad_clip
    )
    optimizer.build(layers.trainable_variables)

    @tf.function(autograph=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            z_hat = tf.cast(layers(x, training=True), tf.float32)
            loss = tf.reduce_mean(negative_log_likelihood(z_hat, y))
        optimizer.apply(tape.gradient(loss, layers.trainable_variables))
        return loss

    return lambda: float(step(x, y))


def pytorch_step(network, precision, x, y):
    """The same in PyTorch, under autocast for bfloat16; time is its first axis, for its loop."""
    import torch

    x, y = (torch.from_numpy(part).transpose(0, 1).contiguous() for part in (x, y))
    between = 1 - network.keep_prob if network.num_layers > 1 else 0.0
    lstm = torch.nn.LSTM(3, network.rnn_size, network.num_layers, dropout=between)
    dropout = torch.nn.Dropout(1 - network.keep_prob)
    output = torch.nn.Linear(network.rnn_size, 1 + 6 * network.num_mixture)
    parameters = [*lstm.parameters(), *output.parameters()]
    optimizer = torch.optim.Adam(parameters, network.learning_rate, eps=1e-8, fused=True)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            z_hat = output(dropout(lstm(x)[0]))
        loss = pytorch_nll(z_hat.float(), y).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, network.grad_clip)
        optimizer.step()
        return loss.item()

    return step


def pytorch_text_network(network, num_inputs, num_symbols, precision):
    """The network that writes a text, as a torch.nn.Module; see the class below.

    Products are made in `precision`, the rest in float32: what autocast would do, but it would cast
    the weights again at each point.
    """
    import torch

    dtype, units, components = getattr(torch, precision), network.rnn_size, 10
    sizes = [num_symbols] + [units + num_symbols] * (network.num_layers - 1)

    class LateGradient(torch.autograd.Function):
        """z [T, B, N] as it is. The gradient of `weights`, whose products were added to it point by
        point, is one product, inputs' dz, of the inputs [T, B, K] that the caller puts into a list
        after the loop.
        """

        @staticmethod
        def forward(ctx, z, weights, inputs):
            ctx.inputs = inputs
            return z.view_as(z)

        @staticmethod
        def backward(ctx, dz):
            inputs, dz_rows = (value.flatten(0, 1).to(dtype) for value in (ctx.inputs[0], dz))
            return dz, (inputs.T @ dz_rows).float(), None

    class TextNetwork(torch.nn.Module):
        """Lstm layers and a soft window over the characters (Graves 2013, eq. 46 to 52).

        The window is placed by the first layer; it is seen by that one at the next point, by those
        above at once, and by the output. Points go into every layer, every layer into the output.
        """

        def __init__(self):
            super().__init__()
            linear = torch.nn.Linear
            self.points = linear(num_inputs, network.num_layers * 4 * units)
            self.loops = torch.nn.ModuleList(linear(n + units, 4 * units, False) for n in sizes)
            self.window = linear(units, 3 * components)
            seen = network.num_layers * units + num_symbols
            self.output = linear(seen, 1 + 6 * network.num_mixture)

        def forward(self, points, chars):
            """points [T, B, D] and chars, one-hot [B, U, V] -> z_hat [T, B, 1 + 6 M]."""
            (length, batch_size, _), keep = points.shape, network.keep_prob
            shape = [network.num_layers, length, batch_size, units]
            masks = (torch.rand(shape) < keep).float().div_(keep)
            weights = [layer.weight.T for layer in (*self.loops, self.window)]
            zs = [*self.points(points).chunk(network.num_layers, dim=2)]
            zs.append(self.window.bias.expand(length, batch_size, -1))
            inputs = [[] for _ in zs]
            zs = [LateGradient.apply(*each) for each in zip(zs, weights, inputs, strict=True)]
            weights = [weight.detach().to(dtype).contiguous() for weight in weights]
            zeros = [torch.zeros(batch_size, units) for _ in self.loops]
            state = zeros, zeros, *(torch.zeros(batch_size, n) for n in (num_symbols, components))
            pieces, parts = [], [*(z.split(CHUNK) for z in zs), masks.split(CHUNK, dim=1)]
            for *z, mask in zip(*parts, strict=True):
                piece, state = chunk(z, mask, state, weights, chars)
                pieces.append(piece)
            hs, ws = (torch.cat(values, dim=-3) for values in zip(*pieces, strict=True))
            ys = hs * masks
            with torch.no_grad():
                h_before, w_before = (
                    torch.nn.functional.pad(v[..., :-1, :, :], (0, 0, 0, 0, 1, 0)) for v in (hs, ws)
                )
                inputs[0].append(torch.cat([w_before, h_before[0]], dim=2))
                for k in range(1, network.num_layers):
                    inputs[k].append(torch.cat([ys[k - 1], ws, h_before[k]], dim=2))
                inputs[-1].append(ys[0])
            seen = torch.cat([*ys, ws], dim=2)
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                return self.output(seen).float()

    def lstm_cell(z, c):
        i, f, g, o = z.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def product(value, weights):
        return (value.to(dtype) @ weights).float()

    def read_window(a, kappa, chars):
        alpha, beta, move = a.chunk(3, dim=1)
        beta, kappa = 0.05 + 4.0 * torch.sigmoid(beta), kappa + 2.0 * torch.sigmoid(move)
        height = torch.softmax(alpha, dim=1) * torch.sqrt(beta / math.pi)
        places = torch.arange(chars.shape[1]) + 0.5
        distance = kappa[:, :, None] - places
        phi = (height[:, :, None] * torch.exp(-beta[:, :, None] * distance.square())).sum(dim=1)
        return torch.bmm(phi[:, None], chars)[:, 0], kappa

    # Faster than eager and TorchScript.
    @torch.compile(dynamic=False)
    def chunk(zs, masks, state, weights, chars):
        """h [layers, t, B, H] and w [t, B, V] of the next t points, and the state after them.

        zs: of each layer, and of the window, what points and biases give, [t, B, N]; masks [layers,
        t, B, H]; weights: of the layers and the window, [K, N], in `precision`.
        """
        hs, cs, w, kappa = state
        all_hs, all_ws = [], []
        for *z, z_window, mask in zip(*(z.unbind() for z in zs), masks.unbind(1), strict=True):
            new_hs, new_cs, seen = [], [], [w]
            for k, z_points in enumerate(z):
                below = torch.cat([*seen, hs[k]], dim=1)
                h, c = lstm_cell(z_points + product(below, weights[k]), cs[k])
                y = h * mask[k]
                if k == 0:
                    w, kappa = read_window(z_window + product(y, weights[-1]), kappa, chars)
                seen = [y, w]
                new_hs.append(h)
                new_cs.append(c)
            hs, cs = new_hs, new_cs
            all_hs.append(torch.stack(hs))
            all_ws.append(w)
        return (torch.stack(all_hs, dim=1), torch.stack(all_ws)), (hs, cs, w, kappa)

    return TextNetwork()


def polar_inputs(x):
    """The function of that name in handwriting/network/cells.py, in NumPy: where TensorFlow is
    imported first, torch.compile crashes.
    """
    import numpy as np

    move, r2 = x[..., :2], np.maximum((x[..., :2] ** 2).sum(axis=-1, keepdims=True), 1e-4)
    return np.concatenate([x, move / np.sqrt(r2), 0.25 * np.log(r2)], axis=-1)


def pytorch_text_step(network, precision, x, y, chars, mask):
    """A function that takes a training step of pytorch_text_network and returns the loss.

    x [B, T, D], y [B, T, 3], chars, one-hot [B, U, V], and mask [B, T], 1 where a point counts, are
    float32 arrays.
    """
    import torch

    x, y, mask = (torch.from_numpy(part).transpose(0, 1).contiguous() for part in (x, y, mask))
    chars = torch.from_numpy(chars)
    writer = pytorch_text_network(network, x.shape[-1], chars.shape[-1], precision)
    parameters = [*writer.parameters()]
    optimizer = torch.optim.Adam(parameters, network.learning_rate, eps=1e-8, fused=True)

    def step():
        optimizer.zero_grad()
        loss = (pytorch_nll(writer(x, chars), y) * mask).sum() / mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, network.grad_clip)
        optimizer.step()
        return loss.item()

    return step


def pytorch_nll(z_hat, target):
    """model.negative_log_likelihood, with those of its bounds that a working network meets."""
    import torch

    eos_hat, z_hat = z_hat[..., 0], z_hat[..., 1:]
    pi_hat, mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = z_hat.chunk(6, dim=-1)
    sigma1_hat, sigma2_hat = sigma1_hat.clamp(-8, 80), sigma2_hat.clamp(-8, 80)
    rho_hat = rho_hat.clamp(-8, 8)
    dx, dy, eos = target.split(1, dim=-1)
    u1, u2 = (dx - mu1) * torch.exp(-sigma1_hat), (dy - mu2) * torch.exp(-sigma2_hat)
    size = rho_hat.abs()
    log_1_rho2 = 2.0 * (math.log(2.0) - size - torch.log1p(torch.exp(-2.0 * size)))
    quadratic = (u1 - torch.tanh(rho_hat) * u2).square() * torch.exp(-log_1_rho2) + u2.square()
    log_normal = -0.5 * (quadratic + log_1_rho2) - sigma1_hat - sigma2_hat - math.log(2.0 * math.pi)
    log_density = torch.logsumexp(torch.log_softmax(pi_hat, dim=-1) + log_normal, dim=-1)
    return torch.nn.functional.softplus((2.0 * eos[..., 0] - 1.0) * eos_hat) - log_density


def pytorch_sampler(network, num_points, batch_size):
    """A function that draws `batch_size` samples at once: points [T, B, 3] in scaled units, and the
    z_hat of each.
    """
    import torch

    num_mixture, sizes = network.num_mixture, [3] + [network.rnn_size] * (network.num_layers - 1)
    cells = [torch.nn.LSTMCell(size, network.rnn_size) for size in sizes]
    output = torch.nn.Linear(network.rnn_size, 1 + 6 * num_mixture)

    @torch.inference_mode()
    def draw():
        point, states = torch.tensor([[0.0, 0.0, 1.0]]).repeat(batch_size, 1), [None] * len(cells)
        points, z_hats = [], []
        # All noise at once; the largest of pi_hat + gumbel is a component drawn by its weight.
        gumbel = -torch.empty(num_points, batch_size, num_mixture).exponential_().log()
        uniform, normal = torch.rand(num_points, batch_size), torch.randn(num_points, batch_size, 2)
        for t in range(num_points):
            below = point
            for k, cell in enumerate(cells):
                states[k] = cell(below, states[k])
                below = states[k][0]
            z_hat = output(below)
            parts = z_hat[:, 1:].view(batch_size, 6, num_mixture)
            chosen = (parts[:, 0] + gumbel[t]).argmax(dim=1)[:, None, None].expand(-1, 5, 1)
            parts = parts[:, 1:].gather(2, chosen)[..., 0]
            mu1, mu2, sigma1_hat, sigma2_hat, rho_hat = parts.unbind(1)
            rho, (n1, n2) = torch.tanh(rho_hat), normal[t].unbind(1)
            dx = mu1 + torch.exp(sigma1_hat) * n1
            dy = mu2 + torch.exp(sigma2_hat) * (rho * n1 + torch.sqrt(1 - rho * rho) * n2)
            point = torch.stack([dx, dy, (uniform[t] < torch.sigmoid(-z_hat[:, 0])).float()], dim=1)
            points.append(point)
            z_hats.append(z_hat)
        return torch.stack(points), torch.stack(z_hats)

    return draw


def elementtree_lines(tar):
    """The lines in an archive, int16 [n, 3] each in pen units, and the bytes of XML that they were.

    The standard library's parser, and one list for each point, as in the 2015 program.
    """
    import numpy as np

    lines, xml_bytes = [], 0
    with tarfile.open(tar) as files:
        for member in files:
            if not member.name.endswith(".xml"):
                continue
            root = ET.parse(files.extractfile(member)).getroot()
            corners = [corner.attrib for corner in root[0][1:4]]
            left, top = (min(float(corner[axis]) for corner in corners) - 100 for axis in "xy")
            rows, before_x, before_y = [], 0, 0
            for stroke in root[1].findall("Stroke"):
                for point in stroke.findall("Point"):
                    x = int(float(point.attrib["x"]) - left)
                    y = int(float(point.attrib["y"]) - top)
                    rows.append([x - before_x, y - before_y, 0])
                    before_x, before_y = x, y
                rows[-1][2] = 1
            lines.append(np.array(rows, np.int16))
            xml_bytes += member.size
    return lines, xml_bytes
