"""Trains the network of model.py on pen data: `python train.py`. Flags first, then the loop, in the order of events.

`python train.py --eval_only` measures a trained network instead; model.evaluate tells in which units.
"""

import argparse
import contextlib
import csv
import io
import json
import math
import os
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

# Before tensorflow, whose start-up notes it keeps quiet.
from model import (
    LAYERS,
    LONG,
    SCORE_BATCH,
    SIGMA_MIN,
    Model,
    draw_taught,
    evaluate,
    make_score,
    put_side_by_side,
    set_threads,
    shapes,
    training_bytes,
)
from utils import DataError, DataLoader, compare_lines, sync, whole_file

import keras
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.eager import context
from tqdm import tqdm

try:
    import fcntl
except ImportError:  # on Windows, where nothing guards a folder against two runs
    fcntl = None

SAMPLE_LENGTH = 800  # points of a sample that is compared with real lines
# Flags that say nothing about the run itself.
NOT_IN_CONFIG = ("model_dir", "resume", "overwrite", "strategy", "eval_only", "split", "json", "eval_samples", "bias")
SWITCHES = ("peephole", "layer_norm", "skip", "polar")  # flags without a value
# What flags were in runs that lack them.
LATER = {**dict.fromkeys(SWITCHES, False), "recurrent_keep_prob": 1.0, "init": "", "teachers": "",
         "taught_share": 0.75, "sigma_min": SIGMA_MIN}
# Flags that decide what weights there are, and what for.
NETWORK = ("model", "rnn_size", "num_layers", "num_mixture", "peephole", "layer_norm", "skip", "polar", "data_scale")
SIZES = ("rnn_size", "num_mixture")  # those of several networks side by side add up
DEVIATIONS = ("sigma_x", "sigma_y")  # kept beside the flags in config.json: those of the moves trained on, pen units
WITH_EVAL_ONLY = ("eval_only", "model_dir", "data_dir", "split", "json", "eval_samples", "bias", "seed")
MAY_CHANGE = ("num_epochs", "save_every", "learning_rate", "data_dir")  # flags that may be given with --resume
# What a run writes into model_dir beside config.json, and --overwrite deletes.
RUN_FILES = ("checkpoint", "model.ckpt-*", "best/checkpoint", "best/model.ckpt-*", "log/events.out.tfevents.*",
             "loss.csv", "loss.png")
# What reading a damaged checkpoint raises.
DAMAGED = (tf.errors.OpError, OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError, DecodeError,
           struct.error)
CHECKPOINT = "model.ckpt"  # how the names of checkpoints begin, before -STEP
PATIENCE = 20.0  # seconds that a worker waits for another that does not answer
PRETRAINED = Path(__file__).resolve().parent / "save" / "pretrained"


class RunError(Exception):
    """A run that cannot start, go on, or be read back; the message is one sentence for the user."""


class RunStopped(Exception):
    """A run that a signal stopped, and whose state was saved."""

    def __init__(self, signum, step):
        super().__init__(f"stopped and saved at step {step}")
        self.signum = signum


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


def file_name(text):
    """An argparse type: the name of a file or folder, which is not empty (as that of an unset variable is)."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no name of a file or folder")
    return text


def run_folder(text):
    """An argparse type: the name of a run's folder, where TensorFlow finds what it wrote."""
    if set(text) & set("*?[]\\") or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} holds one of *?[]\\ or no text, under which TensorFlow finds no "
                                         "file; name another folder")
    return file_name(text)


def run_folders(text):
    """An argparse type: names of runs' folders, a comma between them, or nothing."""
    for name in text.split(",") if text else []:
        run_folder(name)
    return text


def one_line(text):
    """The text with line breaks and control characters, which a file's name may hold, written as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the list of all flags."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


def build_parser():
    """All flags; those of the post's program keep its names and defaults."""
    parser = Parser("train.py", description="Train the network on pen data.",
                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    network = parser.add_argument_group("network")
    network.add_argument("--model", default="lstm", choices=sorted(LAYERS), help="kind of recurrent layer")
    network.add_argument("--rnn_size", default=256, type=number(int, 1, 65536), help="units in a layer")
    network.add_argument("--num_layers", default=2, type=number(int, 1, 64), help="recurrent layers")
    network.add_argument("--num_mixture", default=20, type=number(int, 1, 1024), help="normals in the mixture")
    network.add_argument("--sigma_min", default=SIGMA_MIN, type=number(float, 0, 1000),
                         help="least standard deviation of a normal in any direction, pen units; 0: as small as it "
                              "gets, as in the post, where the likelihood becomes that of coordinates being whole "
                              "numbers")
    network.add_argument("--peephole", action="store_true", help="let lstm gates see the memory cell")
    network.add_argument("--layer_norm", action="store_true",
                         help="normalise what goes into each lstm gate, and the memory cell, over the layer's units")
    network.add_argument("--skip", action="store_true",
                         help="let every layer see the points, and the output every layer")
    network.add_argument("--polar", action="store_true",
                         help="let what sees the points see each move's direction and the logarithm of its length, too")
    network.add_argument("--keep_prob", default=0.8, type=number(float, 0.001, 1),
                         help="probability of keeping a layer's output in training (1: no dropout)")
    network.add_argument("--recurrent_keep_prob", default=1.0, type=number(float, 0.001, 1),
                         help="probability of keeping what goes into an lstm layer's memory cell in training")

    data = parser.add_argument_group("data")
    data.add_argument("--data_dir", default="data", type=file_name,
                      help="folder with lineStrokes-all.tar.gz, lineStrokes/ or a cache")
    data.add_argument("--data_scale", default=20.0, type=number(float, 0.001, 1e6),
                      help="pen units in one scaled unit")
    data.add_argument("--batch_size", default=50, type=number(int, 1, 1 << 20), help="windows in a minibatch")
    data.add_argument("--seq_length", default=300, type=number(int, 1, 1 << 20), help="points in a window")
    data.add_argument("--first_points", default=0.0, type=number(float, 0, 1),
                      help="probability that a window starts where its line does, not anywhere in it; half of these "
                           "windows start with the point (0, 0, 1) before the line, as samples do")
    data.add_argument("--stretch", default=0.0, type=number(float, 0, 0.9),
                      help="a window's dx and dy are multiplied by random factors from 1 - STRETCH to 1 + STRETCH")

    work = parser.add_argument_group("training")
    work.add_argument("--num_epochs", default=30, type=number(int, 1, 1 << 30), help="passes over the training lines")
    work.add_argument("--optimizer", default="adam", choices=["adam", "muon"],
                      help="muon: it makes the steps of the layers' large matrices orthogonal, Adam does the rest")
    work.add_argument("--learning_rate", default=0.005, type=number(float, 0, 1e3, open_low=True),
                      help="the optimizer's step size in the first epoch")
    work.add_argument("--weight_decay", default=0.0, type=number(float, 0, 1),
                      help="in each step the layers' large matrices lose this times the step size of themselves")
    work.add_argument("--decay_rate", default=0.95, type=number(float, 0, 1, open_low=True),
                      help="the step size is multiplied by this after every epoch")
    work.add_argument("--decay", default="exponential", choices=["exponential", "linear"],
                      help="exponential: as --decay_rate says; linear: the step size falls to 0 at the last step")
    work.add_argument("--warmup", default=0, type=number(int, 0, 1 << 30),
                      help="steps in which the step size rises to --learning_rate")
    work.add_argument("--grad_clip", default=10.0, type=number(float, 1e-6, 1e9),
                      help="the gradient's global norm is cut down to this")
    work.add_argument("--precision", default="auto", choices=["auto", "bfloat16", "float32"],
                      help="type of the factors in the lstm loop's products on a CPU; auto: bfloat16 where the CPU "
                           "has units for it")
    work.add_argument("--seed", default=0, type=number(int, 0, 2**31 - 1), help="of weights, minibatches and dropout")

    others = parser.add_argument_group("other runs")
    others.add_argument("--init", default="", metavar="FOLDER,...", type=run_folders,
                        help="start from the weights of the run there, whose network has the same size; or of several, "
                             "side by side: their sizes and mixtures add up to those of this network")
    others.add_argument("--teachers", default="", metavar="FOLDER,...", type=run_folders,
                        help="learn what the networks of the runs there say of the data, too: points drawn from their "
                             "densities make --taught_share of the loss")
    others.add_argument("--taught_share", default=0.75, type=number(float, 0, 1),
                        help="the teachers' part of the loss; the data make the rest")

    run = parser.add_argument_group("run")
    run.add_argument("--model_dir", default="save", type=run_folder,
                     help="folder for checkpoints, config.json, loss.csv and loss.png")
    run.add_argument("--save_every", default=500, type=number(int, 1, 1 << 30), help="steps between checkpoints")
    run.add_argument("--resume", action="store_true",
                     help="go on with the run in --model_dir from its newest checkpoint, with its flags; of others "
                          "only " + ", ".join(f"--{name}" for name in MAY_CHANGE) + " may be given")
    run.add_argument("--overwrite", action="store_true", help="start anew in a folder that holds a run")
    run.add_argument("--strategy", default="none", choices=["none", "mirrored", "multi_worker"],
                     help="who shares every minibatch: mirrored: all GPUs of this machine; multi_worker: the machines "
                          "that TF_CONFIG names; the run is the same but for rounding and dropout")

    evaluation = parser.add_argument_group("evaluation")
    evaluation.add_argument("--eval_only", action="store_true",
                            help="train nothing; measure the run in --model_dir on lines of --data_dir")
    evaluation.add_argument("--split", metavar="NAME", type=file_name,
                            help="which lines: those of the forms in --data_dir's list NAME.txt, or valid (what "
                                 "training validates on), or all; unset: testset_v if there is one, else valid")
    evaluation.add_argument("--eval_samples", metavar="N", type=number(int, 2, 2000),
                            help=f"also draw N samples of {SAMPLE_LENGTH} points with --seed, and compare them with "
                                 "the lines")
    evaluation.add_argument("--bias", type=number(float, 0, 20), help="also draw N with this bias; see sample.py")
    evaluation.add_argument("--json", metavar="FILE", type=file_name, help="write the figures there, too")
    return parser


def load_data(args):
    """The DataLoader that the flags ask for. Raises DataError, or RunError if it holds nothing to validate on."""
    data = DataLoader(args.batch_size, args.seq_length, args.data_scale, data_dir=args.data_dir, seed=args.seed,
                      first_points=args.first_points, stretch=args.stretch)
    if not data.valid_data:
        raise RunError(f"--data_dir {args.data_dir} holds no line to validate on; it needs two lines or more")
    return data


def check_folder(args):
    """Raise RunError if model_dir holds files of a run that no flag tells to use, or the weights that we ship."""
    folder = Path(args.model_dir)
    if folder.resolve() == PRETRAINED:
        raise RunError(f"--model_dir {folder} holds the weights that come with the program; name another folder")
    old = [path for name in ("config.json", *RUN_FILES) for path in folder.glob(name)]
    if old and not (args.overwrite or args.resume):
        held, way = ("a run already", "go on with it by --resume") if old[0].name == "config.json" else (
            f"{old[0].relative_to(folder)}, which is left of a run", "move it")
        raise RunError(f"--model_dir {folder} holds {held}; {way}, name another folder, or give --overwrite")
    for name in ("best", "log"):
        if (folder / name).exists() and not (folder / name).is_dir():
            raise RunError(f"{folder / name} is a file, where a run has a folder; move it, or name another --model_dir")
    for name in ("config.json", "checkpoint", "loss.csv", "loss.png"):
        if (folder / name).is_dir():
            raise RunError(f"{folder / name} is a folder, where a run has a file; move it, or name another --model_dir")


def check_output(name, flag):
    """Raise RunError unless a file of this name can be made, before any time is spent on what goes into it."""
    folder = Path(os.path.dirname(name) or ".")
    if not folder.is_dir():
        raise RunError(f"{flag} {name} is in a folder that does not exist; make it, or name another")
    if not os.access(folder, os.W_OK):
        raise RunError(f"{flag} {name} is in a folder that cannot be written; name another")
    if os.path.isdir(name):
        raise RunError(f"{flag} {name} cannot be written (Is a directory); name another file")
    try:
        os.stat(f"{name}.{os.getpid()}.tmp")  # as it is called while it is written
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunError(f"{flag} {name} cannot be written ({error.strerror}); name another file") from None


def memory():
    """How many bytes of memory this machine has, or this container may take; infinity if nothing tells."""
    sizes = [math.inf]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(size for size in sizes if size > 0)


def check_memory(args):
    """Raise RunError if no training with these flags could fit into the memory, before the system ends it."""
    needed, there = training_bytes(args), memory()
    if needed > there:
        names = ("rnn_size", "num_layers", "num_mixture", "batch_size", "seq_length")
        raise RunError(", ".join(f"--{name} {getattr(args, name)}" for name in names) + " need more than "
                       f"{needed / 2**30:,.0f} GiB of memory, and there are {there / 2**30:,.0f}; make them smaller")


@contextlib.contextmanager
def own_folder(model_dir):
    """Make model_dir and keep other runs out of it meanwhile. Raises RunError if one is there, or if it can't be made.

    The lock goes with the process, however that ends; the empty file stays.
    """
    folder = Path(model_dir)
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(folder / "lock", "wb"))
        except OSError as error:
            raise RunError(f"--model_dir {folder} cannot be written ({error.strerror}); name another folder") from None
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"--model_dir {folder} is in use by another run of train.py; wait for it, or name another "
                           "folder") from None
        except OSError:  # a file system without locks
            pass
        yield


def prepare_folder(args, deviations):
    """Write config.json into model_dir, with --overwrite after what an earlier run left there is deleted.

    deviations: of dx and dy in pen units, the DataLoader's. Raises RunError if it cannot be done.
    """
    folder = Path(args.model_dir)
    config = {name: value for name, value in vars(args).items() if name not in NOT_IN_CONFIG}
    config |= dict(zip(DEVIATIONS, deviations, strict=True))
    try:
        if args.overwrite:
            for old in [path for name in RUN_FILES for path in folder.glob(name)]:
                old.unlink()
        with whole_file(folder / "config.json") as file:
            file.write((json.dumps(config, indent=2) + "\n").encode())
    except OSError as error:
        raise RunError(f"--model_dir {folder} cannot be written ({error.strerror}); name another folder") from None


def resumed_flags(args, given):
    """The flags of the run in --model_dir, with those of `given` (the flags on the command line) that may change.

    Raises RunError for a flag that contradicts the run's.
    """
    config = read_config(args.model_dir)
    for name, value in given.items():
        if name not in (*NOT_IN_CONFIG, *MAY_CHANGE) and value != getattr(config, name):
            raise RunError(f"--{name} {value} contradicts the run in {args.model_dir}, where it is "
                           f"{getattr(config, name)}; leave it out, or start another run")
    kept = {name: value for name, value in vars(config).items() if name not in (*NOT_IN_CONFIG, *DEVIATIONS)}
    return argparse.Namespace(**{**vars(args), **kept, **given})


def read_config(folder):
    """The flags that the run in `folder` was started with, from its config.json, checked as on the command line.

    Beside them sigma_x and sigma_y, the deviations of the moves that it trained on, in pen units. Raises RunError if
    the file is missing, is no JSON object, or lacks, adds or garbles a flag; those in LATER may be missing.
    """
    path = Path(folder) / "config.json"
    try:
        with open(path, encoding="utf-8") as file:
            config = json.loads(file.read(1 << 20))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); name the folder of a run of train.py") from None
    except (ValueError, RecursionError):
        raise RunError(f"{path} is no JSON; restore it, or train again") from None
    parser = build_parser()
    known = (set(vars(parser.parse_args([]))) - set(NOT_IN_CONFIG)) | set(DEVIATIONS)
    config = LATER | (config if isinstance(config, dict) else {})
    if wrong := sorted(set(config) ^ known):
        raise RunError(f"{path} does not hold the flags of train.py: {', '.join(wrong)} is missing or unknown there")
    parser.exit_on_error = False
    for name in DEVIATIONS:
        parser.add_argument(f"--{name}", type=number(float, 0, 1e6, open_low=True))
    try:
        words = [word for name in SWITCHES for word in {False: [], True: [f"--{name}"]}[config.pop(name)]]
        words += [f"--{name}={value}" for name, value in config.items()]
        return parser.parse_args(words)
    except (argparse.ArgumentError, KeyError, TypeError) as error:
        raise RunError(f"{path} holds a value that train.py does not allow: {error}") from None


def find_run(model_dir):
    """The folder of a run to load: model_dir if it holds one, else, for the default folder, the weights we ship."""
    folder = Path(model_dir)
    if (folder / "config.json").exists() or model_dir != build_parser().get_default("model_dir"):
        return folder
    return PRETRAINED


def find_checkpoint(folder):
    """The path of the best weights by validation in a folder of train.py, else of the newest.

    Raises RunError if there are none, or if the file that names them does so no more.
    """
    for state in (folder / "best" / "checkpoint", folder / "checkpoint"):
        if state.exists():
            with contextlib.suppress(ValueError):  # an empty file, or one that is no text
                found = tf.train.get_checkpoint_state(str(state.parent))
                # By its name alone: the folder may have been moved, and nothing outside of it is read.
                path = f"{state.parent}/{Path(found.model_checkpoint_path).name}" if found else ""
                if os.path.exists(f"{path}.index"):
                    return path
            raise RunError(f"{state} is damaged or names a checkpoint that is gone; train again, or restore the files")
    raise RunError(f"{folder} holds no checkpoint yet; train.py writes one every --save_every steps")


def read_varint(data, at):
    """The number at a place in the bytes, written with 7 bits in each, and the place behind it."""
    value = shift = 0
    while shift < 64:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")


def read_block(table, handle):
    """The entries, key -> value, of a block of a LevelDB table (bytes); handle: the block's place and size in it."""
    start, at = read_varint(handle, 0)
    size, _ = read_varint(handle, at)
    block = table[start:start + size]
    if len(block) < size or table[start + size] != 0:
        raise ValueError("a block that is cut off or compressed")
    (number,) = struct.unpack("<I", block[-4:])
    end, at, key = size - 4 - 4 * number, 0, b""
    entries, starts = {}, []
    while at < end:
        begin = at
        shared, at = read_varint(block, at)
        unshared, at = read_varint(block, at)
        length, at = read_varint(block, at)
        key = key[:shared] + block[at:at + unshared]
        at += unshared + length
        entries[key] = block[at - length:at]
        starts += [] if shared else [begin]
    if at != end or not number or not set(struct.unpack(f"<{number}I", block[end:-4])) <= set(starts):
        raise ValueError("a block whose entries do not end or begin where it says")
    return entries


def read_shapes(prefix):
    """The shapes of the tensors in a checkpoint, name -> list, as its .index has them; data in one file only.

    TensorFlow ends the process where an entry makes no sense, though its checksum is right; so each is looked at here
    before TensorFlow sees the file. Raises OSError, or ValueError, LookupError, DecodeError or struct.error.
    """
    with open(f"{prefix}.index", "rb") as file:
        table = file.read(1 << 24)
    _, at = read_varint(table, len(table) - 48)  # the footer: two handles, of which the second is the index block's
    _, at = read_varint(table, at)
    entries = {}
    for handle in read_block(table, table[at:]).values():
        entries |= read_block(table, handle)
    entries.pop(b"")  # the header
    with open(f"{prefix}.data-00000-of-00001", "rb") as file:
        room, found = os.fstat(file.fileno()).st_size, {}
        for name, value in entries.items():
            entry = BundleEntryProto.FromString(value)
            kind, shape = tf.as_dtype(entry.dtype), [dimension.size for dimension in entry.shape.dim]
            whole = not (entry.slices or entry.shard_id or entry.shape.unknown_rank) and entry.offset >= 0
            if kind == tf.string and shape == [] and whole:  # a length and four bytes of checksum stand before it
                file.seek(entry.offset)
                length, at = read_varint(file.read(10), 0)
                whole = entry.size == length + at + 4
            else:
                whole = whole and kind in (tf.float32, tf.int32, tf.int64) and min(shape, default=0) >= 0
                whole = whole and entry.size == kind.size * math.prod(shape)
            if not whole or entry.offset + entry.size > room:
                raise ValueError(f"its entry {name.decode()} fits no tensor in {room} bytes of data")
            found[name.decode()] = shape
    return found


def restore(folder):
    """The Model in a folder of train.py, with the weights that find_checkpoint finds, and their path as `checkpoint`.

    Raises RunError if there is no checkpoint, or one that is damaged or does not fit config.json.
    """
    config, path = read_config(folder), find_checkpoint(folder)
    try:
        saved = sorted(shape for name, shape in read_shapes(path).items() if name.startswith("model/"))
        if saved != sorted(shapes(config)):  # before the network is made: one of another size might not fit into memory
            raise RunError(f"the weights in {path} are not those of the network in {folder / 'config.json'}")
        model = Model(config, infer=True)
        tf.train.Checkpoint(model=model).read(path).expect_partial().assert_existing_objects_matched()
        if not all(np.isfinite(variable).all() for variable in model.trainable_variables):
            raise ValueError("it holds a weight that is infinite or not a number")
    except DAMAGED as error:
        if find_checkpoint(folder) != path:  # a run has just put a better one in its place
            return restore(folder)
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(f"the checkpoint {path} cannot be read ({reason}); train again, or restore its files") from None
    model.checkpoint = path
    return model


def load_other(args, flag, folder, alike):
    """The network of the run in `folder`, which a flag names; its flags `alike` have to be those of args.

    Raises RunError if they are not, or it cannot be loaded.
    """
    try:
        config = read_config(folder)
        for name in alike:
            if getattr(config, name) != getattr(args, name):
                raise RunError(f"its --{name} is {getattr(config, name)} and that of this run {getattr(args, name)}; "
                               "give the same, or name another run")
        return restore(Path(folder))
    except RunError as error:
        raise RunError(f"--{flag} {folder}: {error}") from None


def load_others(args, rows):
    """The list of the networks that --init names, and that of those that --teachers name.

    rows: of a minibatch, for one replica. Raises RunError as load_other does, or if there are more teachers than rows.
    """
    folders = args.teachers.split(",") if args.teachers else []
    if len(folders) > rows:
        raise RunError(f"--teachers are {len(folders)}, and each needs a row of a minibatch, where there are {rows}; "
                       "name fewer, or give a larger --batch_size")
    for folder in folders:
        if Path(folder).resolve() == Path(args.model_dir).resolve():
            raise RunError(f"--teachers {folder} is this run's own --model_dir; name other runs")
    start = args.init.split(",") if args.init and not args.resume else []
    if len(start) > 1 and args.layer_norm:
        raise RunError(f"--init {args.init}: networks with --layer_norm do not go side by side, since each normalises "
                       "over its own units alone; name one")
    alike = [name for name in NETWORK if len(start) == 1 or name not in SIZES]
    start = [load_other(args, "init", folder, alike) for folder in start]
    sizes = sum(network.units for network in start), sum(network.num_mixture for network in start)
    for name, size in zip(SIZES, sizes, strict=True):
        if start and size != getattr(args, name):
            raise RunError(f"--init {args.init}: their --{name} make {size} together and that of this run is "
                           f"{getattr(args, name)}; give {size}, or name other runs")
    return start, [load_other(args, "teachers", folder, ["data_scale"]) for folder in folders]


def global_norm(gradients):
    """The Euclidean norm of all gradients together; scaled first, so that 3e19 squared does not overflow float32."""
    largest = tf.reduce_max([tf.reduce_max(tf.abs(g)) for g in gradients])
    scale = tf.maximum(largest, 1e-30)
    return scale * tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g / scale)) for g in gradients]))


class Muon(keras.optimizers.Muon):
    """Keras' Muon for the given matrices [n, m], with weight decay; Adam takes half as large steps with the rest.

    Source: K. Jordan, "Muon: An optimizer for hidden layers in neural networks" (2024), scaled as in arXiv 2502.16982.
    """

    def __init__(self, learning_rate, matrices, weight_decay):
        super().__init__(learning_rate, weight_decay=weight_decay, adam_weight_decay=0.0, epsilon=1e-8,
                         adam_lr_ratio=0.5)
        self.matrices = {id(variable) for variable in matrices}

    def _should_use_adamw(self, variable):  # Keras goes by the variable's path, which those of TensorFlow do not have
        return id(variable) not in self.matrices


def make_optimizer(args, model):
    """The optimizer that the flags ask for."""
    if args.optimizer == "muon":
        return Muon(args.learning_rate, model.hidden_matrices(), args.weight_decay)
    optimizer = keras.optimizers.Adam(args.learning_rate, epsilon=1e-8, weight_decay=args.weight_decay or None)
    matrices = {id(variable) for variable in model.hidden_matrices()}
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if id(v) not in matrices])
    return optimizer


def rate_at(args, step, num_batches):
    """The optimizer's step size for a step, counted from 0, of a run whose epochs have num_batches of them."""
    if args.decay == "linear":
        fall = 1.0 - step / (args.num_epochs * num_batches)
    else:
        fall = args.decay_rate ** (step // num_batches)
    return args.learning_rate * fall * min(1.0, (step + 1) / max(1, args.warmup))


def make_train_step(model, optimizer, grad_clip, teachers=()):
    """A compiled function (x, y, stop) -> (loss, gradient norm, stop) that takes one clipped step.

    teachers: other Models, from whose densities it learns, too.
    Where the loss or the norm is not finite, weights and moments stay as they were. Under a strategy, x and y hold an
    equal share of the minibatch for each replica; what it returns is that of the whole, and stop the sum over replicas.
    """
    strategy, variables = tf.distribute.get_strategy(), model.trainable_variables
    replicas = strategy.num_replicas_in_sync
    optimizer.build(variables)
    optimizer._all_reduce_sum_gradients = lambda pairs: pairs  # they are summed before, to be clipped

    def summed(x, y, stop):
        taught = draw_taught(teachers, x, y, model.generator) if teachers else ()
        with tf.GradientTape() as tape:
            loss = model.loss(x, y, training=True, taught=taught) / replicas
        values = [loss, tf.identity(stop), *tape.gradient(loss, variables)]
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    def apply(gradients, scale):
        optimizer.apply_gradients([(g * scale, v) for g, v in zip(gradients, variables, strict=True)])

    @tf.function(autograph=False)
    def train_step(x, y, stop=0.0):
        sums = strategy.run(summed, (x, y, stop))
        loss, stop, *gradients = (strategy.experimental_local_results(value)[0] for value in sums)
        norm = global_norm(gradients)
        scale = tf.minimum(1.0, grad_clip / norm)

        def take():
            strategy.run(apply, (sums[2:], scale))
            return True

        tf.cond(tf.math.is_finite(loss) & tf.math.is_finite(norm), take, lambda: False)
        return loss, norm, stop

    return train_step


def share_batch(strategy, batch):
    """The arrays [B, ...] of a minibatch as tensors, an equal share of rows for each replica of the strategy."""
    def rows(replica):
        size = len(batch[0]) // replica.num_replicas_in_sync
        start = size * replica.replica_id_in_sync_group
        return [tf.constant(values[start:start + size]) for values in batch]

    return strategy.experimental_distribute_values_from_function(rows)


class Workers:
    """The processes that share a run: this one alone, or with --strategy multi_worker those that TF_CONFIG names.

    TensorFlow waits without end, and deaf to signals, for a worker that was not started or hangs. So a thread asks all
    the others every second, and ends this process where one that is waited for was silent for PATIENCE seconds.
    Raises RunError if TF_CONFIG does not say who they are.
    """

    def __init__(self, args):
        self.addresses, self.index, self.waiting = [None], 0, False
        if args.strategy == "multi_worker":
            text = os.environ.get("TF_CONFIG")
            try:
                config = json.loads(text or "")
                self.addresses, self.index = config["cluster"]["worker"], config["task"]["index"]
                ports = [int(address.rpartition(":")[2]) for address in self.addresses]
                right = (set(config["cluster"]) == {config["task"]["type"]} and self.index in range(len(ports))
                         and all(0 < port < 1 << 16 for port in ports))
            except (KeyError, ValueError, TypeError, AttributeError):
                right = False
            if not right:
                raise RunError(f"TF_CONFIG in the environment is {text or 'not set'}; --strategy multi_worker needs it "
                               'to be like {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": '
                               '"worker", "index": 0}}, with the index of this worker in the list')
        self.others = [k for k in range(len(self.addresses)) if k != self.index]
        self.chief = self.index == 0  # the one that writes

    def start(self, args):
        """The tf.distribute strategy of the flags, once all workers are there. Raises RunError if it cannot be."""
        strategy = tf.distribute.get_strategy()
        if args.strategy == "mirrored":
            devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        elif args.strategy == "multi_worker":
            try:
                socket.create_server(("", int(self.addresses[self.index].rpartition(":")[2]))).close()
            except OSError as error:
                raise RunError(f"this worker's address in TF_CONFIG, {self.addresses[self.index]}, cannot be used "
                               f"({os.strerror(error.errno)}); end the program that uses it, or name another") from None
            # TensorFlow's own two ways to look after workers let no thread of Python run meanwhile.
            context.context().configure_coordination_service(service_type="")
            CollectiveAllReduceExtended._enable_check_health = False
            self.signals, signals = socket.socketpair()
            signals.setblocking(False)
            signal.set_wakeup_fd(signals.detach(), warn_on_full_buffer=False)
            threading.Thread(target=self.watch, daemon=True).start()
            with self.awaited():
                strategy = tf.distribute.MultiWorkerMirroredStrategy()
        if args.batch_size % strategy.num_replicas_in_sync:
            raise RunError(f"--batch_size {args.batch_size} cannot be shared equally by "
                           f"{strategy.num_replicas_in_sync} replicas; give a multiple of that")
        self.agree(strategy, {k: v for k, v in vars(args).items() if k not in (*NOT_IN_CONFIG, "data_dir")})
        return strategy

    def answers(self, k):
        """Whether worker k is alive: however busy, TensorFlow's server greets who opens an HTTP/2 connection."""
        host, _, port = self.addresses[k].rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), 2) as link:
                link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                return bool(link.recv(1))
        except (OSError, ValueError):  # ValueError: a host of a form that no name has
            return False

    def watch(self):
        """See the class; after a signal, 3 seconds of silence are enough."""
        heard, signum = dict.fromkeys(self.others, time.monotonic()), 0
        self.signals.settimeout(1.0)
        while True:
            with contextlib.suppress(TimeoutError):
                signum = self.signals.recv(1)[0]
            heard |= {k: time.monotonic() for k in self.others if self.answers(k)}
            silent = [k for k in heard if time.monotonic() - heard[k] > (3.0 if signum else PATIENCE)]
            if silent and self.waiting:
                print(f"train.py: error: {self.lost(silent)}", file=sys.stderr, flush=True)
                sys.stdout.flush()
                os._exit(128 + signum if signum else 2)

    def lost(self, silent):
        """A sentence for the user about workers that do not answer."""
        names = ", ".join(f"worker {k} ({self.addresses[k]})" for k in silent) or "another worker"
        return (f"{names} does not answer; start all workers within {PATIENCE:g} seconds, with --resume if there is a "
                "checkpoint")

    @contextlib.contextmanager
    def awaited(self):
        """Within it, the others are waited for. Raises RunError where TensorFlow finds one gone."""
        self.waiting = True
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
                tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError):
            raise RunError(self.lost([k for k in self.others if not self.answers(k)])) from None
        finally:
            self.waiting = False

    def agree(self, strategy, *what):
        """Wait until all workers are here. Raises RunError if `what`, to be written as JSON, differs among them."""
        def summed():
            value = tf.constant(float(zlib.crc32(json.dumps(what).encode())), tf.float64)
            return value, tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)

        if self.others:
            with self.awaited():
                value, total = (strategy.experimental_local_results(v)[0] for v in strategy.run(summed))
            if value * strategy.num_replicas_in_sync != total:
                raise RunError("the workers differ in their flags, data or checkpoint; give all the same, and a "
                               "--model_dir that they share")


def make_validate(model, lines):
    """A function () -> mean nats per point over whole lines [n, 3] in scaled units; see make_score."""
    score = make_score(model)
    return lambda: float(np.concatenate([nats for nats, _ in score(lines)]).mean(dtype=np.float64))


def plot_losses(history, file):
    """Draw the training and the validation loss of every epoch (rows of loss.csv) as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    for name, label in (("train_loss", "training (dropout on)"), ("valid_loss", "validation (dropout off)")):
        axes.plot(epochs, [row[name] for row in history], marker=".", label=label)
    axes.set(xlabel="epoch", ylabel="loss, nats per point")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120, format="png")


class Progress(tf.train.experimental.PythonState):
    """Where a run stands beside its weights and optimizer, kept in every checkpoint as JSON."""

    def __init__(self, data):
        self.data, self.step, self.losses, self.history, self.best_loss, self.seconds = data, 0, [], [], math.inf, 0.0
        self.started = time.perf_counter()

    def total_seconds(self):
        """How long the run has been at work, before it was resumed and since."""
        return self.seconds + time.perf_counter() - self.started

    def size_of_data(self):
        """By how many lines and points the data is recognized again."""
        return [len(self.data.data), sum(map(len, self.data.data)), len(self.data.valid_data)]

    def serialize(self):
        state = {name: getattr(self, name) for name in ("step", "losses", "history", "best_loss")}
        rng = self.data.rng.bit_generator.state
        return json.dumps({**state, "seconds": self.total_seconds(), "rng": rng, "data": self.size_of_data()})

    def deserialize(self, text):
        state = json.loads(text)
        if state.pop("data") != self.size_of_data():
            raise RunError("the data in --data_dir is not what the run was trained on; name its folder, or start anew")
        self.data.rng.bit_generator.state = state.pop("rng")
        for name in ("step", "losses", "history", "best_loss", "seconds"):
            setattr(self, name, state[name])
        self.started = time.perf_counter()


class Checkpoints:
    """The checkpoints model.ckpt-STEP of some tf.train.Checkpoint in a folder, of which the `keep` newest stay.

    At any moment, the computer's power failing included, those that were complete still are: each is written in a
    folder of its own, and named when it is on the disk; the file `checkpoint`, which names the newest, follows.
    """

    def __init__(self, content, folder, keep):
        self.content, self.folder, self.keep = content, Path(folder), keep

    def steps(self):
        """The steps of all checkpoints there, the newest first."""
        names = [path.stem.rpartition("-")[2] for path in self.folder.glob(f"{CHECKPOINT}-*.index")]
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def save(self, step):
        """Write a checkpoint. Raises OSError or tf.errors.OpError if that fails."""
        unfinished, name = self.folder / "unfinished", f"{CHECKPOINT}-{step}"
        shutil.rmtree(unfinished, ignore_errors=True)  # of a save that was cut short
        self.content.write(str(unfinished / name))
        (self.folder / f"{name}.index").unlink(missing_ok=True)  # damaged, if the step was saved before
        for path in sorted(unfinished.glob(f"{name}.*")):  # the index last: without it there is no checkpoint
            sync(path)
            path.replace(self.folder / path.name)
        sync(self.folder)
        with whole_file(self.folder / "checkpoint") as file:  # as tf.train.latest_checkpoint reads it
            file.write(f'model_checkpoint_path: "{name}"\n'.encode())
        for old in self.steps()[self.keep:]:
            for path in sorted(self.folder.glob(f"{CHECKPOINT}-{old}.*"), reverse=True):
                path.unlink()
        unfinished.rmdir()


class Record:
    """What a run leaves in model_dir: checkpoints, the best weights, the log, loss.csv and loss.png.

    Of several workers only the chief logs. With --resume it brings model, optimizer and data to where the run stopped;
    see `resume` for what it raises.
    """

    def __init__(self, args, model, optimizer, data, chief=True):
        self.folder = Path(args.model_dir)
        self.progress = Progress(data)
        everything = tf.train.Checkpoint(model=model, optimizer=optimizer, progress=self.progress)
        self.newest = Checkpoints(everything, self.folder, 3)
        self.best = Checkpoints(tf.train.Checkpoint(model=model), self.folder / "best", 1)
        if args.resume:
            self.resume()
        self.log = tf.summary.create_file_writer(str(self.folder / "log")) if chief else tf.summary.create_noop_writer()

    def resume(self):
        """Go on from the newest checkpoint that is whole. Raises RunError if there is none."""
        for step in self.newest.steps():
            path = self.folder / f"{CHECKPOINT}-{step}"
            try:
                read_shapes(path)
                self.newest.content.read(str(path)).assert_consumed()
                return
            except DAMAGED as error:
                reason = str(error).partition("\n")[0] or type(error).__name__
                warnings.warn(f"the checkpoint {path} is damaged ({reason}); trying the one before", stacklevel=2)
        raise RunError(f"--model_dir {self.folder} holds no checkpoint that can be read; start anew with --overwrite")

    @contextlib.contextmanager
    def writing(self):
        """Within it, what cannot be written raises RunError."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise RunError(f"--model_dir {self.folder} cannot be written ({reason}); checkpoints there are whole: make "
                           "room, then go on with --resume") from None

    def step(self, loss, norm, rate):
        """Note a step: its loss (nats per point), gradient norm and rate."""
        self.progress.step += 1
        self.progress.losses.append(loss)
        with self.writing(), self.log.as_default(self.progress.step):
            tf.summary.scalar("train loss", loss)
            tf.summary.scalar("gradient norm", norm)
            tf.summary.scalar("rate", rate)

    def epoch(self, valid_loss, rate):
        """Note an epoch's end and return a line that tells of it; keep the weights if they are the best so far."""
        progress = self.progress
        with self.writing(), self.log.as_default(progress.step):
            tf.summary.scalar("validation loss", valid_loss)
        row = {"epoch": len(progress.history) + 1, "step": progress.step, "train_loss": float(np.mean(progress.losses)),
               "valid_loss": valid_loss, "rate": rate, "seconds": round(progress.total_seconds(), 1)}
        progress.history.append(row)
        progress.losses = []
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, row)
        table.writeheader()
        table.writerows(progress.history)
        with self.writing():
            with whole_file(self.folder / "loss.csv") as file:
                file.write(text.getvalue().encode())
            if valid_loss < progress.best_loss:
                progress.best_loss = valid_loss
                self.best.save(progress.step)
        return ("epoch {epoch}: training loss {train_loss:.4f}, validation loss {valid_loss:.4f} nats per point, "
                "{seconds:.0f} s".format(**row))

    def save(self):
        """Write a checkpoint of everything, and what the log still holds back."""
        with self.writing():
            self.log.flush()
            self.newest.save(self.progress.step)

    def plot(self):
        """Draw the losses of all epochs into loss.png."""
        with self.writing(), whole_file(self.folder / "loss.png") as file:
            plot_losses(self.progress.history, file)


@contextlib.contextmanager
def stop_signals():
    """Within it, the first SIGINT or SIGTERM is put into the list that it gives; the second ends the program."""
    received = []

    def handle(signum, _):
        received.append(signum)
        for other in before:
            signal.signal(other, signal.SIG_DFL)

    before = {}
    with contextlib.suppress(ValueError):  # signals belong to the main thread
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, handle)
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def train(args):
    """Train as the flags say. Raises DataError or RunError with a sentence for the user, or RunStopped."""
    workers = Workers(args)
    if workers.chief:
        check_folder(args)
    data = load_data(args)
    set_threads(args.batch_size // len(workers.addresses))
    strategy = workers.start(args)
    with own_folder(args.model_dir) if workers.chief else contextlib.nullcontext():
        if workers.chief:
            check_folder(args)  # another run may have ended there meanwhile
        run(args, data, workers, strategy)


def run(args, data, workers, strategy):
    """Train on the data; model_dir is the chief's own."""
    with strategy.scope():  # before an old run is deleted, which may be one of them
        start, teachers = load_others(args, args.batch_size // strategy.num_replicas_in_sync)
    if workers.chief and not args.resume:
        prepare_folder(args, data.deviations)
    with workers.awaited(), strategy.scope():
        model = Model(args)
        if start:
            put_side_by_side(model, start)
        optimizer = make_optimizer(args, model)
        train_step = make_train_step(model, optimizer, args.grad_clip, teachers)
    validate = make_validate(model, data.valid_data)
    record = Record(args, model, optimizer, data, workers.chief)
    workers.agree(strategy, record.progress.step, record.progress.size_of_data())
    if workers.chief and args.resume:  # not before: a run that cannot go on is left as it was
        prepare_folder(args, data.deviations)
    progress, total = record.progress, args.num_epochs * data.num_batches
    weights = sum(int(tf.size(v)) for v in model.trainable_variables)
    print(f"{len(data.data)} training lines, {len(data.valid_data)} validation lines; {weights:,} weights; "
          f"{args.num_epochs} epochs of {data.num_batches} steps; products in {model.product_type.name} on "
          f"{'a GPU' if model.on_gpu else 'the CPU'}"
          + (f"; {strategy.num_replicas_in_sync} replicas" if strategy.num_replicas_in_sync > 1 else "")
          + (f"; going on from step {progress.step}" if args.resume else ""), flush=True)

    layout = "{desc} step {n_fmt}/{total_fmt} |{bar}|{postfix}, {rate_inv_fmt}, {remaining} left"
    bar = tqdm(total=total, initial=progress.step, disable=None if workers.chief else True,
               unit="step", dynamic_ncols=True, bar_format=layout)
    with stop_signals() as stopped, bar:
        while progress.step < total:
            epoch = progress.step // data.num_batches
            rate = rate_at(args, progress.step, data.num_batches)
            optimizer.learning_rate = rate
            bar.set_description_str(f"epoch {epoch + 1}/{args.num_epochs}", refresh=False)
            batch = share_batch(strategy, data.next_batch())
            with workers.awaited():
                loss, norm, stop = (float(value) for value in train_step(*batch, tf.constant(float(len(stopped)))))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                saved = (f"the last checkpoint in {record.folder} is good" if record.newest.steps() else
                         "there is no checkpoint yet")
                raise RunError(
                    f"the loss is {loss} at step {progress.step + 1}, where the gradient's norm is {norm}; this step "
                    f"changed nothing, and {saved}; try a smaller --learning_rate or --grad_clip, and look for odd "
                    "lines in the data")
            record.step(loss, norm, rate)
            bar.set_postfix_str(f"loss {loss:.3f}, rate {rate:.5f}", refresh=False)
            bar.update()
            if workers.chief and progress.step % data.num_batches == 0:
                bar.write(record.epoch(validate(), rate))
            stop = stop if workers.others else len(stopped)  # all workers stop after the same step
            if workers.chief and (stop or progress.step % args.save_every == 0 or progress.step == total):
                record.save()
            if stop:
                raise RunStopped(stopped[0] if stopped else signal.SIGTERM, progress.step)
    workers.agree(strategy, "the chief has saved")
    if not workers.chief:
        return
    record.plot()
    print(f"Best validation loss {progress.best_loss:.4f} nats per point. Draw with: python sample.py --model_dir "
          f"{record.folder}")


def evaluate_samples(model, lines, num, biases, seed):
    """What compare_lines says: {"real": of real lines, as a floor, "bias 0": of `num` samples, ...} for each bias.

    lines: [n, 3] in pen units; those of LONG points or more count, of which the odd ones are the floor's drawn lines
    and the even ones those that all is compared with. Raises RunError if there are too few.
    """
    lines = [line for line in lines if len(line) >= LONG]
    if len(lines) < 2:
        raise RunError(f"--eval_samples needs two lines of {LONG} points or more to compare with; name another --split")
    lines, others = lines[::2], lines[1::2]
    results = {"real": compare_lines(others, lines)}
    for bias in biases:
        sess = tf.random.Generator.from_seed(seed)
        strokes, _ = model.sample_batch(sess, SAMPLE_LENGTH, num, bias)
        results[f"bias {bias:g}"] = compare_lines(strokes, lines)
    return results


def show_figures(figures):
    """Print what `evaluate` found, and beside it the same without capped moves."""
    def cell(value):
        return "-" if value is None else f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"

    print(f"{figures['split']} of {figures['data_dir']}: {figures['lines']:,} lines, {figures['points']:,} points, "
          f"{figures['capped']:,} of them capped; weights: {figures['checkpoint']}")
    print(f"{'':52}{'all points':>12}{'not capped':>12}")
    for name, text in (("nats_per_point", "nats per point, scaled units"),
                       ("nats_per_line", "nats per line, Graves' units"),
                       ("nats_per_line_300", f"the same, {figures['lines_300']:,} lines of {LONG} points or more")):
        print(f"{text:52}{cell(figures[name]):>12}{cell(figures[name + '_uncapped']):>12}")
    for text, value in (("squared error per point, Graves' units", cell(figures["squared_error"])),
                        ("seconds", f"{figures['seconds']:.1f}")):
        print(f"{text:52}{value:>12}")
    if samples := figures.get("samples"):
        columns = samples["compared"]
        print(f"\n{samples['num']} samples of {SAMPLE_LENGTH} points beside real lines of {LONG} or more: the share of "
              "lines outside of the range\nof 99 in 100 real ones, by what leaves it, and two-sample distances\n"
              f"{'':52}" + "".join(f"{name:>12}" for name in columns))
        for name in columns["real"]:
            print(f"{name:52}" + "".join(f"{column[name]:>12.3f}" for column in columns.values()))


def evaluate_run(args):
    """Measure the run in --model_dir as the flags say. Raises DataError or RunError with a sentence for the user."""
    folder = find_run(args.model_dir)
    config = read_config(folder)
    if args.json:
        check_output(args.json, "--json")
    set_threads(SCORE_BATCH)
    model = restore(folder)
    data = DataLoader(1, 1, config.data_scale, data_dir=args.data_dir)
    split = args.split or ("testset_v" if (Path(data.folder) / "testset_v.txt").exists() else "valid")
    lines = data.lines_of(split)
    if not lines:
        raise RunError(f"--split {split} of --data_dir {args.data_dir} holds no line of two points or more")
    started = time.perf_counter()
    deviations = np.array([config.sigma_x, config.sigma_y]) / config.data_scale
    figures = evaluate(model, lines, deviations, np.float32(data.limit) / np.float32(config.data_scale))
    figures |= {"seconds": time.perf_counter() - started, "split": split, "data_dir": str(data.folder),
                "checkpoint": model.checkpoint, "sigma_x": config.sigma_x, "sigma_y": config.sigma_y}
    if args.eval_samples:
        scale = np.array([config.data_scale, config.data_scale, 1.0])
        biases = sorted({0.0, args.bias or 0.0})
        compared = evaluate_samples(model, [line * scale for line in lines], args.eval_samples, biases, args.seed)
        figures["samples"] = {"num": args.eval_samples, "length": SAMPLE_LENGTH, "compared": compared}
    show_figures(figures)
    if args.json:
        try:
            with whole_file(args.json) as file:
                file.write((json.dumps(figures, indent=2) + "\n").encode())
        except OSError as error:
            raise RunError(f"--json {args.json} cannot be written ({error.strerror}); name another file") from None


def parse(parser, argv):
    """All flags, and as a dict those that are on the command line."""
    args = parser.parse_args(argv)
    unset = object()  # argparse gives a default to what the namespace lacks only
    given = vars(parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(vars(args), unset))))
    return args, {name: value for name, value in given.items() if value is not unset}


def check_flags(parser, args, given):
    """End with a sentence where flags of `given` (those on the command line) do not go together."""
    for name, needed in (("split", "eval_only"), ("json", "eval_only"), ("eval_samples", "eval_only"),
                         ("bias", "eval_samples")):
        if name in given and not getattr(args, needed):
            parser.error(f"argument --{name}: goes with --{needed}, which is missing")
    for name in given:
        if args.eval_only and name not in WITH_EVAL_ONLY:
            parser.error(f"argument --{name}: does not go with --eval_only")
    if "taught_share" in given and not (args.teachers or args.resume):
        parser.error("argument --taught_share: goes with --teachers, which is missing")
    if args.overwrite and args.resume:
        parser.error("argument --overwrite: does not go with --resume")
    of_cells = [name for name in ("peephole", "layer_norm", "recurrent_keep_prob")
                if getattr(args, name) != LATER[name]]
    if of_cells and args.model != "lstm":
        parser.error(f"argument --{of_cells[0]}: does not go with --model {args.model}, which has no memory cell")


def main(argv=None):
    parser = build_parser()
    args, given = parse(parser, argv)
    check_flags(parser, args, given)
    tf.get_logger().setLevel("ERROR")  # its warnings of a damaged checkpoint say again what we say in a sentence
    try:
        if args.eval_only:
            evaluate_run(args)
        else:
            args = resumed_flags(args, given) if args.resume else args
            check_memory(args)
            train(args)
    except (DataError, RunError) as error:
        print(f"train.py: error: {one_line(error)}", file=sys.stderr)
        return 2
    except (MemoryError, tf.errors.ResourceExhaustedError):
        print("train.py: error: the memory is not enough; make --batch_size, --seq_length, --rnn_size or --num_layers "
              "smaller", file=sys.stderr)
        return 2
    except RunStopped as stop:
        print(f"train.py: {stop}; go on with: python train.py --resume --model_dir {args.model_dir}", file=sys.stderr)
        return 128 + stop.signum
    except KeyboardInterrupt:
        saved = "" if args.eval_only else f"; what was saved until now is in {args.model_dir}"
        print(f"train.py: stopped{saved}", file=sys.stderr, flush=True)
        if args.strategy == "multi_worker":  # as Python ends, TensorFlow may wait for the others, without end
            sys.stdout.flush()
            os._exit(130)
        return 130
    return 0


if __name__ == "__main__":
    warnings.showwarning = lambda message, *_: print(f"train.py: warning: {one_line(message)}", file=sys.stderr)
    sys.exit(main())
