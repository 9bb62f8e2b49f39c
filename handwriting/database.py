"""The handwriting database on disk: archives and folders of lineStrokes XML and of transcriptions,
the cache of parsed lines, lists of forms, checks of a user's own points, both formats out.

A line's name is its file's without `.xml`; its form is its name without the last `-NN`, and line NN
of that form's transcription, FORM.txt, is its text. Sources: the IAM On-Line Handwriting Database;
the cache is the 2015 program's own file.
"""

import contextlib
import gzip
import hashlib
import io
import itertools
import json
import os
import pickle
import re
import tarfile
import warnings
import zlib
from typing import NamedTuple

from handwriting.files import UserError, atomic_write

import numpy as np

CACHE, INDEX = "strokes_training_data.cpkl", "strokes_training_data.json"
ARCHIVE = "lineStrokes-all.tar.gz"
# By the suffix of the files in them, in the order of preference, in small letters.
SOURCES = {
    suffix: (name, f"{name}-all.tar.gz", f"{name}-all.tgz", f"{name}-all.tar")
    for suffix, name in ((".xml", "linestrokes"), (".txt", "ascii"))
}
LISTS = ("trainset.txt", "testset_v.txt", "testset_t.txt", "testset_f.txt")
WHERE = (
    f"ask for {ARCHIVE} of the IAM On-Line Handwriting Database (registration at "
    "https://fki.tic.heia-fr.ch/databases/iam-on-line-handwriting-database) and put it at "
)
MAX_XML_BYTES = 16 << 20  # no file is read beyond this; a line has about 40 kB
DEVIATIONS = (39, 37)  # pen units: standard deviations of dx and dy in the database
FORM_LINES = 5  # lines in a form that write_line_strokes makes


class Lines(NamedTuple):
    """Lines as read, in pen units."""

    raw_data: list  # int16 [n, 3] each
    names: list | None  # parallel to raw_data; None if the cache does not tell
    num_damaged: int  # files left out
    notes: list  # sentences for the user on what was left out
    texts: list | None = None  # parallel to raw_data, str or None each; None as names, or not read


# ------------------------------------------------------------------------------------- sources


def unreadable(path, error):
    return UserError(f"{path} cannot be read ({error.strerror}); make it readable or remove it.")


def find_sources(data_dir, suffix=".xml"):
    """Paths of all that lines (".txt": texts) can be read from: the folder, then archives. The
    first is the one to use. Raises UserError if data_dir is not there, and for a link to nothing.
    """
    known = SOURCES[suffix]
    if not os.path.isdir(data_dir):
        what = "is not a folder" if os.path.exists(data_dir) else "does not exist"
        target = os.path.join(data_dir, ARCHIVE)
        raise UserError(f"The data folder {data_dir} {what}; {WHERE}{target}.")
    try:
        entries = [entry for entry in os.listdir(data_dir) if entry.lower() in known]
    except OSError as error:
        raise unreadable(data_dir, error) from None
    found = []
    for entry in sorted(entries, key=lambda entry: (known.index(entry.lower()), entry)):
        path = os.path.join(data_dir, entry)
        if not os.path.exists(path):
            raise UserError(f"{path} is a link to nothing; correct or remove it.")
        if source_files(path, suffix) if os.path.isdir(path) else entry.lower() != known[0]:
            found.append(path)
    return found


def is_source_file(name, suffix):
    """Whether the name of a file has this suffix, and is not of what macOS adds to archives."""
    *folders, base = name.split("/")
    return base.lower().endswith(suffix) and not base.startswith("._") and "__MACOSX" not in folders


def stem(path):
    return os.path.basename(path)[:-4]


def source_files(folder, suffix=".xml"):
    """Sorted paths of such files in a folder and below, links followed; links to nothing too.

    Raises UserError for a folder that cannot be read: it would make a smaller corpus.
    """

    def refuse(error):
        raise unreadable(error.filename, error) from None

    paths, visited = [], set()
    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(set(folders) - {"__MACOSX"})
        for name in names:
            path = os.path.join(root, name)
            dangling = os.path.islink(path) and not os.path.exists(path)
            if dangling or (is_source_file(name, suffix) and os.path.isfile(path)):
                paths.append(path)
    return sorted(paths)


def read_folder(folder, suffix):
    """Yield (path, content as bytes) of each file of `source_files`; None in place of the content
    of a link to nothing.
    """
    for path in source_files(folder, suffix):
        try:
            with open(path, "rb") as file:
                yield path, file.read(MAX_XML_BYTES + 1)
        except FileNotFoundError:
            yield path, None
        except OSError as error:
            raise unreadable(path, error) from None


def read_tar(path, suffix):
    """Yield (name, content as bytes) of each such file in a tar archive, gzipped or not.

    Members are read as streams and never unpacked to disk; links, devices and names that lead out
    of the archive are passed over. Raises UserError if the archive is not whole.
    """
    try:
        with open(path, "rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        with (
            gzip.open(path) if gzipped else open(path, "rb") as file,
            tarfile.open(fileobj=file, mode="r|", bufsize=1 << 16) as tar,
        ):
            for member in tar:
                outside = member.name.startswith("/") or ".." in member.name.split("/")
                if member.isreg() and is_source_file(member.name, suffix) and not outside:
                    yield member.name, tar.extractfile(member).read(MAX_XML_BYTES + 1)
            # tarfile takes damage for the end: gzip's checksum tells, or the zeros at a tar's end.
            if gzipped:
                while file.read(1 << 16):
                    pass
            elif file.seek(tar.offset) and set(file.read(1024)) != {0}:
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError, zlib.error) as error:
        reason = f"{path} is not a whole archive ({error}); copy or download it again."
        raise UserError(reason) from None


def read_source(source, suffix=".xml"):
    """Yield (path or member's name, content as bytes) of each such file in a folder or archive."""
    return (read_folder if os.path.isdir(source) else read_tar)(source, suffix)


def compare_sources(used, others, names):
    """Sentences on sources that hold lines which the one that is used, with these names, lacks."""
    notes = []
    for other in others:
        try:
            more = {stem(path) for path, _ in read_source(other)}
        except UserError as error:
            notes.append(f"{used} with {len(names)} lines is used, but {error}")
            continue
        if more - set(names):
            notes.append(
                f"{used} with {len(names)} lines is used, but {other} has {len(more)}, of which "
                f"{len(more - set(names))} are missing there; remove the one that is not whole."
            )
    return notes


def fingerprint(sources, suffix=".xml"):
    """A digest of the first source (an archive's bytes, or names, sizes and times of a folder's
    files) and of size and time of the others.
    """
    used, *others = sources
    digest = hashlib.sha256()

    def add(path, name):
        try:
            status = os.stat(path)
            text = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        except FileNotFoundError:
            text = f"{name}\0missing\n"
        digest.update(text.encode(errors="replace"))

    try:
        if os.path.isdir(used):
            for path in source_files(used, suffix):
                add(path, os.path.relpath(path, used))
        else:
            with open(used, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        for path in others:
            add(path, os.path.basename(path))
    except OSError as error:
        raise unreadable(used, error) from None
    return digest.hexdigest()


def form_names(names):
    """The form of each line: a01-000u for a01-000u-02. Empty where the names are not known."""
    return [name.rpartition("-")[0] for name in names or ()]


def read_list(path):
    """The set of forms in one of the database's lists; a byte order mark is no part of a name."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        reason = f"The list {path} cannot be read ({error.strerror}); put it there, or use another."
        raise UserError(reason) from None
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return set(content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace").split())


# ------------------------------------------------------------------------------------- the cache


def dump_arrays(arrays):
    """A pickle, protocol 2, of int16 arrays, which NumPy 1 (so the 2015 program) and 2 read."""
    stream = pickle.dumps([np.ascontiguousarray(array, "<i2") for array in arrays], protocol=2)
    # The first thing named is the maker of the first array; pickle names it once.
    new, old = (b"cnumpy.%s.multiarray\n_reconstruct\n" % name for name in (b"_core", b"core"))
    return stream.replace(new, old, 1)


ALLOWED = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
ALLOWED |= {"numpy.ndarray", "numpy.dtype", "_codecs.encode", "__builtin__.bytes"}


class Recorded:
    """What a pickle says of an object: maker, arguments, state. Nothing is made or called."""

    def __init__(self, maker, *arguments):
        self.maker, self.arguments, self.state = maker, arguments, None

    def __setstate__(self, state):
        self.state = state


# The unpickler in Python: its memo is a dict, where one damaged byte can claim no gigabytes.
class Unpickler(pickle._Unpickler):
    """Puts a Recorded in the place of each object that a list of arrays needs; refuses others."""

    def find_class(self, module, name):
        if f"{module}.{name}" not in ALLOWED:
            raise ValueError(f"it names {module}.{name}")
        return lambda *arguments: Recorded(name, *arguments)


def to_array(recorded):
    """The int16 [n, 3] array that a Recorded describes, or one of the errors of `load_arrays`."""
    if recorded.maker != "_reconstruct":
        raise ValueError("it holds something other than arrays")
    _, shape, dtype, fortran, content = recorded.state
    order = dtype.state[1]
    if dtype.maker != "dtype" or dtype.arguments[0] != "i2" or order not in ("<", ">"):
        raise ValueError("it holds arrays that are not int16")
    if isinstance(content, Recorded):  # encode(text, "latin1"), or bytes() of an empty array
        content = content.arguments[0] if content.arguments else ""
    content = content.encode("latin1")
    if shape != (len(content) // 6, 3) or len(content) % 6 or fortran:
        raise ValueError("it holds arrays that are not [n, 3]")
    return np.frombuffer(content, order + "i2").reshape(-1, 3).astype(np.int16)


def load_arrays(stream):
    """The int16 [n, 3] arrays of a cache, ours or the 2015 program's; ValueError says why not."""
    try:
        unpickler = Unpickler(io.BytesIO(stream), fix_imports=False, encoding="latin1")
        arrays = [to_array(recorded) for recorded in unpickler.load()]
    except ValueError as error:
        raise ValueError(f"{error}") from None
    except Exception as error:  # a damaged pickle fails in any way
        raise ValueError(f"it is no list of arrays: {error}") from None
    if not arrays:
        raise ValueError("it is empty")
    return arrays


def load_index(path):
    """The dict in an index, empty if there is none."""
    try:
        with open(path, "rb") as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def read_index(path, stream):
    """(names, fingerprint, damaged files, notes) of this cache; None if no index tells of it."""
    index = load_index(path)
    try:
        names, notes = index["names"], index.get("notes", [])
        strings = isinstance(names, list) and all(isinstance(text, str) for text in names + notes)
        if index["cache"] == hashlib.sha256(stream).hexdigest() and strings:
            return names, index["source"], int(index["damaged"]), notes
    except (ValueError, LookupError, TypeError):
        pass
    return None


def read_cache(data_dir, source):
    """The Lines of the cache; None if there is none, or its source has another fingerprint now.

    source: that fingerprint, or None if there is nothing to parse. Raises UserError.
    """
    path = os.path.join(data_dir, CACHE)
    if not os.path.lexists(path):
        return None
    try:
        with open(path, "rb") as file:
            stream = file.read()
        index = read_index(os.path.join(data_dir, INDEX), stream)
        if index and source and index[1] != source:
            return None
        raw_data = load_arrays(stream)
    except (OSError, ValueError) as error:
        reason = f"{path} cannot be used ({error}); delete it and the XML files are parsed anew."
        raise UserError(reason) from None
    if index and len(index[0]) == len(raw_data):
        names, _, num_damaged, notes = index
        return Lines(raw_data, names, num_damaged, notes)
    note = (
        f"{path} has no {INDEX} of its own beside it, so its {len(raw_data)} lines cannot be told "
        "apart by form: every 20th line validates; delete it to have the XML files parsed anew."
    )
    return Lines(raw_data, None, 0, [note])


def write_cache(data_dir, source, lines):
    """Write the Lines parsed from a source with this fingerprint; a failure is a warning."""
    stream = dump_arrays(lines.raw_data)
    index = {"cache": hashlib.sha256(stream).hexdigest(), "source": source}
    index |= {"damaged": lines.num_damaged, "notes": lines.notes, "names": lines.names}
    try:
        # The cache first: a crash in between leaves a cache that the old index does not fit.
        for name, content in ((CACHE, stream), (INDEX, json.dumps(index, indent=0).encode())):
            with atomic_write(os.path.join(data_dir, name)) as file:
                file.write(content)
    except OSError as error:
        sentence = f"No cache was written to {data_dir} ({error}); the next run parses anew."
        warnings.warn(sentence, stacklevel=2)


# ------------------------------------------------------------------------------ transcriptions


def read_transcription(content):
    """The lines of text (str, stripped) in a form's file, here as bytes: those behind the line
    "CSR:", without blank ones at the beginning and end.
    """
    lines = [line.decode("latin-1").strip() for line in content.splitlines()]
    lines = lines[lines.index("CSR:") + 1 :] if "CSR:" in lines else []
    filled = [i for i, line in enumerate(lines) if line] or [0]
    return lines[filled[0] : filled[-1] + 1]


def read_texts(source, names):
    """The texts of the lines with these names; see Lines. None for all lines of a form that are not
    numbered from 1 to the number of lines in its transcription, and for a blank line of it.
    """
    found, forms, texts = {}, {}, {}
    for path, content in read_source(source, ".txt"):
        found.setdefault(stem(path), read_transcription(content or b""))
    for name in names:
        form, _, number = name.rpartition("-")
        forms.setdefault(form, {})[name] = number.lstrip("0")
    for form, numbers in forms.items():
        lines = {str(i): text or None for i, text in enumerate(found.get(form, ()), 1)}
        if sorted(numbers.values()) == sorted(lines):  # strings, without leading zeros
            texts |= {name: lines[number] for name, number in numbers.items()}
    return [texts.get(name) for name in names]


def add_texts(data_dir, lines):
    """These Lines with their texts, from the cache's index, or else read anew and kept there.

    Where there are transcriptions, a note tells which forms have none. Raises UserError if they
    cannot be read.
    """
    if lines.names is None:
        return lines
    sources, path = find_sources(data_dir, ".txt"), os.path.join(data_dir, INDEX)
    source, index = fingerprint(sources[:1], ".txt") if sources else None, load_index(path)
    ours, texts = index.get("names") == lines.names, index.get("texts")
    good = isinstance(texts, list) and all(isinstance(text, str | None) for text in texts)
    good = good and len(texts) == len(lines.names)
    good = good and source in (None, index.get("texts_source"))
    if not (sources or (ours and good)):
        return lines._replace(texts=[None] * len(lines.names))
    if not (ours and good):
        texts = read_texts(sources[0], lines.names)
    if ours and not good:
        index |= {"texts_source": source, "texts": texts}
        # If this fails they are read again the next time, in a moment.
        with contextlib.suppress(OSError), atomic_write(path) as file:
            file.write(json.dumps(index, indent=0).encode())
    forms = form_names(lines.names)
    bare = sorted(set(forms) - set(itertools.compress(forms, texts)))
    shown = ", ".join(bare[:5]) + (", ..." if len(bare) > 5 else "")
    note = f"{len(bare)} of {len(set(forms))} forms have no texts, because the transcriptions in "
    note += f"{data_dir} do not have one line of text for each of their lines: {shown}."
    return lines._replace(texts=texts, notes=lines.notes + [note] * bool(bare))


# ------------------------------------------------------------ a user's own points, both formats out


def check_points(points, where):
    """`points` as float64 [n, 3]; UserError, which begins with `where`, if they are no line."""
    try:
        points = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{where} must be numbers [n, 3], the points (dx, dy, eos).") from None
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        shape = list(points.shape)
        raise UserError(f"{where} must be points (dx, dy, eos) [n, 3] with n >= 1, not {shape}.")
    if not np.isfinite(points).all():
        raise UserError(f"{where} must be finite numbers, but NaN or infinity is among them.")
    if not np.isin(points[:, 2], (0, 1)).all():
        raise UserError(
            f"{where} must be points (dx, dy, eos) with an eos, in the last column, of 1 at the "
            f"last point of a stroke and else 0, not {np.unique(points[:, 2])[[0, -1]].tolist()}."
        )
    if not (np.abs(points[:, :2]) < 2**15 - 1).all():
        raise UserError(f"{where} must have moves (dx, dy) that fit 16 bits, in pen units.")
    return points


def check_size(lines, where):
    """Raise UserError, which begins with `where`, unless lines [n, 3] are moves in pen units.

    Their standard deviations must be within a factor of 5 of the database's, those of a single line
    10. Fewer than 20 moves are too few to tell, but that dx or dy never varies.
    """
    moves = np.concatenate([line[1:, :2] for line in lines]).astype(np.float64)
    if len(moves) < 3:
        return
    deviations = moves.std(axis=0)
    for axis, deviation in zip(("dx", "dy"), deviations, strict=True):
        if not deviation > 0:
            raise UserError(f"{where} have a {axis} that never varies; nothing can learn from it.")
    if len(moves) < 20:
        return
    # Along a line x changes little from point to point beside its range; moves change all the time.
    change = np.concatenate([np.diff(line[1:, 0].astype(np.float64)) for line in lines])
    if change.std() < 0.06 * deviations[0]:
        wrong, mend = "look like positions", "take the differences of positions"
    else:
        wrong = "have standard deviations of {:.3g} and {:.3g}".format(*deviations)
        by_x, by_y = DEVIATIONS / deviations
        mend = f"multiply dx and dy by {np.sqrt(by_x * by_y):.3g}"
        if not 1 / 3 < by_x / by_y < 3:
            mend = f"multiply dx by {by_x:.3g} and dy by {by_y:.3g}"
        mend += ", or take the differences if these are positions"
        factor = 5 if len(lines) > 1 else 10
        if 1 / factor <= min(by_x, by_y) and max(by_x, by_y) <= factor:
            return
    raise UserError(
        f"{where} {wrong}, where moves (dx, dy) from point to point in pen units are expected, "
        f"whose standard deviations are about {DEVIATIONS[0]} and {DEVIATIONS[1]} in the database; "
        f"{mend}."
    )


HEAD = """<?xml version="1.0" encoding="ISO-8859-1"?>
<WhiteboardCaptureSession>
  <WhiteboardDescription>
    <SensorLocation corner="top_left"/>
    <DiagonallyOppositeCoords x="{2}" y="{3}"/>
    <VerticallyOppositeCoords x="{0}" y="{3}"/>
    <HorizontallyOppositeCoords x="{2}" y="{1}"/>
  </WhiteboardDescription>
  <StrokeSet>
"""
STROKE = '    <Stroke colour="black" start_time="{:.2f}" end_time="{:.2f}">\n{}    </Stroke>\n'
TAIL = "  </StrokeSet>\n</WhiteboardCaptureSession>\n"


def line_to_xml(line):
    """The lineStrokes XML (bytes) of a line [n, 3] in pen units; 10 ms from point to point."""
    positions = np.rint(np.cumsum(line[:, :2], axis=0)).astype(int)
    positions += 1000 - positions.min(axis=0)
    points = [
        f'      <Point x="{x}" y="{y}" time="{i / 100:.2f}"/>\n'
        for i, (x, y) in enumerate(positions)
    ]
    bounds = [0, *(np.flatnonzero(line[:-1, 2]) + 1), len(line)]
    strokes = [
        STROKE.format(start / 100, (end - 1) / 100, "".join(points[start:end]))
        for start, end in itertools.pairwise(bounds)
    ]
    head = HEAD.format(*positions.min(axis=0), *positions.max(axis=0))
    return (head + "".join(strokes) + TAIL).encode()


def transcriptions_path(path):
    """Where write_line_strokes puts the texts of the lines that it writes to this path."""
    folder, base = os.path.split(os.fspath(path))
    name, replaced = re.subn("linestrokes", "ascii", base, flags=re.IGNORECASE)
    if not replaced:
        name = base.removesuffix(".tar.gz") + ".ascii.tar.gz"
    return os.path.join(folder, name)


def check_text(text, where):
    """`text`, stripped; UserError, which begins with `where`, if it is not one line of ASCII."""
    if not isinstance(text, str) or text.strip() in ("", "CSR:"):
        raise UserError(f"{where} must be the words of a line, not {text!r}.")
    if wrong := re.search("[^ -~]", text):
        place = f"character {wrong.start() + 1} is {wrong[0]!a}"
        raise UserError(f"{where} must be one line of printable ASCII, but {place}.")
    return text.strip()


def written_members(lines, texts=None):
    """Yield (name, content as bytes) of the files of these lines, or of their texts, by forms."""
    for i in range(0, len(lines), FORM_LINES):
        group, number = divmod(i // FORM_LINES, 1000)
        form = f"s{group:02d}-{number:03d}"
        path = f"s{group:02d}/{form}/{form}"
        if texts is not None:
            text = "\n".join(texts[i : i + FORM_LINES])
            yield f"ascii/{path}.txt", f"OCR:\n\n{text}\n\nCSR:\n\n{text}\n".encode()
        else:
            for k, line in enumerate(lines[i : i + FORM_LINES], 1):
                yield f"lineStrokes/{path}-{k:02d}.xml", line_to_xml(line)


def write_tar(file, members):
    """Write (name, content as bytes) of all members to a file open for writing, as a .tar.gz."""
    with (
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_line_strokes(lines, path, texts=None):
    """Write lines ([n, 3] each, pen units, fractions allowed) as the database does, to a .tar.gz;
    their texts (str each, one line of printable ASCII), if any, to `transcriptions_path(path)`.

    Five lines make a form (s00-000, s00-001, ...). DataLoader reads back every move but a line's
    first, which leads from the origin of the line's box; a line's last point ends its last stroke.
    The same input gives the same bytes. Raises UserError for lines that are no points in pen units,
    for texts that are not such lines, one for each, and for lines without texts where other
    transcriptions lie already; nothing is written then.
    """
    lines = [check_points(line, f"Line {i + 1} to write") for i, line in enumerate(lines)]
    if lines:
        check_size(lines, f"The {len(lines)} lines to write to {path}")
    parts = {path: written_members(lines)}
    if texts is not None:
        texts = [check_text(text, f"Text {i + 1} to write") for i, text in enumerate(texts)]
        if len(texts) != len(lines):
            numbers = f"{len(texts)} texts for {len(lines)} lines"
            raise UserError(f"There are {numbers} to write to {path}; give each line its own.")
        parts[transcriptions_path(path)] = written_members(lines, texts)
    elif os.path.exists(other := transcriptions_path(path)):
        raise UserError(f"{other} would be taken for what {path} says; remove it first.")
    with contextlib.ExitStack() as files:  # all are written before the first is renamed
        for target, members in parts.items():
            write_tar(files.enter_context(atomic_write(target)), members)
