"""Importing this lets compiled functions run as graphs in this process, as in all that run tests:
XLA takes most of a test's time to compile them. Programs started as a user does have XLA.
"""

import functools

from handwriting.network import backend

backend.compiled = functools.partial(backend.tf.function, autograph=False)
