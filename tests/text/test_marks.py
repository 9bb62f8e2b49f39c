"""handwriting/text/marks.py and letters.py: marks and glyphs on a line of made-up letters."""

from handwriting.text.letters import Frame, pen_path
from handwriting.text.marks import add_marks, read_line
from handwriting.text.spelling import split
from handwriting.text.words import find_words
from letters import ALPHABET, LEAN, SIZE, WIDE, draw_letters

import numpy as np
import pytest


def marked(text, seed=0, **how):
    """The line of a text with its marks, and for each stroke its positions, upright: x where it
    meets the baseline and height; and its place in the text."""
    spelling = split(text, ALPHABET)
    line = draw_letters(spelling.base or "a", **how)
    line = add_marks(line, text, spelling, np.random.default_rng(seed).random)
    xy = np.cumsum(line.strokes[:, :2], axis=0, dtype=float)
    high = 500 - xy[:, 1]
    upright = np.stack([xy[:, 0] - how.get("lean", LEAN) * high, high], axis=1)
    ends = np.flatnonzero(line.strokes[:-1, 2]) + 1
    places = [int(part.sum(axis=0).argmax()) for part in np.split(line.window, ends)]
    return line, np.split(upright, ends), places


def middle(stroke):
    return (stroke.min(axis=0) + stroke.max(axis=0)) / 2


@pytest.mark.parametrize("lean", [0.0, 0.3])
@pytest.mark.parametrize(
    ("letter", "low", "high"),
    [
        ("\u00e9", 1.1, 1.9), ("\u00f4", 1.1, 1.9), ("\u00fc", 1.1, 1.9), ("\u0161", 1.1, 1.9),
        ("\u016f", 1.1, 1.9), ("\u1ebf", 1.1, 2.1), ("\u00c1", 2.1, 2.9), ("\u0151", 1.1, 1.9),
        ("\u00e7", -0.6, 0.15), ("\u0163", -0.7, 0.1), ("\u1ecd", -0.5, 0.0), ("\u0119", -0.6, 0.2),
        ("\u00f8", -0.4, 1.4), ("\u0142", 0.6, 1.5), ("\u0111", 1.3, 1.9), ("\u0123", 1.1, 1.9),
    ],
)  # fmt: skip
def test_marks_lie_above_below_or_through_their_letter_in_its_slant(letter, low, high, lean):
    for seed in range(5):
        _, strokes, places = marked(f"on {letter}n do", seed, lean=lean)
        bare = 2 + 1 + 1 + 2
        marks = [s for s, place in zip(strokes, places, strict=True) if place == 3][1:]
        assert len(strokes) == bare + len(marks) and marks
        points = np.concatenate(marks)
        assert low * SIZE < points[:, 1].min() and points[:, 1].max() < high * SIZE
        (own,) = (
            s for s, place in zip(strokes, places, strict=True) if place == 3 and len(s) == 21
        )
        assert abs(middle(points)[0] - middle(own)[0]) < 0.5 * SIZE
        assert 4 < np.ptp(points, axis=0).max() < 1.8 * SIZE


def test_marks_come_behind_the_ink_of_their_word_and_no_two_are_the_same():
    line, strokes, places = marked("n\u00e9c\u00e9 on")
    assert places == [0, 1, 2, 3, 1, 3, 5, 6]
    one, two = (strokes[k] - strokes[k][0] for k in (4, 5))
    assert len(one) != len(two) or np.abs(one - two).max() > 0.5
    steps = np.hypot(*np.diff(strokes[4], axis=0).T)
    assert 3 < steps.mean() < 30 and steps[0] < steps.max()
    again, other = marked("n\u00e9c\u00e9 on")[0], marked("n\u00e9c\u00e9 on", seed=1)[0]
    np.testing.assert_array_equal(line.strokes, again.strokes)
    assert not np.array_equal(line.strokes, other.strokes)


def test_i_and_j_lose_their_dot_under_a_mark_and_only_there():
    for text, count in (
        ("ni\u0144", 5),
        ("n\u00edn", 4),
        ("nin\u00ed", 6),
        ("n\u0131n", 3),
        ("n\u1ecbn", 5),
    ):
        _, strokes, _ = marked(text)
        dots = [s for s in strokes if len(s) == 5 and s[:, 1].min() > 1.5 * SIZE]
        assert len(strokes) == count
        assert len(dots) == text.count("i") + text.count("\u1ecb")


def test_strokes_params_and_window_fit_together():
    text = "n\u00edn \u00df\u00e9\u20ac, \u00a7"
    line, _, _ = marked(text)
    n = len(line.strokes)
    assert line.text == text and line.window.shape == (n, len(text))
    assert {len(value) for value in line.params} == {n}
    added = np.flatnonzero(line.window.max(axis=1) == 1)
    assert {text[k] for k in line.window[added].argmax(axis=1)} == set(
        "\u00ed\u00df\u00e9\u20ac\u00a7"
    )
    own = np.setdiff1d(np.arange(n), added)
    moves = line.strokes[:, :2]
    # A density moves with its point; that of an added point is narrow and lies on it.
    for k, mu in enumerate((line.params.mu1, line.params.mu2)):
        np.testing.assert_allclose(mu[own, 0] - moves[own, k], (5, -5)[k], atol=1e-3)
        np.testing.assert_array_equal(mu[added], np.repeat(moves[added, k : k + 1], 3, axis=1))
    np.testing.assert_array_equal(line.params.pi.sum(axis=1)[added], 1)
    assert (line.params.sigma1[added] == 1).all() and (line.params.sigma1[own] == 9).all()
    np.testing.assert_array_equal(line.params.eos[added], line.strokes[added, 2])
    (words,) = find_words([line])
    assert [word.text for word in words] == text.split()


@pytest.mark.parametrize("joined", [False, True])
def test_a_glyph_stands_between_its_neighbours_and_moves_what_follows(joined):
    _, strokes, places = marked("no\u00dfnd on", joined=joined)
    glyph = strokes[places.index(2)]
    assert glyph[:, 1].min() > -0.5 * SIZE and 1.4 * SIZE < glyph[:, 1].max() < 2.2 * SIZE
    before = max(s[:, 0].max() for s, place in zip(strokes, places, strict=True) if place < 2)
    if joined:
        return
    after = min(s[:, 0].min() for s, place in zip(strokes, places, strict=True) if place == 3)
    assert 0 < glyph[:, 0].min() - before < 0.5 * SIZE
    assert 0 < after - glyph[:, 0].max() < 0.5 * SIZE
    edges = [middle(strokes[places.index(place)])[0] for place in (3, 4)]
    assert edges[1] - edges[0] == pytest.approx(WIDE + 30, abs=1)


def test_a_gap_is_as_wide_as_a_space():
    edges = []
    for text in ("no\u2003on", "no \u2003 on"):
        _, strokes, places = marked(text)
        left = max(s[:, 0].max() for s, p in zip(strokes, places, strict=True) if p < 2)
        right = min(s[:, 0].min() for s, p in zip(strokes, places, strict=True) if p > 2)
        edges.append(right - left)
    assert 0.7 * SIZE < edges[0] < 1.7 * SIZE
    assert edges[1] == pytest.approx(3 * edges[0], rel=0.01)


def test_a_text_of_glyphs_alone_has_their_ink_alone():
    line, strokes, places = marked("\u20ac\u00a7")
    assert places == [0, 0, 0, 1, 1] and len(line.strokes) == sum(map(len, strokes))
    assert 0 < min(s[:, 0].min() for s in strokes[3:]) - strokes[0][:, 0].min() < 2 * SIZE


def test_a_frame_is_that_of_the_line():
    _, frame = read_line(draw_letters("on aLso"), None)
    assert frame[:3] == pytest.approx((SIZE, 2 * SIZE, LEAN), rel=0.1)


def test_the_pen_goes_smoothly_round_bends_and_sharply_round_corners():
    bend, corner = (
        pen_path(SIZE * np.array(points, float))
        for points in ([[0, 0], [1, 1], [2, 0]], [[0, 0], [1, 1], [1, 1], [2, 0]])
    )
    for path in (bend, corner):
        np.testing.assert_allclose(path[[0, -1]], [[0, 0], [2 * SIZE, 0]], atol=1e-9)
    steps = [np.diff(path, axis=0) for path in (bend, corner)]
    turns = [np.abs(np.diff(np.arctan2(step[:, 1], step[:, 0]))).max() for step in steps]
    assert turns[0] < 0.9 and turns[1] > 1.0
    assert Frame(1, 2, 0, lambda: 1.0).wobble(0.2) == 0.2
