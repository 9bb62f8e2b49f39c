"""Lines composed of a writer's own isolated characters: numbers, names, addresses and symbols,
which texts have too few of.
"""

from string import ascii_lowercase, ascii_uppercase

from handwriting.ink.writers import extent, place

import numpy as np

LEAST_STOCK, MOST_COMPOSED = 40, 60  # kinds of isolated characters, lines composed of them
LARGEST = 3.2  # x-heights of a character
WORDS = """
    the of and to in for is on that by this with you it not or be are from at as your all have new
    more was we will home can us about if page my has search free but our one other do no time quick
    brown fox jumps over lazy dog pack box five dozen jugs waltz vex nymph quiz job sphinx black
    quartz judge vow zebra kayak mix yellow wizard oxygen
""".split()  # noqa: SIM905
# d: a digit, a and A: a letter, w, W and U: a word, in capitals U.
TEMPLATES = r"""
    w w w w w W W W U U w, w. w; w: w! w? (w) "w" 'w' w's w-w dd ddd dddd d.dd dd,ddd $d.dd $dd dd%
    #d #dd d+d=d d-d=d d*d=d d/d dd/dd/dd dd-dd dd-ddd-dddd (ddd) d:dd dd:dd aa@aaa.aa w@w.aa [d]
    [w] {a} {w} a<d a>d <w> a|a w|w \a \w A&A W&W ** w* ~d ~w `w` a^d a_d w_w A.A. Ad AA-dd Ad-dA
    ddA a=d; a[d] a(d); if(a) w/w X/Y Q&A No. W, U!
""".split()  # noqa: SIM905


def make_token(template, rng):
    """A word, price, address or the like from a template; see TEMPLATES."""
    word = WORDS[rng.integers(len(WORDS))]
    letters = {"w": word, "W": word.capitalize(), "U": word.upper()}
    drawn = {"d": "0123456789", "a": ascii_lowercase, "A": ascii_uppercase}
    return "".join(
        drawn[c][rng.integers(len(drawn[c]))] if c in drawn else letters.get(c, c) for c in template
    )


def compose(isolated, writer, rng):
    """(text, strokes) of lines set from a writer's own isolated characters, (text, strokes), on one
    baseline, at the sizes that this writer gives them."""
    stock, h = {}, writer.x_height
    for text, strokes in isolated:
        left, top, right, bottom = extent(strokes)
        if len(text) == 1 and max(right - left, bottom - top) < LARGEST * h:
            placed = [stroke - [left, 0.0] for stroke in place(text, strokes, writer)]
            stock.setdefault(text, []).append((right - left, placed))
    if len(stock) < LEAST_STOCK:
        return []
    lines = []
    for _ in range(min(MOST_COMPOSED, len(isolated) // 20)):
        text, line, edge, target = "", [], 0.0, rng.integers(15, 35)
        while len(text) < target:
            token = make_token(TEMPLATES[rng.integers(len(TEMPLATES))], rng)
            if not set(token) <= set(stock):
                token = "".join(c for c in token if c in stock)
            if text and token:
                text, edge = text + " ", edge + h * rng.uniform(0.6, 1.2)
            for c in token:
                width, strokes = stock[c][rng.integers(len(stock[c]))]
                line += [stroke + np.array([edge, 0.0]) for stroke in strokes]
                edge += width + h * rng.uniform(0.2, 0.45)
            text += token
        lines.append((text, line))
    return lines
