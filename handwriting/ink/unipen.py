"""UNIPEN files: labelled ink of many makers' pens, as in UNIPEN train_r01_v07.

A keyword begins with a dot in column 1; what follows up to the next one is its value. `.INCLUDE
NAME` stands for the file NAME in the folder `include`. `.PEN_DOWN` and `.PEN_UP` begin a component,
whose points follow, with the columns of `.COORD`. Components count from 0 over a file with all that
it includes, but an empty `.PEN_UP` does not count. `.SEGMENT LEVEL RANGES QUALITY "LABEL"` says
what a CHARACTER, WORD or TEXT is: components such as `3-7`, `0-5,9` or `3:10-5:20`
(component:point), without ranges those up to the next segment.

Sources: I. Guyon, L. Schomaker, R. Plamondon, M. Liberman and S. Janet, "UNIPEN project of on-line
data exchange and recognizer benchmarks" (ICPR 1994); train_r01_v07 (doi 10.5281/zenodo.1195803).
"""

import contextlib
import functools
import itertools
import lzma
import os
import re
import tarfile
import zlib
from typing import NamedTuple

from handwriting.files import UserError
from handwriting.ink.database import source_files
from handwriting.ink.recording import read_file

import numpy as np
from tqdm import tqdm

SOURCE = re.compile("unipen|train_r01_v07", re.IGNORECASE)  # in the name of a folder or archive
ARCHIVE = re.compile(r"\.(tar|tgz|tar\.gz|tar\.xz|tar\.bz2)$", re.IGNORECASE)
MEMBER = re.compile("(?:^|/)(data|include)/([^/]+)/(.+)")
CATEGORIES = ("1a", "1b", "1c", "1d", "7", "8")  # digits, capitals, letters, symbols, words, texts

DEPTH = 8  # includes within includes, at most
KEYWORD = re.compile(rb"^\.(\w+)[ \t]*", re.MULTILINE)
SEGMENT = re.compile(r'(\w+)\s+(?:([\d:,-]+)\s+)?(\S+)\s+"(.*)"', re.DOTALL)
RANGE = re.compile(r"(\d+)(?::(\d+))?(?:-(\d+)(?::(\d+))?)?")
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
PER_INCH = {"POINTS_PER_INCH": 1.0, "POINTS_PER_MM": 25.4}
READ = {b"INCLUDE", b"COORD", b"PEN_DOWN", b"PEN_UP", b"SEGMENT", b"WRITER_ID"}
READ |= {f"{axis}_{unit}".encode() for axis in "XY" for unit in PER_INCH}


class Segment(NamedTuple):
    """A piece of labelled ink."""

    level: str  # CHARACTER, WORD or TEXT
    quality: str
    text: str
    strokes: list  # float64 [n, 2] each: x, y in the file's own unit, y downwards


class Ink(NamedTuple):
    """What a file holds."""

    writer: str  # as the file calls its writer; empty if it does not
    segments: list  # of Segment
    components: list  # of Component, of which those with the pen down are strokes


@functools.lru_cache(maxsize=256)
def parse_keywords(content):
    """A list of (keyword, value in bytes) of a file's content, without those of documentation."""
    found = list(KEYWORD.finditer(content))
    starts = [match.start() for match in found] + [len(content)]
    return [
        (match[1].decode(), content[match.end() : end].strip())
        for match, end in zip(found, starts[1:], strict=True)
        if match[1] in READ
    ]


class Component(NamedTuple):
    """A stroke, or a way of the lifted pen, that is not read yet."""

    down: bool
    value: bytes
    columns: list
    unit: np.ndarray  # [2]: what x and y are multiplied by

    def points(self):
        """Its points, float64 [n, 2]."""
        if self.value.translate(None, b"0123456789- \t\r\n"):  # decimals, a comment, or damage
            numbers = np.array(NUMBER.findall(self.value), float)
        else:  # of nothing NumPy makes a number
            numbers = np.fromstring(self.value or b"0", np.int64, sep=" ")
        size = len(self.columns)
        rows = numbers[: len(numbers) // size * size].reshape(-1, size)
        points = rows[:, [self.columns.index("X"), self.columns.index("Y")]]
        return points[points.any(axis=1)] * self.unit  # (0, 0) where a tablet told no point


def expand(content, read_include, depth=0):
    """A list of the (keyword, value) of a file and of all that it includes, in order."""
    found = []
    for keyword, value in parse_keywords(content):
        if keyword != "INCLUDE":
            found.append((keyword, value))
        elif depth < DEPTH and (name := value.decode("latin-1")):
            included = read_include(name)
            if included is not None:
                found += expand(included, read_include, depth + 1)
    return found


def cut(ranges, components):
    """The strokes [n, 2] of a segment's ranges of components; None if they are not all there."""
    strokes = []
    for part in ranges.split(","):
        match = RANGE.fullmatch(part)
        if not match:
            return None
        first, start, last, stop = (None if n is None else int(n) for n in match.groups())
        last = first if last is None else last
        if last >= len(components):
            return None
        for k in range(first, last + 1):
            if components[k].down:
                low = start or 0 if k == first else 0
                high = stop + 1 if k == last and stop is not None else None
                strokes.append(components[k].points()[low:high])
    return [stroke for stroke in strokes if len(stroke)]


def parse_unipen(content, read_include=lambda name: None):
    """The Ink in a UNIPEN file's content (bytes).

    read_include: a function from the name of an included file to its content, or to None where
    that is not there. Raises UserError if there is no ink in it.
    """
    components, labels, columns, writer = [], [], ["X", "Y"], ""
    per_inch = {"X": 1.0, "Y": 1.0}
    unit = np.array([1.0, -1.0])  # y points up in these files
    for keyword, value in expand(content, read_include):
        if keyword == "PEN_DOWN" or (keyword == "PEN_UP" and value):
            components.append(Component(keyword == "PEN_DOWN", value, columns, unit))
        elif keyword == "SEGMENT":
            labels.append((len(components), SEGMENT.match(value.decode("latin-1"))))
        elif keyword == "COORD" and {"X", "Y"} <= set(value.decode("latin-1").split()):
            columns = value.decode("latin-1").split()
        elif keyword == "WRITER_ID":
            writer = writer or " ".join(value.decode("latin-1").split())
        elif keyword[:2] in ("X_", "Y_") and (number := NUMBER.match(value)):
            per_inch[keyword[0]] = float(number[0]) * PER_INCH[keyword[2:]] or 1.0
            unit = np.array([1.0, -per_inch["X"] / per_inch["Y"]])
    if not any(component.down for component in components):
        raise UserError("holds no ink in UNIPEN's format")
    segments = []
    for (start, match), (end, _) in itertools.pairwise([*labels, (len(components), None)]):
        if strokes := match and cut(match[2] or f"{start}-{end - 1}", components):
            text = re.sub(r'\\(["\\])', r"\1", match[4])
            segments.append(Segment(match[1].upper(), match[3].upper(), text, strokes))
    return Ink(writer, segments, components)


# ------------------------------------------------------------------------------ archives, folders


def find_unipen(data_dir):
    """Paths of UNIPEN's archives and folders in a data folder, sorted."""
    known = [entry for entry in os.listdir(data_dir) if SOURCE.search(entry)]
    paths = [os.path.join(data_dir, entry) for entry in sorted(known)]
    return [path for path in paths if os.path.isdir(path) or ARCHIVE.search(path)]


def read_members(source):
    """Yield (path, content) of all files in a folder or archive that may be of use."""
    if os.path.isdir(source):
        for path in source_files(source, ""):
            if wanted(path):
                yield path, read_file(path)
        return
    try:
        with tarfile.open(source, "r|*") as tar:
            for member in tar:
                if member.isreg() and wanted(member.name):
                    yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
        reason = f"{source} is not a whole archive ({error}); copy or download it again."
        raise UserError(reason) from None


def wanted(path):
    match = MEMBER.search(path.replace(os.sep, "/"))
    return match and (match[1] == "include" or match[2] in CATEGORIES) and path[-4:] != ".lex"


def read_files(source):
    """The labelled files of a folder or archive, as published: a sorted list of (maker, category,
    path, content) of those in data/CATEGORY/MAKER of CATEGORIES, and all files in include, name ->
    content, which lie in folders of their makers.

    Raises UserError if the source is not whole or holds no such files.
    """
    included, labelled = {}, []
    for path, content in read_members(source):
        match = MEMBER.search(path.replace(os.sep, "/"))
        if match[1] == "include":
            included[f"{match[2]}/{match[3]}"] = content
        else:
            labelled.append((match[3].split("/")[0], match[2], path, content))
    if not labelled:
        raise UserError(f"{source} holds no UNIPEN files data/CATEGORY/MAKER/...; copy it again.")
    return sorted(labelled, key=lambda item: item[:3]), included


def parse_files(labelled, included):
    """Yield (maker, category, Ink) of each file of `read_files` that holds ink."""
    for maker, category, _, content in tqdm(labelled, "UNIPEN", unit=" files", disable=None):
        with contextlib.suppress(UserError):  # a file without ink
            yield maker, category, parse_unipen(content, included.get)


def read_unipen(source):
    """Yield (maker, category, Ink) of each labelled file in a folder or archive. Raises
    UserError."""
    yield from parse_files(*read_files(source))


def read_unipen_file(path):
    """The Ink in a file; what it includes is looked for beside it and in the folders `include` of
    those that it lies in. Raises UserError."""
    folders, folder = [], os.path.dirname(os.path.abspath(path))
    while folder not in folders:
        folders += [folder]
        folder = os.path.dirname(folder)

    def read_include(name):
        for folder in folders:
            for included in (os.path.join(folder, name), os.path.join(folder, "include", name)):
                if os.path.isfile(included):
                    return read_file(included)
        return None

    return parse_unipen(read_file(path), read_include)
