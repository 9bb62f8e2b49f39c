"""model.py: the network against reference numbers, Keras and NumPy, and its density."""

from pathlib import Path

from conftest import make_args, make_points, relative_error
from handwriting.network.cells import LSTMState, drop_out, polar_inputs
from handwriting.network.mixture import compiled_nll
from model import Model, mixture, negative_log_likelihood
from train import build_parser, make_optimizer, make_train_step

import keras
import numpy as np
import pytest
import tensorflow as tf

REFERENCE = Path(__file__).parent / "reference" / "forward_lstm.npz"


def values(model):
    """The tensors of all weights."""
    return [variable.value for variable in model.variables.values()]


def step_through(model, x, states=None, masks=()):
    """z_hat [B, T, 1 + 6 M] and final states by Model.step alone; masks: a [T, B, H] per layer."""
    states, outputs = states or model.initial_state(len(x)), []
    for t in range(x.shape[1]):
        z_hat, states = model.step(x[:, t], states, masks=[mask[t] for mask in masks])
        outputs.append(z_hat)
    return tf.stack(outputs, axis=1), states


# ----------------------------------------------------------------- the numbers of the 2015 program


def reference_weights(reference, group):
    """That program's tensors in our order and convention; nothing is added to gradients."""

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
    for variable, value in zip(
        model.variables.values(), reference_weights(reference, "w0"), strict=True
    ):
        variable.assign(value)
    return model


@pytest.mark.parametrize("way", ["plain step", "our loop", "keras"])
def test_model_equals_reference(reference, way):
    model = reference_model(reference)
    states = [LSTMState(h=layer[:, 8:], c=layer[:, :8]) for layer in reference["state_in"]]
    model.on_gpu = way == "keras"
    with tf.GradientTape() as tape:
        if way == "plain step":
            z_hat, finals = step_through(model, reference["x"], states)
        else:
            z_hat, finals = model(reference["x"], states, training=True)
        loss = tf.reduce_mean(negative_log_likelihood(z_hat, reference["y"]))
    gradients = tape.gradient(loss, values(model))

    assert float(loss) == pytest.approx(float(reference["cost"]), rel=1e-6)
    for name, value in zip(
        ("pi", "mu1", "mu2", "sigma1", "sigma2", "corr", "eos"), mixture(z_hat), strict=True
    ):
        assert relative_error(np.reshape(value, reference[name].shape), reference[name]) < 1e-5, (
            name
        )
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
    losses = [
        float(train_step((reference["x"], reference["y"]), tf.constant(k))[0]) for k in range(3)
    ]
    assert losses == pytest.approx(reference["costs_adam"].tolist(), rel=1e-5)
    for ours, theirs in zip(values(model), reference_weights(reference, "w3"), strict=True):
        assert relative_error(ours, theirs) < 1e-5


# ------------------------------------------------------------------------------------------ layers


def test_polar_inputs_are_direction_and_half_the_logarithm_of_the_length():
    points = np.array([[3, -4, 1], [0, 0, 0], [0, 0.05, 0], [1e38, -1e38, 0]], np.float32)
    inputs = polar_inputs(points).numpy()
    assert np.array_equal(inputs[:, :3], points)
    assert np.allclose(inputs[:, 3:5], [[0.6, -0.8], [0, 0], [0, 1], [0.5**0.5, -(0.5**0.5)]])
    assert np.allclose(inputs[:3, 5], np.log([5, 0.01, 0.05]) / 2) and np.isfinite(inputs).all()


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


def test_peephole_follows_graves_equations():
    rng = np.random.default_rng(3)
    model = Model(make_args(rnn_size=4, num_layers=1, peephole=True))
    p = rng.normal(size=(3, 4))
    model.variables["layers.0.peephole"].assign(p)
    kernel, recurrent, bias = (v.numpy().astype(float) for v in values(model)[:3])
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
    kernel, bias = (v.numpy().astype(float) for v in values(model)[-2:])
    assert relative_error(z_hat[0], np.stack(expected) @ kernel + bias) < 1e-5


def test_layer_norm_follows_the_papers_equations():
    rng = np.random.default_rng(4)
    model = Model(make_args(rnn_size=4, num_layers=1, layer_norm=True))
    gain, offset = rng.normal(size=(2, 5, 4))
    model.variables["layers.0.norm"].assign(np.stack([gain, offset]))
    kernel, recurrent, bias = (v.numpy().astype(float) for v in values(model)[:3])
    x, h, c = rng.normal(size=(1, 6, 3)), np.zeros(4), np.zeros(4)

    def normalised(values, k):
        return gain[k] * (values - values.mean()) / np.sqrt(values.var() + 1e-5) + offset[k]

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    expected = []
    for point in x[0]:
        i, f, g, o = (
            normalised(z, k)
            for k, z in enumerate(np.split(point @ kernel + h @ recurrent + bias, 4))
        )
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(normalised(c, 4))
        expected.append(h)
    z_hat, _ = model(x.astype(np.float32))
    kernel, bias = (v.numpy().astype(float) for v in values(model)[-2:])
    assert relative_error(z_hat[0], np.stack(expected) @ kernel + bias) < 1e-5


def test_forget_bias_is_one():
    bias = Model(make_args()).variables["layers.0.bias"].numpy()
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    gains, offsets = Model(make_args(layer_norm=True)).variables["layers.0.norm"].numpy()
    assert (gains == 1).all() and offsets.tolist() == [[float(gate == "f")] * 8 for gate in "ifgoc"]


EVERYTHING = {"peephole": True, "layer_norm": True, "skip": True, "polar": True}


@pytest.mark.parametrize(
    ("network", "on_gpu"),  # on a GPU the Keras layers run; here they run on the CPU
    [
        ({"peephole": True}, False),
        (EVERYTHING, False),
        ({"skip": True, "polar": True}, True),
        ({"model": "gru", "skip": True, "polar": True}, True),
        ({"model": "rnn"}, False),
    ],
)
def test_model_equals_its_step_with_dropout_and_carried_state(network, on_gpu):
    model = Model(make_args(num_layers=2, keep_prob=0.7, **network))
    model.on_gpu = on_gpu
    for variable in model.variables.values():
        variable.assign(variable + 0.3 * tf.random.stateless_normal(variable.shape, [1, 2]))
    x, y = make_points(2, 9), make_points(2, 9, seed=1)
    _, carried = step_through(model, x)
    masks = model.dropout_masks(9, 2, [1, 2])
    results = []
    for run in (step_through, lambda *args: model(args[1], args[2], True, args[3])):
        with tf.GradientTape() as tape:
            z_hat, states = run(model, x, carried, masks)
            loss = tf.reduce_mean(negative_log_likelihood(z_hat, y))
        results.append([z_hat, *tf.nest.flatten(states), *tape.gradient(loss, values(model))])
    for theirs, ours in zip(*results, strict=True):
        assert relative_error(ours, theirs) < 1e-5
    assert relative_error(model(x, carried)[0], step_through(model, x, carried)[0]) < 1e-5
    # The state that is fed in is used: the program of 2018 forgot it.
    assert relative_error(model(x)[0], model(x, carried)[0]) > 1e-2


def test_dropout_falls_on_every_layers_output_and_never_on_the_input():
    model = Model(make_args(keep_prob=0.8))
    masks = model.dropout_masks(200, 50, [1, 2])
    assert len(masks) == 2
    for mask in masks:
        assert mask.shape == (200, 50, 8) and mask.dtype == tf.bool
        assert np.mean(mask) == pytest.approx(0.8, abs=0.005)
    assert drop_out(tf.constant([4.0, 4.0]), tf.constant([True, False]), 0.8).numpy().tolist() == [
        5.0,
        0.0,
    ]
    x, kept, dropped = make_points(), tf.ones([12, 2, 8], tf.bool), tf.zeros([12, 2, 8], tf.bool)
    assert np.allclose(model(x, masks=[kept, dropped])[0], model.output.bias.value)
    silent = model(x, masks=[dropped, kept])[0]
    assert np.allclose(
        silent[0], silent[1]
    )  # the lower layer's output is dropped whole, so the input is not seen
    assert Model(make_args(keep_prob=0.8), infer=True).dropout_masks(3, 2, [1, 2]) == []


def test_loss_drops_out_in_training_alone_by_its_seed():
    model, x, y = Model(make_args(keep_prob=0.5)), make_points(), make_points(seed=1)
    first, same, other = (float(model.loss(x, y, tf.constant([1, k]))) for k in (0, 0, 1))
    assert first == same != other
    assert float(model.loss(x, y)) == pytest.approx(
        float(np.mean(negative_log_likelihood(model(x)[0], y))), rel=1e-5
    )


@pytest.mark.parametrize(
    ("floatx", "policy"), [("float64", "float64"), ("float16", "mixed_float16")]
)
def test_types_do_not_depend_on_the_users_keras_configuration(floatx, policy):
    x, y = make_points(), make_points(seed=1)

    def losses():
        model = Model(make_args(model="gru", num_layers=1))
        args = build_parser().parse_args(["--optimizer=muon"])
        train_step = make_train_step(model, make_optimizer(args, model), 10.0)
        return [float(train_step((x, y), tf.constant(k))[0]) for k in range(3)]

    expected, before = losses(), (keras.config.floatx(), keras.config.dtype_policy())
    try:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        assert losses() == expected
        assert keras.config.floatx() == floatx and keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def test_seed_decides_weights():
    first, same, other = (values(Model(make_args(seed=seed))) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_model_names_the_kinds_of_layer_it_knows():
    with pytest.raises(ValueError, match=r"model is 'lsmt'; allowed are rnn, gru, lstm"):
        Model(make_args(model="lsmt"))
