"""model.py: the network against reference numbers, Keras and NumPy, and its density."""

import math
from pathlib import Path

import model as model_module
from conftest import make_args, make_points, relative_error
from model import (
    CHUNK,
    LSTMState,
    Model,
    compiled_nll,
    draw_noise,
    drop_out,
    mixture,
    negative_log_likelihood,
    sample_point,
)
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
    inputs = model_module.polar_inputs(points).numpy()
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


# ------------------------------------------------------------------------------------- the density


PI, RHO, EOS = np.array([0.3, 0.7]), np.array([0.6, -0.9]), 0.2
MU, SIGMA = (
    np.array([[0.5, 0.0], [-1.0, 1.0]]),
    np.array([[0.4, 1.5], [1.0, 0.5]]),
)  # [component, axis]


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
        total += (
            np.exp(-negative_log_likelihood(one_output(), target).numpy()).sum()
            * (grid[1] - grid[0]) ** 2
        )
    assert total == pytest.approx(1.0, abs=1e-4)


def test_likelihood_equals_plain_formula():
    dx, dy = 0.3, -0.4
    u, v = ((np.array([dx, dy]) - MU) / SIGMA).T
    z = u**2 + v**2 - 2 * RHO * u * v  # eq. 25
    normal = np.exp(-z / (2 * (1 - RHO**2))) / (
        2 * np.pi * SIGMA.prod(axis=1) * np.sqrt(1 - RHO**2)
    )  # eq. 24
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
    noise = np.concatenate([rng.uniform(size=(n, 2)), rng.normal(size=(n, 2))], axis=1).astype(
        np.float32
    )
    points = sample_point(np.tile(z_hat, [n, 1]), noise).numpy().astype(float)
    mean = PI @ MU
    covariance = np.zeros([2, 2])
    for pi, mu, sigma, rho in zip(PI, MU, SIGMA, RHO, strict=True):
        covariance += pi * (
            np.outer(sigma, sigma) * [[1, rho], [rho, 1]] + np.outer(mu - mean, mu - mean)
        )
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
    for variable in model.variables.values():
        variable.assign(tf.zeros_like(variable))
    model.output.bias.assign([50.0, 0.0, 0.0, 0.0, -60.0, -60.0, 0.0])
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
@pytest.mark.parametrize(
    ("sigma1", "sigma2", "rho", "move", "beyond"),
    [(-60.0, -5.0, 0.0, 0.0, [4, 5]), (-3.0, -3.0, 6.0, 0.05, [6])],
)
def test_what_is_past_its_bound_is_not_pushed_further(nll, sigma1, sigma2, rho, move, beyond):
    # Else outputs grow without end where a component would gain by being narrower still.
    z_hat = tf.constant([[0.0, 0.0, 0.0, 0.0, sigma1, sigma2, rho]])
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        loss = nll(z_hat, np.float32([[move, move, 0.0]]), tf.constant(-4.24))
    gradient = tape.gradient(loss, z_hat)[0].numpy()
    assert gradient[0] != 0 and (gradient[beyond] == 0).all()


def test_clip_keeps_the_gradient_that_leads_back():
    value, d = np.meshgrid([-3.0, -1.0, 0.0, 2.0, 5.0], [-1.0, 1.0])
    with tf.GradientTape() as tape:
        x = tf.constant(value)
        tape.watch(x)
        kept = model_module.clip_keep_inward_gradient(x, -1.0, 2.0)
        loss = tf.reduce_sum(kept * d)
    assert kept.numpy().tolist() == [[-1.0, -1.0, 0.0, 2.0, 2.0]] * 2
    assert tape.gradient(loss, x).numpy().tolist() == [
        [-1.0, -1.0, -1.0, -1.0, 0.0],
        [0.0, 1.0, 1.0, 1.0, 1.0],
    ]


@pytest.mark.parametrize("scale", [20.0, 5.0])
def test_no_deviation_is_below_that_of_rounding_to_pen_units(scale):
    # Narrower components win on the whole numbers that coordinates are, not on handwriting.
    assert math.sqrt(12) * model_module.SIGMA_MIN == pytest.approx(1, rel=0.01)
    rest = np.zeros([1, 2, 3], np.float32)  # the pen does not move
    model = narrow_network(data_scale=scale)
    nats = -math.log(12 * scale**2 / (2 * math.pi))
    losses = [
        float(model.loss(rest[:, :1], rest[:, 1:], seed)) for seed in (None, tf.constant([1, 2]))
    ]
    assert losses == pytest.approx([nats, nats], abs=0.01)
    strokes, params = model.sample(tf.random.Generator.from_seed(0), 2000)
    assert params.sigma1 == pytest.approx(np.full([2000, 1], 0.288), rel=1e-4)
    assert strokes[:, :2].std() == pytest.approx(0.288, rel=0.1)


def test_no_component_is_narrower_than_that_in_any_direction():
    rng = np.random.default_rng(0)
    sigma_hats, rho_hat = rng.uniform(-6, 2, [2, 4000]), rng.uniform(-5, 5, 4000)
    sigma_hats[0, ::7], rho_hat[::5] = (
        sigma_hats[1, ::7],
        12,
    )  # a strong correlation is the way around
    z_hat = tf.constant(np.concatenate([np.zeros([4, 4000]), sigma_hats, [rho_hat]]).T, tf.float32)
    least = math.exp(-4.24)
    _, _, _, sigma1, sigma2, rho, _ = (
        np.float64(part) for part in mixture(z_hat, 0.0, math.log(least))
    )
    covariance = np.empty([4000, 2, 2])
    covariance[:, 0, 0], covariance[:, 1, 1] = sigma1[:, 0] ** 2, sigma2[:, 0] ** 2
    covariance[:, 0, 1] = covariance[:, 1, 0] = (rho * sigma1 * sigma2)[:, 0]
    narrow = np.sqrt(np.linalg.eigvalsh(covariance)[:, 0])
    assert narrow.min() == pytest.approx(least, rel=0.01)  # rho is near 1, in float32

    # A component that is wide enough is what the network put out.
    wanted = np.exp(sigma_hats)
    product = np.tanh(rho_hat) * wanted[0] * wanted[1]
    free = (wanted.min(axis=0) > least) & (
        (wanted[0] ** 2 - least**2) * (wanted[1] ** 2 - least**2) > 1.001 * product**2
    )
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


# ---------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize(
    "network", [{}, EVERYTHING, {"model": "gru", "skip": True}, {"model": "rnn"}]
)
def test_sample_follows_its_own_density(network):
    model = Model(make_args(**network), infer=True)
    num = CHUNK + 30
    strokes, params = model.sample(tf.random.Generator.from_seed(5), num)
    assert strokes.shape == (num, 3)
    assert params.pi.shape == params.rho.shape == (num, 3)
    assert params.eos.shape == (num,)
    assert set(np.unique(strokes[:, 2])) <= {0.0, 1.0}
    # Fed with what it drew after the point (0, 0, 1), it gives the mixtures that it drew from.
    fed = np.concatenate([[[0.0, 0.0, 1.0]], strokes[:-1] / [20.0, 20.0, 1.0]]).astype(np.float32)
    expected = mixture(model(fed[None])[0][0])
    for name, scale in (
        ("pi", 1),
        ("mu1", 20),
        ("mu2", 20),
        ("sigma1", 20),
        ("sigma2", 20),
        ("rho", 1),
        ("eos", 1),
    ):
        assert np.allclose(
            getattr(params, name), scale * getattr(expected, name).numpy(), atol=2e-4
        ), name


def test_sample_depends_on_seed_alone():
    model = Model(make_args(), infer=True)
    first, same, other = (
        model.sample(tf.random.Generator.from_seed(seed), 50)[0] for seed in (3, 3, 4)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    longer = model.sample(tf.random.Generator.from_seed(3), 2 * CHUNK + 1)[0]
    assert np.array_equal(longer[:50], first)


def test_sample_moves_sess_on():
    model, sess = Model(make_args(), infer=True), tf.random.Generator.from_seed(3)
    assert not np.array_equal(model.sample(sess, 20)[0], model.sample(sess, 20)[0])


def test_sample_batch_draws_different_samples():
    model = Model(make_args(), infer=True)
    strokes, params = model.sample_batch(tf.random.Generator.from_seed(3), 30, 4)
    assert strokes.shape == (4, 30, 3)
    assert params.mu1.shape == (4, 30, 3)
    assert len({sample.tobytes() for sample in strokes}) == 4


def test_sample_of_another_length_compiles_nothing():
    model = Model(make_args(), infer=True)
    model.sample(tf.random.Generator.from_seed(1), 10)
    compiled = model.draw_chunk.experimental_get_tracing_count()
    model.sample(tf.random.Generator.from_seed(1), 250)
    assert model.draw_chunk.experimental_get_tracing_count() == compiled == 1


def test_bias_sharpens_the_mixture_as_graves_says():
    z_hat = np.random.default_rng(1).normal(size=(5, 19)).astype(np.float32)
    pi_hat, sigma1_hat, sigma2_hat = z_hat[:, 1:4], z_hat[:, 10:13], z_hat[:, 13:16]
    plain, biased = mixture(z_hat), mixture(z_hat, 1.5)
    pi = np.exp(pi_hat * 2.5)  # eq. 62
    assert relative_error(biased.pi, pi / pi.sum(axis=1, keepdims=True)) < 1e-6
    assert relative_error(biased.sigma1, np.exp(sigma1_hat - 1.5)) < 1e-6  # eq. 61
    assert relative_error(biased.sigma2, np.exp(sigma2_hat - 1.5)) < 1e-6
    for name in ("mu1", "mu2", "rho", "eos"):
        assert np.array_equal(getattr(plain, name), getattr(biased, name))


def test_bias_compiles_nothing_anew_and_many_samples_are_as_one():
    model = Model(make_args(), infer=True)
    for bias in (0.0, 0.5, 3.0):
        model.sample(tf.random.Generator.from_seed(1), 10, bias)
    assert model.draw_chunk.experimental_get_tracing_count() == 1
    strokes, params = model.sample_batch(
        tf.random.Generator.from_seed(1), 120, 37, 0.5
    )  # three groups of 13
    assert strokes.shape == (37, 120, 3) and params.eos.shape == (37, 120)
    assert len({sample.tobytes() for sample in strokes}) == 37
    read = np.concatenate(
        [np.tile([[[0, 0, 1]]], [37, 1, 1]), strokes[:, :-1] / [20, 20, 1]], axis=1
    )
    expected = mixture(model(read.astype(np.float32))[0], 0.5)
    assert relative_error(params.sigma1, expected.sigma1 * 20) < 1e-4
    assert relative_error(params.pi, expected.pi) < 1e-4


def test_noise_of_seeds_that_follow_each_other_has_no_row_in_common():
    first, second = (draw_noise(tf.random.Generator.from_seed(seed), 50, 8) for seed in (4, 5))
    rows = np.concatenate([first, second], axis=1).transpose(1, 0, 2).reshape(16, -1)
    assert len(np.unique(rows[:, :20], axis=0)) == 16
    values = np.stack([first, second]).reshape(-1, 4)
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.15
    assert (values[:, :2] >= 0).all() and (values[:, :2] < 1).all()
    np.testing.assert_allclose(values[:, 2:].std(axis=0), 1, atol=0.1)
