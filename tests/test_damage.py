"""Damage of every kind of file that a user can give: each is read, or refused in words that name it.

HANDWRITING_MUTATIONS=200 in the environment makes 200 times as many mutations as the ordinary run.
"""

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import train
import utils
from conftest import CACHE, INDEX, cache_of, line, make_corpus

from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto

TIMES = int(os.environ.get("HANDWRITING_MUTATIONS", "1"))
TAR, WEIGHTS = "lineStrokes-all.tar.gz", "model.ckpt-10"
NASTY = [b"", b"\0", b"\xff", b"\n", b'"', b"-", b"9" * 30, b"1e308", b"nan", b"../", b"[" * 300, b"<a>" * 300, b"&e;",
         b'<!DOCTYPE a [<!ENTITY e "e">]>', b"\xff\xff\xff\x7f", b"\x80\x02]q\x00", b"(" * 40, b"\x7f" * 8]
MOST_BYTES = 400 << 20  # of memory that reading a damaged file of some kilobytes may take in addition


def mutations(number):
    """The settings of a test that tries so many mutations in the ordinary run, always the same ones."""
    return settings(max_examples=number * TIMES, derandomize=True, deadline=None, database=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@st.composite
def edits(draw):
    """What `edited` does to a file's bytes: up to three edits (place, bytes taken away, what is put there)."""
    edit = st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([0, 1, 1, 1, 2, 8, 100, 10**9]),
                     st.one_of(st.binary(max_size=4), st.sampled_from(NASTY)))
    return draw(st.lists(edit, min_size=1, max_size=3))


def edited(content, edits):
    """The bytes with the edits of `edits`; a place is a share of their number."""
    for place, size, new in edits:
        at = int(place * len(content))
        content = content[:at] + new + content[at + size:]
    return content


JSON = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
                    max_leaves=5)


@pytest.fixture(autouse=True)
def little_memory():
    """No test may take much memory, if only for a moment (on Linux, which tells)."""
    status = Path("/proc/self/status")
    if not status.exists():
        yield
        return

    def peak():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) << 10

    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = peak()
    yield
    assert peak() - before < MOST_BYTES


def assert_line(read):
    assert read.dtype == np.int16 and read.ndim == 2 and read.shape[1] == 3 and len(read) > 0
    assert set(read[:, 2].tolist()) <= {0, 1} and read[-1, 2] in (0, 1)


def read_or_refused(read, error, *names):
    """What `read` returns, or None if it raised the error with one of the names in its words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DataLoader's of files that it leaves out; Python's own are not shown
        try:
            return read()
        except error as refused:
            assert any(str(name) in str(refused) for name in names), refused
            assert train.one_line(refused).isprintable()
            return None


# ------------------------------------------------------------------------------------------------------- pen data


@mutations(600)
@given(edits())
def test_an_xml_file(tmp_path, changes):
    path = tmp_path / "a-01.xml"
    path.write_bytes(edited(utils._line_xml(line(12)), changes))
    read = read_or_refused(lambda: utils.read_line(path), utils.DataError, path)
    if read is not None:
        assert_line(read)


@mutations(400)
@given(edits())
def test_an_array_of_points(tmp_path, changes):
    path = tmp_path / "line.npy"
    np.save(path, line(12))
    path.write_bytes(edited(path.read_bytes(), changes))
    read = read_or_refused(lambda: utils.read_line(path), utils.DataError, path)
    if read is not None:
        assert_line(read)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The bytes of a small archive, packed."""
    folder = tmp_path_factory.mktemp("archive")
    make_corpus(folder / "data", num_lines=3, points=12)
    return (folder / "data" / TAR).read_bytes()


@mutations(400)
@given(edits(), st.booleans(), st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"x", b"g", b"L", b"K", b"S", None]))
def test_an_archive(tmp_path, archive, changes, packed, kind):
    """Damage of the packed bytes, which the checksum finds; or of the archive within, which also has odd members."""
    if packed:
        content = edited(archive, changes)
    else:
        content = gzip.decompress(archive)
        content = content if kind is None else content[:156] + kind + content[157:]
        header = content[:148] + b" " * 8 + content[156:512]
        content = content[:148] + b"%06o\0 " % sum(header) + content[156:]
        content = gzip.compress(edited(content, changes if kind is None else changes[1:]), 1)
    (tmp_path / TAR).write_bytes(content)
    lines = read_or_refused(lambda: utils._parse_source(str(tmp_path / TAR)), utils.DataError, TAR)
    if lines is not None:
        assert len(lines.raw_data) == len(lines.names) > 0
        for read in lines.raw_data:
            assert_line(read)


@mutations(600)
@given(edits())
def test_a_cache(tmp_path, changes):
    lines = [line(4), line(30)]
    stream = edited(utils._dump_arrays(lines), changes)
    (tmp_path / CACHE).write_bytes(stream)
    index = {"cache": hashlib.sha256(stream).hexdigest(), "source": "", "damaged": 0, "names": ["a-01", "b-01"]}
    (tmp_path / INDEX).write_text(json.dumps(index))
    read = read_or_refused(lambda: utils._read_cache(str(tmp_path), None), utils.DataError, CACHE)
    if read is not None:
        assert all(array.dtype == np.int16 and array.shape[1:] == (3,) for array in read.raw_data)


@mutations(150)
@given(edits(), st.sampled_from(["cache", "source", "damaged", "names", None]), JSON)
def test_an_index_of_a_cache(tmp_path, changes, key, value):
    stream = utils._dump_arrays([line(9), line(9)])
    index = {"cache": hashlib.sha256(stream).hexdigest(), "source": "", "damaged": 0, "names": ["a-01", "b-01"]}
    text = json.dumps({**index, key: value}).encode() if key else edited(json.dumps(index, indent=0).encode(), changes)
    (tmp_path / CACHE).write_bytes(stream)
    (tmp_path / INDEX).write_bytes(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = utils.DataLoader(seq_length=4, data_dir=tmp_path)
    assert [len(array) for array in data.raw_data] == [9, 9]
    assert data.names is None or (isinstance(data.names, list) and len(data.names) == 2)
    assert isinstance(data.num_damaged, int)


@mutations(150)
@given(edits(), st.sampled_from(utils._LISTS))
def test_a_list_of_forms(tmp_path, changes, name):
    cache_of(tmp_path, [line(9)] * 5, [f"{form}-01" for form in "abcde"])
    lists = {"trainset.txt": "a\nb\n", "testset_v.txt": "d\n", "testset_t.txt": "c\n", "testset_f.txt": "e\n"}
    for other, text in lists.items():
        (tmp_path / other).write_text(text)
    (tmp_path / name).write_bytes(edited(lists[name].encode(), changes))
    data = read_or_refused(lambda: utils.DataLoader(seq_length=4, data_dir=tmp_path), utils.DataError, tmp_path)
    if data is not None:
        assert len(data.data) >= 1 and len(data.valid_data) >= 1 and len(data.data) + len(data.valid_data) <= 5
    tested = read_or_refused(lambda: utils.DataLoader(1, 1, data_dir=tmp_path).lines_of(name[:-4]), utils.DataError,
                             tmp_path)
    assert tested is None or 1 <= len(tested) <= 5


# ---------------------------------------------------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """A run's folder with its best weights alone, for the tests below to damage."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(tiny_run.folder / "best", folder / "best")
    shutil.copy(tiny_run.folder / "config.json", folder)
    (name,) = (folder / "best").glob("*.index")
    for path in (folder / "best").glob("model.ckpt-*"):
        path.rename(path.with_name(path.name.replace(name.stem, WEIGHTS)))
    state = folder / "best" / "checkpoint"
    state.write_text(f'model_checkpoint_path: "{WEIGHTS}"\nall_model_checkpoint_paths: "{WEIGHTS}"\n')
    return folder


@contextlib.contextmanager
def damaged(path, content):
    """Within it, the file has this content."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.fixture
def one_model(run, monkeypatch):
    """Networks of the run's flags are one, made once: that takes most of the time."""
    model, first = train.Model(train.read_config(run), infer=True), vars(train.read_config(run))
    make = train.Model
    monkeypatch.setattr(train, "Model", lambda args, **more: model if vars(args) == first else make(args, **more))
    return model


@mutations(300)
@given(edits(), st.integers(0, 10**6), st.booleans(), JSON)
def test_a_config(run, changes, number, whole, value):
    text = (run / "config.json").read_bytes()
    config = json.loads(text)
    if not whole:
        text = json.dumps({**config, sorted(config)[number % len(config)]: value}).encode()
    with damaged(run / "config.json", edited(text, changes) if whole else text):
        read = read_or_refused(lambda: train.read_config(run), train.RunError, run / "config.json")
    if read is not None:
        assert vars(read).keys() >= config.keys()
        for name in ("rnn_size", "num_layers", "num_mixture", "batch_size"):
            assert isinstance(getattr(read, name), int) and getattr(read, name) >= 1


@mutations(150)
@given(edits())
def test_a_state_of_checkpoints(run, changes):
    state = run / "best" / "checkpoint"
    with damaged(state, edited(state.read_bytes(), changes)):
        found = read_or_refused(lambda: train.find_checkpoint(run), train.RunError, state)
    assert found in (None, str(run / "best" / WEIGHTS))


def restored(run):
    """Restore damaged weights: they are refused, or those that are read are finite."""
    model = read_or_refused(lambda: train.restore(run), train.RunError, run / "best" / WEIGHTS)
    if model is not None:
        assert all(np.isfinite(variable).all() for variable in model.trainable_variables)


@pytest.mark.parametrize("suffix", ["data-00000-of-00001", "index"])
@mutations(200)
@given(edits())
def test_weights(run, one_model, suffix, changes):
    path = run / "best" / f"{WEIGHTS}.{suffix}"
    with damaged(path, edited(path.read_bytes(), changes)):
        restored(run)


TABLE = []
for number in range(256):
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)  # noqa: PLW2901
    TABLE.append(number)


def masked_crc(*parts):
    """The checksum that TensorFlow keeps of bytes, masked CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in b"".join(parts):
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF)


def blocks_of(index):
    """The place and size of each of the three blocks of a small .index: entries, names of blocks, index."""
    at, numbers = len(index) - 48, []
    for _ in range(4):
        number, at = train.read_varint(index, at)
        numbers.append(number)
    meta, size, last, last_size = numbers
    return [(0, meta - 5), (meta, size), (last, last_size)]


def sealed(index, blocks):
    """The index with checksums that are right for what is in it now."""
    index = bytearray(index)
    for start, size in blocks:
        end = start + size + 1
        index[end:end + 4] = masked_crc(index[start:end])
    return bytes(index)


@mutations(400)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_an_index_of_weights_whose_checksums_are_right(run, one_model, changes):
    """As somebody would forge it: TensorFlow alone would end the process at many of these."""
    path = run / "best" / f"{WEIGHTS}.index"
    index = bytearray(path.read_bytes())
    blocks = blocks_of(index)
    assert sealed(index, blocks) == index
    for place, byte in changes:
        index[place % len(index)] = byte
    with damaged(path, sealed(index, blocks)):
        restored(run)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # TensorFlow's, of a forged graph
@mutations(60)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
def test_weights_whose_checksums_are_right(run, one_model, changes, graph):
    """Forged weights, or a forged description of what they belong to."""
    path, data = run / "best" / f"{WEIGHTS}.index", run / "best" / f"{WEIGHTS}.data-00000-of-00001"
    index, content = path.read_bytes(), bytearray(data.read_bytes())
    blocks = blocks_of(index)
    table = train.read_block(index, bytes([0, blocks[0][1] & 127 | 128, blocks[0][1] >> 7]))
    name = b"_CHECKPOINTABLE_OBJECT_GRAPH" if graph else b"model/output/_kernel/.ATTRIBUTES/VARIABLE_VALUE"
    entry = BundleEntryProto.FromString(table[name])
    start, end = entry.offset, entry.offset + entry.size
    if graph:
        length, at = train.read_varint(content, start)
        start = at + 4
        before = struct.pack("<I", length)
        before += masked_crc(before)
    else:
        before = b""
    assert masked_crc(before, content[start:end]) == struct.pack("<I", entry.crc32c)
    for place, byte in changes:
        content[start + place % (end - start)] = byte
    old = struct.pack("<I", entry.crc32c)
    assert index.count(old) == 1
    index = sealed(index.replace(old, masked_crc(before, content[start:end])), blocks)
    with damaged(path, index), damaged(data, content):
        restored(run)


@pytest.fixture(scope="module")
def stopped(tiny_run, tmp_path_factory):
    """The Record of a run that --resume would go on with, and the bytes of the index of its newest checkpoint."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    shutil.copytree(tiny_run.folder, folder)
    args = train.read_config(folder)
    args.model_dir, args.resume, args.data_dir = folder, False, tiny_run.data_dir
    data, model = train.load_data(args), train.Model(args)
    optimizer = train.make_optimizer(args, model)
    optimizer.build(model.trainable_variables)
    return train.Record(args, model, optimizer, data), (folder / f"{WEIGHTS}.index").read_bytes()


@mutations(150)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
def test_a_checkpoint_to_go_on_from(stopped, changes, forged):
    """A damaged newest checkpoint is named and the one before is taken; no damage does harm."""
    record, index = stopped
    changed = bytearray(index)
    for place, byte in changes:
        changed[place % len(index)] = byte
    changed = sealed(changed, blocks_of(index)) if forged else bytes(changed)
    path = record.folder / f"{WEIGHTS}.index"
    with damaged(path, changed), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        record.resume()
    words = [str(warning.message) for warning in told if issubclass(warning.category, UserWarning)]
    assert record.progress.step == (9 if words else 10)
    assert all(word.startswith(f"the checkpoint {record.folder / WEIGHTS} is damaged (") for word in words)
    assert not words or changed != index
