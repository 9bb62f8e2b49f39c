"""train.py: a run that was stopped goes on as if nothing had happened."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import train
from conftest import ROOT, STEPS, environment, main, make_corpus, read_losses

import numpy as np
import pytest
import tensorflow as tf


def everything(prefix):
    """All numbers in a checkpoint; but for the record of how far the run is, which tells seconds."""
    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name, _ in tf.train.list_variables(str(prefix))]
    return {name: reader.get_tensor(name) for name in names if "py_state" not in name and "save_counter" not in name
            and "GRAPH" not in name}


def assert_same_run(folder, other, last=2 * STEPS):
    """The last checkpoints hold the same numbers, bit for bit, and loss.csv tells the same but for the seconds."""
    straight, resumed = (everything(path / f"model.ckpt-{last}") for path in (folder, other))
    assert straight.keys() == resumed.keys() and len(straight) > 10
    for name, value in straight.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    tables = [[{**row, "seconds": 0} for row in read_losses(path)] for path in (folder, other)]
    assert tables[0] == tables[1]


@pytest.fixture
def stopped_run(tiny_run, tmp_path):
    """The tiny run as it was after step 6, in the middle of its second epoch; its data is named by the full path."""
    folder = tmp_path / "stopped"
    shutil.copytree(tiny_run.folder, folder)
    for path in [*folder.glob("model.ckpt-9*"), *folder.glob(f"model.ckpt-{2 * STEPS}*")]:
        path.unlink()
    return folder


def resume(tiny_run, folder, *flags):
    return train.main(["--resume", f"--model_dir={folder}", f"--data_dir={tiny_run.data_dir}", *flags])


def test_resumed_run_ends_bit_for_bit_as_one_without_a_stop(tiny_run, stopped_run, capsys):
    assert resume(tiny_run, stopped_run) == 0
    assert "; going on from step 6" in capsys.readouterr().out
    assert_same_run(tiny_run.folder, stopped_run)
    assert json.loads((stopped_run / "config.json").read_text())["data_dir"] == str(tiny_run.data_dir)


def test_resumed_run_of_the_recipe_ends_bit_for_bit_as_one_without_a_stop(tiny_run, tmp_path):
    recipe = ["--skip", "--optimizer=muon", "--decay=linear", "--warmup=3", "--first_points=0.2", "--stretch=0.1",
              "--weight_decay=0.1"]
    assert main(tiny_run, tmp_path / "straight", *recipe) == 0
    shutil.copytree(tmp_path / "straight", tmp_path / "stopped")
    for step in (9, 10):
        for path in (tmp_path / "stopped").glob(f"model.ckpt-{step}.*"):
            path.unlink()
    assert resume(tiny_run, tmp_path / "stopped") == 0
    assert_same_run(tmp_path / "straight", tmp_path / "stopped")


def test_resume_takes_the_checkpoint_before_a_damaged_one(tiny_run, stopped_run, capsys):
    for path in tiny_run.folder.glob("model.ckpt-9*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1 if "data" in path.name else 0
        (stopped_run / path.name).write_bytes(content)
    (stopped_run / "checkpoint").write_text("model_ch")
    with pytest.warns(UserWarning, match=r"the checkpoint \S+model.ckpt-9 is damaged \(.*\); trying the one before"):
        assert resume(tiny_run, stopped_run) == 0
    assert "; going on from step 6" in capsys.readouterr().out
    assert_same_run(tiny_run.folder, stopped_run)


def test_resume_never_starts_anew_by_itself(tiny_run, stopped_run, capsys):
    for path in stopped_run.glob("model.ckpt-*.index"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.warns(UserWarning, match="is damaged"):
        assert resume(tiny_run, stopped_run) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.endswith("holds no checkpoint that can be read; start anew with --overwrite")
    assert resume(tiny_run, stopped_run / "nowhere") == 2
    assert "nowhere/config.json cannot be read" in capsys.readouterr().err


def test_resume_refuses_other_flags_and_other_data(tiny_run, stopped_run, tmp_path, capsys):
    before = {path: path.read_bytes() for path in stopped_run.rglob("*") if path.is_file()}
    assert resume(tiny_run, stopped_run, "--rnn_size=9") == 2
    message = capsys.readouterr().err
    assert message == (f"train.py: error: --rnn_size 9 contradicts the run in {stopped_run}, where it is 8; leave it "
                       "out, or start another run\n")  # fmt: skip
    assert resume(tiny_run, stopped_run, "--taught_share=0.5") == 2  # of a run that has no teachers, too
    assert "--taught_share 0.5 contradicts the run in " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in stopped_run.rglob("*") if path.is_file()} == before
    make_corpus(tmp_path / "other", num_lines=16)
    assert train.main(["--resume", f"--model_dir={stopped_run}", f"--data_dir={tmp_path / 'other'}"]) == 2
    assert "the data in --data_dir is not what the run was trained on" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in stopped_run.rglob("*") if path.is_file()} == before


def test_resume_with_more_epochs_goes_on(tiny_run, stopped_run):
    assert resume(tiny_run, stopped_run, "--num_epochs=3", "--rnn_size=8", "--save_every=100") == 0
    assert [row["epoch"] for row in read_losses(stopped_run)] == [1, 2, 3]
    assert train.read_config(stopped_run).num_epochs == 3
    assert tf.train.latest_checkpoint(str(stopped_run)) == str(stopped_run / f"model.ckpt-{3 * STEPS}")
    assert resume(tiny_run, stopped_run) == 0  # nothing is left to do


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_and_the_run_can_go_on(tiny_run, tmp_path, monkeypatch, capsys, name):
    next_batch, steps, handler = train.DataLoader.next_batch, itertools.count(1), signal.getsignal(signal.SIGINT)

    def batch_with_a_signal(data):
        if next(steps) == 7:
            os.kill(os.getpid(), getattr(signal, name))
        return next_batch(data)

    monkeypatch.setattr(train.DataLoader, "next_batch", batch_with_a_signal)
    assert main(tiny_run, tmp_path / "run") == 128 + getattr(signal, name)
    assert capsys.readouterr().err == (
        f"train.py: stopped and saved at step 7; go on with: python train.py --resume --model_dir {tmp_path / 'run'}\n"
    )
    assert signal.getsignal(signal.SIGINT) is handler
    assert resume(tiny_run, tmp_path / "run") == 0
    assert_same_run(tiny_run.folder, tmp_path / "run")


def test_a_second_signal_ends_at_once():
    code = ("import os, signal, train\nwith train.stop_signals() as stopped:\n    os.kill(os.getpid(), signal.SIGINT)\n"
            "    print(stopped, flush=True)\n    os.kill(os.getpid(), signal.SIGTERM)\n    print('still here')\n")
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (-signal.SIGTERM, "[2]\n")
