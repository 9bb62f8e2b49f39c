"""Trains the network of model.py on pen data: `python train.py`. Flags first, then the loop, in the order of events."""

import argparse
import csv
import json
import math
import sys
import time
import warnings
from pathlib import Path

# Before tensorflow, whose start-up notes it keeps quiet.
from model import LAYERS, Model, negative_log_likelihood, parts, set_threads
from utils import DataError, DataLoader

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

VALIDATION_BATCH = 64  # lines
NOT_IN_CONFIG = ("model_dir", "overwrite")  # flags that say nothing about the run itself
# What a run writes into model_dir beside config.json, and --overwrite deletes.
RUN_FILES = ("checkpoint", "model.ckpt-*", "best/checkpoint", "best/model.ckpt-*", "log/events.out.tfevents.*",
             "loss.csv", "loss.png")


class RunError(Exception):
    """A run that cannot start, go on, or be read back; the message is one sentence for the user."""


def number(kind, low, high=math.inf, open_low=False):
    """An argparse type: an int or float from low to high (above low, if open_low); says what is allowed."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (low < value if open_low else low <= value) or not value <= high or math.isinf(value):
            name = "a whole number" if kind is int else "a number"
            limit = f"above {low}" if open_low else f"of at least {low}"
            limit += f" and at most {high}" if high < math.inf else ""
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} {limit}")
        return value

    return parse


def build_parser():
    """All flags; those of the post's program keep its names and defaults."""
    parser = argparse.ArgumentParser("train.py", description="Train the network on pen data.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    network = parser.add_argument_group("network")
    network.add_argument("--model", default="lstm", choices=sorted(LAYERS), help="kind of recurrent layer")
    network.add_argument("--rnn_size", default=256, type=number(int, 1, 65536), help="units in a layer")
    network.add_argument("--num_layers", default=2, type=number(int, 1, 64), help="recurrent layers")
    network.add_argument("--num_mixture", default=20, type=number(int, 1, 1024), help="normals in the mixture")
    network.add_argument("--peephole", action="store_true", help="let lstm gates see the memory cell")
    network.add_argument("--keep_prob", default=0.8, type=number(float, 0, 1, open_low=True),
                         help="probability of keeping a layer's output in training (1: no dropout)")

    data = parser.add_argument_group("data")
    data.add_argument("--data_dir", default="data", help="folder with lineStrokes-all.tar.gz, lineStrokes/ or a cache")
    data.add_argument("--data_scale", default=20.0, type=number(float, 0, 1e6, open_low=True),
                      help="pen units in one scaled unit")
    data.add_argument("--batch_size", default=50, type=number(int, 1, 1 << 20), help="windows in a minibatch")
    data.add_argument("--seq_length", default=300, type=number(int, 1, 1 << 20), help="points in a window")

    work = parser.add_argument_group("training")
    work.add_argument("--num_epochs", default=30, type=number(int, 1, 1 << 30), help="passes over the training lines")
    work.add_argument("--learning_rate", default=0.005, type=number(float, 0, 1e3, open_low=True),
                      help="Adam's step size in the first epoch")
    work.add_argument("--decay_rate", default=0.95, type=number(float, 0, 1, open_low=True),
                      help="the step size is multiplied by this after every epoch")
    work.add_argument("--grad_clip", default=10.0, type=number(float, 0, open_low=True),
                      help="the gradient's global norm is cut down to this")
    work.add_argument("--precision", default="auto", choices=["auto", "bfloat16", "float32"],
                      help="type of the factors in the lstm loop's products on a CPU; auto: bfloat16 where the CPU "
                           "has units for it")
    work.add_argument("--seed", default=0, type=number(int, 0, 2**31 - 1), help="of weights, minibatches and dropout")

    run = parser.add_argument_group("run")
    run.add_argument("--model_dir", default="save", help="folder for checkpoints, config.json, loss.csv and loss.png")
    run.add_argument("--save_every", default=500, type=number(int, 1, 1 << 30), help="steps between checkpoints")
    run.add_argument("--overwrite", action="store_true", help="start anew in a folder that holds a run")
    return parser


def load_data(args):
    """The DataLoader that the flags ask for. Raises DataError, or RunError if it holds nothing to validate on."""
    data = DataLoader(args.batch_size, args.seq_length, args.data_scale, data_dir=args.data_dir, seed=args.seed)
    if not data.valid_data:
        raise RunError(f"--data_dir {args.data_dir} holds no line to validate on; it needs two lines or more")
    return data


def check_folder(args):
    """Raise RunError if model_dir holds a run that this one would overwrite unasked."""
    folder = Path(args.model_dir)
    if folder.resolve() == (Path(__file__).parent / "save" / "pretrained").resolve():
        raise RunError(f"--model_dir {folder} holds the weights that come with the program; name another folder")
    if (folder / "config.json").exists() and not args.overwrite:
        raise RunError(f"--model_dir {folder} holds a run already; name another folder, or give --overwrite")


def prepare_folder(args):
    """Make model_dir, without what an earlier run left there, and write config.json. Raises RunError if it cannot."""
    folder = Path(args.model_dir)
    config = {name: value for name, value in vars(args).items() if name not in NOT_IN_CONFIG}
    try:
        if (folder / "config.json").exists():
            for old in [path for name in RUN_FILES for path in folder.glob(name)]:
                old.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / "config.json.tmp"
        unfinished.write_text(json.dumps(config, indent=2) + "\n")
        unfinished.replace(folder / "config.json")
    except OSError as error:
        raise RunError(f"--model_dir {folder} cannot be written ({error.strerror}); name another folder") from None


def read_config(folder):
    """The flags that the run in `folder` was started with, from its config.json, checked as on the command line.

    Raises RunError if the file is missing, is no JSON object, or lacks, adds or garbles a flag.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); --model_dir names no run of train.py") from None
    except (ValueError, RecursionError):
        raise RunError(f"{path} is no JSON; restore it, or train again") from None
    parser = build_parser()
    known = set(vars(parser.parse_args([]))) - set(NOT_IN_CONFIG)
    if not isinstance(config, dict) or set(config) != known:
        wrong = sorted(set(config) ^ known) if isinstance(config, dict) else sorted(known)
        raise RunError(f"{path} does not hold the flags of train.py: {', '.join(wrong)} is missing or unknown there")
    parser.exit_on_error = False
    switch = {False: [], True: ["--peephole"]}
    try:
        words = switch[config.pop("peephole")] + [f"--{name}={value}" for name, value in config.items()]
        return parser.parse_args(words)
    except (argparse.ArgumentError, KeyError, TypeError) as error:
        raise RunError(f"{path} holds a value that train.py does not allow: {error}") from None


def global_norm(gradients):
    """The Euclidean norm of all gradients together; scaled first, so that 3e19 squared does not overflow float32."""
    largest = tf.reduce_max([tf.reduce_max(tf.abs(g)) for g in gradients])
    scale = tf.maximum(largest, 1e-30)
    return scale * tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g / scale)) for g in gradients]))


def make_train_step(model, optimizer, grad_clip):
    """A compiled function (x, y) -> (loss, gradient norm) that takes one clipped step.

    Where the loss or the norm is not finite, weights and moments stay as they were.
    """
    variables = model.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = model.loss(x, y, training=True)
        gradients = tape.gradient(loss, variables)
        norm = global_norm(gradients)
        scale = tf.minimum(1.0, grad_clip / norm)

        def apply():
            optimizer.apply_gradients([(g * scale, v) for g, v in zip(gradients, variables, strict=True)])
            return True

        tf.cond(tf.math.is_finite(loss) & tf.math.is_finite(norm), apply, lambda: False)
        return loss, norm

    return train_step


def make_validate(model, lines):
    """A function () -> mean nats per point over whole lines, state from zero, dropout off, float32.

    lines: arrays [n, 3] in scaled units; n - 1 points of each are predicted.
    """
    lines = sorted(lines, key=len)
    signature = [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None])]

    @tf.function(autograph=False, input_signature=signature)
    def batch_nll(points, lengths):
        masks = tf.sequence_mask(lengths, tf.shape(points)[1] - 1, tf.float32)
        return tf.add_n([tf.reduce_sum(negative_log_likelihood(model(part[:, :-1])[0], part[:, 1:]) * mask)
                         for part, mask in parts(points, masks)])

    def validate():
        total = 0.0
        for start in range(0, len(lines), VALIDATION_BATCH):
            batch = lines[start:start + VALIDATION_BATCH]
            padded = np.zeros([len(batch), len(batch[-1]), 3], np.float32)
            for row, line in zip(padded, batch, strict=True):
                row[:len(line)] = line
            total += float(batch_nll(padded, np.array([len(line) - 1 for line in batch], np.float32)))
        return total / sum(len(line) - 1 for line in lines)

    return validate


def plot_losses(history, filename):
    """Draw the training and the validation loss of every epoch (rows of loss.csv) as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    for name, label in (("train_loss", "training (dropout on)"), ("valid_loss", "validation (dropout off)")):
        axes.plot(epochs, [row[name] for row in history], marker=".", label=label)
    axes.set(xlabel="epoch", ylabel="loss, nats per point")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(filename, dpi=120)


class Record:
    """What a run leaves in model_dir: checkpoints, the best weights, the log, loss.csv and loss.png."""

    def __init__(self, args, model, optimizer):
        self.folder, self.save_every = Path(args.model_dir), args.save_every
        self.step_counter = tf.Variable(0, dtype=tf.int64)
        everything = tf.train.Checkpoint(model=model, optimizer=optimizer, step=self.step_counter)
        weights = tf.train.Checkpoint(model=model)
        self.newest = tf.train.CheckpointManager(everything, self.folder, 3, checkpoint_name="model.ckpt")
        self.best = tf.train.CheckpointManager(weights, self.folder / "best", 1, checkpoint_name="model.ckpt")
        self.log = tf.summary.create_file_writer(str(self.folder / "log"))
        self.history, self.losses, self.best_loss, self.started = [], [], math.inf, time.perf_counter()

    def step(self, step, loss, norm, rate):
        """Note a step: its loss (nats per point), gradient norm and rate; save every save_every steps."""
        self.losses.append(loss)
        with self.log.as_default(step):
            tf.summary.scalar("train loss", loss)
            tf.summary.scalar("gradient norm", norm)
            tf.summary.scalar("rate", rate)
        if step % self.save_every == 0:
            self.save(step)

    def epoch(self, epoch, step, valid_loss, rate):
        """Note an epoch's end and return a line that tells of it; keep the weights if they are the best so far."""
        with self.log.as_default(step):
            tf.summary.scalar("validation loss", valid_loss)
        row = {"epoch": epoch, "step": step, "train_loss": float(np.mean(self.losses)), "valid_loss": valid_loss,
               "rate": rate, "seconds": round(time.perf_counter() - self.started, 1)}
        self.history.append(row)
        self.losses = []
        with open(self.folder / "loss.csv", "w", newline="") as file:
            table = csv.DictWriter(file, row)
            table.writeheader()
            table.writerows(self.history)
        if valid_loss < self.best_loss:
            self.best_loss = valid_loss
            self.best.save(step)
        return ("epoch {epoch}: training loss {train_loss:.4f}, validation loss {valid_loss:.4f} nats per point, "
                "{seconds:.0f} s".format(**row))

    def save(self, step):
        """Write a checkpoint of everything."""
        self.step_counter.assign(step)
        self.newest.save(step)


def train(args):
    """Train as the flags say. Raises DataError or RunError with a sentence for the user."""
    check_folder(args)
    data = load_data(args)
    prepare_folder(args)
    set_threads(args.batch_size)
    model = Model(args)
    optimizer = keras.optimizers.Adam(args.learning_rate, epsilon=1e-8)
    train_step = make_train_step(model, optimizer, args.grad_clip)
    validate = make_validate(model, data.valid_data)
    record = Record(args, model, optimizer)
    weights = sum(int(tf.size(v)) for v in model.trainable_variables)
    print(f"{len(data.data)} training lines, {len(data.valid_data)} validation lines; {weights:,} weights; "
          f"{args.num_epochs} epochs of {data.num_batches} steps; products in {model.product_type.name}")

    step, total = 0, args.num_epochs * data.num_batches
    bar = "{desc} step {n_fmt}/{total_fmt} |{bar}|{postfix}, {rate_inv_fmt}, {remaining} left"
    with tqdm(total=total, disable=None, unit="step", dynamic_ncols=True, bar_format=bar) as progress:
        for epoch in range(args.num_epochs):
            rate = args.learning_rate * args.decay_rate**epoch
            optimizer.learning_rate = rate
            progress.set_description_str(f"epoch {epoch + 1}/{args.num_epochs}", refresh=False)
            for _ in range(data.num_batches):
                loss, norm = (float(value) for value in train_step(*data.next_batch()))
                step += 1
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise RunError(
                        f"the loss is {loss} at step {step}, where the gradient's norm is {norm}; this step changed "
                        f"nothing and the last checkpoint in {record.folder} is good; try a smaller --learning_rate "
                        f"or --grad_clip, and look for odd lines in the data")
                record.step(step, loss, norm, rate)
                progress.set_postfix_str(f"loss {loss:.3f}, rate {rate:.5f}", refresh=False)
                progress.update()
            progress.write(record.epoch(epoch + 1, step, validate(), rate))
    record.save(step)
    plot_losses(record.history, record.folder / "loss.png")
    print(f"Best validation loss {record.best_loss:.4f} nats per point. Draw with: python sample.py --model_dir "
          f"{record.folder}")


def main(argv=None):
    args = build_parser().parse_args(argv)
    try:
        train(args)
    except (DataError, RunError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"train.py: stopped; what was saved until now is in {args.model_dir}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    warnings.showwarning = lambda message, *_: print(f"train.py: warning: {message}", file=sys.stderr)
    sys.exit(main())
