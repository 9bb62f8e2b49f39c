"""Pen strokes, all the way from XML to minibatches; and the drawing functions, handed on.

A point is one row (dx, dy, eos): the pen's move from the point before, x to the right and y
downwards, and 1 on the last point of a stroke, else 0. A stroke is the points up to and with an
eos. A line is one handwritten line: one XML file, one array [n, 3]. A line's first move leads from
the origin, 100 units left of and above the box of its WhiteboardDescription, to its first point.
Pen units are the whiteboard's integers, int16; scaled units are pen units / scale_factor, float32.

Sources: David Ha's post "Handwriting Generation Demo in TensorFlow" (2015) and the IAM On-Line
Handwriting Database.
"""

import hashlib
import itertools
import os
import random  # noqa: F401, the post's transcript says random.choice after `%run -i utils.py`
import warnings

from handwriting.drawing.density import draw_strokes_pdf  # noqa: F401, handed on
from handwriting.drawing.plots import plot_density  # noqa: F401, handed on
from handwriting.drawing.strokes import (  # noqa: F401, all are handed on
    draw_strokes,
    draw_strokes_eos_weighted,
    draw_strokes_random_color,
)
from handwriting.files import UserError
from handwriting.ink import cache, database, recording
from handwriting.ink.database import Lines
from handwriting.ink.export import write_line_strokes  # noqa: F401, handed on
from handwriting.ink.line_strokes import parse_line
from handwriting.ink.points import LIMIT, START, check_size
from handwriting.ink.unipen import find_unipen
from handwriting.ink.unipen_lines import parse_folder

import numpy as np
from tqdm import tqdm

# ------------------------------------------------------------------------------ XML to arrays


def parse_source(source, others=()):
    """The Lines of a lineStrokes folder or archive, sorted by name.

    Files that are damaged, names that occur twice, and lines that only the `others` (sources
    beside it) hold are told of in its notes. Raises UserError if no line can be used.
    """
    good, damaged = [], []
    for path, xml in tqdm(database.read_source(source), desc=source, unit=" lines", disable=None):
        try:
            if xml is None:
                raise UserError("is a link to nothing")
            good.append((path, parse_line(xml)))
        except UserError as error:
            damaged.append(f"{path} {error}")
    shown = "; ".join(sorted(damaged)[:10]) + ("; ..." if len(damaged) > 10 else "")
    total = len(good) + len(damaged)
    if not total:
        raise UserError(f"{source} holds no XML file of a line; put the database there.")
    if not good:
        raise UserError(f"{source} holds no line that can be used; all {total} damaged: {shown}.")
    good.sort(key=lambda item: (database.stem(item[0]), item[0]))
    lines = {}
    for path, line in good:
        lines.setdefault(database.stem(path), line)
    notes = []
    if damaged:
        notes.append(
            f"{len(damaged)} damaged files of the {total} in {source} are left out: {shown}."
        )
    if len(lines) < len(good):
        notes.append(
            f"{source} holds {len(good)} files, but only {len(lines)} lines: what has the name of "
            "a line before it is left out."
        )
    notes += database.compare_sources(source, others, lines)
    return Lines(list(lines.values()), list(lines), len(damaged), notes)


def load_lines(data_dir):
    """The folder that the data comes from (data_dir, or the demo in it) and its Lines.

    From the cache if there is one and its sources have not changed, else from the database and
    UNIPEN; and from the recordings of hands there.
    """
    sources, pens = database.find_sources(data_dir), find_unipen(data_dir)[:1]

    def fingerprint():
        parts = [(sources, ".xml")] * bool(sources) + [(pens, "")] * len(pens)
        return "".join(database.fingerprint(*part) for part in parts) or None

    before = fingerprint()
    lines = cache.read_cache(data_dir, before)
    if lines is None and before:
        parts = [parse_source(sources[0], sources[1:])] if sources else []
        lines = database.merge_lines(parts + [parse_folder(path) for path in pens])
        if fingerprint() == before:
            cache.write_cache(data_dir, before, lines)
        else:
            lines.notes.append(
                f"{data_dir} changed while its {len(lines.names)} lines were read, so they may "
                "not be all and no cache was written; start again when it is complete."
            )
    if lines is not None:
        lines = cache.add_texts(data_dir, lines)
    lines = recording.add_recordings(data_dir, lines)
    if lines is not None:
        for note in lines.notes:
            warnings.warn(note, stacklevel=3)
        return data_dir, lines
    demo, where = os.path.join(data_dir, "demo"), os.path.join(data_dir, database.ARCHIVE)
    if os.path.normpath(data_dir) == "data" and os.path.isdir(demo):
        words = f"No database in {data_dir}: using the small corpus {demo}"
        warnings.warn(f"{words}; {database.WHERE}{where}.", stacklevel=3)
        return load_lines(demo)
    words = f"The data folder {data_dir} holds no handwriting, and no recording called hand*.json"
    raise UserError(f"{words}; {database.WHERE}{where}.")


# ------------------------------------------------------------------------------- minibatches

FEW_HANDS = 20  # of UNIPEN: fewer are divided as forms are


def split_lines(data_dir, names, lengths):
    """Two lists of bool, one per line of these lengths: trains, validates.

    By the database's own lists if they lie in data_dir: forms of trainset, testset_t and testset_f
    train, but every 20th of them validates; testset_v is kept for tests, and other lines do
    neither. Of UNIPEN a tenth of the writers validates and another is kept for tests, by a hash of
    their names. Without lists every 20th form validates; where that is more than a tenth of the
    lines, as of one hand's, a tenth of the lines, and where forms are not known, every 20th line;
    the first line is among them. A lone line trains.
    """
    forms = database.form_names(names)
    pens = {form for form in forms if form.startswith(database.PENS)}
    if len(pens) < FEW_HANDS:
        return split_forms(data_dir, forms, lengths)
    rest = [k for k, form in enumerate(forms) if form not in pens]
    folds = {form: int(hashlib.sha256(form.encode()).hexdigest(), 16) % 10 for form in pens}
    trains = [folds.get(form, 0) > 1 for form in forms]
    validates = [folds.get(form) == 0 for form in forms]
    if rest:
        others = split_forms(data_dir, [forms[k] for k in rest], [lengths[k] for k in rest])
        for k, trained, validated in zip(rest, *others, strict=True):
            trains[k], validates[k] = trained, validated
    return trains, validates


def split_forms(data_dir, forms, lengths):
    """What `split_lines` tells of lines by their forms (empty where they are not known), but for
    UNIPEN's."""
    found = [name for name in database.LISTS if os.path.exists(os.path.join(data_dir, name))]
    if found and forms:
        missing = [name for name in database.LISTS if name not in found]
        if missing:
            has = f"{data_dir} has {', '.join(found)} but not {', '.join(missing)}"
            raise UserError(f"{has}; add or remove the lists.")
        lists = [database.read_list(os.path.join(data_dir, name)) for name in database.LISTS]
        trained, tested, *more = lists
        trained = trained.union(*more) - tested
        units = [form if form in trained else None for form in forms]
        known = sorted(set(units) - {None})
        if len(known) < 2:
            words = f"The lists in {data_dir} leave fewer than two forms to train and validate on"
            raise UserError(f"{words}; correct them.")
        held = set(known[::20])
    else:
        units, held = forms, set(sorted(set(forms))[::20])
        if not forms or sum(form in held for form in forms) > len(forms) / 10:
            units = list(range(len(lengths)))
            held = [i for i in units if lengths[i] >= 2 and len(lengths) > 1]
            held = set(held[::10][: max(1, len(held) // 10)] if forms else held[::20])
    trains = [unit is not None and unit not in held for unit in units]
    return trains, [unit in held for unit in units]


class DataLoader:
    """Handwritten lines and minibatches of windows into them.

    raw_data: all lines, int16 [n, 3] each, pen units, sorted by name; names: theirs, or None.
    texts: parallel to raw_data, what each line says, a string, or None where that is not known.
    hands: parallel to raw_data, whose hand each line is in, as far as is known: its form, of UNIPEN
    its writer, of a recording its file; None as in names.
    trains, validates: parallel to raw_data, two lists of bool; see `split_lines`.
    data: the training lines with more than seq_length + 2 points; valid_data: the validation lines
    of two points or more, whole. Both float32 [n, 3], moves capped to [-limit, limit] pen units,
    then divided by scale_factor.
    deviations: the standard deviations (dx, dy) in pen units of all capped moves but the first of
    each line that trains or validates.
    num_batches: batches in an epoch, one pass over data in which a line counts
    len(line) // (seq_length + 2) windows. drawn: batches so far. num_damaged: files left out.
    summary: a sentence on how many lines and points train, validate and are left out.
    The same seed gives the same batches. Raises UserError if there is nothing to train on, or the
    points are no pen units.
    """

    def __init__(
        self,
        batch_size=50,
        seq_length=300,
        scale_factor=10,
        limit=LIMIT,
        data_dir="data",
        *,
        seed=None,
        first_points=0.0,
    ):
        self.batch_size, self.seq_length = batch_size, seq_length
        self.scale_factor, self.limit, self.first_points = scale_factor, limit, first_points
        self.rng, self.drawn = np.random.default_rng(seed), 0
        self.folder, lines = load_lines(os.fspath(data_dir))
        self.raw_data, self.names, self.num_damaged, _, texts = lines
        self.texts = texts or [None] * len(self.raw_data)
        self.hands = database.form_names(self.names) or [None] * len(self.raw_data)

        self.trains, self.validates = split_lines(
            self.folder, self.names, list(map(len, self.raw_data))
        )
        training = list(itertools.compress(self.raw_data, self.trains))
        validation = list(itertools.compress(self.raw_data, self.validates))
        longest = max(map(len, training), default=0)
        if longest <= seq_length + 2:
            raise UserError(
                f"No training line in {self.folder} is longer than seq_length + 2 = "
                f"{seq_length + 2} points, the longest has {longest}; use a smaller --seq_length."
            )
        check_size(training + validation, f"The lines in {self.folder}")
        moves = np.concatenate([line[1:, :2] for line in training + validation]).astype(float)
        self.deviations = tuple(np.clip(moves, -limit, limit).std(axis=0).tolist())

        long = [line for line in training if len(line) > seq_length + 2]
        self._points, offsets, lines = self._scale([np.vstack([START, line]) for line in long])
        self.data = [line[1:] for line in lines]
        self._firsts, self._lengths = offsets[:-1] + 1, np.diff(offsets) - 1
        self.valid_data = self.scaled([line for line in validation if len(line) >= 2])
        self._windows = np.repeat(np.arange(len(self.data)), self._lengths // (seq_length + 2))
        self.num_batches = max(1, len(self._windows) // batch_size)
        self.summary = self._summarize(training + validation)

    def _summarize(self, used):
        """What becomes of all lines, of which `used` train or validate; see the class."""

        def count(lines, *without):
            number = len(lines) - sum(map(len, without))
            points = sum(map(len, lines)) - sum(len(line) for part in without for line in part)
            return f"{number:,} line{'s' * (number != 1)} ({points:,} points)"

        parts = [
            f"{count(self.data)} train, {count(self.valid_data)} validate",
            f"{count(used, self.data, self.valid_data)} left out because they have "
            f"seq_length + 2 = {self.seq_length + 2} points or fewer",
        ]
        if len(used) < len(self.raw_data):
            parts.append(f"{count(self.raw_data, used)} kept for tests or in no list")
        if self.num_damaged:
            parts.append(f"{self.num_damaged:,} damaged files left out")
        return f"Data in {self.folder}: {'; '.join(parts)}."

    def _scale(self, lines):
        """The lines' points in scaled units in one array, the lines' offsets in it, and the lines
        as views of it."""
        offsets = np.cumsum([0] + [len(line) for line in lines])
        points = np.concatenate([np.zeros((0, 3)), *lines], dtype=np.float32)
        moves = np.clip(points[:, :2], -self.limit, self.limit, out=points[:, :2])
        moves /= self.scale_factor
        return points, offsets, [points[start:end] for start, end in itertools.pairwise(offsets)]

    def select(self, split):
        """The places in raw_data of a split's lines of two points or more: "valid", "all", "test"
        (UNIPEN's writers who are kept for tests), or a list SPLIT.txt of forms in the data folder.

        Raises UserError if there is no such list or line, or the cache does not name its lines.
        """
        path = os.path.join(self.folder, f"{split}.txt")
        chosen = self.validates if split == "valid" else [True] * len(self.raw_data)
        if split == "test":
            used = zip(self.hands, self.trains, self.validates, strict=True)
            chosen = [
                str(hand).startswith(database.PENS) and not (trains or validates)
                for hand, trains, validates in used
            ]
        elif split not in ("valid", "all"):
            listed = database.read_list(path)
            if self.names is None:
                raise UserError(
                    f"The cache in {self.folder} has no names of lines, so the list {path} does "
                    "not tell which are meant; put the database's own files there and delete it."
                )
            chosen = [hand in listed for hand in self.hands]
        places = [k for k, line in enumerate(self.raw_data) if chosen[k] and len(line) >= 2]
        if not places and split == "test":
            what = f"UNIPEN in {self.folder} by {FEW_HANDS} writers or more"
            raise UserError(f"There is no {what}, of which a tenth is kept for tests.")
        if not places:
            words = f"No line in {self.folder} is of a form in {path}"
            raise UserError(f"{words}; correct the list, or use another.")
        return places

    def scaled(self, lines):
        """Lines [n, 3] in pen units, moves capped, in scaled units, float32."""
        return self._scale(lines)[2]

    def next_batch(self):
        """x and y, float32 [B, T, 3] in scaled units, y one point ahead of x.

        Each window's line is drawn in proportion to len(line) // (seq_length + 2), its start
        uniformly, but with probability first_points where the line begins: half of these windows
        start at its first point, and half at START before that, as samples do.
        """
        self.drawn += 1
        line = self.rng.choice(self._windows, self.batch_size)
        start = self._firsts[line] + self.rng.integers(self._lengths[line] - self.seq_length)
        if self.first_points:
            chance = self.rng.random(self.batch_size) / self.first_points
            start = np.where(chance < 1, self._firsts[line] - (chance < 0.5), start)
        rows = start[:, None] + np.arange(self.seq_length)
        return self._points[rows], self._points[rows + 1]
