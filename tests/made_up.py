"""Made-up files of the database, and files damaged in every way."""

import io
import tarfile
import warnings

from conftest import ROOT, make_line
from handwriting.files import UserError
from handwriting.ink import export
from utils import DataLoader

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

REFERENCE = ROOT / "tests" / "reference"
TAR, TEXTS = "lineStrokes-all.tar.gz", "ascii-all.tar.gz"


def mutations(number):
    """The settings of a test of this many mutations, always the same ones."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=number, derandomize=True, deadline=None, database=None,
        suppress_health_check=checks,
    )  # fmt: skip


NASTY = [b"", b"\0", b"\xff", b'"', b"-", b"9" * 30, b"1e308", b"nan", b"../", b"<a>" * 300]
NASTY += [b"&e;", b"\xff\xff\xff\x7f", b"\x80\x02]q\x00", b"(" * 40, b"[" * 300]


@st.composite
def edits(draw):
    """A function that edits bytes at one to three places."""
    edit = st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([0, 1, 1, 1, 2, 8, 100, 10**9]),
        st.one_of(st.binary(max_size=4), st.sampled_from(NASTY)),
    )
    drawn = draw(st.lists(edit, min_size=1, max_size=3))

    def edited(content):
        for place, size, new in drawn:
            at = int(place * len(content))
            content = content[:at] + new + content[at + size :]
        return content

    return edited


def read_or_refused(read, name):
    """What `read` returns; None if it raised a UserError whose sentence has the name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except UserError as error:
            assert str(name) in str(error)
            return None


def xml(number=0, points=9):
    """The XML of a line whose first move is (number, 100)."""
    made = make_line(points, np.random.default_rng(number))
    left = np.cumsum(made[:, 0]).min()
    text = export.line_to_xml(made).decode()
    box = text[text.index("<Diagonally") : text.index("</Whiteboard")]
    first = np.cumsum(made[:, 0])[0] - left + 1000 - number
    return text.replace(box, f'<VerticallyOppositeCoords x="{first + 100}" y="1000"/>').encode()


def folder_of(path, numbers):
    """Write lines, {name: number for `xml`, or bytes}, into path/lineStrokes; return path."""
    for name, number in numbers.items():
        file = path / "lineStrokes" / name.partition("-")[0] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(number if isinstance(number, bytes) else xml(number))
    return path


def tar_of(path, members, mode="w:gz"):
    """Write an archive of {name, or TarInfo: content}; return its folder."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path.parent


def forty(first=1, last=40):
    return {f"f{i // 5:02d}-{i % 5 + 1:02d}.xml": i + 1 for i in range(first - 1, last)}


def load(path):
    return DataLoader(seq_length=2, data_dir=path)


def numbers(loader):
    """The numbers for `xml` of a loader's lines."""
    return [int(array[0, 0]) for array in loader.raw_data]


BOX = '<DiagonallyOppositeCoords x="150" y="90"/><VerticallyOppositeCoords x="100" y="90"/>'
BOX = f'<SensorLocation corner="top_left"/>{BOX}<HorizontallyOppositeCoords x="150" y="50"/>'


def xml_of(strokes, box=BOX, head='<?xml version="1.0" encoding="ISO-8859-1"?>'):
    """The text of a file with the given strokes, each a text or a list of (x, y)."""
    texts = [
        "".join(f'<Point x="{x}" y="{y}" time="1.25"/>\n' for x, y in stroke)
        if isinstance(stroke, list)
        else stroke
        for stroke in strokes
    ]
    inside = "".join(f"<Stroke>{text}</Stroke>" for text in texts)
    return (
        f"{head}<WhiteboardCaptureSession><WhiteboardDescription>{box}</WhiteboardDescription>"
        f"<StrokeSet>{inside}</StrokeSet></WhiteboardCaptureSession>"
    )
