"""handwriting/page/mending.js and redrawWords of lines.js: as text/choosing.py and text/writing.py
have them.
"""

from handwriting.text import choosing
from handwriting.text.lines import baseline
from letters import draw_letters

import numpy as np
import pytest
from test_page import node

TEXT, SCALE = "ab cd ef", 20.0


@pytest.fixture(autouse=True)
def ink_of_any_amount(monkeypatch):
    monkeypatch.setattr(choosing, "find_problem", lambda *_: "")


def draw(text, wide=1.0, slope=0.0, joined=False):
    """A made-up Line, so many times as wide, on a slope."""
    line = draw_letters(text, joined=joined)
    line.strokes[:, 0] *= wide
    line.strokes[:, 1] += slope * line.strokes[:, 0]
    return line


def pack(line):
    """A Line as the page has it, with one component in the middle of each point."""
    density = np.zeros([len(line.strokes), 7])
    density[:, 2:4] = line.strokes[:, :2] / SCALE
    return {"text": line.text, "points": line.strokes.tolist(), "zHats": density.tolist(),
            "windows": line.window.tolist()}  # fmt: skip


def slope_of(line):
    return baseline(*line.strokes[:, :2].cumsum(axis=0, dtype=float).T)[0]


@pytest.mark.parametrize("slopes", [(0.0, 0.0), (0.05, -0.03)])
@pytest.mark.parametrize(("word", "place", "said"), [(1, 1, TEXT), (2, 1, "cd ef"), (0, 0, "ab")])
def test_a_word_is_set_in_as_in_the_program(slopes, word, place, said):
    line, other = draw(TEXT, 1.0, slopes[0]), draw(said, 1.3, slopes[1])
    mended = node(
        "return mending.splice(given.line, given.other, given.word, given.place, given.scale);",
        line=pack(line), other=pack(other), word=word, place=place, scale=SCALE,
    )  # fmt: skip
    points = np.array(mended["points"])
    np.testing.assert_allclose(np.array(mended["zHats"])[:, 2:4] * SCALE, points[:, :2], atol=1e-3)
    points[:, 1] -= slope_of(line) * points[:, 0]
    for each in (line, other):  # the program's drawings are level
        each.strokes[:, 1] -= slope_of(each) * each.strokes[:, 0]
    expected = choosing.splice(line, other, word, place)
    np.testing.assert_allclose(points, expected.strokes, atol=0.01)
    window = [[phi[str(u)] for u in range(len(TEXT))] for phi in mended["windows"]]
    np.testing.assert_allclose(window, expected.window, atol=1e-6)
    assert mended["text"] == TEXT


def test_words_that_a_stroke_joins_are_not_taken_apart():
    script = "return mending.splice(given.line, given.other, 0, 0, 20);"
    line, joined = pack(draw(TEXT)), pack(draw(TEXT, joined=True))
    assert node(script, line=line, other=joined) is None
    assert node(script, line=joined, other=line) is None
    assert node(script, line=line, other=line)["text"] == TEXT


# What is drawn and read is made up: a drawing says what its text is but for the words in `wrong`.
MADE_UP = """
const asked = [], drawings = [...given.drawn];
globalThis.beginLine = function* (model, text, style) {
  asked.push([text, style && style.text]);
  return {};
};
globalThis.drawBegun = function* () { return structuredClone(drawings.shift()); };
globalThis.findProblem = () => "";
globalThis.readBack = (reader, {text, points}) => {
  const misread = given.read.find(([length, said]) => length === points.length && said === text)[2];
  return {misread, wrong: misread.length, likely: -1};
};
const model = {dataScale: 20};
"""


def test_a_misread_word_is_drawn_again_beside_its_neighbours_and_set_in():
    line, again = draw(TEXT), draw("cd efi")._replace(text="cd ef")
    length = len(line.strokes) + len(draw("i").strokes)
    found = node(
        MADE_UP
        + """
        const line = {...given.line, problem: "", reading: {misread: [2], wrong: 1, likely: -1}};
        const mended = [null, {strokes: [], text: "x"}].map((style) =>
          result(lines.redrawWords(model, null, new engine.Noise(1), line, 2, style)));
        return {asked, texts: mended.map(({text}) => text),
          lengths: mended.map(({points}) => points.length),
          misread: mended.map(({reading}) => reading.misread)};
        """,
        line=pack(line),
        drawn=[pack(again)] * 6,
        read=[[len(again.strokes), "cd ef", []], [length, TEXT, []]],
    )
    assert found["asked"] == [["cd ef", TEXT], ["cd ef", "x"]]
    assert found["texts"] == [TEXT] * 2 and found["lengths"] == [length] * 2
    assert found["misread"] == [[], []]


def test_a_style_lends_words_of_its_other_drawings():
    line, other = draw(TEXT), draw("abi cd efii")
    other = other._replace(text=TEXT, window=np.delete(other.window, [2, 9, 10], axis=1))
    length, letter = len(line.strokes), len(draw("i").strokes)
    found = node(
        MADE_UP
        + """
        const best = (style) => result(lines.bestLine(
          model, null, new engine.Noise(1), given.line.text, 2, style));
        return [best({strokes: [], text: "x"}), best(null)].map(({points, reading}) =>
          [points.length, reading.misread]);
        """,
        line=pack(line),
        drawn=[pack(each) for each in (line, line, other)] * 2,
        read=[[length + k * letter, TEXT, misread] for k, misread in ((0, [2]), (2, []), (3, [0]))],
    )
    assert found == [[length + 2 * letter, []], [length, [2]]]
