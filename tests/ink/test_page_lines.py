"""handwriting/ink/page_lines.py: lines are found by their height, and writing is measured."""

from handwriting.files import UserError
from handwriting.ink import page_lines

import numpy as np
import pytest

LINE = 60  # from line to line in the pages below, whose letters are 20 high


def stroke(*points):
    return np.array([[x, y, 0] for x, y in points], float)


def letter(x, y, above=0, below=0):
    """An arch on the baseline y, 20 high, with a stem that far above it and below."""
    t = np.linspace(0, np.pi, 9)
    arch = zip(x + 6 - 6 * np.cos(t), y - 20 * np.sin(t), strict=True)
    return stroke((x, y - 20 - above), (x, y + below), *arch)


def word(x, y):
    """Four letters, of which one is tall, one hangs and one has a dot, and a bar; 100 wide."""
    letters = [letter(x, y, above=20), letter(x + 25, y, below=18), letter(x + 50, y)]
    dot, bar = stroke((x + 52, y - 34)), stroke((x - 5, y - 26), (x + 8, y - 27))
    return [*letters, letter(x + 75, y), dot, bar]


def page(numbers, slope=0.0):
    """The strokes of two words in each of these lines, in this order."""
    strokes = [s for k in numbers for x in (0, 150) for s in word(x, LINE * k)]
    return [s + np.outer(s[:, 0], [0, slope, 0]) for s in strokes]


@pytest.mark.parametrize("slope", [0, 0.1, -0.15])
def test_lines_come_from_top_to_bottom_with_their_dots_bars_and_tails(slope):
    numbers = page_lines.number_lines(page([0, 2, 1], slope))
    assert numbers.tolist() == [k for k in (0, 2, 1) for _ in range(12)]
    lines = page_lines.divide(page([1, 0], slope))
    expected = page([0], slope), page([1], slope)
    for line, strokes in zip(lines, expected, strict=True):
        assert [s.tolist() for s in line] == [s.tolist() for s in strokes]


@pytest.mark.parametrize("slope", [0, 0.1, -0.15])
def test_a_line_is_one_whatever_stands_above_it_or_hangs(slope):
    assert set(page_lines.number_lines(page([0], slope))) == {0}
    for strokes in (word(0, 0), word(0, 0)[:1], word(0, 0)[4:5], [stroke((0, 0), (9, 0))]):
        assert set(page_lines.number_lines(strokes)) == {0}


def test_a_dot_that_is_added_later_is_in_the_line_below_it():
    strokes = page([0, 1])
    strokes.append(stroke((27, LINE - 34)))  # between the lines, behind the last letter
    assert page_lines.number_lines(strokes)[-1] == 1
    strokes.append(stroke((30, -34)))
    assert page_lines.number_lines(strokes)[-1] == 0


def test_capitals_of_straight_lines_are_one_line_each():
    capitals = [
        bar
        for y in (0, 50)
        for x in range(0, 90, 15)
        for bar in ([(x, y), (x, y + 20)], [(x, y), (x + 9, y)], [(x, y + 20), (x + 9, y + 20)])
    ]
    numbers = page_lines.number_lines([stroke(*bar) for bar in capitals])
    assert numbers.tolist() == [0] * 18 + [1] * 18


def test_ruled_lines_and_margins_are_no_writing():
    rules = [stroke((-20, y), (300, y + 1)) for y in (0, LINE, 2 * LINE)]
    margin = stroke((-10, -400), (-10, 500))
    strokes = [*rules, *page([0, 1]), margin]
    numbers = page_lines.number_lines(strokes)
    assert numbers.tolist() == [-1] * 3 + [0] * 12 + [1] * 12 + [-1]
    assert not page_lines.find_rules(rules).any()  # where there is nothing else, they are ink
    dash = stroke((300, -10), (360, -10))
    assert not page_lines.find_rules([*page([0]), dash]).any()


def test_a_text_is_shared_by_as_many_lines():
    assert page_lines.share_text(" one \n two\n", 2) == ["one", "two"]
    assert page_lines.share_text("one two", 2) == [None, None]
    assert page_lines.share_text("", 1) == page_lines.share_text(None, 1) == [None]


def test_a_page_that_is_no_writing_is_refused(monkeypatch):
    monkeypatch.setattr(page_lines, "MAX_LINES", 2)
    with pytest.raises(UserError, match="over 2 lines on a page"):
        page_lines.number_lines(page([0, 1, 2]))
    monkeypatch.setattr(page_lines, "MAX_STROKES", 11)
    with pytest.raises(UserError, match="over 11 strokes on a page"):
        page_lines.number_lines(page([0]))


def test_x_height_is_that_of_the_ink_in_any_unit_and_on_a_slope():
    times = np.arange(400).reshape(8, 50) / 5
    strokes = [np.stack([9 * t, 50 * np.sin(t), 0 * t], axis=1) for t in times]
    height = page_lines.estimate_x_height(strokes)
    # The standard deviation of a sine's height on its way.
    assert 50 / 2 < height * page_lines.SPREAD < 50
    small = [stroke * 0.01 for stroke in strokes]
    np.testing.assert_allclose(page_lines.estimate_x_height(small), 0.01 * height)
    sloping = [stroke + np.outer(stroke[:, 0], [0, 0.1, 0]) for stroke in strokes]
    np.testing.assert_allclose(page_lines.estimate_x_height(sloping), height, rtol=0.1)


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        ([[[1, 1, 0]]], "nothing but dots"),
        ([[[1, 1, 0], [1, 1, 0]]], "nothing but dots"),
        ([[[0, 1, 0], [5, 1, 0], [9, 1, 0]]], "nothing but a straight line"),
    ],
)
def test_ink_without_height_is_refused(strokes, words):
    with pytest.raises(UserError, match=words):
        page_lines.estimate_x_height([np.array(stroke, float) for stroke in strokes])
