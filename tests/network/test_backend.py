"""network/backend.py: functions compiled by XLA compute what they do as graphs."""

from conftest import main, read_losses
from handwriting.network import window
from handwriting.network.lstm import window_cell_gradient

import numpy as np
import pytest
import tensorflow as tf


def test_a_run_compiled_by_xla_has_the_losses_of_one_that_is_not(tiny_run, tmp_path):
    """The tiny run is a program that a user starts; here there are graphs (tests/graphs.py)."""
    assert main(tiny_run, tmp_path / "run", data_dir=tiny_run.data_dir) == 0
    ours, theirs = read_losses(tmp_path / "run"), read_losses(tiny_run.folder)
    for name in ("train_loss", "valid_loss"):
        expected = [row[name] for row in theirs]
        assert [row[name] for row in ours] == pytest.approx(expected, rel=1e-3)


def test_the_window_compiled_by_xla_has_the_gradient_of_one_that_is_not():
    rng = np.random.default_rng(0)
    num = window.WINDOW

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    weights = {"kernel": draw(4, 3 * num), "bias": draw(3 * num)}
    chars = tf.one_hot(rng.integers(0, 5, [2, 6]), 5)
    args = draw(2, 3 * num), tf.abs(draw(2, num)), weights, chars, [draw(2, 5)], draw(2, num)
    compiled = tf.function(window_cell_gradient.python_function, jit_compile=True)
    for ours, theirs in zip(compiled(*args), window_cell_gradient(*args), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
