"""Hands to write in: styles that come with the program, and lines of anybody's.

The styles of save/text/styles.json were drawn by our own network: {name: {"text": ..., "strokes":
[[dx, dy, eos], ...]}}, in pen units. `python -m handwriting.styles` draws them anew.
"""

import functools
import json
import os
import warnings

from handwriting.checkpoint import TEXT, restore
from handwriting.database import find_sources, read_texts, stem
from handwriting.drawing import draw_strokes, plot_window, stack_lines
from handwriting.files import UserError, atomic_write
from handwriting.flags import errors_as_sentences
from handwriting.recording import read_hand
from handwriting.text import join_lines
from handwriting.writing import Style, find_problem, write_lines
from model import BIAS
from utils import load_lines, read_line

import numpy as np

STYLES = TEXT / "styles.json"
SENTENCE = "The five boxing wizards jump quickly, as nobody knows."
SHOWN = "A hand that stays the same to the last letter."
PLOTTED = "Dear Anna, thank you"
DRAWN_AT = 0.8  # bias: lower than that of texts, so that hands differ
# Of each style: the place in the data of a line whose hand it goes on in, chosen by looking at what
# lines of all kinds lead to, and a seed, of eight the one whose drawing the recogniser reads best.
HANDS = {
    "slanted": (5301, 4), "upright": (2370, 3), "narrow": (1144, 0), "wide": (448, 6),
    "grand": (2539, 2), "plain": (10077, 2), "round": (3173, 3), "open": (3453, 4),
    "quick": (10770, 2),
}  # fmt: skip
STYLE_LINES = 2  # of a hand.json are a style: a third makes some hands go astray
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
    of points in pen units; of a hand.json its first lines), or a line of the database in
    the folder data, such as a01-000u-01.

    text: what a file says, if no transcription lies beside it. Raises UserError.
    """
    styles = read_styles()
    if name in styles:
        if text:
            raise UserError(f"--style {name} comes with its text; leave --style_text out")
        return styles[name]
    style = find_style(name, text, styles)
    if problem := find_problem(style.text, style.strokes):
        words = f"what goes on from it may be unreadable, since {problem}: {style.text[:60]}"
        warnings.warn(f"--style {name}: {words}", stacklevel=2)
    return style


def find_style(name, text, styles):
    """The Style of a file or a line of the database; see load_style."""
    if os.path.exists(name) and name.lower().endswith(".json"):
        if text:
            raise UserError(f"--style {name} holds its texts; leave --style_text out")
        lines, texts = (part[:STYLE_LINES] for part in read_hand(name))
        return Style(*join_lines(lines, texts))
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


def draw_styles():
    """Draw SENTENCE in each of HANDS, which takes the database, and write save/text/styles.json;
    then the pictures of the README beside it: a sentence in each style, one at several biases, a
    window. Raises UserError where the data has fewer lines.
    """
    import tensorflow as tf

    def write(text, seed, bias=BIAS, style=None):
        return write_lines(model, tf.random.Generator.from_seed(seed), [text], bias, style)[0]

    model, (folder, lines) = restore(STYLES.parent), load_lines(DATA)
    if len(lines.raw_data) <= max(place for place, _ in HANDS.values()):
        raise UserError(f"the styles go on in hands of the database, which {folder} does not hold")
    content, hands = {}, []
    for name, (place, seed) in HANDS.items():
        hand = Style(lines.raw_data[place], lines.texts[place])
        strokes = np.rint(write(SENTENCE, seed, DRAWN_AT, hand).strokes).astype(int)
        content[name] = {"text": SENTENCE, "strokes": strokes.tolist()}
        hands.append(write(SHOWN, 2, style=Style(strokes.astype(float), SENTENCE)).strokes)
    with atomic_write(STYLES) as file:
        file.write((json.dumps(content) + "\n").encode())
    biases = [write(SHOWN, 3, bias).strokes for bias in (0.0, 0.5, 1.0, 2.0)]
    for name, shown in (("hands", hands), ("biases", biases)):
        draw_strokes(stack_lines(shown), svg_filename=str(STYLES.with_name(f"{name}.svg")))
    line = write(PLOTTED, 1)
    plot_window(line.strokes, line.window, line.text, str(STYLES.with_name("window.png")))


if __name__ == "__main__":
    with errors_as_sentences("handwriting.styles"):
        draw_styles()
