"""The database on disk, the cache, checks of one's own points, both formats out."""

import gzip
import hashlib
import io
import json
import os
import pickle
import pickletools
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import warnings

import utils
from conftest import CACHE, INDEX, ROOT, cache_of, line, make_line
from handwriting import cache, database, export
from handwriting.export import check_size, transcriptions_path, write_line_strokes
from handwriting.files import UserError
from utils import DataLoader, read_line

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

REFERENCE = ROOT / "tests" / "reference"
TAR, TEXTS = "lineStrokes-all.tar.gz", "ascii-all.tar.gz"


def mutations(number):
    """The settings of a test of this many mutations, always the same ones."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=number, derandomize=True, deadline=None, database=None,
        suppress_health_check=checks,
    )  # fmt: skip


NASTY = [b"", b"\0", b"\xff", b'"', b"-", b"9" * 30, b"1e308", b"nan", b"../", b"<a>" * 300]
NASTY += [b"&e;", b"\xff\xff\xff\x7f", b"\x80\x02]q\x00", b"(" * 40, b"[" * 300]


@st.composite
def edits(draw):
    """A function that edits bytes at one to three places."""
    edit = st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([0, 1, 1, 1, 2, 8, 100, 10**9]),
        st.one_of(st.binary(max_size=4), st.sampled_from(NASTY)),
    )
    drawn = draw(st.lists(edit, min_size=1, max_size=3))

    def edited(content):
        for place, size, new in drawn:
            at = int(place * len(content))
            content = content[:at] + new + content[at + size :]
        return content

    return edited


def read_or_refused(read, name):
    """What `read` returns; None if it raised a UserError whose sentence has the name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except UserError as error:
            assert str(name) in str(error)
            return None


def xml(number=0, points=9):
    """The XML of a line whose first move is (number, 100)."""
    made = make_line(points, np.random.default_rng(number))
    left = np.cumsum(made[:, 0]).min()
    text = export.line_to_xml(made).decode()
    box = text[text.index("<Diagonally") : text.index("</Whiteboard")]
    first = np.cumsum(made[:, 0])[0] - left + 1000 - number
    return text.replace(box, f'<VerticallyOppositeCoords x="{first + 100}" y="1000"/>').encode()


def folder_of(path, numbers):
    """Write lines, {name: number for `xml`, or bytes}, into path/lineStrokes; return path."""
    for name, number in numbers.items():
        file = path / "lineStrokes" / name.partition("-")[0] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(number if isinstance(number, bytes) else xml(number))
    return path


def tar_of(path, members, mode="w:gz"):
    """Write an archive of {name, or TarInfo: content}; return its folder."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path.parent


def forty(first=1, last=40):
    return {f"f{i // 5:02d}-{i % 5 + 1:02d}.xml": i + 1 for i in range(first - 1, last)}


def load(path):
    return DataLoader(seq_length=2, data_dir=path)


def numbers(loader):
    """The numbers for `xml` of a loader's lines."""
    return [int(array[0, 0]) for array in loader.raw_data]


# ---------------------------------------------------------------------------------- sources


def test_folder_and_archive_give_the_same_lines_sorted_by_name(tmp_path):
    names = {f"{form}-{i:02d}.xml": i for form in ("b01", "a", "a-01u") for i in (2, 1)}
    one = folder_of(tmp_path / "one", names)
    two = tar_of(tmp_path / "two" / TAR, {f"x/{name}": xml(i) for name, i in names.items()})
    assert load(one).names == load(two).names
    assert load(one).names == ["a-01", "a-01u-01", "a-01u-02", "a-02", "b01-01", "b01-02"]
    assert numbers(load(one)) == numbers(load(two)) == [1, 1, 2, 2, 1, 2]
    assert (one / CACHE).read_bytes() == (two / CACHE).read_bytes()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("lineStrokes-all.tgz", "w:gz"),
        ("lineStrokes-all.tar", "w"),
        ("linestrokes-all.TAR.GZ", "w:gz"),
        (TAR, "w"),  # unpacked on the way, as browsers do
    ],
)
def test_archive_may_have_another_ending(tmp_path, name, mode):
    tar_of(tmp_path / name, {"a-01.XML": xml(1), "a-02.xml": xml(2)}, mode)
    assert load(tmp_path).names == ["a-01", "a-02"]


def test_archive_members_of_mac_links_and_outside_names_are_passed_over(tmp_path):
    members = {"lineStrokes/a-01.xml": xml(1), "lineStrokes/a-02.xml": xml(2)}
    members |= {"lineStrokes/._a-01.xml": b"mac", "__MACOSX/lineStrokes/._a-02.xml": b"mac"}
    members |= {"__MACOSX/a-03.xml": b"mac", "lineStrokes/notes.txt": b""}
    members |= {"/tmp/abs-01.xml": xml(3), "../up-01.xml": xml(4), "x/../../up-02.xml": xml(5)}
    kinds = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE
    for kind in kinds:
        member = tarfile.TarInfo(f"lineStrokes/odd{kind.decode()}-01.xml")
        member.type, member.linkname = kind, "lineStrokes/a-01.xml"
        members[member] = b""
    loader = load(tar_of(tmp_path / TAR, members))
    assert (loader.names, loader.num_damaged) == (["a-01", "a-02"], 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [TAR, CACHE, INDEX]


def test_folder_has_files_in_capitals_and_linked_folders_and_none_of_mac(tmp_path):
    folder_of(tmp_path, {"a-01.XML": 1, "a-02.xml": 2, "._a-01.xml": b"mac"})
    folder_of(tmp_path / "else", {"b-01.xml": 3})
    (tmp_path / "lineStrokes" / "b").symlink_to(tmp_path / "else" / "lineStrokes" / "b")
    (tmp_path / "lineStrokes" / "b" / "round").symlink_to(tmp_path / "lineStrokes")  # no end
    (tmp_path / "lineStrokes" / "__MACOSX").mkdir()
    (tmp_path / "lineStrokes" / "__MACOSX" / "c-01.xml").write_bytes(b"mac")
    loader = load(tmp_path)
    assert (loader.names, loader.num_damaged) == (["a-01", "a-02", "b-01"], 0)


@pytest.mark.parametrize("name", ["a[b]", "[", "*", "a?", "a\\b", "a b"])
def test_folder_names_may_have_any_letter(tmp_path, name):
    folder = folder_of(tmp_path / name, {"a[1]-01.xml": 1, "a*-02.xml": 2})
    (folder / "mine.txt").write_text("a*")
    for loader in (load(folder), load(folder)):  # parsed, and from the cache
        assert numbers(loader) == [2, 1]
    assert len(loader.select("mine")) == 1
    write_line_strokes(loader.raw_data, folder / "[x]*.tar.gz")
    assert read_line(folder / "lineStrokes" / "a[1]" / "a[1]-01.xml")[0, 0] == 1


def test_links_to_nothing_below_a_folder_are_counted_and_named(tmp_path):
    folder_of(tmp_path, forty(1, 10))
    for i in range(11, 41):
        (tmp_path / "lineStrokes" / f"g-{i}.xml").symlink_to(tmp_path / "gone" / f"g-{i}.xml")
    words = r"30 damaged files of the 40 in .*lineStrokes are left out: .*g-11.xml is a link to no"
    with pytest.warns(UserWarning, match=words):
        loader = load(tmp_path)
    assert (len(loader.raw_data), loader.num_damaged) == (10, 30)
    folder_of(tmp_path / "two", forty(1, 10))
    (tmp_path / "two" / "lineStrokes" / "g").symlink_to(tmp_path / "gone")
    with pytest.warns(UserWarning, match="1 damaged files of the 11 .*g is a link to nothing"):
        load(tmp_path / "two")
    with pytest.warns(UserWarning, match="1 damaged files of the 11"):  # from the cache, too
        load(tmp_path / "two")


@pytest.mark.parametrize("name", ["lineStrokes", TAR])
def test_source_that_is_a_link_to_nothing_is_an_error(tmp_path, name):
    tar_of(tmp_path / "lineStrokes-all.tar", {"a-01.xml": xml(1)}, "w")
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=f"{name} is a link to nothing; correct or remove it"):
        load(tmp_path)


def test_tree_unpacked_twice_counts_once(tmp_path):
    folder_of(tmp_path, forty())
    shutil.copytree(tmp_path / "lineStrokes", tmp_path / "copy")
    shutil.move(tmp_path / "copy", tmp_path / "lineStrokes" / "lineStrokes")
    with pytest.warns(UserWarning, match="holds 80 files, but only 40 lines"):
        loader = load(tmp_path)
    assert sorted(numbers(loader)) == list(range(1, 41))
    assert len(set(loader.names)) == 40


def test_folder_that_lacks_lines_of_the_archive_beside_it_is_told_of(tmp_path):
    folder_of(tmp_path, forty(1, 10))
    tar_of(tmp_path / TAR, {name: xml(i) for name, i in forty().items()})
    words = rf"lineStrokes with 10 lines is used, but .*{TAR} has 40, of which 30 are missing"
    for _ in range(2):  # parsed, and from the cache
        with pytest.warns(UserWarning, match=words):
            assert len(load(tmp_path).raw_data) == 10
    (tmp_path / TAR).unlink()
    assert len(load(tmp_path).raw_data) == 10
    (tmp_path / TAR).write_bytes(b"cut")
    with pytest.warns(UserWarning, match=f"10 lines is used, but .*{TAR} is not a whole archive"):
        load(tmp_path)


def test_archive_beside_another_is_compared_too(tmp_path):
    tar_of(tmp_path / TAR, {name: xml(i) for name, i in forty(1, 30).items()})
    tar_of(tmp_path / "lineStrokes-all.tar", {name: xml(i) for name, i in forty().items()}, "w")
    with pytest.warns(UserWarning, match=r"with 30 lines is used, .*-all.tar has 40, of which 10"):
        load(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "garbage", "not gzip", "empty", "cut tar", "odd tar"])
def test_archive_that_is_not_whole_is_an_error(tmp_path, damage):
    write_line_strokes([line(400, seed) for seed in range(30)], tmp_path / TAR)
    whole = (tmp_path / TAR).read_bytes()
    tar, middle = gzip.decompress(whole), len(whole) // 2
    second = tar.index(b"lineStrokes/s00/s00-000/s00-000-02")
    broken = {
        "cut": whole[:middle],
        "garbage": whole[:middle] + bytes(range(256)) * 4 + whole[middle:],
        "not gzip": b"<html>not found</html>",
        "empty": b"",
        "cut tar": tar[:second],  # between two members
        "odd tar": tar[:second] + b"?" + tar[second + 1 :],
    }
    (tmp_path / TAR).write_bytes(broken[damage])
    with pytest.raises(UserError, match=f"{TAR} is not a whole archive .*download it again"):
        load(tmp_path)
    assert not (tmp_path / CACHE).exists()


@mutations(80)
@given(edits(), st.booleans())
def test_archive_with_any_damage_is_read_or_refused(tmp_path, edited, packed):
    write_line_strokes([line(12, seed) for seed in range(3)], tmp_path / TAR)
    whole = (tmp_path / TAR).read_bytes()
    content = edited(whole) if packed else gzip.compress(edited(gzip.decompress(whole)), 1)
    (tmp_path / TAR).write_bytes(content)
    found = read_or_refused(lambda: list(database.read_source(tmp_path / TAR)), TAR)
    assert found is None or all(isinstance(content, bytes) for _, content in found)


def test_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01.xml": 1, "b-01.xml": 2})
    scandir = os.scandir

    def refuse(path):  # permissions do not stop the superuser
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"lineStrokes/b cannot be read \(Permission denied\)"):
        load(tmp_path)


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-8"])
def test_list_may_have_a_byte_order_mark(tmp_path, mark):
    (tmp_path / "mine.txt").write_bytes("a01-000 \r\nb\n".encode(mark))
    assert database.read_list(tmp_path / "mine.txt") == {"a01-000", "b"}


# -------------------------------------------------------------------------------- the cache


def test_cache_is_written_with_its_index_and_used(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01.xml": 1, "b-01.xml": 2})
    assert load(tmp_path).names == json.loads((tmp_path / INDEX).read_text())["names"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lineStrokes", CACHE, INDEX]
    monkeypatch.setattr(database, "read_source", None)  # not called again
    assert (load(tmp_path).names, numbers(load(tmp_path))) == (["a-01", "b-01"], [1, 2])
    shutil.rmtree(tmp_path / "lineStrokes")  # nor missed
    assert load(tmp_path).names == ["a-01", "b-01"]


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_cache_is_renewed_when_its_source_changes(tmp_path, kind):
    def write(names):
        if kind == "folder":
            folder_of(tmp_path, names)
        else:
            tar_of(tmp_path / TAR, {name: xml(number) for name, number in names.items()})

    write({"a-01.xml": 1, "a-02.xml": 2})
    assert numbers(load(tmp_path)) == [1, 2]
    write({"a-01.xml": 1, "a-02.xml": 3, "a-03.xml": 4})
    assert numbers(load(tmp_path)) == [1, 3, 4]
    assert len(json.loads((tmp_path / INDEX).read_text())["names"]) == 3


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_source_that_changes_while_it_is_read_is_not_cached(tmp_path, monkeypatch, kind):
    folder_of(tmp_path, {"a-01.xml": 1, "a-02.xml": 2})
    if kind == "archive":
        shutil.move(tmp_path / "lineStrokes", tmp_path / "x")
        tar_of(tmp_path / TAR, {"a-01.xml": xml(1), "a-02.xml": xml(2)})
    read = database.read_source

    def read_while_unpacking(source):
        yield from read(source)
        if kind == "folder":
            folder_of(tmp_path, {"a-03.xml": 3})
        else:
            tar_of(tmp_path / TAR, {"a-03.xml": xml(3)})

    monkeypatch.setattr(database, "read_source", read_while_unpacking)
    with pytest.warns(UserWarning, match=r"changed while its 2 lines were read, .* no cache was w"):
        assert numbers(load(tmp_path)) == [1, 2]
    assert not (tmp_path / CACHE).exists()
    monkeypatch.setattr(database, "read_source", read)
    assert numbers(load(tmp_path)) == ([1, 2, 3] if kind == "folder" else [3])


@pytest.mark.parametrize(
    "index",
    [None, b"", b"[]", b"[" * 10**5, b"\xff", {"cache": "0"}, {"names": ["a-01"]},
     {"names": {"a-01": 0}}, {"names": "ab"}, {"damaged": "none"}, {"notes": [1]}],
)  # fmt: skip
def test_cache_without_an_index_of_its_own_is_used_as_it_is(tmp_path, index):
    """The 2015 program's, or one beside which another's index lies."""
    cache_of(tmp_path, [line(20 + i, i) for i in range(41)], [f"{i:02d}-01" for i in range(41)])
    if isinstance(index, dict):
        index = json.dumps(json.loads((tmp_path / INDEX).read_text()) | index).encode()
    (tmp_path / INDEX).write_bytes(index or b"")
    if index is None:
        (tmp_path / INDEX).unlink()
    with pytest.warns(UserWarning, match=f"has no {INDEX} of its own .* 41 lines .* 20th line v"):
        loader = load(tmp_path)
    assert (loader.names, loader.num_damaged) == (None, 0)
    assert [len(array) for array in loader.valid_data] == [20, 40, 60]
    assert [len(array) for array in loader.raw_data] == list(range(20, 61))  # in its order


def test_cache_is_never_seen_half_written(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01.xml": 1, "b-01.xml": 2})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lineStrokes"]


def test_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    folder_of(tmp_path, {"a-01.xml": 1, "b-01.xml": 2})

    def replace(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.warns(UserWarning, match=r"No cache was written to .*Read-only.* parses anew"):
        assert load(tmp_path).names == ["a-01", "b-01"]
    assert [path.name for path in tmp_path.iterdir()] == ["lineStrokes"]


def test_cache_is_a_pickle_for_every_numpy():
    lines = [line(30, 1), line(1, 2), np.zeros((0, 3), np.int16), line(400, 3)[:, ::-1]]
    stream = cache.dump_arrays(lines)
    for read in (cache.load_arrays(stream), pickle.loads(stream)):
        for array, expected in zip(read, lines, strict=True):
            assert array.dtype == np.int16 and array.flags.writeable and array.flags.c_contiguous
            np.testing.assert_array_equal(array, expected)
    ops = list(pickletools.genops(stream))
    assert (ops[0][0].name, ops[0][1]) == ("PROTO", 2)
    named = {value for op, value, _ in ops if op.name == "GLOBAL"}
    ours = {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert named == ours | {"_codecs encode", "__builtin__ bytes"}


def test_cache_of_the_2015_program_is_read():
    read = cache.load_arrays((REFERENCE / "reference.cpkl").read_bytes())
    with np.load(REFERENCE / "strokes.npz") as strokes:
        expected = {len(array): array for array in strokes.values()}
    assert sorted(map(len, read)) == sorted(expected)
    for array in read:
        np.testing.assert_array_equal(array, expected[len(array)])


def array_pickle(content, shape=b"K\x02K\x03\x86", dtype=b"U\x02i2", order=b"U\x01<"):
    """A pickle of a list of one array, as Python 2 writes it unless the parts say otherwise."""
    return (
        b"\x80\x02]q\x00cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85"
        b"U\x01b\x87Rq\x03(K\x01" + shape + b"cnumpy\ndtype\n" + dtype + b"K\x00K\x01\x87R(K\x03"
        + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(content)) + content + b"tba."
    )  # fmt: skip


@pytest.mark.parametrize("order", "<>")
def test_cache_of_python_2_is_read_in_both_byte_orders(order):
    expected = np.array([[1, -2, 0], [300, 4, 1]], np.int16)
    content = expected.astype(order + "i2").tobytes()
    (read,) = cache.load_arrays(array_pickle(content, order=b"U\x01" + order.encode()))
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
    "behind-arrays": (pickle.dumps([line(3), Evil(os.mkdir, "ran")], 2), "names posix.mkdir"),
    "protocol-4": (pickle.dumps([Evil(os.mkdir, "ran")], 4), "it names posix.mkdir"),
    "object-array": (array_pickle(TWELVE, dtype=b"U\x02O8"), "not int16"),
    "shape": (array_pickle(TWELVE, shape=b"K\x03K\x03\x86"), "not .n, 3."),
    "memo": (b"\x80\x02]r\xff\xff\xff\x7fN.", "no list of arrays"),
    "only-a-name": (b"\x80\x02]cnumpy.core.multiarray\n_reconstruct\na.", "no list of arrays"),
    "attribute": (b"\x80\x02]cnumpy\ndtype\n}U\x01aK\x01sba.", "no list of arrays"),
    "truncated": (cache.dump_arrays([line(99)])[:-200], "no list of arrays"),
    "empty-list": (pickle.dumps([], 2), "it is empty"),
    "empty-file": (b"", "no list of arrays"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cache_with_anything_else_is_refused_and_nothing_runs(tmp_path, monkeypatch, name):
    stream, reason = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / CACHE).write_bytes(stream)
    with pytest.raises(UserError, match=f"{CACHE} cannot be used .*({reason}).*delete it"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


@mutations(200)
@given(edits())
def test_cache_with_any_damage_is_read_or_refused(tmp_path, edited):
    stream = edited(cache.dump_arrays([line(4), line(30)]))
    (tmp_path / CACHE).write_bytes(stream)
    names = {"names": ["a-01", "b-01"], "cache": hashlib.sha256(stream).hexdigest()}
    (tmp_path / INDEX).write_text(json.dumps({**names, "source": "", "damaged": 0}))
    read = read_or_refused(lambda: cache.read_cache(tmp_path, None), CACHE)
    for array in read.raw_data if read else ():
        assert array.dtype == np.int16 and array.ndim == 2 and array.shape[1] == 3


# --------------------------------------------------------------------------- transcriptions


def transcript(*texts, end="\n"):
    """A form's transcription; what the machine read (OCR) is of no account."""
    return end.join(["OCR:", "", "not", "these", "", "CSR:", "", *texts, ""]).encode("latin-1")


def texts_of(path, forms):
    """Write transcriptions, {form: content}, into path/ascii; return path."""
    for form, content in forms.items():
        file = path / "ascii" / form[:1] / f"{form}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


@pytest.fixture
def two_forms(tmp_path):
    """A folder with lines of the forms a and a-01u and their cache."""
    folder_of(tmp_path, {f"{name}.xml": 1 for name in ("a-01", "a-02", "a-01u-01", "a-03")})
    assert load(tmp_path).names == ["a-01", "a-01u-01", "a-02", "a-03"]
    return tmp_path


@pytest.fixture
def no_parsing(two_forms, monkeypatch):
    monkeypatch.setattr(utils, "parse_line", None)


FORMS = {
    "a": transcript("  one \t", "", "thr\xe9e", "", " ", end="\r\n"),
    "a-01u": transcript("of u"),
    "b": transcript("no line is of b"),
}
FOUND = ["one", "of u", None, "thr\xe9e"]


@pytest.mark.parametrize("name", ["ascii", TEXTS, "ascii-all.tgz", "ASCII-all.TAR", "Ascii"])
def test_texts_are_the_lines_behind_csr_in_folder_or_archive(two_forms, name):
    if name.lower() == "ascii":
        texts_of(two_forms, FORMS)
        (two_forms / "ascii" / "a" / "._a.txt").write_bytes(transcript("mac"))
        (two_forms / "ascii" / "a").rename(two_forms / "else")
        (two_forms / "ascii" / "a").symlink_to(two_forms / "else")
        (two_forms / "ascii").rename(two_forms / name)
    else:
        members = {f"__MACOSX/{form}.txt": transcript("mac") for form in FORMS}
        members |= {f"ascii/x/{form}.TXT": content for form, content in FORMS.items()}
        tar_of(two_forms / name, members, "w" if name.endswith("TAR") else "w:gz")
    for _ in range(2):  # read, and from the cache
        assert load(two_forms).texts == FOUND


def test_texts_of_forms_that_do_not_fit_are_none_and_told_of(two_forms):
    texts_of(two_forms, {"a": transcript("one", "two"), "a-01u": transcript("of u")})
    words = "1 of 2 forms have no texts, because the transcriptions in .* do not have .*: a.$"
    for _ in range(2):  # read, and from the cache
        with pytest.warns(UserWarning, match=words) as caught:
            assert load(two_forms).texts == [None, "of u", None, None]
        assert len(caught) == 1
    for content in (transcript(*"1234"), transcript(), b"1\n2\n3", b"\0\xff" * 99, b"CSR:\n\n\n"):
        texts_of(two_forms, {"a": content})
        with pytest.warns(UserWarning, match=words):
            assert load(two_forms).texts == [None, "of u", None, None]


def test_texts_need_lines_numbered_from_one(tmp_path):
    lines = {"a-1.xml": 1, "a-2.xml": 1, "b-02.xml": 1, "b-03.xml": 1, "c-01.xml": 1, "c-x.xml": 1}
    forms = {form: transcript("one", "two") for form in "abc"}
    texts_of(folder_of(tmp_path, lines | {"d.xml": 1}), forms)
    with pytest.warns(UserWarning, match="3 of 4 forms have no texts, .*: , b, c"):
        assert load(tmp_path).texts == ["one", "two"] + 5 * [None]


def test_note_on_texts_names_five_forms_at_most(tmp_path):
    texts_of(folder_of(tmp_path, forty()), {"f00": transcript(*"12345"), "f05": transcript("1")})
    with pytest.warns(UserWarning, match=r"7 of 8 forms .*: f01, f02, f03, f04, f05, \.\.\.\.$"):
        assert load(tmp_path).texts == [*"12345"] + 35 * [None]


@pytest.mark.usefixtures("no_parsing")
def test_cache_without_texts_is_completed_and_no_line_parsed(two_forms, monkeypatch):
    cache, index = (two_forms / CACHE).read_bytes(), json.loads((two_forms / INDEX).read_text())
    assert load(texts_of(two_forms, FORMS)).texts == FOUND
    completed = json.loads((two_forms / INDEX).read_text())
    assert index.items() <= completed.items() and completed["texts"] == FOUND
    assert (two_forms / CACHE).read_bytes() == cache
    monkeypatch.setattr(database, "read_source", None)  # not called again
    assert load(two_forms).texts == FOUND


@pytest.mark.usefixtures("no_parsing")
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_texts_that_change_are_read_anew_and_those_that_vanish_stay_in_the_cache(two_forms, kind):
    def write(first):
        forms = FORMS | {"a": transcript(first, "two", "three")}
        if kind == "folder":
            texts_of(two_forms, forms)
        else:
            tar_of(two_forms / TEXTS, {f"{form}.txt": text for form, text in forms.items()})

    for first in ("one", "another", "1"):
        write(first)
        assert load(two_forms).texts == [first, "of u", "two", "three"]
    shutil.rmtree(two_forms / "ascii") if kind == "folder" else (two_forms / TEXTS).unlink()
    assert load(two_forms).texts == ["1", "of u", "two", "three"]
    write("here")
    assert load(two_forms).texts == ["here", "of u", "two", "three"]


@pytest.mark.usefixtures("no_parsing")
@pytest.mark.parametrize("kept", [None, "text", {}, [], ["a"] * 3, ["a"] * 5, ["a", "b", "c", 4]])
def test_texts_in_the_cache_that_are_none_are_read_anew(two_forms, kept):
    load(texts_of(two_forms, FORMS))
    index = json.loads((two_forms / INDEX).read_text())
    for changes in ({"texts": kept}, {"texts": ["a"] * 4, "texts_source": kept}):
        (two_forms / INDEX).write_text(json.dumps(index | changes))
        assert load(two_forms).texts == FOUND
        assert json.loads((two_forms / INDEX).read_text()) == index


def test_texts_are_read_where_no_cache_can_be_written(two_forms, monkeypatch):
    texts_of(two_forms, FORMS)
    before = (two_forms / INDEX).read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only")))
    assert load(two_forms).texts == FOUND
    assert (two_forms / INDEX).read_bytes() == before


def test_texts_need_a_cache_that_names_its_lines(two_forms):
    texts_of(two_forms, FORMS)
    (two_forms / INDEX).write_text(json.dumps({"cache": "another's"}))
    with pytest.warns(UserWarning, match="cannot be told apart"):
        assert load(two_forms).texts == [None] * 4
    assert json.loads((two_forms / INDEX).read_text()) == {"cache": "another's"}


def test_texts_of_other_lines_than_the_cache_has_are_not_kept_in_it(two_forms):
    load(texts_of(two_forms, FORMS))
    before = (two_forms / INDEX).read_bytes()
    names = ["a-01u-01", "a-03", "a-02", "a-01"]  # as many, in another order
    found = cache.add_texts(two_forms, database.Lines([line(9)] * 4, names, 0, []))
    assert found.texts == ["of u", "thr\xe9e", None, "one"]
    assert (two_forms / INDEX).read_bytes() == before


def test_corpus_without_transcriptions_has_no_texts_and_no_note(two_forms):
    assert load(two_forms).texts == [None] * 4
    (two_forms / "ascii").mkdir()
    (two_forms / "ascii" / "a.xml").write_text("")
    assert load(two_forms).texts == [None] * 4


def test_transcriptions_that_are_not_whole_are_an_error(two_forms):
    whole = tar_of(two_forms / TEXTS, {"a.txt": bytes(range(256)) * 9}) / TEXTS
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{TEXTS} is not a whole archive .*download it again"):
        load(two_forms)
    whole.unlink()
    whole.symlink_to(two_forms / "gone")
    with pytest.raises(UserError, match=f"{TEXTS} is a link to nothing; correct or remove it"):
        load(two_forms)


# ----------------------------------------------------- a user's own points, both formats out


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
        read_line(tmp_path / "own.npy")


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
        (None, "Text 2 to write must be the words of a line, not None"),
        (" CSR: ", "Text 2 to write must be the words of a line, not ' CSR: '"),
        ("two\nlines", r"Text 2 to write must be one line of printable ASCII, .* 4 is '\\n'"),
        ("a\ttab", r"Text 2 .* character 2 is '\\t'"),
        ("caf\xe9", r"Text 2 .* character 4 is '\\xe9'"),
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

    def members(lines, texts=None):
        yield from written(lines, texts)
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
