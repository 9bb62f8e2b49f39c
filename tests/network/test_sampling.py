"""network/sampling.py: samples follow their own density, by their seed alone."""



from conftest import make_args, relative_error
from handwriting.network import sampling
from handwriting.network.sampling import CHUNK, draw_noise
from model import Model, mixture

import numpy as np
import pytest
import tensorflow as tf

EVERYTHING = {"peephole": True, "layer_norm": True, "skip": True, "polar": True}


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
    before = sampling.draw_chunk.experimental_get_tracing_count()
    for length in (10, 250):
        model.sample(tf.random.Generator.from_seed(1), length)
        assert sampling.draw_chunk.experimental_get_tracing_count() == before + 1


def test_bias_sharpens_the_mixture_as_graves_says_and_moves_stay_long():
    z_hat = np.random.default_rng(1).normal(size=(5, 19)).astype(np.float32)
    pi_hat, sigma1_hat, sigma2_hat = z_hat[:, 1:4], z_hat[:, 10:13], z_hat[:, 13:16]
    plain, biased = mixture(z_hat), mixture(z_hat, 1.5)
    pi = np.exp(pi_hat * 2.5)  # eq. 62
    assert relative_error(biased.pi, pi / pi.sum(axis=1, keepdims=True)) < 1e-6
    assert relative_error(biased.sigma1, np.exp(sigma1_hat - 1.5)) < 1e-6  # eq. 61
    assert relative_error(biased.sigma2, np.exp(sigma2_hat - 1.5)) < 1e-6
    for name in ("rho", "eos"):
        assert np.array_equal(getattr(plain, name), getattr(biased, name))
    lengths = [
        np.sqrt(plain.mu1**2 + plain.mu2**2 + m.sigma1**2 + m.sigma2**2) for m in (plain, biased)
    ]
    assert relative_error(biased.mu1, plain.mu1 * lengths[0] / lengths[1]) < 1e-5
    assert relative_error(biased.mu1 / biased.mu2, plain.mu1 / plain.mu2) < 1e-5  # as directed
    assert (np.abs(biased.mu1) > np.abs(plain.mu1)).all()
    unbiased = mixture(z_hat, 0.0)
    assert np.array_equal(unbiased.mu1, z_hat[:, 4:7]) and np.array_equal(plain.mu1, unbiased.mu1)


def test_bias_compiles_nothing_anew_and_many_samples_are_as_one():
    model = Model(make_args(), infer=True)
    before = sampling.draw_chunk.experimental_get_tracing_count()
    for bias in (0.0, 0.5, 3.0):
        model.sample(tf.random.Generator.from_seed(1), 10, bias)
    assert sampling.draw_chunk.experimental_get_tracing_count() == before + 1
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
