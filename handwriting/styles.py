"""Draw the styles that come with the program and the README's pictures of them anew:
`python -m handwriting.styles`.
"""

import json

from handwriting.drawing.plots import plot_window
from handwriting.drawing.strokes import draw_strokes, stack_lines
from handwriting.files import UserError, atomic_write
from handwriting.flags import errors_as_sentences
from handwriting.text.hands import STYLES, Style
from handwriting.text.writing import BIAS, write_lines
from model import restore
from utils import load_lines

import numpy as np

DEMO = STYLES.parents[2] / "data" / "demo"
SENTENCE = "The five boxing wizards jump quickly, as nobody knows."
SHOWN = "A hand that stays the same to the last letter."
PLOTTED = "Dear Anna, thank you"
DRAWN_AT = 0.8  # bias: lower than that of texts, so that hands differ
# Of each style the line of data/demo in whose hand it goes on.
HANDS = {
    "slanted": "unipen-d6b3cae7-02",
    "upright": "unipen-cd119fc4-02",
    "narrow": "unipen-ae79fb62-02",
    "wide": "unipen-1eff1d26-02",
    "lively": "unipen-6c867b29-02",
    "plain": "unipen-0fc10d86-02",
    "round": "unipen-3b6d3d13-02",
    "open": "unipen-2202b35a-02",
    "quick": "unipen-7dba657a-02",
}


def draw_styles():
    """Draw SENTENCE in each of HANDS and write save/text/styles.json; then the pictures of the
    README beside it: a sentence in each style, one at several biases, a window. Raises UserError
    where one of their lines is missing.
    """
    import tensorflow as tf

    def write(text, seed, bias=BIAS, style=None):
        return write_lines(model, tf.random.Generator.from_seed(seed), [text], bias, style)[0]

    model, (folder, lines) = restore(STYLES.parent), load_lines(DEMO)
    for name, line in HANDS.items():
        if line not in lines.names:
            raise UserError(f"the style {name} goes on from {line}, which {folder} does not hold")
    content, hands = {}, []
    for name, line in HANDS.items():
        place = lines.names.index(line)
        hand = Style(lines.raw_data[place], lines.texts[place])
        drawn = write(SENTENCE, 0, DRAWN_AT, hand)
        strokes = np.rint(drawn.strokes).astype(int)
        content[name] = {"text": SENTENCE, "strokes": strokes.tolist()}
        hands.append(write(SHOWN, 2, style=Style(strokes.astype(float), SENTENCE)).strokes)
    with atomic_write(STYLES) as file:
        file.write((json.dumps(content) + "\n").encode())
    biases = [write(SHOWN, 5, bias).strokes for bias in (0.0, 0.5, 1.0, 2.0)]
    for name, shown in (("hands", hands), ("biases", biases)):
        draw_strokes(stack_lines(shown), svg_filename=str(STYLES.with_name(f"{name}.svg")))
    line = write(PLOTTED, 1)
    plot_window(line.strokes, line.window, line.text, str(STYLES.with_name("window.png")))


if __name__ == "__main__":
    with errors_as_sentences("handwriting.styles"):
        draw_styles()
