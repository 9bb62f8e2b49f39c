"""utils.py: strokes in from XML and the cache, and out as XML. All data is made up here or lies in tests/reference."""

import functools
import gzip
import io
import json
import os
import pickle
import pickletools
import shutil
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import utils
from conftest import CACHE, INDEX, cache_of, line
from utils import DataError, DataLoader, write_line_strokes

ROOT = Path(__file__).parent.parent
REFERENCE = Path(__file__).parent / "reference"
TAR = "lineStrokes-all.tar.gz"
BOX = '<DiagonallyOppositeCoords x="150" y="90"/><VerticallyOppositeCoords x="100" y="90"/>'
BOX = f'<SensorLocation corner="top_left"/>{BOX}<HorizontallyOppositeCoords x="150" y="50"/>'


def xml(strokes, box=BOX, head='<?xml version="1.0" encoding="ISO-8859-1"?>'):
    """Return the text of a file with the given strokes, each a text or a list of (x, y)."""
    texts = [
        stroke if isinstance(stroke, str) else "".join(f'<Point x="{x}" y="{y}" time="1.25"/>\n' for x, y in stroke)
        for stroke in strokes
    ]
    inside = "".join(f"<Stroke>{text}</Stroke>" for text in texts)
    return (
        f"{head}<WhiteboardCaptureSession><WhiteboardDescription>{box}</WhiteboardDescription>"
        f"<StrokeSet>{inside}</StrokeSet></WhiteboardCaptureSession>"
    )


def folder_of(path, texts):
    """Write the texts, by name without .xml, into path/lineStrokes; return path."""
    for name, text in texts.items():
        file = path / "lineStrokes" / name.partition("-")[0] / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---------------------------------------------------------------------------------------------- one file


def test_parse_equals_reference_program(tmp_path):
    shutil.copytree(REFERENCE / "lineStrokes", tmp_path / "lineStrokes")
    loader = DataLoader(seq_length=100, data_dir=tmp_path)
    with np.load(REFERENCE / "strokes.npz") as strokes:
        assert loader.names == sorted(strokes)
        for name, array in zip(loader.names, loader.raw_data, strict=True):
            assert array.dtype == np.int16
            np.testing.assert_array_equal(array, strokes[name])


def test_parse_truncates_positions_before_differences():
    # The origin is (100, 50) - 100; positions are 0.9 -> 0, 1.8 -> 1 and -0.5 -> 0 to the right of it.
    points = [(0.9, -50), (1.8, -49.2), (-0.5, -40)]
    expected = [[0, 0, 0], [1, 0, 0], [-1, 10, 1]]
    np.testing.assert_array_equal(utils._parse_line(xml([points]).encode()), expected)


def test_parse_marks_the_last_point_of_each_stroke_and_skips_empty_ones():
    parsed = utils._parse_line(xml([[], [(110, 60), (111, 60)], [], [(120, 61)], []]).encode())
    np.testing.assert_array_equal(parsed, [[110, 110, 0], [1, 0, 1], [9, 1, 1]])


PLAIN = xml([[(110, 60), (111, 61)], [(120, 61), (121, 64)]])


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace('x="111" y="61" time="1.25"', "time='2' y='61' x='111'"),
        PLAIN.replace('x="111"', ' x = "111.0" '),
        PLAIN.replace('"111"', '"&#49;11"'),
        PLAIN.replace("<Stroke>", '<Stroke><!-- <Point x="1" y="2" time="3"/> -->'),
        PLAIN.replace("<Stroke>", '<Stroke><?note <Point x="1" y="2" time="3"/> ?>'),
        PLAIN.replace("<Stroke>", '<Stroke><![CDATA[<Point x="1" y="2" time="3"/>]]>'),
        PLAIN.replace("<StrokeSet>", '<Point x="1" y="2" time="3"/><StrokeSet>'),
        PLAIN.replace("<Stroke>", '<Stroke><Group><Point x="1" y="2" time="3"/></Group>'),
        PLAIN.replace("<WhiteboardDescription>", "<General/><WhiteboardDescription>"),
        PLAIN.replace(BOX, BOX.replace("<SensorLocation", "<Other/><SensorLocation")),
        PLAIN.replace("ISO-8859-1", "UTF-16").encode("utf-16"),
        PLAIN.replace("ISO-8859-1", "UTF-8").encode("utf-8-sig"),
    ],
)
def test_parse_gives_the_same_points_however_they_are_written(text):
    parsed = utils._parse_line(text if isinstance(text, bytes) else text.encode())
    np.testing.assert_array_equal(parsed, [[110, 110, 0], [1, 1, 1], [9, 0, 0], [1, 3, 1]])


@pytest.mark.parametrize("far", [32767, -32768])
def test_parse_keeps_moves_that_just_fit_int16(far):
    parsed = utils._parse_line(xml([[(0, -50), (far, -50)]]).encode())
    np.testing.assert_array_equal(parsed[1], [far, 0, 1])


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "{}"><!ENTITY c "{}"><!ENTITY d "{}"><!ENTITY e "{}">]>'.format(
    *(f"&{name};" * 100 for name in "abcd")
)
DAMAGED = {
    "not-well-formed": (PLAIN[:-9], "not well-formed XML"),
    "point-in-a-tag": (PLAIN.replace("<Stroke>", '<Stroke a="<Point x="1" y="2" time="3"/>">'), "not well-formed"),
    "empty": ("", "not well-formed XML"),
    "binary": (bytes(range(256)), "not well-formed XML"),
    "no-stroke-set": (PLAIN.replace("StrokeSet", "Strokes"), "no StrokeSet"),
    "no-strokes": (xml([]), "no points"),
    "no-points": (xml([[], []]), "no points"),
    "no-description": (PLAIN.replace("WhiteboardDescription", "Description"), "no WhiteboardDescription"),
    "no-corners": (xml([[(1, 2)]], box=""), "no WhiteboardDescription"),
    "word": (xml(['<Point x="1" y="two" time="3"/>']), "missing or no number"),
    "missing": (xml(['<Point x="1" time="3"/>', [(1, 2)]]), "missing or no number"),
    "bare-point": (xml([[(1, 2)], "<Point/>"]), "missing or no number"),
    "nan": (xml([[("nan", 2)]]), "infinite or not a number"),
    "inf": (xml([[(1, "-inf")]]), "infinite or not a number"),
    "huge": (xml([[(1, "1e300")]]), "infinite or not a number"),
    "digits": (xml([[(1, "9" * 400)]]), "infinite or not a number"),
    "bad-corner": (xml([[(1, 2)]], box=BOX.replace('"90"', '"?"')), "missing or no number"),
    "far-right": (xml([[(0, -50), (32768, -50)]]), "does not fit 16 bits"),
    "far-up": (xml([[(0, -50), (0, -50 - 32769)]]), "does not fit 16 bits"),
    "far-start": (xml([[(40000, 0)]]), "does not fit 16 bits"),
    "dtd": (PLAIN.replace("?>", "?><!DOCTYPE WhiteboardCaptureSession>"), "DTD"),
    "foreign-dtd": (PLAIN.replace("?>", '?><!DOCTYPE x SYSTEM "file:///etc/passwd">'), "DTD"),
    "laughs": (PLAIN.replace("?>", "?>" + LAUGHS).replace("<Stroke>", "<Stroke>&e;"), "DTD|not well-formed"),
    "laughs-attribute": (PLAIN.replace("?>", "?>" + LAUGHS).replace('"110"', '"&e;"'), "DTD|not well-formed"),
    "utf16-dtd": (PLAIN.replace('"ISO-8859-1"?>', '"UTF-16"?><!DOCTYPE x>').encode("utf-16"), "DTD"),
    "too-large": (PLAIN + "\n" * (16 << 20), "too large"),
    "nested": ("<a>" * 10**6, "not well-formed XML .*depth"),
    "unknown-encoding": (PLAIN.replace("ISO-8859-1", "no-such"), "not well-formed XML .*no-such"),
    "wrong-encoding": (PLAIN.replace("ISO-8859-1", "UTF-16"), "not well-formed XML"),
    "1e308": (xml([[("1e308", 2)]]), "infinite or not a number"),
}


def test_parse_refuses_damaged_files(tmp_path):
    """Each kind: named with its reason, skipped, counted; the good line between them is kept."""
    texts = {name: text for name, (text, _) in DAMAGED.items()}
    source = str(folder_of(tmp_path, texts | {"good-01": PLAIN}) / "lineStrokes")
    results = dict(utils._parse_share(source, 0, 1))
    assert len(results) == len(DAMAGED) + 1
    for path, result in results.items():
        name = Path(path).stem
        if name == "good-01":
            assert len(result) == 4
        else:
            with pytest.raises(DataError, match=DAMAGED[name][1]):
                raise DataError(result)


def test_loader_warns_of_damaged_files_and_counts_them(tmp_path):
    texts = {"a-01": "<x", "a-02": xml([[]]), "b-01": PLAIN, "c-01": PLAIN}
    folder_of(tmp_path, texts)
    with pytest.warns(UserWarning, match="2 damaged files .*a-01.xml is not well-formed.*a-02.xml has no points"):
        loader = DataLoader(seq_length=1, data_dir=tmp_path)
    assert loader.num_damaged == 2
    assert loader.names == ["b-01", "c-01"]
    assert DataLoader(seq_length=1, data_dir=tmp_path).num_damaged == 2  # from the cache, without a warning


def test_loader_names_ten_damaged_files_at_most(tmp_path):
    folder_of(tmp_path, {f"a-{i:02d}": "<x" for i in range(12)} | {"b-01": PLAIN, "b-02": PLAIN})
    with pytest.warns(UserWarning, match="12 damaged files") as caught:
        DataLoader(seq_length=1, data_dir=tmp_path)
    assert str(caught[0].message).count(".xml") == 10


def test_loader_fails_if_all_files_are_damaged(tmp_path):
    folder_of(tmp_path, {"a-01": "<x", "a-02": "<y"})
    with pytest.raises(DataError, match=r"no line that can be used; of 2 files all are damaged: .*a-01.xml"):
        DataLoader(data_dir=tmp_path)
    assert not (tmp_path / CACHE).exists()


# ---------------------------------------------------------------------------------------------- sources


def tar_of(path, members):
    """Write an archive of (TarInfo or name, bytes)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_loader_gives_the_same_from_folder_and_archive_sorted_by_file_name(tmp_path):
    texts = {f"{form}-{i:02d}": xml([[(i, j) for j in range(9)]]) for form in ("b01", "a", "a-01u") for i in (2, 1)}
    folder = folder_of(tmp_path / "folder", texts)
    (tmp_path / "tar").mkdir()
    tar_of(
        tmp_path / "tar" / TAR,
        [(f"lineStrokes/{name}.xml", text.encode()) for name, text in texts.items()] + [("lineStrokes/notes.txt", b"")],
    )
    one, two = (DataLoader(seq_length=3, data_dir=path) for path in (folder, tmp_path / "tar"))
    assert one.names == two.names == ["a-01", "a-01u-01", "a-01u-02", "a-02", "b01-01", "b01-02"]
    for a, b, number in zip(one.raw_data, two.raw_data, (1, 1, 2, 2, 1, 2), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a[0, 0] == number  # the box begins at x = 100, so the origin is 0
    assert (folder / CACHE).read_bytes() == (tmp_path / "tar" / CACHE).read_bytes()


def test_loader_prefers_the_folder_to_the_archive(tmp_path):
    folder_of(tmp_path, {"a-01": PLAIN, "a-02": PLAIN})
    write_line_strokes([line(50)], tmp_path / TAR)
    assert DataLoader(seq_length=1, data_dir=tmp_path).names == ["a-01", "a-02"]


def test_loader_follows_no_link_device_or_outside_name_in_an_archive(tmp_path):
    (tmp_path / "secret.xml").write_text(PLAIN)
    odd = []
    for name, kind, target in (
        ("lineStrokes/s.xml", tarfile.SYMTYPE, str(tmp_path / "secret.xml")),
        ("lineStrokes/h.xml", tarfile.LNKTYPE, "lineStrokes/a-01.xml"),
        ("lineStrokes/c.xml", tarfile.CHRTYPE, ""),
        ("lineStrokes/f.xml", tarfile.FIFOTYPE, ""),
        ("lineStrokes/d.xml", tarfile.DIRTYPE, ""),
    ):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        odd.append((member, b""))
    names = ["lineStrokes/a-01.xml", "lineStrokes/a-02.xml", "/tmp/abs-01.xml", "../up-01.xml", "x/../../up-02.xml"]
    tar_of(tmp_path / TAR, [(names[0], PLAIN.encode()), *odd, *((name, PLAIN.encode()) for name in names[1:])])
    before = set(tmp_path.iterdir())
    assert DataLoader(seq_length=1, data_dir=tmp_path).names == ["a-01", "a-02"]
    assert set(tmp_path.iterdir()) - before == {tmp_path / CACHE, tmp_path / INDEX}


@pytest.mark.parametrize("damage", ["cut", "garbage", "not gzip", "empty"])
def test_loader_names_a_damaged_archive(tmp_path, damage):
    write_line_strokes([line(400, seed) for seed in range(30)], tmp_path / TAR)
    whole = (tmp_path / TAR).read_bytes()
    middle = len(whole) // 2
    broken = {
        "cut": whole[:middle],
        "garbage": whole[:middle] + bytes(range(256)) * 4 + whole[middle:],
        "not gzip": b"<html>not found</html>",
        "empty": b"",
    }
    (tmp_path / TAR).write_bytes(broken[damage])
    with pytest.raises(DataError, match=f"{TAR} is not a whole tar.gz archive .*download it again"):
        DataLoader(data_dir=tmp_path)
    assert not (tmp_path / CACHE).exists()


def header(kind, size, name="lineStrokes/a-01.xml"):
    """The header of an archive's member of this kind that claims so many bytes."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def extended(text):
    """An archive whose first member is an extended header with this text."""
    return header(tarfile.XHDTYPE, len(text)) + text + bytes(-len(text) % 512) + header(tarfile.REGTYPE, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header(tarfile.REGTYPE, 300 << 20) + bytes(300 << 20), "unpacked it is more than 100 times as large"),
        (header(tarfile.XHDTYPE, 2 << 20) + bytes(2 << 20), "a header in it claims 2097152 bytes"),
        (header(tarfile.XGLTYPE, 8 << 30), "a header in it claims 8589934592 bytes"),
        (header(tarfile.GNUTYPE_LONGNAME, 8 << 30), "a header in it claims 8589934592 bytes"),
        (header(tarfile.XHDTYPE, 0) * 5000, "recursion"),
        (extended(b"21 GNU.sparse.size=x\n"), "invalid literal"),
        (extended(b"23 GNU.sparse.map=1,2,x\n"), "invalid literal"),
    ],
    ids=["bomb", "header", "global header", "long name", "nested headers", "sparse size", "sparse map"],
)
def test_loader_refuses_an_archive_that_means_harm(tmp_path, content, reason):
    (tmp_path / TAR).write_bytes(gzip.compress(content, 1))
    with pytest.raises(DataError, match=f"{TAR} is not a whole tar.gz archive .*{reason}"):
        utils._parse_source(str(tmp_path / TAR))


def test_a_file_of_a_gigabyte_is_not_read(tmp_path):
    folder_of(tmp_path, {"a-01": PLAIN, "b-01": PLAIN, "c-01": ""})
    os.truncate(tmp_path / "lineStrokes" / "c" / "c-01.xml", 1 << 30)
    tracemalloc.start()
    with pytest.warns(UserWarning, match="1 damaged files .*c-01.xml is too large for a line"):
        assert DataLoader(seq_length=1, data_dir=tmp_path).names == ["a-01", "b-01"]
    with pytest.raises(DataError, match=r"c-01.xml is too large for a line; name the file of one line"):
        utils.read_line(tmp_path / "lineStrokes" / "c" / "c-01.xml")
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_a_folder_that_cannot_be_read_is_an_error_and_no_smaller_corpus(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01": PLAIN, "b-01": PLAIN})
    scandir = os.scandir

    def refuse(path):  # permissions do not stop the superuser
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"lineStrokes/b cannot be read \(Permission denied\); make it readable"):
        DataLoader(seq_length=1, data_dir=tmp_path)


def test_a_source_that_cannot_be_read_is_named_and_not_the_cache(tmp_path):
    write_line_strokes([line(20, seed) for seed in range(6)], tmp_path / TAR)
    DataLoader(seq_length=1, data_dir=tmp_path)
    with pytest.raises(DataError, match=rf"{tmp_path}/{TAR} cannot be read \(No such file or directory\); make"):
        (tmp_path / TAR).unlink()
        utils._read_cache(str(tmp_path), str(tmp_path / TAR))


@pytest.mark.parametrize("change", [{"names": {"a-01": 0, "b-01": 1}}, {"names": "ab"}, {"damaged": "none"}])
def test_cache_with_an_index_of_another_kind_is_used_without_it(tmp_path, change):
    cache_of(tmp_path, [line(20), line(21)], names=["a-01", "b-01"])
    index = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps({**index, **change}))
    with pytest.warns(UserWarning, match=f"{CACHE} has no {INDEX} of its own"):
        loader = DataLoader(seq_length=5, data_dir=tmp_path)
    assert (loader.names, loader.num_damaged) == (None, 0)


def big_folder(path):
    """Write 201 lines, enough for worker processes, one of them damaged."""
    texts = {f"a{i // 10:02d}-{i % 10:02d}": xml([[(i, 0), (i, i), (i, 2)]]) for i in range(200)}
    return folder_of(path, texts | {"b-01": "<x"})


def test_workers_give_the_same_as_one_process(tmp_path, monkeypatch):
    folder = str(big_folder(tmp_path) / "lineStrokes")
    calls = []
    elsewhere = utils._parse_share_elsewhere
    monkeypatch.setattr(utils, "_parse_share_elsewhere", lambda *a: calls.append(a) or elsewhere(*a))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.warns(UserWarning, match="1 damaged"):
        both = utils._parse_source(folder)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.warns(UserWarning, match="1 damaged"):
        alone = utils._parse_source(folder)
    assert len(calls) == 2
    assert both.names == alone.names
    assert both.num_damaged == alone.num_damaged == 1
    np.testing.assert_array_equal(both.raw_data, alone.raw_data)
    assert [array[1, 1] for array in both.raw_data] == list(range(200))


def test_workers_report_a_damaged_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    rng = np.random.default_rng(0)
    tar_of(tmp_path / TAR, [("a-01.xml", PLAIN.encode()), ("noise", rng.bytes(3 << 20))])
    (tmp_path / TAR).write_bytes((tmp_path / TAR).read_bytes()[: 2 << 20])
    with pytest.raises(DataError, match=r"is not a whole tar\.gz archive"):
        DataLoader(data_dir=tmp_path)


def test_workers_that_die_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "_THIS_FOLDER", str(tmp_path))
    (tmp_path / "utils.py").write_text("raise SystemExit(7)")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(DataError, match="ended with status 7"):
        DataLoader(data_dir=big_folder(tmp_path))


@pytest.mark.parametrize("way", ["script", "ipython"])
def test_workers_run_from_a_script_without_main_guard_and_from_ipython(tmp_path, way):
    """Two ways in which multiprocessing's workers fail. Nothing but the result is printed, no progress bar either."""
    data = big_folder(tmp_path)
    (data / "lineStrokes" / "b" / "b-01.xml").unlink()
    use = f"loader = DataLoader(seq_length=0, data_dir={str(data)!r})\nprint(len(loader.raw_data))\n"
    set_two = "import os\nos.cpu_count = lambda: 2\n"
    if way == "script":
        (tmp_path / "script.py").write_text(
            set_two + f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n" + "from utils import DataLoader\n" + use
        )
        command = [sys.executable, str(tmp_path / "script.py")]
    else:
        command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c"]
        command.append(f"{set_two}%run -i {ROOT / 'utils.py'}\n{use}")
    environment = os.environ | {"IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("200\n", "")


def test_progress_bar_counts_lines_on_a_terminal(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    folder_of(tmp_path, {f"a-{i:02d}": PLAIN for i in range(7)})
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(utils, "tqdm", functools.partial(utils.tqdm, file=terminal))
    DataLoader(seq_length=1, data_dir=tmp_path)
    assert "7/7" in terminal.getvalue()


# ---------------------------------------------------------------------------------------------- the cache


def test_cache_round_trip_is_a_pickle_for_every_numpy(tmp_path):
    lines = [line(30, 1), line(1, 2), np.zeros((0, 3), np.int16), line(400, 3)[:, ::-1]]
    stream = utils._dump_arrays(lines)
    assert b"numpy.core.multiarray" in stream
    assert b"numpy._core" not in stream
    for read in (utils._load_arrays(stream), pickle.loads(stream)):
        assert [(array.dtype, array.shape) for array in read] == [(np.int16, array.shape) for array in lines]
        for array, expected in zip(read, lines, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.flags.writeable
            assert array.flags.c_contiguous


def test_cache_names_what_the_old_program_names():
    stream = utils._dump_arrays([line(3), np.zeros((0, 3), np.int16)])
    ops = list(pickletools.genops(stream))
    assert (ops[0][0].name, ops[0][1]) == ("PROTO", 2)
    assert {value for op, value, _ in ops if op.name == "GLOBAL"} == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
        "_codecs encode",
        "__builtin__ bytes",
    }


def test_cache_of_the_old_program_is_read():
    read = utils._load_arrays((REFERENCE / "reference.cpkl").read_bytes())
    with np.load(REFERENCE / "strokes.npz") as strokes:
        expected = {len(array): array for array in strokes.values()}
    assert sorted(map(len, read)) == sorted(expected)
    for array in read:
        np.testing.assert_array_equal(array, expected[len(array)])


def array_pickle(content, shape=b"K\x02K\x03\x86", dtype=b"U\x02i2", order=b"U\x01<", fortran=b"\x89"):
    """Return a pickle of a list of one array, as Python 2 writes it unless the parts say otherwise."""
    return (
        b"\x80\x02]q\x00cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        b"(K\x01" + shape + b"cnumpy\ndtype\n" + dtype + b"K\x00K\x01\x87R(K\x03" + order + b"NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb" + fortran + b"T" + struct.pack("<i", len(content)) + content + b"tba."
    )


def test_cache_of_python_2_is_read_in_both_byte_orders():
    expected = np.array([[1, -2, 0], [300, 4, 1]], np.int16)
    for order, text in ((b"U\x01<", "<i2"), (b"U\x01>", ">i2")):
        (read,) = utils._load_arrays(array_pickle(expected.astype(text).tobytes(), order=order))
        assert read.dtype == np.int16
        np.testing.assert_array_equal(read, expected)


class Evil:
    """An object whose pickle calls something."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


TWELVE = bytes(12)
REFUSED = {
    "system": (pickle.dumps([Evil(os.system, "touch ran")], 2), "it names posix.system"),
    "eval": (pickle.dumps([Evil(eval, "open('ran', 'w')")], 2), "it names __builtin__.eval"),
    "behind-arrays": (pickle.dumps([line(3), Evil(os.mkdir, "ran")], 2), "it names posix.mkdir"),
    "protocol-4": (pickle.dumps([Evil(os.mkdir, "ran")], 4), "the opcode FRAME"),
    "protocol-0": (pickle.dumps([line(3)], 0), "the opcode"),
    "object-array": (array_pickle(TWELVE, dtype=b"U\x02O8"), "not int16"),
    "objects": (pickle.dumps([np.array([[None] * 3])], 2), "it is no list of arrays|not int16"),
    "float": (pickle.dumps([np.zeros((2, 3))], 2), "not int16"),
    "no-order": (array_pickle(TWELVE, order=b"U\x01|"), "not int16"),
    "shape": (array_pickle(TWELVE, shape=b"K\x03K\x03\x86"), "not .n, 3."),
    "negative": (array_pickle(b"", shape=b"J\xff\xff\xff\xffK\x03\x86"), "not .n, 3."),
    "flat": (pickle.dumps([np.zeros(6, np.int16)], 2), "not .n, 3."),
    "two-columns": (pickle.dumps([np.zeros((3, 2), np.int16)], 2), "not .n, 3."),
    "fortran": (array_pickle(TWELVE, fortran=b"\x88"), "not .n, 3."),
    "memo": (b"\x80\x02]r\xff\xff\xff\x7fN.", "a memo of 2147483647 entries"),
    "length": (b"\x80\x02]X\xff\xff\xff\x7fabc.", "expected 2147483647 bytes"),
    "long-length": (b"\x80\x02]B\xff\xff\xff\x7fabc.", "expected 2147483647 bytes"),
    "deep-tuple": (b"\x80\x02])" + b"\x85" * 10**5 + b"a.", "no list of arrays"),
    "deep-list": (b"\x80\x02]" + b"]" * 10**5 + b"a" * 10**5 + b".", "no list of arrays"),
    "dict": (pickle.dumps({}, 2), "the opcode EMPTY_DICT"),
    "number": (pickle.dumps(7, 2), "no list of arrays"),
    "strings": (pickle.dumps(["a"], 2), "no list of arrays"),
    "no-state": (b"\x80\x02]cnumpy.core.multiarray\n_reconstruct\n)Ra.", "no list of arrays"),
    "only-a-name": (b"\x80\x02]cnumpy.core.multiarray\n_reconstruct\na.", "no list of arrays"),
    "build-a-name": (b"\x80\x02]cnumpy\ndtype\n(K\x01K\x02tba.", "no list of arrays"),
    "underflow": (b"\x80\x02R.", "no list of arrays"),
    "truncated": (utils._dump_arrays([line(99)])[:-200], "expected .* bytes|exhausted"),
    "no-stop": (utils._dump_arrays([line(99)])[:-1], "exhausted"),
    "empty-list": (pickle.dumps([], 2), "it is empty"),
    "empty-file": (b"", "exhausted"),
    "text": (b"hello", "."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cache_with_anything_else_is_refused_by_name_and_nothing_runs(tmp_path, monkeypatch, name):
    stream, reason = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / CACHE).write_bytes(stream)
    with pytest.raises(DataError, match=f"{CACHE} cannot be used .*({reason}).*delete it"):
        DataLoader(data_dir=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_cache_that_repeats_one_array_without_end_is_refused():
    stream = utils._dump_arrays([line(1000)])
    assert stream.endswith(b"ba.")
    many = stream[:-2] + b"q\xff" + b"ah\xff" * 3 + b"a."
    with pytest.raises(ValueError, match="the same points many times"):
        utils._load_arrays(many)


def test_cache_is_written_with_index_and_used(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01": PLAIN, "b-01": PLAIN})
    first = DataLoader(seq_length=1, data_dir=tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["names"] == first.names == ["a-01", "b-01"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lineStrokes", CACHE, INDEX]
    monkeypatch.setattr(utils, "_parse_source", None)  # not called again
    second = DataLoader(seq_length=1, data_dir=tmp_path)
    assert second.names == first.names
    np.testing.assert_array_equal(second.raw_data, first.raw_data)
    shutil.rmtree(tmp_path / "lineStrokes")  # nor missed
    assert DataLoader(seq_length=1, data_dir=tmp_path).names == first.names


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_cache_is_renewed_when_its_source_changes(tmp_path, kind):
    lines = [line(20, seed) for seed in range(6)]
    if kind == "archive":
        write_line_strokes(lines, tmp_path / TAR)
    else:
        folder_of(tmp_path, {"s00-000-01": PLAIN, "s00-000-02": PLAIN})
    DataLoader(seq_length=1, data_dir=tmp_path)
    if kind == "archive":
        write_line_strokes(lines[:5], tmp_path / TAR)
    else:
        folder_of(tmp_path, {f"s00-000-{i:02d}": PLAIN for i in (3, 4, 5)})
    assert DataLoader(seq_length=1, data_dir=tmp_path).names == [f"s00-000-{i:02d}" for i in (1, 2, 3, 4, 5)]
    assert len(json.loads((tmp_path / INDEX).read_text())["names"]) == 5


@pytest.mark.parametrize(
    "index",
    [
        None,
        "",
        "{",
        "[]",
        "[" * 10**5,
        '{"cache": "0", "source": "", "damaged": 0, "names": ["a-01"]}',
        "\xff",
        "names",
    ],
)
def test_cache_without_index_of_its_own_is_used_as_it_is(tmp_path, index):
    """The old program's, or one beside which another's index lies: every 20th line validates."""
    folder_of(tmp_path, {"a-01": PLAIN})
    lines = [line(20 + i, i) for i in range(41)]
    cache_of(tmp_path, lines, names=["a-01"] if index == "names" else None)  # too few names
    if index not in (None, "names"):
        (tmp_path / INDEX).write_bytes(index.encode("latin1"))
    if index == "names":
        shutil.rmtree(tmp_path / "lineStrokes")
    with pytest.warns(UserWarning, match=f"{CACHE} has no {INDEX} of its own .* every 20th line validates; delete it"):
        loader = DataLoader(seq_length=5, data_dir=tmp_path)
    assert loader.names is None
    assert [len(array) for array in loader.valid_data] == [20, 40, 60]
    assert len(loader.data) == 38
    assert [len(array) for array in loader.raw_data] == list(range(20, 61))  # in the cache's order


def test_cache_is_never_seen_half_written(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01": PLAIN, "b-01": PLAIN})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        DataLoader(seq_length=1, data_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lineStrokes"]


def test_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01": PLAIN, "b-01": PLAIN})

    def replace(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.warns(UserWarning, match="No cache was written to .*Read-only file system.* parses anew"):
        loader = DataLoader(seq_length=1, data_dir=tmp_path)
    assert loader.names == ["a-01", "b-01"]
    assert [path.name for path in tmp_path.iterdir()] == ["lineStrokes"]


# ---------------------------------------------------------------------------------------------- nothing to read


@pytest.mark.parametrize("kind", ["empty", "missing", "file"])
def test_loader_says_where_the_database_is_to_be_had(tmp_path, kind):
    path = tmp_path / "mine"
    if kind == "empty":
        (path / "lineStrokes").mkdir(parents=True)
    elif kind == "file":
        path.write_text("")
    words = {"empty": "holds no handwriting", "missing": "does not exist", "file": "is not a folder"}[kind]
    with pytest.raises(
        DataError, match=f"{path} {words}; ask for .*https://fki.tic.heia-fr.ch/.* put it at {path}/{TAR}"
    ):
        DataLoader(data_dir=path)


def test_loader_falls_back_to_the_demo_in_the_default_folder_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "mine"):
        (tmp_path / folder / "demo").mkdir(parents=True)
        write_line_strokes([line(20, seed) for seed in range(10)], tmp_path / folder / "demo" / TAR)
    with pytest.warns(UserWarning, match=f"using the small corpus data/demo; ask for .* put it at data/{TAR}"):
        loader = DataLoader(seq_length=5)
    assert len(loader.raw_data) == 10
    assert (len(loader.data), len(loader.valid_data)) == (5, 5)  # two forms of five lines
    with pytest.raises(DataError, match="mine holds no handwriting"):
        DataLoader(data_dir="mine")
    shutil.rmtree("data/demo")
    with pytest.raises(DataError, match="data holds no handwriting"):
        DataLoader()


def test_loader_says_which_sequence_length_would_do(tmp_path):
    cache_of(tmp_path, [line(30), line(302)], ["a-01", "b-01"])
    with pytest.raises(
        DataError, match=r"longer than seq_length \+ 2 = 302 points, .* has 302; use a smaller --seq_length"
    ):
        DataLoader(data_dir=tmp_path)
    assert len(DataLoader(seq_length=299, data_dir=tmp_path).data) == 1


# ---------------------------------------------------------------------------------------------- XML out


def test_write_line_strokes_is_read_back(tmp_path):
    lines = [line(15 + i, i) for i in range(12)]
    write_line_strokes(lines, tmp_path / TAR)
    loader = DataLoader(seq_length=5, data_dir=tmp_path)
    assert loader.names == [f"s00-{i // 5:03d}-{i % 5 + 1:02d}" for i in range(12)]
    for read, written in zip(loader.raw_data, lines, strict=True):
        np.testing.assert_array_equal(read[1:], written[1:])
        assert read[0, 2] == written[0, 2]
        np.testing.assert_array_equal(
            np.cumsum(read[:, :2], 0).min(0), [100, 100]
        )  # the box begins 100 from the origin


@settings(deadline=None, max_examples=50)
@given(arrays(float, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-900, 900)))
def test_write_line_strokes_rounds_positions_not_moves(moves):
    read = utils._parse_line(utils._line_xml(np.column_stack([moves, np.zeros(len(moves))])))
    exact, positions = np.cumsum(moves, 0), np.cumsum(read[:, :2].astype(int), 0)
    assert np.abs((positions - positions[0]) - (exact - exact[0])).max() <= 1 + 1e-6
    assert read[:, 2].tolist() == [0] * (len(moves) - 1) + [1]


def test_write_line_strokes_looks_like_the_database(tmp_path):
    write_line_strokes([[[9, 9, 0], [3, -4, 1], [0.6, 0, 0], [0.6, 5, 0]]], tmp_path / "mine.tar.gz")
    with tarfile.open(tmp_path / "mine.tar.gz") as tar:
        (member,) = tar.getmembers()
        text = tar.extractfile(member).read().decode("ascii")
    assert member.name == "lineStrokes/s00/s00-000/s00-000-01.xml"
    assert member.isreg()
    assert text == (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        "<WhiteboardCaptureSession>\n"
        "  <WhiteboardDescription>\n"
        '    <SensorLocation corner="top_left"/>\n'
        '    <DiagonallyOppositeCoords x="1004" y="1005"/>\n'
        '    <VerticallyOppositeCoords x="1000" y="1005"/>\n'
        '    <HorizontallyOppositeCoords x="1004" y="1000"/>\n'
        "  </WhiteboardDescription>\n"
        "  <StrokeSet>\n"
        '    <Stroke colour="black" start_time="0.00" end_time="0.01">\n'
        '      <Point x="1000" y="1004" time="0.00"/>\n'
        '      <Point x="1003" y="1000" time="0.01"/>\n'
        "    </Stroke>\n"
        '    <Stroke colour="black" start_time="0.02" end_time="0.03">\n'
        '      <Point x="1004" y="1000" time="0.02"/>\n'
        '      <Point x="1004" y="1005" time="0.03"/>\n'
        "    </Stroke>\n"
        "  </StrokeSet>\n"
        "</WhiteboardCaptureSession>\n"
    )


def test_write_line_strokes_gives_the_same_bytes_and_no_half_file(tmp_path):
    one, two = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    write_line_strokes([line(50)], one)
    write_line_strokes([line(50)], two)
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(IndexError):
        write_line_strokes([line(50), np.zeros(3)], one)
    assert one.read_bytes() == two.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_import_needs_no_tensorflow_and_does_nothing(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import utils; print('tensorflow' in sys.modules, utils.random)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False <module 'random'")
    assert list(tmp_path.iterdir()) == []
