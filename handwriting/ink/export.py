"""Lines and their texts written as the database's own archives."""

import contextlib
import gzip
import io
import itertools
import os
import re
import tarfile
import unicodedata

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
    """`text`, stripped, letters with marks as one character where Unicode has it (NFC); UserError,
    which begins with `where`, if it is not one line of printable characters.
    """
    if not isinstance(text, str) or text.strip() in ("", "CSR:"):
        raise UserError(f"{where} must be the words of a line, not {text!r}.")
    if not text.isprintable():
        place, wrong = next((k, c) for k, c in enumerate(text, 1) if not c.isprintable())
        raise UserError(f"{where} must be one line of text, but character {place} is {wrong!a}.")
    return unicodedata.normalize("NFC", text.strip())


def written_members(lines, forms, texts=None):
    """Yield (name, content as bytes) of the files of these lines, by forms; with texts those of the
    texts, of forms that have any.
    """
    places = {}
    for k, form in enumerate(forms):
        places.setdefault(form, []).append(k)
    for form, members in places.items():
        path = f"{form.partition('-')[0]}/{form}/{form}"
        if texts is None:
            for number, k in enumerate(members, 1):
                yield f"lineStrokes/{path}-{number:02d}.xml", line_to_xml(lines[k])
        elif texts[members[0]] is not None:
            text = "\n".join(texts[k] for k in members)
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


def number_forms(texts):
    """What the form of each line with these texts is called: s00-000, of at most FORM_LINES lines
    that all have a text or none, and so on.
    """
    forms, count = [], -1
    for _, run in itertools.groupby(texts, lambda text: text is None):
        for k, _ in enumerate(run):
            count += k % FORM_LINES == 0
            group, number = divmod(count, 1000)
            forms.append(f"s{group:02d}-{number:03d}")
    return forms


def write_line_strokes(lines, path, texts=None, hands=None):
    """Write lines ([n, 3] each, pen units, fractions allowed) as the database does, to a .tar.gz;
    their texts (str each, one line, or None), if there are any, to
    `transcriptions_path(path)`.

    Five lines make a form (s00-000, s00-001, ...), fewer where lines with and without a text meet;
    or with `hands`, a name for each line, those of one hand, which all have a text or none.
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
    forms = hands or number_forms(texts)
    parts = {path: written_members(lines, forms)}
    if any(texts):
        parts[transcriptions_path(path)] = written_members(lines, forms, texts)
    elif os.path.exists(other := transcriptions_path(path)):
        raise UserError(f"{other} would be taken for what {path} says; remove it first.")
    with contextlib.ExitStack() as files:  # all are written before the first is renamed
        for target, members in parts.items():
            write_tar(files.enter_context(atomic_write(target)), members)
