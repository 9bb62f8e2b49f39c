"""What test files share: made-up handwriting, programs as a user starts them, a tiny run."""

import csv
import fcntl
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import utils
from handwriting.ink.cache import dump_arrays

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

CACHE, INDEX = "strokes_training_data.cpkl", "strokes_training_data.json"
ROOT = Path(__file__).resolve().parent.parent
# How the names of environment variables begin that change what the programs do.
SETTINGS = ("PYTHON", "IPYTHON", "TF_", "XLA_", "KERAS_", "TQDM_", "COLUMNS", "LINES")


class Run(NamedTuple):
    """A run of train.py and all that it came from."""

    folder: Path  # its --model_dir
    data_dir: Path
    flags: list  # its command line, less --model_dir
    stdout: str
    stderr: str


def pytest_configure(config):
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", 0):  # it runs tests
        import tests.graphs  # noqa: F401


@pytest.fixture(autouse=True)
def threads_as_they_are(monkeypatch):
    """Tests share a process, whose threads are set once, and a machine whose speed varies."""
    if backend := sys.modules.get("handwriting.network.backend"):
        monkeypatch.setattr(backend, "set_threads", lambda _: None)
        monkeypatch.setattr(backend, "faster_precision", lambda *_: "bfloat16")


@pytest.fixture(autouse=True)
def no_reader(monkeypatch):
    """What a tiny network writes nobody reads, so that it would be drawn again and again."""
    if writing := sys.modules.get("handwriting.text.writing"):
        monkeypatch.setattr(writing, "read_reader", lambda: None)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    for name in os.environ:
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)


def environment(**more):
    """The environment of a program that a test starts, less what could change what it tests."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)
    } | more


def run_program(name, *flags, cwd):
    """Run train.py or sample.py as a user does in the folder cwd; both streams are pipes."""
    command = [sys.executable, ROOT / name, *flags]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# Processes forked from one that has imported TensorFlow, and not used it: that is most of a start.
FORKS = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    FORKS.set_forkserver_preload(["tests.graphs", "handwriting.evaluation"])


def once(tmp_path_factory, name, make):
    """The folder `name` that make(folder) fills once for all processes that run tests."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / f"{name}.made").exists():
            make(root / name)
            (root / f"{name}.made").touch()
    return root / name


def call_forked(streams, function, args):
    """What the process of start_forked does."""
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    function(*args)


def start_forked(folder, function, *args):
    """A process that calls a function of a test file; its streams go to files in a new folder."""
    folder.mkdir()
    streams = folder / "out", folder / "err"
    process = FORKS.Process(target=call_forked, args=(streams, function, args), daemon=True)
    process.start()
    process.streams = streams
    return process


def end(process):
    """The exit status and the lines on both streams of a process of start_forked, at its end."""
    process.join(120)
    hangs = process.is_alive()
    process.kill()
    process.join()
    assert not hangs
    return process.exitcode, *(path.read_text().splitlines() for path in process.streams)


def make_line(points, rng):
    """A made-up line, int16 [points, 3] in pen units: loops that drift to the right, in strokes of
    a dozen points.
    """
    time, size, speed = np.arange(points + 1), rng.uniform(20, 60), rng.uniform(0.3, 0.8)
    pen = np.stack([12 * time - size * np.cos(speed * time), size * np.sin(speed * time)], axis=1)
    line = np.zeros((points, 3), np.int16)
    line[:, :2] = np.diff(np.rint(pen), axis=0)
    line[:, 2] = rng.random(points) < 1 / 12
    line[-1, 2] = 1
    return line


def make_corpus(folder, num_lines=11, points=60, seed=0, texts=None):
    """Write made-up lines in the database's format into a new folder; returns them.

    Five make a form. They have `points` to `points + 4` points each.
    """
    rng = np.random.default_rng(seed)
    lines = [make_line(points + 3 * i % 5, rng) for i in range(num_lines)]
    folder.mkdir(parents=True)
    utils.write_line_strokes(lines, folder / "lineStrokes-all.tar.gz", texts)
    return lines


def tiny_flags(**changes):
    """A command line of train.py for seconds: make_corpus' lines in `data`, two epochs.

    changes: other values; None leaves a flag out.
    """
    flags = {
        "rnn_size": 8,
        "num_layers": 2,
        "num_mixture": 2,
        "num_epochs": 2,
        "batch_size": 4,
        "seq_length": 20,
    }
    flags |= {
        "save_every": 3,
        "learning_rate": 0.02,
        "decay_rate": 0.5,
        "data_dir": "data",
        **changes,
    }
    return [f"--{name}={value}" for name, value in flags.items() if value is not None]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A Run, started as a user does, from a folder of no meaning. No test changes its files."""

    def make(folder):
        make_corpus(folder / "data")
        process = run_program("train.py", *tiny_flags(), "--model_dir=run", cwd=folder)
        assert process.returncode == 0, process.stderr
        (folder / "out").write_text(process.stdout)
        (folder / "err").write_text(process.stderr)

    folder = once(tmp_path_factory, "tiny", make)
    said = [(folder / stream).read_text() for stream in ("out", "err")]
    return Run(folder / "run", folder / "data", tiny_flags(), *said)


# What the tests of texts share.

TEXTS = ["two", "Three", "four, five", "six", "7 eight 9", "ten", "on", "tw", "ne", "one two", "ee"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder of eleven made-up lines with TEXTS, and the lines."""
    folder = tmp_path_factory.mktemp("corpus") / "data"
    return folder, make_corpus(folder, points=50, texts=TEXTS)


def text_flags(corpus, **changes):
    """What a run with text has other than the tiny run, for main()."""
    fixed = {"precision": "float32", "data_dir": corpus[0], "seq_length": None, "decay_rate": 0.9}
    return {**fixed, **changes}


@pytest.fixture(scope="session")
def text_run(corpus, tiny_run, tmp_path_factory):
    """The folder of a run of a tiny network with text. No test changes its files."""

    def make(folder):
        assert main(tiny_run, folder, "--text", "--skip", **text_flags(corpus, num_epochs=5)) == 0

    return once(tmp_path_factory, "text_run", make)


def quick_model(run):
    """The network of a run with text, whose window moves by a character in two points, and which
    says that the line ends wherever a stroke does."""
    from model import restore

    model = restore(run)
    bias = model.window["window.bias"].numpy()
    bias[20:] = np.log(0.25 / 0.75)
    model.window["window.bias"].assign(bias)
    for name in ("window.kernel", "end.kernel"):
        model.window[name].assign(np.zeros(model.window[name].shape))
    model.window["end.bias"].assign([5.0])
    return model


# What the tests of train.py share.

STEPS = 5  # in an epoch of the tiny run
SMALL = {"model": "rnn", "num_layers": 1}  # where the kind of network does not matter


@pytest.fixture(scope="session")
def small_run(tiny_run, tmp_path_factory):
    """The folder of a run like the tiny one of the SMALL network. No test changes its files."""

    def make(folder):
        assert main(tiny_run, folder, **SMALL) == 0

    return once(tmp_path_factory, "small_run", make)


def saved_steps(steps=2 * STEPS, every=3):
    """The steps of the checkpoints that a run of so many steps leaves, the oldest first."""
    return sorted({*range(every, steps + 1, every), steps})[-3:]


def read_losses(folder):
    """The rows of loss.csv, numbers as floats."""
    with open(folder / "loss.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def content(folder):
    """All files in a folder, path -> bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoint(folder, step):
    return folder / f"checkpoint-{step}.safetensors"


def read_weights(path):
    """The weights in model.safetensors or a checkpoint, name -> array."""
    tensors = {name.removeprefix("model."): value for name, value in load_file(path).items()}
    return {name: value for name, value in tensors.items() if not name.startswith("optimizer.")}


def read_record(path):
    """What a file of weights says of itself: the step and the like."""
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["record"])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def scores_of_line(weights, line, components):
    """The losses [n - 1] of a line [n, 3] in scaled units under a checkpoint's lstm, in NumPy,
    float64.

    And the squared distances [n - 1, 2] of its moves from the mixture's mean.
    """

    def weight(owner, kind):
        return weights[f"{owner}.{kind}"].astype(np.float64)

    x = line[:-1].astype(np.float64)
    for k in range(2):
        kernel, recurrent, bias = (
            weight(f"layers.{k}", kind) for kind in ("kernel", "recurrent_kernel", "bias")
        )
        h, c, outputs = np.zeros(len(recurrent)), np.zeros(len(recurrent)), []
        for point in x:
            i, f, g, o = np.split(point @ kernel + h @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        x = np.array(outputs)
    z = x @ weight("output", "kernel") + weight("output", "bias")
    eos = 1 / (1 + np.exp(z[:, 0]))
    pi, mu1, mu2, sigma1, sigma2, rho = np.split(z[:, 1:], 6, axis=1)
    pi = np.exp(pi) / np.exp(pi).sum(axis=1, keepdims=True)
    sigma1, sigma2, rho = np.exp(sigma1), np.exp(sigma2), np.tanh(rho)
    assert pi.shape[1] == components
    dx, dy, end = line[1:, :1], line[1:, 1:2], line[1:, 2]
    u1, u2 = (dx - mu1) / sigma1, (dy - mu2) / sigma2
    normal = np.exp(-(u1**2 + u2**2 - 2 * rho * u1 * u2) / (2 * (1 - rho**2)))
    normal /= 2 * np.pi * sigma1 * sigma2 * np.sqrt(1 - rho**2)
    nats = -(np.log((pi * normal).sum(axis=1)) + np.log(np.where(end == 1, eos, 1 - eos)))
    mean = np.stack([(pi * mu1).sum(axis=1), (pi * mu2).sum(axis=1)], axis=1)
    return nats, (mean - line[1:, :2]) ** 2


def status_of(function, flags):
    """The exit status of a script's main in this process."""
    try:
        function(list(map(str, flags)))
    except SystemExit as stop:
        return stop.code
    return 0


def main(tiny_run, folder, *flags, **changes):
    """The exit status of train.main here, with the tiny run's flags and data but the changes."""
    import train

    tiny = tiny_flags(**{"data_dir": tiny_run.data_dir, **changes})
    return status_of(train.main, [*tiny, f"--model_dir={folder}", *flags])


# What the tests of utils.py share.


def line(length, seed=0):
    """Return a made-up line, int16 [length, 3]."""
    rng = np.random.default_rng(seed)
    moves = rng.integers(-40, 50, (length, 3))
    moves[:, 2] = rng.random(length) < 0.05
    moves[-1, 2] = 1
    return moves.astype(np.int16)


def cache_of(path, lines, names=None):
    """Write a cache of lines as the 2015 program did, with names also its index; return path."""
    stream = dump_arrays(lines)
    (path / CACHE).write_bytes(stream)
    if names:
        index = {"cache": hashlib.sha256(stream).hexdigest(), "source": "", "damaged": 0}
        index["names"] = names
        (path / INDEX).write_text(json.dumps(index))
    return path


# What the tests of model.py share.


def make_args(**changes):
    network = {
        "model": "lstm",
        "rnn_size": 8,
        "num_layers": 2,
        "num_mixture": 3,
        "peephole": False,
        "keep_prob": 1.0,
    }
    network |= {"layer_norm": False, "skip": False, "polar": False, "hands": False, "alphabet": ""}
    return Namespace(
        **{**network, "data_scale": 20.0, "seed": 1, "precision": "float32", **changes}
    )


def make_points(batch=2, steps=12, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(batch, steps, 3)).astype(np.float32)
    points[..., 2] = points[..., 2] > 1
    return points


def relative_error(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return np.abs(ours - theirs).max() / np.abs(theirs).max()
