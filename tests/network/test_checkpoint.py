"""A run on disk: it goes on after any stop as if nothing had happened, and nothing good is lost."""

import errno
import fcntl
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import sample
import train
from conftest import (
    SMALL,
    STEPS,
    checkpoint,
    content,
    end,
    environment,
    main,
    make_corpus,
    read_losses,
    read_record,
    run_program,
    saved_steps,
    start_forked,
    status_of,
    tiny_flags,
)  # fmt: skip
from handwriting import files
from handwriting.training import run
from model import restore

import numpy as np
import pytest
from kill_and_resume import kill_and_resume
from safetensors.numpy import load_file

TOTAL = 2 * STEPS
FIRST = saved_steps()[0]  # the step of the oldest checkpoint of a whole run
BEST = "model.safetensors"


def assert_same_run(folder, other, last=TOTAL):
    """The last checkpoints hold the same, bit for bit, and loss.csv but for the seconds."""
    straight, resumed = (load_file(checkpoint(path, last)) for path in (folder, other))
    assert straight.keys() == resumed.keys() and len(straight) > 10
    for name, value in straight.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    records = [read_record(checkpoint(path, last)) for path in (folder, other)]
    tables = [read_losses(path) for path in (folder, other)]
    for row in [*records, *itertools.chain(*tables, *(record["history"] for record in records))]:
        del row["seconds"]
    assert records[0] == records[1] and tables[0] == tables[1]


def resume(tiny_run, folder, *flags):
    more = ["--resume", f"--model_dir={folder}", f"--data_dir={tiny_run.data_dir}"]
    return status_of(train.main, [*more, *flags])


def stopped_copy(run, folder):
    """A copy of a run as it was after step FIRST, in its second epoch, with its best weights."""
    shutil.copytree(run, folder)
    for step in saved_steps()[1:]:
        checkpoint(folder, step).unlink()
    return folder


@pytest.fixture
def stopped_run(small_run, tmp_path):
    return stopped_copy(small_run, tmp_path / "stopped")


def send(monkeypatch, number, signum):
    """Let this process send itself a signal as it draws a batch."""
    next_batch, steps = train.DataLoader.next_batch, itertools.count(1)

    def batch_with_a_signal(data):
        if next(steps) == number:
            os.kill(os.getpid(), signum)
        return next_batch(data)

    monkeypatch.setattr(train.DataLoader, "next_batch", batch_with_a_signal)


# ------------------------------------------------------------------------------------ the files


def test_files_load_where_tensorflow_cannot_be_imported(tiny_run):
    code = (
        "import sys, json; sys.modules['tensorflow'] = None\n"
        "from safetensors.numpy import load_file\n"
        "for path in sys.argv[1:]:\n"
        "    print(json.dumps({k: v.tolist() for k, v in load_file(path).items()}))"
    )
    paths = tiny_run.folder / BEST, checkpoint(tiny_run.folder, TOTAL)
    command = [sys.executable, "-c", code, *paths]
    text = subprocess.check_output(command, env=environment(), text=True)
    best, last = map(json.loads, text.splitlines())
    ours = {k: v.numpy().tolist() for k, v in restore(tiny_run.folder).variables.items()}
    assert best == ours and len(ours) == 8
    weights = {name for name in last if not name.startswith("optimizer.")}
    assert weights == {f"model.{name}" for name in ours}


def test_atomic_write_keeps_the_old_file_if_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output") as error:
        patched.setattr(os, "fsync", broken)
        with files.atomic_write(path) as file:
            file.write(b"new")
    assert error.value.filename == str(path)
    with pytest.raises(KeyError), files.atomic_write(path) as file:
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_a_run_is_written_where_nothing_can_be_synced(tiny_run, small_run, tmp_path, monkeypatch):
    def refused(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refused)
    assert main(tiny_run, tmp_path, **SMALL) == 0
    assert_same_run(small_run, tmp_path)


def test_a_path_with_the_characters_of_patterns_works_from_training_to_drawing(
    tiny_run, tmp_path, monkeypatch
):
    place = tmp_path / "a[b]*?{c}\\d'"
    shutil.copytree(tiny_run.data_dir, place / "data")
    where = {"data_dir": place / "data"}
    assert main(tiny_run, place / "run", **SMALL, **where, num_epochs=1) == 0
    again = ["--resume", f"--model_dir={place / 'run'}", "--num_epochs=2"]
    assert status_of(train.main, again) == 0
    assert [row["epoch"] for row in read_losses(place / "run")] == [1, 2]
    start = f"--init={place / 'run'}"
    assert main(tiny_run, place / "fine", start, **SMALL, **where, num_epochs=1) == 0
    monkeypatch.chdir(place)
    flags = ["--model_dir", place / "fine", "--sample_length=20", "--filename", place / "drawn"]
    assert status_of(sample.main, flags) == 0
    assert (place / "drawn.normal.svg").read_text().count("<path") > 0


# ---------------------------------------------------------------------------------- going on


def test_resumed_run_ends_bit_for_bit_as_one_without_a_stop(
    tiny_run, small_run, stopped_run, capsys
):
    stale = stopped_run / f"{checkpoint(stopped_run, 9).name}.17.tmp"  # of a killed process
    stale.write_bytes(b"half")
    assert resume(tiny_run, stopped_run) == 0
    assert f"; going on from step {FIRST}" in capsys.readouterr().out
    assert_same_run(small_run, stopped_run)
    assert not stale.exists()
    config = json.loads((stopped_run / "config.json").read_text())
    assert config == json.loads((small_run / "config.json").read_text())


def test_resumed_run_with_all_flags_ends_bit_for_bit_as_one_without_a_stop(tiny_run, tmp_path):
    recipe = [
        "--optimizer=muon", "--skip", "--polar", "--layer_norm", "--decay=linear", "--warmup=3",
        "--first_points=0.2", "--weight_decay=0.1",
    ]  # fmt: skip
    flags = tiny_flags(data_dir=tiny_run.data_dir)
    recipe += [flag for flag in flags if not flag.startswith("--decay_rate")]
    assert status_of(train.main, [*recipe, f"--model_dir={tmp_path / 'straight'}"]) == 0
    stopped = stopped_copy(tmp_path / "straight", tmp_path / "stopped")
    assert resume(tiny_run, stopped) == 0
    assert_same_run(tmp_path / "straight", stopped)


def test_weights_that_are_better_than_a_resumed_epoch_are_kept(
    tiny_run, small_run, stopped_run, tmp_path
):
    """The run was killed after an epoch that improved, and before the next checkpoint."""
    best, whole = read_record(small_run / BEST), (small_run / BEST).read_bytes()
    assert best["step"] == TOTAL
    assert resume(tiny_run, stopped_run, "--learning_rate=1e-9") == 0
    first, again = (row["valid_loss"] for row in read_losses(stopped_run))
    assert best["valid_loss"] < again < first
    assert (stopped_run / BEST).read_bytes() == whole
    more = ["--num_epochs=3", "--save_every=100", "--rnn_size=8"]  # and what the run has already
    assert resume(tiny_run, stopped_run, *more) == 0
    assert [row["epoch"] for row in read_losses(stopped_run)] == [1, 2, 3]
    assert read_record(checkpoint(stopped_run, 3 * STEPS))["step"] == 3 * STEPS
    config = json.loads((stopped_run / "config.json").read_text())
    assert (config["num_epochs"], config["learning_rate"]) == (3, 1e-9)
    assert (stopped_run / BEST).read_bytes() == whole
    assert resume(tiny_run, stopped_run) == 0  # nothing is left to do
    flags = ["--model_dir", stopped_run, "--sample_length=20", "--filename", tmp_path / "drawn"]
    assert status_of(sample.main, flags) == 0


@pytest.mark.filterwarnings("default")
def test_resume_takes_the_checkpoint_before_a_damaged_one(
    tiny_run, small_run, stopped_run, capsys
):
    _, middle, last = saved_steps()
    whole = checkpoint(small_run, last).read_bytes()
    checkpoint(stopped_run, last).write_bytes(whole[: len(whole) // 2])
    checkpoint(stopped_run, middle).write_bytes(b"")
    assert resume(tiny_run, stopped_run) == 0
    out, err = capsys.readouterr()
    for line, step in zip(err.splitlines(), (last, middle), strict=True):
        assert line.startswith(f"train.py: warning: {checkpoint(stopped_run, step)} cannot be read")
        assert line.endswith("; trying the checkpoint before")
    assert f"; going on from step {FIRST}" in out
    assert_same_run(small_run, stopped_run)
    for step in saved_steps():
        checkpoint(stopped_run, step).write_bytes(b"damaged")
    before = content(stopped_run)
    assert resume(tiny_run, stopped_run) == 2
    assert "no checkpoint that can be read; start anew" in capsys.readouterr().err
    assert content(stopped_run) == before


def test_resume_refuses_other_flags_and_other_data(tiny_run, stopped_run, tmp_path, capsys):
    before = content(stopped_run)
    assert resume(tiny_run, stopped_run, "--rnn_size=9") == 2
    message = f"--rnn_size 9 contradicts the run in {stopped_run}, where it is 8; leave it out"
    assert capsys.readouterr().err == f"train.py: error: {message}\n"
    make_corpus(tmp_path / "other", num_lines=16)
    assert resume(tiny_run, stopped_run, f"--data_dir={tmp_path / 'other'}") == 2
    assert "the data in --data_dir is not what the run was trained on" in capsys.readouterr().err
    assert content(stopped_run) == before


# -------------------------------------------------------------------------------- how it stops


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_the_run_can_go_on(
    tiny_run, small_run, tmp_path, monkeypatch, capsys, name
):
    signum, folder = getattr(signal, name), tmp_path / "run"
    handler = signal.getsignal(signum)
    send(monkeypatch, STEPS + 2, signum)
    assert main(tiny_run, folder, **SMALL) == 128 + signum
    way = f"python train.py --resume --model_dir {folder}"
    assert capsys.readouterr().err == f"train.py: stopped and saved; go on with: {way}\n"
    assert signal.getsignal(signum) is handler
    assert read_record(checkpoint(folder, STEPS + 2))["step"] == STEPS + 2
    assert resume(tiny_run, folder) == 0
    assert_same_run(small_run, folder)


def test_a_hangup_that_nohup_ignores_stays_ignored(tiny_run, small_run, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        send(monkeypatch, 2, signal.SIGHUP)
        assert main(tiny_run, tmp_path, **SMALL) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert_same_run(small_run, tmp_path)


def get_two_signals():
    with run.stop_signals() as received:
        os.kill(os.getpid(), signal.SIGINT)
        print(received, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        print("still here")


def test_a_second_signal_ends_at_once(tmp_path):
    process = start_forked(tmp_path / "process", get_two_signals)
    assert end(process) == (-signal.SIGTERM, ["[2]"], [])


def train_unread(flags):
    """train.main with a pipe as its output whose reader has ended, as `| true` makes it."""
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)
    train.main(flags)


def test_a_run_whose_output_nobody_reads_goes_on(tiny_run, small_run, tmp_path):
    flags = [*tiny_flags(**SMALL, data_dir=tiny_run.data_dir), f"--model_dir={tmp_path / 'run'}"]
    assert end(start_forked(tmp_path / "process", train_unread, flags)) == (0, [], [])
    assert_same_run(small_run, tmp_path / "run")


def train_with_little_room(flags, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    train.main(flags)


def test_a_full_disk_ends_the_run_with_a_sentence_and_what_was_saved_is_whole(
    tiny_run, small_run, stopped_run, tmp_path
):
    flags = ["--resume", f"--model_dir={stopped_run}", f"--data_dir={tiny_run.data_dir}"]
    limit = checkpoint(stopped_run, FIRST).stat().st_size - 1
    saved = content(stopped_run)
    process = start_forked(tmp_path / "process", train_with_little_room, flags, limit)
    status, _, (message,) = end(process)
    assert status == 2
    assert message.startswith(f"train.py: error: --model_dir {stopped_run} cannot be written (")
    assert message.endswith("then go on with --resume") and "File too large" in message
    left = content(stopped_run)
    for path in (checkpoint(stopped_run, FIRST), stopped_run / BEST):
        assert left[path] == saved[path]
    assert not list(stopped_run.glob("*.tmp"))
    assert resume(tiny_run, stopped_run) == 0
    assert_same_run(small_run, stopped_run)


def test_a_folder_in_use_or_that_cannot_be_written_is_refused(tiny_run, stopped_run, capsys):
    before = content(stopped_run)
    with open(stopped_run / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for refused in (resume(tiny_run, stopped_run), main(tiny_run, stopped_run, "--overwrite")):
            assert refused == 2
    sentence = f"train.py: error: --model_dir {stopped_run} is in use by another run of train.py; "
    assert capsys.readouterr().err.count(sentence) == 2
    assert content(stopped_run) == before
    below = stopped_run / "lock" / "run"
    assert main(tiny_run, below, **SMALL) == 2
    assert f"{below} cannot be written (Not a directory)" in capsys.readouterr().err


class Disk:
    """Copies of a folder as a power failure would leave it, before each change that train.py makes.

    What was not synced when the power failed is empty afterwards. complete: the files of weights
    that were complete at each copy, name -> what they held.
    """

    def __init__(self, folder, copies, patched):
        self.folder, self.copies, self.synced = folder, copies, set()
        self.complete, self.written = [], {}
        for owner, name in ((os, "replace"), (Path, "unlink"), (files, "fsync_path")):
            patched.setattr(owner, name, self.watched(getattr(owner, name), name == "fsync_path"))
        write = run.write_tensors

        def noted_write(path, *rest):
            write(path, *rest)
            self.written[path.name] = path.read_bytes()
            self.copy()

        patched.setattr(run, "write_tensors", noted_write)

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
        target = self.copies / str(len(self.complete))
        target.mkdir(parents=True)
        for path in self.folder.iterdir():
            if path.is_file():
                whole = self.key(path) in self.synced
                (target / path.name).write_bytes(path.read_bytes() if whole else b"")
        self.complete.append(dict(self.written))


def test_a_power_failure_at_any_moment_leaves_what_was_saved(tiny_run, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        disk = Disk(tmp_path / "run", tmp_path / "copies", patched)
        assert main(tiny_run, tmp_path / "run", **SMALL) == 0
    assert len(disk.complete) > 30 and len(disk.written) == 5  # checkpoints 3, 6, 9, 10 and BEST
    for number, complete in enumerate(disk.complete):
        found = content(disk.copies / str(number))
        found = {path.name: held for path, held in found.items() if path.suffix != ".tmp"}
        assert all(held or name == "lock" for name, held in found.items()), f"copy {number}"
        saved = sorted((name for name in complete if name != BEST), key=len)
        for name in saved[-run.KEPT :]:
            assert found[name] == complete[name], f"copy {number} lost {name}"
        if BEST in complete:
            assert found[BEST] in (complete[BEST], disk.written[BEST]), f"copy {number}"


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(tiny_run, tmp_path):
    (tmp_path / "data").symlink_to(tiny_run.data_dir)
    (step,), epochs = kill_and_resume(tmp_path, times=1, longest=0.5, **SMALL)
    assert step > 0 and epochs == step // STEPS + 2
    straight = {**SMALL, "num_epochs": epochs, "save_every": 100, "data_dir": tiny_run.data_dir}
    flags = [*tiny_flags(**straight), "--model_dir=straight"]
    assert run_program("train.py", *flags, cwd=tmp_path).returncode == 0
    assert_same_run(tmp_path / "straight", tmp_path / "run", last=epochs * STEPS)
