"""Draw handwriting with a trained network: `python sample.py`, or `%run -i sample.py` in IPython.

In IPython it leaves behind `model`, `sess` (the source of randomness), the `strokes` and `params`
that it drew, and the drawing functions of utils.py.
"""

import os
import random
import sys

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
from utils import (
    LIMIT,
    draw_strokes,
    draw_strokes_eos_weighted,
    draw_strokes_pdf,
    draw_strokes_random_color,
    plot_density,
    read_line,
    write_line_strokes,
)

import numpy as np

MAX_POINTS = 2_000_000  # in all samples together: their mixtures of 20 components take a gigabyte
MAX_MOVE = 1e9  # pen units
PICTURES = ("normal.svg", "color.svg", "multi_color.svg", "eos_pdf.svg", "pdf.svg")


def build_parser():
    """All flags; those of the post's program keep its names and defaults."""
    parser = Parser("sample.py", "Draw handwriting as SVG.")
    add = parser.add_argument
    add("--filename", default="sample", type=file_name, help="what the pictures' names begin with")
    add("--sample_length", default=800, type=number(int, 1, 1_000_000), help="points in a sample")
    add("--scale_factor", default=10.0, type=number(float, 0.001, 1e6),
        help="pen units in one unit of the pictures")
    add("--model_dir", default="save", type=file_name,
        help="folder of a run of train.py; where the default holds none, the weights that come "
             "with the program draw")
    add("--seed", type=number(int, 0, 2**31 - 1), help="the same seed draws the same; unset: any")
    add("--num_samples", default=1, type=number(int, 1, 10_000),
        help="samples, drawn at once; several are numbered in the names of their pictures")
    add("--bias", default=0.0, type=number(float, 0, 20),
        help="above 0: neater and less varied, by likelier components and smaller deviations")
    add("--style", metavar="FILE", type=file_name,
        help="go on in the hand of this line: lineStrokes XML, or an .npy of points (dx, dy, eos) "
             "in pen units")
    add("--plot", action="store_true", help="also draw a heat map of densities, NAME.density.png")
    add("--line_strokes", metavar="FILE.tar.gz", type=file_name,
        help="write the samples as lineStrokes XML in the database's format, and no pictures")
    return parser


def parse_flags(argv):
    """The flags. Ends with a sentence if they clash."""
    parser = build_parser()
    args, given = parser.parse_given(argv)
    for name in ("filename", "scale_factor", "plot"):
        if name in given and args.line_strokes:
            parser.error(f"argument --{name}: does not go with --line_strokes, which draws nothing")
    if args.num_samples * args.sample_length > MAX_POINTS:
        parser.error(
            f"argument --num_samples: {args.num_samples} times --sample_length "
            f"{args.sample_length} is more than {MAX_POINTS} points; draw fewer or shorter samples"
        )
    return args


def file_names(args):
    """What the names of each sample's pictures begin with. Raises UserError."""
    if args.line_strokes:
        check_output(args.line_strokes, "--line_strokes")
        return []
    if os.path.basename(args.filename) in ("", ".", ".."):
        raise UserError(f"--filename {args.filename} is a folder; add what the names begin with")
    digits = len(str(args.num_samples))
    names = [f"{args.filename}-{k + 1:0{digits}d}" for k in range(args.num_samples)]
    names = names if args.num_samples > 1 else [args.filename]
    for name in names:
        for kind in PICTURES + ("density.png",) * args.plot:
            check_output(f"{name}.{kind}", "--filename")
    return names


def draw_pictures(strokes, params, filename, scale_factor, plot=False, given=0):
    """Write the pictures of one sample: NAME.normal.svg and its four relatives, with plot also
    NAME.density.png.

    given: how many of its points come from --style.
    """
    draw_strokes(strokes, scale_factor, f"{filename}.normal.svg", given)
    draw_strokes_random_color(strokes, scale_factor, f"{filename}.color.svg")
    multi_color = f"{filename}.multi_color.svg"
    draw_strokes_random_color(strokes, scale_factor, multi_color, per_stroke_mode=False)
    draw_strokes_eos_weighted(strokes, params, scale_factor, f"{filename}.eos_pdf.svg")
    draw_strokes_pdf(strokes, params, scale_factor, f"{filename}.pdf.svg")
    if plot:
        plot_density(strokes, params, f"{filename}.density.png")
    density = f" and {filename}.density.png" if plot else ""
    say(one_line(f"Wrote {filename}.{{normal,color,multi_color,eos_pdf,pdf}}.svg{density}"))


def draw_samples(args):
    """Draw as the flags say; returns model, sess, the first sample's strokes and params."""
    names = file_names(args)
    style = None if args.style is None else read_line(args.style).clip(-LIMIT, LIMIT)

    from handwriting.checkpoint import find_run, restore

    import tensorflow as tf

    folder = find_run(args.model_dir)
    model = restore(folder)
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    random.seed(seed)  # of the colours
    sess = tf.random.Generator.from_seed(seed)
    strokes, params = model.sample_batch(
        sess, args.sample_length, args.num_samples, args.bias, style
    )
    if not (np.abs(strokes) < MAX_MOVE).all():
        raise UserError(f"the network in {folder} draws moves of over {MAX_MOVE:g} pen units")
    size = f"{args.num_samples} x {args.sample_length}"
    say(one_line(f"Drew {size} points from {folder} with --seed {seed}"))
    samples = [(row, type(params)(*(v[k] for v in params))) for k, row in enumerate(strokes)]
    given = strokes.shape[1] - args.sample_length
    if args.line_strokes:
        write_line_strokes(strokes[:, given:], args.line_strokes)
        say(one_line(f"Wrote {args.line_strokes}"))
    for sample, name in zip(samples if names else [], names, strict=True):
        draw_pictures(*sample, name, args.scale_factor, args.plot, given)
    return model, sess, *samples[0]


def main(argv=None):
    with errors_as_sentences("sample.py"):
        return draw_samples(parse_flags(argv))


if __name__ == "__main__":
    model, sess, strokes, params = main(sys.argv[1:])
