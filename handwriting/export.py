"""A user's own points: checked, and written in the formats of the database."""

import contextlib
import gzip
import io
import itertools
import os
import re
import tarfile

from handwriting.files import UserError, atomic_write

import numpy as np

DEVIATIONS = (39, 37)  # pen units: standard deviations of dx and dy in the database
FORM_LINES = 5  # lines in a form that write_line_strokes makes


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
