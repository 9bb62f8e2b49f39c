"""Files of ink of any kind as lines in pen units.

A reader of a format that tells no unit takes the bytes of a file and returns a list of (strokes,
text or None), one for each line of writing: strokes [n, 3] of (x, y, milliseconds) in the file's
own unit, y downwards, milliseconds 0 where the file has none. Its UserError has no name of a file
in it.
"""

import io
import os

from handwriting.files import UserError
from handwriting.ink.database import transcription
from handwriting.ink.inkml import read_inkml
from handwriting.ink.line_strokes import parse_line
from handwriting.ink.page_lines import divide, estimate_x_height
from handwriting.ink.points import check_points, check_size, to_line
from handwriting.ink.recording import read_file, read_hand, scale_line
from handwriting.ink.unipen import read_unipen_file
from handwriting.ink.unipen_lines import lines_of_hand
from handwriting.ink.xournal import read_xournal

import numpy as np


def read_line_strokes(path):
    """The line of one XML file of the database, and its text where transcriptions lie beside the
    folder that it is in: ([line], [text or None]). Raises UserError."""
    line = to_pen_units(parse_line(read_file(path)), path)
    return [line], [transcription(path)]


def read_npy(path):
    """The line of an .npy of points (dx, dy, eos) in pen units: ([line], [None]).

    Raises UserError, also for another unit."""
    try:
        points = np.lib.format.read_array(io.BytesIO(read_file(path)), allow_pickle=False)
    except UserError:
        raise
    except Exception as error:  # a damaged header fails in any way
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is no .npy of numbers ({reason}); use np.save.") from None
    return [to_pen_units(points, path)], [None]


def to_pen_units(points, path):
    """Points as a line, int16 [n, 3]. Raises UserError where they are no line in pen units."""
    points = check_points(points, f"The points in {path}")
    check_size([points], f"The points in {path}")
    return np.rint(points).astype(np.int16)


def read_svg(content):
    from handwriting.ink import svg_paths  # whose library takes long to import

    return svg_paths.read_svg(content)


def measure_x_height(lines):
    """The median x-height of lines, each a list of strokes, of those that have a height. Raises
    UserError if none has."""
    heights, problem = [], None
    for strokes in lines:
        try:
            heights.append(estimate_x_height(strokes))
        except UserError as error:
            problem = error
    if not heights:
        raise problem
    return np.median(heights)


def read_foreign(path):
    """The lines and texts of a file which tells no unit: scaled by its own x-height."""
    lines, texts = zip(*FOREIGN[kind_of(path)](read_file(path)), strict=True)
    x_height = measure_x_height(lines)
    return [scale_line(strokes, x_height) for strokes in lines], list(texts)


def read_unipen(path):
    """The lines and texts of a UNIPEN file: of its labels, without any its lines of writing."""
    ink = read_unipen_file(path)
    labelled = lines_of_hand([ink.segments], [], np.random.default_rng(0))
    if labelled:
        return [to_line(strokes) for _, strokes in labelled], [text for text, _ in labelled]
    strokes = [component.points() for component in ink.components if component.down]
    lines = divide([np.column_stack([s, np.zeros(len(s))]) for s in strokes if len(s)])
    x_height = measure_x_height(lines)
    return [scale_line(strokes, x_height) for strokes in lines], [None] * len(lines)


def kind_of(path):
    return os.path.splitext(path)[1].lower()


FOREIGN = {".inkml": read_inkml, ".svg": read_svg, ".xopp": read_xournal, ".xoj": read_xournal}
READERS = {".json": read_hand, ".xml": read_line_strokes, ".npy": read_npy}
READERS |= dict.fromkeys(FOREIGN, read_foreign)
READERS |= dict.fromkeys((".dat", ".unp", ".unipen", ".tra", ".tes"), read_unipen)


def read_ink(path):
    """The lines, int16 [n, 3] each in pen units, and their texts (str or None) in a file of one of
    READERS. Raises UserError."""
    path = os.fspath(path)
    if kind_of(path) not in READERS:
        if not os.path.exists(path):
            raise UserError(f"{path} is not there; name another file.")
        raise UserError(f"{path} is no file of ink, which is one of {', '.join(READERS)}.")
    try:
        return READERS[kind_of(path)](path)
    except UserError as error:
        message = str(error)
        raise UserError(message if path in message else f"{path} {message}.") from None
