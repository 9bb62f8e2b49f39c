"""XML from strangers: a tree without namespaces, and checks of the strokes in it."""

from xml.etree import ElementTree
from xml.parsers import expat

from handwriting.files import UserError

import numpy as np

MAX_POINTS = 1_000_000  # in a file


def read_tree(content):
    """The root of an XML document, without namespaces. Raises UserError; no entity is expanded."""

    def refuse(*_):
        raise UserError("declares entities, which ink has no need of; save it without")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
        root = ElementTree.fromstring(content)
    except UserError:
        raise
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"is not well-formed XML ({error}); save it again") from None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def check_strokes(strokes):
    """These strokes [n, 3], or UserError if they are none, or too large."""
    if not strokes:
        raise UserError("holds no ink; name a file with writing")
    if sum(map(len, strokes)) > MAX_POINTS:
        raise UserError(f"has over {MAX_POINTS:,} points; divide it")
    if not all((np.abs(stroke) < 1e12).all() for stroke in strokes):
        raise UserError("has a coordinate that is infinite or no number; correct it")
    return strokes
