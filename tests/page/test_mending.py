"""handwriting/page/mending.js: words are set in as text/choosing.py does it."""

from handwriting.ink.points import baseline
from handwriting.text import choosing

import numpy as np
import pytest
from in_node import SCALE, draw_words, node, pack_line

TEXT = "ab cd ef"


@pytest.fixture(autouse=True)
def ink_of_any_amount(monkeypatch):
    monkeypatch.setattr(choosing, "find_problem", lambda *_: "")


def slope_of(line):
    return baseline(*line.strokes[:, :2].cumsum(axis=0, dtype=float).T)[0]


@pytest.mark.parametrize("slopes", [(0.0, 0.0), (0.05, -0.03)])
@pytest.mark.parametrize(("word", "place", "said"), [(1, 1, TEXT), (2, 1, "cd ef"), (0, 0, "ab")])
def test_a_word_is_set_in_as_in_the_program(slopes, word, place, said):
    line, other = draw_words(TEXT, 1.0, slopes[0]), draw_words(said, 1.3, slopes[1])
    mended = node(
        "return mending.splice(given.line, given.other, given.word, given.place);",
        line=pack_line(line), other=pack_line(other), word=word, place=place,
    )  # fmt: skip
    points = np.array(mended["points"])
    means = np.array(mended["zHats"])[:, 2:4] * SCALE + mended["moves"]
    np.testing.assert_allclose(means, points[:, :2], atol=1e-3)
    points[:, 1] -= slope_of(line) * points[:, 0]
    for each in (line, other):  # the program's drawings are level
        each.strokes[:, 1] -= slope_of(each) * each.strokes[:, 0]
    expected = choosing.splice(line, other, word, place)
    np.testing.assert_allclose(points, expected.strokes, atol=0.01)
    window = [[phi[str(u)] for u in range(len(TEXT))] for phi in mended["windows"]]
    np.testing.assert_allclose(window, expected.window, atol=1e-6)
    assert mended["text"] == TEXT


def test_words_that_a_stroke_joins_are_not_taken_apart():
    script = "return mending.splice(given.line, given.other, 0, 0);"
    line, joined = pack_line(draw_words(TEXT)), pack_line(draw_words(TEXT, joined=True))
    assert node(script, line=line, other=joined) is None
    assert node(script, line=joined, other=line) is None
    assert node(script, line=line, other=line)["text"] == TEXT
