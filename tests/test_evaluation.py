"""python -m handwriting.evaluation: figures against NumPy, samples compared with real lines."""

import json
import re

import utils
from conftest import make_line, read_losses, read_weights, scores_of_line, status_of
from handwriting import evaluation
from handwriting.measure import legibility, likelihood, statistics
from handwriting.measure.statistics import SAMPLE_LENGTH, compare_lines, compare_samples
from handwriting.network.checkpoint import read_config
from handwriting.network.mixture import sample_point
from handwriting.text.alphabet import encode
from handwriting.text.hands import Style
from handwriting.text.loader import TextLoader
from handwriting.text.writing import BIAS
from model import restore
from utils import DataLoader

import numpy as np
import pytest
import tensorflow as tf

SIZES = (40, 310, 299, 610, 620)  # points of the lines of testset_v


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data folder with short and long lines, and two moves at the limit or beyond it."""
    folder, rng = tmp_path_factory.mktemp("measured"), np.random.default_rng(5)
    lines = [make_line(size, rng) for size in (*SIZES, *[30] * 10)]
    lines[1][100, :2] = 700, -3
    lines[1][200, :2] = 5, 500  # at the limit is where capped moves are
    utils.write_line_strokes(lines, folder / "lineStrokes-all.tar.gz")
    forms = [name.rpartition("-")[0] for name in DataLoader(seq_length=2, data_dir=folder).names]
    (folder / "testset_v.txt").write_text("\n".join(forms[:5]))
    (folder / "trainset.txt").write_text("\n".join(forms[5:10]))
    (folder / "testset_f.txt").write_text("\n".join(forms[10:]))
    (folder / "testset_t.txt").write_text("x")
    return folder


@pytest.fixture
def measure(tiny_run, data_dir, tmp_path):
    """A function: flags -> the JSON that the command writes for the tiny run."""

    def measure(*flags):
        path = tmp_path / "figures.json"
        run = f"--model_dir={tiny_run.folder}"
        evaluation.main([run, f"--data_dir={data_dir}", f"--json={path}", *flags])
        return json.loads(path.read_text())

    return measure


def test_measure_finds_the_figures_of_numpy(tiny_run, measure, data_dir, capsys):
    found = measure()
    best, config = tiny_run.folder / "model.safetensors", read_config(tiny_run.folder)
    weights, sigma = read_weights(best), np.array([config["sigma_x"], config["sigma_y"]])
    raw = DataLoader(seq_length=2, data_dir=data_dir).raw_data[:5]
    lines = [line.clip(-500, 500) / np.array([20.0, 20.0, 1.0]) for line in raw]
    scores = [scores_of_line(weights, line, components=2) for line in lines]
    free = [np.abs(line[1:, :2]).max(axis=1) < 25 for line in lines]
    nats, errors = zip(*scores, strict=True)
    expected = {"lines": 5, "points": sum(SIZES) - 5, "lines_300": 3, "capped": 2}
    expected["squared_error"] = np.mean(np.concatenate(errors) @ (20 / sigma) ** 2)
    uncapped = [values[kept] for values, kept in zip(nats, free, strict=True)]
    for suffix, chosen in (("", nats), ("_uncapped", uncapped)):
        # A density of moves in units of sigma, from that of moves in units of 20.
        per_line = np.array([np.sum(values - np.log(sigma / 20).sum()) for values in chosen])
        expected[f"nats_per_point{suffix}"] = np.concatenate(chosen).mean()
        expected[f"nats_per_line{suffix}"] = per_line.mean()
        expected[f"nats_per_line_300{suffix}"] = per_line[[1, 3, 4]].mean()
    assert expected["nats_per_line"] != pytest.approx(expected["nats_per_line_uncapped"], rel=1e-4)
    assert {name: found.pop(name) for name in expected} == pytest.approx(expected, rel=1e-5)
    assert found.pop("seconds") > 0
    told = {"split": "testset_v", "data_dir": str(data_dir), "checkpoint": str(best)}
    assert found == told | {"sigma_x": sigma[0], "sigma_y": sigma[1]}

    out, counts = capsys.readouterr().out, "5 lines, 1,874 points, 2 of them capped"
    assert out.startswith(f"testset_v of {data_dir}: {counts}; weights: {best}\n")
    for name, digits in (("nats_per_point", 4), ("nats_per_line", 1), ("nats_per_line_300", 1)):
        assert f" {expected[name]:.{digits}f} " in out


def test_measure_takes_any_split(tiny_run, measure, data_dir):
    valid = DataLoader(seq_length=2, data_dir=data_dir).valid_data
    for split, lines in (("trainset", 5), ("all", 15), ("valid", len(valid))):
        found = measure(f"--split={split}")
        assert (found["split"], found["lines"]) == (split, lines)
    # Without lists, what training validated on: the loss that the run noted for its best weights.
    found = measure(f"--data_dir={tiny_run.data_dir}")
    assert (found["split"], found["lines_300"], found["nats_per_line_300"]) == ("valid", 0, None)
    best = min(row["valid_loss"] for row in read_losses(tiny_run.folder))
    assert found["nats_per_point"] == pytest.approx(best, abs=1e-6)


def test_measure_computes_in_float32(measure):
    tf.config.experimental.enable_tensor_float_32_execution(True)
    measure("--split=testset_f")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_samples_are_compared_with_real_lines(tiny_run, measure, data_dir, capsys):
    samples = measure("--samples=3", "--bias=1.5")["samples"]
    assert (samples["num"], samples["length"]) == (3, SAMPLE_LENGTH)
    assert list(samples["compared"]) == ["real", "bias 0", "bias 1.5"]
    model, raw = restore(tiny_run.folder), DataLoader(seq_length=2, data_dir=data_dir).raw_data
    reference, other = (line[:SAMPLE_LENGTH] for line in raw if len(line) >= SAMPLE_LENGTH)
    expected = compare_lines([other], [reference])
    assert samples["compared"]["real"] == pytest.approx(expected, abs=1e-6)
    for bias in (0, 1.5):
        drawn, _ = model.sample_batch(tf.random.Generator.from_seed(0), SAMPLE_LENGTH, 3, bias)
        expected = compare_lines(drawn, [reference])
        assert samples["compared"][f"bias {bias}"] == pytest.approx(expected, abs=1e-3)
    out = capsys.readouterr().out
    assert f"\n3 samples of {SAMPLE_LENGTH} points beside the first {SAMPLE_LENGTH} of real" in out
    assert all(f"\n{name} " in out for name in expected)


def wavy_line(size, points=400, seed=0):
    """A line of waves, float [points, 3]."""
    line = make_line(points, np.random.default_rng(seed)).astype(float)
    line[:, :2] *= size
    line[:, 1] += 20 * np.sin(np.arange(points))
    return line


class Drawn:
    """Stands for a model that draws given lines."""

    def __init__(self, lines):
        self.lines = np.array(lines)

    def sample_batch(self, sess, num, batch_size, bias):
        return self.lines[:batch_size, :num], None


def test_compare_samples_takes_lines_of_one_length():
    begins = [wavy_line(1, SAMPLE_LENGTH, seed=k) for k in range(40)]
    longer = [np.concatenate([line, wavy_line(6, 300, seed=k)]) for k, line in enumerate(begins)]
    short = [wavy_line(9, SAMPLE_LENGTH - 1)]
    model = Drawn([wavy_line(1, 2 * SAMPLE_LENGTH, seed=k) for k in range(40, 60)])
    expected = compare_samples(model, begins, 20, [0.0], seed=1)
    assert compare_samples(model, short + longer, 20, [0.0], seed=1) == expected
    assert expected["bias 0"] == compare_lines(model.lines[:, :SAMPLE_LENGTH], begins[::2])
    assert expected["real"] == compare_lines(begins[1::2], begins[::2])
    whole = compare_lines(model.lines, longer[::2])
    assert expected["bias 0"]["distance_stroke_length"] < 0.1 < whole["distance_stroke_length"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--bias=1"], "argument --bias: goes with --samples, which is missing"),
        (["--split=mine"], r"\S*mine\.txt.* \(No such file or directory\)"),
        (["--split=testset_t"], r"No line in \S+ is of a form in \S+testset_t\.txt"),
        (["--split=trainset", "--samples=2"], "--samples needs two lines of 600 points"),
        (["--json=no/file"], "--json no/file is in a folder that does not exist"),
        (["--model_dir=nowhere"], r"nowhere/config\.json cannot be read"),
    ],
)
def test_evaluation_refuses_with_a_sentence(tiny_run, data_dir, capsys, flags, words):
    flags = [f"--model_dir={tiny_run.folder}", f"--data_dir={data_dir}", *flags]
    assert status_of(evaluation.main, flags) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert re.search("evaluation: error: .*" + words, message), message


# ----------------------------------------------------------------------------------- statistics


def test_mean_move_is_that_of_many_samples():
    z_hat = np.random.default_rng(2).normal(size=(1, 19)).astype(np.float32)
    rng = np.random.default_rng(3)
    noise = np.concatenate([rng.random((40000, 2)), rng.normal(size=(40000, 2))], axis=1)
    points = sample_point(np.tile(z_hat, [40000, 1]), noise.astype(np.float32)).numpy()
    error = points[:, :2].std(axis=0) / 200
    assert (np.abs(points[:, :2].mean(axis=0) - likelihood.mean_move(z_hat)[0]) < 4 * error).all()


def test_compare_lines_tells_what_is_unlike():
    lines = [wavy_line(1, seed=k) for k in range(200)]
    same = compare_lines([wavy_line(1, seed=k) for k in range(200, 400)], lines)
    other = compare_lines([wavy_line(6, seed=k) for k in range(100)] + lines[:100], lines)
    assert same["outside"] < 0.15
    assert all(value < 0.05 for name, value in same.items() if "distance" in name)
    assert other["outside"] == pytest.approx(other["outside_move"], abs=0.05)
    assert 0.5 <= other["outside_move"] < 0.53  # all of the first half, hardly any of the second
    assert other["distance_stroke_length"] > 0.2 and other["distance_points_per_stroke"] < 0.05


def test_line_statistics():
    # Two strokes from left to right, 3 down for 4 aside; the pen is lifted for the third point.
    line = np.array([[7, 9, 0], [4, 3, 1], [8, 6, 0], [4, 3, 1]])
    expected = {"move": 5, "lift": 0.5, "advance": 16 / 4, "drift": 0.75, "height": 0}
    assert statistics.line_statistics(line) == pytest.approx(expected, abs=1e-9)

    still = statistics.line_statistics([[0, 5, 0], [0, 5, 0], [0, -10, 1]])
    assert still["drift"] == np.inf and still["advance"] == 0
    assert still["height"] == pytest.approx(np.std([5, 10, 0]))


def test_stroke_features_of_two_strokes():
    first = [[50, 50, 0], [0, 10, 0], [-3, 3.1, 0], [5, 0, 1]]
    line = np.array([*first, [30, -40, 0], [0, -7, 0], [0, 0, 0], [1, 0, 1]])
    found = statistics.stroke_features([line, line[:1]])
    assert found["stroke length"] == pytest.approx([10 + np.hypot(3, 3.1) + 5, 8, 0])
    assert found["points per stroke"].tolist() == [4, 4, 1]
    assert found["pen-up move"].tolist() == [50]
    corner = np.degrees(np.arctan(3 / 3.1))
    assert found["slant"] == pytest.approx([0, corner])  # down and to the left: it leans right
    # None over the lift or a still point.
    assert found["curvature"] == pytest.approx([corner, 180 - (90 - corner)])


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ([1, 2, 3], [3, 1, 2], 0), ([1, 2], [5, 6, 7], 1), ([1, 2, 3, 4], [3, 4, 5, 6], 0.5),
        ([1, 1, 1, 2], [1, 2, 2, 2], 0.5), ([], [1, 2], 1), ([1], [], 1), ([], [], 0),
    ],
)  # fmt: skip
def test_two_sample_distance(a, b, distance):
    assert statistics.two_sample_distance(a, b) == distance


# ------------------------------------------------------------------------------------- with text


def test_network_with_text_is_measured_with_the_lines_own_texts(text_run, corpus, tmp_path):
    path, flags = tmp_path / "a.json", [f"--model_dir={text_run}", f"--data_dir={corpus[0]}"]
    evaluation.main([*flags, "--split=all", f"--json={path}"])
    found = json.loads(path.read_text())
    model, data = restore(text_run), DataLoader(1, 1, 20.0, data_dir=corpus[0])
    lines, nats = data.scaled(data.raw_data), 0.0
    for line, text in zip(lines, data.texts, strict=True):
        chars = encode([text], model.alphabet, 16)
        count = np.array([len(line)], np.int32)
        nats += float(model.loss_sums(line[None, :-1], line[None, 1:], count, chars)[0])
    points = sum(map(len, lines)) - len(lines)
    assert found["lines"] == len(lines) == 11 and found["points"] == points
    assert found["nats_per_point"] == pytest.approx(nats / points, rel=1e-5)


@pytest.mark.parametrize(("points", "told"), [(1000, True), (None, False), (0.5, True)])
def test_a_window_that_is_stuck_or_runs_away_is_told_of(text_run, corpus, points, told, recwarn):
    """points: that the window takes for a character; None: as many as this line has."""
    model, data = restore(text_run), TextLoader(4, 20.0, corpus[0])
    ((line,), (text,)) = data.valid_data, data.valid_texts
    move = np.log(1 / (2 * (points or len(line) / len(text)) - 1)) if points != 0.5 else 9.0
    bias = model.window["window.bias"].numpy()
    model.window["window.bias"].assign([*bias[:20], *[move] * 10])
    model.window["window.kernel"].assign(tf.zeros([8, 30]))
    likelihood.make_validate(model, data)()
    found = [str(warning.message)[:40] for warning in recwarn]
    assert found == ["the window is stuck or runs away: at the"] * told


def test_legibility_is_what_the_judge_reads(text_run, corpus, tmp_path, monkeypatch, capsys):
    """A judge that reads every line as `two`."""
    (tmp_path / "sentences.txt").write_text("ten\ntwo\nnot known: {\n")
    hard = "== numbers ==\n7\n9 {\n== names ==\n{\n== capitals ==\nTTT\n== symbols ==\n{\n"
    (tmp_path / "hard.txt").write_text(hard)
    monkeypatch.setattr(legibility, "SENTENCES", tmp_path / "sentences.txt")
    monkeypatch.setattr(legibility, "HARD", tmp_path / "hard.txt")
    monkeypatch.setattr(legibility, "BIASES", (0.0,))
    monkeypatch.setattr(legibility, "FEWER", 2)
    monkeypatch.setattr(legibility, "make_judge", lambda: lambda strokes: "two")
    style = Style(make_line(8, np.random.default_rng(5)).astype(float), "six")
    monkeypatch.setattr(legibility, "read_styles", lambda: {"neat": style, "wild": style})
    shares = {"characters": {"t": [20, 1.0, 1.0, ""], "w": [20, 0.25, 0.5, "m"]}}
    shares |= {"strict": 0.625, "alike": 0.75, "real": {"strict": 0.5, "alike": 1.0}}
    monkeypatch.setattr(evaluation, "read_characters", lambda folder: {"a writer": ["ink"]})
    monkeypatch.setattr(evaluation, "measure_characters", lambda *args: shares)
    path, flags = tmp_path / "a.json", [f"--model_dir={text_run}", f"--data_dir={corpus[0]}"]
    evaluation.main([*flags, "--split=all", "--legibility", f"--json={path}"])
    found = json.loads(path.read_text())["legibility"]
    names = ["bias 0", "style neat", f"bias {BIAS:g}", f"bias {BIAS:g}, drawn once", "all styles"]
    drawn = [names[0], *names[2:4], "style neat", "style wild", "all styles"]
    assert list(found) == ["real lines", *drawn]
    lines = {name: {kind: row["lines"] for kind, row in found[name].items()} for name in found}
    assert lines["real lines"] == {"prose": 11}
    assert lines["bias 0"] == {"prose": 1, "numbers": 1}
    assert lines["style neat"] == lines["style wild"] == {"prose": 1}
    for name in names[2:]:
        assert lines[name] == {"prose": 2, "numbers": 1, "capitals": 1}
    assert found["style wild"]["prose"]["cer"] == 0
    for name in names:  # of `ten` two thirds are wrong
        row, both = found[name]["prose"], name in names[2:]
        assert row["cer"] == pytest.approx(2 / 6 if both else 2 / 3)
        assert row["failed"] == (0.5 if both else 1)
    assert found[names[2]]["numbers"]["cer"] == 3.0
    assert found[names[2]]["capitals"]["rows"] == [1, 1]
    out = capsys.readouterr().out
    shown = [line.split() for line in out.splitlines() if line.startswith(("style neat", "lines"))]
    assert shown[0][2:] == ["66.7", "100.0", *"--------"] and shown[1][4:] == [*"21010"]
    assert "worst read: " in out and "e 0%, n 0%" in out
    assert "read with the right number: 1 of 1\n" in out
    assert "1 of 2 characters reach 85%; the others:\nw 50% (m)\n" in out
    assert max(map(len, out.splitlines()[-14:])) <= 100


def test_legibility_is_refused_for_a_network_without_text(tiny_run, data_dir, capsys):
    flags = [f"--model_dir={tiny_run.folder}", f"--data_dir={data_dir}", "--legibility"]
    assert status_of(evaluation.main, flags) == 2
    assert "--legibility is for networks that write text, but " in capsys.readouterr().err
