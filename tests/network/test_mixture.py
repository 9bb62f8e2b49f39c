"""network/mixture.py: the density of a point, its loss, and points drawn from it."""


import math

from conftest import make_args
from handwriting.network.mixture import (
    LOG_SIGMA_MIN,
    RHO_HAT_MAX,
    SIGMA_MIN,
    clip_keep_inward_gradient,
    compiled_nll,
    sample_point,
)
from model import Model, mixture, negative_log_likelihood

import numpy as np
import pytest
import tensorflow as tf

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
    assert float(mixture(z_hat).sigma1[0, 0]) == pytest.approx(math.exp(LOG_SIGMA_MIN))


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
        kept = clip_keep_inward_gradient(x, -1.0, 2.0)
        loss = tf.reduce_sum(kept * d)
    assert kept.numpy().tolist() == [[-1.0, -1.0, 0.0, 2.0, 2.0]] * 2
    assert tape.gradient(loss, x).numpy().tolist() == [
        [-1.0, -1.0, -1.0, -1.0, 0.0],
        [0.0, 1.0, 1.0, 1.0, 1.0],
    ]


@pytest.mark.parametrize("scale", [20.0, 5.0])
def test_no_deviation_is_below_that_of_rounding_to_pen_units(scale):
    # Narrower components win on the whole numbers that coordinates are, not on handwriting.
    assert math.sqrt(12) * SIGMA_MIN == pytest.approx(1, rel=0.01)
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
    free &= np.abs(rho_hat) < RHO_HAT_MAX
    assert 500 < free.sum() < 3000
    assert rho[free, 0] == pytest.approx(np.tanh(rho_hat[free]), rel=1e-5)


def test_a_correlation_past_its_bound_is_pulled_back():
    z_hat = tf.constant([[0.0, 0.0, 0.0, 0.0, -3.0, -3.0, 6.0]])
    with tf.GradientTape() as tape:
        tape.watch(z_hat)
        loss = negative_log_likelihood(z_hat, np.float32([[0.05, -0.05, 0.0]]), -4.24)
    assert abs(float(mixture(z_hat, 0.0, -4.24).rho[0, 0])) < math.tanh(3)
    assert float(tape.gradient(loss, z_hat)[0, 6]) > 0  # a step against it weakens the correlation
