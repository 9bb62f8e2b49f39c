"""handwriting/ink/formats.py and `python -m handwriting.convert`: files of ink become lines."""

import os
import re
import runpy
import sys

import utils
from conftest import make_line, status_of
from handwriting import convert
from handwriting.files import UserError
from handwriting.ink import formats, recording
from handwriting.ink.page_lines import estimate_x_height
from handwriting.text.hands import load_style

import numpy as np
import pytest
from test_page_lines import page
from test_recording import record, write_hand

INK = '<ink xmlns="http://www.w3.org/2003/InkML">{}</ink>'
SVG = '<svg xmlns="http://www.w3.org/2000/svg">{}</svg>'


def ink_line(seed=0, points=60):
    """A made-up line, and its strokes [n, 3]: positions in pen units, 15 ms apart."""
    line = make_line(points, np.random.default_rng(seed))
    line[:, 2] = [k % 10 == 9 for k in range(points)]  # no stroke is a dot
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


def to_xournal(strokes, size):
    lines = [" ".join(f"{v * size:.9g}" for v in stroke[:, :2].ravel()) for stroke in strokes]
    body = "".join(f'<stroke tool="pen">{line}</stroke>' for line in lines)
    return f"<xournal><page><layer>{body}</layer></page></xournal>"


def test_all_lines_of_a_file_have_the_scale_of_their_median(tmp_path):
    pages = [page([0]), page([1]), [stroke * [1, 1.5, 1] for stroke in page([3])]]
    strokes = [stroke for strokes in pages for stroke in strokes]
    (tmp_path / "a.xopp").write_text(to_xournal(strokes, 1))
    lines, texts = formats.read_ink(tmp_path / "a.xopp")
    assert texts == [None] * 3
    scale = recording.X_HEIGHT / estimate_x_height(pages[0])
    for line, drawn in zip(lines, pages, strict=True):
        extents = [np.ptp(np.concatenate(drawn)[:, k]) for k in (0, 1)]
        positions = np.cumsum(line[:, :2], axis=0)
        np.testing.assert_allclose(np.ptp(positions, axis=0), np.multiply(extents, scale), 0.02)
        assert line[:, 2].sum() == len(drawn)


def test_lines_without_height_are_scaled_as_those_with_it_and_refused_by_themselves(tmp_path):
    dots = "<traceGroup><trace>0 0</trace><trace>900 0</trace></traceGroup>"
    strokes = ", ".join(f"{x} {y}" for x, y, _ in page([0])[0])
    letter = f"<traceGroup><trace>{strokes}</trace></traceGroup>"
    (tmp_path / "a.inkml").write_text(INK.format(letter + dots))
    lines, _ = formats.read_ink(tmp_path / "a.inkml")
    scale = recording.X_HEIGHT / estimate_x_height(page([0])[:1])
    assert lines[1][:, 0].tolist() == [100, 0, 0, 0, 0, round(900 * scale), 0, 0, 0, 0]
    (tmp_path / "a.inkml").write_text(INK.format(dots))
    with pytest.raises(UserError, match=r"a\.inkml holds nothing but dots; .*\.$"):
        formats.read_ink(tmp_path / "a.inkml")


@pytest.mark.filterwarnings("ignore:--style")  # what is made up fits no text
@pytest.mark.parametrize("name", ["a.svg", "a.inkml", "a.xopp", "a.XOJ"])
def test_a_file_of_any_format_is_a_style(tmp_path, name):
    write = {".svg": to_svg, ".inkml": lambda *a: to_inkml(*a, ""), ".xopp": to_xournal}
    kind = ".xopp" if name == "a.XOJ" else name[1:]
    (tmp_path / name).write_text(write[kind](ink_line()[1], 0.1))
    style = load_style(str(tmp_path / name), "one two three")
    assert style.text == "one two three"
    np.testing.assert_array_equal(style.strokes[1:], formats.read_ink(tmp_path / name)[0][0][1:])


# ---------------------------------------------------------------------------------- the command


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
    size = recording.X_HEIGHT / estimate_x_height(strokes)
    for other in (svg, inkml):
        np.testing.assert_allclose(
            np.ptp(np.cumsum(other[:, :2], axis=0), axis=0),
            size * np.ptp(np.cumsum(line[:, :2], axis=0), axis=0), atol=2 + 0.01 * size * 700,
        )  # fmt: skip
    assert svg[:, 2].sum() == line[:, 2].sum()


def test_command_refuses_with_a_sentence_and_writes_nothing(tmp_path, capsys):
    _, strokes = ink_line()
    (tmp_path / "b.svg").write_text(to_svg(strokes, 1))
    (tmp_path / "c.svg").write_text(SVG.format("<text>a</text>"))
    (tmp_path / "d.png").write_text("")
    refused = {
        ("c.svg",): "c.svg holds no ink; name a file with writing.",
        ("d.png",): f"d.png is no file of ink, which is one of {', '.join(formats.READERS)}.",
        ("e.svg",): "e.svg cannot be read (No such file or directory)",
        ("b.svg", "e.png"): "e.png is not there; name another file.",
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


def test_command_writes_the_texts_that_there_are(tmp_path, capsys):
    _, strokes = ink_line()
    (tmp_path / "a.svg").write_text(to_svg(strokes, 1, "one two"))
    (tmp_path / "b.svg").write_text(to_svg(strokes, 1))
    files = [tmp_path / f"{name}.svg" for name in "baabbbbbbba"]
    assert status_of(convert.main, [*files, "--out", tmp_path / "mine"]) == 0
    assert capsys.readouterr().out == f"Wrote 11 lines, 8 without a text, to {tmp_path / 'mine'}\n"
    with pytest.warns(UserWarning, match="3 of 5 forms have no texts"):
        loader = utils.DataLoader(1, 20, data_dir=tmp_path / "mine")
    assert loader.texts == [{"a": "one two", "b": None}[name] for name in "baabbbbbbba"]


def test_help_names_all_formats(capsys):
    assert status_of(convert.main, ["--help"]) == 0
    shown = capsys.readouterr().out
    told = shown[: shown.index("FILE", shown.index("archives"))]
    assert all(kind in re.findall(r"\.\w+", told) for kind in formats.READERS)
