"""A user's own points: checked, and written in both formats of the database."""

import os
import re
import subprocess
import sys
import tarfile

from conftest import ROOT, cache_of, line, make_line
from handwriting.files import UserError
from handwriting.ink import export
from handwriting.ink.export import transcriptions_path, write_line_strokes
from handwriting.ink.formats import read_ink
from handwriting.ink.points import check_size
from made_up import TAR, TEXTS, load

import numpy as np
import pytest


def good():
    return make_line(200, np.random.default_rng(0)).astype(float)


def changed(**columns):
    """A good line of 200 points with other dx, dy, eos."""
    own = good()
    for name, values in columns.items():
        own[:, ("dx", "dy", "eos").index(name)] = values
    return own


def positions(scale=1.0):
    own = good()
    own[:, :2] = scale * np.cumsum(own[:, :2], axis=0)
    return own


WRONG = {
    "page units": (good() * [0.0005, 0.0005, 1], r"deviations of .* about 39 and 37 .*multiply"),
    "normalised": (good() / [*good()[:, :2].std(axis=0), 1], "multiply dx and dy by 38"),
    "too large": (good() * [50, 50, 1], "multiply dx and dy by 0.0"),
    "positions": (positions(), "look like positions, .* take the differences"),
    "positions in mm": (positions(150 / 2400), "look like positions, .* take the differences"),
    "eos first": (good()[:, [2, 0, 1]], r"eos, in the last column, of 1 .* and else 0, not"),
    "eos 2": (changed(eos=2.0), "and else 0, not .2.0, 2.0"),
    "nan": (changed(dx=np.nan), "finite"),
    "inf": (changed(dy=np.inf), "finite"),
    "five columns": (np.ones((200, 5)), r"\(dx, dy, eos\) .n, 3. with n >= 1, not .200, 5."),
    "no points": (np.ones((0, 3)), r"not .0, 3."),
    "strings": ([["a", "b", "c"]], "must be numbers"),
    "constant dx": (changed(dx=7), "dx that never varies"),
    "constant dy": (changed(dy=0), "dy that never varies"),
    "16 bits": (changed(dx=40000), "fit 16 bits"),
}


@pytest.mark.parametrize("name", WRONG)
def test_points_of_another_kind_are_neither_written_nor_read(tmp_path, name):
    points, words = WRONG[name]
    with pytest.raises(UserError, match=words):
        write_line_strokes([points], tmp_path / TAR)
    assert not list(tmp_path.iterdir())
    np.save(tmp_path / "own.npy", points)
    with pytest.raises(UserError, match=f"own.npy .*{'numbers' if name == 'strings' else words}"):
        read_ink(tmp_path / "own.npy")[0][0]


@pytest.mark.parametrize("name", ["tenths", "too large", "positions", "constant dx"])
def test_loader_refuses_data_that_is_not_in_pen_units(tmp_path, name):
    points, words = WRONG[name] if name in WRONG else (good() / [10, 10, 1], "multiply dx and dy")
    own = np.rint(points).astype(np.int16)
    cache_of(tmp_path, [own, own, own], ["a-01", "a-02", "b-01"])
    with pytest.raises(UserError, match=f"The lines in {tmp_path} .*{words}"):
        load(tmp_path)


def test_check_size_names_the_factor_that_mends():
    own, words = good() * [0.01, 0.01, 1], r"multiply dx and dy by ([\d.]+),"
    with pytest.raises(UserError, match=words) as error:
        check_size([own], "Mine")
    factor = float(re.search(words, str(error.value))[1])
    found = (own * [factor, factor, 1])[1:, :2].std(axis=0)
    assert np.sqrt(found.prod() / (39 * 37)) == pytest.approx(1, abs=0.01)
    with pytest.raises(UserError, match=r"multiply dx by [23]\.\d+ and dy by [23]\d\d,"):
        check_size([good() * [1, 0.01, 1]], "Mine")  # dy in another unit


def test_check_size_accepts_a_factor_of_five_and_of_ten_for_a_single_line():
    unit = good() / [*good()[1:, :2].std(axis=0), 1] * [39, 37, 1]
    for factor, lines in ((5, [unit, unit]), (10, [unit])):
        for good_one in (1.02 / factor, 1, 0.98 * factor):
            check_size([points * [good_one, good_one, 1] for points in lines], "Mine")
        for bad_one in (0.98 / factor, 1.02 * factor):
            with pytest.raises(UserError, match="multiply"):
                check_size([points * [bad_one, bad_one, 1] for points in lines], "Mine")


def test_write_line_strokes_is_read_back(tmp_path):
    lines = [line(15 + i, i) for i in range(12)]
    write_line_strokes(lines, tmp_path / TAR)
    loader = load(tmp_path)
    assert loader.names == [f"s00-{i // 5:03d}-{i % 5 + 1:02d}" for i in range(12)]
    for read, written in zip(loader.raw_data, lines, strict=True):
        np.testing.assert_array_equal(read[1:], written[1:])
        assert read[0, 2] == written[0, 2]
        assert np.cumsum(read[:, :2], 0).min(0).tolist() == [100, 100]  # from the box's origin


def test_write_line_strokes_looks_like_the_database(tmp_path):
    points = [[9, 9, 0], [3, -4, 1], [0.6, 0, 0], [0.6, 5, 0]]
    write_line_strokes([points], tmp_path / "mine.tar.gz")
    with tarfile.open(tmp_path / "mine.tar.gz") as tar:
        (member,) = tar.getmembers()
        text = tar.extractfile(member).read().decode("ascii")
    assert member.name == "lineStrokes/s00/s00-000/s00-000-01.xml" and member.isreg()
    assert text.splitlines()[4:7] == [
        '    <DiagonallyOppositeCoords x="1004" y="1005"/>',
        '    <VerticallyOppositeCoords x="1000" y="1005"/>',
        '    <HorizontallyOppositeCoords x="1004" y="1000"/>',
    ]
    assert text.splitlines()[9:14] == [
        '    <Stroke colour="black" start_time="0.00" end_time="0.01">',
        '      <Point x="1000" y="1004" time="0.00"/>',
        '      <Point x="1003" y="1000" time="0.01"/>',
        "    </Stroke>",
        '    <Stroke colour="black" start_time="0.02" end_time="0.03">',
    ]


def test_write_line_strokes_gives_the_same_bytes_and_no_half_file(tmp_path, monkeypatch):
    one, two = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    write_line_strokes([line(50)], one)
    write_line_strokes(iter([line(50)]), two)
    assert one.read_bytes() == two.read_bytes()
    monkeypatch.setattr(export, "line_to_xml", lambda line: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_line_strokes([line(60)], one)
    assert one.read_bytes() == two.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_write_line_strokes_with_texts_is_read_back(tmp_path):
    lines, texts = [line(15 + i, i) for i in range(12)], [f"line {i}: ~{{}}" for i in range(11)]
    write_line_strokes(iter(lines), tmp_path / TAR, [*texts, "  OCR:  "])
    assert sorted(path.name for path in tmp_path.iterdir()) == [TEXTS, TAR]
    assert load(tmp_path).texts == [*texts, "OCR:"]
    strokes, words = (tmp_path / TAR).read_bytes(), (tmp_path / TEXTS).read_bytes()
    write_line_strokes(lines, tmp_path / TAR, iter([*texts, "OCR:"]))
    assert [(tmp_path / TAR).read_bytes(), (tmp_path / TEXTS).read_bytes()] == [strokes, words]
    write_line_strokes(lines, tmp_path / "mine.tar.gz")
    assert (tmp_path / "mine.tar.gz").read_bytes() == strokes
    assert not (tmp_path / "mine.ascii.tar.gz").exists()


def test_write_line_strokes_transcribes_as_the_database_does(tmp_path):
    write_line_strokes([line(15)] * 6, tmp_path / "mine.tar.gz", [*"abcde", "f g"])
    with tarfile.open(tmp_path / "mine.ascii.tar.gz") as tar:
        found = {member.name: tar.extractfile(member).read().decode() for member in tar}
    assert found == {
        "ascii/s00/s00-000/s00-000.txt": "OCR:\n\na\nb\nc\nd\ne\n\nCSR:\n\na\nb\nc\nd\ne\n",
        "ascii/s00/s00-001/s00-001.txt": "OCR:\n\nf g\n\nCSR:\n\nf g\n",
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lineStrokes/" + TAR, "lineStrokes/" + TEXTS),
        ("linestrokes-all.tar", "ascii-all.tar"),
        ("my-lineStrokes.tar.gz", "my-ascii.tar.gz"),
        ("x/mine.tar.gz", "x/mine.ascii.tar.gz"),
        ("mine.tgz", "mine.tgz.ascii.tar.gz"),
    ],
)
def test_transcriptions_path_lies_beside_the_lines(path, expected):
    assert transcriptions_path(path) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Text 2 to write must be the words of a line, not ''"),
        (" \n", "Text 2 to write must be the words of a line"),
        (" CSR: ", "Text 2 to write must be the words of a line, not ' CSR: '"),
        ("two\nlines", r"Text 2 to write must be one line of text, .* 4 is '\\n'"),
        ("a\ttab", r"Text 2 .* character 2 is '\\t'"),
        ("a\xa0b", r"Text 2 .* character 2 is '\\xa0'"),
        ("end\n", r"Text 2 .* character 4 is '\\n'"),
    ],
)
def test_texts_that_are_no_lines_are_not_written(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        write_line_strokes([line(15)] * 2, tmp_path / TAR, ["good", text])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "b", "c"]])
def test_texts_of_another_number_than_lines_are_not_written(tmp_path, texts):
    words = f"There are {len(texts)} texts for 2 lines to write to .*{TAR}; give each line its own"
    with pytest.raises(UserError, match=words):
        write_line_strokes([line(15)] * 2, tmp_path / TAR, texts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", ["first file", "second file", "renaming"])
def test_lines_and_texts_are_written_both_or_not_at_all(tmp_path, monkeypatch, broken):
    write_line_strokes([line(50)], tmp_path / TAR, ["old"])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    written = export.written_members

    def members(lines, forms, texts=None):
        yield from written(lines, forms, texts)
        if broken == ("first file" if texts is None else "second file"):
            raise OSError(28, "No space left on device")

    def replace(*_):
        raise OSError(28, "No space left on device")

    if broken == "renaming":
        monkeypatch.setattr(os, "replace", replace)
    else:
        monkeypatch.setattr(export, "written_members", members)
    with pytest.raises(OSError, match="No space"):
        write_line_strokes([line(60)], tmp_path / TAR, ["new"])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_import_of_utils_needs_no_tensorflow_and_does_nothing(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import utils; "
    code += "print('tensorflow' in sys.modules, utils.random)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("False <module 'random'")
    assert list(tmp_path.iterdir()) == []


def test_lines_of_a_hand_make_a_form_of_its_name(tmp_path):
    lines, hands = [line(20 + k) for k in range(5)], ["b-1", "a-2", "b-1", "b-1", "a-2"]
    write_line_strokes(lines, tmp_path / TAR, list("vwxyz"), hands)
    found = load(tmp_path)
    assert found.names == ["a-2-01", "a-2-02", "b-1-01", "b-1-02", "b-1-03"]
    assert found.texts == ["w", "z", "v", "x", "y"]
    assert list(map(len, found.raw_data)) == [21, 24, 20, 22, 23]
