"""Notes of Xournal++ and Xournal as strokes.

Source: files of Xournal++ 1.2, .xopp, and Xournal 0.4.8, .xoj: XML, mostly compressed by gzip.
"""

import io
import zlib
from gzip import BadGzipFile, GzipFile

from handwriting.files import UserError
from handwriting.ink.page_lines import divide
from handwriting.ink.xml_tree import check_strokes, read_tree

import numpy as np

MAX_BYTES = 64 << 20  # of XML; a page of writing has about 200 kB


def unpack(content):
    """The XML in a file's content. Raises UserError; unpacks no more than MAX_BYTES."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        xml = GzipFile(fileobj=io.BytesIO(content)).read(MAX_BYTES + 1)
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"is not whole ({error}); save it again") from None
    if len(xml) > MAX_BYTES:
        raise UserError(f"holds over {MAX_BYTES >> 20} MB; save fewer pages")
    return xml


def read_stroke(text):
    """The points of a stroke, x and y by turns, as [n, 3]; one is a dot. Raises UserError."""
    try:
        values = np.array((text or "").split(), float)
    except ValueError as error:
        raise UserError(f"has a stroke of more than numbers ({error}); save it again") from None
    if len(values) % 2 or not len(values):
        raise UserError(f"has a stroke of {len(values)} numbers, not of x and y; save it again")
    return np.pad(values.reshape(-1, 2), [(0, 0), (0, 1)])


def read_xournal(content):
    """The lines of writing on all pages, (strokes, None) each, found by their height. What is not
    drawn by a pen is left out: the background, highlighting, texts, pictures. Raises UserError.
    """
    root = read_tree(unpack(content))
    if root.tag != "xournal":
        raise UserError("is no note of Xournal++, whose root is xournal; save it there")
    pages = []
    for page in root.iter("page"):
        strokes = [stroke for stroke in page.iter("stroke") if stroke.get("tool", "pen") == "pen"]
        pages.append([read_stroke(stroke.text) for stroke in strokes])
    check_strokes([stroke for page in pages for stroke in page])
    return [(line, None) for page in pages if page for line in divide(page)]
