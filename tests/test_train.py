"""train.py: what a run leaves behind, how it trains, and what its flags refuse."""

import itertools
import json
import math
import re
import shutil
import subprocess
import sys
import warnings
from types import SimpleNamespace

import train
from conftest import (
    ROOT,
    SMALL,
    STEPS,
    checkpoint,
    content,
    environment,
    main,
    make_args,
    make_corpus,
    make_points,
    read_losses,
    read_record,
    read_weights,
    saved_steps,
    scores_of_line,
    status_of,
    tiny_flags,
)  # fmt: skip
from handwriting.measure import likelihood
from model import Model, restore
from utils import DataLoader

import keras
import numpy as np
import pexpect
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

TOTAL = 2 * STEPS


def read_scalars(folder):
    """The scalars in a TensorBoard log: name -> list of (step, value), in the order of writing."""
    (path,) = folder.glob("events.out.tfevents.*")
    scalars = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = event_pb2.Event.FromString(record.numpy())
        for value in event.summary.value:
            point = event.step, float(tf.make_ndarray(value.tensor))
            scalars.setdefault(value.tag, []).append(point)
    return scalars


def flags_of(*argv):
    return train.build_parser().parse_args(argv)


def refusal(status, capsys):
    """The sentence with which train.main refused."""
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    (message,) = captured.err.splitlines()
    return message.removeprefix("train.py: error: ")


# -------------------------------------------------------------------------- what a run leaves


def test_run_writes_its_flags_and_its_data_s_deviations(tiny_run):
    config = json.loads((tiny_run.folder / "config.json").read_text())
    expected = dict(vars(flags_of(*tiny_run.flags)))
    for name in train.OF_START:
        del expected[name]
    deviations = DataLoader(seq_length=20, data_dir=tiny_run.data_dir).deviations
    expected |= {"sigma_x": deviations[0], "sigma_y": deviations[1], "alphabet": ""}
    assert config["precision"] in ("bfloat16", "float32")
    assert config == {**expected, "precision": config["precision"]}
    assert (config["rnn_size"], config["model"], config["keep_prob"]) == (8, "lstm", 0.8)


def test_run_leaves_the_three_newest_checkpoints_and_the_best_weights(tiny_run):
    files = [path for path in tiny_run.folder.rglob("*") if path.is_file()]
    named = {"config.json", "lock", "loss.csv", "loss.png", "model.safetensors"}
    saved = {f"checkpoint-{step}.safetensors" for step in saved_steps()}
    assert {path.name for path in files if "tfevents" not in path.name} == named | saved
    losses = {row["step"]: row["valid_loss"] for row in read_losses(tiny_run.folder)}
    best = min(losses, key=losses.get)
    record = read_record(tiny_run.folder / "model.safetensors")
    assert record == {"step": best, "valid_loss": losses[best]}
    assert (tiny_run.folder / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_run_writes_and_prints_its_losses(tiny_run):
    *_, head, first, second, last = tiny_run.stdout.splitlines()
    assert head.startswith(f"1,045 weights; 2 epochs of {STEPS} steps; products in ")
    rows = read_losses(tiny_run.folder)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, STEPS), (2, TOTAL)]
    assert [row["rate"] for row in rows] == [0.02, 0.01]
    assert 0 < rows[0]["seconds"] <= rows[1]["seconds"]
    assert rows[1]["train_loss"] < rows[0]["train_loss"]
    assert rows[1]["valid_loss"] < rows[0]["valid_loss"]
    for number, (line, row) in enumerate(zip((first, second), rows, strict=True), start=1):
        assert line.startswith(f"epoch {number}: training loss {row['train_loss']:.4f}, ")
        assert f"validation loss {row['valid_loss']:.4f} nats per point" in line
    assert last.endswith("Draw with: python sample.py --model_dir run")
    assert tiny_run.stderr == ""


def test_run_logs_for_tensorboard_what_the_table_says(tiny_run):
    scalars = read_scalars(tiny_run.folder / "log")
    steps = ("train loss", "gradient norm", "rate")
    assert sorted(scalars) == sorted([*steps, "validation loss"])
    for name in steps:
        assert [step for step, _ in scalars[name]] == list(range(1, TOTAL + 1))
    values = {name: [value for _, value in points] for name, points in scalars.items()}
    rows = read_losses(tiny_run.folder)
    valid = [(row["step"], pytest.approx(row["valid_loss"], rel=1e-6)) for row in rows]
    assert scalars["validation loss"] == valid
    for row, start in zip(rows, (0, STEPS), strict=True):
        mean = np.mean(values["train loss"][start : start + STEPS])
        assert mean == pytest.approx(row["train_loss"], rel=1e-6)
    assert values["rate"] == pytest.approx([0.02] * STEPS + [0.01] * STEPS)
    assert min(values["gradient norm"]) > 0


def test_validation_loss_is_that_of_the_best_weights_over_whole_lines(tiny_run):
    weights = read_weights(tiny_run.folder / "model.safetensors")
    held = DataLoader(seq_length=20, scale_factor=20, data_dir=tiny_run.data_dir).valid_data
    assert min(map(len, held)) >= 60
    nats = np.concatenate([scores_of_line(weights, line, components=2)[0] for line in held]).mean()
    best = min(row["valid_loss"] for row in read_losses(tiny_run.folder))
    assert nats == pytest.approx(best, abs=1e-5)


def test_bar_in_a_terminal_without_ipython_shows_epoch_loss_and_rate(tiny_run, tmp_path):
    code = "import runpy, sys; sys.modules['IPython'] = None; sys.path.insert(0, sys.argv[1]); "
    code += "sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    flags = tiny_flags(**SMALL, num_epochs=1, data_dir=tiny_run.data_dir)
    terminal = pexpect.spawn(
        sys.executable, ["-c", code, str(ROOT), str(ROOT / "train.py"), *flags, "--model_dir=run"],
        cwd=str(tmp_path), env=environment(), encoding="utf-8", dimensions=(24, 150), timeout=300,
    )  # fmt: skip
    screen = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0, screen
    (row,) = read_losses(tmp_path / "run")
    bars = [bar for bar in screen.split("\r") if f"step {STEPS}/{STEPS} |" in bar]
    assert bars and all(bar.startswith("epoch 1/1 step ") for bar in bars), screen
    loss = read_scalars(tmp_path / "run" / "log")["train loss"][-1][1]
    shown = rf"loss {loss:.3f}, rate 0.02000, +[\d.]+s/step, 00:\d\d, 00:00 left"
    assert re.search(shown, bars[-1])
    assert f"epoch 1: training loss {row['train_loss']:.4f}, " in screen


# ------------------------------------------------------------------------------ how it trains


def test_seed_decides_the_losses(tiny_run, small_run, tmp_path):
    def losses(folder):
        return [(row["train_loss"], row["valid_loss"]) for row in read_losses(folder)]

    expected, before = losses(small_run), warnings.showwarning
    assert main(tiny_run, tmp_path / "same", **SMALL) == 0
    assert losses(tmp_path / "same") == expected
    assert main(tiny_run, tmp_path / "other", seed=1, num_epochs=1, **SMALL) == 0
    assert losses(tmp_path / "other")[0][0] != expected[0][0]
    assert losses(tmp_path / "other")[0][1] != expected[0][1]
    assert warnings.showwarning is before  # of the session in which `%run -i train.py` was


def test_learning_rate_follows_its_flags():
    def rates(*flags):
        args = flags_of("--learning_rate=1", "--num_epochs=2", *flags)
        return [train.learning_rate(args, step, 4) for step in range(8)]

    assert rates("--decay_rate=0.5") == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert rates("--decay=linear") == [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    warm = [0.2, 0.4, 0.6, 0.8, 0.5, 0.5, 0.5, 0.5]
    assert rates("--decay_rate=0.5", "--warmup=5") == pytest.approx(warm)


def one_step(flags, **network):
    """The weights of a new Model before and after one step, each name -> array, and its Model."""
    model, args = Model(make_args(rnn_size=16, **network)), flags_of(*flags)
    before = {name: v.numpy() for name, v in model.variables.items()}
    train_step = train.make_train_step(model, train.make_optimizer(args, model), 10.0)
    train_step((make_points(), make_points(seed=1)), tf.constant(0))
    return before, {name: v.numpy() for name, v in model.variables.items()}, model


def test_muon_makes_the_steps_of_the_large_matrices_inside_orthogonal():
    flags = ["--optimizer=muon", "--learning_rate=0.01"]
    before, after, model = one_step(flags, model="rnn", skip=True)
    steps = {name: after[name] - before[name] for name in before}
    inside = [steps.pop(name) for name in model.hidden_matrices()]
    assert sorted(step.shape for step in inside) == [(16, 16), (16, 16), (19, 16)]
    for step in inside:  # Keras' five iterations leave the larger singular values near 1
        values = np.linalg.svd(step, compute_uv=False) / (0.01 * 0.2 * math.sqrt(max(step.shape)))
        assert 0.65 < np.median(values) < values.max() < 1.3
    assert len(steps) == 5
    for step in steps.values():  # Adam's first step is as large everywhere
        assert np.median(np.abs(step)) == pytest.approx(0.005, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_weight_decay_shrinks_the_large_matrices_inside_alone(optimizer):
    flags = [f"--optimizer={optimizer}", "--learning_rate=0.01"]
    before, plain, model = one_step(flags, model="rnn")
    _, decayed, _ = one_step([*flags, "--weight_decay=0.5"], model="rnn")
    inside = model.hidden_matrices()
    assert inside == ["layers.0.recurrent_kernel", "layers.1.recurrent_kernel", "layers.1.kernel"]
    for name, old in before.items():
        fall = 0.5 * 0.01 * old if name in inside else 0
        np.testing.assert_allclose(decayed[name], plain[name] - fall, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("flags", [["--model=gru"], ["--peephole", "--polar"]])
def test_every_kind_of_layer_learns(tiny_run, tmp_path, flags):
    assert main(tiny_run, tmp_path, *flags, num_layers=1) == 0
    first, second = read_losses(tmp_path)
    assert second["train_loss"] < first["train_loss"]
    assert second["valid_loss"] < first["valid_loss"]
    network = restore(tmp_path)
    assert network.kind == ("gru" if "--model=gru" in flags else "lstm")
    assert network.polar == ("--polar" in flags)
    assert any("peephole" in name for name in network.variables) == ("--peephole" in flags)


def test_a_worse_epoch_leaves_the_best_weights_alone(tiny_run, tmp_path, monkeypatch):
    losses = [3.0, 1.0, 2.0, math.nan]
    monkeypatch.setattr(likelihood, "make_validate", lambda *_: iter(losses).__next__)
    assert main(tiny_run, tmp_path, num_epochs=4, **SMALL) == 0
    found = [row["valid_loss"] for row in read_losses(tmp_path)]
    assert found == pytest.approx(losses, nan_ok=True)
    assert read_record(tmp_path / "model.safetensors") == {"step": TOTAL, "valid_loss": 1.0}
    assert checkpoint(tmp_path, 4 * STEPS).exists()


def test_a_loss_that_is_not_finite_stops_the_run(tiny_run, tmp_path, monkeypatch, capsys):
    next_batch, steps = DataLoader.next_batch, itertools.count(1)

    def spoiled_batch(data):
        x, y = next_batch(data)
        if next(steps) == 4:
            y[1, 2, 0] = math.nan
        return x, y

    monkeypatch.setattr(train.DataLoader, "next_batch", spoiled_batch)
    assert main(tiny_run, tmp_path, **SMALL) == 2
    (message,) = capsys.readouterr().err.splitlines()
    found = re.fullmatch(
        r"train\.py: error: the loss is (\S+) at step 4, where the gradient's norm is (\S+); this "
        r"step changed nothing, and the checkpoints before it are good; try a smaller "
        r"--learning_rate or --grad_clip, and look for odd lines in the data",
        message,
    )
    assert not math.isfinite(float(found[1])) and not math.isfinite(float(found[2]))
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in left if "tfevents" not in name} == {
        "checkpoint-3.safetensors", "config.json", "lock",
    }  # fmt: skip


def test_train_step_changes_nothing_where_the_gradient_is_not_finite():
    """The loss sqrt(w) has a derivative of infinity at 0."""
    for weight, changes in ((0.0, False), (4.0, True)):
        w = keras.Variable(weight, dtype="float32")
        network = SimpleNamespace(variables={"w": w})
        network.loss_sums = lambda x, seed, w=w: (*[x * tf.sqrt(w.value)] * 2, 1.0)
        optimizer = keras.optimizers.Adam(0.1)
        train_step = train.make_train_step(network, optimizer, 10.0)
        loss, norm, _ = train_step([tf.constant(2.0)], tf.constant(0))
        assert math.isfinite(loss) and math.isfinite(norm) == changes
        assert (float(w) != weight) == changes and int(optimizer.iterations) == changes


# -------------------------------------------------------------------------------- fine-tuning


def test_init_starts_from_exactly_the_weights_of_a_run_with_its_network(
    tiny_run, small_run, tmp_path
):
    flags = ["--init", small_run, "--learning_rate=1e-30", "--batch_size=4", "--seq_length=20",
             "--num_epochs=1", "--rnn_size=8", "--num_mixture=2", "--data_dir", tiny_run.data_dir]
    assert status_of(train.main, [*flags, "--model_dir", tmp_path / "run"]) == 0
    folders = tmp_path / "run", small_run
    ours, theirs = (read_weights(path / "model.safetensors") for path in folders)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["init"] == str(small_run)
    assert (config["model"], config["num_layers"], config["learning_rate"]) == ("rnn", 1, 1e-30)


def test_a_network_that_writes_text_is_fine_tuned_for_few_lines_unless_flags_say_else(text_run):
    args = train.parse_flags(["--text", f"--init={text_run}", "--batch_size=4"])
    expected = {**train.FINE_TUNING, "batch_size": 4}
    assert {name: getattr(args, name) for name in expected} == expected
    others = train.parse_flags(["--text", "--init=save/pretrained"])
    assert (others.batch_size, others.learning_rate, others.decay) == (50, 0.005, "exponential")


def test_init_refuses_another_network_and_a_folder_without_a_run(small_run, tmp_path, capsys):
    def refused(*flags):
        return refusal(status_of(train.main, [*flags, f"--model_dir={tmp_path / 'run'}"]), capsys)

    assert refused(f"--init={small_run}", "--rnn_size=9") == (
        f"--rnn_size 9 contradicts the run in {small_run}, where it is 8; leave it out"
    )
    assert f"--data_scale 10.0 contradicts the run in {small_run}" in refused(
        f"--init={small_run}", "--data_scale=10"
    )
    assert "nowhere/config.json cannot be read" in refused(f"--init={tmp_path / 'nowhere'}")
    assert not (tmp_path / "run").exists()


# --------------------------------------------------------------------------- what it refuses


def test_few_recorded_lines_without_weights_to_start_from_are_told_of(tiny_run, tmp_path):
    make_corpus(tmp_path / "data", texts=None)
    strokes = [[[3 * k + 9 * np.sin(k), 80 - 12 * np.cos(k), 15 * k] for k in range(90)]]
    line = {"text": "on", "guide": {"baseline": 80, "x_height": 24}, "strokes": strokes}
    hand = {"format": "hand", "version": 1, "lines": [line]}
    (tmp_path / "data" / "hand.json").write_text(json.dumps(hand))
    flags = [*tiny_flags(data_dir=tmp_path / "data"), f"--model_dir={tmp_path / 'run'}"]
    with pytest.warns(UserWarning, match=r"on the 1\d lines in .*data, too few.* --init save/text"):
        train.load_data(train.parse_flags(flags))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rnn=8"], "unrecognized arguments: --rnn=8; did you mean --rnn_size?"),
        (["--rnn_size=0"], "--rnn_size: '0' is not a whole number of at least 1 and at most 65536"),
        (["--keep_prob=0"], "--keep_prob: '0' is not a number of at least 0.001 and at most 1"),
        (["--decay_rate=nan"], "--decay_rate: 'nan' is not a number above 0 and at most 1"),
        (["--model=lstms"], "--model: invalid choice: 'lstms' (choose from gru, lstm, rnn)"),
        (["--model_dir="], "--model_dir: '' is no name of a file or folder"),
        (["--decay=linear", "--decay_rate=0.5"], "--decay_rate: does not go with --decay linear"),
        (["--model=gru", "--precision=bfloat16"], "--precision: does not go with --model gru"),
        (["--model=gru", "--peephole"], "--peephole: does not go with --model gru"),
        (["--model=rnn", "--layer_norm"], "--layer_norm: does not go with --model rnn"),
        (["--join_lines"], "--join_lines: goes with --text, which is missing"),
        (["--resume", "--overwrite"], "--overwrite: does not go with --resume"),
        (["--resume", "--init=run"], "--init: does not go with --resume"),
    ],
)
def test_bad_or_clashing_flags_are_refused_before_anything_is_read(tmp_path, capsys, flags, words):
    more = [f"--data_dir={tmp_path / 'nowhere'}", f"--model_dir={tmp_path / 'run'}"]
    message = refusal(status_of(train.main, [*more, *flags]), capsys)
    message = message.removeprefix("argument ")
    assert message.replace("'gru', 'lstm', 'rnn'", "gru, lstm, rnn") == words
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["train", "sample"])
def test_help_answers_without_tensorflow(name):
    code = f"import sys, {name}\ntry: {name}.main(['--help'])\n"
    code += "finally: print('tensorflow' in sys.modules, 'matplotlib' in sys.modules)"
    command = [sys.executable, "-c", code]
    text = subprocess.check_output(command, cwd=ROOT, env=environment(), text=True)
    assert text.startswith(f"usage: {name}.py") and text.endswith("\nFalse False\n")


def test_every_flag_s_help_tells_its_default():
    text = " ".join(train.build_parser().format_help().split())
    assert text.count("(default: ") == len(vars(flags_of()))


def test_data_that_is_missing_or_too_little_is_refused(tiny_run, tmp_path, capsys):
    make_corpus(tmp_path / "one", num_lines=1)
    before = warnings.showwarning
    for data_dir in (tmp_path / "none", tmp_path / "one"):
        message = refusal(main(tiny_run, tmp_path / "run", data_dir=data_dir), capsys)
        assert str(data_dir) in message
    assert not (tmp_path / "run").exists() and warnings.showwarning is before


def test_memory_that_is_not_enough_is_told(tiny_run, tmp_path, monkeypatch, capsys):
    def exhausted(_):
        raise MemoryError

    monkeypatch.setattr(train.DataLoader, "next_batch", exhausted)
    assert main(tiny_run, tmp_path / "run", **SMALL) == 2
    assert "memory; make batches, samples or the network smaller" in capsys.readouterr().err


def test_a_run_is_not_overwritten_unless_told_to_and_other_files_stay(
    tiny_run, small_run, tmp_path, capsys
):
    folder = shutil.copytree(small_run, tmp_path / "run")
    before = content(folder)
    assert refusal(main(tiny_run, folder), capsys) == (
        f"--model_dir {folder} holds a run already; go on with it by --resume, name another "
        "folder, or give --overwrite"
    )
    assert content(folder) == before
    for name in ("notes", "log/today"):
        (folder / name).write_text("mine")
    assert main(tiny_run, folder, "--overwrite", **SMALL, num_epochs=1) == 0
    assert len(read_losses(folder)) == 1 and len(read_scalars(folder / "log")["rate"]) == STEPS
    assert {path.name for path in folder.glob("*.safetensors")} == {
        "model.safetensors", *(f"checkpoint-{step}.safetensors" for step in saved_steps(STEPS)),
    }  # fmt: skip
    assert all((folder / name).read_text() == "mine" for name in ("notes", "log/today"))


@pytest.mark.parametrize("name", ["pretrained", "text", "iam", "iam_text"])
def test_the_weights_that_we_ship_are_not_overwritten(tiny_run, capsys, name):
    assert (ROOT / "save" / name / "model.safetensors").exists()
    message = refusal(main(tiny_run, ROOT / "save" / name, "--overwrite"), capsys)
    assert "holds the weights that come with the program" in message
