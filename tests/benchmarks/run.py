"""Measures this program beside its peers on a CPU: `python tests/benchmarks/run.py`. Nothing here passes or fails.

- train: a step of the default network; beside Keras' layers, PyTorch, and the time that the step's products of matrices
  take at the rate of the fastest product that this machine was seen to do.
- sample: 800 points of the default network; beside a PyTorch loop, and the time to read all weights once per point.
- parse: the database's archive to arrays; beside the standard library's parser, used as in the 2015 program.
- startup: the whole of `python sample.py`; beside `python -c "import tensorflow"`.
- sweep: how a step's time and peak memory grow with batch, sequence, layers and units.

Peers take turns, A B C A B C, so that a machine that slows down slows all of them; those of `train` and `sample` live
in a process each, so that they share neither threads nor memory. The first two turns do not count; `first` is the
first, with all that happens only once. Times are seconds; ratios are ours / the peer's, of medians. This process
imports nothing large and measures in others, since on Linux the peak memory that a process reports (ru_maxrss) is
never less than that of the process that started it.
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

from peers import elementtree_lines, keras_step, pytorch_sampler, pytorch_step

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# As train.py's defaults.
NETWORK = {"model": "lstm", "rnn_size": 256, "num_layers": 2, "num_mixture": 20, "keep_prob": 0.8, "data_scale": 20.0,
           "batch_size": 50, "seq_length": 300, "learning_rate": 0.005, "grad_clip": 10.0, "seed": 0}
SWEEP_BASE = {"batch_size": 25, "seq_length": 150, "num_layers": 1, "rnn_size": 128}  # each is doubled thrice
PRODUCTS = (512, 1024, 2048, 4096)  # sizes of the square matrices among whose products the fastest is sought
POINTS, SAMPLES = 800, (1, 64)  # points in a sample; samples drawn at once
LIMIT_SECONDS = 0.2  # about what a measurement of that product takes
LARGE = 256 << 20  # bytes: an array of which no cache holds much
CORPUS = {"num_lines": 1500, "points": 600}  # an eighth of the database
# After a call, the threads of OpenMP spin: libgomp's for milliseconds, Intel's and LLVM's for 200. A pause before each
# measurement lets PyTorch's fall asleep; OMP_WAIT_POLICY=PASSIVE would do it too, but might slow PyTorch itself.
PAUSE = 0.3  # seconds


# ------------------------------------------------------------------------------------------------------ measuring


def timed(call):
    """The seconds that call() takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def summary(times):
    """Statistics of the seconds of all turns but the first two, and the first turn."""
    first, _, *times = times
    return {"median": statistics.median(times), "min": min(times), "max": max(times), "first": first}


def take_turns(calls, repeats, measure=timed):
    """The summary of each of `calls`, {name: function}, of which measure gives the seconds."""
    times = {name: [] for name in calls}
    for _ in range(2 + repeats):
        for name, call in calls.items():
            time.sleep(PAUSE)
            times[name].append(measure(call))
    return {name: summary(values) for name, values in times.items()}


def peak_mib(who=resource.RUSAGE_SELF):
    """The most memory that this process, or (RUSAGE_CHILDREN) the largest of those that it started, ever had."""
    return resource.getrusage(who).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def alone(function, *args):
    """What a function of this module returns in a process of its own. Arguments and result travel as JSON."""
    code = ("import json, sys; sys.path.insert(0, sys.argv[1]); import run; "
            "print(json.dumps(getattr(run, sys.argv[2])(*json.loads(sys.argv[3]))))")
    command = [sys.executable, "-c", code, Path(__file__).resolve().parent, function, json.dumps(args)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"run.py: {function}{args} ended with status {process.returncode}:\n{process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


class Peer:
    """A process that measures one thing whenever it is asked to.

    function: one of this module that returns what to call and by how much to multiply its seconds.
    """

    def __init__(self, function, *args):
        code = "import json, sys; sys.path.insert(0, sys.argv[1]); import run; run.serve(*json.loads(sys.argv[2]))"
        command = [sys.executable, "-c", code, Path(__file__).resolve().parent, json.dumps([function, *args])]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors)

    def __call__(self):
        """The seconds and the peak memory in MiB, after one more call."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            self.seconds, self.peak_mib = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.errors.seek(0)
            sys.exit(f"run.py: {self.process.args[-1]} failed:\n{self.errors.read()}")
        return self.seconds

    def close(self):
        self.process.communicate()


def serve(function, *args):
    """What a Peer's process does: one measurement for each line that it reads."""
    call, scale = globals()[function](*args)
    for _ in sys.stdin:
        seconds = timed(call) * scale
        print(json.dumps([seconds, peak_mib()]), flush=True)


def show(title, results, ours="ours"):
    """Print a table of summaries, and put beside them the ratios of `ours` to each peer."""
    ratios = {name: results[ours]["median"] / stats["median"] for name, stats in results.items() if name != ours}
    counts = [name for name in ("peak_mib", "mb_per_s") if name in results[ours]]
    heads = ["median", "min", "max", "first", "ours / it", *counts]
    print(f"\n{title}\n{'':18}" + "".join(f"{head:>10}" for head in heads))
    for name, stats in results.items():
        cells = [f"{stats[head]:.4f}" for head in heads[:4]] + [f"{ratios[name]:.2f}" if name in ratios else ""]
        cells += [f"{stats[head]:.0f}" for head in counts if head in stats]
        print(f"{name:18}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
    results["ratios"] = ratios


# ------------------------------------------------------------------------------------------------------- training


def precisions():
    """The precisions that this CPU has units for."""
    from model import cpu_has_bfloat16

    return ["float32", "bfloat16"] if cpu_has_bfloat16() else ["float32"]


def make_batch(network):
    """A made-up minibatch: x and y, float32 [B, T, 3], y one point ahead."""
    import numpy as np

    rng = np.random.default_rng(0)
    points = rng.normal(size=[network.batch_size, network.seq_length + 1, 3]).astype(np.float32)
    points[..., 2] = rng.random(points.shape[:2]) < 0.04
    return points[:, :-1], points[:, 1:]


def our_step(network, precision, x, y):
    """A function that takes a training step of this program and returns the loss."""
    from model import Model, set_threads
    from train import make_train_step

    import keras

    set_threads(network.batch_size)
    network.precision = precision
    optimizer = keras.optimizers.Adam(network.learning_rate, epsilon=1e-8)
    step = make_train_step(Model(network), optimizer, network.grad_clip)
    return lambda: float(step(x, y)[0])


TRAINERS = {"ours": our_step, "keras": keras_step, "pytorch": pytorch_step}


def step_operations(network):
    """Floating point operations in a step's products of matrices: two for each weight and point, three times over.

    The weights: (D + H) x 4 H in each layer of D inputs, H x (1 + 6 M) at the end. The three products of one size:
    forward, and backward one for the inputs and one for the weights.
    """
    units, layers = network.rnn_size, network.num_layers
    weights = (3 + units) * 4 * units + (layers - 1) * 2 * units * 4 * units + units * (1 + 6 * network.num_mixture)
    return 3 * 2 * weights * network.batch_size * network.seq_length


def fastest_product(precision):
    """The product of square matrices with the most operations a second: a function that repeats it, its operations."""
    import tensorflow as tf
    import torch

    found = []
    for size in PRODUCTS:
        a = tf.cast(tf.random.normal([size, size]), precision)
        b = torch.randn(size, size).to(getattr(torch, precision))
        for product in (lambda a=a: tf.matmul(a, a), lambda b=b: torch.matmul(b, b)):
            seconds = min(timed(product) for _ in range(4))
            found.append((2 * size**3 / seconds, product, 2 * size**3))
    rate, call, operations = max(found, key=lambda entry: entry[0])
    times = math.ceil(LIMIT_SECONDS * rate / operations)
    return lambda: [call() for _ in range(times)], operations * times


def trainer(name, network, precision):
    """What a Peer calls: a step of one trainer, its seconds as they are."""
    network = argparse.Namespace(**network)
    return TRAINERS[name](network, precision, *make_batch(network)), 1.0


def product(precision):
    """What a Peer calls: the fastest product, its seconds times how often it makes a step's operations."""
    call, operations = fastest_product(precision)
    return call, step_operations(argparse.Namespace(**NETWORK)) / operations


def train_alone(network, precision, repeats):
    """The summary of our step, and the peak memory of its process."""
    step, _ = trainer("ours", network, precision)
    return {**summary([timed(step) for _ in range(2 + repeats)]), "peak_mib": peak_mib()}


def bench_train(args):
    results = {}
    for precision in alone("precisions"):
        peers = {name: Peer("trainer", name, NETWORK, precision) for name in TRAINERS}
        peers["limit"] = Peer("product", precision)
        results[precision] = take_turns(peers, args.repeats, measure=lambda peer: peer())
        for name, peer in peers.items():
            if name in TRAINERS:
                results[precision][name]["peak_mib"] = peer.peak_mib
            peer.close()
        title = "train, {}: a step of {batch_size} x {seq_length} points, {num_layers} x {rnn_size} units"
        show(title.format(precision, **NETWORK), results[precision])
    return results


def bench_sweep(args):
    results = {}
    for precision in alone("precisions"):
        print(f"\nsweep, {precision}, from {SWEEP_BASE}; e: grows as size ** e from the row above\n"
              f"{'':18}{'median':>10}{'e':>6}{'peak_mib':>10}{'e':>6}")
        results[precision] = {name: {} for name in SWEEP_BASE}
        for name, start in SWEEP_BASE.items():
            before, exponents = None, {}
            for size in (start << k for k in range(4)):
                row = alone("train_alone", {**NETWORK, **SWEEP_BASE, name: size}, precision, args.repeats)
                if before:
                    exponents = {key: math.log2(row[key] / before[key]) for key in ("median", "peak_mib")}
                e = [f"{value:.2f}" for value in exponents.values()] or ["", ""]
                print(f"{name:11}{size:>7}{row['median']:>10.4f}{e[0]:>6}{row['peak_mib']:>10.0f}{e[1]:>6}", flush=True)
                results[precision][name][str(size)] = {**row, "exponents": exponents}
                before = row
    return results


# ------------------------------------------------------------------------------------------------------- sampling


def sampler(name, batch_size):
    """What a Peer calls: the drawing of POINTS points by us or by PyTorch, its seconds as they are."""
    network = argparse.Namespace(**NETWORK)
    if name == "pytorch":
        return pytorch_sampler(network, POINTS, batch_size), 1.0
    from model import Model

    import tensorflow as tf

    model, sess = Model(network, infer=True), tf.random.Generator.from_seed(0)
    return lambda: model.sample_batch(sess, POINTS, batch_size), 1.0


def reading(where):
    """What a Peer calls: all weights read once per point, from memory or from wherever an array of their size lies."""
    import torch

    network = argparse.Namespace(**NETWORK, precision="float32")
    num_weights = step_operations(network) // (3 * 2 * network.batch_size * network.seq_length)
    if where == "memory":
        large = torch.ones(LARGE // 4)
        return large.sum, POINTS * num_weights / len(large)
    small = torch.ones(num_weights)
    return lambda: [small.sum() for _ in range(POINTS)], 1.0


def bench_sample(args):
    """Beside PyTorch there is the limit: reading all weights from memory once per point.

    That is no limit for weights that fit into a cache, as the default network's 3 MB do in most CPUs. Hence also
    limit_in_cache: an array as large as the weights, read once per point from wherever it then lies.
    """
    results = {}
    for size in SAMPLES:
        peers = {name: Peer("sampler", name, size) for name in ("ours", "pytorch")}
        peers.update({"limit": Peer("reading", "memory"), "limit_in_cache": Peer("reading", "cache")})
        results[str(size)] = take_turns(peers, args.repeats, measure=lambda peer: peer())
        for peer in peers.values():
            peer.close()
        show(f"sample, {size} x {POINTS} points at once", results[str(size)])
        compilation = results[str(size)]["ours"]["first"] - results[str(size)]["ours"]["median"]
        print(f"ours compiles in {compilation:.2f} s")
    return results


# -------------------------------------------------------------------------------------------------------- parsing


def make_corpus(folder):
    """Write the made-up corpus into a new folder."""
    import conftest

    conftest.make_corpus(Path(folder), **CORPUS)


def parse_ours(tar):
    """Seconds and peak memory; the memory is a bound, since each worker is taken to be as large as the largest."""
    import utils

    seconds = timed(lambda: utils._parse_source(tar))
    return {"seconds": seconds, "peak_mib": peak_mib() + min(os.cpu_count(), 8) * peak_mib(resource.RUSAGE_CHILDREN)}


def parse_elementtree(tar):
    """Seconds, peak memory and the bytes of XML."""
    start = time.perf_counter()
    lines, xml_bytes = elementtree_lines(tar)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mib": peak_mib(), "bytes": xml_bytes, "lines": len(lines)}


def bench_parse(args):
    runs = {"ours": [], "elementtree": []}
    with tempfile.TemporaryDirectory() as folder:
        if not args.tar:
            alone("make_corpus", f"{folder}/data")
        tar = os.path.abspath(args.tar or f"{folder}/data/lineStrokes-all.tar.gz")
        for _ in range(2 + args.repeats):
            for name, values in runs.items():
                values.append(alone(f"parse_{name}", tar))
    lines, megabytes = runs["elementtree"][0]["lines"], runs["elementtree"][0]["bytes"] / 1e6
    results = {name: summary([value["seconds"] for value in values]) for name, values in runs.items()}
    for name, stats in results.items():
        stats["peak_mib"] = max(value["peak_mib"] for value in runs[name])
        stats["mb_per_s"] = megabytes / stats["median"]
    show(f"parse, {lines} lines, {megabytes:.0f} MB of XML in {args.tar or 'a made-up corpus'}", results)
    return results


# ------------------------------------------------------------------------------------------------------- start-up


def make_run(folder):
    """Make a run of train.py with untrained weights; its biases make pictures about as large as a trained one's."""
    import train
    from model import Model

    import keras
    import numpy as np

    args = train.build_parser().parse_args([f"--model_dir={folder}"])
    train.prepare_folder(args, (40.0, 40.0))
    model, optimizer = Model(args), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    # Every twentieth point ends a stroke, and few of the components are likely enough to be drawn.
    model.output.bias.assign(np.concatenate([[3], -np.arange(args.num_mixture), np.zeros(5 * args.num_mixture)]))
    data = argparse.Namespace(rng=np.random.default_rng(0), data=[], valid_data=[])
    train.Record(args, model, optimizer, data).save()


def bench_startup(args):
    with tempfile.TemporaryDirectory() as folder:
        run, weights = ROOT / "save" / "pretrained", "pretrained"
        if not (run / "config.json").exists():
            run, weights = Path(folder) / "run", "untrained"
            alone("make_run", str(run))

        def start(*command):
            subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True)

        results = take_turns({"sample": lambda: start(ROOT / "sample.py", "--model_dir", run),
                              "import_tensorflow": lambda: start("-c", "import tensorflow")}, args.repeats)
    show(f"startup, whole processes, {weights} weights", results, ours="sample")
    results["difference"] = results["sample"]["median"] - results["import_tensorflow"]["median"]
    print(f"sample.py takes {results['difference']:.2f} s more than the import")
    return results


# ----------------------------------------------------------------------------------------------------------- main


def machine():
    """The CPU, its cores and the versions of what is measured."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    packages = [name for name in ("tensorflow", "keras", "numpy", "torch") if importlib.util.find_spec(name)]
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(),
            "python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


PARTS = {"train": bench_train, "sample": bench_sample, "parse": bench_parse, "startup": bench_startup,
         "sweep": bench_sweep}


def main():
    parser = argparse.ArgumentParser(description="Measure this program beside its peers, on the CPU.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all", help="what to measure (all)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there, too")
    parser.add_argument("--repeats", type=int, default=10, help="measurements of each peer (10)")
    parser.add_argument("--tar", metavar="FILE", help="for parse: the database's archive, in place of made-up lines")
    args = parser.parse_args()
    parts = PARTS if "all" in args.parts else args.parts
    if args.repeats < 1 or (args.json and not args.json.parent.is_dir()):
        parser.error("--repeats must be at least 1, and --json must name a file in a folder that exists")
    if not importlib.util.find_spec("torch") and {"train", "sample"} & set(parts):
        parser.error("train and sample need PyTorch: pip install -r tests/benchmarks/requirements.txt")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    results = {"machine": machine()}
    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    for part in parts:
        results[part] = PARTS[part](args)
        if args.json:
            args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
