"""Strategies of tf.distribute: all GPUs of a machine, or several machines, share every batch.

TensorFlow's own engine does the work. Each replica takes an equal share of a batch's rows;
gradients are summed before they are clipped, so a run is that of one process but for rounding and
dropout.
"""

import contextlib
import json
import os
import signal
import zlib

from handwriting.files import UserError
from handwriting.flags import say
from handwriting.network.backend import tf

PATIENCE = 60  # seconds to wait for workers that do not start, or do not answer
EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
)
# What the collectives raise when another worker is gone.
LOST = (
    tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
    tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError, tf.errors.InternalError,
)


def is_chief(name):
    """Whether this process writes the run: alone, or with `multi_worker` as worker 0 of TF_CONFIG.

    Raises UserError if TF_CONFIG is missing or does not say who the workers are.
    """
    if name != "multi_worker":
        return True
    text = os.environ.get("TF_CONFIG")
    with contextlib.suppress(KeyError, ValueError, TypeError, AttributeError):
        config = json.loads(text or "")
        addresses, index = config["cluster"]["worker"], config["task"]["index"]
        ports = [int(address.rpartition(":")[2]) for address in addresses]
        if config["task"]["type"] == "worker" and index in range(len(ports)) and min(ports) > 0:
            return index == 0
    raise UserError(
        f"TF_CONFIG in the environment is {text or 'not set'}; --strategy multi_worker needs it to "
        f"be like {EXAMPLE}, with the index of this worker in the list"
    )


@contextlib.contextmanager
def deadline(seconds):
    """Within it, the process is ended by SIGALRM after some seconds, and by other signals at once.

    TensorFlow waits for workers inside compiled code, where no handler of Python runs.
    """
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.signal(signum, signal.SIG_DFL) for signum in stops]
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        for signum, handler in zip(stops, before, strict=True):
            signal.signal(signum, handler)


def make_strategy(name, batch_size):
    """The tf.distribute strategy `none`, `mirrored` or `multi_worker`, once all workers are there.

    Raises UserError if batch_size cannot be shared equally, or TensorFlow finds that a worker
    cannot be reached.
    """
    strategy = tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    elif name == "multi_worker":
        say(f"waiting for all workers, {PATIENCE} seconds at most")
        options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=float(PATIENCE))
        with deadline(PATIENCE):
            strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    if batch_size % strategy.num_replicas_in_sync:
        replicas = f"{strategy.num_replicas_in_sync} replicas"
        raise UserError(
            f"--batch_size {batch_size} cannot be shared equally by {replicas}; give a multiple"
        )
    return strategy


@contextlib.contextmanager
def waiting_for_peers(strategy):
    """Within it, TensorFlow's errors about a lost worker, if there are several, are a UserError."""
    try:
        yield
    except LOST as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        raise UserError(
            "another worker is gone or does not answer; start all of them again, with --resume if "
            f"there is a checkpoint (TensorFlow says: {str(error).splitlines()[0]})"
        ) from None


def agree(strategy, *what):
    """Wait for all workers. Raises UserError if `what`, which JSON can hold, differs there."""

    def summed():
        value = tf.constant(float(zlib.crc32(json.dumps(what).encode())), tf.float64)
        replica = tf.distribute.get_replica_context()
        return value, replica.all_reduce(tf.distribute.ReduceOp.SUM, value)

    run = tf.function(lambda: strategy.run(summed), autograph=False)  # eagerly TensorFlow warns
    with waiting_for_peers(strategy):
        value, total = (strategy.experimental_local_results(v)[0] for v in run())
    if value * strategy.num_replicas_in_sync != total:
        raise UserError(
            "the workers differ in their flags, data or checkpoint; give all the same, and a "
            "--model_dir that they share"
        )


def leave_together(strategy):
    """Wait until all workers are here and none needs another.

    A worker that ends at once takes with it what the others have not yet fetched of its last sum.
    Whoever is through the first agreement serves the others until they are in the second, whose
    failure only says that they have left.
    """
    agree(strategy, "done")
    with contextlib.suppress(UserError):
        agree(strategy, "gone")


def share_batch(strategy, batch):
    """The arrays [B, ...] of a batch as tensors, an equal share of the rows for each replica."""

    def rows(replica):
        size = len(batch[0]) // replica.num_replicas_in_sync
        start = size * replica.replica_id_in_sync_group
        return [tf.constant(values[start : start + size]) for values in batch]

    return strategy.experimental_distribute_values_from_function(rows)
