"""handwriting/ink/xournal.py: notes of Xournal++ and Xournal by pages and lines."""

import gzip

from handwriting.files import UserError
from handwriting.ink import xournal
from handwriting.ink.xournal import read_xournal

import pytest
from test_page_lines import page

NOTE = '<?xml version="1.0"?><xournal creator="Xournal++" fileversion="4"><title/>{}</xournal>'
PAGE = (
    '<page width="600" height="800"><background type="solid" color="#ffffffff" style="lined"/>'
    "{}</page>"
)
LAYER = "<layer>{}</layer>"
STROKE = '<stroke tool="{}" color="#000000ff" width="1.4 0.9 1.1" capStyle="round">{}</stroke>'
OTHERS = [("highlighter", "1 2 3 4"), ("eraser", "1 2 3 4")]


def pen(strokes):
    return "".join(
        STROKE.format("pen", " ".join(f"{x} {y}" for x, y, _ in stroke)) for stroke in strokes
    )


def lines_of(inside):
    lines = read_xournal(gzip.compress(NOTE.format(inside).encode()))
    assert {text for _, text in lines} == {None}
    return [[stroke.tolist() for stroke in strokes] for strokes, _ in lines]


def test_pen_strokes_of_all_layers_are_a_line_and_one_point_a_dot():
    other = "".join(STROKE.format(*stroke) for stroke in OTHERS) + '<text x="1" y="2">a</text>'
    first = LAYER.format(other + STROKE.format("pen", "1 2 3.5 -4e0 5 6"))
    second = LAYER.format(STROKE.format("pen", "7 8") + "<image>AAAA</image>")
    expected = [[[[1, 2, 0], [3.5, -4, 0], [5, 6, 0]], [[7, 8, 0]]]]
    assert lines_of(PAGE.format(first + second)) == expected
    plain = NOTE.format(PAGE.format(first + second)).encode()
    assert [[s.tolist() for s in strokes] for strokes, _ in read_xournal(plain)] == expected


def test_pages_are_divided_into_lines_by_their_height():
    pages = [page([1, 0]), [], page([0])]
    inside = "".join(PAGE.format(LAYER.format(pen(strokes))) for strokes in pages)
    expected = [[s.tolist() for s in page([k])] for k in (0, 1, 0)]
    assert lines_of(inside) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not well-formed XML"),
        (b"<svg/>", "is no note of Xournal"),
        (gzip.compress(NOTE.format("").encode(), mtime=0), "holds no ink"),
        (gzip.compress(NOTE.format("").encode(), mtime=0)[:-9], "is not whole"),
        (b"\x1f\x8b" + b"?" * 20, "is not whole"),
        (b'<!DOCTYPE a [<!ENTITY a "a">]><xournal>&a;</xournal>', "declares entities"),
        (NOTE.format(PAGE.format(STROKE.format("pen", "1 2 3"))).encode(), "3 numbers"),
        (NOTE.format(PAGE.format(STROKE.format("pen", ""))).encode(), "0 numbers"),
        (NOTE.format(PAGE.format(STROKE.format("pen", "1 a"))).encode(), "more than numbers"),
        (NOTE.format(PAGE.format(STROKE.format("pen", "1 nan"))).encode(), "infinite or no number"),
    ],
)
def test_what_is_no_note_is_refused(content, words):
    with pytest.raises(UserError, match=words):
        read_xournal(content)


def test_no_more_is_unpacked_than_a_note_may_hold(monkeypatch):
    monkeypatch.setattr(xournal, "MAX_BYTES", 1 << 20)
    with pytest.raises(UserError, match="holds over 1 MB"):
        read_xournal(gzip.compress(bytes(1 << 21)))
