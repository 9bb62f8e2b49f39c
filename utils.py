"""Pen strokes: lineStrokes XML in, a cache, minibatches, lineStrokes XML and SVG pictures out.

A point is one row (dx, dy, eos): the pen's move from the point before, x to the right and y downwards, and 1 on the
last point of a stroke, else 0. A stroke is the points up to and with an eos: what the pen draws without being lifted.
A line is one handwritten line: one XML file, one array [n, 3]. A line's first move leads from the origin, 100 units
left of and above the box that its WhiteboardDescription gives, to its first point.
Pen units are the whiteboard's integers (int16 arrays); scaled units are pen units / scale_factor (float32 arrays).

Sources: David Ha's post "Handwriting Generation Demo in TensorFlow" (2015) and the IAM On-Line Handwriting Database.
"""

import colorsys
import contextlib
import gzip
import hashlib
import io
import itertools
import json
import os
import pickle
import pickletools
import random  # of colours; and the post's transcript says random.choice after `%run -i utils.py`
import re
import signal
import subprocess
import sys
import tarfile
import tokenize
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from lxml import etree
from tqdm import tqdm

_THIS_FOLDER = os.path.dirname(os.path.abspath(__file__))
_CACHE, _INDEX = "strokes_training_data.cpkl", "strokes_training_data.json"
_LISTS = ("trainset.txt", "testset_v.txt", "testset_t.txt", "testset_f.txt")
_WHERE = (
    "ask for lineStrokes-all.tar.gz of the IAM On-Line Handwriting Database (registration at "
    "https://fki.tic.heia-fr.ch/databases/iam-on-line-handwriting-database) and put it at "
)


class DataError(ValueError):
    """Data that cannot be used; the message is one sentence with the file, what is wrong and what to do."""


class Lines(NamedTuple):
    """Lines as read, in pen units."""

    raw_data: list  # int16 [n, 3] each
    names: list | None  # file names without .xml, parallel to raw_data; None if the cache does not tell
    num_damaged: int  # files skipped


# ---------------------------------------------------------------------------------------------- strokes in: XML

# A point as the database writes it, with the white space behind it. See _read_points.
_POINT = re.compile(rb'<Point x="(-?\d{1,9})" y="(-?\d{1,9})" time="[\d.]+"/>[ \t\r\n]*')
LIMIT = 500  # pen units: longer moves are cut down to it
START = (0.0, 0.0, 1.0)  # the point before a sample's first
_MAX_XML_BYTES = 16 << 20  # a line has about 40 kB
_MAX_HEADER_BYTES = 1 << 20  # of an archive: a member's long name and the like
_MAX_RATIO = 100  # an archive's size unpacked and packed; that of the database is 7


def _parse_tree(xml):
    # Nothing outside the file is read, no entity is expanded, and a file with a DTD is refused.
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        raise DataError(f"is not well-formed XML ({' '.join(str(error.msg).split())})") from None
    if root.getroottree().docinfo.doctype:
        raise DataError("has a DTD, which a line has no need of")
    return root


def _read_points(xml):
    """Return the root, the points' positions (float64 [2, n], whiteboard units) and the number of points per stroke.

    Points written as the database writes them are cut out by one regular expression before the XML parser sees the
    file: that halves the time. `<Point/>`, which stands in for each, is well formed just where the point was, so the
    parser still judges the file. It gets the whole file if points are written in any other way, or are no elements
    (in a comment, CDATA, a processing instruction).
    """
    parts = _POINT.split(xml)
    num_cut, rest = len(parts) // 3, b"<Point/>".join(parts[::3])
    if num_cut and num_cut == rest.count(b"<Point") and b"<!" not in rest and b"<?" not in rest[1:]:
        root = _parse_tree(rest)
        lengths = [len(stroke) for stroke in root.iterfind("StrokeSet/Stroke")]
        if sum(lengths) == num_cut == root.xpath("count(StrokeSet/Stroke/Point)"):
            return root, np.array([np.fromiter(map(int, parts[i::3]), float, num_cut) for i in (1, 2)]), lengths
    root = _parse_tree(xml)
    if root.find("StrokeSet") is None:
        raise DataError("has no StrokeSet")
    strokes = [stroke.findall("Point") for stroke in root.iterfind("StrokeSet/Stroke")]
    return root, _coordinates([point for points in strokes for point in points]), [len(points) for points in strokes]


def _coordinates(elements):
    """Return the x and y of XML elements as float64 [2, n]."""
    try:
        numbers = np.array([[float(element.get(axis)) for element in elements] for axis in "xy"])
    except (TypeError, ValueError):
        raise DataError("has a coordinate that is missing or no number") from None
    if not (np.abs(numbers) < 1e9).all():
        raise DataError("has a coordinate that is infinite or not a number")
    return numbers


def _parse_line(xml):
    """Return the line of one lineStrokes XML file (bytes) as int16 [n, 3] in pen units, or raise DataError.

    As in the 2015 program: positions relative to the origin are truncated to integers before their differences are
    taken, and the point before the first is the origin itself.
    """
    if len(xml) > _MAX_XML_BYTES:
        raise DataError("is too large for a line")
    root, points, lengths = _read_points(xml)
    box = root.xpath("WhiteboardDescription/*[contains(name(), 'OppositeCoords')]")
    if not points.size:
        raise DataError("has no points")
    if not box:
        raise DataError("has no WhiteboardDescription with the corners of its box")
    origin = _coordinates(box).min(axis=1, keepdims=True) - 100
    moves = np.diff(np.trunc(points - origin), axis=1, prepend=0)
    if moves.min() < -(2**15) or moves.max() >= 2**15:
        raise DataError("has a move that does not fit 16 bits")
    line = np.zeros((len(moves[0]), 3), np.int16)
    line[:, :2] = moves.T
    line[np.cumsum([length for length in lengths if length]) - 1, 2] = 1
    return line


def _xml_files(folder):
    """Return the paths of all XML files in a folder and below, in a fixed order; none if there is no such folder."""

    def refuse(error):
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); make it readable or remove it.") from None

    walk = os.walk(folder, onerror=refuse) if os.path.isdir(folder) else ()
    paths = (os.path.join(root, name) for root, _, names in walk for name in names)
    return sorted(path for path in paths if path.endswith(".xml") and os.path.isfile(path))


def _xml_in_folder(folder, share, num_shares):
    for path in _xml_files(folder)[share::num_shares]:
        try:
            with open(path, "rb") as file:
                yield path, file.read(_MAX_XML_BYTES + 1)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); make it readable or remove it.") from None


class _Member(tarfile.TarInfo):
    """A member of an archive; long names and other extended headers, which tarfile reads whole, must be short."""

    @classmethod
    def frombuf(cls, *arguments):
        member = super().frombuf(*arguments)
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
                    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if member.type in extended and member.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header in it claims {member.size} bytes")
        return member


class _Unpacked(gzip.GzipFile):
    """A packed file that is refused where what it holds is far larger than XML could be; see _MAX_RATIO."""

    def __init__(self, path):
        super().__init__(path)
        self.most = _MAX_RATIO * (os.path.getsize(path) + (1 << 20))  # bytes

    def read(self, size=-1):
        data = super().read(size)
        if self.tell() > self.most:
            raise tarfile.ReadError(f"unpacked it is more than {_MAX_RATIO} times as large")
        return data


def _xml_in_tar(path, share, num_shares):
    # Nothing is unpacked. Links, devices and names that lead out of the archive are passed over.
    count = 0
    try:
        with (
            _Unpacked(path) as packed,
            tarfile.open(fileobj=packed, mode="r|", bufsize=1 << 16, tarinfo=_Member) as tar,
        ):
            for member in tar:
                outside = member.name.startswith("/") or ".." in member.name.split("/")
                if member.isreg() and member.name.endswith(".xml") and not outside:
                    if count % num_shares == share:
                        yield member.name, tar.extractfile(member).read(_MAX_XML_BYTES + 1)
                    count += 1
            while packed.read(1 << 16):  # tarfile takes damage for the end; gzip's checksum at the end tells
                pass
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError, zlib.error) as error:
        raise DataError(f"{path} is not a whole tar.gz archive ({error}); copy or download it again.") from None


def _parse_share(source, share, num_shares):
    """Yield (path, line or what is wrong with the file) of every num_shares-th XML file of a folder or archive."""
    read = _xml_in_folder if os.path.isdir(source) else _xml_in_tar
    for path, xml in read(source, share, num_shares):
        try:
            yield path, _parse_line(xml)
        except DataError as error:
            yield path, str(error)


def _work(source, share, num_shares):
    """Write what _parse_share yields, or the words of its error, as pickles to standard output: a worker's main."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # on Ctrl-C end without a word; the program that called has its own
    try:
        for result in _parse_share(source, int(share), int(num_shares)):
            pickle.dump(result, sys.stdout.buffer)
    except DataError as error:
        pickle.dump(str(error), sys.stdout.buffer)


def _parse_share_elsewhere(source, share, num_shares):
    """Yield what _parse_share yields, from a process of its own.

    A plain subprocess, since multiprocessing would either fork TensorFlow's threads or import the program that calls
    us (train.py with its TensorFlow; nothing that can be imported, in IPython) once more in every worker.
    """
    code = "import sys; sys.path.insert(0, sys.argv[1]); import utils; utils._work(*sys.argv[2:])"
    command = [sys.executable, "-c", code, _THIS_FOLDER, source, str(share), str(num_shares)]
    with (
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as worker,
        contextlib.suppress(EOFError, pickle.UnpicklingError),
    ):
        while True:
            result = pickle.load(worker.stdout)
            if isinstance(result, str):
                raise DataError(result)
            yield result
    if worker.returncode:
        raise DataError(f"A process reading {source} ended with status {worker.returncode}; try again.")


def _parse_source(source):
    """Return the Lines of a lineStrokes folder or archive, sorted by file name; warn of damaged files."""
    total = len(_xml_files(source)) if os.path.isdir(source) else None
    large = total > 200 if total else os.path.getsize(source) > 1 << 20
    num_shares = min(os.cpu_count() or 1, 8) if large else 1
    parse = _parse_share if num_shares == 1 else _parse_share_elsewhere
    results = []

    def collect(share):
        for result in parse(source, share, num_shares):
            results.append(result)
            progress.update()

    with (
        tqdm(total=total, desc=source, unit=" lines", disable=None) as progress,
        ThreadPoolExecutor(num_shares) as threads,
    ):
        list(threads.map(collect, range(num_shares)))
    results.sort(key=lambda result: (os.path.basename(result[0]), result[0]))
    damaged = [f"{path} {line}" for path, line in results if isinstance(line, str)]
    good = [(path, line) for path, line in results if not isinstance(line, str)]
    shown = "; ".join(damaged[:10]) + ("; ..." if len(damaged) > 10 else "")
    if not good:
        raise DataError(f"{source} holds no line that can be used; of {len(results)} files all are damaged: {shown}.")
    if damaged:
        warnings.warn(f"{len(damaged)} damaged files of {source} are left out: {shown}.", stacklevel=4)
    return Lines([line for _, line in good], [os.path.basename(path)[:-4] for path, _ in good], len(damaged))


# ---------------------------------------------------------------------------------------------- the cache


def sync(path):
    """Return when a file's content, or a folder's list of files, is on the disk (on Windows folders are left alone)."""
    if os.path.isdir(path) and os.name == "nt":
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def whole_file(path):
    """Open a temporary file beside path for writing bytes; it gets its name only when all is on the disk."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            yield file
        sync(temporary)
        os.replace(temporary, path)
        sync(os.path.dirname(path) or ".")
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _dump_arrays(arrays):
    """Return a pickle, protocol 2, of a list of int16 arrays that NumPy 1 (so the old program) and NumPy 2 can read."""
    stream = pickle.dumps([np.ascontiguousarray(array, "<i2") for array in arrays], protocol=2)
    # The first thing named is the maker of the first array; pickle names it once and refers to it from then on.
    return stream.replace(b"cnumpy._core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\n_reconstruct\n", 1)


# All that a pickled list of arrays needs. No opcode makes a dict, so BUILD cannot set attributes at will.
_GLOBALS = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray"}
_GLOBALS |= {"numpy.dtype", "_codecs.encode", "__builtin__.bytes"}
_OPCODES = {"PROTO", "GLOBAL", "REDUCE", "BUILD", "STOP", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "MARK"}
_OPCODES |= {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "NONE"}
_OPCODES |= {"NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINSTRING", "BINSTRING"}


class _Made:
    """What a pickle says of an object: the global that would make it, its arguments, its state. Nothing is made."""

    def __init__(self, maker, *arguments):
        self.maker, self.arguments, self.state = maker, arguments, None

    def __setstate__(self, state):
        self.state = state


class _Reader(pickle.Unpickler):
    """An unpickler that puts _Made in the place of arrays and refuses all else."""

    def find_class(self, module, name):
        if f"{module}.{name}" not in _GLOBALS:
            raise ValueError(f"it names {module}.{name}")
        return lambda *arguments: _Made(name, *arguments)


def _to_array(made):
    """Return the int16 [n, 3] array that a _Made describes, or raise one of the errors caught below."""
    if made.maker != "_reconstruct":
        raise ValueError("it holds something other than arrays")
    _, shape, dtype, fortran, content = made.state
    order = dtype.state[1]
    if dtype.maker != "dtype" or dtype.arguments[0] != "i2" or order not in ("<", ">"):
        raise ValueError("it holds arrays that are not int16")
    if isinstance(content, _Made):  # an empty array: bytes(); otherwise encode(text, "latin1")
        content = content.arguments[0] if content.arguments else ""
    content = content.encode("latin1")
    if shape != (len(content) // 6, 3) or len(content) % 6 or fortran:
        raise ValueError("it holds arrays that are not [n, 3]")
    return np.frombuffer(content, order + "i2").reshape(-1, 3).astype(np.int16)


def _load_arrays(stream):
    """Return the int16 [n, 3] arrays of a cache, ours or the old program's; ValueError says why it is no such thing.

    Nothing in the pickle is called or imported, and no number in it can claim memory that the file has not.
    """
    try:
        for opcode, value, _ in pickletools.genops(stream):
            if opcode.name not in _OPCODES:
                raise ValueError(f"it uses the opcode {opcode.name}")
            if opcode.name == "LONG_BINPUT" and value > len(stream):
                raise ValueError(f"it claims a memo of {value} entries")
        arrays, room = [], len(stream)
        for made in _Reader(io.BytesIO(stream), fix_imports=False, encoding="latin1").load():
            arrays.append(_to_array(made))
            room -= arrays[-1].nbytes
            if room < 0:
                raise ValueError("it refers to the same points many times")
    except (LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"it is no list of arrays: {error}") from None
    if not arrays:
        raise ValueError("it is empty")
    return arrays


def _fingerprint(source):
    """Return a digest of a source: the archive's bytes, or names, sizes and times of a folder's files."""
    digest = hashlib.sha256()
    try:
        if os.path.isdir(source):
            for path in _xml_files(source):
                status = os.stat(path)
                text = f"{os.path.relpath(path, source)}\0{status.st_size}\0{status.st_mtime_ns}\n"
                digest.update(text.encode(errors="replace"))
        else:
            with open(source, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror}); make it readable or remove it.") from None
    return digest.hexdigest()


def _read_index(path, stream):
    """Return what the file beside the cache says of it; nothing if it is missing or says it of another cache."""
    try:
        with open(path, "rb") as file:
            index = json.load(file)
        names, source, num_damaged = index["names"], index["source"], index["damaged"]
        known = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if index["cache"] == hashlib.sha256(stream).hexdigest() and known and isinstance(num_damaged, int):
            return names, source, num_damaged
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    return (), None, 0


def _read_cache(data_dir, source):
    """Return the Lines of the cache, or None if there is none or its source has changed since."""
    path = os.path.join(data_dir, _CACHE)
    if not os.path.lexists(path):
        return None
    try:
        with open(path, "rb") as file:
            stream = file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be used ({error}); delete it and the XML files are parsed anew.") from None
    names, parsed_source, num_damaged = _read_index(os.path.join(data_dir, _INDEX), stream)
    if names and source and parsed_source != _fingerprint(source):
        return None
    try:
        raw_data = _load_arrays(stream)
    except ValueError as error:
        raise DataError(f"{path} cannot be used ({error}); delete it and the XML files are parsed anew.") from None
    if len(names) == len(raw_data):
        return Lines(raw_data, names, num_damaged)
    warnings.warn(
        f"{path} has no {_INDEX} of its own beside it, so its lines cannot be told apart by form: every 20th line "
        "validates; delete it to have the XML files parsed anew.",
        stacklevel=4,
    )
    return Lines(raw_data, None, 0)


def _write_cache(data_dir, source, lines):
    # The cache first: a crash before the second file leaves a cache that is known not to be the old index's.
    stream = _dump_arrays(lines.raw_data)
    index = {
        "cache": hashlib.sha256(stream).hexdigest(),
        "source": _fingerprint(source),
        "damaged": lines.num_damaged,
        "names": lines.names,
    }
    try:
        for name, content in ((_CACHE, stream), (_INDEX, json.dumps(index, indent=0).encode())):
            with whole_file(os.path.join(data_dir, name)) as file:
                file.write(content)
    except OSError as error:
        warnings.warn(f"No cache was written to {data_dir} ({error}); the next run parses anew.", stacklevel=4)


def _load_lines(data_dir):
    """Return the folder that the data comes from (data_dir, or the demo in it) and its Lines."""
    tar = os.path.join(data_dir, "lineStrokes-all.tar.gz")
    if not os.path.isdir(data_dir):
        what = "is not a folder" if os.path.exists(data_dir) else "does not exist"
        raise DataError(f"The data folder {data_dir} {what}; {_WHERE}{tar}.")
    folder = os.path.join(data_dir, "lineStrokes")
    source = folder if _xml_files(folder) else tar if os.path.isfile(tar) else None
    lines = _read_cache(data_dir, source)
    if lines is None and source is not None:
        lines = _parse_source(source)
        _write_cache(data_dir, source, lines)
    if lines is not None:
        return data_dir, lines
    demo = os.path.join(data_dir, "demo")
    if os.path.normpath(data_dir) == "data" and os.path.isdir(demo):
        warnings.warn(f"No database in {data_dir}: using the small corpus {demo}; {_WHERE}{tar}.", stacklevel=3)
        return _load_lines(demo)
    raise DataError(f"The data folder {data_dir} holds no handwriting; {_WHERE}{tar}.")


def read_line(path):
    """One line, int16 [n, 3] in pen units, from lineStrokes XML or from an .npy of points (dx, dy, eos).

    Raises DataError if the file cannot be read, or holds anything else.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            if not path.endswith(".npy"):
                return _parse_line(file.read(_MAX_XML_BYTES + 1))
            np.lib.format.read_magic(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a header that Python 2 wrote
            points = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped, since its header may claim any size
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); name another file.") from None
    except DataError as error:
        raise DataError(f"{path} {error}; name the file of one line.") from None
    except (ValueError, EOFError, TypeError, OverflowError, SyntaxError, LookupError, MemoryError, RecursionError,
            tokenize.TokenError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is no .npy file of numbers ({reason}); write it with np.save.") from None
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "iuf":
        raise DataError(f"{path} does not hold an array of numbers [n, 3], the points (dx, dy, eos).")
    moves = points[:, :2]  # not their absolute values: the least integer has none
    fits = ((moves < 2**15 - 1) & (moves > 1 - 2**15)).all()
    if not len(points) or not fits or not np.isin(points[:, 2], (0, 1)).all():
        raise DataError(f"{path} holds no point, a move that does not fit 16 bits, or an eos that is not 0 or 1.")
    return np.rint(points).astype(np.int16)


# ---------------------------------------------------------------------------------------------- minibatches


def _forms(names):
    """The form of each line: a01-000u for the line a01-000u-02. An empty list where the names are not known."""
    return [name.rpartition("-")[0] for name in names or ()]


def _read_list(path):
    """The names of forms in one of the database's lists."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return set(file.read().split())
    except OSError as error:
        raise DataError(f"The list {path} cannot be read ({error.strerror}); put it there, or use another.") from None


def _split(data_dir, names, num_lines):
    """Return two lists of bool, one per line: trains, validates.

    By the database's own lists if they lie in data_dir: forms of trainset, testset_t and testset_f train, but every
    20th of them validates; testset_v is kept for tests, and with other lines does neither. Without lists every 20th
    form validates, or every 20th line where there is but one form or the names are not known. The first in order is
    one of them. A lone line trains.
    """
    found = [name for name in _LISTS if os.path.exists(os.path.join(data_dir, name))]
    forms = _forms(names)
    if found and forms:
        missing = [name for name in _LISTS if name not in found]
        if missing:
            raise DataError(f"{data_dir} has {', '.join(found)} but not {', '.join(missing)}; add or remove the lists.")
        trained, tested, *more = (_read_list(os.path.join(data_dir, name)) for name in _LISTS)
        trained = trained.union(*more) - tested
        units = [form if form in trained else None for form in forms]
    else:
        units = forms if len(set(forms)) > 1 else list(range(num_lines))
    known = sorted({unit for unit in units if unit is not None})
    if found and forms and len(known) < 2:
        raise DataError(f"The lists in {data_dir} leave fewer than two forms to train and to "
                        "validate on; correct them.")
    held = set(known[::20]) if len(known) > 1 else set()
    return [unit is not None and unit not in held for unit in units], [unit in held for unit in units]


class DataLoader:
    """Handwritten lines and minibatches of windows into them.

    raw_data: all lines, int16 [n, 3] each, pen units, sorted by file name; names: theirs, or None.
    data: the training lines with more than seq_length + 2 points; valid_data: the validation lines of two points or
    more, whole. Both float32 [n, 3], moves capped to [-limit, limit] pen units, then divided by scale_factor.
    deviations: the standard deviations (dx, dy) in pen units of all capped moves but the first of each line that trains
    or validates.
    num_batches: batches in an epoch, one pass over data in which a line counts len(line) // (seq_length + 2) windows.
    num_damaged: XML files that were skipped. The same seed gives the same batches.
    Raises DataError if there is nothing to train on.
    """

    def __init__(self, batch_size=50, seq_length=300, scale_factor=10, limit=LIMIT, data_dir="data", *, seed=None,
                 first_points=0.0, stretch=0.0):
        self.first_points, self.stretch = first_points, stretch
        self.batch_size, self.seq_length = batch_size, seq_length
        self.scale_factor, self.limit = scale_factor, limit
        self.rng = np.random.default_rng(seed)
        self.folder, (self.raw_data, self.names, self.num_damaged) = _load_lines(os.fspath(data_dir))

        trains, validates = _split(self.folder, self.names, len(self.raw_data))
        training = list(itertools.compress(self.raw_data, trains))
        validation = list(itertools.compress(self.raw_data, validates))
        longest = max(map(len, training), default=0)
        if longest <= seq_length + 2:
            raise DataError(
                f"No training line in {self.folder} is longer than seq_length + 2 = {seq_length + 2} points, "
                f"the longest has {longest}; use a smaller --seq_length."
            )
        long = [line for line in training if len(line) > seq_length + 2]
        self._points, offsets, lines = self._scale([np.vstack([START, line]) for line in long])
        self.data, self._firsts, self._lengths = [line[1:] for line in lines], offsets[:-1] + 1, np.diff(offsets) - 1
        _, _, self.valid_data = self._scale([line for line in validation if len(line) >= 2])
        moves = np.concatenate([np.zeros((0, 2)), *(line[1:, :2] for line in training + validation)])
        self.deviations = tuple(np.clip(moves, -limit, limit).std(axis=0).tolist())
        self._windows = np.repeat(np.arange(len(self.data)), self._lengths // (seq_length + 2))
        self.num_batches = max(1, len(self._windows) // batch_size)

    def _scale(self, lines):
        """Return the lines' points in scaled units in one array, the lines' offsets in it, and the lines (views)."""
        offsets = np.cumsum([0] + [len(line) for line in lines])
        points = np.concatenate([np.zeros((0, 3)), *lines], dtype=np.float32)
        moves = np.clip(points[:, :2], -self.limit, self.limit, out=points[:, :2])
        moves /= self.scale_factor
        return points, offsets, [points[start:end] for start, end in itertools.pairwise(offsets)]

    def lines_of(self, split):
        """The lines of a split as valid_data has them: "valid", "all", or a list SPLIT.txt of forms in the data folder.

        Raises DataError if there is no such list, no line of its forms, or a cache that does not name its lines.
        """
        path = os.path.join(self.folder, f"{split}.txt")
        if split == "valid":
            return self.valid_data
        chosen = self.raw_data
        if split != "all":
            listed = _read_list(path)
            if self.names is None:
                raise DataError(f"The cache in {self.folder} has no names of lines, so the list {path} does not tell "
                                "which are meant; put the database's own files there and delete the cache.")
            chosen = itertools.compress(self.raw_data, (form in listed for form in _forms(self.names)))
        lines = self._scale([line for line in chosen if len(line) >= 2])[2]
        if not lines:
            raise DataError(f"No line in {self.folder} is of a form in {path}; correct the list, or use another.")
        return lines

    def next_batch(self):
        """Return x and y, float32 [B, T, 3] in scaled units, y one point ahead of x.

        Each window's line is drawn in proportion to len(line) // (seq_length + 2), its start uniformly, but with
        probability first_points where the line begins: half of these windows start at its first point, and half at
        START before that, as samples do. A window's dx and its dy are multiplied by two random factors from
        1 - stretch to 1 + stretch.
        """
        line = self.rng.choice(self._windows, self.batch_size)
        start = self._firsts[line] + self.rng.integers(self._lengths[line] - self.seq_length)
        if self.first_points:
            chance = self.rng.random(self.batch_size) / self.first_points
            start = np.where(chance < 1, self._firsts[line] - (chance < 0.5), start)
        rows = start[:, None] + np.arange(self.seq_length)
        x, y = self._points[rows], self._points[rows + 1]
        if self.stretch:
            factors = 1 + self.rng.uniform(-self.stretch, self.stretch, [self.batch_size, 1, 2]).astype(np.float32)
            x[..., :2] *= factors
            y[..., :2] *= factors
        return x, y


# ---------------------------------------------------------------------------------------------- statistics of strokes


def line_statistics(line):
    """What tells a line [n, 3] (pen units) that broke down from handwriting: a dict of numbers.

    move: mean length of a move of the pen on paper; lift: share of points that end a stroke; advance: pen units to the
    right for each point; drift: slope of the straight line that fits the points best (1 is 45 degrees downwards);
    height: the points' standard deviation from it. A line that does not advance has a drift of infinity.
    """
    line = np.asarray(line, float)
    pen, lands = np.cumsum(line[:, :2], axis=0), np.append(True, line[:-1, 2] > 0.5)
    on_paper = np.hypot(*line[~lands, :2].T)
    x, y = (pen - pen.mean(axis=0)).T
    drift = x @ y / (x @ x) if x @ x else np.inf
    height = np.sqrt(np.mean((y - drift * x) ** 2)) if np.isfinite(drift) else y.std()
    return {"move": on_paper.mean() if len(on_paper) else 0.0, "lift": np.mean(line[:, 2] > 0.5),
            "advance": (pen[-1, 0] - pen[0, 0]) / len(line), "drift": drift, "height": height}


def stroke_features(lines):
    """What all strokes of lines [n, 3] (pen units) are like: a dict of arrays, one number for each stroke or move.

    stroke length: of the pen's way in pen units; points per stroke; pen-up move: from one stroke to the next, in pen
    units; slant: of moves that lead more down than aside, in degrees, positive where the writing leans to the right;
    curvature: the angle between one move on paper and the next, in degrees.
    """
    features = {name: [] for name in ("stroke length", "points per stroke", "pen-up move", "slant", "curvature")}
    for line in lines:
        moves, ends = np.asarray(line[1:, :2], float), np.asarray(line[:, 2]) > 0.5
        size, lands = np.hypot(*moves.T), ends[:-1]  # a move lands if the point before it ends a stroke
        bounds = [0, *(np.flatnonzero(ends[:-1]) + 1), len(line)]
        way = np.concatenate([[0.0], np.cumsum(np.where(lands, 0.0, size))])
        features["stroke length"].append(way[np.array(bounds[1:]) - 1] - way[bounds[:-1]])
        features["points per stroke"].append(np.diff(bounds))
        features["pen-up move"].append(size[lands])
        down = moves[~lands & (moves[:, 1] > np.abs(moves[:, 0]))]
        features["slant"].append(np.degrees(np.arctan2(-down[:, 0], down[:, 1])))
        drawn = ~lands & (size > 0)
        pairs = drawn[:-1] & drawn[1:]
        angle = np.arctan2(moves[:, 1], moves[:, 0])
        turn = np.abs((np.diff(angle) + np.pi) % (2 * np.pi) - np.pi)
        features["curvature"].append(np.degrees(turn[pairs]))
    return {name: np.concatenate(values) for name, values in features.items()}


def two_sample_distance(a, b):
    """The Kolmogorov-Smirnov distance of samples a [n] and b [m]: how far apart their cumulative distributions get.

    It is 1 where one of them is empty, and 0 where both are.
    """
    if not (len(a) and len(b)):
        return float(len(a) != len(b))
    a, b = np.sort(a), np.sort(b)
    values = np.concatenate([a, b])
    shares = [np.searchsorted(sample, values, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def compare_lines(drawn, lines):
    """How drawn lines differ from real ones, both [n, 3] in pen units: a dict.

    outside: the share of drawn lines of which a statistic lies outside of the range that holds 99 of 100 real lines;
    outside_NAME: that of one statistic (see line_statistics). distance_NAME: between the distributions of a feature
    (see stroke_features), 0 where they are the same and 1 where they do not overlap.
    """
    ours, theirs = (np.array([list(line_statistics(line).values()) for line in sample]) for sample in (drawn, lines))
    low, high = np.quantile(theirs, (0.005, 0.995), axis=0)
    outside = (ours < low) | (ours > high)
    results = {"outside": float(outside.any(axis=1).mean())}
    results |= {f"outside_{name}": float(share) for name, share in
                zip(line_statistics(lines[0]), outside.mean(axis=0), strict=True)}
    ours, theirs = stroke_features(drawn), stroke_features(lines)
    return results | {f"distance_{name.replace(' ', '_')}": two_sample_distance(ours[name], theirs[name])
                      for name in theirs}


# ---------------------------------------------------------------------------------------------- XML out


_HEAD = """<?xml version="1.0" encoding="ISO-8859-1"?>
<WhiteboardCaptureSession>
  <WhiteboardDescription>
    <SensorLocation corner="top_left"/>
    <DiagonallyOppositeCoords x="{2}" y="{3}"/>
    <VerticallyOppositeCoords x="{0}" y="{3}"/>
    <HorizontallyOppositeCoords x="{2}" y="{1}"/>
  </WhiteboardDescription>
  <StrokeSet>
"""
_STROKE = '    <Stroke colour="black" start_time="{:.2f}" end_time="{:.2f}">\n{}    </Stroke>\n'
_TAIL = "  </StrokeSet>\n</WhiteboardCaptureSession>\n"


def _line_xml(line):
    """Return the lineStrokes XML (bytes) of a line [n, 3] in pen units; 10 ms pass from point to point."""
    line = np.asarray(line, float)
    positions = np.rint(np.cumsum(line[:, :2], axis=0)).astype(int)
    positions += 1000 - positions.min(axis=0)
    points = [f'      <Point x="{x}" y="{y}" time="{i / 100:.2f}"/>\n' for i, (x, y) in enumerate(positions)]
    bounds = [0, *(np.flatnonzero(line[:-1, 2]) + 1), len(line)]
    strokes = [
        _STROKE.format(start / 100, (end - 1) / 100, "".join(points[start:end]))
        for start, end in itertools.pairwise(bounds)
    ]
    return (_HEAD.format(*positions.min(axis=0), *positions.max(axis=0)) + "".join(strokes) + _TAIL).encode()


def write_line_strokes(lines, path):
    """Write lines ([n, 3] each, n > 0, pen units, fractions allowed) in the database's format to path, a .tar.gz.

    Five lines make a form (s00-000, s00-001, ...). DataLoader reads back every move but a line's first, which leads
    from the origin of the line's box as in the database; a line's last point ends its last stroke. The same lines
    give the same bytes.
    """
    with (
        whole_file(path) as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for i, line in enumerate(lines):
            group, number = divmod(i // 5, 1000)
            form = f"s{group:02d}-{number:03d}"
            member = tarfile.TarInfo(f"lineStrokes/s{group:02d}/{form}/{form}-{i % 5 + 1:02d}.xml")
            xml = _line_xml(line)
            member.size = len(xml)
            tar.addfile(member, io.BytesIO(xml))


# ---------------------------------------------------------------------------------------------- pictures

MARGIN = 12  # white space around a picture, in the picture's own units; wider than half a pen
PEN = {"fill": "none", "stroke_width": 0.9, "stroke_linecap": "round", "stroke_linejoin": "round"}
FINEST = 0.3  # pen units: the deviation that rounding to whole pen units alone makes; nothing is drawn finer
WIDEST = 500  # pen units: a component wider than any move in the data says nothing and is not drawn


def draw_strokes(data, factor=10, svg_filename="sample.svg", given=0):
    """Write the strokes `data [n, 3]` (pen units) in black; a unit of the picture is `factor` pen units.

    The picture is one path with a subpath for each stroke, and is shown when this runs inside IPython. The first
    `given` points, which a sample was told to go on from, are a path of their own in grey. Raises ValueError for
    anything but n >= 1 points of finite numbers, OSError if the file cannot be written.
    """
    xy, lands = _trace(data, factor)
    picture = _blank_picture(xy)
    within = 0 < given < len(xy) and not lands[given]  # a stroke, so that the black begins where the grey ends
    for part, color in ((slice(given), "darkgrey"), (slice(given - within, None), "black")):
        if len(xy[part]):
            strokes = _by_stroke(xy[part], lands[part])
            picture.add(picture.path("".join(map(_subpath, strokes)), stroke=color, **PEN))
    _save_svg(picture, svg_filename)


def draw_strokes_random_color(stroke, factor=10, svg_filename="sample_color.svg", per_stroke_mode=True):
    """Like `draw_strokes`, in a random colour for each stroke or, without `per_stroke_mode`, for each point.

    The colours come from Python's `random`, which a caller may seed.
    """
    xy, lands = _trace(stroke, factor)
    parts = _by_stroke(xy, lands) if per_stroke_mode else _segments(xy, lands)
    _draw_colored(xy, parts, [_random_dark_color() for _ in parts], svg_filename)


def draw_strokes_eos_weighted(strokes, params, factor=10, svg_filename="sample_eos_pdf.svg"):
    """Like `draw_strokes`; the likelier a stroke ends at a point, the darker the line to it: grey to black.

    `params.eos[i]` is the probability with which `strokes[i]` ended a stroke.
    """
    xy, lands = _trace(strokes, factor)
    eos = np.clip(_one_per_point(params.eos, xy, columns=()), 0, 1)
    # The cube root: most probabilities are under a hundredth, and they should differ to the eye, too.
    greys = np.rint(185 * (1 - np.cbrt(eos))).astype(int).tolist()
    _draw_colored(xy, _segments(xy, lands), [f"rgb({g},{g},{g})" for g in greys], svg_filename)


def draw_strokes_pdf(strokes, params, factor=10, svg_filename="sample_pdf.svg"):
    """Write the density of every point, an ellipse at one deviation for each component, under the strokes.

    Row i of the mixture `params` (arrays `[n, M]`, pen units) is the one from which `strokes[i]` was drawn,
    so it is centred on where the pen was before. Ink goes with density: weight over area. What could not be
    seen is left out: components with almost no weight, and those so wide that they would be transparent.
    """
    xy, lands = _trace(strokes, factor)
    pi, means, covariance = _mixture(strokes, params)
    axes, angle = _ellipses(covariance)
    # Within a stroke most components get the full 0.35, those of a pen in the air a few hundredths.
    opacity = np.minimum(0.35, 250 * pi / axes.prod(axis=-1))
    seen = (pi > 0.02 * pi.max(axis=1, keepdims=True)) & (opacity >= 0.01) & (axes[..., 0] <= WIDEST)
    center, axes, angle = means[seen] / factor, axes[seen] / factor, angle[seen]
    turn = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    reach = np.hypot(axes[:, :1] * turn, axes[:, 1:] * turn[:, ::-1])  # half of each ellipse's upright box

    picture = _blank_picture(np.concatenate([xy, center - reach, center + reach]))
    group = picture.add(picture.g(fill="#1668c7"))
    rows = np.column_stack([center, np.maximum(axes, 0.01), np.degrees(angle), opacity[seen]])
    for x, y, rx, ry, degrees, ink in rows.round(2).tolist():
        turned = f"rotate({degrees:.1f} {x} {y})"
        group.add(picture.ellipse((x, y), (rx, ry), fill_opacity=ink, transform=turned))
    path = "".join(map(_subpath, _by_stroke(xy, lands)))
    picture.add(picture.path(path, stroke="black", **{**PEN, "stroke_width": 0.5}))
    _save_svg(picture, svg_filename)


def plot_density(strokes, params, png_filename="sample_density.png"):
    """Write a picture as in Graves (arXiv 1308.0850), figure 10; it is shown when this runs inside IPython.

    Above, a heat map: the densities of all points, added up over the plane of the writing (y downwards as in
    the data); below, the weights of the M components over time. `params` is as in `draw_strokes_pdf`.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    xy, _ = _trace(strokes)
    pi, means, covariance = _mixture(strokes, params)
    density, extent = _density_map(pi, means, covariance, xy.min(axis=0) - 200, xy.max(axis=0) + 200)
    height = 13 * np.clip(density.shape[0] / density.shape[1], 0.06, 0.6)
    figure = Figure(figsize=(14, height + 3.6), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, height_ratios=[height, 2.2])
    above.imshow(density, extent=extent, cmap="inferno", norm=PowerNorm(0.35, vmin=0))
    above.set(title="density of the next point", xlabel="x (pen units)", ylabel="y (pen units)")
    extent = (0.5, pi.shape[0] + 0.5, pi.shape[1] + 0.5, 0.5)
    style = {"cmap": "inferno", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    below.imshow(pi.T, extent=extent, aspect="auto", **style)
    below.set(title="weights of the components", xlabel="point", ylabel="component")
    below.yaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(below.images[0], ax=below, pad=0.01)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    _save(png.getvalue(), png_filename, "Image")


def _trace(strokes, factor=1):
    """The pen after each point, `[n, 2]` in `factor` pen units, and where strokes begin, `[n]` bool."""
    points = np.asarray(strokes, dtype=np.float64)  # sums of int16 would overflow
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(f"strokes must be points (dx, dy, eos) [n, 3] with n >= 1, not {list(points.shape)}")
    if not np.isfinite(points).all():
        raise ValueError("strokes must be finite, but they hold NaN or inf")
    if not factor > 0:
        raise ValueError(f"factor must be positive, not {factor}")
    return np.cumsum(points[:, :2], axis=0) / factor, np.append(True, points[:-1, 2] > 0.5)


def _by_stroke(xy, lands):
    """The strokes, one `[k, 2]` each; the first begins at the first point, wherever `lands` has it."""
    return np.split(xy, np.flatnonzero(lands[1:]) + 1)


def _segments(xy, lands):
    """`[n, 2, 2]`: for each point the line to it, of no length where the pen lands."""
    return np.stack([np.where(lands[:, None], xy, np.roll(xy, 1, axis=0)), xy], axis=1)


def _subpath(xy):
    """SVG path data through `xy [k, 2]`. A single point makes a line of no length: a dot, with round caps."""
    first, *rest = (f"{x:.2f},{y:.2f}" for x, y in xy.tolist())
    return f"M{first}L" + " ".join(rest or [first])


def _random_dark_color():
    """`#rrggbb` of a random hue, dark enough to read on white: a contrast of 4.5, however bright the hue."""
    rgb = np.array(colorsys.hsv_to_rgb(random.random(), random.uniform(0.65, 1), random.uniform(0.6, 0.9)))
    luminance = rgb**2.2 @ [0.2126, 0.7152, 0.0722]
    rgb *= min(1, 0.17 / luminance) ** (1 / 2.2)
    return "#{:02x}{:02x}{:02x}".format(*(255 * rgb).astype(int))


def _one_per_point(values, xy, columns):
    """`values` as float64, checked to be finite and to have a row of the shape `columns` for each point."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(xy), *columns):
        expected, found = [len(xy), *columns], list(values.shape)
        raise ValueError(f"params must hold arrays {expected}, a row for each point, not {found}")
    if not np.isfinite(values).all():
        raise ValueError("params must be finite, but they hold NaN or inf")
    return values


def _mixture(strokes, params):
    """Weights `[n, M]`, places of the means `[n, M, 2]`, covariances (xx, xy, yy) `[n, M, 3]`; pen units."""
    xy, _ = _trace(strokes)
    pi, mu1, mu2, sigma1, sigma2, rho = (
        _one_per_point(values, xy, columns=np.shape(params.pi)[1:2])
        for values in (params.pi, params.mu1, params.mu2, params.sigma1, params.sigma2, params.rho)
    )
    before = np.concatenate([np.zeros((1, 2)), xy[:-1]])
    sigma1, sigma2 = np.clip([sigma1, sigma2], 1e-6, 1e6)
    covariance = np.stack([sigma1**2, rho * sigma1 * sigma2, sigma2**2], axis=-1)
    return pi, before[:, None] + np.stack([mu1, mu2], axis=-1), covariance


def _ellipses(covariance):
    """Half axes `[..., 2]`, the longer first, none under FINEST, and the longer one's angle (radians)."""
    xx, xy, yy = np.moveaxis(covariance, -1, 0)
    longer = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)  # the one eigenvalue; the other: determinant / it
    shorter = np.maximum(xx * yy - xy**2, 0) / longer
    axes = np.maximum(np.sqrt(np.stack([longer, shorter], axis=-1)), FINEST)
    return axes, np.arctan2(2 * xy, xx - yy) / 2


def _density_map(pi, means, covariance, low, high, cells=900):
    """The density from `low` to `high` (x, y), added up over all components, on a grid `[rows, columns]`.

    Also returns its edges: left, right, bottom, top. The longer side has `cells` cells. A component is added
    within four deviations, after a blur of half a cell so that one finer than the grid is not lost.
    """
    step = (high - low).max() / cells
    width, height = np.ceil((high - low) / step).astype(int).tolist()
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros((height, width), np.float32)
    kept = (pi > 0.002 * pi.max(axis=1, keepdims=True)) & (covariance[..., ::2].max(axis=-1) <= WIDEST**2)
    centers = (means[kept] - low) / step - 0.5
    covariance = covariance[kept] / step**2 + [0.25, 0, 0.25]
    components = zip(pi[kept].tolist(), centers.tolist(), covariance.tolist(), strict=True)
    for weight, (mx, my), (xx, xy, yy) in components:
        columns, rows = _window(mx, 4 * xx**0.5), _window(my, 4 * yy**0.5)
        dx, dy, determinant = x[columns] - mx, y[rows] - my, xx * yy - xy**2
        exponent = (dx * (dy * (2 * xy) - dx * yy) - dy**2 * xx) / (2 * determinant)
        total[rows, columns] += weight / (2 * np.pi * determinant**0.5 * step**2) * np.exp(exponent)
    return total, (low[0], low[0] + width * step, low[1] + height * step, low[1])


def _window(center, reach):
    """The indices from `center - reach` to `center + reach`, those under 0 left out."""
    return slice(max(0, int(center - reach)), max(0, int(center + reach) + 2))


def _blank_picture(marks):
    """A white SVG that holds all the points `marks [k, 2]`, with a margin around them."""
    import svgwrite

    low = np.floor(marks.min(axis=0) - MARGIN).astype(int)
    corner, size = low.tolist(), (np.ceil(marks.max(axis=0) + MARGIN).astype(int) - low).tolist()
    picture = svgwrite.Drawing(size=size, viewBox="{} {} {} {}".format(*corner, *size), debug=False)
    picture.add(picture.rect(corner, size, fill="white"))
    return picture


def _draw_colored(xy, parts, colors, svg_filename):
    """Write a picture of the points `xy`, a path for each of the `parts` in its colour."""
    picture = _blank_picture(xy)
    group = picture.add(picture.g(**PEN))
    for part, color in zip(parts, colors, strict=True):
        group.add(picture.path(_subpath(part), stroke=color))
    _save_svg(picture, svg_filename)


def _save_svg(picture, filename):
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + picture.tostring()
    _save(text.encode("utf-8"), filename, "SVG")


def _save(content, filename, kind):
    """Write the bytes `content`, whole or not at all; in IPython, show them as `kind`, SVG or Image."""
    try:
        with whole_file(os.fspath(filename)) as file:
            file.write(content)
    except OSError as error:  # tell of the file that was asked for, not of the temporary one
        raise OSError(error.errno, error.strerror, os.fspath(filename)) from error
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython import display

        display.display(getattr(display, kind)(filename=os.fspath(filename)))
