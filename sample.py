"""Draws handwriting with a trained network: `python sample.py`, or `%run -i sample.py` in IPython.

In IPython it leaves behind `model`, `sess` (the source of randomness), the `strokes` and `params` that it drew, and
the drawing functions of utils.py.
"""

import argparse
import os
import random
import sys
from pathlib import Path

from train import RunError, find_run, number, restore  # before tensorflow, whose start-up notes it keeps quiet
from utils import (
    LIMIT,
    DataError,
    draw_strokes,
    draw_strokes_eos_weighted,
    draw_strokes_pdf,
    draw_strokes_random_color,
    plot_density,
    read_line,
    write_line_strokes,
)

import tensorflow as tf

MOST_POINTS = 2_000_000  # in all samples together: their mixtures take a gigabyte


def build_parser():
    """All flags; those of the post's program keep its names and defaults."""
    parser = argparse.ArgumentParser("sample.py", description="Draw handwriting as SVG.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--filename", default="sample", help="path that the names of the pictures begin with")
    parser.add_argument("--sample_length", default=800, type=number(int, 1, 1_000_000), help="points in a sample")
    parser.add_argument("--scale_factor", default=10.0, type=number(float, 0, 1e6, open_low=True),
                        help="pen units in one unit of the pictures")
    parser.add_argument("--model_dir", default="save",
                        help="folder of a run of train.py; where the default folder holds none, the weights that come "
                             "with the program draw")
    parser.add_argument("--seed", type=number(int, 0, 2**31 - 1), help="the same seed draws the same; unset: at random")
    parser.add_argument("--num_samples", default=1, type=number(int, 1, 10_000),
                        help="samples, drawn at once; more than one are numbered in the names of their pictures")
    parser.add_argument("--bias", default=0.0, type=number(float, 0, 20),
                        help="above 0: neater and less varied, by likelier components and smaller deviations")
    parser.add_argument("--style", metavar="FILE",
                        help="go on in the hand of this line: lineStrokes XML, or an .npy of points (dx, dy, eos)")
    parser.add_argument("--plot", action="store_true", help="also draw the densities as a heat map, NAME.density.png")
    parser.add_argument("--line_strokes", metavar="FILE.tar.gz",
                        help="write the samples as lineStrokes XML in the database's format, and no pictures")
    return parser


def check_output(filename):
    """Raise RunError unless a file of this name can be made, before any time is spent on what goes into it."""
    folder = Path(filename).parent
    if not folder.is_dir():
        raise RunError(f"the output folder {folder} does not exist; make it, or name another")
    if not os.access(folder, os.W_OK):
        raise RunError(f"the output folder {folder} cannot be written; name another")


def draw_pictures(strokes, params, filename, scale_factor, plot=False, given=0):
    """Write the pictures of one sample: NAME.normal.svg and its four relatives, with plot also NAME.density.png.

    given: how many of its points come from --style.
    """
    draw_strokes(strokes, scale_factor, f"{filename}.normal.svg", given)
    draw_strokes_random_color(strokes, scale_factor, f"{filename}.color.svg")
    draw_strokes_random_color(strokes, scale_factor, f"{filename}.multi_color.svg", per_stroke_mode=False)
    draw_strokes_eos_weighted(strokes, params, scale_factor, f"{filename}.eos_pdf.svg")
    draw_strokes_pdf(strokes, params, scale_factor, f"{filename}.pdf.svg")
    if plot:
        plot_density(strokes, params, f"{filename}.density.png")


def run(args):
    """Draw as the flags say. Returns model, sess and the first sample's strokes and params, in pen units."""
    if args.num_samples * args.sample_length > MOST_POINTS:
        raise RunError(f"--num_samples {args.num_samples} times --sample_length {args.sample_length} is more than "
                       f"{MOST_POINTS} points; draw fewer or shorter samples at once")
    check_output(args.line_strokes or args.filename)
    style = None if args.style is None else read_line(args.style).clip(-LIMIT, LIMIT)
    folder = find_run(args.model_dir)
    model = restore(folder)
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    random.seed(seed)  # of the colours
    sess = tf.random.Generator.from_seed(seed)
    strokes, params = model.sample_batch(sess, args.sample_length, args.num_samples, args.bias, style)
    print(f"Drew {args.num_samples} x {args.sample_length} points from {folder} with --seed {seed}")
    samples = [(strokes[k], type(params)(*(value[k] for value in params))) for k in range(args.num_samples)]
    given, digits = strokes.shape[1] - args.sample_length, len(str(args.num_samples))
    names = [f"{args.filename}-{k + 1:0{digits}d}" for k in range(args.num_samples)]
    names = names if args.num_samples > 1 else [args.filename]
    try:
        if args.line_strokes:
            write_line_strokes(strokes[:, given:], args.line_strokes)
        else:
            for sample, name in zip(samples, names, strict=True):
                draw_pictures(*sample, name, args.scale_factor, args.plot, given)
    except OSError as error:
        flag, name = ("--line_strokes", args.line_strokes) if args.line_strokes else ("--filename", error.filename)
        raise RunError(f"{name} cannot be written ({error.strerror}); see {flag}") from None
    if args.line_strokes:
        print(f"Wrote {args.line_strokes}")
    for name in [] if args.line_strokes else names:
        density = f" and {name}.density.png" if args.plot else ""
        print(f"Wrote {name}.{{normal,color,multi_color,eos_pdf,pdf}}.svg{density}")
    return model, sess, *samples[0]


def main(argv=None):
    args = build_parser().parse_args(argv)
    tf.get_logger().setLevel("ERROR")  # its warnings of a damaged checkpoint say again what we say in a sentence
    try:
        return run(args)
    except (DataError, RunError) as error:
        print(f"sample.py: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    model, sess, strokes, params = main()
