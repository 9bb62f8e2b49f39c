"""network/lstm.py: the fast loop and its derivative equal the plain step of model.py."""

import os
import time

from conftest import end, make_args, make_points, relative_error, start_forked
from handwriting.files import UserError
from handwriting.network import backend
from handwriting.network.cells import HAND
from model import Model

import numpy as np
import pytest
import tensorflow as tf


@pytest.mark.parametrize(
    ("layers", "flags", "text", "dropout"),
    [
        (1, [], 0, False),
        (2, ["layer_norm", "polar"], 0, True),
        (3, ["peephole", "skip"], 0, True),
        (1, [], 1, True),
        (2, ["skip", "polar"], 6, False),
        (3, ["peephole", "layer_norm"], 9, True),
        (2, ["layer_norm", "skip", "hands"], 6, True),
    ],
)
def test_fast_loop_and_its_derivative_equal_the_plain_step(layers, flags, text, dropout):
    """From states and weights that are not zero; text: its length, with padding behind it."""
    batch, steps, units = 3, 7, 5
    rng = np.random.default_rng(layers)

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    changes = {**dict.fromkeys(flags, True), "alphabet": "ab c"[: 4 * (text > 0)]}
    keep_prob = 0.7 if dropout else 1.0
    model = Model(make_args(rnn_size=units, num_layers=layers, keep_prob=keep_prob, **changes))
    for variable in model.variables.values():
        variable.assign(variable + 0.3 * draw(*variable.shape))
    x, weights = draw(batch, steps, 3), [v.value for v in model.variables.values()]
    states = tf.nest.map_structure(lambda v: draw(*v.shape), model.initial_state(batch))
    chars = tf.constant(rng.integers(-1, 5, [batch, text]), tf.int32) if text else None
    hand = draw(batch, HAND) if "hands" in flags else None
    masks = model.dropout_masks(steps, batch, [1, 2])
    assert len(masks) == layers * dropout

    def plain(states):
        z_hats, symbols = [], model.one_hot(chars) if text else None
        for t in range(steps):
            now = [mask[t] for mask in masks]
            layer_weights = model.layer_weights(hand)
            z_hat, states, *_ = model.step(x[:, t], states, layer_weights, now, symbols)
            z_hats.append(z_hat)
        return tf.stack(z_hats, axis=1), states

    results, d_z_hat = [], draw(batch, steps, 1 + 6 * 3 + (text > 0))
    for run in (plain, lambda states: model(x, states, True, masks, chars, hand)):
        inputs = [x, *tf.nest.flatten(states), *weights, *([] if hand is None else [hand])]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            z_hat, finals = run(states)
            total = tf.reduce_sum(z_hat * d_z_hat)
            total += sum(tf.reduce_sum(tf.sin(v)) for v in tf.nest.flatten(finals))
        results.append([z_hat, *tf.nest.flatten(finals), *tape.gradient(total, inputs)])
    for theirs, ours in zip(*results, strict=True):
        assert relative_error(ours, theirs) < 2e-4  # float32, where norms divide by little
    without, _ = model(x, states, False, masks, chars, hand)
    assert relative_error(without, results[1][0]) < 1e-5


def test_a_hand_changes_what_is_drawn_and_none_is_that_of_zeros():
    flags = {"layer_norm": True, "hands": True, "alphabet": "ab", "rnn_size": 6, "num_layers": 2}
    model, x = Model(make_args(**flags), infer=True), make_points(2, 5)
    for name in model.hand_kernels:
        variable = model.variables[name]
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    chars = np.array([[1, 2], [2, 1]], np.int32)
    hands = np.zeros([2, HAND], np.float32)
    hands[1, 3] = 1
    any_hand, _ = model(x, chars=chars)
    told, _ = model(x, chars=chars, hand=tf.constant(hands))
    np.testing.assert_allclose(told[0], any_hand[0], rtol=1e-5, atol=1e-6)
    assert np.abs(told[1] - any_hand[1]).max() > 0.1


def loss_and_gradients(model, x, y, seed):
    with tf.GradientTape() as tape:
        loss = model.loss(x, y, seed)
    return [loss, *tape.gradient(loss, [variable.value for variable in model.variables.values()])]


def test_loss_of_a_batch_in_parts_is_that_of_the_whole(monkeypatch):
    x, y, results = make_points(6, 8), make_points(6, 8, seed=1), []
    monkeypatch.setattr(backend, "MIN_ROWS", 2)
    for number in (5, 3, 0):  # 0 is what TensorFlow says where nothing was set
        monkeypatch.setattr(
            tf.config.threading, "get_inter_op_parallelism_threads", lambda number=number: number
        )
        sizes = [len(range(7)[rows]) for rows in backend.split_rows(7)]
        assert sizes == ([2, 2, 3] if number else [7])  # not five
        if number == 5:
            continue
        model = Model(make_args(keep_prob=0.7, num_layers=1))
        results.append(loss_and_gradients(model, x, y, tf.constant([1, 2])))
    for whole, *sums in zip(*results, strict=True):
        assert all(relative_error(value, whole) < 1e-5 for value in sums)


def tell_threads(batch_size, cores):
    """Print what set_threads does with some cores, in a process that has not used TensorFlow."""
    os.sched_getaffinity = lambda _: range(cores)
    backend.set_threads(batch_size)
    tf.zeros([1])
    backend.set_threads(50)
    print(
        *(
            getattr(tf.config.threading, f"get_{kind}_op_parallelism_threads")()
            for kind in ("intra", "inter")
        )
    )


@pytest.mark.parametrize(("batch_size", "cores", "expected"), [(50, 8, "2 4"), (23, 8, "0 0")])
def test_set_threads_gives_a_part_to_each_core_before_tensorflow_is_at_work(
    tmp_path, batch_size, cores, expected
):
    assert end(start_forked(tmp_path / "process", tell_threads, batch_size, cores)) == (
        0,
        [expected],
        [],
    )


def test_a_sequence_of_one_point_trains():
    x, y, model = make_points(4, 1), make_points(4, 1, seed=1), Model(make_args(keep_prob=1.0))
    ours = loss_and_gradients(model, x, y, tf.constant([1, 2]))
    model.on_gpu = True  # the Keras layers
    for value, expected in zip(ours, loss_and_gradients(model, x, y, None), strict=True):
        assert np.allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_products_differ_by_their_own_error_only():
    x, y, results = make_points(4, 30), make_points(4, 30, seed=1), []
    for precision in ("float32", "bfloat16"):
        model = Model(make_args(rnn_size=32, precision=precision))
        results.append(loss_and_gradients(model, x, y, tf.constant([1, 2])))
        assert all(variable.dtype == "float32" for variable in model.variables.values())
    errors = [relative_error(ours, theirs) for theirs, ours in zip(*results, strict=True)]
    assert errors[0] < 2e-3
    assert 1e-5 < max(errors) < 3e-2


@pytest.mark.parametrize("slow", ["float32", "bfloat16"])
def test_auto_precision_takes_the_type_whose_product_is_faster(monkeypatch, slow):
    monkeypatch.undo()  # conftest's fixed choice
    matmul = tf.matmul

    def delayed(a, b):
        time.sleep(0.002 * (a.dtype.name == slow))
        return matmul(a, b)

    monkeypatch.setattr(tf, "matmul", delayed)
    faster = {"float32": "bfloat16", "bfloat16": "float32"}[slow]
    assert backend.choose_precision(make_args(precision="auto", batch_size=4)) == faster
    assert backend.choose_precision(make_args(precision=slow, batch_size=4)) == slow


def test_float32_precision_turns_tf32_off_and_bfloat16_is_refused_on_a_gpu(monkeypatch):
    try:
        tf.config.experimental.enable_tensor_float_32_execution(True)
        backend.choose_precision(make_args(precision="float32", batch_size=4))
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
        backend.choose_precision(make_args(precision="auto", batch_size=4))
        assert tf.config.experimental.tensor_float_32_execution_enabled()
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["a GPU"])
        assert backend.choose_precision(make_args(precision="auto", batch_size=4)) == "auto"
        with pytest.raises(UserError, match="--precision bfloat16 is for training on a CPU"):
            backend.choose_precision(make_args(precision="bfloat16", batch_size=4))
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)
