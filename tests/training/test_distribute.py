"""train.py --strategy: replicas train as one process does, and no worker waits for ever."""

import json
import os
import shutil
import signal
import socket
from types import SimpleNamespace

import train
from conftest import (
    STEPS,
    checkpoint,
    end,
    main,
    make_corpus,
    read_losses,
    read_weights,
    start_forked,
    status_of,
    text_flags,
    tiny_flags,
)  # fmt: skip
from handwriting.training import distribute

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

# Without dropout, whose masks differ between replicas.
FLAGS = {"model": "rnn", "num_layers": 1, "save_every": 5, "keep_prob": 1, "num_epochs": 4}
TOTAL = 4 * STEPS


def free_addresses():
    """Two addresses on this machine that nobody uses."""
    here = "127.0.0.1"
    with socket.create_server((here, 0)) as one, socket.create_server((here, 0)) as two:
        return [f"{here}:{server.getsockname()[1]}" for server in (one, two)]


def tf_config(addresses, index):
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def work(config, flags, patience, step, signum):
    """What the process of a worker does; it sends itself the signal as it draws batch `step`."""
    os.environ["TF_CONFIG"] = config
    distribute.PATIENCE = patience
    next_batch, drawn = train.DataLoader.next_batch, []

    def batch_with_a_signal(data):
        drawn.append(data)
        if len(drawn) == step:
            os.kill(os.getpid(), signum)
        return next_batch(data)

    train.DataLoader.next_batch = batch_with_a_signal
    train.main(["--strategy=multi_worker", *map(str, flags)])


def run_pair(folder, flags, *others, step=0, signum=0, patience=60):
    """What `end` says of workers 0 and 1. others: flags of worker 1, which alone is signalled."""
    addresses, folder = free_addresses(), folder / f"pair-{step}"
    folder.mkdir()
    pair = []
    for k, (more, at) in enumerate((([], 0), (others, step))):
        args = tf_config(addresses, k), [*flags, *more], patience, at, signum
        pair.append(start_forked(folder / f"{k}", work, *args))
    return [end(process) for process in pair]


def flags_of(tiny_run, folder, **changes):
    flags = tiny_flags(**{**FLAGS, "data_dir": tiny_run.data_dir, **changes})
    return [*flags, f"--model_dir={folder}"]


def assert_same_run(folder, other, total=TOTAL):
    """The losses of all epochs and the last weights are the same within rounding."""
    for row, same in zip(read_losses(folder), read_losses(other), strict=True):
        assert same == pytest.approx({**row, "seconds": same["seconds"]}, abs=1e-4)
    weights, same = (read_weights(checkpoint(path, total)) for path in (folder, other))
    assert weights.keys() == same.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(same[name], value, rtol=0, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def single_run(tiny_run, tmp_path_factory):
    """The folder of a run by one process, which all others must equal."""
    folder = tmp_path_factory.mktemp("single") / "run"
    assert main(tiny_run, folder, **FLAGS) == 0
    return folder


def test_two_workers_train_as_one_process_and_the_chief_alone_writes(
    tiny_run, single_run, tmp_path
):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("old")
    flags = [*flags_of(tiny_run, tmp_path / "run"), "--overwrite"]
    (status, out, err), (other_status, other_out, other_err) = run_pair(
        tmp_path, flags, f"--model_dir={tmp_path / 'other'}"
    )
    assert (status, err, other_status, other_err) == (0, [], 0, [])
    assert len(out) == 8 and out[2].endswith("; 2 replicas") and out[-1].startswith("Best ")
    assert other_out == out[:1] == ["waiting for all workers, 60 seconds at most"]
    assert_same_run(single_run, tmp_path / "run")
    files, expected = (
        {path.name for path in folder.rglob("*") if "tfevents" not in path.name}
        for folder in (tmp_path / "run", single_run)
    )
    assert files == expected
    assert not (tmp_path / "other").exists()


def train_on_two_devices(*flags):
    """train.main on two devices that this machine's CPU is made to be."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    train.main(flags)


def test_two_devices_train_a_text_as_one_and_leave_the_same_checkpoint(
    tiny_run, corpus, tmp_path
):
    flags = ["--text", "--optimizer=muon"]
    changes = text_flags(corpus, keep_prob=1, model="lstm", num_layers=1, num_epochs=2)
    assert main(tiny_run, tmp_path / "single", *flags, **changes) == 0
    process = start_forked(
        tmp_path / "process", train_on_two_devices, *flags, "--strategy=mirrored",
        *flags_of(tiny_run, tmp_path / "shared", **changes),
    )  # fmt: skip
    status, out, err = end(process)
    assert (status, err) == (0, []) and out[1].endswith("; 2 replicas")
    total = int(read_losses(tmp_path / "single")[-1]["step"])
    assert_same_run(tmp_path / "single", tmp_path / "shared", total)
    kept, expected = (
        {name: value.shape for name, value in load_file(checkpoint(folder, total)).items()}
        for folder in (tmp_path / "shared", tmp_path / "single")
    )
    assert kept == expected


# ----------------------------------------------------------------------- workers that are lost


def test_a_killed_worker_ends_the_other_and_a_signal_to_one_stops_both_and_the_run_goes_on(
    tiny_run, single_run, tmp_path, capsys
):
    folder = tmp_path / "run"
    flags = flags_of(tiny_run, folder)
    (status, _, err), (other_status, *_) = run_pair(
        tmp_path, flags, step=8, signum=signal.SIGKILL, patience=10
    )
    assert other_status == -signal.SIGKILL
    assert status != 0 and err, "the chief ends with a sentence, or TensorFlow's own error"

    (status, out, err), (other_status, _, other_err) = run_pair(
        tmp_path, [*flags, "--resume"], step=7, signum=signal.SIGTERM
    )
    way = f"python train.py --resume --model_dir {folder}"
    said = [f"train.py: stopped and saved; go on with: {way}"]
    stopped = 128 + signal.SIGTERM
    assert (status, err, other_status, other_err) == (stopped, said, stopped, said)
    assert out[2].endswith("; 2 replicas; going on from step 5")

    capsys.readouterr()
    assert main(tiny_run, folder, "--resume", **FLAGS) == 0  # one process can go on, too
    assert "; going on from step 12" in capsys.readouterr().out
    assert_same_run(single_run, folder)


def test_a_worker_waits_for_others_no_longer_than_its_patience(tiny_run, tmp_path):
    flags = flags_of(tiny_run, tmp_path / "run")
    process = start_forked(tmp_path / "1", work, tf_config(free_addresses(), 1), flags, 2, 0, 0)
    status, out, _ = end(process)
    assert status != 0 and out == ["waiting for all workers, 2 seconds at most"]
    assert not (tmp_path / "run").exists()


# --------------------------------------------------------------------------- what it refuses


def test_workers_whose_data_differ_are_refused_before_an_old_run_is_deleted(
    tiny_run, single_run, tmp_path
):
    folder = shutil.copytree(single_run, tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    make_corpus(tmp_path / "data", seed=1)
    flags = [*flags_of(tiny_run, folder), "--overwrite"]
    for status, _, err in run_pair(tmp_path, flags, f"--data_dir={tmp_path / 'data'}"):
        assert status == 2
        assert err == [
            "train.py: error: the workers differ in their flags, data or checkpoint; give all the "
            "same, and a --model_dir that they share"
        ]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "text",
    [
        None, "{", "[]", "{}", '{"cluster": {"worker": ["a:1", "b:1"]}}',
        tf_config(["a:1", "b:1"], 2), tf_config(["a:1", "b:1"], "0"), tf_config(["a", "b:1"], 0),
        tf_config([1, 2], 0), tf_config([], 0), tf_config(["a:1"], 0).replace("worker", "ps"),
    ],
)  # fmt: skip
def test_a_bad_tf_config_is_refused_before_anything_is_read(tmp_path, monkeypatch, capsys, text):
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    flags = ["--strategy=multi_worker", f"--data_dir={tmp_path}", f"--model_dir={tmp_path / 'run'}"]
    assert status_of(train.main, flags) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert f"error: TF_CONFIG in the environment is {text or 'not set'}; " in message
    assert message.endswith(' "index": 0}}, with the index of this worker in the list')
    assert not any(tmp_path.iterdir())


def test_a_batch_that_replicas_cannot_share_equally_is_refused(
    tiny_run, tmp_path, monkeypatch, capsys
):
    three = SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda _: three)
    assert main(tiny_run, tmp_path / "run", "--strategy=mirrored") == 2
    sentence = "train.py: error: --batch_size 4 cannot be shared equally by 3 replicas; "
    assert capsys.readouterr().err.startswith(sentence)
    assert not (tmp_path / "run").exists()
