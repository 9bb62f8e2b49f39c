"""Hands to write in: styles that come with the program, and lines of anybody's.

A hand is found by its name in one way: a style, a file of ink or a line of the database gives lines
and their texts (`find_lines`), and these a Style (`load_style`), which writing goes on from.
The styles of save/text/styles.json were drawn by our own network: {name: {"text": ..., "strokes":
[[dx, dy, eos], ...]}}, in pen units.
"""

import functools
import json
import os
import re
import warnings
from typing import NamedTuple

from handwriting.files import UserError
from handwriting.ink.formats import READERS, read_ink
from handwriting.network.checkpoint import TEXT
from handwriting.text.lines import find_problem, join_lines
from utils import load_lines

import numpy as np

STYLES = TEXT / "styles.json"
STYLE_LINES = 2  # of a hand are a style: a third makes some hands go astray
DATA = "data"  # where a line of the database is looked for by its name


class Style(NamedTuple):
    """A line that others go on from in the same hand, without points if there is none, and the
    vector of the hand.
    """

    strokes: np.ndarray  # [n, 3] in pen units
    text: str
    hand: np.ndarray | None = None  # [HAND], where something tells it


@functools.cache
def read_styles():
    """All styles that come with the program, name -> Style."""
    if not STYLES.exists():
        return {}
    styles = json.loads(STYLES.read_text(encoding="utf-8"))
    return {name: Style(np.array(s["strokes"], float), s["text"]) for name, s in styles.items()}


def find_lines(name):
    """The lines, [n, 3] each in pen units, and the texts (str or None) of a hand by its name: a
    style that comes with the program, a file of ink, or a line of the database in the folder
    data, such as a01-000u-01. Raises UserError.
    """
    if style := read_styles().get(name):
        return [style.strokes], [style.text]
    if os.path.exists(name):
        return read_ink(name)
    known = ", ".join(read_styles())
    if os.path.dirname(name) or os.path.splitext(name)[1].lower() in READERS:
        raise UserError(f"--style {name} is no file; name one that is there, or a style: {known}")
    if re.search(r"-\d+$", name) and os.path.isdir(DATA):  # as lines are called
        with warnings.catch_warnings():  # what is left out of the data is nothing to this line
            warnings.simplefilter("ignore")
            lines = load_lines(DATA)[1]
        if name in (lines.names or ()):
            place = lines.names.index(name)
            return [lines.raw_data[place]], [lines.texts[place]]
        what = f"is no file, no line in {DATA} and none of the styles {known}"
        raise UserError(f"--style {name} {what}")
    raise UserError(f"--style {name} is no file and none of the styles {known}")


def load_style(name, text=None):
    """The Style of a hand; see `find_lines`.

    text: what its first line says, which alone is the style then, whatever is told beside it.
    Raises UserError.
    """
    lines, texts = find_lines(name)
    if text:
        lines, texts = lines[:1], [text]
    known = [(line, text) for line, text in zip(lines, texts, strict=True) if text]
    if not known:
        raise UserError(f"--style {name} needs --style_text, what that line says")
    style = Style(*join_lines(*zip(*known[:STYLE_LINES], strict=True)))
    if find_problem(style.text, style.strokes):
        words = "its ink does not fit its text, so what is drawn may be useless; does it say"
        warnings.warn(f"--style {name}: {words}: {style.text[:60]}", stacklevel=2)
    return style
