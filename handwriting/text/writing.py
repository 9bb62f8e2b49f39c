"""Write texts: drawn in a hand of their own or in that of a style, the best of several drawings
each, with marks.

Of several drawings the one is kept that a reader reads best, or without a reader the one of the
fewest points: hesitant lines are hard to read. A line with far more or less ink than its text
needs, or with many words that are misread, in any hand with one, is drawn again; then words that
are misread are, by themselves.
"""

from handwriting.files import UserError
from handwriting.network.backend import tf
from handwriting.text.choosing import choose, keep_better, read_back, set_in
from handwriting.text.hands import Style
from handwriting.text.marks import add_marks
from handwriting.text.pen import draw_lines
from handwriting.text.reader import read_reader
from handwriting.text.spelling import check_text, plain, split

import numpy as np

MOST_CHARACTERS = 500  # of a line: memory for its window grows with their square
BIAS = 2.0  # at which texts are drawn where none is given: what reads best
CANDIDATES = 16  # drawings of a line, of which the best is kept: as many as one loop draws
AT_ONCE = 16  # texts drawn side by side; more would take much memory
TRIES, WORD_TRIES = 3, 2  # times that lines are drawn, and misread words by themselves, at most
BADLY = 1 / 3  # of a line's words misread: it is drawn again in its style; in any hand: one
# What a hand is drawn at random with, where several texts share one.
HAND = "the quick brown fox jumps over a lazy dog"


def write_texts(model, sess, texts, bias, style=None):
    """write_lines of texts that nobody has checked yet, without spaces around them, for which the
    network draws stray letters. Raises UserError.
    """
    for number, text in enumerate(texts, 1):
        check_text(text, model.alphabet, f"text {number}" if len(texts) > 1 else "the text")
    if style:
        check_text(style.text, model.alphabet, "the text of the style")
    texts = [plain(text, model.alphabet).strip() for text in texts]
    return write_lines(model, sess, texts, bias, style)


def write_lines(model, sess, texts, bias, style=None, one_hand=True, limit=None,
                candidates=CANDIDATES, progress=lambda done: None):
    """Draw texts, a list of str without typographic characters (`plain`): a list of Line.

    sess: a tf.random.Generator. bias: as in `mixture`. style: a Style, or None: a hand at random,
    the same for all texts if one_hand. limit: points of a line, at most. candidates: drawings of
    each, of which the best is kept. Lines that went wrong or are badly read are drawn again, then
    words that are still misread, twice at most. progress: a function that is told, again and
    again, how many lines are done, a float. Letters with marks and glyphs that the network has not
    learnt are put together (marks.py); what cannot be written is a gap. Raises UserError, before
    anything is drawn, for a text that is too long. Characters are checked where texts come in
    (`check_text`).
    """
    for number, text in enumerate(texts, 1):
        if len(text) > MOST_CHARACTERS:
            where = f"text {number}" if len(texts) > 1 else "the text"
            raise UserError(
                f"{where} has {len(text)} characters, and a line at most {MOST_CHARACTERS}; break "
                "it into lines of a file (sample.py --text_file), or set it on sheets (--paper)"
            )
    if style is None and one_hand and len(texts) > 1:
        known = words_known(HAND, model.alphabet)
        (hand,) = write_lines(model, sess, [known or texts[0]], bias)
        style = Style(hand.strokes, hand.text)
    spellings = [split(text, model.alphabet) for text in texts]
    # Of a text that is drawn whole, something else tells how large the hand writes.
    stand_in = words_known(HAND, model.alphabet)[:9].strip() or model.alphabet.strip()[0]
    bases = [spelling.base or stand_in for spelling in spellings]
    if style:
        said = plain(style.text, model.alphabet)
        style = style._replace(text=split(said, model.alphabet).base)
    reader, lines = read_reader() if candidates > 1 and not limit else None, []
    for start in range(0, len(bases), AT_ONCE):
        lines += draw_best(
            model, sess, reader, bases[start : start + AT_ONCE], bias, style, limit, candidates,
            lambda done, start=start: progress(start + done),
        )  # fmt: skip
    return [finish(sess, *each) for each in zip(lines, texts, spellings, strict=True)]


def draw_best(model, sess, reader, texts, bias, style, limit, candidates, progress):
    """The best Line of several drawings of each text, without marks; arguments as in write_lines.

    reader: what reads drawings back, or None.
    """
    drawings, wrong = [[] for _ in texts], range(len(texts))
    for _ in range(TRIES):
        num, todo = len(wrong), [texts[k] for k in wrong] * candidates
        drawn = draw_lines(
            model, sess, todo, bias, [style] * len(todo), limit,
            lambda share, num=num: progress(len(texts) - num + share * num),
        )  # fmt: skip
        drawn = read_back(reader, drawn)
        for row, k in enumerate(wrong):
            drawings[k] += drawn[row::num]
        lines = choose(reader, drawings, style is not None)
        enough = BADLY if style else 0
        wrong = [k for k, line in enumerate(lines) if line.problem or badly_read(line, enough)]
        if not wrong:
            break
    for _ in range(WORD_TRIES):
        lines = redraw_words(
            lambda words, hands: draw_lines(model, sess, words, bias, hands, None),
            reader, lines, style, candidates,
        )  # fmt: skip
    return lines


def badly_read(line, enough):
    """Whether more than this share of a line's words are misread."""
    return len(line.misread) > enough * len(line.text.split())


def hand_of(line, style):
    """The Style of a line that was drawn in a Style or None; that, where the line went wrong or is
    too long to go on from, or where there is another to go on from.
    """
    usable = not line.problem and 2 * len(line.text) < MOST_CHARACTERS
    if not usable or (style and len(style.strokes)):
        return style
    return Style(line.strokes, line.text, style and style.hand)


def redraw_words(draw, reader, lines, style, candidates):
    """The lines, with the words that are misread drawn again, between their neighbours and in the
    Style or, if it is None, the line's hand, where that is read better.

    draw: a function that gives a Line for each of some texts in their Styles.
    """
    hands = [hand_of(line, style) for line in lines]
    words = [line.text.split() for line in lines]
    todo = [(k, n) for k, line in enumerate(lines) for n in line.reading.misread if hands[k]]
    if not todo:
        return lines
    texts = [" ".join(words[k][max(n - 1, 0) : n + 2]) for k, n in todo] * candidates
    drawn = read_back(reader, draw(texts, [hands[k] for k, _ in todo] * candidates))
    mended = list(lines)
    for row, (k, n) in enumerate(todo):
        good = [line for line in drawn[row :: len(todo)] if not line.problem]
        mended[k] = set_in(mended[k], n, good, min(n, 1))
    return keep_better(reader, lines, mended)


def finish(sess, line, text, spelling):
    """The Line of a text from that of its spelling's base, by a seed from sess if it varies."""
    if line.text == text:
        return line
    words = {  # of the base, and which of the text each is
        line.text.count(" ", 0, place): len(text[: k + 1].split()) - 1
        for k, place in enumerate(spelling.places)
        if place is not None and line.text[place] != " "
    }
    misread = tuple(words[number] for number in line.reading.misread if number in words)
    line = line._replace(reading=line.reading._replace(misread=misread))
    seed = int(sess.uniform_full_int([], tf.uint64))
    return add_marks(line, text, spelling, np.random.default_rng(seed).random)


def words_known(text, alphabet):
    """The words of a text that an alphabet has all characters of."""
    return " ".join(word for word in text.split() if set(word) <= set(alphabet))
