"""InkML as strokes, also OneNote's.

Source: Ink Markup Language (W3C, 2011): 3.1 on formats of traces, 3.2 on traces and groups, 4.2 on
contexts. What a word says is written as Windows' ink analysis does, in a literal of EMMA.
"""

import re
from statistics import mode
from typing import NamedTuple

from handwriting.files import UserError
from handwriting.ink.page_lines import number_lines, share_text
from handwriting.ink.xml_tree import check_strokes, read_tree

import numpy as np

ANNOTATIONS = ("truth", "transcription", "text", "label")  # types that tell what a line says
MILLIMETRES = {"m": 1000, "cm": 10, "mm": 1, "himetric": 0.01, "in": 25.4, "pt": 25.4 / 72}
MILLISECONDS = {"s": 1000, "us": 1e-3, "ns": 1e-6}
VALUE = re.compile(  # in text whose white space is single blanks
    r""" ?([!'"]?) ?([TF*?]|[-+]? ?(?:#[\dA-Fa-f]{1,15}|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)) ?"""
)
ORDERS = {"!": 0, "'": 1, '"': 2}  # of the differences that values are
REFERENCES = ("contextRef", "traceFormatRef", "inkSourceRef")
IDS = ("id", "{http://www.w3.org/XML/1998/namespace}id")


class Format(NamedTuple):
    """What the values of a point are."""

    names: list  # of channels
    regular: int  # so many of them have a value in each point
    scale: list  # what x, y and time are multiplied by


# ------------------------------------------------------------------------------------- formats


def read_format(element):
    """The Format that a traceFormat tells. Raises UserError."""
    channels = element.findall("channel")
    regular = len(channels)
    channels += element.findall("intermittentChannels/channel")
    if not channels:
        return Format(["X", "Y"], 2, [1, 1, 1])
    by_name = {channel.get("name"): channel for channel in channels}
    if not {"X", "Y"} <= set(by_name):
        raise UserError("has no channels X and Y; save positions")
    units = [MILLIMETRES.get(by_name[name].get("units")) for name in "XY"]
    ratio = 1 if None in units else units[1] / units[0]
    turns = [-1 if by_name[name].get("orientation") == "-ve" else 1 for name in "XY"]
    time = MILLISECONDS.get(by_name["T"].get("units"), 1) if "T" in by_name else 1
    return Format([c.get("name") for c in channels], regular, [turns[0], turns[1] * ratio, time])


def refer(element, ids):
    """The traceFormat that an element refers to, by way of a context or source; None if none."""
    for _ in range(8):  # no further, since references may lead back
        reference = next(filter(None, map(element.get, REFERENCES)), "#")
        element = ids.get(reference.rpartition("#")[2])
        if element is None or element.tag == "traceFormat":
            return element
        for inside in ("traceFormat", "inkSource/traceFormat"):
            if (found := element.find(inside)) is not None:
                return found
    return None


def find_formats(root):
    """The Format of each element: that which it, or what it is in, refers to, else the document's
    first. Raises UserError."""
    ids = {element.get(name): element for element in root.iter() for name in IDS}
    formats = {root: read_format(next(root.iter("traceFormat"), root))}
    known = {}
    for parent in root.iter():
        for child in parent:
            references = tuple(map(child.get, REFERENCES))
            if references not in known:
                found = refer(child, ids)
                known[references] = None if found is None else read_format(found)
            formats[child] = known[references] or formats[parent]
    return formats


# ------------------------------------------------------------------------------------- traces


def read_values(row):
    """The (prefix, value) of each channel in a point, which need no white space between them."""
    row = " ".join(row.split())
    found = list(VALUE.finditer(row))
    if sum(len(match[0]) for match in found) < len(row):
        wrong = VALUE.sub("", row)[:20]
        raise UserError(f"has {wrong!r} in a trace, which is no value of InkML; correct it")
    return [match.groups() for match in found]


def read_number(value):
    if value in "TF":
        return float(value == "T")
    sign, is_hex, digits = value.replace(" ", "").rpartition("#")
    return float(int(sign + digits, 16)) if is_hex else float(digits)


def read_trace(text, format_):
    """The points of a trace as [n, 3]: explicit values (!, and at first), differences (') and
    differences of these ("), the same once more (*); points of unknown (?) place are left out.
    Raises UserError.
    """
    names, regular, scale = format_
    rows = (text or "").strip().removesuffix(",").split(",")
    if not rows[0]:
        raise UserError("has a trace without points; remove it")
    axes = [names.index(name) for name in ("X", "Y", "T") if name in names]
    orders, said, steps, now = ([0] * len(names) for _ in range(4))  # of each channel
    points = []
    for number, row in enumerate(rows):
        found = read_values(row)
        if len(found) < regular:
            wanted = ", ".join(map(str, names[:regular]))
            raise UserError(f"has a point without all of its channels {wanted}; correct it")
        known = [True] * len(names)
        for k, (prefix, value) in enumerate(found[: len(names)]):
            orders[k] = ORDERS.get(prefix, orders[k])
            known[k] = value != "?"
            if known[k]:
                said[k] = said[k] if value == "*" else read_number(value)
                place = said[k] + (orders[k] > 0) * now[k] + (orders[k] > 1) * steps[k]
                steps[k], now[k] = place - now[k] if number else 0, place
        if known[axes[0]] and known[axes[1]]:
            points.append([*(now[k] for k in axes), 0.0][:3])
    if not points:
        raise UserError("has a trace without points; remove it")
    return np.array(points, float) * scale


# -------------------------------------------------------------------------------------- groups


def read_text(element):
    """What the annotations of a group say that is in it, or None."""
    notes = element.findall("annotation")
    notes = [note for note in notes if note.get("type", "").lower() in ANNOTATIONS]
    notes += [word for note in element.findall("annotationXML") for word in note.iter("literal")]
    said = [note.text.strip() for note in notes if note.text and note.text.strip()]
    return said[0] if said else None


def divide_words(words, text):
    """The lines, (strokes, text or None) each, of words, (strokes, text or None) each, which
    together say this text, or None. A text of one line is that of one line of ink; others are
    found by their height, and no word is torn. Raises UserError.
    """
    strokes = check_strokes([stroke for drawn, _ in words for stroke in drawn])
    if len(words) == 1:
        text = text or words[0][1]
        words = [([stroke], None) for stroke in strokes]
    if text and len(text.splitlines()) == 1:
        return [(strokes, text)]
    numbers, lines = iter(number_lines(strokes).tolist()), {}
    for drawn, said in words:
        own = [number for number in (next(numbers) for _ in drawn) if number >= 0]
        if own:
            lines.setdefault(mode(own), []).append((drawn, said))
    lines = [lines[number] for number in sorted(lines)]
    texts = share_text(text, len(lines))
    for k, line in enumerate(lines):
        if texts[k] is None and all(said for _, said in line):
            texts[k] = " ".join(said for _, said in line)
    drawn = [[stroke for drawn, _ in line for stroke in drawn] for line in lines]
    return list(zip(drawn, texts, strict=True))


def read_inkml(content):
    """The lines of InkML, (strokes, text or None) each: one for each traceGroup of traces, or of
    groups of traces, which are words; where it has no text, as many as are found by their height.
    Traces without a group are one. Times are those of a channel T. Raises UserError.
    """
    root = read_tree(content)
    if root.tag != "ink":
        raise UserError("is no InkML, whose root is ink; save it as InkML")
    formats, lines = find_formats(root), {}
    for parent in root.iter():
        for group in [parent] * (parent is root) + parent.findall("traceGroup"):
            traces = [trace for trace in group.findall("trace") if trace.get("type") != "penUp"]
            if traces:
                drawn = [read_trace(trace.text, formats[trace]) for trace in traces]
                word = parent.tag == "traceGroup" and group.find("traceGroup/trace") is None
                line = parent if word else group
                lines.setdefault(line, []).append((drawn, read_text(group)))
    if not lines:
        raise UserError("holds no ink; name a file with writing")
    whole = read_text(root) if len(lines) == 1 else None
    found = [divide_words(words, read_text(line) or whole) for line, words in lines.items()]
    return [line for part in found for line in part]
