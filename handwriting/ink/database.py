"""The handwriting database on disk: archives and folders of lineStrokes XML and of transcriptions,
and lists of forms.

A line's name is its file's without `.xml`; its form is its name without the last `-NN`, and line NN
of that form's transcription, FORM.txt, is its text. Source: the IAM On-Line Handwriting Database.
"""

import gzip
import hashlib
import os
import re
import tarfile
import unicodedata
import zlib
from typing import NamedTuple

from handwriting.files import UserError
from handwriting.ink.line_strokes import MAX_XML_BYTES

ARCHIVE = "lineStrokes-all.tar.gz"
# By the suffix of the files in them, in the order of preference, in small letters.
SOURCES = {
    suffix: (name, f"{name}-all.tar.gz", f"{name}-all.tgz", f"{name}-all.tar")
    for suffix, name in ((".xml", "linestrokes"), (".txt", "ascii"))
}
LISTS = ("trainset.txt", "testset_v.txt", "testset_t.txt", "testset_f.txt")
PENS = "unipen-"  # what the forms of UNIPEN begin with: each is a writer, called by a hash
WHERE = (
    "put UNIPEN's train_r01_v07 there (free, doi 10.5281/zenodo.1195803, the archive as it is), or "
    f"ask for {ARCHIVE} of the IAM On-Line Handwriting Database (registration at "
    "https://fki.tic.heia-fr.ch/databases/iam-on-line-handwriting-database) and put it at "
)


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
    """The form of each line, which is of one hand: a01-000u for a01-000u-02; of UNIPEN the writer,
    of a recording its file. Empty where the names are not known."""
    return [name.rpartition("-")[0] for name in names or ()]


def merge_lines(parts):
    """The Lines of several sources, each sorted by name, as one."""
    if len(parts) == 1:
        return parts[0]
    rows = [
        row
        for lines in parts
        for row in zip(
            lines.names, lines.raw_data, lines.texts or [None] * len(lines.names), strict=True
        )
    ]
    names, raw_data, texts = map(list, zip(*sorted(rows, key=lambda row: row[0]), strict=True))
    notes = [note for lines in parts for note in lines.notes]
    return Lines(raw_data, names, sum(lines.num_damaged for lines in parts), notes, texts)


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


# ------------------------------------------------------------------------------ transcriptions


def read_transcription(content):
    """The lines of text (str, stripped) in a form's file, here as bytes: those behind the line
    "CSR:", without blank ones at the beginning and end. In UTF-8, or else Latin-1.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = unicodedata.normalize("NFC", text)
    lines = [line.strip() for line in re.split("\r\n|[\r\n]", text)]
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


def transcription(path):
    """What the line in an XML file of the database says, from the transcriptions beside the folder
    lineStrokes that it lies in; None if there are none.
    """
    folder = os.path.dirname(os.path.abspath(path))
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        if sources := find_sources(folder, ".txt"):
            names = [stem(name) for name in os.listdir(os.path.dirname(path) or ".")]
            texts = read_texts(sources[0], names)
            return dict(zip(names, texts, strict=True))[stem(path)]
    return None
