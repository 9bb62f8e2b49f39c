"""TensorFlow and Keras, imported without their start-up notes; import them from here first."""

import contextlib
import os


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
