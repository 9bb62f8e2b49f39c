"""sample.py: what it draws and writes, which weights it takes, and what it refuses."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from argparse import Namespace

import model as model_py
import sample
from conftest import ROOT, checkpoint, environment, make_line, read_weights, status_of
from handwriting.network import checkpoint as runs
from model import Model, mixture
from utils import DataLoader, write_line_strokes

import numpy as np
import pytest
import tensorflow as tf

PICTURES = ["color.svg", "eos_pdf.svg", "multi_color.svg", "normal.svg", "pdf.svg"]
POINTS = np.random.default_rng(0).normal(size=[2, 30, 3]).astype(np.float32)
NUM = 20  # points in most samples
restore, from_seed = model_py.restore, tf.random.Generator.from_seed


@pytest.fixture(scope="module")
def tiny_model(tiny_run):
    """The tiny run's network, whose sampling loop is compiled once for all tests."""
    return restore(tiny_run.folder)


@pytest.fixture
def draw(tiny_run, tiny_model, monkeypatch):
    """A function: flags -> what sample.main returns, with the tiny run's weights."""
    monkeypatch.setattr(model_py, "restore", lambda folder: tiny_model)
    flags = [f"--model_dir={tiny_run.folder}", f"--sample_length={NUM}"]
    return lambda *more: sample.main([*flags, *map(str, more)])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def run_copy(tiny_run, tmp_path):
    """A copy of the tiny run's folder, for a test to change."""
    return shutil.copytree(tiny_run.folder, tmp_path / "run")


def read_files(folder):
    """The files in a folder: name -> bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(capsys, *flags):
    """The sentence with which sample.main refuses the flags."""
    assert status_of(sample.main, [f"--sample_length={NUM}", *flags]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    return message.removeprefix("sample.py: error: ")


# ---------------------------------------------------------------------------------- what it draws


def test_command_whose_output_nobody_reads_draws_all_pictures(tiny_run, draw, here):
    """`sample.py | true`."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    flags = ["--seed=3", "--plot", f"--sample_length={NUM}", f"--model_dir={tiny_run.folder}"]
    process = subprocess.run(
        [sys.executable, ROOT / "sample.py", *flags], cwd=here, env=environment(),
        stdout=write_end, stderr=subprocess.PIPE, timeout=300, check=False,
    )  # fmt: skip
    os.close(write_end)
    assert (process.returncode, process.stderr) == (0, b"")
    pictures = read_files(here)
    assert sorted(pictures) == sorted(f"sample.{kind}" for kind in [*PICTURES, "density.png"])
    assert pictures.pop("sample.density.png").startswith(b"\x89PNG\r\n\x1a\n")
    for name, picture in pictures.items():
        marks = [element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()]
        assert marks[0] == "svg" and "path" in marks
        assert ("ellipse" in marks) == (name == "sample.pdf.svg")

    # The same seed draws the same, here as there; another does not.
    draw("--seed=3")
    assert read_files(here).items() >= pictures.items()
    draw("--seed=4", "--filename=other")
    for kind in PICTURES:
        assert (here / f"other.{kind}").read_bytes() != pictures[f"sample.{kind}"]


def test_seed_unset_is_random_and_told(tiny_run, draw, here, capsys):
    draw("--filename=one")
    first, out = read_files(here), capsys.readouterr().out
    told = rf"Drew 1 x {NUM} points from {tiny_run.folder} with --seed (\d+)\n"
    (seed,) = re.findall(told, out)
    assert out.endswith("\nWrote one.{normal,color,multi_color,eos_pdf,pdf}.svg\n")
    draw("--filename=one", f"--seed={seed}")
    assert read_files(here) == first
    draw("--filename=one")
    assert re.findall(told, capsys.readouterr().out)[1] != seed
    assert read_files(here)["one.normal.svg"] != first["one.normal.svg"]


def test_num_samples_numbers_the_pictures_and_returns_the_first(draw, here, tiny_model):
    model, sess, strokes, params = draw("--num_samples=12", "--filename=a", "--seed=1")
    pictures = read_files(here)
    names = [f"a-{k:02d}" for k in range(1, 13)]
    assert sorted(pictures) == [f"{name}.{kind}" for name in names for kind in PICTURES]
    assert len({pictures[f"{name}.normal.svg"] for name in names}) == 12
    generator = from_seed(1)
    all_strokes, all_params = tiny_model.sample_batch(generator, NUM, 12)
    np.testing.assert_array_equal(strokes, all_strokes[0])
    np.testing.assert_array_equal(params.mu1, all_params.mu1[0])
    assert model is tiny_model
    np.testing.assert_array_equal(sess.state, generator.state)


def pen_positions(path):
    """The positions [n, 2] that the path of a picture goes through."""
    return np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path.get("d")), float)


def test_scale_factor_is_pen_units_per_unit_of_the_pictures(draw, here):
    sizes = []
    for factor in (1, 4):
        draw("--seed=1", f"--scale_factor={factor}", "--sample_length=100")
        paths = ET.parse(here / "sample.normal.svg").findall(".//{*}path")
        sizes.append(np.ptp(np.concatenate([pen_positions(path) for path in paths]), axis=0))
    np.testing.assert_allclose(sizes[0], 4 * sizes[1], atol=1)  # a dot is a dash in either
    assert sizes[0].min() > 10


def test_line_strokes_are_read_back_as_they_were_drawn(draw, here, capsys, tiny_model):
    file = here / "lineStrokes-all.tar.gz"
    draw(f"--line_strokes={file}", "--num_samples=12", "--sample_length=60", "--seed=2")
    assert capsys.readouterr().out.endswith(f"\nWrote {file}\n")
    assert list(read_files(here)) == [file.name]
    read = DataLoader(seq_length=20, data_dir=here).raw_data
    drawn, _ = tiny_model.sample_batch(from_seed(2), 60, 12)
    assert len(read) == 12
    for ours, line in zip(read, drawn, strict=True):
        pen = np.rint(np.cumsum(line[:, :2], axis=0, dtype=float))
        np.testing.assert_array_equal(ours[1:, :2], np.diff(pen, axis=0))
        np.testing.assert_array_equal(ours[:-1, 2], line[:-1, 2])
        assert ours[-1, 2] == 1


def test_bias_draws_less_varied_strokes(draw, here):
    def mean_params(*flags):
        _, _, strokes, params = draw("--seed=1", *flags)
        return strokes.tobytes(), params.sigma1.mean(), params.pi.max(axis=1).mean()

    plain, none, much = mean_params(), mean_params("--bias=0"), mean_params("--bias=2")
    assert plain == none and plain[0] != much[0]
    assert much[1] < plain[1] / 2 and much[2] > plain[2]


@pytest.mark.parametrize("kind", ["xml", "npy"])
def test_style_goes_on_from_a_line_and_shows_both(draw, here, kind, tiny_model):
    line = make_line(40, np.random.default_rng(3))
    line[7, :2] = 600, -300  # training saw no longer move than 500
    if kind == "xml":
        write_line_strokes([line], here / "a.tar.gz")
        with tarfile.open(here / "a.tar.gz") as tar:
            (here / "a.xml").write_bytes(tar.extractfile(tar.next()).read())
    else:
        np.save(here / "a.npy", line)
    _, _, strokes, params = draw(f"--style=a.{kind}", "--seed=1")
    assert strokes.shape == (40 + NUM, 3) and params.pi.shape == (40 + NUM, 2)
    np.testing.assert_allclose(strokes[1:40], line[1:].clip(-500, 500), atol=1e-4)
    grey, black = ET.parse(here / "sample.normal.svg").findall(".//{*}path")
    assert (grey.get("stroke"), black.get("stroke")) == ("darkgrey", "black")
    sizes = [np.ptp(pen_positions(path), axis=0) for path in (grey, black)]
    pen = strokes[:, :2].cumsum(axis=0) / 10
    expected = [np.ptp(part, axis=0) for part in (pen[:40], pen[40:])]
    np.testing.assert_allclose(sizes, expected, atol=0.25)  # a dot is a dash

    # The mixtures are those of the network that reads the line and what was drawn behind it.
    read = np.concatenate([[[0, 0, 1]], strokes[:-1] / [20, 20, 1]])[None].astype(np.float32)
    expected = mixture(tiny_model(read)[0])
    np.testing.assert_allclose(params.mu1, expected.mu1[0] * 20, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(params.eos, expected.eos[0], rtol=1e-3, atol=1e-4)

    draw(f"--style=a.{kind}", "--seed=1", "--line_strokes=drawn.tar.gz")
    with tarfile.open(here / "drawn.tar.gz") as tar:
        assert tar.extractfile(tar.next()).read().count(b"<Point ") == NUM


# ------------------------------------------------------------------------- which weights it takes


def write_weights(path, prefix=""):
    """Write random weights for the run's network as train.py does; returns their outputs."""
    model = Model(Namespace(**runs.read_config(path.parent)), infer=True)
    rng, tensors = np.random.default_rng(1), {}
    for name, variable in model.variables.items():
        variable.assign(rng.normal(size=variable.shape))
        tensors[prefix + name] = variable.numpy()
    runs.write_tensors(path, tensors, {})
    return model(POINTS)[0].numpy()


def test_restore_gives_the_best_weights_or_else_the_newest_that_were_saved(run_copy):
    trained = restore(run_copy)(POINTS)[0].numpy()
    newest = write_weights(checkpoint(run_copy, 100), "model.")
    np.testing.assert_array_equal(restore(run_copy)(POINTS)[0], trained)
    (run_copy / "model.safetensors").unlink()
    model = restore(run_copy)
    np.testing.assert_array_equal(model(POINTS)[0], newest)
    assert model.path == checkpoint(run_copy, 100)
    assert not np.allclose(trained, newest)


NETWORKS = [{"model": "gru"}, dict.fromkeys(["peephole", "layer_norm", "skip", "polar"], True)]


@pytest.mark.parametrize("network", NETWORKS)
def test_restore_reads_every_kind_of_network(run_copy, network):
    change_config(run_copy, **network)
    written = write_weights(run_copy / "model.safetensors")
    model = restore(run_copy)
    np.testing.assert_array_equal(model(POINTS)[0], written)
    assert model.keep_prob == 1  # the run's own is 0.8


def test_weights_we_ship_draw_where_there_is_no_run(tiny_run, draw, here, monkeypatch, capsys):
    assert runs.find_run("save") == ROOT / "save" / "pretrained"
    monkeypatch.setattr(runs, "PRETRAINED", tiny_run.folder)
    sample.main([f"--sample_length={NUM}"])
    assert capsys.readouterr().out.startswith(f"Drew 1 x {NUM} points from {tiny_run.folder} with ")
    assert len(read_files(here)) == 5
    assert str(runs.find_run("elsewhere")) == "elsewhere"
    shutil.copytree(tiny_run.folder, here / "save")
    assert str(runs.find_run("save")) == "save"


# -------------------------------------------------------------------------------- what it refuses


def change_config(run, **changes):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, **changes}))


def change_weights(run, change):
    weights = read_weights(run / "model.safetensors")
    runs.write_tensors(run / "model.safetensors", {k: change(v) for k, v in weights.items()}, {})


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


DOES_NOT_FIT = "model.safetensors does not fit the network in config.json"
DAMAGES = {
    "half a config": (lambda run: truncate(run / "config.json"), "config.json is no JSON"),
    "wrong types": (
        lambda run: change_config(run, rnn_size="8", skip=None),
        "config.json lacks a right value of rnn_size, skip",
    ),
    "fewer layers": (lambda run: change_config(run, num_layers=1), DOES_NOT_FIT),
    "another type": (lambda run: change_weights(run, np.float64), DOES_NOT_FIT),
    "half a file": (lambda run: truncate(run / "model.safetensors"), "tensors cannot be read ("),
    "no numbers": (
        lambda run: change_weights(run, lambda value: value * np.float32("nan")),
        "model.safetensors holds a number that is not finite",
    ),
    "large numbers": (
        lambda run: change_weights(run, lambda value: np.full_like(value, 1e30)),
        "run draws moves of over 1e+09 pen units",
    ),
    "no weights": (
        lambda run: [path.unlink() for path in run.glob("*.safetensors")],
        "run holds no weights yet",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_run_that_is_damaged_or_foreign_is_refused(run_copy, here, capsys, damage):
    spoil, words = DAMAGES[damage]
    spoil(run_copy)
    assert words in refusal(capsys, f"--model_dir={run_copy}")
    assert read_files(here) == {}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--line_strokes=a.tar.gz", "--plot"], "argument --plot: does not go with --line_strokes"),
        (["--num_samples=2001", "--sample_length=1000"], "argument --num_samples: 2001 samples of"),
        (["--filename="], "argument --filename: '' is no name of a file or folder"),
        (["--bias=21"], "argument --bias: '21' is not a number of at least 0 and at most 20"),
        (["--filename=.."], "--filename .. is a folder; add what the names begin with"),
        (["--filename=no/a"], "--filename no/a.normal.svg is in a folder that does not exist;"),
        (["--line_strokes=no/a.tar.gz"], "--line_strokes no/a.tar.gz is in a folder that does not"),
        (["--style=no\nline"], "--style no\\nline is no file and none of the styles slanted, "),
        (["--style=cursive"], "--style cursive is no file and none of the styles slanted,"),
        (["--style=min/hand.json"], "--style min/hand.json is no file; name one that is there, or"),
        (["--model_dir=nowhere"], "nowhere/config.json cannot be read (No such file or directory)"),
        (["hello"], 'unrecognized arguments: hello; a text is given as --text "..."'),
        (["--txt=hello"], "unrecognized arguments: --txt=hello; did you mean --text?"),
        (["--line_strokes=out.svg"], "--line_strokes out.svg does not end in .tar.gz, which"),
    ],
)
def test_flags_are_refused_before_anything_is_drawn(here, capsys, monkeypatch, flags, words):
    monkeypatch.delattr(Model, "sample_batch")
    assert refusal(capsys, *flags).startswith(words)
    assert read_files(here) == {}


@pytest.mark.parametrize("name", ["out.svg", "out"])
def test_a_page_has_the_name_of_one(here, capsys, name):
    assert status_of(sample.main, [f"--page={name}"]) == 2
    assert f"--page {name} does not end in .html" in capsys.readouterr().err
    assert read_files(here) == {}


def test_a_text_in_one_wide_line_is_told_of():
    strokes = np.tile([100, 0, 0], [161, 1])  # 16,000 pen units are 400 mm
    with pytest.warns(UserWarning, match="the text in one line is 404 mm wide; --paper A4 breaks"):
        sample.check_width([sample.Sample(strokes, ())], 9.9)
    sample.check_width([sample.Sample(strokes, ())], 10.0)


@pytest.mark.parametrize("program", ["sample.py", "train.py"])
def test_ctrl_c_while_modules_are_imported_shows_no_traceback(tmp_path, program):
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, ROOT / program]
    more = environment(PYTHONPATH=str(tmp_path))
    process = subprocess.run(command, env=more, capture_output=True, text=True, check=False)
    assert process.returncode != 0 and process.stdout == process.stderr == ""


def test_file_that_cannot_be_written_is_named(draw, here, capsys):
    name = "a" * 240
    assert status_of(lambda flags: draw(*flags), [f"--filename={name}"]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert f"error: {name}.normal.svg cannot be written" in message
    assert read_files(here) == {}
