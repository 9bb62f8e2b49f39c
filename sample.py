"""Draws handwriting with a trained network: `python sample.py`, or `%run -i sample.py` in IPython.

In IPython it leaves behind `model`, `sess` (the source of randomness), the `strokes` and `params` that it drew, and
the drawing functions of utils.py.
"""

import argparse
import os
import random
import sys

# Before tensorflow, whose start-up notes it keeps quiet.
from train import Parser, RunError, check_output, file_name, find_run, number, one_line, parse, restore, run_folder
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

import numpy as np
import tensorflow as tf

MOST_POINTS = 2_000_000  # in all samples together: their mixtures of 20 components take a gigabyte
PICTURES = ("normal.svg", "color.svg", "multi_color.svg", "eos_pdf.svg", "pdf.svg")
FAR = 1e9  # pen units: moves beyond make no picture


def build_parser():
    """All flags; those of the post's program keep its names and defaults."""
    parser = Parser("sample.py", description="Draw handwriting as SVG.",
                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--filename", default="sample", type=file_name,
                        help="path that the names of the pictures begin with")
    parser.add_argument("--sample_length", default=800, type=number(int, 1, 1_000_000), help="points in a sample")
    parser.add_argument("--scale_factor", default=10.0, type=number(float, 0.001, 1e6),
                        help="pen units in one unit of the pictures")
    parser.add_argument("--model_dir", default="save", type=run_folder,
                        help="folder of a run of train.py; where the default folder holds none, the weights that come "
                             "with the program draw")
    parser.add_argument("--seed", type=number(int, 0, 2**31 - 1), help="the same seed draws the same; unset: at random")
    parser.add_argument("--num_samples", default=1, type=number(int, 1, 10_000),
                        help="samples, drawn at once; more than one are numbered in the names of their pictures")
    parser.add_argument("--bias", default=0.0, type=number(float, 0, 20),
                        help="above 0: neater and less varied, by likelier components and smaller deviations")
    parser.add_argument("--style", metavar="FILE", type=file_name,
                        help="go on in the hand of this line: lineStrokes XML, or an .npy of points (dx, dy, eos) in "
                             "pen units")
    parser.add_argument("--plot", action="store_true", help="also draw the densities as a heat map, NAME.density.png")
    parser.add_argument("--line_strokes", metavar="FILE.tar.gz", type=file_name,
                        help="write the samples as lineStrokes XML in the database's format, and no pictures")
    return parser


def check_outputs(args, names):
    """Raise RunError unless all files can be made, before any time is spent on what goes into them."""
    if args.line_strokes:
        check_output(args.line_strokes, "--line_strokes")
        return
    if os.path.basename(args.filename) in ("", ".", ".."):
        raise RunError(f"--filename {args.filename} is a folder; add what the names of the pictures begin with")
    for name in names:
        for kind in PICTURES + ("density.png",) * args.plot:
            check_output(f"{name}.{kind}", "--filename")


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
    digits = len(str(args.num_samples))
    names = [f"{args.filename}-{k + 1:0{digits}d}" for k in range(args.num_samples)]
    names = names if args.num_samples > 1 else [args.filename]
    check_outputs(args, names)
    style = None if args.style is None else read_line(args.style).clip(-LIMIT, LIMIT)
    folder = find_run(args.model_dir)
    model = restore(folder)
    points = args.num_samples * (args.sample_length + (0 if style is None else len(style)))
    if points * max(20, model.num_mixture) > 20 * MOST_POINTS:
        raise RunError(f"{points} points, with those of --style, of mixtures of {model.num_mixture} components are too "
                       "many for the memory; draw fewer or shorter samples at once")
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    random.seed(seed)  # of the colours
    sess = tf.random.Generator.from_seed(seed)
    strokes, params = model.sample_batch(sess, args.sample_length, args.num_samples, args.bias, style)
    if not (np.abs(strokes) < FAR).all() or not all(np.isfinite(value).all() for value in params):
        raise RunError(f"the network in {folder} draws moves of more than {FAR:g} pen units; train it again, or take "
                       "another")
    print(f"Drew {args.num_samples} x {args.sample_length} points from {one_line(folder)} with --seed {seed}")
    samples = [(strokes[k], type(params)(*(value[k] for value in params))) for k in range(args.num_samples)]
    given = strokes.shape[1] - args.sample_length
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
        print(f"Wrote {one_line(args.line_strokes)}")
    for name in [] if args.line_strokes else names:
        density = f" and {name}.density.png" if args.plot else ""
        print(one_line(f"Wrote {name}.{{normal,color,multi_color,eos_pdf,pdf}}.svg{density}"))
    return model, sess, *samples[0]


def main(argv=None):
    parser = build_parser()
    args, given = parse(parser, argv)
    for name in ("filename", "scale_factor", "plot"):
        if name in given and args.line_strokes:
            parser.error(f"argument --{name}: does not go with --line_strokes, which writes no pictures")
    tf.get_logger().setLevel("ERROR")  # its warnings of a damaged checkpoint say again what we say in a sentence
    try:
        return run(args)
    except (DataError, RunError) as error:
        print(f"sample.py: error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        print("sample.py: error: the memory is not enough; draw fewer or shorter samples at once", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("sample.py: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    model, sess, strokes, params = main()
