"""train.py: what a run leaves behind, what stops it, and what its flags refuse."""

import itertools
import json
import math
import re
import shutil
import sys

import train
from conftest import (
    ROOT, STEPS, environment, main, make_args, make_corpus, make_points, read_losses, read_weights, scores_of_line,
    tiny_flags,
)  # fmt: skip
from model import Model
from utils import DataLoader

import keras
import numpy as np
import pexpect
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

SCALARS = {"train loss": 2 * STEPS, "gradient norm": 2 * STEPS, "rate": 2 * STEPS, "validation loss": 2}


def read_scalars(folder):
    """The scalars in a TensorBoard log: name -> list of (step, value), in the order of writing."""
    (path,) = folder.glob("events.out.tfevents.*")
    scalars = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = event_pb2.Event.FromString(record.numpy())
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return scalars


# ------------------------------------------------------------------------------------------------ what a run leaves


def test_run_writes_its_flags(tiny_run):
    config = json.loads((tiny_run.folder / "config.json").read_text())
    expected = dict(vars(train.build_parser().parse_args(tiny_run.flags)))
    for name in ("model_dir", "resume", "overwrite", "strategy", "eval_only", "split", "json", "eval_samples", "bias"):
        del expected[name]
    moves = np.concatenate([line[1:, :2] for line in tiny_run.lines])
    expected |= {"sigma_x": pytest.approx(moves[:, 0].std()), "sigma_y": pytest.approx(moves[:, 1].std())}
    assert config == expected
    assert config["rnn_size"] == 8 and config["model"] == "lstm" and config["keep_prob"] == 0.8
    assert vars(train.read_config(tiny_run.folder)).items() >= config.items()


def test_run_keeps_the_three_newest_checkpoints_and_one_best(tiny_run):
    assert sorted(path.name for path in tiny_run.folder.glob("*.index")) == [
        "model.ckpt-10.index", "model.ckpt-6.index", "model.ckpt-9.index",
    ]  # fmt: skip
    assert tf.train.latest_checkpoint(str(tiny_run.folder)) == str(tiny_run.folder / "model.ckpt-10")
    losses = [row["valid_loss"] for row in read_losses(tiny_run.folder)]
    best = STEPS * (1 + losses.index(min(losses)))
    assert [path.name for path in (tiny_run.folder / "best").glob("*.index")] == [f"model.ckpt-{best}.index"]


def test_run_writes_its_losses(tiny_run):
    rows = read_losses(tiny_run.folder)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["step"] for row in rows] == [STEPS, 2 * STEPS]
    assert [row["rate"] for row in rows] == [0.02, 0.01]
    assert 0 < rows[0]["seconds"] <= rows[1]["seconds"]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert rows[1]["train_loss"] < rows[0]["train_loss"] and rows[1]["valid_loss"] < rows[0]["valid_loss"]


def test_run_logs_for_tensorboard_what_the_table_says(tiny_run):
    scalars = read_scalars(tiny_run.folder / "log")
    assert {name: len(points) for name, points in scalars.items()} == SCALARS
    for name in ("train loss", "gradient norm", "rate"):
        assert [step for step, _ in scalars[name]] == list(range(1, 2 * STEPS + 1))
    values = {name: [value for _, value in points] for name, points in scalars.items()}
    rows = read_losses(tiny_run.folder)
    assert scalars["validation loss"] == [(row["step"], pytest.approx(row["valid_loss"], rel=1e-6)) for row in rows]
    for row, start in zip(rows, (0, STEPS), strict=True):
        assert np.mean(values["train loss"][start : start + STEPS]) == pytest.approx(row["train_loss"], rel=1e-6)
    assert values["rate"] == pytest.approx([0.02] * STEPS + [0.01] * STEPS)
    assert min(values["gradient norm"]) > 0


def test_run_draws_its_losses(tiny_run):
    assert (tiny_run.folder / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_validation_loss_is_that_of_the_best_weights_over_whole_lines(tiny_run):
    weights = read_weights(tf.train.latest_checkpoint(str(tiny_run.folder / "best")))
    held = tiny_run.lines[:5]  # one form of three: every 20th, from the first on
    # A line's first move leads from its box's origin in the file: 100 units left of and above it.
    positions = [np.cumsum(line[:, :2], axis=0) for line in held]
    first_moves = [place[0] - place.min(axis=0) + 100 for place in positions]
    lines = [line / np.array([20.0, 20.0, 1.0]) for line in held]
    for line, move in zip(lines, first_moves, strict=True):
        line[0, :2] = move / 20
    nats = np.concatenate([scores_of_line(weights, line, components=2)[0] for line in lines]).mean()
    assert nats == pytest.approx(min(row["valid_loss"] for row in read_losses(tiny_run.folder)), abs=1e-5)


def test_progress_is_a_line_per_epoch_where_there_is_no_terminal(tiny_run):
    head, first, second, last = tiny_run.process.stdout.splitlines()
    assert head.startswith("10 training lines, 5 validation lines; 1,045 weights; 2 epochs of 5 steps")
    for number, (line, row) in enumerate(zip((first, second), read_losses(tiny_run.folder), strict=True), start=1):
        assert line.startswith(f"epoch {number}: training loss {row['train_loss']:.4f}, ")
        assert f"validation loss {row['valid_loss']:.4f} nats per point" in line
    assert last.endswith("Draw with: python sample.py --model_dir run")
    assert tiny_run.process.stderr == ""


@pytest.fixture(scope="module")
def terminal_run(tmp_path_factory):
    """The model_dir and the screen of one epoch in a terminal, without IPython, on a cache like the old program's."""
    folder = tmp_path_factory.mktemp("terminal")
    make_corpus(folder / "data")
    DataLoader(seq_length=20, data_dir=folder / "data")
    (folder / "data" / "strokes_training_data.json").unlink()
    code = "import runpy, sys; sys.modules['IPython'] = None; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]"
    code += "; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = ["-c", code, str(ROOT), str(ROOT / "train.py"), *tiny_flags(num_epochs=1), "--model_dir=run"]
    terminal = pexpect.spawn(sys.executable, command, cwd=str(folder), env=environment(), encoding="utf-8",
                             dimensions=(24, 150), timeout=300)  # fmt: skip
    screen = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0, screen
    return folder / "run", screen


def test_bar_in_a_terminal_without_ipython_shows_epoch_loss_and_rate(terminal_run):
    folder, screen = terminal_run
    (row,) = read_losses(folder)
    (steps,) = re.findall(r"1 epochs of (\d+) steps", screen)
    bars = [bar for bar in screen.split("\r") if f"step {steps}/{steps} |" in bar]
    assert bars and all(bar.startswith("epoch 1/1 step ") for bar in bars), screen
    last_loss = read_scalars(folder / "log")["train loss"][-1][1]
    assert re.search(rf"loss {last_loss:.3f}, rate 0.02000, +[\d.]+s/step, 00:00 left", bars[-1])
    assert f"epoch 1: training loss {row['train_loss']:.4f}, " in screen


def test_a_warning_is_one_sentence(terminal_run):
    (warning,) = [line for line in terminal_run[1].split("\r\n") if "warning" in line.lower()]
    assert warning.startswith("train.py: warning: data/strokes_training_data.cpkl has no strokes_training_data.json")


# ---------------------------------------------------------------------------------------------------- how it trains


def test_seed_decides_the_losses(tiny_run, tmp_path):
    def losses(folder):
        return [(row["train_loss"], row["valid_loss"]) for row in read_losses(folder)]

    assert main(tiny_run, tmp_path / "same") == 0
    assert losses(tmp_path / "same") == losses(tiny_run.folder)
    assert main(tiny_run, tmp_path / "other", seed=1) == 0
    assert losses(tmp_path / "other")[0][0] != losses(tiny_run.folder)[0][0]
    assert losses(tmp_path / "other")[0][1] != losses(tiny_run.folder)[0][1]


def test_rate_falls_with_the_epochs(tiny_run, tmp_path):
    assert main(tiny_run, tmp_path, num_layers=1, decay_rate=1e-12) == 0
    first, second = read_losses(tmp_path)
    assert second["valid_loss"] == pytest.approx(first["valid_loss"], rel=1e-6)


def test_rate_follows_its_flags():
    def rates(*flags):
        args = train.build_parser().parse_args(["--learning_rate=1", "--num_epochs=2", *flags])
        return [train.rate_at(args, step, 4) for step in range(8)]

    assert rates("--decay_rate=0.5") == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert rates("--decay=linear") == [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert rates("--decay_rate=0.5", "--warmup=5") == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.5, 0.5, 0.5, 0.5])


def test_muon_makes_the_steps_of_the_matrices_between_layers_orthogonal():
    model = Model(make_args(rnn_size=16, skip=True))
    args = train.build_parser().parse_args(["--optimizer=muon"])
    optimizer = train.make_optimizer(args, model)
    train_step = train.make_train_step(model, optimizer, 10.0)
    before = [v.numpy() for v in model.trainable_variables]
    train_step(make_points(), make_points(seed=1))
    steps = [now.numpy() - old for now, old in zip(model.trainable_variables, before, strict=True)]
    matrices = [step for step, v in zip(steps, model.trainable_variables, strict=True)
                if any(v is m for m in model.hidden_matrices())]
    assert sorted(step.shape for step in matrices) == [(16, 64), (16, 64), (19, 64)]
    for step in matrices:  # Keras' five iterations leave the larger singular values near 1, times 0.2 sqrt(64) rate
        values = np.linalg.svd(step, compute_uv=False) / (0.2 * 8 * args.learning_rate)
        assert 0.65 < np.median(values) < values.max() < 1.3
    others = [step for step in steps if not any(step is m for m in matrices)]
    assert len(others) == 5  # Adam's first step is as large everywhere
    for step in others:
        assert np.median(np.abs(step)) == pytest.approx(args.learning_rate / 2, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_weight_decay_shrinks_the_matrices_between_layers_alone(optimizer):
    results = []
    for decay in ("0", "0.5"):
        model = Model(make_args(rnn_size=16))
        args = train.build_parser().parse_args([f"--optimizer={optimizer}", f"--weight_decay={decay}"])
        before = [v.numpy() for v in model.trainable_variables]
        train.make_train_step(model, train.make_optimizer(args, model), 10.0)(make_points(), make_points(seed=1))
        results.append([v.numpy() for v in model.trainable_variables])
    decays = [any(v is m for m in model.hidden_matrices()) for v in model.trainable_variables]
    assert decays == [False, True, False, True, True, False, False, False]
    for old, plain, decayed, falls in zip(before, *results, decays, strict=True):
        np.testing.assert_allclose(decayed, plain - (0.5 * args.learning_rate * old if falls else 0), atol=1e-6)


@pytest.mark.parametrize("flags", [["--model=rnn"], ["--model=gru"], ["--model=lstm", "--peephole"],
                                   ["--layer_norm", "--optimizer=muon"],
                                   ["--num_layers=2", "--skip", "--polar", "--optimizer=muon", "--decay=linear",
                                    "--recurrent_keep_prob=0.9", "--sigma_min=1"]])
def test_every_kind_of_layer_learns(tiny_run, tmp_path, flags):
    assert main(tiny_run, tmp_path, *flags, num_layers=1) == 0
    first, second = read_losses(tmp_path)
    assert second["train_loss"] < first["train_loss"] and second["valid_loss"] < first["valid_loss"]
    weights = read_weights(tf.train.latest_checkpoint(str(tmp_path)))
    assert any("peephole" in name for name in weights) == ("--peephole" in flags)
    assert any("norms" in name for name in weights) == ("--layer_norm" in flags)
    network = train.restore(tmp_path)
    assert [network.skip, network.polar] == ["--skip" in flags, "--polar" in flags]
    sigma_min = 1 if "--sigma_min=1" in flags else 0.288
    assert network.data_scale * math.exp(network.log_sigma_min) == pytest.approx(sigma_min)
    assert train.read_config(tmp_path).recurrent_keep_prob == (0.9 if "--recurrent_keep_prob=0.9" in flags else 1)


def test_a_worse_epoch_leaves_the_best_alone(tiny_run, tmp_path, monkeypatch):
    losses = [3.0, 1.0, 2.0, math.nan]
    monkeypatch.setattr(train, "make_validate", lambda *_: iter(losses).__next__)
    assert main(tiny_run, tmp_path, num_epochs=4, num_layers=1) == 0
    assert [row["valid_loss"] for row in read_losses(tmp_path)] == pytest.approx(losses, nan_ok=True)
    assert tf.train.latest_checkpoint(str(tmp_path / "best")) == str(tmp_path / "best" / f"model.ckpt-{2 * STEPS}")
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / f"model.ckpt-{4 * STEPS}")


def test_a_loss_that_is_not_finite_stops_the_run(tiny_run, tmp_path, monkeypatch, capsys):
    shutil.copytree(tiny_run.folder, tmp_path, dirs_exist_ok=True)
    next_batch, steps, models = train.DataLoader.next_batch, itertools.count(1), []

    def spoiled_batch(data):
        x, y = next_batch(data)
        if next(steps) == 4:
            y[1, 2, 0] = math.nan
        return x, y

    def remembered_model(args):
        models.append(Model(args))
        return models[0]

    monkeypatch.setattr(train.DataLoader, "next_batch", spoiled_batch)
    monkeypatch.setattr(train, "Model", remembered_model)
    assert main(tiny_run, tmp_path, "--overwrite", num_layers=1) == 2
    (message,) = capsys.readouterr().err.splitlines()
    found = re.fullmatch(
        r"train\.py: error: the loss is (\S+) at step 4, where the gradient's norm is (\S+); this step changed nothing"
        r", and the last checkpoint in (\S+) is good; try a smaller --learning_rate or --grad_clip, and look for odd "
        r"lines in the data",
        message,
    )
    assert not math.isfinite(float(found[1])) and not math.isfinite(float(found[2])) and found[3] == str(tmp_path)

    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-3")
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and "tfevents" not in path.name}
    assert left == {"checkpoint", "config.json", "lock", "model.ckpt-3.index", "model.ckpt-3.data-00000-of-00001"}
    saved = read_weights(tmp_path / "model.ckpt-3")
    now = [variable.numpy() for variable in models[0].trainable_variables]
    assert len(saved) == len(now)
    for array in now:
        assert any(np.array_equal(array, other) for other in saved.values())


def test_a_loss_that_is_not_finite_at_once_speaks_of_no_checkpoint(tiny_run, tmp_path, monkeypatch, capsys):
    next_batch = train.DataLoader.next_batch
    monkeypatch.setattr(train.DataLoader, "next_batch", lambda data: [math.nan * points for points in next_batch(data)])
    assert main(tiny_run, tmp_path) == 2
    message = capsys.readouterr().err
    assert "this step changed nothing, and there is no checkpoint yet; try a smaller" in message
    assert not list(tmp_path.glob("model.ckpt-*"))


class SquareRoot:
    """A network whose loss at 0 is finite and whose gradient there is not."""

    def __init__(self, weight):
        self.trainable_variables = [tf.Variable(weight), tf.Variable(1.0)]

    def loss(self, x, y, training, taught):
        return tf.sqrt(self.trainable_variables[0]) + self.trainable_variables[1] * x * y


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_odd_minibatches_leave_all_finite(kind):
    """A move of 10,000 deviations, identical points, points on a slanting line (rho towards 1), one more like it."""
    args = train.build_parser().parse_args(["--rnn_size=8", "--num_mixture=3", f"--optimizer={kind}", "--seed=1"])
    model = Model(args)
    optimizer = train.make_optimizer(args, model)
    train_step = train.make_train_step(model, optimizer, args.grad_clip)
    far, same, slanted = (make_points(batch=3, steps=13, seed=seed) for seed in range(3))
    far[1, 6, :2] = 1e4, -1e4
    same[:] = 0, 0, 0
    slanted[..., 1] = slanted[..., 0]
    for points in [far, same, slanted] * 12:
        loss, norm, _ = train_step(points[:, :-1], points[:, 1:])
        assert math.isfinite(loss) and math.isfinite(norm)
    assert int(optimizer.iterations) == 36
    assert all(np.isfinite(v.numpy()).all() for v in [*model.trainable_variables, *optimizer.variables])

    before = [v.numpy() for v in [*model.trainable_variables, *optimizer.variables]]
    far[1, 6, 0] = math.nan
    loss, norm, _ = train_step(far[:, :-1], far[:, 1:])
    assert not math.isfinite(loss) and not math.isfinite(norm)
    for old, now in zip(before, [*model.trainable_variables, *optimizer.variables], strict=True):
        np.testing.assert_array_equal(old, now)


class Steep:
    """A network whose gradient is 3e19 and -4e19: in float32 the squares are infinite."""

    def __init__(self):
        self.trainable_variables = [tf.Variable(tf.fill([2, 2], 1.0)), tf.Variable([2.0])]

    def loss(self, x, y, training, taught):
        matrix, vector = self.trainable_variables
        return 3e19 * tf.reduce_sum(matrix) * x - 4e19 * tf.reduce_sum(vector) * y


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_a_gradient_whose_square_is_infinite_is_cut_down(kind):
    network = Steep()
    optimizer = keras.optimizers.Adam(0.1) if kind == "adam" else train.Muon(0.1, network.trainable_variables[:1], 0.0)
    before = [v.numpy() for v in network.trainable_variables]
    loss, norm, _ = train.make_train_step(network, optimizer, 10.0)(tf.constant(1.0), tf.constant(1.0))
    assert math.isfinite(loss) and float(norm) == pytest.approx(math.sqrt(4 * 9 + 16) * 1e19, rel=1e-6)
    now = [v.numpy() for v in network.trainable_variables]
    assert (now[0] < before[0]).all() and (now[1] > before[1]).all()
    assert all(np.isfinite(v).all() for v in now)


def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_moments():
    for weight, changes in ((0.0, False), (4.0, True)):
        network, optimizer = SquareRoot(weight), keras.optimizers.Adam(0.1)
        train_step = train.make_train_step(network, optimizer, 10.0)
        before = [float(variable) for variable in network.trainable_variables]
        loss, norm, _ = train_step(tf.constant(2.0), tf.constant(3.0))
        assert math.isfinite(loss) and math.isfinite(norm) == changes
        now = [float(variable) for variable in network.trainable_variables]
        assert [a != b for a, b in zip(before, now, strict=True)] == [changes, changes]
        moments = [v.numpy() for v in optimizer.variables if "momentum" in v.path or "velocity" in v.path]
        assert len(moments) == 4 and [value != 0 for value in moments] == [changes] * 4
        assert int(optimizer.iterations) == changes


def test_global_norm_is_the_euclidean_norm():
    gradients = [tf.constant([[3.0, -4.0], [0.5, 1e-3]]), tf.constant([-12.0]), tf.zeros([2])]
    np.testing.assert_allclose(train.global_norm(gradients), tf.linalg.global_norm(gradients), rtol=1e-6)
    assert float(train.global_norm([tf.zeros([3])])) == 0


def test_global_norm_does_not_overflow():
    assert float(train.global_norm([tf.constant([3e19, 0.0]), tf.constant([-4e19])])) == pytest.approx(5e19, rel=1e-6)
    assert not math.isfinite(float(train.global_norm([tf.constant([math.inf, 1.0])])))
    assert math.isnan(float(train.global_norm([tf.constant([math.nan, 1.0]), tf.constant([1.0])])))


# --------------------------------------------------------------------------------------------------- what it refuses

WHOLE_1 = "is not a whole number of at least 1"


@pytest.mark.parametrize(
    ("flag", "values", "allowed"),
    [
        ("rnn_size", ["0", "-3", "1.5", "many", "65537", ""], f"{WHOLE_1} and at most 65536"),
        ("num_layers", ["0", "65", "nan"], f"{WHOLE_1} and at most 64"),
        ("num_mixture", ["0", "1025", "inf"], f"{WHOLE_1} and at most 1024"),
        ("batch_size", ["0", "1048577"], f"{WHOLE_1} and at most 1048576"),
        ("seq_length", ["0", "1048577"], f"{WHOLE_1} and at most 1048576"),
        ("num_epochs", ["0", "1073741825"], f"{WHOLE_1} and at most 1073741824"),
        ("save_every", ["0", "1073741825"], f"{WHOLE_1} and at most 1073741824"),
        ("seed", ["-1", "2147483648"], "is not a whole number of at least 0 and at most 2147483647"),
        ("keep_prob", ["0", "-0.5", "1e-300", "1.01", "nan", "inf"], "is not a number of at least 0.001 and at most 1"),
        ("recurrent_keep_prob", ["0", "1.01", "nan"], "is not a number of at least 0.001 and at most 1"),
        ("taught_share", ["-0.1", "1.01", "nan"], "is not a number of at least 0 and at most 1"),
        ("decay_rate", ["0", "1.01", "nan"], "is not a number above 0 and at most 1"),
        ("learning_rate", ["0", "-1", "1001", "nan", "inf"], "is not a number above 0 and at most 1000.0"),
        ("data_scale", ["0", "1e-300", "1e7"], "is not a number of at least 0.001 and at most 1000000.0"),
        ("grad_clip", ["0", "1e-300", "nan", "1e300"], "is not a number of at least 1e-06 and at most 1000000000.0"),
        ("model", ["lstms", ""], "(choose from gru, lstm, rnn)"),
        ("precision", ["float64"], "(choose from auto, bfloat16, float32)"),
    ],
)
def test_a_bad_value_is_refused_before_anything_is_read(tmp_path, capsys, flag, values, allowed):
    for value in values:
        with pytest.raises(SystemExit) as stop:
            train.main([f"--{flag}={value}", f"--data_dir={tmp_path / 'nowhere'}", f"--model_dir={tmp_path / 'run'}"])
        assert stop.value.code == 2
        (message,) = capsys.readouterr().err.splitlines()
        assert message.startswith(f"train.py: error: argument --{flag}: ")
        assert repr(value) in message
        assert message.replace("'", "").endswith(allowed)
    assert not any(tmp_path.iterdir())


def test_an_unknown_flag_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--rnn_sise=8"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "train.py: error: unrecognized arguments: --rnn_sise=8\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--eval_only", "--rnn_size=8"], "argument --rnn_size: does not go with --eval_only"),
        (["--eval_only", "--peephole"], "argument --peephole: does not go with --eval_only"),
        (["--model=rnn", "--recurrent_keep_prob=0.9"],
         "argument --recurrent_keep_prob: does not go with --model rnn, which has no memory cell"),
        (["--model=gru", "--peephole"], "argument --peephole: does not go with --model gru, which has no memory cell"),
        (["--model=rnn", "--layer_norm"],
         "argument --layer_norm: does not go with --model rnn, which has no memory cell"),
        (["--model_dir="], "argument --model_dir: '' is no name of a file or folder"),
        (["--data_dir="], "argument --data_dir: '' is no name of a file or folder"),
        (["--taught_share=0.5"], "argument --taught_share: goes with --teachers, which is missing"),
        (["--eval_only", "--taught_share=0.5"], "argument --taught_share: does not go with --eval_only"),
        (["--teachers=a,,b"], "argument --teachers: '' is no name of a file or folder"),
        (["--eval_only", "--json="], "argument --json: '' is no name of a file or folder"),
        (["--model_dir=run?"], "argument --model_dir: 'run?' holds one of *?[]\\ or no text"),
    ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        train.main(flags)
    assert stop.value.code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert words in message
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sizes", "needed"),
    [
        ({"rnn_size": 65536, "num_layers": 64}, 16 * (127 * 4 * 65536**2)),
        ({"rnn_size": 65536, "num_layers": 1, "model": "rnn"}, 16 * 65536**2),
        ({"batch_size": 1048576, "seq_length": 1048576}, 4 * 2**40 * (2 * 13 + 16)),
    ],
)
def test_a_network_that_fits_no_memory_is_refused(tiny_run, tmp_path, monkeypatch, capsys, sizes, needed):
    monkeypatch.setattr(train, "memory", lambda: 60 << 30)
    message = refusal(main(tiny_run, tmp_path / "run", **sizes), capsys)
    found = re.fullmatch(r"(.+) need more than ([\d,]+) GiB of memory, and there are 60; make them smaller", message)
    assert all(f"--{name} {size}" in found[1] for name, size in sizes.items() if name != "model")
    assert int(found[2].replace(",", "")) == pytest.approx(needed / 2**30, rel=0.02)
    assert not (tmp_path / "run").exists()


def test_memory_is_that_of_the_machine():
    assert 1 << 30 < train.memory() < 1 << 50
    train.check_memory(train.build_parser().parse_args([]))


def test_memory_that_is_not_enough_is_told(tiny_run, tmp_path, monkeypatch, capsys):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(train, "load_data", exhausted)
    message = refusal(main(tiny_run, tmp_path / "run"), capsys)
    assert message.startswith("the memory is not enough; make --batch_size, --seq_length, --rnn_size or --num_layers ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "kind"), [("log", "file"), ("best", "file"), ("loss.csv", "folder"),
                                            ("config.json", "folder")])
def test_a_folder_where_a_run_cannot_be_kept_is_refused(tiny_run, tmp_path, capsys, name, kind):
    if kind == "file":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    message = refusal(main(tiny_run, tmp_path, "--overwrite"), capsys)
    assert message.startswith(f"{tmp_path / name} is a {kind}, where a run has a ")
    assert [path.name for path in tmp_path.rglob("*")] == [name]


def test_every_flags_help_tells_its_default():
    text = " ".join(train.build_parser().format_help().split())
    assert text.count("(default: ") == len(vars(train.build_parser().parse_args([])))


def refusal(status, capsys):
    """The sentence with which train.main refused."""
    assert status == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (message,) = captured.err.splitlines()
    return message.removeprefix("train.py: error: ")


def test_missing_data_is_refused(tiny_run, tmp_path, capsys):
    message = refusal(main(tiny_run, tmp_path / "run", data_dir=tmp_path / "nowhere"), capsys)
    assert message.startswith(f"The data folder {tmp_path / 'nowhere'} does not exist")
    assert not (tmp_path / "run").exists()


def test_data_without_a_validation_line_is_refused(tiny_run, tmp_path, capsys):
    make_corpus(tmp_path / "data", num_lines=1)
    message = refusal(main(tiny_run, tmp_path / "run", data_dir=tmp_path / "data"), capsys)
    assert message.startswith(f"--data_dir {tmp_path / 'data'} holds no line to validate on")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_unless_told_to(tiny_run, tmp_path, capsys):
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    message = refusal(main(tiny_run, tmp_path / "run"), capsys)
    assert message == (f"--model_dir {tmp_path / 'run'} holds a run already; go on with it by --resume, name another "
                       "folder, or give --overwrite")  # fmt: skip
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before

    assert main(tiny_run, tmp_path / "run", "--overwrite", num_epochs=1, num_layers=1) == 0
    assert len(read_losses(tmp_path / "run")) == 1
    assert len(read_scalars(tmp_path / "run" / "log")["train loss"]) == STEPS
    assert {path.name for path in (tmp_path / "run").rglob("*.index")} == {"model.ckpt-3.index", "model.ckpt-5.index"}
    assert train.read_config(tmp_path / "run").num_layers == 1


@pytest.mark.parametrize("name", ["best/checkpoint", "model.ckpt-7.index", "loss.csv"])
def test_what_is_left_of_a_run_is_not_mixed_with_another(tiny_run, tmp_path, capsys, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("old")
    message = refusal(main(tiny_run, tmp_path), capsys)
    assert message == (f"--model_dir {tmp_path} holds {name}, which is left of a run; move it, name another folder, or "
                       "give --overwrite")  # fmt: skip
    assert (tmp_path / name).read_text() == "old" and not (tmp_path / "config.json").exists()
    train.prepare_folder(train.build_parser().parse_args([f"--model_dir={tmp_path}", "--overwrite"]), (40.0, 30.0))
    assert not (tmp_path / name).exists() and (tmp_path / "config.json").exists()


def test_other_files_in_the_folder_stay(tiny_run, tmp_path):
    others = ["best/friends", "log/today", "loss.txt", "notes", "model.ckpt-7.index"]
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for flags in ([], ["--overwrite"]):
        train.prepare_folder(train.build_parser().parse_args([f"--model_dir={tmp_path}", *flags]), (40.0, 30.0))
        assert all((tmp_path / name).exists() for name in others[:-1])
        assert (tmp_path / "model.ckpt-7.index").exists() == (not flags)  # a run's


def test_the_weights_that_we_ship_are_not_overwritten(tiny_run, capsys):
    message = refusal(main(tiny_run, ROOT / "save" / "pretrained", "--overwrite"), capsys)
    assert message.endswith("holds the weights that come with the program; name another folder")


def test_a_folder_that_cannot_be_made_is_refused(tiny_run, tmp_path, capsys):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "run"
    message = refusal(main(tiny_run, folder), capsys)
    assert message == f"--model_dir {folder} cannot be written (Not a directory); name another folder"


# ----------------------------------------------------------------------------------------------------- config.json


def test_read_config_names_a_missing_file(tmp_path):
    with pytest.raises(train.RunError, match=r"config\.json cannot be read \(No such file or directory\); name the"):
        train.read_config(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_read_config_refuses_what_is_no_json(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(train.RunError, match=r"config\.json is no JSON; restore it, or train again"):
        train.read_config(tmp_path)


def test_a_run_from_before_a_flag_is_read_as_if_with_its_default(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    del config["skip"], config["polar"], config["recurrent_keep_prob"], config["taught_share"], config["sigma_min"]
    (folder / "config.json").write_text(json.dumps(config))
    found = train.read_config(folder)
    assert found.skip is False and found.polar is False
    assert found.recurrent_keep_prob == 1 and found.taught_share == 0.75 and found.sigma_min == 0.288
    assert train.restore(folder).units == config["rnn_size"]


@pytest.mark.parametrize("text", ["[]", "3", "null", '"rnn_size"'])
def test_read_config_refuses_what_is_no_object(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(train.RunError, match=r"config\.json does not hold the flags of train.py"):
        train.read_config(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rnn_size": None}, "does not hold the flags of train.py: rnn_size is missing or unknown there"),
        ({"colour": "red"}, "does not hold the flags of train.py: colour is missing or unknown there"),
        ({"overwrite": True}, "does not hold the flags of train.py: overwrite is missing or unknown there"),
        ({"rnn_size": 0}, "argument --rnn_size: '0' is not a whole number of at least 1"),
        ({"rnn_size": 8.5}, "argument --rnn_size: '8.5' is not a whole number of at least 1"),
        ({"rnn_size": True}, "argument --rnn_size: 'True' is not a whole number of at least 1"),
        ({"rnn_size": [8]}, r"argument --rnn_size: '\[8\]' is not a whole number of at least 1"),
        ({"keep_prob": math.nan}, "argument --keep_prob: 'nan' is not a number of at least 0.001 and at most 1"),
        ({"model": "cnn"}, "argument --model: invalid choice: 'cnn'"),
        ({"peephole": "yes"}, "holds a value that train.py does not allow: 'yes'"),
        ({"peephole": []}, "holds a value that train.py does not allow: "),
    ],
)
def test_read_config_refuses_a_flag_that_is_missing_unknown_or_wrong(tiny_run, tmp_path, changes, words):
    config = {**json.loads((tiny_run.folder / "config.json").read_text()), **changes}
    config = {name: value for name, value in config.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(train.RunError, match=words):
        train.read_config(tmp_path)


def test_read_config_reads_a_switch(tiny_run, tmp_path):
    config = json.loads((tiny_run.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "peephole": True}))
    assert train.read_config(tmp_path).peephole is True
    assert train.read_config(tiny_run.folder).peephole is False
