"""train.py --strategy: replicas and workers train as one process does, and none waits forever for another."""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from types import SimpleNamespace

import train
from conftest import STEPS, end, main, read_losses, read_weights, start_forked, tiny_flags

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

FLAGS = {"model": "rnn", "num_layers": 1, "num_epochs": 10, "save_every": 5, "keep_prob": 1, "precision": "float32"}
TOTAL = 10 * STEPS


def free_addresses():
    """Two addresses on this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in (one, two)]


def tf_config(addresses, index):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def work(config, flags, patience, step, signum):
    """What the process of a worker does; see start_worker."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has programs in the background ignore it
    os.environ["TF_CONFIG"] = config
    next_batch, drawn, train.PATIENCE = train.DataLoader.next_batch, [], patience

    def batch_with_a_signal(data):
        drawn.append(data)
        if len(drawn) == step:
            os.kill(os.getpid(), signum)
        return next_batch(data)

    train.DataLoader.next_batch = batch_with_a_signal
    sys.exit(train.main(["--strategy=multi_worker", *flags]))


def start_worker(folder, addresses, index, *flags, patience=60, step=0, signum=0):
    """A process of train.main that waits `patience` seconds for others; see start_forked.

    It sends itself the signal when it draws the minibatch `step`.
    """
    return start_forked(folder, work, tf_config(addresses, index), flags, patience, step, signum)


def flags_of(tiny_run, folder):
    return [*tiny_flags(**FLAGS, data_dir=tiny_run.data_dir), f"--model_dir={folder}"]


def read_steps(folder):
    """The training loss of every step, from the log; a step that was taken twice counts as the second time."""
    losses = {}
    for path in sorted((folder / "log").glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime):
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.tag == "train loss":
                    losses[event.step] = float(tf.make_ndarray(value.tensor))
    return losses


def assert_same_run(folder, other):
    """The losses of all steps and epochs, and the last weights, are the same within 1e-4."""
    steps, others = read_steps(folder), read_steps(other)
    assert sorted(steps) == sorted(others) == list(range(1, TOTAL + 1))
    np.testing.assert_allclose([others[k] for k in steps], list(steps.values()), rtol=0, atol=1e-4)
    for row, same in zip(read_losses(folder), read_losses(other), strict=True):
        assert same == pytest.approx({**row, "seconds": same["seconds"]}, abs=1e-4)
    weights, same = (read_weights(path / f"model.ckpt-{TOTAL}") for path in (folder, other))
    assert weights.keys() == same.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(same[name], value, rtol=0, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def single_run(tiny_run, tmp_path_factory):
    """The folder of a run of 50 steps by one process, which all others must equal."""
    folder = tmp_path_factory.mktemp("single") / "run"
    assert train.main(flags_of(tiny_run, folder)) == 0
    return folder


# ------------------------------------------------------------------------------------------------ the same run, shared


def test_two_workers_train_as_one_process_and_the_chief_alone_writes(tiny_run, single_run, tmp_path):
    addresses, names = free_addresses(), ("chief", "other")
    pair = [start_worker(tmp_path / f"worker {k}", addresses, k, *flags_of(tiny_run, tmp_path / names[k]))
            for k in (0, 1)]  # fmt: skip
    (status, out, err), (other_status, other_out, other_err) = map(end, pair)
    assert (status, err, other_status, other_err) == (0, [], 0, [])
    assert out[0].endswith("; 2 replicas") and len(out) == 12 and out[-1].startswith("Best validation loss ")
    assert other_out == out[:1]
    assert_same_run(single_run, tmp_path / "chief")
    files, expected = ({path.name for path in folder.rglob("*") if "tfevents" not in path.name}
                       for folder in (tmp_path / "chief", single_run))  # fmt: skip
    assert files == expected
    assert not (tmp_path / "other").exists()


def train_on_two_devices(*flags):
    """train.main on two devices that this machine's CPU is made to be, then their dropout masks.

    These two times, and the second time again from a checkpoint between them.
    """
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    status = train.main(flags)
    args = train.build_parser().parse_args([*flags, "--keep_prob=0.5"])
    strategy = train.Workers(args).start(args)
    with strategy.scope():
        model = train.Model(args)
    checkpoint = tf.train.Checkpoint(model=model)

    def masks():
        shares = strategy.run(lambda: model.dropout_masks(5, 4, 0.5)[0])
        return [mask.numpy().tolist() for mask in strategy.experimental_local_results(shares)]

    before, path = masks(), checkpoint.write(args.model_dir + "/between")
    after = masks()
    checkpoint.read(path).assert_consumed()
    print(json.dumps([before, after, masks()]))
    sys.exit(status)


def test_two_devices_train_as_one_with_dropout_of_their_own_and_leave_the_same_checkpoint(tiny_run, tmp_path):
    flags = ["--model=lstm", "--num_layers=2", "--optimizer=muon", "--skip"]
    assert main(tiny_run, tmp_path / "single", *flags, **FLAGS) == 0
    process = start_forked(tmp_path / "process", train_on_two_devices, *flags_of(tiny_run, tmp_path / "shared"), *flags,
                           "--strategy=mirrored")  # fmt: skip
    status, out, err = end(process)
    assert (status, err) == (0, [])
    head, *_, masks = out
    assert head.endswith("; 2 replicas")
    assert_same_run(tmp_path / "single", tmp_path / "shared")
    kept, expected = (dict(tf.train.list_variables(str(tmp_path / name / f"model.ckpt-{TOTAL}")))
                      for name in ("shared", "single"))  # fmt: skip
    assert kept == expected

    before, after, restored = np.array(json.loads(masks))  # of two replicas, 5 points, 4 lines, 8 units each
    assert before.shape == (2, 5, 4, 8)
    for mask, other in ((before[0], before[1]), (before[0], after[0]), (before[1], after[1])):
        assert 0.2 < np.mean(mask != other) < 0.8
    np.testing.assert_array_equal(restored, after)


# ----------------------------------------------------------------------------------------------- workers that are lost


def test_workers_that_are_killed_or_hang_or_are_told_to_stop_end_the_others_and_the_run_goes_on(
    tiny_run, single_run, tmp_path, capsys
):
    folder = tmp_path / "run"

    def train_pair(index, step, signum, *flags, patience=60):
        """What `end` says of the worker `index`, which sends itself a signal, and of the other one."""
        addresses, ends = free_addresses(), {}
        pair = [start_worker(tmp_path / f"worker {step} {k}", addresses, k, *flags_of(tiny_run, folder), *flags,
                             patience=patience, step=step if k == index else 0, signum=signum)
                for k in (0, 1)]  # fmt: skip
        try:
            ends[1 - index] = end(pair[1 - index])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pair[index].pid, signal.SIGCONT)
            ends[index] = end(pair[index])
        return ends[index], ends[1 - index], addresses[index]

    (status, *_), (other_status, _, (message,)), address = train_pair(0, 13, signal.SIGKILL)
    assert (status, other_status) == (-signal.SIGKILL, 2)
    assert message == (f"train.py: error: worker 0 ({address}) does not answer; start all workers within 60 seconds, "
                       "with --resume if there is a checkpoint")  # fmt: skip

    ends = train_pair(1, 7, signal.SIGSTOP, "--resume", patience=3)
    (status, out, err), (other_status, _, (message,)), address = ends
    assert other_status == 2 and f"worker 1 ({address}) does not answer; start all workers within 3 s" in message
    assert out[0].endswith("; going on from step 10")
    assert status == 2 and "does not answer; start all workers" in err[-1]  # it went on, alone

    (status, out, (message,)), (other_status, _, (other_message,)), _ = train_pair(1, 8, signal.SIGTERM, "--resume")
    assert (status, other_status) == (128 + signal.SIGTERM, 128 + signal.SIGTERM)
    assert out[0].endswith("; going on from step 15")
    assert message == other_message == (
        f"train.py: stopped and saved at step 23; go on with: python train.py --resume --model_dir {folder}"
    )

    capsys.readouterr()
    assert train.main([*flags_of(tiny_run, folder), "--resume"]) == 0  # one process can go on, too
    assert "; going on from step 23" in capsys.readouterr().out
    assert_same_run(single_run, folder)


def test_a_worker_does_not_wait_for_ever_for_one_that_was_never_started_and_obeys_signals(tiny_run, tmp_path):
    waiting = []
    for index, patience in ((1, 2), (1, 100), (0, 100)):
        addresses = free_addresses()
        process = start_worker(tmp_path / f"{len(waiting)}", addresses, index, *flags_of(tiny_run, tmp_path / "run"),
                               patience=patience)  # fmt: skip
        waiting.append((process, addresses, index))
    for (process, addresses, index), signum in zip(waiting[1:], (signal.SIGTERM, signal.SIGINT), strict=True):
        while not train.Workers.answers(SimpleNamespace(addresses=addresses), index) and process.is_alive():
            time.sleep(0.1)
        os.kill(process.pid, signum)
    (process, addresses, _), *signalled = waiting
    assert end(process) == (2, [], [f"train.py: error: worker 0 ({addresses[0]}) does not answer; start all workers "
                                    "within 2 seconds, with --resume if there is a checkpoint"])  # fmt: skip
    assert [end(process)[0] for process, *_ in signalled] == [-signal.SIGTERM, 128 + signal.SIGINT]
    assert not (tmp_path / "run").exists()


# --------------------------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    "text",
    [
        None, "", "{", "[]", "3", "{}", '{"cluster": {"worker": ["a:1", "b:1"]}}',
        tf_config(["a:1", "b:1"], 2), tf_config(["a:1", "b:1"], -1), tf_config(["a:1", "b:1"], "0"),
        tf_config(["a", "b:1"], 0), tf_config(["a:1", "b:65536"], 0), tf_config([1, 2], 0), tf_config([], 0),
        tf_config(["a:1", "b:1"], 0).replace('"type": "worker"', '"type": "ps"'),
        tf_config(["a:1", "b:1"], 0).replace('{"worker"', '{"ps": ["c:1"], "worker"'),
    ],
)  # fmt: skip
def test_a_bad_tf_config_is_refused_before_anything_is_read(tmp_path, monkeypatch, capsys, text):
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert train.main(["--strategy=multi_worker", f"--data_dir={tmp_path}", f"--model_dir={tmp_path / 'run'}"]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"train.py: error: TF_CONFIG in the environment is {text or 'not set'}; --strategy ")
    assert message.endswith(' "index": 0}}, with the index of this worker in the list')
    assert not any(tmp_path.iterdir())


def test_an_address_that_is_in_use_is_refused(tiny_run, tmp_path, monkeypatch, capsys):
    with socket.create_server(("", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", tf_config(["127.0.0.1:1", address], 1))
        assert main(tiny_run, tmp_path / "run", "--strategy=multi_worker") == 2
    assert capsys.readouterr().err == (
        f"train.py: error: this worker's address in TF_CONFIG, {address}, cannot be used (Address already in use); end "
        "the program that uses it, or name another\n"
    )


def test_a_minibatch_that_replicas_cannot_share_equally_is_refused(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda _: SimpleNamespace(num_replicas_in_sync=3))
    assert main(tiny_run, tmp_path / "run", "--strategy=mirrored") == 2
    assert capsys.readouterr().err == (
        "train.py: error: --batch_size 4 cannot be shared equally by 3 replicas; give a multiple of that\n"
    )
    assert not (tmp_path / "run").exists()


def test_workers_with_other_flags_are_refused(tiny_run, tmp_path):
    addresses = free_addresses()
    pair = [start_worker(tmp_path / f"{k}", addresses, k, *flags_of(tiny_run, tmp_path / "run"), f"--seed={k}")
            for k in (0, 1)]  # fmt: skip
    for status, out, err in map(end, pair):
        assert (status, out) == (2, [])
        assert err == ["train.py: error: the workers differ in their flags, data or checkpoint; give all the same, and "
                       "a --model_dir that they share"]  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["0", "1"]  # what start_worker made
