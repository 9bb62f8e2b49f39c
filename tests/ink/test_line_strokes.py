"""lineStrokes XML: one line, read and written, as the 2015 program read it."""

import shutil

from conftest import line, make_line
from handwriting.files import UserError
from handwriting.ink.formats import read_ink
from handwriting.ink.line_strokes import line_to_xml, parse_line
from made_up import BOX, REFERENCE, edits, mutations, read_or_refused, xml_of
from utils import DataLoader

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def load(path, seq_length=2, **options):
    return DataLoader(seq_length=seq_length, data_dir=path, **options)


def test_parse_line_equals_the_reference_program(tmp_path):
    shutil.copytree(REFERENCE / "lineStrokes", tmp_path / "lineStrokes")
    loader = load(tmp_path, 100)
    with np.load(REFERENCE / "strokes.npz") as strokes:
        assert loader.names == sorted(strokes)
        for name, array in zip(loader.names, loader.raw_data, strict=True):
            assert array.dtype == np.int16
            np.testing.assert_array_equal(array, strokes[name])


def test_parse_line_truncates_positions_before_differences():
    # The origin is (100, 50) - 100; positions are 0.9 -> 0, 1.8 -> 1 and -0.5 -> 0 right of it.
    points = [(0.9, -50), (1.8, -49.2), (-0.5, -40)]
    assert parse_line(xml_of([points]).encode()).tolist() == [[0, 0, 0], [1, 0, 0], [-1, 10, 1]]


def test_parse_line_marks_the_last_point_of_each_stroke_and_skips_empty_ones():
    parsed = parse_line(xml_of([[], [(110, 60), (111, 60)], [], [(120, 61)], []]).encode())
    assert parsed.tolist() == [[110, 110, 0], [1, 0, 1], [9, 1, 1]]


PLAIN = xml_of([[(110, 60), (111, 61)], [(120, 61), (121, 64)]])


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace('x="111" y="61" time="1.25"', "time='2' y='61' x='111'"),
        PLAIN.replace('x="111"', ' x = "111.0" '),
        PLAIN.replace('"111"', '"&#49;11"'),
        PLAIN.replace("<Stroke>", '<Stroke><!-- <Point x="1" y="2" time="3"/> -->'),
        PLAIN.replace("<Stroke>", '<Stroke><![CDATA[<Point x="1" y="2" time="3"/>]]>'),
        PLAIN.replace("<WhiteboardDescription>", "<General/><WhiteboardDescription>"),
        PLAIN.replace("ISO-8859-1", "UTF-16").encode("utf-16"),
        PLAIN.replace("ISO-8859-1", "UTF-8").encode("utf-8-sig"),
    ],
)
def test_parse_line_gives_the_same_points_however_they_are_written(text):
    parsed = parse_line(text if isinstance(text, bytes) else text.encode())
    assert parsed.tolist() == [[110, 110, 0], [1, 1, 1], [9, 0, 0], [1, 3, 1]]


@pytest.mark.parametrize("far", [32767, -32768])
def test_parse_line_keeps_moves_that_just_fit_int16(far):
    assert parse_line(xml_of([[(0, -50), (far, -50)]]).encode())[1].tolist() == [far, 0, 1]


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
DAMAGED = {
    "not-well-formed": (PLAIN[:-9], "not well-formed XML"),
    "empty": ("", "not well-formed XML"),
    "no-points": (xml_of([[], []]), "no points"),
    "outside": (PLAIN.replace("<StrokeSet>", '<StrokeSet><Point x="1" y="2"/>'), "outside of a"),
    "no-corners": (xml_of([[(1, 2)]], box=""), "no WhiteboardDescription"),
    "word": (xml_of(['<Point x="1" y="two" time="3"/>']), "missing or no number"),
    "missing": (xml_of(['<Point x="1" time="3"/>', [(1, 2)]]), "missing or no number"),
    "nan": (xml_of([[("nan", 2)]]), "infinite or not a number"),
    "huge": (xml_of([[(1, "1e300")]]), "infinite or not a number"),
    "bad-corner": (xml_of([[(1, 2)]], box=BOX.replace('"90"', '"?"')), "missing or no number"),
    "far-right": (xml_of([[(0, -50), (32768, -50)]]), "does not fit 16 bits"),
    "dtd": (PLAIN.replace("?>", "?><!DOCTYPE WhiteboardCaptureSession>"), "DTD"),
    "foreign": (PLAIN.replace("?>", '?><!DOCTYPE x SYSTEM "file:///etc/passwd">'), "DTD"),
    "laughs": (PLAIN.replace("?>", "?>" + LAUGHS).replace('"110"', '"&b;"'), "DTD"),
    "utf16-dtd": (PLAIN.replace('ISO-8859-1"?>', 'UTF-16"?><!DOCTYPE x>').encode("utf-16"), "DTD"),
    "too-large": (PLAIN + "\n" * (16 << 20), "too large"),
    "encoding": (PLAIN.replace("ISO-8859-1", "no-such"), "not well-formed XML .*encoding"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_parse_line_refuses_a_damaged_file(name):
    text, reason = DAMAGED[name]
    with pytest.raises(UserError, match=reason):
        parse_line(text if isinstance(text, bytes) else text.encode())


def test_read_line_reads_xml_and_arrays(tmp_path):
    points = make_line(60, np.random.default_rng(0))
    (tmp_path / "a.xml").write_bytes(line_to_xml(points))
    np.testing.assert_array_equal(read_ink(tmp_path / "a.xml")[0][0][1:], points[1:])
    np.save(tmp_path / "a.npy", points + np.array([0.2, -0.2, 0]))
    read = read_ink(str(tmp_path / "a.npy"))[0][0]
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, points)


def test_read_line_names_the_file_that_it_cannot_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no array")
    (tmp_path / "a.xml").write_bytes(b"<x")
    np.save(tmp_path / "b.npy", np.array([None]), allow_pickle=True)
    words = {"a.npy": "is no .npy of numbers", "b.npy": "is no .npy of numbers"}
    words |= {"a.xml": "is not well-formed XML", "c.npy": r"cannot be read \(No such file"}
    for name, reason in words.items():
        with pytest.raises(UserError, match=f"{tmp_path / name} {reason}"):
            read_ink(tmp_path / name)[0][0]


@mutations(150)
@given(edits(), st.sampled_from(["a.xml", "a.npy"]))
def test_read_line_of_any_damage_is_a_line_or_a_sentence(tmp_path, edited, name):
    if name == "a.npy":
        np.save(tmp_path / name, line(12))
        (tmp_path / name).write_bytes(edited((tmp_path / name).read_bytes()))
    else:
        (tmp_path / name).write_bytes(edited(line_to_xml(line(12))))
    read = read_or_refused(lambda: read_ink(tmp_path / name)[0][0], name)
    if read is not None:
        assert read.dtype == np.int16 and read.shape[1:] == (3,) and len(read) > 0
        assert set(read[:, 2].tolist()) <= {0, 1}


@settings(deadline=None, max_examples=50)
@given(arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-900, 900)))
def test_line_to_xml_rounds_positions_not_moves(moves):
    points = np.column_stack([moves, np.zeros(len(moves))])
    read = parse_line(line_to_xml(points))
    exact, found = np.cumsum(moves, 0), np.cumsum(read[:, :2].astype(int), 0)
    assert np.abs((found - found[0]) - (exact - exact[0])).max() <= 1 + 1e-6
    assert read[:, 2].tolist() == [0] * (len(moves) - 1) + [1]
