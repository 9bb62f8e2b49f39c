"""Measure a network: likelihood in published units, and statistics of what it draws beside real
lines.

    python -m handwriting.evaluation --model_dir save/pretrained [--split testset_v]
        [--data_dir data] [--samples 256] [--bias 0.5] [--json FILE]

Likelihoods are those of whole lines, from the zero state, without dropout, in float32.
"""

import json
import os
import sys
import time
import warnings

from handwriting import lstm
from handwriting.backend import tf
from handwriting.checkpoint import find_run, read_config, restore
from handwriting.files import UserError, atomic_write
from handwriting.flags import Parser, check_output, errors_as_sentences, file_name, number, say
from handwriting.legibility import RATES, measure_legibility
from handwriting.statistics import compare_lines
from handwriting.text import encode
from model import BIAS, mixture, negative_log_likelihood
from utils import DataLoader

import numpy as np

SCORE_BATCH = 64  # lines whose losses are computed at once
LONG = 300  # points: some published figures are those of lines at least as long
SAMPLE_LENGTH = 600  # points of samples, and of the beginnings of real lines beside them


# ------------------------------------------------------------------------------------ likelihood


def mean_move(z_hat):
    """The mean [..., 2] of dx and dy in the mixture of z_hat [..., 1 + 6 M]."""
    m = mixture(z_hat)
    return tf.stack([tf.reduce_sum(m.pi * mu, axis=-1) for mu in (m.mu1, m.mu2)], axis=-1)


def make_score(model):
    """A function: lines, texts -> for each its losses in nats [n - 1] and the errors [n - 1, 2] of
    the mixture's mean.

    lines: arrays [n, 3] in scaled units, of whose points all but the first are predicted. The
    errors, too, are in scaled units. texts: theirs, for a network that writes text.
    """
    specs = [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.int32)]

    @tf.function(autograph=False, input_signature=specs)
    def score_batch(points, chars):
        scores = []
        for rows in lstm.split_rows(tf.shape(points)[0]):
            z_hat, _ = model(points[rows, :-1], chars=chars[rows])
            z_hat = z_hat[..., : model.num_outputs]
            nats = negative_log_likelihood(z_hat, points[rows, 1:], model.log_sigma_min)
            scores.append((nats, mean_move(z_hat) - points[rows, 1:, :2]))
        return [tf.concat(values, axis=0) for values in zip(*scores, strict=True)]

    def score(lines, texts=None):
        order, scores = sorted(range(len(lines)), key=lambda k: len(lines[k])), [None] * len(lines)
        for start in range(0, len(lines), SCORE_BATCH):
            batch = order[start : start + SCORE_BATCH]
            padded = np.zeros([len(batch), len(lines[batch[-1]]), 3], np.float32)
            for row, k in enumerate(batch):
                padded[row, : len(lines[k])] = lines[k]
            chars = np.zeros([len(batch), 1], np.int32)
            if model.alphabet:
                chars = encode([texts[k] for k in batch], model.alphabet)
            nats, errors = (value.numpy() for value in score_batch(padded, chars))
            for row, k in enumerate(batch):
                scores[k] = nats[row, : len(lines[k]) - 1], errors[row, : len(lines[k]) - 1]
        return scores

    return score


def window_share(model, lines, texts):
    """Where the window of a network with text looks at the ends of lines [n, 3] in scaled units, as
    a share of their texts' lengths: about 1 if it has learnt to read along.

    Of lines of middle length, so that few points of theirs have to be cut off.
    """
    order = sorted(range(len(lines)), key=lambda k: len(lines[k]))
    middle = order[len(order) // 4 :][:16]
    length = len(lines[middle[0]])
    points = np.stack([lines[k][:length] for k in middle])
    chars = encode([texts[k] for k in middle], model.alphabet)
    _, states = model(points[:, :-1], chars=chars)
    *_, phi = model.step(points[:, -1], states, chars=model.one_hot(chars))
    places = tf.argmax(phi, axis=1).numpy() + 0.5
    expected = [len(texts[k]) * length / len(lines[k]) for k in middle]
    return float(np.mean(places / expected))


def make_validate(model, data):
    """A function () -> mean nats per point (scaled units) over the validation lines of a
    DataLoader."""
    score, texts = make_score(model), data.valid_texts if model.alphabet else None

    def validate():
        if texts and not 0.5 < (share := window_share(model, data.valid_data, texts)) < 2.0:
            words = f"at the ends of validation lines it looks at {share:.0%} of their texts"
            warnings.warn(f"the window is stuck or runs away: {words}", stacklevel=2)
        scores = score(data.valid_data, texts)
        return float(np.concatenate([nats for nats, _ in scores]).mean(dtype=np.float64))

    return validate


def evaluate(model, lines, deviations, limit, texts=None):
    """The figures of a network on lines [n, 3] in scaled units, with their texts if it writes
    text, a dict; its keys say the same everywhere.

    nats_per_point: in scaled units. nats_per_line: the mean over lines of a line's summed loss in
    Graves' units, where moves have standard deviation 1 on each axis: a density of moves that are
    s_x and s_y times smaller is s_x s_y times higher, so each predicted point has ln(s_x s_y)
    less. deviations: s_x and s_y, in scaled units. ..._300: of lines of 300 points or more.
    ..._uncapped: without points whose move is at the limit (scaled units) on an axis, where a
    narrow component could gain much. squared_error: per point in Graves' units, summed over both
    axes, the mixture's mean being the prediction.
    """
    scores = make_score(model)(lines, texts)
    unit = float(np.log(deviations).sum())
    nats = [values.astype(np.float64) for values, _ in scores]
    errors = np.concatenate([errors for _, errors in scores]).astype(np.float64) / deviations
    free = [np.abs(line[1:, :2]).max(axis=1) < limit for line in lines]
    long = np.array([len(line) >= LONG for line in lines])
    figures = {
        "lines": len(lines), "lines_300": int(long.sum()), "points": len(errors),
        "capped": len(errors) - sum(int(kept.sum()) for kept in free),
        "squared_error": float((errors**2).sum(axis=1).mean()),
    }
    uncapped = [n[kept] for n, kept in zip(nats, free, strict=True)]
    for suffix, chosen in (("", nats), ("_uncapped", uncapped)):
        per_line = np.array([n.sum() - len(n) * unit for n in chosen])
        figures |= {
            f"nats_per_point{suffix}": float(np.concatenate(chosen).mean()),
            f"nats_per_line{suffix}": float(per_line.mean()),
            f"nats_per_line_300{suffix}": float(per_line[long].mean()) if long.any() else None,
        }
    return figures


# ---------------------------------------------------------------------------------------- samples


def compare_samples(model, lines, num, biases, seed):
    """What compare_lines says, {"real": ..., "bias 0": ...}: of real lines, as a baseline, and of
    `num` samples.

    lines: [n, 3] in pen units; the first SAMPLE_LENGTH points of those that have as many count,
    and samples are as long. Odd lines give the real-vs-real baseline, even lines are the
    reference. Raises UserError for fewer than two.
    """
    lines = [line[:SAMPLE_LENGTH] for line in lines if len(line) >= SAMPLE_LENGTH]
    if len(lines) < 2:
        raise UserError(f"--samples needs two lines of {SAMPLE_LENGTH} points; name a --split")
    reference, others = lines[::2], lines[1::2]
    results = {"real": compare_lines(others, reference)}
    for bias in biases:
        sess = tf.random.Generator.from_seed(seed)
        strokes, _ = model.sample_batch(sess, SAMPLE_LENGTH, num, bias)
        results[f"bias {bias:g}"] = compare_lines(strokes, reference)
    return results


# --------------------------------------------------------------------------------------- command


def build_parser():
    program = "python -m handwriting.evaluation"
    parser = Parser(program, "Measure a network on lines of handwriting.")
    add = parser.add_argument
    add("--model_dir", default="save", type=file_name, help="folder of a run of train.py")
    add("--data_dir", default="data", type=file_name, help="folder of the data, as in train.py")
    add("--split", metavar="NAME", type=file_name,
        help="which lines: those of the forms in --data_dir's list NAME.txt, or valid (what "
             "training validates on), or all; unset: testset_v if there is such a list, else valid")
    add("--samples", metavar="N", type=number(int, 2, 2000),
        help=f"also draw N samples of {SAMPLE_LENGTH} points, and compare them with the lines")
    add("--bias", type=number(float, 0, 20), help="also draw N with this bias; see sample.py")
    add("--legibility", action="store_true",
        help="also let a recogniser read what the network writes; needs pip install -r "
             "tests/benchmarks/requirements.txt")
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
        say(f"\n{'read by the judge':40}" + "".join(f"{c:>12}" for c in ("lines", *RATES)))
        for name, row in legibility.items():
            rates = "".join(f"{100 * row[rate]:>11.1f}%" for rate in RATES)
            say(f"{name:40}{row['lines']:>12,}{rates}")
        found = legibility[f"bias {BIAS:g}"]["characters"]
        rarest = sorted(found, key=lambda c: found[c][1])
        say("worst read: " + ", ".join(f"{c} {100 * found[c][1]:.0f}%" for c in rarest[:20]))
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


def measure(args):
    """The figures of the run in --model_dir, a dict, as the flags say. Raises UserError."""
    if args.json:
        check_output(args.json, "--json")
    folder = find_run(args.model_dir)
    config = read_config(folder)
    lstm.set_threads(SCORE_BATCH)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    model = restore(folder)
    if args.legibility and not model.alphabet:
        raise UserError(f"--legibility is for networks that write text, but {folder} holds none")
    if args.samples and model.alphabet:
        raise UserError(f"--samples is for networks without text, but {folder} writes text")
    data = DataLoader(1, 1, config["data_scale"], data_dir=args.data_dir)
    listed = os.path.exists(os.path.join(data.folder, "testset_v.txt"))
    split = args.split or ("testset_v" if listed else "valid")
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
