"""Draws handwriting with a trained network: `python sample.py`, or `%run -i sample.py` in IPython.

In IPython it leaves behind `model`, `sess` (the source of randomness), the `strokes` and `params` that it drew, and
the drawing functions of utils.py.
"""

import argparse
import contextlib
import os
import random
import sys
from pathlib import Path

from model import Model  # before tensorflow, whose start-up notes it keeps quiet
from train import RunError, number, read_config
from utils import (
    draw_strokes,
    draw_strokes_eos_weighted,
    draw_strokes_pdf,
    draw_strokes_random_color,
    plot_density,
    write_line_strokes,
)

import tensorflow as tf

MOST_POINTS = 2_000_000  # in all samples together: their mixtures take a gigabyte
PRETRAINED = Path(__file__).resolve().parent / "save" / "pretrained"


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
    parser.add_argument("--plot", action="store_true", help="also draw the densities as a heat map, NAME.density.png")
    parser.add_argument("--line_strokes", metavar="FILE.tar.gz",
                        help="write the samples as lineStrokes XML in the database's format, and no pictures")
    return parser


def find_run(args):
    """The folder to draw from: --model_dir if it holds a run, else, for the default folder, the weights we ship."""
    folder = Path(args.model_dir)
    if (folder / "config.json").exists() or args.model_dir != build_parser().get_default("model_dir"):
        return folder
    return PRETRAINED


def find_checkpoint(folder):
    """The path of the best weights by validation in a folder of train.py, else of the newest.

    Raises RunError if there are none, or if the file that names them does so no more.
    """
    for state in (folder / "best" / "checkpoint", folder / "checkpoint"):
        if state.exists():
            with contextlib.suppress(ValueError):  # an empty file, or one that is no text
                if path := tf.train.latest_checkpoint(str(state.parent)):
                    return path
            raise RunError(f"{state} is damaged or names a checkpoint that is gone; train again, or restore the files")
    raise RunError(f"{folder} holds no checkpoint yet; train.py writes one every --save_every steps")


def restore(folder):
    """The Model in a folder of train.py, with the weights that find_checkpoint finds.

    Raises RunError if there is no checkpoint, or one that is damaged or does not fit config.json.
    """
    config, path = read_config(folder), find_checkpoint(folder)
    try:
        saved = sorted(shape for name, shape in tf.train.list_variables(path) if name.startswith("model/"))
        # The output's kernel first: a network of another size might not fit into memory.
        fits = [config.rnn_size, 1 + 6 * config.num_mixture] in saved
        model = Model(config, infer=True) if fits else None
        if not fits or saved != sorted(model.shapes()):
            raise RunError(f"the weights in {path} are not those of the network in {folder / 'config.json'}")
        status = tf.train.Checkpoint(model=model).restore(path)
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"the checkpoint {path} cannot be read ({reason}); train again, or restore its files") from None
    return model


def check_output(filename):
    """Raise RunError unless a file of this name can be made, before any time is spent on what goes into it."""
    folder = Path(filename).parent
    if not folder.is_dir():
        raise RunError(f"the output folder {folder} does not exist; make it, or name another")
    if not os.access(folder, os.W_OK):
        raise RunError(f"the output folder {folder} cannot be written; name another")


def draw_pictures(strokes, params, filename, scale_factor, plot=False):
    """Write the pictures of one sample: NAME.normal.svg and its four relatives, with plot also NAME.density.png."""
    draw_strokes(strokes, scale_factor, f"{filename}.normal.svg")
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
    folder = find_run(args)
    model = restore(folder)
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    random.seed(seed)  # of the colours
    sess = tf.random.Generator.from_seed(seed)
    strokes, params = model.sample_batch(sess, args.sample_length, args.num_samples)
    print(f"Drew {args.num_samples} x {args.sample_length} points from {folder} with --seed {seed}")
    samples = [(strokes[k], type(params)(*(value[k] for value in params))) for k in range(args.num_samples)]
    digits = len(str(args.num_samples))
    names = [f"{args.filename}-{k + 1:0{digits}d}" for k in range(args.num_samples)]
    names = names if args.num_samples > 1 else [args.filename]
    try:
        if args.line_strokes:
            write_line_strokes(strokes, args.line_strokes)
        else:
            for sample, name in zip(samples, names, strict=True):
                draw_pictures(*sample, name, args.scale_factor, args.plot)
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
    except RunError as error:
        print(f"sample.py: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    model, sess, strokes, params = main()
