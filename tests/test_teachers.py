"""train.py --init and --teachers: what a run takes over from other runs."""

import json
import shutil

import model as model_module
import train
from conftest import main, make_args, make_points, read_losses
from model import Model, draw_taught, put_side_by_side
from test_resume import assert_same_run

import numpy as np
import pytest
import tensorflow as tf


def certain(value, **changes):
    """A Model whose next point is surely (value, -value, 0), whatever it reads."""
    teacher = Model(make_args(**changes), infer=True)
    m = teacher.num_mixture
    teacher.output.kernel.assign(tf.zeros_like(teacher.output.kernel))
    teacher.output.bias.assign([50.0] + [0.0] * m + [value] * m + [-value] * m + [-8.0] * (2 * m) + [0.0] * m)
    return teacher


def test_teachers_share_the_rows_of_a_minibatch():
    x, y = (tf.constant(make_points(5, 7, seed)) for seed in range(2))
    teachers = [certain(3.0), certain(-2.0, rnn_size=5, num_mixture=4)]
    drawn = draw_taught(teachers, x, y, tf.random.Generator.from_seed(1))
    assert len(drawn) == model_module.TAUGHT_DRAWS
    for points in drawn:
        assert points.shape == (5, 7, 3)
        np.testing.assert_allclose(points[:2], np.broadcast_to([3, -3, 0], [2, 7, 3]), atol=0.1)
        np.testing.assert_allclose(points[2:], np.broadcast_to([-2, 2, 0], [3, 7, 3]), atol=0.1)
    assert not np.array_equal(*drawn)


def test_drawn_points_are_those_of_the_teachers_density():
    teacher, x = Model(make_args(), infer=True), np.repeat(make_points(1, 6), 4000, axis=0)
    teacher.output.bias.assign(0.3 * tf.random.stateless_normal([19], [1, 2]))
    drawn = np.stack(draw_taught([teacher], tf.constant(x), x, tf.random.Generator.from_seed(1)))
    z_hat = teacher(x[:1])[0][0]
    mean, eos = model_module.mean_move(z_hat), model_module.mixture(z_hat).eos
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), np.concatenate([mean, eos[:, None]], axis=1), atol=0.06)


@pytest.mark.parametrize(("changes", "share"), [({}, 0.75), ({"taught_share": 0.5}, 0.5), ({"taught_share": 0}, 0)])
def test_loss_is_that_of_the_data_and_of_what_is_taught_in_shares(changes, share):
    model = Model(make_args(**changes))
    x, y, *taught = (tf.constant(make_points(4, 9, seed)) for seed in range(4))
    alone, *others = (float(model.loss(x, target)) for target in (y, *taught))
    expected = (1 - share) * alone + share * np.mean(others)
    for training in (False, True):
        assert float(model.loss(x, y, training, taught)) == pytest.approx(expected, rel=1e-5)


def test_windows_that_start_as_samples_do_are_not_taught():
    x, y = (make_points(4, 9, seed) for seed in range(2))
    x[1, 0] = x[3, 0] = x[2, 4] = (0, 0, 1)
    for points in draw_taught([certain(3.0)], tf.constant(x), y, tf.random.Generator.from_seed(1)):
        assert np.array_equal(points.numpy()[[1, 3]], y[[1, 3]])
        np.testing.assert_allclose(points[::2], np.broadcast_to([3, -3, 0], [2, 9, 3]), atol=0.1)


def test_a_student_comes_close_to_its_teacher(tiny_run, tmp_path):
    flags = ["--num_epochs=20", "--learning_rate=0.01", "--decay_rate=1", "--keep_prob=1"]
    taught, alone = tmp_path / "taught", tmp_path / "alone"
    assert main(tiny_run, taught, *flags, f"--teachers={tiny_run.folder},{tiny_run.folder}") == 0
    assert main(tiny_run, alone, *flags) == 0
    points = make_points(3, 40)
    teacher, taught, alone = (train.restore(folder)(points)[0] for folder in (tiny_run.folder, taught, alone))

    def distance(other):  # the teacher's cross entropy with it
        drawn = model_module.sample_point(tf.reshape(tf.repeat(teacher[None], 50, 0), [-1, 13]), noise)
        return float(np.mean(model_module.negative_log_likelihood(other[None], tf.reshape(drawn, [50, 3, 40, 3]))))

    generator = tf.random.Generator.from_seed(1)
    noise = tf.concat([generator.uniform([6000, 2]), generator.normal([6000, 2])], axis=1)
    assert distance(teacher) < distance(taught) < distance(alone)


def test_a_run_that_is_taught_resumes_bit_for_bit(tiny_run, tmp_path):
    flags = [f"--teachers={tiny_run.folder}", f"--init={tiny_run.folder}", "--recurrent_keep_prob=0.8",
             "--taught_share=0.5"]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert main(tiny_run, straight, *flags) == 0
    shutil.copytree(straight, stopped)
    for path in [*stopped.glob("model.ckpt-9*"), *stopped.glob("model.ckpt-10*")]:
        path.unlink()
    assert train.main(["--resume", f"--model_dir={stopped}"]) == 0
    assert_same_run(straight, stopped)


def test_init_starts_from_the_weights_of_the_other_run(tiny_run, tmp_path):
    assert main(tiny_run, tmp_path, f"--init={tiny_run.folder}", "--learning_rate=1e-12") == 0
    best = min(row["valid_loss"] for row in read_losses(tiny_run.folder))
    assert [row["valid_loss"] for row in read_losses(tmp_path)] == pytest.approx([best] * 2, rel=1e-6)
    assert json.loads((tmp_path / "config.json").read_text())["init"] == str(tiny_run.folder)


@pytest.mark.parametrize(
    "changes",
    [{}, {"skip": True, "polar": True, "peephole": True}, {"num_layers": 3, "polar": True}, {"model": "gru"},
     {"model": "rnn", "skip": True, "num_layers": 3}],
)
def test_networks_side_by_side_put_out_what_each_of_them_does(changes):
    sizes = [(8, 3), (5, 2), (4, 1)]
    networks = [Model(make_args(rnn_size=units, num_mixture=m, **changes), infer=True) for units, m in sizes]
    for network in networks:  # biases and peepholes that are not 0
        for k, variable in enumerate(network.trainable_variables):
            variable.assign_add(0.3 * tf.random.stateless_normal(variable.shape, [k, network.units]))
    whole = Model(make_args(rnn_size=17, num_mixture=6, **changes), infer=True)
    put_side_by_side(whole, networks)
    points = make_points(3, 12)
    (z_hat, states), *each = (network(points) for network in (whole, *networks))
    eos_hat, *components = (np.asarray(part) for part in model_module.split_outputs(z_hat))
    each_eos_hat, *each_components = zip(*(model_module.split_outputs(z) for z, _ in each), strict=True)
    np.testing.assert_allclose(eos_hat, np.mean(each_eos_hat, axis=0), atol=2e-5)
    for part, parts in zip(components, each_components, strict=True):
        np.testing.assert_allclose(part, np.concatenate(parts, axis=-1), atol=2e-5)
    for k, state in enumerate(states):
        for value, *values in zip(state, *(other[k] for _, other in each), strict=True):
            np.testing.assert_allclose(value, np.concatenate(values, axis=-1), atol=2e-5)


def test_one_network_with_layer_norm_is_taken_over_as_it_is():
    network, whole = (Model(make_args(layer_norm=True, seed=seed)) for seed in (1, 2))
    for k, variable in enumerate(network.trainable_variables):
        variable.assign_add(0.3 * tf.random.stateless_normal(variable.shape, [k, 1]))
    put_side_by_side(whole, [network])
    for ours, theirs in zip(whole.trainable_variables, network.trainable_variables, strict=True):
        assert np.array_equal(ours, theirs)


def test_init_starts_from_networks_side_by_side(tiny_run, tmp_path):
    flags = [f"--init={tiny_run.folder},{tiny_run.folder}", "--rnn_size=16", "--num_mixture=4"]
    assert main(tiny_run, tmp_path, *flags, "--learning_rate=1e-12") == 0
    best = min(row["valid_loss"] for row in read_losses(tiny_run.folder))  # a network beside itself has its density
    assert [row["valid_loss"] for row in read_losses(tmp_path)] == pytest.approx([best] * 2, rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--init={run}", "--rnn_size=9"], "--init {run}: its --rnn_size is 8 and that of this run 9; give the same, "),
        (["--init={run}", "--skip"], "--init {run}: its --skip is False and that of this run True; give the same, "),
        (["--init={run},{run}"], "--init {run},{run}: their --rnn_size make 16 together and that of this run is 8; "),
        (["--init={run},{run}", "--rnn_size=16", "--num_mixture=5"], "--init {run},{run}: their --num_mixture make 4 "),
        (["--init={run},{run}", "--rnn_size=16", "--num_mixture=4", "--polar"], "--init {run}: its --polar is False "),
        (["--init={run},{run}", "--rnn_size=16", "--num_mixture=4", "--layer_norm"],
         "--init {run},{run}: networks with --layer_norm do not go side by side, since each normalises over its own "),
        (["--init={run}x"], "--init {run}x: {run}x/config.json cannot be read (No such file or directory); name "),
        (["--teachers={run},{run}x"], "--teachers {run}x: {run}x/config.json cannot be read (No such file or "),
        (["--teachers={run}", "--data_scale=10"], "--teachers {run}: its --data_scale is 20.0 and that of this run 10"),
        (["--teachers={run},{run}", "--batch_size=1"], "--teachers are 2, and each needs a row of a minibatch, where "),
        (["--teachers={own}"], "--teachers {own} is this run's own --model_dir; name other runs"),
    ],
)
def test_runs_that_cannot_be_taken_over_are_refused_and_nothing_is_lost(tiny_run, tmp_path, capsys, flags, words):
    own = shutil.copytree(tiny_run.folder, tmp_path / "own")
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file() and path.name != "lock"}
    names = {"run": tiny_run.folder, "own": own}
    assert main(tiny_run, own, "--overwrite", *(flag.format(**names) for flag in flags)) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("train.py: error: " + words.format(**names))
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file() and path.name != "lock"} == before
