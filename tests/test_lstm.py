"""handwriting/lstm.py: the fast loop and its derivative equal the plain step of model.py."""

import os
import time

from conftest import end, make_args, make_points, relative_error, start_forked
from handwriting import lstm
from handwriting.files import UserError
from model import LSTMState, Model, drop_out, layer_step

import numpy as np
import pytest
import tensorflow as tf


@pytest.mark.parametrize(
    ("layers", "flags", "dropout"),
    [
        (1, [], True),
        (2, ["peephole"], True),
        (3, [], True),
        (3, ["peephole"], False),
        (1, ["skip"], True),
        (3, ["peephole", "skip"], True),
        (2, ["layer_norm"], True),
        (3, ["peephole", "layer_norm", "skip"], True),
    ],
)
def test_lstm_sequence_derivative_equals_automatic_one(layers, flags, dropout):
    batch, steps, units = 3, 7, 5
    rng = np.random.default_rng(layers)

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    model = Model(make_args(rnn_size=units, num_layers=layers, **dict.fromkeys(flags, True)))
    for variable in model.variables.values():
        variable.assign(variable + 0.3 * draw(*variable.shape))
    skip, weights = "skip" in flags, model.layer_weights()
    x, states = (
        draw(steps, batch, 3),
        [LSTMState(draw(batch, units), draw(batch, units)) for _ in range(layers)],
    )
    masks = [draw(steps, batch, units) > 0 for _ in range(layers if dropout else 0)]
    d_out, d_final = draw(steps, batch, units * (layers if skip else 1)), draw(batch, units)

    def automatic(x, states, weights):  # the same equations, differentiated by TensorFlow
        outputs = []
        for t in range(steps):
            below, states, read = x[t], list(states), []
            for k in range(layers):
                below = tf.concat([below, x[t]], axis=1) if skip and k else below
                states[k] = layer_step("lstm", below, weights[k], states[k])
                below = drop_out(states[k].h, masks[k][t] if masks else None, 0.7)
                read.append(below)
            outputs.append(tf.concat(read if skip else read[-1:], axis=1))
        return tf.stack(outputs), states

    def by_hand(x, states, weights):
        return lstm.lstm_sequence(x, masks, 0.7, states, weights, tf.float32, skip)

    results = []
    for run in (automatic, by_hand):
        inputs = [x, *tf.nest.flatten(states), *tf.nest.flatten(weights)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, finals = run(x, states, weights)
            total = tf.reduce_sum(outputs * d_out) + sum(
                tf.reduce_sum(d_final * v) for v in tf.nest.flatten(finals)
            )
        results.append([outputs, *tf.nest.flatten(finals), *tape.gradient(total, inputs)])
    for theirs, ours in zip(*results, strict=True):
        assert relative_error(ours, theirs) < 1e-5
    without = lstm.lstm_sequence(x, masks, 0.7, states, weights, tf.float32, skip, derivative=False)
    assert relative_error(without[0], results[1][0]) < 1e-5


def loss_and_gradients(model, x, y, seed):
    with tf.GradientTape() as tape:
        loss = model.loss(x, y, seed)
    return [loss, *tape.gradient(loss, [variable.value for variable in model.variables.values()])]


def test_loss_of_a_batch_in_parts_is_that_of_the_whole(monkeypatch):
    x, y, results = make_points(7, 30), make_points(7, 30, seed=1), []
    monkeypatch.setattr(lstm, "MIN_ROWS", 2)
    for number in (0, 3, 5):  # 0 is what TensorFlow says where nothing was set
        monkeypatch.setattr(
            tf.config.threading, "get_inter_op_parallelism_threads", lambda number=number: number
        )
        sizes = [len(x[rows]) for rows in lstm.split_rows(7)]
        assert sizes == ([2, 2, 3] if number else [7])  # not five
        results.append(
            loss_and_gradients(Model(make_args(keep_prob=0.7)), x, y, tf.constant([1, 2]))
        )
    for whole, *sums in zip(*results, strict=True):
        assert all(relative_error(value, whole) < 1e-5 for value in sums)


def tell_threads(batch_size, cores):
    """Print what set_threads does with some cores, in a process that has not used TensorFlow."""
    os.sched_getaffinity = lambda _: range(cores)
    lstm.set_threads(batch_size)
    tf.zeros([1])
    lstm.set_threads(50)
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


@pytest.mark.parametrize("steps", [1, 2])
def test_a_short_sequence_trains(steps):
    x, y, model = (
        make_points(4, steps),
        make_points(4, steps, seed=1),
        Model(make_args(keep_prob=1.0)),
    )
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
    assert lstm.choose_precision(make_args(precision="auto", batch_size=4)) == faster
    assert lstm.choose_precision(make_args(precision=slow, batch_size=4)) == slow


def test_float32_precision_turns_tf32_off_and_bfloat16_is_refused_on_a_gpu(monkeypatch):
    try:
        tf.config.experimental.enable_tensor_float_32_execution(True)
        lstm.choose_precision(make_args(precision="float32", batch_size=4))
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
        lstm.choose_precision(make_args(precision="auto", batch_size=4))
        assert tf.config.experimental.tensor_float_32_execution_enabled()
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: ["a GPU"])
        assert lstm.choose_precision(make_args(precision="auto", batch_size=4)) == "auto"
        with pytest.raises(UserError, match="--precision bfloat16 is for training on a CPU"):
            lstm.choose_precision(make_args(precision="bfloat16", batch_size=4))
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)
