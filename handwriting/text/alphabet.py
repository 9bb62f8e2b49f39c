"""The characters of texts: an alphabet, and texts as numbers.

The symbols of an alphabet: 0 is the end of a text, k the alphabet's character k - 1. Behind its
characters a text has ENDS ends, so that a window that has passed the last character sees something.
"""

import numpy as np

ENDS = 3  # symbols of the end behind a text


def num_symbols(alphabet):
    """V: the alphabet's characters and the end."""
    return len(alphabet) + 1


def make_alphabet(texts):
    """All printable characters in texts, sorted, as a string."""
    return "".join(sorted(c for c in set("".join(texts)) if c.isprintable()))


def encode(texts, alphabet, least=16):
    """The symbols of texts with their ends, int32 [B, U], -1 behind them.

    U is a power of two, at least `least`: one of few, since TensorFlow compiles for each. A
    character that is not in the alphabet is -1, too.
    """
    index = {c: k for k, c in enumerate(alphabet, 1)}
    rows = [[index.get(c, -1) for c in text] + [0] * ENDS for text in texts]
    width = max(least, 1 << (max(map(len, rows)) - 1).bit_length())
    chars = np.full([len(rows), width], -1, np.int32)
    for row, symbols in zip(chars, rows, strict=True):
        row[: len(symbols)] = symbols
    return chars
