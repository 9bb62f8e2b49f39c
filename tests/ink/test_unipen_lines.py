from handwriting.ink.composing import TEMPLATES, WORDS, compose, make_token
from handwriting.ink.points import to_line
from handwriting.ink.unipen import Segment
from handwriting.ink.unipen_lines import (
    chain_words,
    cut_long,
    cut_rows,
    join_pieces,
    lines_of_hand,
)
from handwriting.ink.writers import (
    BODY,
    Writer,
    clean_text,
    extent,
    fits,
    measure_writer,
    place,
    resample,
    without_strays,
)
from unipen_files import CHARACTERS, loop

import numpy as np
import pytest

WRITER = Writer(100.0, 170.0, 28.0, 100.0)


def word(text, left, base=0.0, points=28):
    """A loop for each character, from left; y points down."""
    return [
        loop(left + 100 * k, 0, 90, points) * [1, -1] + [0, base]
        for k, character in enumerate(text)
        if character != " "
    ]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("To be , or not .", "To be, or not."), (" a \t b\n", "a b"), ("u\\@ni\\@t", "unit"),
        ("3 . 5", "3. 5"), (".5 ?", ".5?"), ("", None), ("na\xefve", None),
    ],
)  # fmt: skip
def test_labels_become_what_people_would_write(label, text):
    assert clean_text(label) == text


def test_dots_far_from_the_ink_are_strays():
    ink = word("on", 0)
    dot, comma = np.array([[1000.0, -400]]), np.array([[210.0, 10]])
    assert without_strays([dot, *ink, comma]) == [*ink, comma]
    assert without_strays([dot]) == [dot]


def test_a_writer_is_measured_by_words_of_small_letters():
    segments = [("nose", word("nose", 0)), ("moon", word("moon", 50))] * 4
    tall = [("Bob", [s * [1, 2] for s in word("Bob", 0)])] * 5
    writer = measure_writer(segments + tall)
    assert np.allclose(writer, [90, 180, 28, 97.5], atol=2.5)
    assert measure_writer([]) is None
    assert measure_writer([("on", [np.zeros((1, 2))])]) is None


def test_places_on_the_baseline_follow_the_letters():
    up, down = np.array([[0.0, 0], [60, 60]]), np.array([[0.0, 0], [60, 230]])
    assert extent(place("on", [up], WRITER))[3] == 0  # stands on it
    assert extent(place("gyp", [down], WRITER))[1] == -100  # hangs by its small letters' height
    assert extent(place("By", [down], WRITER))[1] == -170
    dash = extent(place("-", [np.array([[0.0, 7], [50, 7]])], WRITER))
    assert dash[1] == dash[3] == pytest.approx(-52.5)
    assert extent(place('"', [up], WRITER))[3] < -100  # above small letters


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_resampling_keeps_the_way_and_gives_dots_some_points(factor):
    circle, dot = loop(0, 0, 100, 41), np.array([[3.0, 4]])
    drawn, dots = resample([circle, dot], 2.0, factor, 0)
    assert len(drawn) == round(41 * factor) and len(dots) >= 3 and (dots == [6, 8]).all()
    assert np.allclose(drawn[[0, -1]], 2 * circle[[0, -1]])
    assert np.allclose(np.hypot(*(drawn - 100).T), 100, atol=1)  # on the circle between, too
    if factor == 1:
        assert np.allclose(drawn, 2 * circle)


def test_smoothing_takes_steps_out_and_keeps_the_ends():
    stairs = np.stack([np.arange(30.0), np.arange(30) // 2 * 2.0], axis=1)
    (smooth,) = resample([stairs], 1.0, 1.0, 3)
    assert np.array_equal(smooth[[0, -1]], stairs[[0, -1]])
    steps = [np.abs(np.diff(line[5:-5, 1]) - 1).max() for line in (smooth, stairs)]
    assert steps[0] < 0.2 < steps[1]


def test_texts_are_cut_at_their_lines_by_how_wide_these_are():
    top, low = word("one two", 0), word("threes", 0, 400)
    found = cut_rows("one two threes", top + low, WRITER)
    assert [(text, len(ink)) for text, ink in found] == [("one two", 6), ("threes", 6)]
    assert cut_rows("one two", top, WRITER) == [("one two", top)]
    assert cut_rows("a", top + low, WRITER) == []  # fewer words than lines
    assert cut_rows("a threesomeness", top + low, WRITER) == []  # of quite other widths


def test_long_lines_are_cut_at_gaps_between_words():
    text = "noon " * 25 + "noon"
    parts = cut_long(text, word(text, 0))
    assert " ".join(t for t, _ in parts) == text and max(len(t) for t, _ in parts) <= 60
    assert [len(ink) for _, ink in parts] == [len(t.replace(" ", "")) for t, _ in parts]
    short = word("on", 0)
    assert cut_long("on", short) == [("on", short)]
    blot = word("m" * 130, 0)  # no gap tells where words are
    assert cut_long("m " * 64 + "m", [np.concatenate(blot)]) == []


def test_words_side_by_side_are_one_line_and_others_not():
    first, second = ("on", word("on", 0)), ("us", word("us", 300))
    point, far = (".", [np.array([[500.0, -4], [503, 0]])]), ("me", word("me", 300, 300))
    texts = [text for text, _ in chain_words([first, second, point, far], WRITER)]
    assert texts == ["on us.", "me"]


def test_pieces_are_joined_on_one_baseline_a_word_apart():
    pieces = [("on", word("on", 700, base)) for base in (0, 90, -50)]
    ((text, ink),) = join_pieces(pieces, WRITER, np.random.default_rng(0))
    assert text == "on on on" and {round(s[:, 1].max(), 6) for s in ink} == {0}
    lefts, rights = ([f(s[:, 0]) for s in ink] for f in (np.min, np.max))
    gaps = np.subtract(lefts[2::2], rights[1:-1:2])
    assert (gaps > 80).all() and (gaps < 160).all()


def test_composed_lines_say_what_their_characters_are():
    rng = np.random.default_rng(1)
    isolated = [
        (character, [loop(0, 0, 60 + k, 28) * [1, -1]]) for k, character in enumerate(CHARACTERS)
    ] * 4  # each of a width of its own
    lines = compose(isolated, WRITER, rng)
    assert len(lines) == len(isolated) // 20
    for text, ink in lines:
        assert [CHARACTERS[round(np.ptp(s[:, 0])) - 60] for s in ink] == list(text.replace(" ", ""))
    assert compose(isolated[:30], WRITER, rng) == []  # too few characters of a hand
    astray = [np.array([[0.0, 0], [9, 9]]), np.array([[900.0, 0], [909, 9]])]
    lines = compose([*isolated, *[(c, astray) for c in CHARACTERS]], WRITER, rng)
    assert all(np.ptp(s[:, 0]) > 9.5 for _, ink in lines for s in ink)


def test_templates_reach_all_printable_characters():
    rng = np.random.default_rng(0)
    made = "".join(make_token(template, rng) for template in TEMPLATES * 40)
    assert set(made) == {chr(k) for k in range(33, 127)} and len(set(WORDS)) == len(WORDS)


def test_ink_that_does_not_fit_its_label_is_left_out():
    assert fits("nose", word("nose", 0), WRITER)
    assert not fits("nose", word("noseless nose", 0), WRITER)
    assert not fits("nose", word("n", 0), WRITER)
    assert not fits("nose", word("nos", 0) + word("e", 300, 600), WRITER)


def test_lines_of_a_hand_have_the_databases_size_and_points():
    words = [Segment("WORD", "OK", "nose", [s / 7 for s in word("nose", 0)]) for _ in range(30)]
    bad = [Segment("WORD", "BAD", "moon", word("moon", 0))] * 9
    lines = lines_of_hand([words, bad], [], np.random.default_rng(0))
    assert {w for text, _ in lines for w in text.split()} == {"nose"}
    assert sum(text.count("nose") for text, _ in lines) == 30
    for text, ink in lines:
        assert np.ptp(np.concatenate(ink)[:, 1]) == pytest.approx(BODY, rel=0.06)
        line = to_line(ink)
        assert line.dtype == np.int16 and line[:, 2].sum() == len(text.replace(" ", ""))
        assert 20 < len(line) / len(text.replace(" ", "")) < 36
        assert (np.cumsum(line[:, :2], axis=0).min(axis=0) == 100).all()
