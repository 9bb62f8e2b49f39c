"""train.py: what is left of a run that is killed, that finds no room to write, or that meets another one."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import train
import utils
from conftest import ROOT, STEPS, environment, main
from kill_and_resume import kill_and_resume
from test_resume import assert_same_run, resume

import numpy as np
import tensorflow as tf


def content(prefix):
    """All numbers in a checkpoint, by name. Raises what TensorFlow raises for a damaged one."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name, _ in tf.train.list_variables(str(prefix))}


class Disk:
    """Copies of a folder as a power failure would leave it, before each change that train.py makes there.

    What was not synced when the power failed is empty afterwards.
    """

    def __init__(self, folder, copies, monkeypatch):
        self.folder, self.copies, self.synced, self.saved, self.number = folder, copies, set(), [], 0
        for owner, name in ((os, "replace"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (shutil, "rmtree"),
                            (train, "sync"), (utils, "sync"), (tf.train.Checkpoint, "write")):
            monkeypatch.setattr(owner, name, self.watched(getattr(owner, name), name == "sync"))
        save = train.Checkpoints.save

        def noted_save(checkpoints, step):
            save(checkpoints, step)
            self.saved.append((Path(checkpoints.folder).name, step))
            self.copy()

        monkeypatch.setattr(train.Checkpoints, "save", noted_save)

    def watched(self, change, syncs):
        def changed(*args, **kwargs):
            self.copy()
            result = change(*args, **kwargs)
            if syncs:
                self.synced.add(self.key(args[0]))
            return result

        return changed

    @staticmethod
    def key(path):
        status = os.stat(path)
        return status.st_ino, status.st_mtime_ns, status.st_size

    def copy(self):
        target = self.copies / str(self.number)
        for path in self.folder.rglob("*"):
            if path.is_file() and path.parent.name != "log":
                copied = target / path.relative_to(self.folder)
                os.makedirs(copied.parent, exist_ok=True)
                copied.write_bytes(path.read_bytes() if self.key(path) in self.synced else b"")
        (self.copies / f"{self.number}.saved").write_text(json.dumps(self.saved))
        self.number += 1


def test_a_save_cut_short_anywhere_leaves_the_checkpoints_before_it(tiny_run, tmp_path, monkeypatch):
    folder, copies = tmp_path / "run", tmp_path / "copies"
    copies.mkdir()
    with monkeypatch.context() as patched:
        disk = Disk(folder, copies, patched)
        assert main(tiny_run, folder, "--model=rnn", num_layers=1) == 0
    assert disk.saved == [("run", 3), ("best", 5), ("run", 6), ("run", 9), ("best", 10), ("run", 10)]
    assert disk.number > 80
    known = {}
    for number in range(disk.number):
        saved = json.loads((copies / f"{number}.saved").read_text())
        for name in ("run", "best"):
            place = copies / str(number) / ("" if name == "run" else name)
            done = max((step for owner, step in saved if owner == name), default=0)
            steps = train.Checkpoints(None, place, 1).steps()
            assert max(steps, default=0) >= done, f"copy {number}: {name} lost step {done}"
            for step in steps:  # each that is named is whole, and holds the same everywhere
                ours = content(place / f"model.ckpt-{step}")
                theirs = known.setdefault((name, step), ours)
                assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)
            if (place / "checkpoint").exists():
                path = tf.train.latest_checkpoint(str(place))
                assert path and int(path.rpartition("-")[2]) in steps
        for name in ("loss.csv", "loss.png", "config.json"):
            path = copies / str(number) / name
            assert not path.exists() or path.read_bytes(), f"copy {number}: {name} is empty"


def test_what_a_save_cut_short_left_is_cleared_by_the_next(tiny_run, tmp_path, monkeypatch):
    shutil.copytree(tiny_run.folder, tmp_path, dirs_exist_ok=True)
    expected = {path.name for path in tmp_path.iterdir()}
    for path in tmp_path.glob("model.ckpt-10.*"):
        path.unlink()
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "model.ckpt-10.index").write_bytes(b"half")
    assert resume(tiny_run, tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == expected
    assert_same_run(tiny_run.folder, tmp_path)


def test_a_run_killed_at_random_moments_goes_on_and_ends_as_one_that_was_not(tiny_run, tmp_path):
    network = {"model": "rnn", "num_layers": 1}
    (tmp_path / "data").symlink_to(tiny_run.data_dir)
    steps, epochs = kill_and_resume(tmp_path, times=2, longest=0.5, **network)
    assert len(steps) == 2 and steps[-1] > 0 and epochs == steps[-1] // STEPS + 2
    assert main(tiny_run, tmp_path / "straight", num_epochs=epochs, save_every=100, **network) == 0
    assert_same_run(tmp_path / "straight", tmp_path / "run", last=epochs * STEPS)


def test_a_folder_in_use_by_another_run_is_refused(tiny_run, tmp_path, capsys):
    shutil.copytree(tiny_run.folder, tmp_path, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with train.own_folder(tmp_path):
        for flags in (["--overwrite"], ["--resume"]):
            assert (main if flags == ["--overwrite"] else resume)(tiny_run, tmp_path, *flags) == 2
            assert capsys.readouterr().err == (f"train.py: error: --model_dir {tmp_path} is in use by another run of "
                                               "train.py; wait for it, or name another folder\n")  # fmt: skip
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert resume(tiny_run, tmp_path) == 0


def test_a_full_disk_ends_the_run_with_a_sentence_and_what_was_saved_is_whole(tiny_run, tmp_path):
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    flags = [sys.executable, ROOT / "train.py", "--resume", "--num_epochs=3", "--model_dir=run",
             f"--data_dir={tiny_run.data_dir}"]  # fmt: skip
    limit = max(path.stat().st_size for path in tmp_path.glob("run/*.data*")) // 2
    process = subprocess.run(flags, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert process.returncode == 2
    assert process.stderr.startswith("train.py: error: --model_dir run cannot be written (")
    assert process.stderr.endswith("); checkpoints there are whole: make room, then go on with --resume\n")
    assert len(process.stderr.splitlines()) == 1
    assert resume(tiny_run, tmp_path / "run", "--num_epochs=3") == 0
    assert main(tiny_run, tmp_path / "straight", num_epochs=3) == 0
    assert_same_run(tmp_path / "straight", tmp_path / "run", last=3 * STEPS)


def test_a_folder_that_cannot_be_written_is_an_error_before_the_first_step(tiny_run, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(tiny_run, tmp_path / "file" / "run") == 2
    assert capsys.readouterr().err == (f"train.py: error: --model_dir {tmp_path}/file/run cannot be written (Not a "
                                       "directory); name another folder\n")  # fmt: skip
    (tmp_path / "run" / "lock").mkdir(parents=True)
    assert main(tiny_run, tmp_path / "run") == 2
    assert "cannot be written (Is a directory); name another folder" in capsys.readouterr().err
