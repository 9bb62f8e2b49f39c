"""Hands to write in: styles that come with the program, and lines of anybody's.

The styles of save/text/styles.json were drawn by our own network: {name: {"text": ..., "strokes":
[[dx, dy, eos], ...]}}, in pen units. `python -m handwriting.styles` draws them anew.
"""

import functools
import json
import os

from handwriting.checkpoint import TEXT, restore
from handwriting.database import find_sources, read_texts, stem
from handwriting.drawing import draw_strokes, stack_lines
from handwriting.files import UserError, atomic_write
from handwriting.flags import errors_as_sentences
from handwriting.writing import Style, write_lines
from model import BIAS
from utils import load_lines, read_line

import numpy as np

STYLES = TEXT / "styles.json"
SENTENCE = "The five boxing wizards jump quickly, as nobody knows."
SHOWN = "A hand that stays the same to the last letter."
SEEDS = {"plain": 0}  # of each style, chosen by looking at many
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
    known = ", ".join(styles)
    raise UserError(f"--style {name} is no file, no line in {DATA}, and none of {known}")


def draw_styles():
    """Draw SENTENCE once with each of SEEDS, and write save/text/styles.json; then the pictures of
    the README: a sentence in each style, and one at several biases.
    """
    import tensorflow as tf

    def write(text, seed, bias=BIAS, style=None):
        (line,) = write_lines(model, tf.random.Generator.from_seed(seed), [text], bias, style)
        return line.strokes

    model = restore(TEXT)
    drawn = {name: Style(write(SENTENCE, seed), SENTENCE) for name, seed in SEEDS.items()}
    content = {
        name: {"text": style.text, "strokes": np.rint(style.strokes).astype(int).tolist()}
        for name, style in drawn.items()
    }
    with atomic_write(STYLES) as file:
        file.write((json.dumps(content) + "\n").encode())
    hands = [write(SHOWN, 1, style=style) for style in drawn.values()]
    draw_strokes(stack_lines(hands), svg_filename=str(TEXT / "hands.svg"))
    biases = [write(SHOWN, 4, bias) for bias in (0.0, 0.5, 1.0, 3.0)]
    draw_strokes(stack_lines(biases), svg_filename=str(TEXT / "biases.svg"))


if __name__ == "__main__":
    with errors_as_sentences("handwriting.styles"):
        draw_styles()
