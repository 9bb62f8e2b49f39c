"""The characters of texts: an alphabet, texts as numbers, and what cannot be written.

The symbols of an alphabet: 0 is the end of a text, k the alphabet's character k - 1. Behind its
characters a text has ENDS ends, so that a window that has passed the last character sees something.
"""

import unicodedata

from handwriting.files import UserError

import numpy as np

ENDS = 3  # symbols of the end behind a text
PLAIN = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "\u00ab": '"', "\u00bb": '"', "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-",
    "\u2014": "-", "\u2212": "-", "\u2026": "...", "\u00a0": " ", "\t": " ", "\u00df": "ss",
    "\u00e6": "ae", "\u00c6": "Ae", "\u00f8": "o", "\u00d8": "O", "\u0153": "oe", "\u0152": "Oe",
})  # fmt: skip


def num_symbols(alphabet):
    """V: the alphabet's characters and the end."""
    return len(alphabet) + 1


def make_alphabet(texts):
    """All printable ASCII characters in texts, sorted, as a string."""
    return "".join(sorted(c for c in set("".join(texts)) if " " <= c <= "~"))


def plain(text):
    """The text with typographic quotes and dashes, accents and tabs as plain characters, and
    without invisible ones."""
    decomposed = unicodedata.normalize("NFKD", text.translate(PLAIN))
    return "".join(
        c for c in decomposed if not unicodedata.combining(c) and unicodedata.category(c) != "Cf"
    )


def check_text(text, alphabet, where):
    """Raise UserError, which begins with `where`, unless all characters are in the alphabet.

    An empty alphabet is that of a network without text.
    """
    if not alphabet:
        raise UserError("this network writes no text; one by train.py --text does")
    if not text.strip():
        raise UserError(f"{where} is empty; give at least one character")
    unknown = [(k, c) for k, c in enumerate(text) if c not in alphabet]
    if not unknown:
        return
    place, character = unknown[0]
    others = len({c for _, c in unknown}) - 1
    more = f" (and {others} other{'s' * (others > 1)})" if others else ""
    suggestion = plain(text)
    advice = f"it can write: {alphabet.strip()}"
    if suggestion.strip() and all(c in alphabet for c in suggestion):
        advice = f"write instead: {suggestion}"
    raise UserError(
        f"{where} has {character!r} as its character {place + 1}{more}, which the network has "
        f"not learnt; {advice}"
    )


def encode(texts, alphabet, width=None):
    """The symbols of texts with their ends, int32 [B, U], -1 behind them.

    width: U, else the longest text's. A character that is not in the alphabet is -1, too.
    """
    index = {c: k for k, c in enumerate(alphabet, 1)}
    rows = [[index.get(c, -1) for c in text] + [0] * ENDS for text in texts]
    chars = np.full([len(rows), width or max(map(len, rows))], -1, np.int32)
    for row, symbols in zip(chars, rows, strict=True):
        row[: len(symbols)] = symbols
    return chars
