"""One's own hand: the recordings hand.json, and other files of ink, as lines of the database.

hand.json is {"format": "hand", "version": 1, "lines": [{"text": "...", "guide": {"baseline": y,
"x_height": h}, "strokes": [[[x, y, time, pressure], ...], ...]}, ...]}: lengths in any unit, y
downwards, the two rules of the guide line h apart, times in milliseconds, pressure not needed.

Measured in 762 lines, every 15th of the database: 15 ms from point to point within a stroke (10 or
20 ms by turns, 14.6 to 15.9 on average of a line), a mean move of 20 pen units there (median 18),
and standard deviations of all moves of 42 and 37.
"""

import json
import math
import os

from handwriting.files import UserError
from handwriting.ink.database import Lines, merge_lines
from handwriting.ink.export import check_transcription
from handwriting.ink.points import check_size, to_line

import numpy as np

X_HEIGHT = 125  # pen units, about the database's median
INTERVAL = 15.0  # milliseconds from point to point
SPEED = 20 / INTERVAL  # pen units in a millisecond: of strokes that tell no times
DOT = 10  # pen units: a stroke that is not larger is a dot
DOT_STEPS = (4, 16)  # from point to point in a dot: of the database's most have 5 to 17 points
MAX_POINTS = 20_000  # in a line; the database's have 2,000 at most
MAX_BYTES = 16 << 20  # of a file; 30 recorded lines have about 1 MB, of a mouse at 1000 Hz ten


# ------------------------------------------------------------------------------ ink to lines


def resample(stroke):
    """A stroke [n, 3] of (x, y, milliseconds) in pen units as its positions [m, 2], INTERVAL apart
    from the first sample to the last; a dot, which may have no time at all, as 5 to 17 positions.
    """
    time = np.maximum.accumulate(stroke[:, 2])
    if time[-1] == time[0]:
        lengths = np.hypot(*np.diff(stroke[:, :2], axis=0).T)
        time = np.append(0.0, np.cumsum(lengths)) / SPEED
    # Samples of one time, since a clock may be coarse, are spread up to the next time.
    first = np.flatnonzero(np.diff(time, prepend=-np.inf) > 0)
    time = np.interp(np.arange(len(time)), first, time[first])
    count = (time[-1] - time[0]) / INTERVAL
    if np.ptp(stroke[:, :2], axis=0).max() <= DOT:
        times = np.linspace(time[0], time[-1], int(np.clip(math.ceil(count), *DOT_STEPS)) + 1)
    elif count > MAX_POINTS:
        raise UserError(f"has a stroke of {count * INTERVAL / 1000:.0f} seconds; write it again")
    else:
        times = np.append(time[0] + INTERVAL * np.arange(math.ceil(count)), time[-1])
    return np.stack([np.interp(times, time, axis) for axis in stroke[:, :2].T], axis=1)


def scale_line(strokes, x_height):
    """Strokes [n, 3] of (x, y, milliseconds), x, y and x_height in one unit, as a line, int16
    [n, 3] in pen units. Raises UserError if it is too long or large.
    """
    scale = X_HEIGHT / x_height
    drawn, count = [], 0
    for stroke in strokes:
        drawn.append(resample(stroke * [scale, scale, 1.0]))
        count += len(drawn[-1])
        if count > MAX_POINTS:
            raise UserError(f"has over {MAX_POINTS} points; write shorter lines")
    return to_line(drawn)


# --------------------------------------------------------------------------------- hand.json


def is_number(value):
    return type(value) in (int, float) and abs(value) < 1e12


def read_stroke(samples):
    """A stroke of hand.json as float64 [n, 3], or UserError."""
    if not (isinstance(samples, list) and samples):
        raise UserError("has a stroke without points; remove it")
    for sample in samples:
        whole = isinstance(sample, list) and 3 <= len(sample) <= 4
        if not (whole and all(map(is_number, sample))):
            raise UserError("has a point that is not [x, y, time, pressure]; write it again")
    return np.array([sample[:3] for sample in samples], float)


def read_recorded(recorded, where):
    """The line, int16 [n, 3] in pen units, and the text of a line in hand.json. Raises UserError,
    which begins with `where`.
    """
    try:
        if not isinstance(recorded, dict):
            raise UserError("is no line; record it again")
        guide, strokes = recorded.get("guide"), recorded.get("strokes")
        x_height = guide.get("x_height") if isinstance(guide, dict) else None
        if not (is_number(x_height) and x_height > 1e-6):
            raise UserError("has no guide with an x_height above 0; record it again")
        if not (isinstance(strokes, list) and strokes):
            raise UserError("has no strokes; write it again or remove it")
        line = scale_line([read_stroke(stroke) for stroke in strokes], x_height)
    except UserError as error:
        raise UserError(f"{where} {error}.") from None
    return line, check_transcription(recorded.get("text"), f"{where}: its text")


def read_file(path):
    """The content of a file in bytes, at most MAX_BYTES. Raises UserError."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror}); name another file."
        raise UserError(reason) from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB; divide it.")
    return content


def read_hand(path):
    """The lines, int16 [n, 3] each in pen units, and the texts of a hand.json. Raises UserError."""
    content = read_file(path)
    try:
        hand = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); save the recording again.") from None
    lines = hand.get("lines") if isinstance(hand, dict) else None
    if lines is None or hand.get("format") != "hand" or hand.get("version") != 1:
        raise UserError(f"{path} is no recording of a hand, version 1; save it in the recorder.")
    if not (isinstance(lines, list) and lines):
        raise UserError(f"{path} holds no lines; record at least one.")
    where = f"{path}: line {{}}"
    read = [read_recorded(line, where.format(k)) for k, line in enumerate(lines, 1)]
    lines, texts = map(list, zip(*read, strict=True))
    check_size(lines, f"The lines in {path}")
    return lines, texts


def find_recordings(folder):
    """The names of the recordings in a folder."""
    names = sorted(os.listdir(folder))
    return [n for n in names if n.lower().startswith("hand") and n.lower().endswith(".json")]


def add_recordings(data_dir, lines):
    """These Lines (None: there are no others) and, by name among them, those of each hand*.json in
    the folder: line 1 of hand.json is hand-01. Raises UserError.
    """
    found = find_recordings(data_dir)
    if not found:
        return lines
    lines = lines or Lines([], [], 0, [], [])
    if lines.names is None:
        note = f"{', '.join(found)} in {data_dir} left out: the cache there does not name its lines"
        return lines._replace(notes=[*lines.notes, f"{note}; delete it and put its source there."])
    parts = [lines]
    for name in found:
        recorded, texts = read_hand(os.path.join(data_dir, name))
        names = [f"{name[:-5]}-{k:02d}" for k in range(1, len(recorded) + 1)]
        parts.append(Lines(recorded, names, 0, [], texts))
    return merge_lines(parts)
