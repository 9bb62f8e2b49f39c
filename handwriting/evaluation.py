"""Measure a network: likelihood in published units, and statistics of what it draws beside real
lines.

    python -m handwriting.evaluation --model_dir save/iam_text [--split testset_v]
        [--data_dir data] [--samples 256] [--bias 0.5] [--json FILE]

Likelihoods are those of whole lines, from the zero state, without dropout, in float32.
"""

import collections
import contextlib
import json
import sys
import time

from handwriting.files import UserError, atomic_write
from handwriting.flags import Parser, check_output, errors_as_sentences, file_name, number, say
from handwriting.measure.characters import GOOD, measure_characters, read_characters
from handwriting.measure.legibility import KINDS, measure_legibility
from handwriting.measure.likelihood import LONG, SCORE_BATCH, evaluate
from handwriting.measure.statistics import SAMPLE_LENGTH, compare_samples
from handwriting.network import backend
from handwriting.network.backend import tf
from handwriting.network.checkpoint import find_run, read_config
from handwriting.text.writing import BIAS
from model import restore
from utils import DataLoader

import numpy as np


def build_parser():
    program = "python -m handwriting.evaluation"
    parser = Parser(program, "Measure a network on lines of handwriting.")
    add = parser.add_argument
    add("--model_dir", default="save", type=file_name, help="folder of a run of train.py")
    add("--data_dir", default="data", type=file_name, help="folder of the data, as in train.py")
    add("--split", metavar="NAME", type=file_name,
        help="which lines: those of the forms in --data_dir's list NAME.txt, or test (UNIPEN's "
             "writers who are kept for tests), valid (what training validates on), or all; unset: "
             "testset_v if there is such a list, else test or valid")
    add("--samples", metavar="N", type=number(int, 2, 2000),
        help=f"also draw N samples of {SAMPLE_LENGTH} points, and compare them with the lines")
    add("--bias", type=number(float, 0, 20), help="also draw N with this bias; see sample.py")
    add("--legibility", action="store_true",
        help="also let a recogniser read what the network writes; needs pip install -r "
             "tests/benchmarks/requirements.txt; with UNIPEN in --data_dir a classifier of its "
             "isolated characters reads each character, too")
    add("--seed", default=0, type=number(int, 0, 2**31 - 1), help="of the samples")
    add("--json", metavar="FILE", type=file_name, help="write the figures there, too")
    return parser


def show_figures(figures):
    """Print what `measure` found, and beside it the same without capped moves."""

    def cell(value):
        return "-" if value is None else f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"

    say(
        f"{figures['split']} of {figures['data_dir']}: {figures['lines']:,} lines, "
        f"{figures['points']:,} points, {figures['capped']:,} of them capped; weights: "
        f"{figures['checkpoint']}"
    )
    say(f"{'':52}{'all points':>12}{'not capped':>12}")
    for name, text in (
        ("nats_per_point", "nats per point, scaled units"),
        ("nats_per_line", "nats per line, Graves' units"),
        ("nats_per_line_300", f"the same, {figures['lines_300']:,} lines of {LONG} points or more"),
    ):
        say(f"{text:52}{cell(figures[name]):>12}{cell(figures[name + '_uncapped']):>12}")
    for text, value in (
        ("squared error per point, Graves' units", cell(figures["squared_error"])),
        ("seconds", f"{figures['seconds']:.1f}"),
    ):
        say(f"{text:52}{value:>12}")
    if legibility := figures.get("legibility"):
        show_legibility(legibility)
    if characters := figures.get("characters"):
        show_characters(characters)
    if samples := figures.get("samples"):
        columns = samples["compared"]
        say(
            f"\n{samples['num']} samples of {SAMPLE_LENGTH} points beside the first "
            f"{SAMPLE_LENGTH} of real lines: the share of lines\noutside of the range of 99 in "
            "100 real ones, by statistic, and two-sample distances"
        )
        say(f"{'':52}" + "".join(f"{name:>12}" for name in columns))
        for name in columns["real"]:
            say(f"{name:52}" + "".join(f"{column[name]:>12.3f}" for column in columns.values()))


def show_legibility(figures):
    """Print what `measure_legibility` found: a row for each way of writing, a column for each kind
    of text; characters that were wrong and lines that failed, in percent.
    """
    usual = figures[f"bias {BIAS:g}"]
    say(f"\n{'read by the judge, %':22}" + "".join(f"{kind:>15}" for kind in KINDS))
    say(" " * 22 + f"{'CER  failed':>15}" * len(KINDS))
    for name, row in figures.items():
        cells = [
            f"{100 * row[kind]['cer']:>7.1f}{100 * row[kind]['failed']:>8.1f}" if kind in row else
            f"{'-':>7}{'-':>8}" for kind in KINDS
        ]  # fmt: skip
        say(f"{name:22}" + "".join(cells))
    counts = "".join(f"{usual[kind]['lines'] if kind in usual else 0:>15,}" for kind in KINDS)
    say(f"{f'lines at bias {BIAS:g}':22}{counts}")
    stands, found, rows, whole = collections.Counter(), collections.Counter(), 0, 0
    for row in usual.values():
        rows, whole = rows + row["rows"][0], whole + row["rows"][1]
        for character, (count, share) in row["characters"].items():
            stands[character] += count
            found[character] += share * count
    shares = {character: found[character] / stands[character] for character in stands}
    worst = sorted(shares, key=shares.get)[:20]
    say("worst read: " + ", ".join(f"{c} {100 * shares[c]:.0f}%" for c in worst))
    if rows:
        say(f"rows of one character, such as HHHH, read with the right number: {whole} of {rows}")


def show_characters(figures):
    """Print what `measure_characters` found: means, and the characters below GOOD."""
    say(f"\n{'characters read right, %':40}{'strict':>12}{'with look-alikes':>20}")
    for name, row in (("cut out of words of the network", figures), ("real", figures["real"])):
        say(f"{name:40}{100 * row['strict']:>12.1f}{100 * row['alike']:>20.1f}")
    rows = figures["characters"]
    worst = sorted((c for c in rows if rows[c][2] < GOOD), key=lambda c: rows[c][2])
    say(f"{len(rows) - len(worst)} of {len(rows)} characters reach {GOOD:.0%}; the others:")
    cells = [f"{c} {100 * rows[c][2]:.0f}% ({rows[c][3]})" for c in worst]
    for start in range(0, len(cells), 8):
        say("  ".join(cells[start : start + 8]))


def default_split(data):
    """The part of a DataLoader's lines that is kept for tests, or "valid"."""
    for split in ("testset_v", "test"):
        with contextlib.suppress(UserError):
            data.select(split)
            return split
    return "valid"


def measure(args):
    """The figures of the run in --model_dir, a dict, as the flags say. Raises UserError."""
    if args.json:
        check_output(args.json, "--json")
    folder = find_run(args.model_dir)
    config = read_config(folder)
    backend.set_threads(SCORE_BATCH)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    model = restore(folder)
    if args.legibility and not model.alphabet:
        raise UserError(f"--legibility is for networks that write text, but {folder} holds none")
    if args.samples and model.alphabet:
        raise UserError(f"--samples is for networks without text, but {folder} writes text")
    data = DataLoader(1, 1, config["data_scale"], data_dir=args.data_dir)
    split = args.split or default_split(data)
    places = data.select(split)
    if model.alphabet:
        places = [k for k in places if data.texts[k]]
    if not places:
        what = "line with a text" if model.alphabet else "line"
        raise UserError(f"--split {split} of --data_dir {args.data_dir} holds no {what} to measure")
    lines = data.scaled([data.raw_data[k] for k in places])
    texts = [data.texts[k] for k in places] if model.alphabet else None
    started = time.perf_counter()
    deviations = np.array([config["sigma_x"], config["sigma_y"]]) / config["data_scale"]
    limit = np.float32(data.limit) / np.float32(config["data_scale"])
    figures = evaluate(model, lines, deviations, limit, texts)
    figures |= {"seconds": time.perf_counter() - started, "split": split}
    figures |= {"data_dir": str(data.folder), "checkpoint": str(model.path)}
    figures |= {name: config[name] for name in ("sigma_x", "sigma_y")}
    if args.legibility:
        real = [(data.raw_data[k], data.texts[k]) for k in places if data.texts[k]]
        figures["legibility"] = measure_legibility(model, real, args.seed)
        if writers := read_characters(data.folder):
            figures["characters"] = measure_characters(model, writers, args.seed)
    if args.samples:
        scale = np.array([config["data_scale"], config["data_scale"], 1.0])
        in_pen_units = [line * scale for line in lines]
        biases = sorted({0.0, args.bias or 0.0})
        compared = compare_samples(model, in_pen_units, args.samples, biases, args.seed)
        figures["samples"] = {"num": args.samples, "length": SAMPLE_LENGTH, "compared": compared}
    return figures


def main(argv=None):
    with errors_as_sentences("handwriting.evaluation"):
        parser = build_parser()
        args, given = parser.parse_given(argv)
        if "bias" in given and not args.samples:
            parser.error("argument --bias: goes with --samples, which is missing")
        figures = measure(args)
        show_figures(figures)
        if args.json:
            with atomic_write(args.json) as file:
                file.write((json.dumps(figures, indent=2) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
