"""handwriting/text/choosing.py: which drawing is kept, and words set into it from others."""

from argparse import Namespace

import sample
from handwriting.network.backend import tf
from handwriting.network.mixture import Mixture
from handwriting.text import choosing, writing
from handwriting.text.choosing import Reading, choose, mend, read_back, splice, words_read
from handwriting.text.hands import Style
from handwriting.text.pen import Line
from handwriting.text.spelling import split
from handwriting.text.words import number_strokes
from handwriting.text.writing import finish, write_lines

import numpy as np
import pytest

TEXT = "ab cd ef"


@pytest.fixture(autouse=True)
def ink_of_any_amount(monkeypatch):
    monkeypatch.setattr(choosing, "find_problem", lambda *_: "")


class FakeReader:
    """Reads in lines what it is told, in order; each text has the log-probability of a table."""

    alphabet = "abcdefghijklmnopqrstuvwxyzO0 "

    def __init__(self, found, nats):
        self.found, self.nats = found, nats

    def look(self, lines):
        """The texts themselves stand for logits."""
        return list(self.found[: len(lines)])

    def text(self, logits):
        return logits

    def log_probabilities(self, logits, texts):
        return np.array([self.nats.get(text, -50.0) for text in texts], float)


def make_line(words, height=100.0, text=TEXT):
    """A Line whose words have letters of such widths, in pen units, each a stroke up and down, a
    gap of 200 between words; the window sees the letters.
    """
    points, window, left, letter = [], [], 0.0, 0
    for widths in words:
        for width in widths:
            xy = [(left, 0), (left, -height / 2), (left + width / 2, -height), (left + width, 0)]
            points += [[x, y, k == 3] for k, (x, y) in enumerate(xy)]
            window += [np.eye(len(text))[letter]] * 4
            left, letter = left + width + 20, letter + 1
        left, letter = left + 180, letter + 1
    points = np.array(points, float)
    moves = np.diff(points[:, :2], axis=0, prepend=0)
    strokes = np.column_stack([moves, points[:, 2]]).astype(np.float32)
    one = np.ones([len(points), 2])
    params = Mixture(
        0.5 * one, moves[:, :1] * one, moves[:, 1:] * one, one, one, 0 * one, one[:, 0]
    )
    return Line(text, strokes, params, np.array(window), "")


def positions(line):
    return np.cumsum(line.strokes[:, :2], axis=0)


# ---------------------------------------------------------------------------------------- reading


def test_words_read_are_found_in_what_was_read():
    assert words_read("ab cd ef", TEXT) == ["ab", "cd", "ef"]
    assert words_read("abcdef", TEXT) == ["ab", "cd", "ef"]
    assert words_read("a b cxd ef", TEXT) == ["ab", "cxd", "ef"]
    assert words_read("ab  ef", TEXT) == ["ab", "", "ef"]
    assert words_read("", TEXT) == ["", "", ""]
    assert words_read("14th", "11th of") == ["14th", ""]


def test_a_word_is_misread_where_the_strokes_likelier_say_something_else():
    line = make_line([(50, 50)] * 3)
    nats = {TEXT: -8.0, "ab cx ef": -1.0}
    (found,) = read_back(FakeReader(["ab cx ef"], nats), [line])
    assert found.reading == Reading((1,), 1, -1.0) and found.misread == ["cd"]
    (found,) = read_back(FakeReader(["ab cx ef"], nats | {TEXT: -1.5}), [line])
    assert found.reading.misread == () and found.reading.wrong == 0
    # Of two words that are read otherwise only one is clearly wrong.
    nats = {"xx cx ef": -1.0, "ab cx ef": -1.5, "xx cd ef": -9.0}
    (found,) = read_back(FakeReader(["xx cx ef"], nats), [line])
    assert found.reading.misread == (1,) and found.reading.wrong == 1


def test_look_alikes_and_what_the_reader_does_not_know_are_not_misread():
    line = make_line([(50, 50)] * 3, text="zo Ol 5$")
    reader = FakeReader(["Z0 01 xx"], {"Z0 01 xx": -1.0})
    assert read_back(reader, [line])[0].reading.misread == ()
    reader.alphabet += "5$"
    assert read_back(reader, [line])[0].misread == ["5$"]


# --------------------------------------------------------------------------------------- choosing


def test_the_best_read_is_kept_then_the_likeliest_then_the_shortest():
    long, short = make_line([(50, 50)] * 3), make_line([(50, 50), (50,), (50, 50)])
    read = Reading((), 0, -0.5)
    lines = [
        short._replace(reading=Reading((1,), 1, -0.1)),
        short._replace(reading=Reading((), 0, -0.9)),
        long._replace(reading=read),
        short._replace(reading=read),
        short._replace(reading=read, problem="bad"),
    ]
    for number in range(len(lines)):
        assert choose(object(), [lines[number:]], False)[0] is lines[[3, 3, 3, 3, 4][number]]
    assert choose(None, [[long, short]], True) == [short]  # as long as nobody reads


def test_a_misread_word_is_taken_from_another_drawing_and_what_follows_makes_room():
    line, other = make_line([(50, 50)] * 3), make_line([(90, 90)] * 3)
    other.strokes[0, 1] = 30.0  # it lies lower
    mended = splice(line, other, 1, 1)
    assert mended.problem == "" and mended.text == TEXT
    x, y = positions(mended).T
    old_x, old_y = positions(line).T
    np.testing.assert_allclose(x[:8], old_x[:8], atol=1e-3)
    np.testing.assert_allclose(x[8:16] - x[8], positions(other)[8:16, 0] - 400, atol=1e-3)
    assert x[8] == pytest.approx(old_x[8], abs=1e-3)
    np.testing.assert_allclose(x[16:], old_x[16:] + 80, atol=1e-3)
    np.testing.assert_allclose(y, old_y, atol=1e-3)
    assert (mended.strokes[:, 2] == line.strokes[:, 2]).all()
    assert (mended.window == line.window).all()
    np.testing.assert_allclose(mended.params.mu1[:, 1], mended.strokes[:, 0], atol=1e-3)
    assert number_strokes(mended)[1] == [[0, 1], [2, 3], [4, 5]]


def test_a_word_that_is_set_in_stands_as_high_as_its_neighbours_tell():
    line, other = make_line([(50, 50)] * 3), make_line([(50, 50)] * 3)
    line.strokes[8, 1], line.strokes[16, 1] = -60.0, 60.0  # what is misread hangs above the line
    y = positions(splice(line, other, 1, 1))[:, 1]
    np.testing.assert_allclose(y, positions(other)[:, 1], atol=1e-3)


def test_words_that_a_stroke_joins_are_not_taken_apart():
    line, joined = make_line([(50, 50)] * 3), make_line([(50, 50)] * 3)
    joined.strokes[:15, 2] = 0  # one stroke up to the end of the second word
    assert splice(line, make_line([(50, 50)] * 3), 0, 0) is not None
    assert splice(line, joined, 0, 0) is None and splice(joined, line, 1, 1) is None


def test_mending_takes_each_word_from_the_best_that_has_it_right():
    line = make_line([(50, 50)] * 3)._replace(reading=Reading((0, 1), 2, -1.0))
    worse = make_line([(70, 70)] * 3)._replace(reading=Reading((2,), 1, -2.0))
    better = make_line([(90, 90)] * 3)._replace(reading=Reading((1,), 1, -0.5))
    mended = positions(mend(line, [worse, line, better]))[:, 0]
    assert mended[3] - mended[0] == pytest.approx(90)
    assert mended[11] - mended[8] == pytest.approx(70)
    assert mended[19] - mended[16] == pytest.approx(50)


@pytest.mark.parametrize(("read", "kept"), [("ab cd ef", True), ("ab xx xx", False)])
def test_a_mended_line_is_kept_only_where_it_reads_better(read, kept):
    best = make_line([(50, 50)] * 3)._replace(reading=Reading((1,), 1, -1.0))
    other = make_line([(90, 90)] * 3)._replace(reading=Reading((2,), 2, -1.0))
    reader = FakeReader([read], {read: -1.0})
    (line,) = choose(reader, [[best, other]], True)
    assert (line is not best) == kept
    assert choose(reader, [[best, other]], False) == [best]  # of two hands


# ---------------------------------------------------------------------------------------- the loop


@pytest.fixture
def drawn(monkeypatch):
    """Lists of the texts and Styles that write_lines draws, where drawings are made up."""
    asked = []

    def draw_lines(model, sess, texts, bias, hands, *_):
        asked.append((texts, hands))
        return [make_line([(50, 50)] * 3 if t == TEXT else [(90, 90)] * 2, text=t) for t in texts]

    monkeypatch.setattr(writing, "draw_lines", draw_lines)
    return asked


def write_read(monkeypatch, found, nats, candidates=2, texts=(TEXT,), words=2, style=None):
    """What write_lines makes of texts whose drawings are read as `found`, one after another."""
    found = iter(found)
    reader = FakeReader([], nats)
    monkeypatch.setattr(FakeReader, "look", lambda self, lines: [next(found) for _ in lines])
    monkeypatch.setattr(writing, "read_reader", lambda: reader)
    monkeypatch.setattr(writing, "WORD_TRIES", words)
    model = Namespace(alphabet=" abcdefx")
    lines = write_lines(model, None, list(texts), 2.0, style, False, candidates=candidates)
    assert next(found, None) is None
    return lines


def test_a_line_of_misread_words_is_drawn_again_in_any_hand(drawn, monkeypatch):
    found = ["ab cd ef", "xx cx ef", "ab cd ef", "xx cx ef", "ab cd xx", "ab cd ef"]
    nats = {"ab cd ef": -9.0, "xx cx ef": -1, "ab cd xx": -2}
    lines = write_read(monkeypatch, found, nats, texts=(TEXT, TEXT))
    assert drawn == [([TEXT] * 4, [None] * 4), ([TEXT] * 2, [None] * 2)]
    assert [line.misread for line in lines] == [[], []]
    lines = write_read(monkeypatch, ["xx cx ef"] * 6, nats, words=0)
    assert lines[0].misread == ["ab", "cd"] and len(drawn) == 5


@pytest.mark.parametrize(("style", "tries"), [(None, 3), (Style(np.zeros([1, 3]), "ab"), 1)])
def test_a_misread_word_is_drawn_again_beside_its_neighbours_and_set_in(
    drawn, monkeypatch, style, tries
):
    """Before that, lines in any hand are drawn again in others."""
    nats = {"ab cd ef": -9.0, "ab cd xx": -1, "cd xx": -2, "cd ef": -3.0}
    found = ["ab cd xx"] * 2 * tries + ["cd xx", "cd ef", "ab cd ef"]
    (line,) = write_read(monkeypatch, found, nats, style=style)
    assert [texts for texts, _ in drawn] == [[TEXT] * 2] * tries + [["cd ef"] * 2]
    assert [hand.text for hand in drawn[-1][1]] == [style.text if style else TEXT] * 2
    assert line.misread == [] and line.text == TEXT
    x = positions(line)[:, 0]
    assert x[19] - x[16] == pytest.approx(90) and x[3] - x[0] == pytest.approx(50)
    assert (line.window.argmax(axis=1)[::4] == [0, 1, 3, 4, 6, 7]).all()


def test_a_word_that_nothing_mends_is_told_where_there_is_a_choice(drawn, monkeypatch):
    nats = {"ab cd ef": -9.0, "xx cd ef": -1, "ab cd": -9.0, "xx cd": -1}
    (line,) = write_read(monkeypatch, ["xx cd ef"] * 6 + ["xx cd"] * 4, nats)
    assert line.misread == ["ab"] and [texts for texts, _ in drawn[3:]] == [["ab cd"] * 2] * 2
    (line,) = write_read(monkeypatch, [], nats, candidates=1)
    assert line.misread == []


def test_misread_words_of_a_base_are_those_of_the_text(monkeypatch):
    monkeypatch.setattr(writing, "add_marks", lambda line, text, *_: line._replace(text=text))
    text = "ab € cd éf"
    spelling = split(text, " abcdef")
    line = make_line([(50, 50)] * 3, text=spelling.base)._replace(reading=Reading((0, 2), 2, -1.0))
    assert spelling.base == "ab cd ef"
    assert finish(tf.random.Generator.from_seed(1), line, text, spelling).misread == ["ab", "éf"]


def test_words_that_stay_misread_are_told_in_one_warning(monkeypatch, capsys):
    texts = [" ".join(f"w{k}{n}" for n in range(3)) for k in range(4)]
    lines = [make_line([(50, 50)] * 3, text=text) for text in texts]
    lines = [line._replace(reading=Reading((0, 1, 2), 6, -1.0)) for line in lines]
    monkeypatch.setattr(writing, "write_lines", lambda *_, **__: lines)
    args = sample.build_parser().parse_args([])
    args.texts = args.lines = texts

    class Model:
        alphabet = "w0123 "

    sample.draw_texts(args, Model, None, None)
    (told,) = capsys.readouterr().err.splitlines()
    assert "these words may be hard to read; another --seed draws them anew: w00 w01 " in told
    assert told.endswith(" w01 w02 w10 w11 w12 w20 w21 w22 w30 and 2 others")
