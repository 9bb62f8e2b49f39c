"""Draw the styles that come with the program and the README's pictures of them anew:
`python -m handwriting.styles`, with the database in data/.
"""

import json

from handwriting.drawing.plots import plot_window
from handwriting.drawing.strokes import draw_strokes, stack_lines
from handwriting.files import UserError, atomic_write
from handwriting.flags import errors_as_sentences
from handwriting.text.hands import DATA, STYLES, Style
from handwriting.text.writing import BIAS, write_lines
from model import restore
from utils import load_lines

import numpy as np

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
