"""Sheets of paper: a text file becomes pages of straight, broken and aligned lines.

The network draws the text in pieces of about PIECE characters, in one hand. What it drew, cut into
words, is set like type, and then a little unevenly, as people write. Lengths are in millimetres.
"""

import argparse
import itertools
import re
import textwrap
import warnings
from typing import NamedTuple

from handwriting.drawing.svg import Layer, write_svg
from handwriting.drawing.unevenness import Unevenness
from handwriting.files import UserError
from handwriting.flags import number, one_line, say

import numpy as np

PAPERS = {
    "A3": (297.0, 420.0), "A4": (210.0, 297.0), "A5": (148.0, 210.0), "A6": (105.0, 148.0),
    "Letter": (215.9, 279.4), "Legal": (215.9, 355.6),
}  # fmt: skip
PIECE = 60  # characters drawn as one line: about as many as a line of the database has
TAB = 4  # spaces, as far as an indent
INDENT = 4.0  # x-heights
SMALL = 0.27  # of the distance of two lines: the x-height where none is given
RULE = ("#9fc0dc", 0.15)  # colour and width of ruled lines
SHARE = {"left": 0.0, "justify": 0.0, "center": 0.5, "right": 1.0}  # of the room, left of a line
# Flags that say how a sheet looks.
FLAGS = (
    "margin", "line_spacing", "x_height", "align", "unevenness", "ruled", "pen_width", "color"
)  # fmt: skip


class Paragraph(NamedTuple):
    """A line of a text file."""

    indent: float  # tabs
    pieces: list  # of str; none: an empty line


def paper(text):
    """An argparse type: width and height of a paper."""
    sizes = {name.lower(): size for name, size in PAPERS.items()}
    found = re.fullmatch(r"(\d+\.?\d*)x(\d+\.?\d*)", text)
    size = tuple(map(float, found.groups())) if found else sizes.get(text.lower())
    if not size or not 10 <= min(size) <= max(size) <= 5000:
        names = ", ".join(PAPERS)
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {names} and not WIDTHxHEIGHT in mm of 10 to 5000, such as 297x210"
        )
    return size


def color(text):
    """An argparse type: a colour as SVG names it."""
    from matplotlib.colors import CSS4_COLORS

    if not re.fullmatch(r"#([\da-fA-F]{3}){1,2}", text) and text.lower() not in CSS4_COLORS:
        raise argparse.ArgumentTypeError(f"{text!r} is no colour such as navy or #102a6b")
    return text


def add_flags(parser):
    """The flags of sheets."""
    group = parser.add_argument_group("sheets of paper, lengths in mm")
    add = group.add_argument
    add("--paper", type=paper, metavar="SIZE",
        help=f"set the text on sheets, NAME.page-1.svg and so on: {', '.join(PAPERS)} or "
             "WIDTHxHEIGHT, wide ones, too; a line of the text file is a paragraph, tabs indent it")
    add("--margin", type=number(float, 0, 1000), default=20.0, help="no mark is nearer to an edge")
    add("--line_spacing", type=number(float, 1, 1000), default=8.0, help="from line to line")
    add("--x_height", type=number(float, 0.5, 100),
        help=f"height of an x (unset: {SMALL} of the line spacing)")
    add("--align", choices=list(SHARE), default="left", help="where lines begin and end")
    add("--unevenness", type=number(float, 0, 1), default=0.3,
        help="of gaps, edges and baselines: 0 typeset, 1 as people write on unruled paper")
    add("--ruled", action="store_true", help="also draw ruled lines, as a layer of their own")
    add("--pen_width", type=number(float, 0.01, 20), default=0.4, help="width of the strokes")
    add("--color", type=color, default="black", help="their colour, a name or #rrggbb")


def check_flags(parser, args, given):
    """End with a sentence if flags clash. given: those of the command line."""
    if not args.paper:
        for name in FLAGS:
            if name in given:
                parser.error(f"argument --{name}: goes with --paper, which is missing")
        return
    for name in ("num_samples", "scale_factor", "plot", "smooth", "line_strokes"):
        if name in given:
            parser.error(f"argument --{name}: does not go with --paper")
    if args.text is None and args.text_file is None:
        parser.error("argument --paper: goes with --text_file or --text, which is missing")
    if args.x_height and args.x_height > args.line_spacing / 2:
        parser.error("argument --x_height: more than half of --line_spacing makes lines collide")
    width, height = args.paper
    if min(width, height) - 2 * args.margin - args.pen_width < 5:
        parser.error(
            f"argument --margin: {args.margin:g} mm on all sides leave less than 5 of "
            f"{width:g} x {height:g} mm"
        )


# ------------------------------------------------------------------------------------------- text


def read_paragraphs(lines):
    """The Paragraphs of a text's lines, less empty ones at the end.

    Their pieces are cut at spaces, so that those of a paragraph are of about the same length.
    """
    paragraphs = []
    for line in lines:
        words, spaces = " ".join(line.split()), line.expandtabs(TAB)
        number_of_pieces = -(-len(words) // PIECE)
        width = -(-len(words) // max(number_of_pieces, 1)) + PIECE // 10
        pieces = textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)
        indent = (len(spaces) - len(spaces.lstrip())) / TAB
        paragraphs.append(Paragraph(indent if pieces else 0.0, pieces))
    while paragraphs and not paragraphs[-1].pieces:
        paragraphs.pop()
    return paragraphs


# ----------------------------------------------------------------------------------------- layout


def set_paragraph(words, room, indent, align, edges):
    """The rows of a paragraph of Words in mm, each a list of strokes [k, 2]: x from the left
    margin, y from the baseline. An empty paragraph is an empty row. The last is not stretched.

    edges: yields for each row how far its ends stay within the margins.
    """
    rows = break_rows(words, room, indent, edges)
    last = "left" if align == "justify" else align
    aligns = [align] * (len(rows) - 1) + [last]
    return [set_row(*row, align) for row, align in zip(rows, aligns, strict=False)] or [[]]


def break_rows(words, room, indent, edges):
    """The words of each row, which takes as many as have room, and its ends: tuples of words, left
    and right. The first row begins at the indent.
    """
    rows, right, end = [], 0.0, 0.0
    for word in words:
        end += word.gap + word.width
        if rows and end <= right:
            rows[-1][0].append(word)
            continue
        left, inset = next(edges)
        left, right = left + (0.0 if rows else indent), room - inset
        first = fit(word, right - left)
        rows.append(([first], left, right))
        end = left + first.width
    return rows


def fit(word, room):
    """The word; made smaller, with a warning, where it is wider than a line."""
    if word.width <= room:
        return word
    warnings.warn(f"{word.text} is longer than a line and drawn smaller", stacklevel=2)
    return word.scaled(room / word.width)


def set_row(words, left, right, align):
    """The strokes of one row, from `left` to `right`."""
    gaps = np.array([word.gap for word in words[1:]])
    free = right - left - sum(word.width for word in words) - gaps.sum()
    if align == "justify" and len(gaps):
        gaps += free / len(gaps)
    starts = np.cumsum([word.width for word in words[:-1]] + gaps)
    starts = left + SHARE[align] * free + np.append(0.0, starts)
    return [
        np.add(stroke, (start, 0))
        for word, start in zip(words, starts, strict=True)
        for stroke in word.strokes
    ]


def set_pages(rows, size, margin, spacing):
    """Pages of a size (width, height), each a list of strokes, and the heights of all baselines
    that a page has.

    The first baseline is so low, and the last so high, that the highest and the lowest mark of all
    rows would stay within the margins. Raises UserError where no row has room.
    """
    heights = np.concatenate([stroke[:, 1] for row in rows for stroke in row])
    first, last = margin - heights.min(), size[1] - margin - heights.max()
    if first > last:
        raise UserError(
            "argument --paper: a line needs more height than the margins leave; make --margin or "
            "--x_height smaller"
        )
    baselines = np.arange(first, last + 1e-6, spacing)
    pages = []
    for start in range(0, len(rows), len(baselines)):
        page = zip(rows[start : start + len(baselines)], baselines, strict=False)
        pages.append([np.add(stroke, (margin, y)) for row, y in page for stroke in row])
    return pages, baselines


def set_rows(words, args, room, rng):
    """The rows of all paragraphs, as set_paragraph gives them; an Unevenness makes them uneven.

    words: as write_sheets has them. room: from margin to margin.
    """
    x_height = args.x_height or SMALL * args.line_spacing
    uneven = Unevenness(args.unevenness, x_height, rng)
    words, rows = iter(words), []
    for paragraph in args.paragraphs:
        pieces = itertools.islice(words, len(paragraph.pieces))
        scaled = [uneven.vary_gap(word.scaled(x_height)) for piece in pieces for word in piece]
        indent = min(paragraph.indent * INDENT * x_height, room / 2)
        rows += set_paragraph(scaled, room, indent, args.align, uneven.edges)
    return [uneven.move_row(row, room) for row in rows]


def write_sheets(words, args, rng):
    """Write sheets, as the flags say; returns their names.

    words: for each piece of args.paragraphs its Words, in x-heights. rng: a NumPy Generator, from
    which all unevenness comes.
    """
    margin = args.margin + args.pen_width / 2
    rows = set_rows(words, args, args.paper[0] - 2 * margin, rng)
    pages, baselines = set_pages(rows, args.paper, margin, args.line_spacing)
    edges = args.margin + RULE[1], args.paper[0] - args.margin - RULE[1]
    rules = [np.array([[edges[0], height], [edges[1], height]]) for height in baselines]
    names = []
    for number_of_page, strokes in enumerate(pages, 1):
        name = f"{args.filename}.page-{number_of_page}"
        writing = Layer("writing", strokes, args.color, args.pen_width, smooth=True)
        layers = [Layer("ruled lines", rules, *RULE)] * args.ruled + [writing]
        write_svg(f"{name}.svg", args.paper, layers)
        names.append(f"{name}.svg")
        say(one_line(f"Wrote {name}.svg"))
        if args.animate:
            write_svg(f"{name}.animated.svg", args.paper, layers, args.speed)
            say(one_line(f"Wrote {name}.animated.svg"))
    return names
