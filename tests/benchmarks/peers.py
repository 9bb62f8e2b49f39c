"""What run.py measures this program beside: the same network in Keras and PyTorch, the parsing of
the 2015 program.

Packages are imported inside the functions, so that a process which measures one of them holds no
other. `network` is what train.py's flags are there: an object with rnn_size, num_layers and so on.
"""

import math
import tarfile
import xml.etree.ElementTree as ET


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
