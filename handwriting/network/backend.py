"""TensorFlow and Keras, imported without their start-up notes, and how they use this machine.

Import them from here first.
"""

import contextlib
import itertools
import os
import platform
import time

from handwriting.files import UserError

import numpy as np

MIN_ROWS = 12  # of a batch, for each part of it that a core works on alone


@contextlib.contextmanager
def quiet_stderr():
    """Hide what compiled code writes to standard error; Python's exceptions pass."""
    with open(os.devnull, "wb") as nothing:
        stderr = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")  # reuses freed memory: a tenth faster
if platform.machine() in ("x86_64", "AMD64"):  # elsewhere oneDNN is experimental, or not there
    # TensorFlow leaves it off without AVX512, where a training step takes a fifth less with it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
with quiet_stderr():  # notes about the build and missing drivers, which no setting stops
    import keras
    import tensorflow as tf


@contextlib.contextmanager
def float32_defaults():
    """Within it Keras makes float32 variables, whatever the user's configuration says."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def compiled(function):
    """The function compiled by XLA, which fuses many small operations into one loop."""
    return tf.function(function, autograph=False, jit_compile=True)


# --------------------------------------------------------------------------- what suits this CPU


def set_threads(batch_size):
    """Let each core work on its own part of a batch; see `split_rows`.

    Cores share a product of few rows badly: a step takes a tenth (bfloat16) to a quarter (float32)
    longer without. Call it before TensorFlow's first operation; later it changes nothing.
    """
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    cores = len(affinity(0))
    number = min(cores, batch_size // MIN_ROWS)
    if number > 1 and not tf.config.list_physical_devices("GPU"):
        try:
            tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // number))
            tf.config.threading.set_inter_op_parallelism_threads(number)
        except RuntimeError:  # TensorFlow is at work already
            pass


def split_rows(size):
    """The rows of a batch, an int or a tensor, in as many slices of nearly equal size as
    set_threads provided for.

    Operations on different rows do not wait for each other, so TensorFlow runs them at the same
    time.
    """
    number = max(1, tf.config.threading.get_inter_op_parallelism_threads())  # 0: nothing was set
    if isinstance(size, int):
        number = max(1, min(number, size // MIN_ROWS))
    edges = [size * k // number for k in range(number + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]


def faster_precision(batch_size, units):
    """`bfloat16` or `float32`: in which type this CPU is faster at a product of the training
    step's own shape.

    The CPU's flags do not tell: some with units for bfloat16 are a third slower with it. Takes
    about 50 ms.
    """
    seconds = {}
    for precision in ("float32", "bfloat16"):
        shapes = [batch_size, 2 * units], [2 * units, 4 * units]
        a, b = (tf.cast(tf.ones(shape), precision) for shape in shapes)
        times = []
        for _ in range(30):
            start = time.perf_counter()
            tf.matmul(a, b).numpy()
            times.append(time.perf_counter() - start)
        seconds[precision] = np.median(times)
    return min(seconds, key=seconds.get)


def choose_precision(args):
    """--precision with `auto` decided: on a CPU the faster type; a GPU's own choice stays `auto`.

    `float32` turns TF32 off, which GPUs take for float32 products. Raises UserError for bfloat16
    on a GPU.
    """
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    if on_gpu and args.precision == "bfloat16":
        raise UserError("--precision bfloat16 is for training on a CPU; give --precision auto")
    tf.config.experimental.enable_tensor_float_32_execution(args.precision != "float32")
    if args.precision == "auto" and args.model == "lstm" and not on_gpu:
        return faster_precision(args.batch_size, args.rnn_size)
    return args.precision
