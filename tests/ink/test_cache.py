"""The cache of parsed lines: written, renewed, and refused where it is anything else."""

import hashlib
import json
import os
import pickle
import pickletools
import shutil
import struct

from conftest import CACHE, INDEX, cache_of, line
from handwriting.files import UserError
from handwriting.ink import cache, database
from made_up import (
    REFERENCE,
    TAR,
    edits,
    folder_of,
    load,
    mutations,
    numbers,
    read_or_refused,
    tar_of,
    xml,
)

import numpy as np
import pytest
from hypothesis import given


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
