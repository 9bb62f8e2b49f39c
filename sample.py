"""Draw handwriting with a trained network: `python sample.py`, `python sample.py --text "..."`,
`python sample.py --text_file letter.txt --paper A4`, or `%run -i sample.py` in IPython;
`python sample.py --page handwriting.html`: a page that writes.

In IPython it leaves behind `model`, `sess` (the source of randomness), the `strokes` and `params`
that it drew, and the drawing functions of utils.py.
"""

import sys

if __name__ == "__main__":  # Ctrl-C while the rest is imported shows no traceback
    sys.excepthook = lambda kind, *error: (
        kind is KeyboardInterrupt or sys.__excepthook__(kind, *error)
    )

import os
import random
import warnings
from typing import NamedTuple

from handwriting.drawing import sheets
from handwriting.drawing.plots import plot_window
from handwriting.drawing.strokes import UNIT_MM, animate
from handwriting.drawing.svg import write_png
from handwriting.files import UserError
from handwriting.flags import (
    Parser,
    check_output,
    errors_as_sentences,
    file_name,
    number,
    one_line,
    say,
)
from handwriting.text.hands import find_lines, load_style
from handwriting.text.lines import MOST_POINTS
from handwriting.text.request import draw_texts, spell_texts
from handwriting.text.spelling import GAP
from handwriting.text.words import find_words
from utils import (
    LIMIT,
    draw_strokes,
    draw_strokes_eos_weighted,
    draw_strokes_pdf,
    draw_strokes_random_color,
    plot_density,
    write_line_strokes,
)

import numpy as np

MAX_POINTS = 2_000_000  # in all samples together: their mixtures of 20 components take a gigabyte
MAX_MOVE = 1e9  # pen units
WIDE = 400  # mm: about the long side of A3
PICTURES = ("normal.svg", "color.svg", "multi_color.svg", "eos_pdf.svg", "pdf.svg")


class Sample(NamedTuple):
    """What one sample's pictures show."""

    strokes: np.ndarray  # [n, 3] in pen units
    params: tuple  # the Mixture of each point
    given: int = 0  # how many of its first points come from --style
    text: str | None = None
    window: np.ndarray | None = None  # [n, U], where the window looked in the text


def build_parser():
    """All flags; those of the post's program keep its names and defaults."""
    parser = Parser("sample.py", "Draw handwriting as SVG.", 'a text is given as --text "..."')
    add = parser.add_argument
    add("--text", help="write this text, in one line")
    add("--text_file", metavar="FILE", type=file_name, help="write each line of this file; "
        "with --paper as one text")
    add("--plain", action="store_true",
        help="write what can be written, and leave a gap for the rest")
    add("--filename", default="sample", type=file_name, help="what the pictures' names begin with")
    add("--sample_length", default=800, type=number(int, 1, 1_000_000),
        help="points in a sample; of a text, at most so many (unset: as many as it needs)")
    add("--scale_factor", default=10.0, type=number(float, 0.001, 1e6),
        help="pen units in one unit of the pictures")
    add("--model_dir", default="save", type=file_name,
        help="folder of a run of train.py; where the default holds none, or with --text none that "
             "writes texts, the weights that come with the program draw")
    add("--seed", type=number(int, 0, 2**31 - 1), help="the same seed draws the same; unset: any")
    add("--num_samples", default=1, type=number(int, 1, 10_000),
        help="samples, of a text file of each line; several are numbered in the names of their "
             "pictures")
    add("--bias", type=number(float, 0, 20),
        help="above 0: neater and less varied, by likelier components and smaller deviations "
             "(unset: 0, of a text what reads well)")
    add("--style", metavar="NAME|FILE", type=file_name,
        help="go on in this hand: a file of ink (hand.json, lineStrokes .xml, .npy of points in "
             "pen units, .inkml, .svg, .xopp), or with --text a style in save/text or a line in "
             "data/")
    add("--style_text", metavar="TEXT", help="what the line in --style says")
    add("--smooth", action="store_true",
        help="draw curves in place of straight lines in NAME.normal.svg and NAME.animated.svg; "
             "sheets always have curves")
    add("--plot", action="store_true", help="also draw a heat map of densities, NAME.density.png, "
             "and of a text where the window looks, NAME.window.png")
    add("--png", action="store_true", help="also write every SVG but animations as a PNG beside it")
    add("--animate", action="store_true",
        help="also draw NAME.animated.svg, which shows in a browser how it is written, at the "
             "database's 67 points a second")
    add("--speed", type=number(float, 0.001, 1000), default=1.0, help="so many times as fast")
    add("--line_strokes", metavar="FILE.tar.gz", type=file_name,
        help="write the samples as lineStrokes XML in the database's format, texts as "
             "transcriptions beside it, each form of five lines in a hand of its own, and no "
             "pictures")
    add("--page", metavar="FILE.html", type=file_name,
        help="draw nothing, but write a page for browsers in which the network of --model_dir "
             "writes; it needs nothing else")
    sheets.add_flags(parser)
    return parser


def parse_flags(argv):
    """The flags. Ends with a sentence if they clash."""
    parser = build_parser()
    args, given = parser.parse_given(argv)
    if args.page and (others := sorted(set(given) - {"page", "model_dir"})):
        parser.error(f"argument --{others[0]}: does not go with --page, which draws nothing")
    for name in ("filename", "scale_factor", "smooth", "plot", "png", "animate"):
        if name in given and args.line_strokes:
            parser.error(f"argument --{name}: does not go with --line_strokes, which draws nothing")
    if args.text is not None and args.text_file:
        parser.error("argument --text: does not go with --text_file")
    if "speed" in given and not args.animate:
        parser.error("argument --speed: goes with --animate, which is missing")
    sheets.check_flags(parser, args, given)
    args.lines = read_lines(args)
    args.texts = [line.strip() for line in args.lines if line]
    if args.paper:
        args.paragraphs = sheets.read_paragraphs(args.lines)
        args.texts = [piece for paragraph in args.paragraphs for piece in paragraph.pieces]
    if args.style_text and not (args.style and args.texts):
        parser.error("argument --style_text: goes with --style and a text, which is missing")
    if args.plain and not args.texts:
        parser.error("argument --plain: goes with a text, which is missing")
    if args.texts and "sample_length" not in given:
        args.sample_length = 0  # no limit
    num = args.num_samples * max(1, len(args.texts))
    length = args.sample_length or MOST_POINTS * max(map(len, args.texts))
    if num * length > MAX_POINTS:
        parser.error(
            f"argument --num_samples: {num} samples of {length} points are more than {MAX_POINTS} "
            "points; draw fewer or shorter samples"
        )
    return args


def read_lines(args):
    """The lines of the text to write, a list of str, empty where none is asked for.

    Raises UserError.
    """
    if args.text is not None and not args.text.strip():
        raise UserError("the text is empty; give at least one character")
    if args.text_file is None:
        return [] if args.text is None else [args.text.rstrip()]
    try:
        with open(args.text_file, encoding="utf-8-sig") as file:
            lines = [line.rstrip() for line in file.read().splitlines()]
    except OSError as error:
        raise UserError(f"--text_file {args.text_file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"--text_file {args.text_file} is no text in UTF-8") from None
    if not any(lines):
        raise UserError(f"--text_file {args.text_file} holds no text")
    return lines


def file_names(args):
    """What the names of each sample's pictures begin with. Raises UserError."""
    if args.line_strokes:
        check_output(args.line_strokes, "--line_strokes", ".tar.gz")
        return []
    if os.path.basename(args.filename) in ("", ".", ".."):
        raise UserError(f"--filename {args.filename} is a folder; add what the names begin with")
    if args.paper:
        check_output(f"{args.filename}.page-1.svg", "--filename")
        return []
    names = [args.filename]
    for count in (len(args.texts), args.num_samples):  # NAME-TEXT-SAMPLE
        digits, several = len(str(count)), range(1, count + 1) if count > 1 else ()
        names = [f"{name}-{k:0{digits}d}" for name in names for k in several] or names
    kinds = PICTURES + ("density.png", *["window.png"] * bool(args.texts)) * args.plot
    for name in names:
        for kind in kinds:
            check_output(f"{name}.{kind}", "--filename")
    return names


def draw_pictures(sample, filename, scale_factor, plot=False, smooth=False):
    """Write the pictures of one Sample: NAME.normal.svg, with curves if smooth, and its four
    relatives; with plot also NAME.density.png, and NAME.window.png of a text.
    """
    strokes, params = sample.strokes, sample.params
    draw_strokes(strokes, scale_factor, f"{filename}.normal.svg", sample.given, smooth)
    draw_strokes_random_color(strokes, scale_factor, f"{filename}.color.svg")
    multi_color = f"{filename}.multi_color.svg"
    draw_strokes_random_color(strokes, scale_factor, multi_color, per_stroke_mode=False)
    draw_strokes_eos_weighted(strokes, params, scale_factor, f"{filename}.eos_pdf.svg")
    draw_strokes_pdf(strokes, params, scale_factor, f"{filename}.pdf.svg")
    more = ""
    if plot:
        plot_density(strokes, params, f"{filename}.density.png")
        more = f" and {filename}.density.png"
    if plot and sample.text:
        plot_window(strokes, sample.window, sample.text, f"{filename}.window.png")
        more = f" and {filename}.{{density,window}}.png"
    say(one_line(f"Wrote {filename}.{{normal,color,multi_color,eos_pdf,pdf}}.svg{more}"))


def find_hand(args):
    """What --style names, None without it: for texts a Style, else the points of its first line.

    Raises UserError.
    """
    if not args.style:
        return None
    if args.texts:
        return load_style(args.style, args.style_text)
    return find_lines(args.style)[0][0].clip(-LIMIT, LIMIT)


def draw_freely(args, model, sess, style):
    """The Samples of a network without text; style: the points that all begin with, or None."""
    bias, length = args.bias or 0.0, args.sample_length
    strokes, params = model.sample_batch(sess, length, args.num_samples, bias, style)
    given = strokes.shape[1] - length
    return [
        Sample(row, type(params)(*(v[k] for v in params)), given) for k, row in enumerate(strokes)
    ]


def draw_samples(args):
    """Draw as the flags say; returns model, sess, the first sample's strokes and params."""
    names, style = file_names(args), find_hand(args)

    from handwriting.network.checkpoint import find_run
    from model import restore

    import tensorflow as tf

    folder = find_run(args.model_dir, bool(args.texts))
    model = restore(folder)
    if model.alphabet and not args.texts:
        raise UserError(f"the network in {folder} writes a given text; give --text")
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    random.seed(seed)  # of the colours
    sess = tf.random.Generator.from_seed(seed)
    if args.texts:
        spell_texts(args, model.alphabet, style)
        names = file_names(args)
    if args.texts:
        lines = draw_texts(args, model, sess, style)
        samples = [Sample(line.strokes, line.params, 0, line.text, line.window) for line in lines]
    else:
        samples = draw_freely(args, model, sess, style)
    if not all((np.abs(sample.strokes) < MAX_MOVE).all() for sample in samples):
        raise UserError(f"the network in {folder} draws moves of over {MAX_MOVE:g} pen units")
    points = sum(len(sample.strokes) - sample.given for sample in samples)
    size = f"{points} points" if args.texts else f"{args.num_samples} x {args.sample_length} points"
    say(one_line(f"Drew {size} from {folder} with --seed {seed}"))
    if args.line_strokes:
        lines = [s.strokes[s.given :] for s in samples]
        texts = [s.text.replace(GAP, " ") for s in samples] if args.texts else None
        write_line_strokes(lines, args.line_strokes, texts)
        say(one_line(f"Wrote {args.line_strokes}"))
    svgs = []
    if args.paper:
        svgs = sheets.write_sheets(find_words(samples), args, np.random.default_rng(seed))
    if names and args.texts:
        check_width(samples, args.scale_factor)
    for sample, name in zip(samples if names else [], names, strict=True):
        draw_pictures(sample, name, args.scale_factor, args.plot, args.smooth)
        svgs += [f"{name}.{kind}" for kind in PICTURES]
        if args.animate:
            file = f"{name}.animated.svg"
            animate(sample.strokes, args.scale_factor, file, args.speed, args.smooth)
            say(one_line(f"Wrote {file}"))
    if args.png:
        for name in svgs:
            write_png(name)
        say("Wrote the PNG of each SVG beside it")
    return model, sess, samples[0].strokes, samples[0].params


def check_width(samples, scale_factor):
    """Warn of a picture of a text that is wider than a large sheet of paper."""
    width = max(np.ptp(np.cumsum(s.strokes[:, 0])) for s in samples) / scale_factor * UNIT_MM
    if width > WIDE:
        warnings.warn(
            f"the text in one line is {width:.0f} mm wide; --paper A4 breaks it into lines",
            stacklevel=2,
        )


def make_page(args):
    """Write the page. Returns nothing in each of the places of what draw_samples returns."""
    check_output(args.page, "--page", ".html")

    from handwriting.network.checkpoint import find_run
    from handwriting.page.page import write_page

    write_page(args.page, find_run(args.model_dir, text=True))
    say(one_line(f"Wrote {args.page} ({os.path.getsize(args.page) / 1e6:.1f} MB)"))
    return [None] * 4


def main(argv=None):
    with errors_as_sentences("sample.py"):
        args = parse_flags(argv)
        return make_page(args) if args.page else draw_samples(args)


if __name__ == "__main__":
    model, sess, strokes, params = main(sys.argv[1:])
