"""handwriting/page/reading.js: the reader in the page is that of text/reader.py."""

from conftest import make_line
from handwriting.text import choosing
from handwriting.text.pen import Line
from handwriting.text.reader import features

import numpy as np
import pytest
from in_node import make_reader, node

LINES = [make_line(n, np.random.default_rng(n)).astype(float) for n in (1, 2, 90, 600)]
LARGE = LINES[2] * [3, 3, 1]  # with strokes of many steps


def read_here(script, **given):
    """What the body of a function of `given` and `reader` returns, in Node."""
    begin = "const reader = new reading.Reader(engine.readTensors(given.reader));"
    return node(begin + script, reader=make_reader()[1], **given)


@pytest.mark.parametrize("line", [*LINES, LARGE], ids=len)
def test_frames_and_probabilities_are_those_of_the_reader(line):
    reader, _ = make_reader()
    frames, logits, read, nats = read_here(
        """
        const logits = reader.look(given.line);
        return [reading.features(given.line), logits.map((frame) => [...frame]),
          reader.text(logits), given.texts.map((text) => reader.logProbability(logits, text))];
        """,
        line=line.tolist(),
        texts=["two", "sex x", "see", "Q"],
    )
    np.testing.assert_allclose(frames, features(line), atol=1e-4)
    (expected,) = reader.look([line])
    shifted = np.array(logits) - np.max(logits, axis=1, keepdims=True)
    np.testing.assert_allclose(shifted, expected - expected.max(axis=1, keepdims=True), atol=1e-3)
    assert np.exp(logits).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert read == reader.text(expected)
    theirs = reader.log_probabilities([expected] * 4, ["two", "sex x", "see", "Q"])
    assert [-np.inf if n is None else n for n in nats] == pytest.approx(theirs, abs=1e-2)


@pytest.mark.parametrize(
    ("read", "text"),
    [("two six", "two six"), ("tw osix", "two six"), ("O", "0 0"), ("", "one two"),
     ("seven ten two", "seven  two"), ("xonext wo", "one two")],
)  # fmt: skip
def test_words_are_read_as_in_the_program(read, text):
    assert node("return reading.wordsRead(given.read, given.text);", read=read, text=text) == (
        choosing.words_read(read, text)
    )


def test_a_line_is_read_back_as_in_the_program():
    reader, _ = make_reader()
    texts = ["two six", "one Q two", reader.text(reader.look(LINES[3:])[0]).strip() or "x", "i"]
    ours = read_here(
        "return given.texts.map((text) => reading.readBack(reader, {points: given.line, text}));",
        line=LINES[3].tolist(),
        texts=texts,
    )
    lines = choosing.read_back(reader, [Line(text, LINES[3], None, None, "") for text in texts])
    for found, line in zip(ours, lines, strict=True):
        assert (tuple(found["misread"]), found["wrong"]) == line.reading[:2]
        assert found["likely"] == pytest.approx(line.reading.log_probability, rel=1e-5)
    assert any(found["misread"] for found in ours) and not all(found["misread"] for found in ours)


def test_the_drawing_that_is_read_best_is_better():
    def make(problem, wrong, likely, points):
        return {"problem": problem, "points": [0] * points,
                "reading": {"wrong": wrong, "likely": likely}}  # fmt: skip

    ranks = [("", 0, -0.1, 9), ("", 0, -0.2, 5), ("", 0, -0.2, 9), ("", 1, -0.1, 5), ("x", 0, 0, 5)]
    drawings = [make(*rank) for rank in ranks]
    better = node(
        "return given.all.map((a) => given.all.map((b) => reading.isBetter(a, b)));", all=drawings
    )
    assert better == np.triu(np.ones([5, 5], bool), 1).tolist()
