"""train.py --eval_only: its figures against NumPy, and the comparison of drawn lines with real ones."""

import json
import re
import shutil

import train
import utils
from conftest import make_line, read_losses, read_weights, scores_of_line
from train import restore
from utils import DataLoader

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def measured(tiny_run, tmp_path_factory):
    """A data folder with a short line, a long one with two moves beyond the limit, and others; its raw lines."""
    folder, rng = tmp_path_factory.mktemp("measured"), np.random.default_rng(5)
    lines = [make_line(size, rng) for size in (40, 310, 299, 300, 60, *[30] * 7)]
    lines[1][100, :2] = 700, -3
    lines[1][200, :2] = 5, 500  # at the limit is where capped moves are
    lists = {"testset_v": "s00-000", "trainset": "s00-001", "testset_t": "x", "testset_f": "s00-002"}
    for name, forms in lists.items():
        (folder / f"{name}.txt").write_text(forms)
    utils.write_line_strokes(lines, folder / "lineStrokes-all.tar.gz")
    return folder, DataLoader(seq_length=2, data_dir=folder).raw_data


def test_eval_only_finds_the_figures_of_numpy(tiny_run, measured, tmp_path, capsys):
    folder, raw = measured
    flags = ["--eval_only", f"--data_dir={folder}", f"--model_dir={tiny_run.folder}", f"--json={tmp_path / 'a.json'}"]
    before = {path: path.read_bytes() for path in tiny_run.folder.rglob("*") if path.is_file()}
    assert train.main(flags) == 0
    assert {path: path.read_bytes() for path in tiny_run.folder.rglob("*") if path.is_file()} == before
    found = json.loads((tmp_path / "a.json").read_text())

    weights = read_weights(tf.train.latest_checkpoint(str(tiny_run.folder / "best")))
    config = train.read_config(tiny_run.folder)
    sigma = np.array([config.sigma_x, config.sigma_y])
    lines = [line / np.array([20.0, 20.0, 1.0]) for line in raw[:5]]  # testset_v: the first form
    for line in lines:
        line[:, :2] = line[:, :2].clip(-25, 25)
    scores = [scores_of_line(weights, line, components=2) for line in lines]
    free = [np.abs(line[1:, :2]).max(axis=1) < 25 for line in lines]
    expected = {"lines": 5, "points": 39 + 309 + 298 + 299 + 59, "lines_300": 2, "capped": 2}
    expected["squared_error"] = np.mean(np.concatenate([error for _, error in scores]) @ (20 / sigma) ** 2)
    uncapped = [nats[kept] for (nats, _), kept in zip(scores, free, strict=True)]
    for suffix, nats in (("", [n for n, _ in scores]), ("_uncapped", uncapped)):
        # A density of moves in units of sigma, from that of moves in units of 20.
        per_line = [np.sum(n - np.log(sigma[0] / 20) - np.log(sigma[1] / 20)) for n in nats]
        expected |= {f"nats_per_point{suffix}": np.concatenate(nats).mean(),
                     f"nats_per_line{suffix}": np.mean(per_line),
                     f"nats_per_line_300{suffix}": (per_line[1] + per_line[3]) / 2}
    assert expected["nats_per_line"] != pytest.approx(expected["nats_per_line_uncapped"], rel=1e-4)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    assert (found["split"], found["sigma_x"], found["data_dir"]) == ("testset_v", config.sigma_x, str(folder))

    out = capsys.readouterr().out
    assert out.startswith(f"testset_v of {folder}: 5 lines, 1,004 points, 2 of them capped; weights: {tiny_run.folder}")
    for name in ("nats_per_point", "nats_per_line", "nats_per_line_300"):
        assert f"{found[name]:.4f}" in out or f"{found[name]:.1f}" in out


def test_eval_only_measures_any_split(tiny_run, measured, tmp_path):
    for split, lines in (("trainset", 5), ("all", 12), ("valid", 5), ("testset_f", 2)):
        flags = [f"--split={split}", f"--json={tmp_path / split}", f"--model_dir={tiny_run.folder}"]
        assert train.main(["--eval_only", f"--data_dir={measured[0]}", *flags]) == 0
        assert json.loads((tmp_path / split).read_text())["lines"] == lines
    assert train.main(["--eval_only", f"--data_dir={tiny_run.data_dir}", *flags[1:]]) == 0
    figures = json.loads((tmp_path / split).read_text())
    assert (figures["split"], figures["lines_300"], figures["nats_per_line_300"]) == ("valid", 0, None)
    best = min(row["valid_loss"] for row in read_losses(tiny_run.folder))
    assert figures["nats_per_point"] == pytest.approx(best, abs=1e-6)


@pytest.fixture
def improving(tiny_run, tmp_path):
    """A copy of the tiny run, the step of its best weights, and a function that makes them those of step 99."""
    run = shutil.copytree(tiny_run.folder, tmp_path / "run")
    (step,) = train.Checkpoints(None, run / "best", 1).steps()

    def improve():
        for path in (run / "best").glob("model.ckpt-*"):
            path.rename(path.with_name(path.name.replace(f"-{step}.", "-99.")))
        (run / "best" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-99"')

    return run, step, improve


def test_eval_only_names_the_weights_that_it_measured(improving, measured, tmp_path, monkeypatch):
    (run, step, improve), evaluate = improving, train.evaluate
    monkeypatch.setattr(train, "evaluate", lambda *args: improve() or evaluate(*args))
    flags = [f"--data_dir={measured[0]}", f"--model_dir={run}", f"--json={tmp_path / 'a.json'}"]
    assert train.main(["--eval_only", *flags]) == 0
    named = json.loads((tmp_path / "a.json").read_text())["checkpoint"]
    assert named == str(run / "best" / f"model.ckpt-{step}") and train.find_checkpoint(run).endswith("ckpt-99")


def test_weights_that_better_ones_replace_while_they_are_read_are_no_damage(improving, monkeypatch):
    (run, step, improve), read_shapes = improving, train.read_shapes
    monkeypatch.setattr(train, "read_shapes",
                        lambda path: (path.endswith(f"-{step}") and improve()) or read_shapes(path))
    assert restore(run).checkpoint == str(run / "best" / "model.ckpt-99")


def test_ctrl_c_in_an_evaluation_speaks_of_nothing_saved(tiny_run, measured, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "evaluate", interrupted)
    assert train.main(["--eval_only", f"--data_dir={measured[0]}", f"--model_dir={tiny_run.folder}"]) == 130
    assert capsys.readouterr().err == "train.py: stopped\n"


def wavy_line(size, height=20.0, points=400, seed=0):
    """A line of waves, float [points, 3]."""
    rng = np.random.default_rng(seed)
    line = make_line(points, rng).astype(float)
    line[:, :2] *= size
    line[:, 1] += height * np.sin(np.arange(points))
    return line


def test_compare_tells_what_is_unlike():
    lines = [wavy_line(1, seed=k) for k in range(200)]
    same = utils.compare_lines([wavy_line(1, seed=k) for k in range(200, 400)], lines)
    other = utils.compare_lines([wavy_line(6, seed=k) for k in range(100)] + lines[:100], lines)
    assert same["outside"] < 0.15 and all(value < 0.05 for name, value in same.items() if "distance" in name)
    assert other["outside"] == pytest.approx(other["outside_move"], abs=0.05)
    assert 0.5 <= other["outside_move"] < 0.53  # all of the first half, hardly any of the second
    assert other["distance_stroke_length"] > 0.2 and other["distance_points_per_stroke"] < 0.05


def test_eval_samples_compares_drawn_lines_with_real_ones(tiny_run, measured, tmp_path, capsys):
    flags = ["--eval_only", f"--data_dir={measured[0]}", f"--model_dir={tiny_run.folder}", f"--json={tmp_path / 'a'}"]
    assert train.main([*flags, "--eval_samples=3", "--bias=1.5"]) == 0
    samples = json.loads((tmp_path / "a").read_text())["samples"]
    assert (samples["num"], list(samples["compared"])) == (3, ["real", "bias 0", "bias 1.5"])
    model, scale = restore(tiny_run.folder), np.array([20, 20, 1])
    long = [line.clip(-500, 500) for line in measured[1][:5] if len(line) >= 300]
    for bias, column in ((0, "bias 0"), (1.5, "bias 1.5")):
        drawn, _ = model.sample_batch(tf.random.Generator.from_seed(0), 800, 3, bias)
        expected = utils.compare_lines(drawn, [long[0] / scale * scale])
        assert samples["compared"][column] == pytest.approx(expected, abs=1e-3)
    out = capsys.readouterr().out
    assert "3 samples of 800 points beside real lines of 300 or more" in out
    assert all(f"\n{name} " in out for name in expected)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--eval_samples=9"], "argument --eval_samples: goes with --eval_only, which is missing"),
        (["--eval_only", "--bias=1"], "argument --bias: goes with --eval_samples, which is missing"),
        (["--split=valid"], "argument --split: goes with --eval_only, which is missing"),
        (["--json=x"], "argument --json: goes with --eval_only, which is missing"),
        (["--eval_only", "--overwrite"], "argument --overwrite: does not go with --eval_only"),
        (["--eval_only", "--resume"], "argument --resume: does not go with --eval_only"),
        (["--eval_only", "--strategy=mirrored"], "argument --strategy: does not go with --eval_only"),
        (["--resume", "--overwrite"], "argument --overwrite: does not go with --resume"),
    ],
)
def test_flags_of_the_evaluation_that_do_not_fit_are_refused(capsys, flags, words):
    with pytest.raises(SystemExit) as stop:
        train.main(flags)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--split=mine"], r"The list \S+mine.txt cannot be read \(No such file or directory\)"),
        (["--split=testset_t"], r"No line in \S+ is of a form in \S+testset_t.txt"),
        (["--split=trainset", "--eval_samples=2"], r"--eval_samples needs two lines of 300 points or more to compare"),
        (["--json=no/file"], r"--json no/file is in a folder that does not exist"),
        (["--json=."], r"--json \. cannot be written \(Is a directory\); name another file"),
        (["--model_dir=nowhere"], r"nowhere/config.json cannot be read"),
        (["--data_dir=nowhere"], r"The data folder nowhere does not exist"),
    ],
)
def test_eval_only_refuses_with_a_sentence(tiny_run, measured, capsys, flags, words):
    assert train.main(["--eval_only", f"--data_dir={measured[0]}", f"--model_dir={tiny_run.folder}", *flags]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert re.match("train.py: error: " + words, message)
