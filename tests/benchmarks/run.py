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
the peer's, of medians. This process imports nothing large: on Linux the peak memory of a process
(ru_maxrss) is never reported as less than that of the process that started it.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import (
    elementtree_lines,
    keras_step,
    pytorch_sampler,
    pytorch_step,
    pytorch_text_step,
)  # fmt: skip

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
LARGE = 256 << 20  # bytes: an array of which no cache holds much
CORPUS = {"num_lines": 1500, "points": 600}  # an eighth of the database
# After a call, OpenMP's threads spin, Intel's and LLVM's for 200 ms. A pause before each
# measurement lets PyTorch's fall asleep; OMP_WAIT_POLICY=PASSIVE might slow PyTorch itself.
PAUSE = 0.3  # seconds


# ------------------------------------------------------------------------------------- measuring


def timed(call):
    """The seconds that call() takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Peer:
    """A process that measures one thing whenever it is asked to.

    function: one of this module that returns what to call, and by how much to multiply its seconds.
    """

    def __init__(self, function, *args):
        folder = str(Path(__file__).resolve().parent)
        code = f"import sys; sys.path.insert(0, {folder!r}); import run; "
        code += f"run.serve(run.{function}, *{args!r})"
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors,
        )  # fmt: skip

    def __call__(self):
        """The seconds of one more call; peak_mib is the process's most memory so far."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            seconds, self.peak_mib = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.errors.seek(0)
            sys.exit(f"run.py: {self.process.args[-1]} failed:\n{self.errors.read()}")
        return seconds


def serve(function, *args):
    """What a Peer's process does: one measurement for each line that it reads."""
    call, scale = function(*args)
    for _ in sys.stdin:
        seconds = timed(call) * scale
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB; on macOS bytes
        peak /= 1024 if sys.platform == "darwin" else 1
        print(json.dumps([seconds, peak]), flush=True)


def take_turns(peers, repeats):
    """Statistics of the seconds of each of `peers`, {name: Peer}, and its memory. Ends them."""
    times, results = {name: [] for name in peers}, {}
    for _ in range(2 + repeats):
        for name, peer in peers.items():
            time.sleep(PAUSE)
            times[name].append(peer())
    for name, (first, _, *rest) in times.items():
        peers[name].process.communicate()
        results[name] = {
            "median": statistics.median(rest), "min": min(rest), "max": max(rest), "first": first,
            "peak_mib": peers[name].peak_mib,
        }  # fmt: skip
    return results


def compare(title, peers, repeats):
    """take_turns, as a table, too; `ratios` beside it has those of the first peer to the others."""
    results = take_turns(peers, repeats)
    ours, *others = results
    ratios = {name: results[ours]["median"] / results[name]["median"] for name in others}
    heads = "".join(f"{head:>10}" for head in (*results[ours], "ours/it"))
    print(f"\n{title}; {cpu()}\n{'':18}{heads}")
    for name, stats in results.items():
        *seconds, peak = stats.values()
        cells = [f"{value:.4f}" for value in seconds] + [f"{peak:.0f}"]
        cells += [f"{ratios[name]:.2f}"] if name in ratios else []
        print(f"{name:18}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
    return results | {"ratios": ratios}


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

    found = []
    for size in PRODUCTS:
        a = tf.cast(tf.random.normal([size, size]), precision)
        b = torch.randn(size, size).to(getattr(torch, precision))
        for call in (lambda a=a: tf.matmul(a, a), lambda b=b: torch.matmul(b, b)):
            found.append((2 * size**3 / min(timed(call) for _ in range(4)), 2 * size**3, call))
    rate, operations, call = max(found, key=lambda entry: entry[0])
    times = math.ceil(LIMIT_SECONDS * rate / operations)
    step = step_operations(argparse.Namespace(**NETWORK))
    return lambda: [call() for _ in range(times)], step / (operations * times)


def bench_train(args):
    results, faster = {}, {}
    for precision in PRECISIONS:
        peers = {name: Peer("trainer", name, NETWORK, precision) for name in TRAINERS}
        peers["limit"] = Peer("product", precision)
        title = "train, {}: a step of {batch_size} x {seq_length} points, {num_layers} x {rnn_size}"
        results[precision] = compare(title.format(precision, **NETWORK), peers, args.repeats)
    print(f"\ntrain, each in its faster type; {cpu()}")
    for name in TRAINERS:
        seconds, kind = min((results[kind][name]["median"], kind) for kind in PRECISIONS)
        faster[name] = {"precision": kind, "median": seconds}
        faster[name]["ratio"] = faster["ours"]["median"] / seconds
        print("{:18}{median:>10.4f}{precision:>10}{ratio:>10.2f}".format(name, **faster[name]))
    return results | {"faster": faster}


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
    from handwriting.network.cells import polar_inputs

    one_hot = np.eye(symbols, dtype=np.float32)[chars]
    mask = np.ones(x.shape[:2], np.float32)
    return pytorch_text_step(network, precision, polar_inputs(x).numpy(), y, one_hot, mask), 1.0


def writer(number):
    """What a Peer calls: so many lines written at once, each in a hand of its own."""
    from handwriting.text.writing import BIAS, write_lines
    from model import restore

    import tensorflow as tf

    model, sess = restore(TEXT_WEIGHTS), tf.random.Generator.from_seed(0)
    return lambda: write_lines(model, sess, [SENTENCE] * number, BIAS, one_hand=False), 1.0


def bench_text(args):
    results = {}
    for precision in PRECISIONS:
        peers = {name: Peer("text_trainer", name, precision) for name in ("ours", "pytorch")}
        title = "text, {}: a step of {batch_size} x {seq_length} points, {num_layers} x {rnn_size}"
        results[precision] = compare(title.format(precision, **TEXT), peers, args.repeats)
    print(f"\ntext, each in its faster type; {cpu()}")
    for name in ("ours", "pytorch"):
        seconds = {kind: results[kind][name]["median"] for kind in PRECISIONS}
        kind = min(seconds, key=seconds.get)
        print(f"{name:18}{seconds[kind]:>10.4f}{kind:>10}")
    title = f"text, 64 lines of {len(SENTENCE)} characters at once"
    results["write"] = compare(title, {"ours": Peer("writer", 64)}, args.repeats)
    command = str(ROOT / "sample.py"), "--model_dir", TEXT_WEIGHTS, "--text", SENTENCE[:40]
    peers = {"sample.py --text": Peer("program", *command)}
    peers["import_tensorflow"] = Peer("program", "-c", "import tensorflow")
    results["startup"] = compare("text, whole processes", peers, args.repeats)
    return results


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
    results = {}
    for size in SAMPLES:
        peers = {name: Peer("sampler", name, size) for name in ("ours", "pytorch")}
        peers |= {"limit": Peer("reading", "memory"), "limit_in_cache": Peer("reading", "cache")}
        results[size] = compare(f"sample, {size} x {POINTS} points at once", peers, args.repeats)
    return results


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
        return compare(f"parse, {args.tar or 'a made-up corpus'}", peers, args.repeats)


def program(*command):
    """What a Peer calls: a whole Python process."""
    folder = tempfile.mkdtemp()
    command = [sys.executable, *command]
    return lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True), 1.0


def bench_startup(args):
    peers = {"sample.py": Peer("program", str(ROOT / "sample.py"), "--model_dir", PRETRAINED)}
    peers["import_tensorflow"] = Peer("program", "-c", "import tensorflow")
    return compare("startup, whole processes", peers, args.repeats)


# ------------------------------------------------------------------------------------------ main


def cpu():
    """The CPU's name."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor()


def machine():
    """The CPU, its cores and the versions of what is measured."""
    packages = ("tensorflow", "keras", "numpy", "torch")
    versions = {p: importlib.metadata.version(p) for p in packages if importlib.util.find_spec(p)}
    return {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


PARTS = {
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
    results = {"machine": machine()}
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    for part in parts:
        results[part] = PARTS[part](args)
        if args.json:
            args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
