"""Words, lines, pages and files of `sample.py --paper`."""

import itertools
import re
import xml.etree.ElementTree as ET
from argparse import Namespace
from collections import namedtuple

import model as model_py
import sample
from conftest import quick_model, status_of
from handwriting.drawing import sheets
from handwriting.drawing.sheets import (
    Paragraph,
    break_rows,
    read_paragraphs,
    set_paragraph,
    write_sheets,
)
from handwriting.files import UserError
from handwriting.text import writing
from handwriting.text.words import DOT, Word, find_words

import numpy as np
import pytest
from test_svg import INKSCAPE, read_layers

Line = namedtuple("Line", "text strokes window")
# A letter u, 50 pen units wide and 100 high; the next one is 80 to the right, a space is 150 more.
LETTER = np.array(
    [[0, -100], [0, -50], [10, -5], [25, 0], [40, -5], [50, -50], [50, -100]], float
)
STRAIGHT = itertools.repeat((0.0, 0.0))  # edges


def draw(text, late=(), looks=None, bend=lambda strokes: strokes):
    """A made-up line, each letter a u.

    late: places of letters whose dot comes after the letter behind. looks: where in the text the
    window looks during each stroke. bend: what is done to the strokes, in pen units.
    """
    x, strokes, places, dots = 0.0, [], [], []
    for place, character in enumerate(text):
        if character == " ":
            x += 150
            continue
        strokes += [np.add(LETTER, (x, 0)), *dots]
        places += [place] * (1 + len(dots))
        dots = [np.array([[x + 25, -160.0]])] if place in late else []
        x += 80
    strokes = bend(strokes)
    lengths = [len(stroke) for stroke in strokes]
    points = np.zeros([sum(lengths), 3])
    points[:, :2] = np.diff(np.concatenate(strokes), axis=0, prepend=0)
    points[np.cumsum(lengths) - 1, 2] = 1
    window = np.full([len(points), len(text)], 0.01)
    looked = np.repeat(places if looks is None else looks, lengths)
    window[np.arange(len(points)), looked] = 1.0
    return Line(text, points, window)


def made_words(*widths, gap=2.0):
    """Words of these widths in mm, each one stroke from 3 above the baseline to 1 below."""
    return [
        Word(f"w{k}", [np.array([[0.0, -3], [width, 1]])], gap) for k, width in enumerate(widths)
    ]


def spans(row):
    """Left and right ends of a row's strokes."""
    return [(*stroke[:, 0].tolist(),) for stroke in row]


# ------------------------------------------------------------------------------------------ words


def test_strokes_are_the_words_that_the_window_tells():
    (words,) = find_words([draw("one two, six")])
    assert [word.text for word in words] == ["one", "two,", "six"]
    assert [len(word.strokes) for word in words] == [3, 4, 3]
    assert [word.width for word in words] == pytest.approx([2.1, 2.9, 2.1])  # x-heights
    assert [word.gap for word in words] == pytest.approx([1.8, 1.8, 1.8])
    np.testing.assert_allclose(words[1].strokes[1], np.add(LETTER, (80, 0)) / 100, atol=1e-6)


def test_a_dot_that_comes_late_belongs_to_the_word_that_it_is_over():
    line = draw("on tin on", late=[5])
    assert line.window[np.flatnonzero(line.strokes[:, 2])[6]].argmax() == 7  # it looks ahead
    (words,) = find_words([line])
    assert [len(word.strokes) for word in words] == [2, 4, 2]
    # A dash, since a path of no length draws nothing.
    middle = 1.6 + 0.25
    dash = [[middle - DOT / 2, -1.6], [middle + DOT / 2, -1.6]]
    np.testing.assert_allclose(words[1].strokes[3], dash, atol=1e-6)


def test_a_window_that_runs_ahead_is_corrected_by_the_gaps():
    (words,) = find_words([draw("on tin on", looks=[0, 3, 3, 4, 7, 7, 8])])
    assert [len(word.strokes) for word in words] == [2, 3, 2]


def test_words_that_a_stroke_joins_stay_together():
    def join(strokes):
        return [*strokes[:1], np.concatenate(strokes[1:3]), *strokes[3:]]

    (words,) = find_words([draw("on on six", looks=[0, 3, 4, 6, 7, 8], bend=join)])
    assert sum(len(word.strokes) for word in words) == 6
    assert [word.text for word in words][-1] == "six" and len(words) in (2, 3)
    assert max(len(stroke) for word in words for stroke in word.strokes) == 14


@pytest.mark.parametrize(("text", "x_height"), [("ON ON ON ON one one one", 1.0), ("ON ON", 0.96)])
def test_words_of_capitals_stay_as_tall_as_they_are(text, x_height):
    """Capitals 1.6 x-heights tall; alone, six tenths of them are the x-height."""

    def bend(strokes):
        tall = [c.isupper() for c in text if c != " "]
        return [stroke * [1, 1.6 if t else 1] for stroke, t in zip(strokes, tall, strict=True)]

    (words,) = find_words([draw(text, bend=bend)])
    heights = [np.ptp(np.concatenate(word.strokes)[:, 1]) * x_height for word in words]
    assert heights == pytest.approx([1.6 if word.text == "ON" else 1.0 for word in words], rel=0.05)


def test_every_word_stands_on_its_baseline():
    """In a line that rises and jumps down."""

    def bend(strokes):
        jumps = [0] * 6 + [70] * 6
        pairs = zip(strokes, jumps, strict=True)
        return [np.add(stroke, (0, jump - 0.02 * stroke[0, 0])) for stroke, jump in pairs]

    for word in find_words([draw("one two six ten", bend=bend)])[0]:
        low, high = word.strokes[1][:, 1].max(), word.strokes[1][:, 1].min()
        assert (low, high) == pytest.approx((0, -1), abs=0.05)


def test_a_word_without_a_baseline_of_its_own_has_that_of_its_neighbours():
    """Three quotation marks, as high as letters are."""

    def bend(strokes):
        half = [stroke * [1, 0.5] - [0, 80] for stroke in strokes]
        return [*strokes[:2], *half[2:5], *strokes[5:]]

    (words,) = find_words([draw('on """ on on', bend=bend)])
    heights = [np.concatenate(word.strokes)[:, 1].max() for word in words]
    assert heights == pytest.approx([0, -0.8, 0, 0], abs=0.05)


def test_words_much_larger_than_the_hand_are_made_smaller():
    def twice(strokes):
        return [2 * stroke for stroke in strokes]

    lines = [draw("on on on"), draw("on on on"), draw("on on on", bend=twice)]
    widths = [[word.width for word in words] for words in find_words(lines)]
    np.testing.assert_allclose(widths[:2], 1.3)
    np.testing.assert_allclose(widths[2], 1.3 * 1.15)


# ------------------------------------------------------------------------------------------- text


def test_paragraphs_empty_lines_and_indents_are_kept():
    text = ["One  two\tthree", "", "\t tabs", "        four", "", ""]
    assert read_paragraphs(text) == [
        Paragraph(0.0, ["One two three"]),
        Paragraph(0.0, []),
        Paragraph(1.25, ["tabs"]),
        Paragraph(2.0, ["four"]),
    ]


def test_pieces_are_cut_at_spaces_into_like_lengths():
    words = "a fairly long paragraph with well-known words " * 9 + "x" * 90
    (paragraph,) = read_paragraphs([words])
    assert " ".join(paragraph.pieces) == words
    *lengths, last = map(len, paragraph.pieces)
    assert last == 90 and min(lengths[:-1]) >= 45 and max(lengths) <= 70


# ----------------------------------------------------------------------------------------- layout


def test_rows_take_as_many_words_as_have_room():
    words = made_words(10, 8, 5, 20, 3, 3)
    rows = [row for row, *_ in break_rows(words, 20.0, 0.0, STRAIGHT)]
    assert [[word.text for word in row] for row in rows] == [["w0", "w1"], ["w2"], ["w3"],
                                                             ["w4", "w5"]]  # fmt: skip
    assert len(break_rows(words[:2], 20.0, 0.1, STRAIGHT)) == 2


def test_a_paragraph_without_words_is_an_empty_row():
    assert set_paragraph([], 20.0, 0.0, "left", STRAIGHT) == [[]]


@pytest.mark.parametrize(
    ("align", "expected"), [("left", [(2, 12), (0.5, 12.5)]), ("right", [(9, 19), (6, 18)])]
)
def test_rows_stay_within_the_margins_as_their_edges_tell(align, expected):
    edges = iter([(1.0, 1.0), (0.5, 2.0)])
    rows = set_paragraph(made_words(10, 12), 20.0, 1.0, align, edges)
    assert [span for row in rows for span in spans(row)] == expected


@pytest.mark.parametrize(
    ("align", "first", "last"),
    [
        ("left", [(1, 6), (8, 13)], [(0, 9)]),
        ("justify", [(1, 6), (15, 20)], [(0, 9)]),
        ("center", [(4.5, 9.5), (11.5, 16.5)], [(5.5, 14.5)]),
        ("right", [(8, 13), (15, 20)], [(11, 20)]),
    ],
)
def test_rows_are_aligned_and_only_gaps_stretch(align, first, last):
    rows = set_paragraph(made_words(5, 5, 9), 20.0, 1.0, align, STRAIGHT)
    assert [spans(row) for row in rows] == [first, last]


def test_a_word_longer_than_a_line_is_told_and_drawn_smaller():
    with pytest.warns(UserWarning, match="^w1 is longer than a line and drawn smaller$"):
        rows = set_paragraph(made_words(5, 40, 5), 20.0, 4.0, "left", STRAIGHT)
    assert [spans(row) for row in rows] == [[(4, 9)], [(0, 20)], [(0, 5)]]
    np.testing.assert_allclose(rows[1][0][:, 1], [-1.5, 0.5])


ARGS = {
    "paper": (100.0, 50.0), "margin": 10.0, "line_spacing": 8.0, "x_height": 2.0, "align": "left",
    "unevenness": 0.0, "ruled": False, "pen_width": 0.4, "color": "navy", "animate": False,
    "speed": 1.0,
}  # fmt: skip


def write(folder, text, seed=0, **changes):
    """The layers of the pages of a made-up letter: a list of what read_layers returns."""
    paragraphs = read_paragraphs(text.split("\n"))
    pieces = [piece for paragraph in paragraphs for piece in paragraph.pieces]
    changes = {"paragraphs": paragraphs, "filename": f"{folder}/a", **changes}
    words = find_words([draw(piece) for piece in pieces])
    args = Namespace(**{**ARGS, **changes})
    files = write_sheets(words, args, np.random.default_rng(seed))
    assert files == [f"{folder}/a.page-{k}.svg" for k in range(1, len(files) + 1)]
    return [read_layers(file) for file in files]


@pytest.mark.parametrize("align", sheets.SHARE)
def test_no_mark_leaves_the_margins_and_baselines_are_a_line_spacing_apart(tmp_path, align):
    text = "one two six ten\n" * 2 + "\n\tseven eight nine " + "ten eleven twelve " * 12
    pages = write(tmp_path, text, align=align)
    assert len(pages) == 3
    heights = []
    for _, layers in pages:
        points = np.concatenate(layers["writing"])
        assert (points >= 10.2 - 0.005).all() and (points <= [89.8 + 0.005, 39.8 + 0.005]).all()
        heights.append(sorted({stroke[:, 1].max() for stroke in layers["writing"]}))
    # The letters reach 2 mm up from the baseline; the third line of the text is empty.
    grid = np.arange(12.2, 39.8, 8)
    np.testing.assert_allclose(heights[0], grid[[0, 1, 3]])
    np.testing.assert_allclose(heights[1], grid)
    letters = sum(len(layers["writing"]) for _, layers in pages)
    assert letters == len(re.sub(r"\s", "", text))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unevenness", [0.3, 1.0])
@pytest.mark.parametrize("align", sheets.SHARE)
def test_uneven_lines_stay_within_the_margins(tmp_path, align, unevenness, seed):
    text = "one two six ten\n\n\tseven eight nine " + "ten eleven twelve " * 12
    for root, _ in write(tmp_path, text, seed, align=align, unevenness=unevenness):
        data = " ".join(path.get("d") for group in root for path in group)
        points = np.array(re.findall(r"[\d.]+", data), float).reshape(-1, 2)  # and handles
        assert (points >= 10.2 - 0.001).all() and (points <= [89.801, 39.801]).all()


def test_unevenness_is_seeded_and_none_is_set_like_type(tmp_path):
    text = "one two six ten " * 9
    sheets_of = {
        (amount, seed): [root for root, _ in write(tmp_path, text, seed, unevenness=amount)]
        for amount, seed in itertools.product((0.0, 0.3), (1, 2))
    }
    texts = {key: [ET.tostring(root) for root in roots] for key, roots in sheets_of.items()}
    assert texts[0.0, 1] == texts[0.0, 2] and texts[0.3, 1] != texts[0.3, 2]
    again = [ET.tostring(root) for root, _ in write(tmp_path, text, 2, unevenness=0.3)]
    assert again == texts[0.3, 2]


def test_strokes_are_open_paths_in_the_order_of_writing_in_mm(tmp_path):
    ((root, layers),) = write(tmp_path, "one two\nsix, ten")
    assert (root.get("width"), root.get("height")) == ("100mm", "50mm")
    assert root.get("viewBox") == "0 0 100 50" and root.get("style") is None
    (group,) = root
    assert group.get(f"{INKSCAPE}groupmode") == "layer"
    pen = [group.get(name) for name in ("fill", "stroke", "stroke-width")]
    assert pen == ["none", "navy", "0.4"]
    strokes = layers["writing"]
    assert len(strokes) == len(group) == 13
    assert all(re.fullmatch(r"M[\d.]+,[\d.]+C([\d.]+,[\d.]+ ?)+", path.get("d")) for path in group)
    assert all(np.ptp(stroke, axis=0).max() > 0.05 for stroke in strokes)
    starts = [tuple(stroke[0, ::-1]) for stroke in strokes]
    assert starts == sorted(starts)


def test_ruled_lines_are_a_layer_under_the_writing(tmp_path):
    ((_, layers),) = write(tmp_path, "one two\n\nsix", ruled=True)
    assert list(layers) == ["ruled lines", "writing"]
    baselines = {stroke[:, 1].max() for stroke in layers["writing"]}
    rules = np.array(layers["ruled lines"])
    assert rules.shape == (4, 2, 2) and (rules[:, 0, 1] == rules[:, 1, 1]).all()
    assert baselines < set(rules[:, 0, 1])
    assert rules[..., 0].min() >= 10 and rules[..., 0].max() <= 90


def test_paper_without_room_for_a_line_is_told(tmp_path):
    with pytest.raises(UserError, match="a line needs more height than the margins leave"):
        write(tmp_path, "one", paper=(100.0, 21.0))


# -------------------------------------------------------------------------------------- sample.py


@pytest.fixture
def here(tmp_path, monkeypatch, text_run):
    """An empty folder, the current one, where sample.py draws with a tiny network."""
    model = quick_model(text_run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_py, "restore", lambda folder: model)
    return tmp_path


def test_a_letter_becomes_sheets_in_one_hand(here, capsys, monkeypatch):
    (here / "letter.txt").write_text("one two ten\n\n\tfour, five six " + "eight ten " * 9)
    monkeypatch.setattr(writing, "HAND", "ten")
    calls, write_lines = [], writing.write_lines
    monkeypatch.setattr(
        writing, "write_lines", lambda *args, **k: calls.append(args) or write_lines(*args, **k)
    )
    flags = ["--text_file=letter.txt", "--paper=60x40", "--margin=5", "--line_spacing=20"]
    flags += ["--x_height=2", "--align=justify", "--color=#123456", "--filename=b", "--seed=1"]
    sample.main([*flags, "--png", "--animate"])
    pieces = calls[0][2]
    assert pieces[0] == "one two ten" and max(map(len, pieces)) <= 70 and len(pieces) == 3
    assert len(calls) == 2  # all pieces at once, and the hand that they share
    out = capsys.readouterr().out
    pages = sorted(here.glob("b.page-?.svg"))
    assert len(pages) >= 2
    for page in pages:
        root, layers = read_layers(page)
        points = np.concatenate(layers["writing"])
        assert (points >= 5.19).all() and (points <= [54.81, 34.81]).all()
        assert page.with_suffix(".png").exists() and f"Wrote {page.name}\n" in out
        assert page.with_suffix(".animated.svg").exists()
        assert root[0].get("stroke") == "#123456"


def test_pictures_of_a_text_are_animated_and_written_as_png(here):
    sample.main(["--text=one", "--seed=1", "--png", "--animate", "--speed=3"])
    kinds = ["color", "eos_pdf", "multi_color", "normal", "pdf"]
    expected = [f"sample.{kind}.{end}" for kind in kinds for end in ("png", "svg")]
    assert sorted(path.name for path in here.iterdir()) == ["sample.animated.svg", *expected]


def test_smooth_draws_curves_in_the_picture_of_the_strokes_alone(here):
    sample.main(["--text=one two", "--seed=1", "--animate", "--smooth"])
    curved = {path.name for path in here.iterdir() if re.search(' d="[^"]*C', path.read_text())}
    assert curved == {"sample.normal.svg", "sample.animated.svg"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--paper=A4", "--text= "], "the text is empty; give at least one character"),
        (["--paper=A9"], "argument --paper: 'A9' is none of A3, A4, A5, A6, Letter, Legal and not"),
        (["--paper=5x100"], "argument --paper: '5x100' is none of"),
        (["--paper=A4", "--margin=103"], "argument --margin: 103 mm on all sides leave less than"),
        (["--paper=A4", "--smooth"], "argument --smooth: does not go with --paper"),
        (["--unevenness=0.5"], "argument --unevenness: goes with --paper, which is missing"),
        (["--paper=A4", "--unevenness=2"], "argument --unevenness: '2' is not a number of at"),
        (["--paper=A4", "--plot"], "argument --plot: does not go with --paper"),
        (["--paper=A4", "--color=pen"], "argument --color: 'pen' is no colour such as navy or"),
        (["--ruled"], "argument --ruled: goes with --paper, which is missing"),
        (["--speed=2"], "argument --speed: goes with --animate, which is missing"),
        (["--paper=A4", "--x_height=0"], "argument --x_height: '0' is not a number of at least"),
        (["--paper=A4", "--x_height=5"], "argument --x_height: more than half of --line_spacing"),
        (["--paper=A4", "--filename=no/a"], "--filename no/a.page-1.svg is in a folder that does"),
    ],
)
def test_flags_that_clash_are_refused(here, capsys, flags, words):
    assert status_of(sample.main, ["--text=one", *flags]) == 2
    assert capsys.readouterr().err.startswith(f"sample.py: error: {words}")
    assert list(here.iterdir()) == []


def test_paper_needs_a_text(here, capsys):
    assert status_of(sample.main, ["--paper=Letter"]) == 2
    assert "--paper: goes with --text_file or --text, which is" in capsys.readouterr().err


def test_paper_is_a_name_or_a_size():
    assert sheets.paper("a5") == (148, 210) and sheets.paper("297x210.5") == (297, 210.5)
