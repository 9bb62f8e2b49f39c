"""Lines and their texts written as the database's own archives."""

import contextlib
import gzip
import io
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


def written_members(lines, forms, texts=None):
    """Yield (name, content as bytes) of the files of these lines, or of their texts, by forms."""
    places = {}
    for k, form in enumerate(forms):
        places.setdefault(form, []).append(k)
    for form, members in places.items():
        path = f"{form.partition('-')[0]}/{form}/{form}"
        if texts is not None:
            text = "\n".join(texts[k] for k in members)
            yield f"ascii/{path}.txt", f"OCR:\n\n{text}\n\nCSR:\n\n{text}\n".encode()
        else:
            for number, k in enumerate(members, 1):
                yield f"lineStrokes/{path}-{number:02d}.xml", line_to_xml(lines[k])


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


def number_forms(count):
    """What the forms of so many lines are called: s00-000, of FORM_LINES lines, and so on."""
    numbers = (divmod(k // FORM_LINES, 1000) for k in range(count))
    return [f"s{group:02d}-{number:03d}" for group, number in numbers]


def write_line_strokes(lines, path, texts=None, hands=None):
    """Write lines ([n, 3] each, pen units, fractions allowed) as the database does, to a .tar.gz;
    their texts (str each, one line of printable ASCII), if any, to `transcriptions_path(path)`.

    Five lines make a form (s00-000, s00-001, ...), or with `hands`, a name for each line, those of
    one hand. DataLoader reads back every move but a line's
    first, which leads from the origin of the line's box; a line's last point ends its last stroke.
    The same input gives the same bytes. Raises UserError for lines that are no points in pen units,
    for texts that are not such lines, one for each, and for lines without texts where other
    transcriptions lie already; nothing is written then.
    """
    lines = [check_points(line, f"Line {i + 1} to write") for i, line in enumerate(lines)]
    if lines:
        check_size(lines, f"The {len(lines)} lines to write to {path}")
    forms = hands or number_forms(len(lines))
    parts = {path: written_members(lines, forms)}
    if texts is not None:
        texts = [
            check_transcription(text, f"Text {k} to write") for k, text in enumerate(texts, 1)
        ]
        if len(texts) != len(lines):
            numbers = f"{len(texts)} texts for {len(lines)} lines"
            raise UserError(f"There are {numbers} to write to {path}; give each line its own.")
        parts[transcriptions_path(path)] = written_members(lines, forms, texts)
    elif os.path.exists(other := transcriptions_path(path)):
        raise UserError(f"{other} would be taken for what {path} says; remove it first.")
    with contextlib.ExitStack() as files:  # all are written before the first is renamed
        for target, members in parts.items():
            write_tar(files.enter_context(atomic_write(target)), members)
