"""model.py: the network against reference numbers, Keras and NumPy, and its density."""

import math
import os
from pathlib import Path

import model as model_module
from conftest import end, make_args, make_points, relative_error, start_forked
from model import (
    LSTMState,
    Model,
    compiled_nll,
    drop_out,
    lstm_sequence,
    lstm_step,
    mixture,
    negative_log_likelihood,
    parts,
    sample_point,
    set_threads,
)
from train import make_train_step

import keras
import numpy as np
import pytest
import tensorflow as tf

REFERENCE = Path(__file__).parent / "reference" / "forward_lstm.npz"


# ------------------------------------------------------------------------------- the numbers of the 2015 program


def reference_weights(reference, group):
    """That program's tensors in our order and convention; where they are gradients, nothing is added to the bias."""

    def gates(array):  # i, j, f, o -> i, f, j, o
        i, j, f, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, f, j, o], axis=-1)

    weights = []
    for layer, inputs in enumerate((3, 8)):
        name = f"{group}/rnnlm/multi_rnn_cell/cell_{layer}/basic_lstm_cell/"
        kernel, bias = gates(reference[name + "kernel"]), gates(reference[name + "bias"])
        if group != "grad":
            bias[8:16] += 1.0  # its forget bias stands outside the weights
        weights += [kernel[:inputs], kernel[inputs:], bias]
    for name in ("output_w", "output_b"):
        array = reference[f"{group}/rnnlm/{name}"].copy()
        array[..., 0] *= -1.0  # its eos is sigmoid(Z_0)
        weights.append(array)
    return weights


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as file:
        return dict(file)


def reference_model(reference):
    model = Model(make_args())
    for variable, value in zip(model.trainable_variables, reference_weights(reference, "w0"), strict=True):
        variable.assign(value)
    return model


@pytest.mark.parametrize("training", [False, True], ids=["keras", "ours"])
def test_model_equals_reference(reference, training):
    model = reference_model(reference)
    states = [LSTMState(h=layer[:, 8:], c=layer[:, :8]) for layer in reference["state_in"]]
    with tf.GradientTape() as tape:
        z_hat, finals = model(reference["x"], states, training=training)
        loss = tf.reduce_mean(negative_log_likelihood(z_hat, reference["y"]))
    gradients = tape.gradient(loss, model.trainable_variables)

    assert float(loss) == pytest.approx(float(reference["cost"]), rel=1e-6)
    for name, value in zip(("pi", "mu1", "mu2", "sigma1", "sigma2", "corr", "eos"), mixture(z_hat), strict=True):
        assert relative_error(np.reshape(value, reference[name].shape), reference[name]) < 1e-5, name
    for ours, theirs in zip(finals, reference["state_out"], strict=True):
        assert relative_error(np.concatenate([ours.c, ours.h], axis=1), theirs) < 1e-5
    for ours, theirs in zip(gradients, reference_weights(reference, "grad"), strict=True):
        assert relative_error(ours, theirs) < 1e-5


def test_train_step_equals_three_reference_steps(reference):
    model = reference_model(reference)
    model.initial_state = lambda batch_size: [
        LSTMState(h=layer[:, 8:], c=layer[:, :8]) for layer in reference["state_in"]
    ]
    train_step = make_train_step(model, keras.optimizers.Adam(0.005, epsilon=1e-8), grad_clip=10.0)
    losses = [float(train_step(reference["x"], reference["y"])[0]) for _ in range(3)]
    assert losses == pytest.approx(reference["costs_adam"].tolist(), rel=1e-5)
    for ours, theirs in zip(model.trainable_variables, reference_weights(reference, "w3"), strict=True):
        assert relative_error(ours, theirs) < 1e-5


# ------------------------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize(
    ("layers", "flags", "dropout"),  # dropout: of outputs (h), of the gate g
    [(1, [], ""), (2, ["peephole"], "hg"), (3, [], "h"), (3, ["peephole"], ""), (2, [], "g"), (1, ["skip"], "h"),
     (3, ["peephole", "skip"], "hg"), (2, ["layer_norm"], "h"), (3, ["peephole", "layer_norm", "skip"], "hg")],
)
def test_lstm_sequence_derivative_equals_automatic_one(layers, flags, dropout):
    batch, steps, units = 3, 7, 5
    rng = np.random.default_rng(layers)

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    model = Model(make_args(rnn_size=units, num_layers=layers, **dict.fromkeys(flags, True)))
    skip, vectors = "skip" in flags, [*model.peepholes, *model.norms]
    for variable in vectors:
        variable.assign(draw(*variable.shape))
    x, states = draw(steps, batch, 3), [LSTMState(draw(batch, units), draw(batch, units)) for _ in range(layers)]
    masks, g_masks = ([draw(steps, batch, units) > 0 for _ in range(layers) if what in dropout] for what in "hg")
    d_out, d_final = draw(steps, batch, units * (layers if skip else 1)), draw(batch, units)

    def automatic(x, states, weights):  # the same equations, differentiated by TensorFlow
        outputs = []
        for t in range(steps):
            below, states, read = x[t], list(states), []
            for k in range(layers):
                if skip and k:
                    below = tf.concat([below, x[t]], axis=1)
                z = tf.concat([below, states[k].h], axis=1) @ weights[k].w + weights[k].b
                drop_g = [g_masks[k][t], 0.6] if g_masks else []
                states[k] = lstm_step(tf.split(z, 4, axis=1), states[k].c, weights[k].p, weights[k].n, *drop_g)
                below = states[k].h * tf.cast(masks[k][t], tf.float32) / 0.7 if masks else states[k].h
                read.append(below)
            outputs.append(tf.concat(read if skip else read[-1:], axis=1))
        return tf.stack(outputs), states

    results = []
    def by_hand(x, states, weights):
        return lstm_sequence(x, masks, 0.7, states, weights, tf.float32, skip, g_masks, 0.6)

    for run in (automatic, by_hand):
        inputs = [x, *tf.nest.flatten(states), *model.trainable_variables[: 3 * layers], *vectors]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, finals = run(x, states, model.lstm_weights())
            total = tf.reduce_sum(outputs * d_out) + sum(tf.reduce_sum(d_final * v) for v in tf.nest.flatten(finals))
        results.append([outputs, *tf.nest.flatten(finals), *tape.gradient(total, inputs)])
    for theirs, ours in zip(*results, strict=True):
        assert relative_error(ours, theirs) < 1e-5


@pytest.mark.parametrize(("layers", "units", "batch", "steps", "flags"),
                         [(1, 16, 3, 20, []), (2, 32, 5, 40, []), (3, 7, 1, 11, []), (3, 7, 4, 11, ["skip"]),
                          (2, 7, 4, 11, ["polar"]), (3, 7, 4, 11, ["skip", "polar"])])
def test_lstm_sequence_equals_keras_layers(layers, units, batch, steps, flags):
    model = Model(make_args(rnn_size=units, num_layers=layers, keep_prob=0.7, **dict.fromkeys(flags, True)))
    x, y = make_points(batch, steps), make_points(batch, steps, seed=1)
    masks = model.dropout_masks(steps, batch, 0.7)
    model.dropout_masks = lambda _, __, keep_prob: masks if keep_prob < 1 else []
    results = []
    for model.on_gpu in (False, True):  # on a GPU the Keras layers run; here they run on the CPU
        with tf.GradientTape() as tape:
            z_hat, states = model(x, training=True)
            loss = tf.reduce_mean(negative_log_likelihood(z_hat, y))
        results.append([z_hat, *tf.nest.flatten(states), *tape.gradient(loss, model.trainable_variables)])
    for ours, theirs in zip(*results, strict=True):
        assert relative_error(ours, theirs) < 1e-5


def test_polar_inputs_are_direction_and_half_the_logarithm_of_the_length():
    points = np.array([[3, -4, 1], [0, 0, 0], [0, 0.05, 0], [1e38, -1e38, 0]], np.float32)
    inputs = model_module.polar_inputs(points).numpy()
    assert np.array_equal(inputs[:, :3], points)
    assert np.allclose(inputs[:, 3:5], [[0.6, -0.8], [0, 0], [0, 1], [0.5**0.5, -(0.5**0.5)]])
    assert np.allclose(inputs[:3, 5], np.log([5, 0.01, 0.05]) / 2) and np.isfinite(inputs).all()


@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_dropout_reaches_all_layers_of_the_other_kinds(kind):
    model = Model(make_args(model=kind, keep_prob=0.5))
    x = make_points()
    plain = model(x)[0]
    masks = [tf.ones([12, 2, 8], tf.bool), tf.ones([12, 2, 8], tf.bool)]
    model.keep_prob = 1.0
    given = [masks, []] * 3  # for outputs and for the gate g, which these kinds do not have
    model.dropout_masks = lambda *_: given.pop(0)
    assert np.allclose(model(x, training=True)[0], plain)
    for k in range(2):
        changed = [*masks]
        changed[k] = tf.zeros([12, 2, 8], tf.bool)
        given[0] = changed
        assert not np.allclose(model(x, training=True)[0], plain)


def test_loss_of_a_minibatch_in_parts_is_that_of_the_whole(monkeypatch):
    x, y = make_points(7, 30), make_points(7, 30, seed=1)
    results = []
    monkeypatch.setattr(model_module, "PART_ROWS", 2)
    for number in (0, 3, 5):  # 0 is what TensorFlow says where nothing was set
        monkeypatch.setattr(tf.config.threading, "get_inter_op_parallelism_threads", lambda number=number: number)
        assert [len(part) for part, _ in parts(x, y)] == ([2, 2, 3] if number else [7])  # not five
        model = Model(make_args(keep_prob=1.0))
        with tf.GradientTape() as tape:
            loss = model.loss(x, y, training=True)
        results.append([loss, *tape.gradient(loss, model.trainable_variables)])
    for whole, *sums in zip(*results, strict=True):
        assert all(relative_error(value, whole) < 1e-5 for value in sums)


def tell_threads(batch_size, cores):
    """Print what set_threads does on a machine with some cores, for a process that has not used TensorFlow."""
    os.sched_getaffinity = lambda _: range(cores)
    set_threads(batch_size)
    tf.zeros([1])
    set_threads(50)
    print(*(getattr(tf.config.threading, f"get_{kind}_op_parallelism_threads")() for kind in ("intra", "inter")))


@pytest.mark.parametrize(("batch_size", "cores", "expected"), [(50, 2, "1 2"), (50, 8, "2 4"), (23, 8, "0 0")])
def test_set_threads_gives_a_part_to_each_core_before_tensorflow_is_at_work(tmp_path, batch_size, cores, expected):
    assert end(start_forked(tmp_path / "process", tell_threads, batch_size, cores)) == (0, [expected], [])


def test_compiled_nll_has_the_value_and_derivative_of_the_loss():
    z_hat, target = tf.random.stateless_normal([3, 4, 19], [1, 2]), make_points(3, 4)
    results = []
    for function in (negative_log_likelihood, compiled_nll):
        with tf.GradientTape() as tape:
            tape.watch(z_hat)
            nll = function(z_hat, target, -1.0)
            total = tf.reduce_sum(nll * tf.range(4.0))
        results.append([nll, tape.gradient(total, z_hat)])
    for plain, ours in zip(*results, strict=True):
        assert relative_error(ours, plain) < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_short_sequence_trains(steps):
    x, y = make_points(4, steps), make_points(4, steps, seed=1)
    results = []
    for training in (True, False):
        model = Model(make_args(keep_prob=1.0))
        with tf.GradientTape() as tape:
            loss = model.loss(x, y, training)
        results.append([loss, *tape.gradient(loss, model.trainable_variables)])
    for ours, theirs in zip(*results, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_bfloat16_products_differ_by_their_own_error_only():
    x, y = make_points(4, 30), make_points(4, 30, seed=1)
    results = []
    for precision in ("float32", "bfloat16"):
        model = Model(make_args(rnn_size=32, precision=precision))
        with tf.GradientTape() as tape:
            loss = model.loss(x, y, training=True)
        results.append([loss, *tape.gradient(loss, model.trainable_variables)])
        assert all(v.dtype == tf.float32 for v in model.trainable_variables)
    errors = [relative_error(ours, theirs) for theirs, ours in zip(*results, strict=True)]
    assert errors[0] < 2e-3
    assert 1e-5 < max(errors) < 3e-2


def test_bfloat16_is_for_the_lstm_loop_alone():
    kinds = {kind: Model(make_args(model=kind, precision="bfloat16")).product_type for kind in ("lstm", "gru", "rnn")}
    assert kinds == {"lstm": tf.bfloat16, "gru": tf.float32, "rnn": tf.float32}


def test_peephole_follows_graves_equations():
    rng = np.random.default_rng(3)
    model = Model(make_args(rnn_size=4, num_layers=1, peephole=True))
    p = rng.normal(size=(3, 4))
    model.peepholes[0].assign(p)
    kernel, recurrent, bias = (v.numpy().astype(float) for v in model.trainable_variables[:3])
    x, h, c = rng.normal(size=(1, 6, 3)), np.zeros(4), np.zeros(4)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    expected = []
    for point in x[0]:
        zi, zf, zg, zo = np.split(point @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(zf + p[1] * c) * c + sigmoid(zi + p[0] * c) * np.tanh(zg)
        h = sigmoid(zo + p[2] * c) * np.tanh(c)
        expected.append(h)
    z_hat, _ = model(x.astype(np.float32))
    kernel, bias = (v.numpy().astype(float) for v in model.trainable_variables[3:5])
    assert relative_error(z_hat[0], np.stack(expected) @ kernel + bias) < 1e-5


def test_layer_norm_follows_the_papers_equations():
    rng = np.random.default_rng(4)
    model = Model(make_args(rnn_size=4, num_layers=1, layer_norm=True))
    gain, offset = rng.normal(size=(2, 5, 4))
    model.norms[0].assign([gain, offset])
    kernel, recurrent, bias = (v.numpy().astype(float) for v in model.trainable_variables[:3])
    x, h, c = rng.normal(size=(1, 6, 3)), np.zeros(4), np.zeros(4)

    def normalised(values, k):
        return gain[k] * (values - values.mean()) / np.sqrt(values.var() + 1e-5) + offset[k]

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    expected = []
    for point in x[0]:
        i, f, g, o = (normalised(z, k) for k, z in enumerate(np.split(point @ kernel + h @ recurrent + bias, 4)))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(normalised(c, 4))
        expected.append(h)
    z_hat, _ = model(x.astype(np.float32))
    kernel, bias = (v.numpy().astype(float) for v in model.trainable_variables[3:5])
    assert relative_error(z_hat[0], np.stack(expected) @ kernel + bias) < 1e-5


def test_forget_bias_is_one():
    bias = Model(make_args()).trainable_variables[2].numpy()
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    gains, offsets = Model(make_args(layer_norm=True)).norms[0].numpy()
    assert (gains == 1).all() and offsets.tolist() == [[float(gate == "f")] * 8 for gate in "ifgoc"]


NETWORKS = [{"model": "lstm"}, {"peephole": True}, {"layer_norm": True}, {"model": "gru"}, {"model": "rnn"},
            {"skip": True}, {"polar": True}, {"peephole": True, "layer_norm": True, "skip": True, "polar": True},
            {"model": "gru", "skip": True, "polar": True}]


@pytest.mark.parametrize("network", NETWORKS)
def test_stepping_with_carried_state_equals_whole_sequence(network):
    model = Model(make_args(num_layers=3, **network))
    for variable in model.trainable_variables:
        variable.assign_add(0.3 * tf.random.stateless_normal(variable.shape, [1, 2]))
    x = make_points(2, 9)
    whole, finals = model(x)
    first, states = model(x[:, :4])
    second, _ = model(x[:, 4:], states)
    assert relative_error(tf.concat([first, second], axis=1), whole) < 1e-5

    states, outputs = model.initial_state(2), []
    for t in range(9):
        h, states = model.step(x[:, t], states)
        outputs.append(model.output(h))
    assert relative_error(tf.stack(outputs, axis=1), whole) < 1e-5
    for ours, theirs in zip(tf.nest.flatten(states), tf.nest.flatten(finals), strict=True):
        assert relative_error(ours, theirs) < 1e-5
    # The state that is fed in is used: the program of 2018 forgot it.
    assert relative_error(model(x, finals)[0], whole) > 1e-2


def test_dropout_falls_on_every_layers_output_and_never_on_the_input():
    model = Model(make_args(keep_prob=0.8))
    masks = model.dropout_masks(200, 50, 0.8)
    assert len(masks) == 2
    for mask in masks:
        assert mask.shape == (200, 50, 8) and mask.dtype == tf.bool
        assert np.mean(mask) == pytest.approx(0.8, abs=0.005)
    assert drop_out(tf.constant([4.0, 4.0]), tf.constant([True, False]), 0.8).numpy().tolist() == [5.0, 0.0]
    x = make_points()
    nothing = [tf.ones([12, 2, 8], tf.bool), tf.zeros([12, 2, 8], tf.bool)]
    model.dropout_masks = lambda _, __, keep_prob: nothing if keep_prob < 1 else []
    assert np.allclose(model(x, training=True)[0], model.output.bias.value)
    nothing.reverse()
    silent = model(x, training=True)[0]
    assert np.allclose(silent[0], silent[1])  # the lower layer's output is dropped whole, so the input is not seen
    assert not np.allclose(model(x)[0], model(x, training=True)[0])
    infer = Model(make_args(keep_prob=0.8, recurrent_keep_prob=0.7), infer=True)
    assert infer.dropout_masks(3, 2, infer.keep_prob) == infer.dropout_masks(3, 2, infer.recurrent_keep_prob) == []


@pytest.mark.parametrize("on_gpu", [False, True])
def test_recurrent_dropout_falls_on_what_goes_into_the_memory_cell(on_gpu):
    model = Model(make_args(recurrent_keep_prob=0.6))
    model.on_gpu = on_gpu
    one, start = [tf.ones([1, 8], tf.bool)], LSTMState(tf.random.normal([1, 8]), tf.random.normal([1, 8]))
    x = make_points(1, 1)

    def cells(*masks):  # after one point: outputs are kept; of the gates g what the masks say
        given = [[], [mask[None] for mask in masks]]
        model.dropout_masks = lambda *_: given.pop(0)
        return [state.c[0] for state in model(x, [start, start], training=True)[1]]

    weights = model.lstm_weights()[0]
    z = tf.concat([x[:, 0], start.h], axis=1) @ weights.w + weights.b
    z = tf.split(z, 4, axis=1)
    f, unchanged = tf.sigmoid(z[1])[0], lstm_step(z, start.c).c[0]
    zero = tf.zeros([1, 8], tf.bool)
    np.testing.assert_allclose(cells(zero, *one)[0], f * start.c[0], rtol=1e-5)  # what was in the cell stays
    kept = f * start.c[0] + (unchanged - f * start.c[0]) / 0.6
    np.testing.assert_allclose(cells(*one, zero)[0], kept, rtol=1e-5, atol=1e-6)
    mean = np.mean(Model(make_args(recurrent_keep_prob=0.6)).dropout_masks(200, 50, 0.6)[1])
    assert mean == pytest.approx(0.6, abs=0.005)


def test_seed_decides_weights_and_dropout():
    first, same, other = (Model(make_args(keep_prob=0.5, seed=seed)) for seed in (1, 1, 2))
    for a, b in zip(first.trainable_variables, same.trainable_variables, strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(first.trainable_variables[0], other.trainable_variables[0])
    mask = first.dropout_masks(5, 4, 0.5)
    assert np.array_equal(mask, same.dropout_masks(5, 4, 0.5))
    assert not np.array_equal(mask, first.dropout_masks(5, 4, 0.5))


@pytest.mark.parametrize("changes", [{}, {"model": "gru"}, {"model": "rnn", "num_layers": 1}, {"peephole": True},
                                     {"model": "gru", "peephole": True, "layer_norm": True},
                                     {"skip": True, "num_layers": 3}, {"layer_norm": True, "peephole": True},
                                     {"polar": True}, {"skip": True, "polar": True, "num_layers": 3}])
def test_shapes_are_those_of_the_model(changes):
    args = make_args(**changes)
    model = Model(args)
    variables = [*model.trainable_variables, model.generator.state]
    assert model_module.shapes(args) == [v.shape.as_list() for v in variables]


def test_model_names_the_kinds_of_layer_it_knows():
    with pytest.raises(ValueError, match=r"model is 'lsmt'; allowed are rnn, gru, lstm"):
        Model(make_args(model="lsmt"))


# ------------------------------------------------------------------------------------------------- the density


PI, RHO, EOS = np.array([0.3, 0.7]), np.array([0.6, -0.9]), 0.2
MU, SIGMA = np.array([[0.5, 0.0], [-1.0, 1.0]]), np.array([[0.4, 1.5], [1.0, 0.5]])  # [component, axis]


def one_output():
    """z_hat [1 + 6 M] of the mixture above."""
    parts = [[-math.log(EOS / (1 - EOS))], np.log(PI), *MU.T, *np.log(SIGMA).T, np.arctanh(RHO)]
    return np.concatenate(parts).astype(np.float32)


def test_density_integrates_to_one():
    grid = np.linspace(-9, 9, 601)
    dx, dy = np.meshgrid(grid, grid)
    total = 0.0
    for eos in (0.0, 1.0):
        target = np.stack([dx, dy, np.full_like(dx, eos)], axis=-1).astype(np.float32)
        total += np.exp(-negative_log_likelihood(one_output(), target).numpy()).sum() * (grid[1] - grid[0]) ** 2
    assert total == pytest.approx(1.0, abs=1e-4)


def test_likelihood_equals_plain_formula():
    dx, dy = 0.3, -0.4
    u, v = ((np.array([dx, dy]) - MU) / SIGMA).T
    z = u**2 + v**2 - 2 * RHO * u * v  # eq. 25
    normal = np.exp(-z / (2 * (1 - RHO**2))) / (2 * np.pi * SIGMA.prod(axis=1) * np.sqrt(1 - RHO**2))  # eq. 24
    for eos, probability in ((1.0, EOS), (0.0, 1 - EOS)):
        expected = -math.log(PI @ normal * probability)
        ours = float(negative_log_likelihood(one_output(), np.float32([dx, dy, eos])))
        assert ours == pytest.approx(expected, rel=1e-5)


def test_mixture_gives_the_parameters_back():
    for ours, theirs in zip(mixture(one_output()), [PI, *MU.T, *SIGMA.T, RHO, EOS], strict=True):
        assert np.allclose(ours, theirs, rtol=1e-5)


def test_eos_has_the_posts_sign():
    z_hat = np.zeros(7, np.float32)
    z_hat[0] = 2.0
    assert float(mixture(z_hat).eos) == pytest.approx(1 / (1 + math.exp(2.0)), rel=1e-6)


def test_samples_agree_with_mean_and_covariance():
    n, z_hat = 200_000, one_output()
    rng = np.random.default_rng(0)
    noise = np.concatenate([rng.uniform(size=(n, 2)), rng.normal(size=(n, 2))], axis=1).astype(np.float32)
    points = sample_point(np.tile(z_hat, [n, 1]), noise).numpy().astype(float)
    mean = PI @ MU
    covariance = np.zeros([2, 2])
    for pi, mu, sigma, rho in zip(PI, MU, SIGMA, RHO, strict=True):
        covariance += pi * (np.outer(sigma, sigma) * [[1, rho], [rho, 1]] + np.outer(mu - mean, mu - mean))
    assert points[:, :2].mean(axis=0) == pytest.approx(mean, abs=0.01)
    assert np.cov(points[:, :2].T) == pytest.approx(covariance, abs=0.02)
    assert points[:, 2].mean() == pytest.approx(EOS, abs=0.005)


@pytest.mark.parametrize("far", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("raw", [60.0, -60.0])
def test_loss_and_gradient_are_finite_and_not_zero_at_extremes(raw, far):
    targets = np.float32([[far, -far, 0.0], [far, far, 1.0]])
    for k in range(7):  # each part of z_hat in turn, then all of them
        z_hat = np.zeros([2, 19], np.float32)
        z_hat[:, slice(None) if k == 6 else slice(1 + 3 * k, 4 + 3 * k)] = raw
        z_hat = tf.constant(z_hat)
        with tf.GradientTape() as tape:
            tape.watch(z_hat)
            loss = negative_log_likelihood(z_hat, targets)
        gradient = tape.gradient(loss, z_hat).numpy()
        assert np.isfinite(loss).all()
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=1) > 1e-6).all()


def test_loss_and_gradient_are_finite_for_any_finite_numbers():
    rng = np.random.default_rng(0)
    extremes = np.float32([0, 1e-30, -1, 80, -90, 1e6, -1e19, 3.4e38, -3.4e38])
    z_hat = tf.constant(rng.choice(extremes, [5000, 19]))
    targets = np.float32(rng.integers(0, 2, [5000, 3]))
    targets[2500:, :2] = rng.choice(extremes, [2500, 2])
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        loss = tf.reduce_mean(negative_log_likelihood(z_hat, targets))
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, z_hat)).all()
    assert all(np.isfinite(value).all() for value in mixture(z_hat))


def narrow_network(**flags):
    """A network of one component, as narrow as it may be, at (0, 0), and no ends of stroke."""
    model = Model(make_args(rnn_size=1, num_layers=1, num_mixture=1, keep_prob=1.0, **flags))
    for variable in model.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    model.trainable_variables[4].assign([50.0, 0.0, 0.0, 0.0, -60.0, -60.0, 0.0])
    return model


def test_a_component_past_the_bounds_is_pulled_back():
    z_hat = tf.constant([[0.0, 0.0, 0.0, 0.0, -60.0, -60.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        loss = negative_log_likelihood(z_hat, np.float32([[1.0, 1.0, 0.0]]))
    gradient = tape.gradient(loss, z_hat)[0]
    assert float(gradient[4]) < 0  # a step against it makes the deviation larger
    assert float(mixture(z_hat).sigma1[0, 0]) == pytest.approx(math.exp(model_module.LOG_SIGMA_MIN))


@pytest.mark.parametrize("nll", [negative_log_likelihood, compiled_nll])
@pytest.mark.parametrize(("sigma1", "sigma2", "rho", "move", "beyond"),
                         [(-60.0, -5.0, 0.0, 0.0, [4, 5]), (-3.0, -3.0, 6.0, 0.05, [6])])
def test_what_is_past_its_bound_is_not_pushed_further(nll, sigma1, sigma2, rho, move, beyond):
    # Or what is narrower or more correlated than it can be, and wins nothing by it, would become so without end.
    z_hat = tf.constant([[0.0, 0.0, 0.0, 0.0, sigma1, sigma2, rho]])
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        loss = nll(z_hat, np.float32([[move, move, 0.0]]), tf.constant(-4.24))
    gradient = tape.gradient(loss, z_hat)[0].numpy()
    assert gradient[0] != 0 and (gradient[beyond] == 0).all()


def test_bound_passes_the_gradient_where_it_leads_back():
    value, d = np.meshgrid([-3.0, -1.0, 0.0, 2.0, 5.0], [-1.0, 1.0])
    with tf.GradientTape() as tape:
        x = tf.constant(value)
        tape.watch(x)
        kept = model_module.bound(x, -1.0, 2.0)
        loss = tf.reduce_sum(kept * d)
    assert kept.numpy().tolist() == [[-1.0, -1.0, 0.0, 2.0, 2.0]] * 2
    assert tape.gradient(loss, x).numpy().tolist() == [[-1.0, -1.0, -1.0, -1.0, 0.0], [0.0, 1.0, 1.0, 1.0, 1.0]]


def test_no_deviation_is_below_that_of_rounding_to_pen_units():
    # Narrower components win on the whole numbers that coordinates are, not on handwriting.
    assert math.sqrt(12) * model_module.SIGMA_MIN == pytest.approx(1, rel=0.01)
    rest = np.zeros([1, 2, 3], np.float32)  # the pen does not move
    for scale in 20.0, 5.0:
        model = narrow_network(data_scale=scale)
        nats = -math.log(12 * scale**2 / (2 * math.pi))
        (score, _), = model_module.make_score(model)(rest)
        assert score == pytest.approx(nats, abs=0.01)
        assert [float(model.loss(rest[:, :1], rest[:, 1:], training)) for training in (False, True)] == pytest.approx(
            [nats, nats], abs=0.01)


@pytest.mark.parametrize(("asked", "least"), [(3.0, 3.0), (0.0, 20 * math.exp(model_module.LOG_SIGMA_MIN))])
def test_sigma_min_bounds_what_is_learned_and_drawn_and_taught(asked, least):
    model, rest = narrow_network(sigma_min=asked), np.zeros([1, 2, 3], np.float32)
    expected = -math.log((20 / least)**2 / (2 * math.pi))
    (score, _), = model_module.make_score(model)(rest)
    assert score == pytest.approx(expected, abs=1e-4)
    assert [float(model.loss(rest[:, :1], rest[:, 1:], training)) for training in (False, True)] == pytest.approx(
        [expected, expected], abs=1e-4)
    strokes, params = model.sample(tf.random.Generator.from_seed(0), 2000)
    assert params.sigma1 == pytest.approx(np.full([2000, 1], least), rel=1e-4)
    taught = model_module.draw_taught([model], np.ones([1, 1000, 3], np.float32), np.ones([1, 1000, 3], np.float32),
                                      tf.random.Generator.from_seed(0))
    for moves in strokes[:, :2], 20 * np.concatenate([part[0, :, :2] for part in taught]):
        assert moves.std() == pytest.approx(least, rel=0.1)


def test_no_component_is_narrower_than_that_in_any_direction():
    rng = np.random.default_rng(0)
    sigma_hats, rho_hat = rng.uniform(-6, 2, [2, 4000]), rng.uniform(-5, 5, 4000)
    sigma_hats[0, ::7], rho_hat[::5] = sigma_hats[1, ::7], 12  # a strong correlation is the way around
    z_hat = tf.constant(np.concatenate([np.zeros([4, 4000]), sigma_hats, [rho_hat]]).T, tf.float32)
    least = math.exp(-4.24)
    _, _, _, sigma1, sigma2, rho, _ = (np.float64(part) for part in mixture(z_hat, 0.0, math.log(least)))
    covariance = np.empty([4000, 2, 2])
    covariance[:, 0, 0], covariance[:, 1, 1] = sigma1[:, 0]**2, sigma2[:, 0]**2
    covariance[:, 0, 1] = covariance[:, 1, 0] = (rho * sigma1 * sigma2)[:, 0]
    narrow = np.sqrt(np.linalg.eigvalsh(covariance)[:, 0])
    assert narrow.min() == pytest.approx(least, rel=0.01)  # rho is near 1, in float32

    # A component that is wide enough is what the network put out.
    wanted = np.exp(sigma_hats)
    product = np.tanh(rho_hat) * wanted[0] * wanted[1]
    free = (wanted.min(axis=0) > least) & ((wanted[0]**2 - least**2) * (wanted[1]**2 - least**2) > 1.001 * product**2)
    free &= np.abs(rho_hat) < model_module.RHO_HAT_MAX
    assert 500 < free.sum() < 3000
    assert rho[free, 0] == pytest.approx(np.tanh(rho_hat[free]), rel=1e-5)


def test_a_correlation_past_its_bound_is_pulled_back():
    z_hat = tf.constant([[0.0, 0.0, 0.0, 0.0, -3.0, -3.0, 6.0]])
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        loss = negative_log_likelihood(z_hat, np.float32([[0.05, -0.05, 0.0]]), -4.24)
    assert abs(float(mixture(z_hat, 0.0, -4.24).rho[0, 0])) < math.tanh(3)
    assert float(tape.gradient(loss, z_hat)[0, 6]) > 0  # a step against it weakens the correlation
