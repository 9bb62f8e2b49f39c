"""Lines and their texts written as the database's own archives."""

import contextlib
import gzip
import io
import itertools
import os
import re
import tarfile

from handwriting.files import UserError, atomic_write
from handwriting.ink.line_strokes import line_to_xml
from handwriting.ink.points import check_points, check_size

FORM_LINES = 5  # lines in a form that write_line_strokes makes


def transcriptions_path(path):
    """Where write_line_strokes puts the texts of the lines that it writes to this path."""
    folder, base = os.path.split(os.fspath(path))
    name, replaced = re.subn("linestrokes", "ascii", base, flags=re.IGNORECASE)
    if not replaced:
        name = base.removesuffix(".tar.gz") + ".ascii.tar.gz"
    return os.path.join(folder, name)


def check_transcription(text, where):
    """`text`, stripped; UserError, which begins with `where`, if it is not one line of ASCII."""
    if not isinstance(text, str) or text.strip() in ("", "CSR:"):
        raise UserError(f"{where} must be the words of a line, not {text!r}.")
    if wrong := re.search("[^ -~]", text):
        place = f"character {wrong.start() + 1} is {wrong[0]!a}"
        raise UserError(f"{where} must be one line of printable ASCII, but {place}.")
    return text.strip()


def divide_forms(texts):
    """Yield (path, slice) of each form: FORM_LINES lines at most, with a text each or without."""
    changes = [k for k in range(1, len(texts)) if (texts[k] is None) != (texts[k - 1] is None)]
    runs = itertools.pairwise([0, *changes, len(texts)])
    starts = [k for start, end in runs for k in range(start, end, FORM_LINES)]
    for count, (start, end) in enumerate(itertools.pairwise([*starts, len(texts)])):
        group, number = divmod(count, 1000)
        form = f"s{group:02d}-{number:03d}"
        yield f"s{group:02d}/{form}/{form}", slice(start, end)


def line_members(lines, texts):
    """Yield (name, content as bytes) of the files of these lines, by forms."""
    for path, form in divide_forms(texts):
        for k, line in enumerate(lines[form], 1):
            yield f"lineStrokes/{path}-{k:02d}.xml", line_to_xml(line)


def text_members(texts):
    """Yield (name, content as bytes) of the transcriptions of forms that have texts."""
    for path, form in divide_forms(texts):
        if texts[form][0] is not None:
            text = "\n".join(texts[form])
            yield f"ascii/{path}.txt", f"OCR:\n\n{text}\n\nCSR:\n\n{text}\n".encode()


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
    their texts (str each, one line of printable ASCII, or None), if there are any, to
    `transcriptions_path(path)`.

    Five lines make a form (s00-000, s00-001, ...), fewer where lines with and without a text meet.
    DataLoader reads back every move but a line's first, which leads from the origin of the line's
    box; a line's last point ends its last stroke. The same input gives the same bytes. Raises
    UserError for lines that are no points in pen units, for texts that are not such lines, as many
    as lines, and for lines without texts where other transcriptions lie already; nothing is written
    then.
    """
    lines = [check_points(line, f"Line {i + 1} to write") for i, line in enumerate(lines)]
    if lines:
        check_size(lines, f"The {len(lines)} lines to write to {path}")
    texts = [None] * len(lines) if texts is None else list(texts)
    if len(texts) != len(lines):
        numbers = f"{len(texts)} texts for {len(lines)} lines"
        raise UserError(f"There are {numbers} to write to {path}; give each line its own.")
    for k, text in enumerate(texts):
        if text is not None:
            texts[k] = check_transcription(text, f"Text {k + 1} to write")
    parts = {path: line_members(lines, texts)}
    if any(texts):
        parts[transcriptions_path(path)] = text_members(texts)
    elif os.path.exists(other := transcriptions_path(path)):
        raise UserError(f"{other} would be taken for what {path} says; remove it first.")
    with contextlib.ExitStack() as files:  # all are written before the first is renamed
        for target, members in parts.items():
            write_tar(files.enter_context(atomic_write(target)), members)
