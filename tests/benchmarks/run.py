"""Measure this program beside its peers on a CPU: `python tests/benchmarks/run.py`. Nothing here
passes or fails.

- train: a step of the default network; beside Keras' layers, PyTorch, and the time that the step's
  matrix products take at the rate of the fastest product that this machine was seen to do.
- sample: 800 points of the default network; beside a PyTorch loop, and the time to read all
  weights once per point, from memory and from wherever 3 MB lie.
- parse: the database's archive to arrays; beside the standard library's parser, as in 2015.
- text: a step of a network that writes text, beside PyTorch; 64 lines of 50 characters written at
  once; the whole of `python sample.py --text` with 40 characters, beside the import of TensorFlow.
- startup: the whole of `python sample.py`; beside `python -c "import tensorflow"`.

Peers take turns, A B C A B C, so that a machine that slows down slows all of them. Each lives in a
process of its own, so that they share neither threads nor memory. The first two turns do not
count; `first` is the first, with all that happens only once. Times are seconds; ratios are ours /
the peer's, of medians. A peer that fails, as with a type that the CPU cannot do, or takes too long
has a word in the table, null in --json, and no ratio; where we fail, the exit status is 1, too, at
the end. This process imports nothing large: on Linux the peak memory of a process (ru_maxrss) is
never reported as less than that of the process that started it.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import (
    elementtree_lines,
    keras_step,
    polar_inputs,
    pytorch_sampler,
    pytorch_step,
    pytorch_text_step,
)  # fmt: skip
from turns import Peer, all_ended, compare, cpu, timed

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

PRETRAINED, TEXT_WEIGHTS = (str(ROOT / "save" / name) for name in ("pretrained", "text"))
PRECISIONS = ("float32", "bfloat16")
NETWORK = {  # the defaults of train.py
    "model": "lstm", "rnn_size": 256, "num_layers": 2, "num_mixture": 20, "peephole": False,
    "layer_norm": False, "skip": False, "polar": False, "keep_prob": 0.8, "data_scale": 20.0,
    "batch_size": 50, "seq_length": 300, "learning_rate": 0.005, "grad_clip": 10.0, "seed": 0,
    "precision": "float32", "alphabet": "",
}  # fmt: skip
TEXT = NETWORK | {  # about the network in save/text
    "skip": True, "polar": True, "keep_prob": 0.95, "batch_size": 64, "seq_length": 640,
    "alphabet": "".join(map(chr, range(32, 115))),
}  # fmt: skip
CHARACTERS = 48  # in the texts of that batch, with their padding
SENTENCE = "A line of fifty characters, all of them to be read"
PRODUCTS = (512, 1024, 2048, 4096)  # sizes of square matrices, to find the fastest product
POINTS, SAMPLES = 800, (1, 64)  # points in a sample; samples drawn at once
LIMIT_SECONDS = 0.2  # about what a measurement of that product takes
PRODUCT_SECONDS = 2.0  # no size is tried of which a product would take longer
LARGE = 256 << 20  # bytes: an array of which no cache holds much
CORPUS = {"num_lines": 1500, "points": 600}  # an eighth of the database


# -------------------------------------------------------------------------------------- training


def make_batch(network):
    """A made-up minibatch: x and y, float32 [B, T, 3], y one point ahead."""
    import numpy as np

    rng = np.random.default_rng(0)
    points = rng.normal(size=[network.batch_size, network.seq_length + 1, 3]).astype(np.float32)
    points[..., 2] = rng.random(points.shape[:2]) < 0.04
    return points[:, :-1], points[:, 1:]


def our_step(network, precision, *batch):
    """A function that takes a training step of this program and returns the loss."""
    from handwriting.network.backend import set_threads
    from model import Model
    from train import make_train_step

    import keras
    import tensorflow as tf

    set_threads(network.batch_size)
    network.precision = precision
    optimizer = keras.optimizers.Adam(network.learning_rate, epsilon=1e-8)
    train_step = make_train_step(Model(network), optimizer, network.grad_clip, network.seed)
    step, stop = tf.constant(0), tf.constant(0.0)
    return lambda: float(train_step(batch, step, stop)[0])


TRAINERS = {"ours": our_step, "keras": keras_step, "pytorch": pytorch_step}


def num_weights(network):
    """Weights in products: (D + H) x 4 H in a layer of D inputs, H x (1 + 6 M) at the end."""
    units, above = network.rnn_size, network.num_layers - 1
    return (3 + units + above * 2 * units) * 4 * units + units * (1 + 6 * network.num_mixture)


def step_operations(network):
    """Floating point operations in a step's matrix products: two for each weight and point, three
    times over: forward, and backward for the inputs and for the weights.
    """
    return 3 * 2 * num_weights(network) * network.batch_size * network.seq_length


def trainer(name, network, precision):
    """What a Peer calls: a step of one trainer, its seconds as they are."""
    network = argparse.Namespace(**network)
    return TRAINERS[name](network, precision, *make_batch(network)), 1.0


def product(precision):
    """What a Peer calls: the fastest product of square matrices, its seconds times how often it
    makes a step's operations.
    """
    import tensorflow as tf
    import torch

    makers = (
        lambda size: (tf.matmul, tf.cast(tf.random.normal([size, size]), precision)),
        lambda size: (torch.matmul, torch.randn(size, size).to(getattr(torch, precision))),
    )  # fmt: skip
    rate, operations, call = max((fastest(maker) for maker in makers), key=lambda found: found[0])
    times = math.ceil(LIMIT_SECONDS * rate / operations)
    step = step_operations(argparse.Namespace(**NETWORK))
    return lambda: [call() for _ in range(times)], step / (operations * times)


def fastest(maker):
    """Operations per second, operations, and call of the fastest product of maker(size), a function
    and a matrix. A CPU that cannot do the type may take minutes for a large one.
    """
    found = []
    for size in PRODUCTS:
        function, matrix = maker(size)
        call = functools.partial(function, matrix, matrix)
        seconds = min(timed(call) for _ in range(4))
        found.append((2 * size**3 / seconds, 2 * size**3, call))
        if 8 * seconds > PRODUCT_SECONDS:  # twice the size has eight times the operations
            break
    return max(found, key=lambda each: each[0])


def bench_train(args):
    for precision in PRECISIONS:
        peers = {name: Peer("trainer", name, NETWORK, precision) for name in TRAINERS}
        peers["limit"] = Peer("product", precision)
        title = "train, {}: a step of {batch_size} x {seq_length} points, {num_layers} x {rnn_size}"
        yield precision, title.format(precision, **NETWORK), peers


def in_faster_type(part, results):
    """{name: {precision, median, ratio}} of each peer that was measured in some precision, in its
    faster one, as a table, too; ratios are ours / its. results: those of a part, by precision.
    """
    print(f"\n{part}, each in its faster type; {cpu()}")
    faster = {}
    for name in TRAINERS:
        of = {kind: results[kind][name] for kind in PRECISIONS if results[kind].get(name)}
        if of:
            kind = min(of, key=lambda kind: of[kind]["median"])
            faster[name] = {"precision": kind, "median": of[kind]["median"]}
            if "ours" in faster:
                faster[name]["ratio"] = faster["ours"]["median"] / faster[name]["median"]
            ratio = f"{faster[name]['ratio']:10.2f}" if "ours" in faster else ""
            print(f"{name:18}{faster[name]['median']:10.4f}{kind:>10}{ratio}", flush=True)
    return faster


# ------------------------------------------------------------------------------------------ text


def text_trainer(name, precision):
    """What a Peer calls: a step of the network with text, by us or by PyTorch, on whole batches
    without padding, so that both compute the same.
    """
    import numpy as np

    network = argparse.Namespace(**TEXT)
    x, y = make_batch(network)
    rows, symbols = network.batch_size, len(network.alphabet) + 1
    chars = np.random.default_rng(1).integers(0, symbols, [rows, CHARACTERS]).astype(np.int32)
    if name == "ours":
        lengths = np.full(rows, network.seq_length, np.int32)
        return our_step(network, precision, x, y, lengths, chars), 1.0
    one_hot = np.eye(symbols, dtype=np.float32)[chars]
    mask = np.ones(x.shape[:2], np.float32)
    return pytorch_text_step(network, precision, polar_inputs(x), y, one_hot, mask), 1.0


def writer(number):
    """What a Peer calls: so many lines written at once, each in a hand of its own."""
    from handwriting.text.writing import BIAS, write_lines
    from model import restore

    import tensorflow as tf

    model, sess = restore(TEXT_WEIGHTS), tf.random.Generator.from_seed(0)
    return lambda: write_lines(model, sess, [SENTENCE] * number, BIAS, one_hand=False), 1.0


def bench_text(args):
    for precision in PRECISIONS:
        peers = {name: Peer("text_trainer", name, precision) for name in ("ours", "pytorch")}
        title = "text, {}: a step of {batch_size} x {seq_length} points, {num_layers} x {rnn_size}"
        yield precision, title.format(precision, **TEXT), peers
    title = f"text, 64 lines of {len(SENTENCE)} characters at once"
    yield "write", title, {"ours": Peer("writer", 64)}
    command = str(ROOT / "sample.py"), "--model_dir", TEXT_WEIGHTS, "--text", SENTENCE[:40]
    peers = {"sample.py --text": Peer("program", *command)}
    peers["import_tensorflow"] = Peer("program", "-c", "import tensorflow")
    yield "startup", "text, whole processes", peers


# -------------------------------------------------------------------------------------- sampling


def sampler(name, batch_size):
    """What a Peer calls: the drawing of POINTS points by us or by PyTorch."""
    network = argparse.Namespace(**NETWORK)
    if name == "pytorch":
        return pytorch_sampler(network, POINTS, batch_size), 1.0
    from model import Model

    import tensorflow as tf

    model, sess = Model(network, infer=True), tf.random.Generator.from_seed(0)
    return lambda: model.sample_batch(sess, POINTS, batch_size), 1.0


def reading(where):
    """What a Peer calls: all weights read once per point, from memory, or from wherever an array
    of their size lies, since most caches hold the default network's 3 MB.
    """
    import torch

    number = num_weights(argparse.Namespace(**NETWORK))
    if where == "memory":
        large = torch.ones(LARGE // 4)
        return large.sum, POINTS * number / len(large)
    small = torch.ones(number)
    return lambda: [small.sum() for _ in range(POINTS)], 1.0


def bench_sample(args):
    for size in SAMPLES:
        peers = {name: Peer("sampler", name, size) for name in ("ours", "pytorch")}
        peers |= {"limit": Peer("reading", "memory"), "limit_in_cache": Peer("reading", "cache")}
        yield size, f"sample, {size} x {POINTS} points at once", peers


# --------------------------------------------------------------------------- parsing and start-up


def parser(name, tar):
    """What a Peer calls: the reading of an archive, less our writing of the cache."""
    import utils

    if name == "elementtree":
        return lambda: elementtree_lines(tar), 1.0
    return lambda: utils.parse_source(tar), 1.0


def bench_parse(args):
    with tempfile.TemporaryDirectory() as folder:
        tar = args.tar and os.path.abspath(args.tar)
        if not tar:
            import conftest

            conftest.make_corpus(Path(folder, "data"), **CORPUS)
            tar = f"{folder}/data/lineStrokes-all.tar.gz"
        peers = {name: Peer("parser", name, tar) for name in ("ours", "elementtree")}
        yield "archive", f"parse, {args.tar or 'a made-up corpus'}", peers


def program(*command):
    """What a Peer calls: a whole Python process."""
    folder = tempfile.mkdtemp()
    command = [sys.executable, *command]
    nowhere = subprocess.DEVNULL
    return lambda: subprocess.run(command, cwd=folder, check=True, stdout=nowhere), 1.0


def bench_startup(args):
    peers = {"sample.py": Peer("program", str(ROOT / "sample.py"), "--model_dir", PRETRAINED)}
    peers["import_tensorflow"] = Peer("program", "-c", "import tensorflow")
    yield "processes", "startup, whole processes", peers


# ------------------------------------------------------------------------------------------ main


def machine():
    """The CPU, its cores and the versions of what is measured."""
    packages = ("tensorflow", "keras", "numpy", "torch")
    versions = {p: importlib.metadata.version(p) for p in packages if importlib.util.find_spec(p)}
    return {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


PARTS = {  # functions that yield a key, a title, and peers to compare, ours first
    "train": bench_train, "text": bench_text, "sample": bench_sample, "parse": bench_parse,
    "startup": bench_startup,
}  # fmt: skip


def main():
    flags = argparse.ArgumentParser(description="Measure this program beside its peers, on a CPU.")
    flags.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure (all)")
    flags.add_argument("--json", metavar="FILE", type=Path, help="write the results there, too")
    flags.add_argument("--repeats", type=int, default=10, help="measurements of each peer (10)")
    flags.add_argument("--tar", metavar="FILE", help="for parse: the database's archive")
    args = flags.parse_args()
    parts = args.parts or PARTS
    if args.repeats < 1 or (args.json and not args.json.parent.is_dir()):
        flags.error("--repeats is at least 1, and --json a file in a folder that exists")
    if not importlib.util.find_spec("torch") and {"train", "text", "sample"} & set(parts):
        flags.error("train, text and sample need: pip install -r tests/benchmarks/requirements.txt")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    results, broken = {"machine": machine()}, []
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    with all_ended():
        try:
            for part in parts:
                measure(part, args, results, broken)
        finally:
            if args.json:
                args.json.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit("\n".join(broken) or 0)


def measure(part, args, results, broken):
    """Adds the results of a part to `results`, and what we failed at to `broken`."""
    results[part] = {}
    for key, title, peers in PARTS[part](args):
        results[part][key] = compare(title, peers, args.repeats)
        ours, *_ = peers.values()
        if ours.failure:
            broken.append(f"run.py: {title}: {ours.failure}\n{ours.error_text}")
    if set(PRECISIONS) <= set(results[part]):
        results[part]["faster"] = in_faster_type(part, results[part])


if __name__ == "__main__":
    main()
