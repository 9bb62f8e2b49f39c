"""handwriting/ink/formats.py and `python -m handwriting.convert`: InkML and SVG become lines."""

import os
import runpy
import sys

import utils
from conftest import make_line, status_of
from handwriting import convert
from handwriting.files import UserError
from handwriting.ink import formats as ink
from handwriting.ink import recording

import numpy as np
import pytest
from test_recording import record, write_hand

INK = '<ink xmlns="http://www.w3.org/2003/InkML">{}</ink>'
SVG = '<svg xmlns="http://www.w3.org/2000/svg">{}</svg>'


def strokes_of(content, reader=ink.read_inkml):
    ((strokes, text),) = reader(content.encode())
    return [stroke.tolist() for stroke in strokes], text


def path_of(data):
    """The positions (x, y) of the strokes of one path."""
    strokes, _ = strokes_of(SVG.format(f'<path d="{data}"/>'), ink.read_svg)
    return [[point[:2] for point in stroke] for stroke in strokes]


# --------------------------------------------------------------------------------------- InkML


def test_inkml_traces_are_strokes_in_order_with_a_text():
    traces = '<annotation type="writer">me</annotation>'
    traces += '<annotation type="truth"> so it </annotation>'
    traces += "<trace>1 2, 3 4,5.5 -6e1</trace><trace>7 8</trace><trace type='penUp'>0 0</trace>"
    strokes, text = strokes_of(INK.format(traces))
    assert text == "so it"
    assert strokes == [[[1, 2, 0], [3, 4, 0], [5.5, -60, 0]], [[7, 8, 0]]]


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1), ("s", 1000)])
def test_inkml_channels_may_stand_in_any_order_and_tell_times(unit, factor):
    channels = f'<channel name="Y"/><channel name="F"/><channel name="T" units="{unit}"/>'
    head = f'<traceFormat>{channels}<channel name="X"/></traceFormat>'
    strokes, text = strokes_of(INK.format(f"{head}<trace>2 9 5 1, 4 9 6 3</trace>"))
    assert strokes == [[[1, 2, 5 * factor], [3, 4, 6 * factor]]] and text is None


def test_inkml_groups_with_traces_are_lines():
    group = '<annotation type="transcription">{0}</annotation><trace>{0} 1</trace>'
    group = f"<traceGroup>{group}</traceGroup>"
    lines = ink.read_inkml(INK.format("".join(map(group.format, "789"))).encode())
    assert [(strokes[0].tolist(), text) for strokes, text in lines] == [
        ([[k, 1, 0]], str(k)) for k in (7, 8, 9)
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not well-formed XML"),
        ("<ink>", "not well-formed XML"),
        ('<!DOCTYPE ink [<!ENTITY a "aa">]><ink>&a;</ink>', "declares entities"),
        ("<html/>", "is no InkML"),
        (INK.format(""), "holds no ink"),
        (INK.format("<trace> </trace>"), "has a trace without points"),
        (INK.format("<trace>1 2, '3 '4</trace>"), "more than plain numbers"),
        (INK.format("<trace>1 2, 3</trace>"), "a point without all of its channels X, Y"),
        (INK.format("<trace>1 nan</trace>"), "infinite or no number"),
        (INK.format("<trace>1 1e300</trace>"), "infinite or no number"),
        (INK.format('<traceFormat><channel name="X"/></traceFormat>'), "no channels X and Y"),
    ],
)
def test_inkml_that_holds_no_ink_is_refused(content, words):
    with pytest.raises(UserError, match=words):
        ink.read_inkml(content.encode())


# ----------------------------------------------------------------------------------------- SVG


def test_svg_commands_absolute_and_relative_give_the_same_strokes():
    expected = [[[1, 2], [3, 4], [5, 6], [9, 6], [9, 1]], [[20, 21], [22, 23]]]
    assert path_of("M 1 2 3,4 L5 6H9V1M20 21 22 23") == expected
    assert path_of("m1 2 2,2l2 2h4v-5m11 20 2 2") == expected


def test_svg_numbers_may_touch():
    assert path_of("M1e1-2.5L.5.25-3-4") == [[[10, -2.5], [0.5, 0.25], [-3, -4]]]


def test_svg_curves_pass_where_beziers_do():
    (cubic,) = path_of("M0 0C0 10 20 10 20 0")
    assert cubic[8] == [10, 7.5] and cubic[16] == [20, 0] and len(cubic) == 17
    (quadratic,) = path_of("M0 0q10 20 20 0")
    assert quadratic[8] == [10, 10] and quadratic[16] == [20, 0]
    # Smooth ones mirror the control point before, but only behind a curve of their kind.
    for before, smooth, same in (
        ("M0 0C0 10 20 10 20 0", "S40-10 40 0", "c0-10 20-10 20 0"),
        ("M0 0Q10 20 20 0", "t20 0", "Q30-20 40 0"),
        ("M0 0L5 5", "S40 9 40 0", "C5 5 40 9 40 0"),
        ("M0 0C0 10 20 10 20 0", "T40 0", "Q20 0 40 0"),
    ):
        assert path_of(before + smooth) == path_of(before + same)


def test_svg_z_leads_back_and_what_follows_starts_there():
    assert path_of("M1 1h4v4zl-1-1M9 9l1 0M9 9l0 1") == [
        [[1, 1], [5, 1], [5, 5], [1, 1]], [[1, 1], [0, 0]], [[9, 9], [10, 9]], [[9, 9], [9, 10]],
    ]  # fmt: skip


def test_svg_paths_come_in_order_with_transforms_and_a_title():
    inside = '<title>so it</title><defs><path d="M0 0h9"/></defs><path d="M1 2h1"/>'
    inside += '<g transform="translate(10,20)"><path transform="scale(2)" d="M1 2h1"/></g>'
    inside += '<path transform="matrix(0 1 -1 0 5 0)" d="M1 2h1"/>'
    strokes, text = strokes_of(SVG.format(inside), ink.read_svg)
    assert text == "so it"
    assert strokes == [
        [[1, 2, 0], [2, 2, 0]], [[12, 24, 0], [14, 24, 0]], [[3, 1, 0], [3, 2, 0]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("", "holds no ink"),
        (" " * ink.MAX_SVG_BYTES, "is too large for a line"),
        ('<path d="M0 0A1 1 0 0 0 2 2"/>', "has A in a path, but only M L H V C S Q T Z"),
        ('<path d="L0 0"/>', "does not begin with M"),
        ('<path d="M0 0 1"/>', "has 3 numbers for M"),
        ('<path d="M0 0L"/>', "has 0 numbers for L"),
        ('<path d="M0 0Z1"/>', "has 1 numbers for Z"),
        ('<path d="M0 0L1;2"/>', "';2' in a path|'1;2' in a path"),
        ('<path d="M0 0L1e999 2"/>', "infinite or no number"),
        ('<path d="M0 0h1v1z"/>', "has closed outlines"),
        ("<circle r='1'/>", "has a <circle>, but only paths are read"),
        ("<text>a</text>", "has a <text>"),
        ('<g transform="rotate(9)"><path d="M0 0h1"/></g>', r"the transform rotate\(9\)"),
    ],
)
def test_svg_that_is_no_ink_is_refused(inside, words):
    with pytest.raises(UserError, match=words):
        ink.read_svg(SVG.format(inside).encode())


def test_deeply_nested_svg_is_read():
    inside = "<g>" * 20_000 + '<path d="M1 2h1"/>' + "</g>" * 20_000
    assert strokes_of(SVG.format(inside), ink.read_svg)[0] == [[[1, 2, 0], [2, 2, 0]]]


# ------------------------------------------------------------------------- size, and the command


def ink_line(seed=0, points=60):
    """A made-up line, and its strokes [n, 3]: positions in pen units, 15 ms apart."""
    line = make_line(points, np.random.default_rng(seed))
    return line, [np.array(stroke)[:, :3] for stroke in record(line, "it", 1)["strokes"]]


def to_svg(strokes, size, text=None):
    lines = [" ".join(f"{v * size:.9g}" for v in stroke[:, :2].ravel()) for stroke in strokes]
    title = f"<title>{text}</title>" if text else ""
    return SVG.format(title + "".join(f'<path d="M{line}"/>' for line in lines))


def to_inkml(strokes, size, text):
    traces = [", ".join(f"{x * size} {y * size} {t}" for x, y, t in stroke) for stroke in strokes]
    channels = "".join(f'<channel name="{name}"/>' for name in "XYT")
    note = f'<annotation type="truth">{text}</annotation>'
    body = "".join(f"<trace>{trace}</trace>" for trace in traces)
    return INK.format(f"<traceFormat>{channels}</traceFormat>{note}{body}")


def test_x_height_is_that_of_the_ink_in_any_unit_and_on_a_slope():
    times = np.arange(400).reshape(8, 50) / 5
    strokes = [np.stack([9 * t, 50 * np.sin(t), 0 * t], axis=1) for t in times]
    height = ink.estimate_x_height(strokes)
    assert 50 / 2 < height * ink.SPREAD < 50  # the standard deviation of a sine's height on its way
    small = [stroke * 0.01 for stroke in strokes]
    np.testing.assert_allclose(ink.estimate_x_height(small), 0.01 * height)
    sloping = [stroke + np.outer(stroke[:, 0], [0, 0.1, 0]) for stroke in strokes]
    np.testing.assert_allclose(ink.estimate_x_height(sloping), height, rtol=0.1)


def test_several_lines_in_one_are_told():
    _, strokes = ink_line()
    low = [stroke + np.array([0, 600, 0]) for stroke in strokes]
    with pytest.raises(UserError, match="several lines"):
        ink.estimate_x_height(strokes + low)
    ink.estimate_x_height(low + strokes)  # crosses and dots come last, but above


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
        ink.estimate_x_height([np.array(stroke, float) for stroke in strokes])


def test_command_writes_archives_that_the_loader_reads(tmp_path, monkeypatch):
    line, strokes = ink_line()
    (tmp_path / "a.svg").write_text(to_svg(strokes, 0.05, "one two"))
    (tmp_path / "b.inkml").write_text(to_inkml(strokes, 30, "three"))
    write_hand(tmp_path / "hand.json", record(line, "four"))
    files = [str(tmp_path / name) for name in ("a.svg", "b.inkml", "hand.json")]
    monkeypatch.setattr(sys, "argv", ["convert", *files, "--out", str(tmp_path / "mine")])
    monkeypatch.delitem(sys.modules, "handwriting.convert")
    runpy.run_module("handwriting.convert", run_name="__main__")
    loader = utils.DataLoader(1, 20, data_dir=tmp_path / "mine")
    assert loader.texts == ["one two", "three", "four"]
    svg, inkml, hand = loader.raw_data
    np.testing.assert_array_equal(hand[1:], line[1:])
    np.testing.assert_array_equal(inkml[:, 2], line[:, 2])  # its times are kept
    size = recording.X_HEIGHT / ink.estimate_x_height(strokes)
    for other in (svg, inkml):
        np.testing.assert_allclose(
            np.ptp(np.cumsum(other[:, :2], axis=0), axis=0),
            size * np.ptp(np.cumsum(line[:, :2], axis=0), axis=0), atol=2 + 0.01 * size * 700,
        )  # fmt: skip
    assert svg[:, 2].sum() == line[:, 2].sum()


def test_command_refuses_with_a_sentence_and_writes_nothing(tmp_path, capsys):
    _, strokes = ink_line()
    (tmp_path / "a.svg").write_text(to_svg(strokes, 1, "one two"))
    (tmp_path / "b.svg").write_text(to_svg(strokes, 1))
    (tmp_path / "c.svg").write_text(SVG.format("<circle/>"))
    (tmp_path / "d.png").write_text("")
    refused = {
        ("a.svg", "b.svg"): "b.svg has lines without a text, unlike lines before",
        ("b.svg", "a.svg"): "a.svg has texts, unlike lines before",
        ("c.svg",): "c.svg has a <circle>, but only paths are read; convert it to a path",
        ("d.png",): "d.png is none of .json, .xml, .npy, .inkml, .svg",
        ("e.svg",): "e.svg cannot be read (No such file or directory)",
    }
    for names, words in refused.items():
        files = [tmp_path / name for name in names]
        assert status_of(convert.main, [*files, "--out", tmp_path / "mine"]) == 2
        assert words in capsys.readouterr().err
        assert not os.path.exists(tmp_path / "mine")
    assert status_of(convert.main, [tmp_path / "b.svg", "--out", tmp_path / "mine"]) == 0
    assert os.listdir(tmp_path / "mine") == ["lineStrokes-all.tar.gz"]
    assert status_of(convert.main, [tmp_path / "b.svg", "--out", tmp_path / "mine"]) == 2
    assert "is there already" in capsys.readouterr().err
