"""handwriting/page/lines.js: which drawing of a line is kept, and the hand of the next ones."""

from conftest import make_line
from handwriting.text.lines import join_lines

import numpy as np
import pytest
from in_node import ALPHABET, KINDS, STYLE, draw_words, make_network, make_reader, node, pack_line

TEXT = "ab cd ef"


@pytest.mark.parametrize("known", ["eo", ALPHABET])
def test_of_each_line_the_best_drawing_is_kept_and_badly_read_lines_are_drawn_again(known):
    """A reader that does not know x, v and w finds no word of the text misread."""
    _, weights = make_network(**KINDS["text"])
    found = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights)), text = "six seven two";
        const reader = new reading.Reader(engine.readTensors(given.reader));
        return Array.from({length: 6}, (_, number) => {
          const seed = 7919 * number;
          const noise = new engine.Noise(seed);
          const draw = () => result(drawLine(
            model, new engine.Noise(2 ** 32 * noise.uniform()), text, 0.5, null));
          const all = Array.from({length: 12}, draw);
          const again = new engine.Noise(seed);
          const line = result(lines.bestLine(model, reader, again, text, 0.5, null));
          const {points, zHats, windows, problem} = line;
          const read = all.map((line) => reading.readBack(reader, line));
          return {all: all.map((line, k) => [Boolean(engine.findProblem(line)), read[k].wrong,
              -read[k].likely.toFixed(2), line.points.length, read[k].misread.length]),
            best: [Boolean(problem), points.length, line.reading.misread.length],
            ends: points.at(-1)[2], lengths: [points.length, zHats.length, windows.length]};
        });
        """,
        weights=weights,
        reader=make_reader(known)[1],
    )
    drawn, chosen = [], set()
    for line in found:
        best = [min(line["all"][: 3 * tries]) for tries in (1, 2, 3, 4)]
        good = [not problem and (not misread or tries > 0)
                for tries, (problem, *_, misread) in enumerate(best)]  # fmt: skip
        tries = good.index(True) if any(good) else 3
        drawn.append(tries + 1)
        problem, *_, length, misread = best[tries]
        assert line["best"] == [problem, length, misread]
        assert line["ends"] == 1 and len(set(line["lengths"])) == 1
        chosen.add(line["all"].index(best[tries]) % 3)
    assert (1 in drawn) == (known == "eo") and len(chosen) > 1, drawn


def test_a_hand_at_random_is_that_of_the_first_lines():
    first, second = STYLE.strokes, make_line(30, np.random.default_rng(6)).astype(float)
    joined = node(
        "return lines.joinLine({strokes: given.first, text: 'one'}, {points: given.second, "
        "text: 'seven'});",
        first=first.tolist(),
        second=second.tolist(),
    )
    theirs, text = join_lines([first, second], ["one", "seven"])
    assert joined["text"] == text
    ours = np.array(joined["strokes"])
    x, expected = np.cumsum(ours[:, :2], axis=0).T, np.cumsum(theirs[:, :2], axis=0).T
    np.testing.assert_allclose(x[1], expected[1], atol=1)  # it rounds, and takes a usual gap
    assert x[0, : len(first)].max() < x[0, len(first) :].min()
    np.testing.assert_array_equal(ours[:, 2], theirs[:, 2])


@pytest.mark.parametrize(
    ("text", "misread", "words"),
    [
        ("one two", [1], ["two"]),
        ("one two", [], []),
        ("tw\u00f6 \u20ac one", [0, 1], ["tw\u00f6", "one"]),
    ],
)
def test_misread_words_are_named_as_the_text_has_them(text, misread, words):
    found = node(
        """
        const spelt = spelling.split(given.text, given.alphabet);
        const line = {text: spelt.base, reading: {misread: given.misread}};
        return lines.wordsMisread(line, given.text, spelt);
        """,
        text=text,
        misread=misread,
        alphabet=ALPHABET,
    )
    assert found == words


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
    line, again = draw_words(TEXT), draw_words("cd efi")._replace(text="cd ef")
    length = len(line.strokes) + len(draw_words("i").strokes)
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
        line=pack_line(line),
        drawn=[pack_line(again)] * 6,
        read=[[len(again.strokes), "cd ef", []], [length, TEXT, []]],
    )
    assert found["asked"] == [["cd ef", TEXT], ["cd ef", "x"]]
    assert found["texts"] == [TEXT] * 2 and found["lengths"] == [length] * 2
    assert found["misread"] == [[], []]


def test_a_style_lends_words_of_its_other_drawings():
    line, other = draw_words(TEXT), draw_words("abi cd efii")
    other = other._replace(text=TEXT, window=np.delete(other.window, [2, 9, 10], axis=1))
    length, letter = len(line.strokes), len(draw_words("i").strokes)
    found = node(
        MADE_UP
        + """
        const best = (style) => result(lines.bestLine(
          model, null, new engine.Noise(1), given.line.text, 2, style));
        return [best({strokes: [], text: "x"}), best(null)].map(({points, reading}) =>
          [points.length, reading.misread]);
        """,
        line=pack_line(line),
        drawn=[pack_line(each) for each in (line, line, other)] * 3,
        read=[[length + k * letter, TEXT, misread] for k, misread in ((0, [2]), (2, []), (3, [0]))],
    )
    assert found == [[length + 2 * letter, []], [length, [2]]]
