"""What several test files share: made-up handwriting, the programs as a user starts them, a tiny run of train.py."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import utils

ROOT = Path(__file__).resolve().parent.parent
# How the names of environment variables begin that change what the programs do.
SETTINGS = ("PYTHON", "IPYTHON", "TF_", "XLA_", "KERAS_", "TQDM_", "COLUMNS", "LINES")


class Run(NamedTuple):
    """A run of train.py and all that it came from."""

    folder: Path  # its --model_dir
    data_dir: Path
    lines: list  # the made-up lines in data_dir, int16 [n, 3], pen units
    flags: list  # its command line, less --model_dir
    process: subprocess.CompletedProcess


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    for name in os.environ:
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)


def environment(**more):
    """The environment of a program that a test starts: the user's, less all that could change what is tested."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)} | more


def run_program(name, *flags, cwd):
    """Run train.py or sample.py as a user does who stands in the folder cwd; both streams are pipes."""
    command = [sys.executable, ROOT / name, *flags]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300, check=False)


def make_line(points, rng):
    """A made-up line, int16 [points, 3] in pen units: loops that drift to the right, in strokes of a dozen points."""
    time, size, speed = np.arange(points + 1), rng.uniform(20, 60), rng.uniform(0.3, 0.8)
    pen = np.stack([12 * time - size * np.cos(speed * time), size * np.sin(speed * time)], axis=1)
    line = np.zeros((points, 3), np.int16)
    line[:, :2] = np.diff(np.rint(pen), axis=0)
    line[:, 2] = rng.random(points) < 1 / 12
    line[-1, 2] = 1
    return line


def make_corpus(folder, num_lines=15, points=60, seed=0):
    """Write made-up lines in the database's format into a new folder; returns them. Five make a form.

    They have `points` to `points + 4` points each.
    """
    rng = np.random.default_rng(seed)
    lines = [make_line(points + 3 * i % 5, rng) for i in range(num_lines)]
    folder.mkdir(parents=True)
    utils.write_line_strokes(lines, folder / "lineStrokes-all.tar.gz")
    return lines


def tiny_flags(**changes):
    """A command line of train.py for a few seconds: on make_corpus' lines in `data`, two epochs of five steps."""
    flags = {"rnn_size": 8, "num_layers": 2, "num_mixture": 2, "num_epochs": 2, "batch_size": 4, "seq_length": 20}
    flags |= {"save_every": 3, "learning_rate": 0.02, "decay_rate": 0.5, "data_dir": "data", **changes}
    return [f"--{name}={value}" for name, value in flags.items()]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The Run of train.py, started once, as a user does, from a folder of no meaning. No test changes its files."""
    folder = tmp_path_factory.mktemp("tiny")
    lines = make_corpus(folder / "data")
    flags = tiny_flags()
    process = run_program("train.py", *flags, "--model_dir=run", cwd=folder)
    assert process.returncode == 0, process.stderr
    return Run(folder / "run", folder / "data", lines, flags, process)
