"""A training run: its folder, its progress, its checkpoints, and how a signal ends it."""

import contextlib
import csv
import io
import json
import math
import signal
import time
import warnings
from pathlib import Path

from handwriting.drawing.plots import plot_losses
from handwriting.files import UserError, atomic_write
from handwriting.flags import say
from handwriting.network.backend import tf
from handwriting.network.checkpoint import (
    BEST,
    assign,
    checkpoints,
    read_tensors,
    run_files,
    write_tensors,
)

import numpy as np
from tqdm import tqdm

try:
    import fcntl
except ImportError:  # on Windows, where nothing guards a folder against two runs
    fcntl = None

KEPT = 3  # newest checkpoints that stay
BAR = "{desc} step {n_fmt}/{total_fmt} |{bar}|{postfix}, {rate_inv_fmt}, "
BAR += "{elapsed}, {remaining} left"


class Run:
    """A training run in args.model_dir: where it stands, and what it leaves there.

    config: what config.json will hold. Of several workers only the chief writes. step: steps
    taken. history: rows of loss.csv. best_loss: of the weights in model.safetensors. A context
    manager that keeps other runs out of the folder. Raises UserError if the folder cannot be
    written or is in use, or, with args.resume, if there is no checkpoint, or one of other data.
    """

    def __init__(self, args, config, model, optimizer, data, chief=True):
        self.folder, self.chief, self.args, self.config = Path(args.model_dir), chief, args, config
        self.model, self.optimizer, self.data = model, optimizer, data
        self.step, self.losses, self.history, self.best_loss = 0, [], [], math.inf
        self.seconds, self.started = 0.0, time.perf_counter()
        self.signals, self.stopped = [], False
        self.lock, self.log = None, tf.summary.create_noop_writer()
        if chief:
            self.take_folder()
        if args.resume:
            try:
                self.resume()
            except BaseException:
                self.__exit__()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.log.close()
        if self.lock:
            self.lock.close()

    # ------------------------------------------------------------------------------ its folder

    def take_folder(self):
        """Make the folder and lock it. The lock ends with the process; the empty file stays."""
        with self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = open(self.folder / "lock", "wb")  # noqa: SIM115 - held as long as the run
        try:
            if fcntl:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.close()
            raise UserError(
                f"--model_dir {self.folder} is in use by another run of train.py; wait for it, or "
                "name another folder"
            ) from None
        except OSError:  # a file system without locks
            pass

    @contextlib.contextmanager
    def writing(self):
        """Within it, what cannot be written raises UserError."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise UserError(
                f"--model_dir {self.folder} cannot be written ({reason}); checkpoints there are "
                "whole: make room or name another folder, then go on with --resume"
            ) from None

    def begin(self, text):
        """Print `text` and write config.json; with --overwrite delete the run before, first."""
        if not self.chief:
            return
        say(text)
        with self.writing():
            for path in self.folder.glob("*.safetensors.*.tmp"):  # of a run that was killed
                path.unlink()
            if self.args.overwrite:
                logs = (self.folder / "log").glob("events.out.tfevents.*")
                for path in [*run_files(self.folder), *logs]:
                    path.unlink()
            with atomic_write(self.folder / "config.json") as file:
                file.write((json.dumps(self.config, indent=2) + "\n").encode())
            self.log = tf.summary.create_file_writer(str(self.folder / "log"))

    # ----------------------------------------------------------------------------- checkpoints

    def state(self):
        """All variables of a checkpoint, name -> variable."""
        weights = {f"model.{name}": v for name, v in self.model.variables.items()}
        return weights | {f"optimizer.{k}": v for k, v in enumerate(self.optimizer.variables)}

    def data_size(self):
        """By how many lines and points the data is recognised again."""
        return [len(self.data.data), sum(map(len, self.data.data)), len(self.data.valid_data)]

    def total_seconds(self):
        """How long the run has been at work, before it was resumed and since."""
        return self.seconds + time.perf_counter() - self.started

    def save(self):
        """Write a checkpoint, and delete all but the newest few."""
        if not self.chief:
            return
        record = {name: getattr(self, name) for name in ("step", "losses", "history")}
        record |= {"seconds": self.total_seconds(), "data": self.data_size()}
        record["rng"] = self.data.rng.bit_generator.state
        tensors = {name: variable.numpy() for name, variable in self.state().items()}
        with self.writing():
            path = self.folder / f"checkpoint-{self.step}.safetensors"
            write_tensors(path, tensors, record)
            for old in checkpoints(self.folder)[KEPT:]:
                old.unlink()
            self.log.flush()

    def resume(self):
        """Go on from the newest checkpoint that is whole."""
        for path in checkpoints(self.folder):
            try:
                tensors, record = read_tensors(path)
                assign(self.state(), tensors, "", path)
            except UserError as error:
                warnings.warn(f"{error}; trying the checkpoint before", stacklevel=2)
                continue
            if record.pop("data") != self.data_size():
                reason = "the data in --data_dir is not what the run was trained on"
                raise UserError(f"{reason}; name its folder, or start anew with --overwrite")
            self.data.rng.bit_generator.state = record.pop("rng")
            vars(self).update(record)
            self.data.drawn = self.step
            # Of the file, since a better epoch may have come after the checkpoint.
            with contextlib.suppress(UserError, KeyError):
                self.best_loss = read_tensors(self.folder / BEST)[1]["valid_loss"]
            return
        raise UserError(
            f"--model_dir {self.folder} holds no checkpoint that can be read; start anew with "
            "--overwrite"
        )

    # -------------------------------------------------------------------------------- progress

    def steps(self, total):
        """Yield the number of steps taken, which log_step counts, to `total` or `stopped`."""
        self.bar = tqdm(
            total=total, initial=self.step, disable=None if self.chief else True, unit="step",
            dynamic_ncols=True, bar_format=BAR,
        )
        with self.bar, stop_signals() as self.signals:
            while self.step < total and not self.stopped:
                epoch = self.step // self.data.num_batches + 1
                self.bar.set_description_str(f"epoch {epoch}/{self.args.num_epochs}", refresh=False)
                yield self.step

    def log_step(self, loss, norm, rate):
        """Count a step: its loss (nats per point), the gradient's norm and the rate."""
        self.step += 1
        self.losses.append(loss)
        with self.writing(), self.log.as_default(self.step):
            tf.summary.scalar("train loss", loss)
            tf.summary.scalar("gradient norm", norm)
            tf.summary.scalar("rate", rate)
        self.bar.set_postfix_str(f"loss {loss:.3f}, rate {rate:.5f}", refresh=False)
        self.bar.update()

    def log_epoch(self, validate, rate):
        """Note the end of an epoch, and keep the weights if they are the best by validate()."""
        valid_loss = validate()  # by all workers, so that none waits for another
        if not self.chief:
            return
        row = {"epoch": len(self.history) + 1, "step": self.step}
        row |= {"train_loss": float(np.mean(self.losses)), "valid_loss": valid_loss}
        row |= {"rate": rate, "seconds": round(self.total_seconds(), 1)}
        self.history.append(row)
        self.losses = []
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, row)
        writer.writeheader()
        writer.writerows(self.history)
        with self.writing():
            with self.log.as_default(self.step):
                tf.summary.scalar("validation loss", valid_loss)
            if valid_loss < self.best_loss:
                weights = {name: v.numpy() for name, v in self.model.variables.items()}
                record = {"step": self.step, "valid_loss": valid_loss}
                write_tensors(self.folder / BEST, weights, record)
                self.best_loss = valid_loss
            with atomic_write(self.folder / "loss.csv") as file:
                file.write(table.getvalue().encode())
        self.bar.clear()
        say(
            "epoch {epoch}: training loss {train_loss:.4f}, validation loss {valid_loss:.4f} nats "
            "per point, {seconds:.0f} s".format(**row)
        )

    def finish(self):
        """Draw the losses of all epochs into loss.png, and say how to draw from the weights."""
        if not self.chief:
            return
        with self.writing(), atomic_write(self.folder / "loss.png") as file:
            plot_losses(self.history, file)
        say(
            f"Best validation loss {self.best_loss:.4f} nats per point. Draw with: python "
            f"sample.py --model_dir {self.folder}" + ' --text "Dear Anna"' * bool(self.args.text)
        )


@contextlib.contextmanager
def stop_signals():
    """Give a list that the first SIGINT, SIGTERM or SIGHUP is put into; a second one ends."""
    received, before = [], {}

    def handle(signum, _):
        received.append(signum)
        for other in before:
            signal.signal(other, signal.SIG_DFL)

    signums = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signums.append(signal.SIGHUP)
    with contextlib.suppress(ValueError):  # signals belong to the main thread
        for signum in signums:
            before[signum] = signal.signal(signum, handle)
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
