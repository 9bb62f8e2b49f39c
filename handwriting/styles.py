"""Hands to write in: styles that come with the program, and lines of anybody's.

Styles stand in save/text/styles.json: {name: {"text": ..., "strokes": [[dx, dy, eos], ...]}}, in
pen units.
"""

import functools
import json
import os

from handwriting.checkpoint import TEXT
from handwriting.database import find_sources, read_texts, stem
from handwriting.files import UserError
from handwriting.writing import Style
from utils import load_lines, read_line

import numpy as np

STYLES = TEXT / "styles.json"
DATA = "data"  # where a line of the database is looked for by its name


@functools.cache
def read_styles():
    """All styles that come with the program, name -> Style."""
    if not STYLES.exists():
        return {}
    styles = json.loads(STYLES.read_text(encoding="utf-8"))
    return {name: Style(np.array(s["strokes"], float), s["text"]) for name, s in styles.items()}


def transcription(path):
    """What the line in an XML file of the database says, from the transcriptions beside the folder
    lineStrokes that it lies in; None if there are none.
    """
    folder = os.path.dirname(os.path.abspath(path))
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        if sources := find_sources(folder, ".txt"):
            names = [stem(name) for name in os.listdir(os.path.dirname(path) or ".")]
            texts = read_texts(sources[0], names)
            return dict(zip(names, texts, strict=True))[stem(path)]
    return None


def load_style(name, text=None):
    """The Style of this name: one that comes with the program, a file (lineStrokes XML, or an .npy
    of points in pen units), or a line of the database in the folder data, such as a01-000u-01.

    text: what a file says, if no transcription lies beside it. Raises UserError.
    """
    styles = read_styles()
    if name in styles and not text:
        return styles[name]
    if os.path.exists(name):
        line, text = read_line(name), text or transcription(name)
        if not text:
            raise UserError(f"--style {name} needs --style_text, what that line says")
        return Style(line, text)
    lines = load_lines(DATA)[1] if os.path.isdir(DATA) else None
    if lines and name in (lines.names or ()):
        place = lines.names.index(name)
        if not (text or lines.texts[place]):
            raise UserError(f"--style {name} has no transcription; give --style_text")
        return Style(lines.raw_data[place], text or lines.texts[place])
    known = f", and none of the styles {', '.join(styles)}" if styles else ""
    raise UserError(f"--style {name} is no file and no line in {DATA}{known}")
