"""How alike a learned hand is: `python -m handwriting.likeness`.

Of forms that no network here was trained on, each by one writer, the first six lines are a hand to
learn, and the others are measured: nats per point before, after reading lines of the hand as
--style does, and after fine-tuning on them by train.py's defaults; and how well a recogniser reads
sentences written in each of these ways.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from handwriting.files import UserError, atomic_write
from handwriting.flags import Parser, check_output, errors_as_sentences, file_name, number, say
from handwriting.ink.database import form_names
from handwriting.ink.export import write_line_strokes
from handwriting.measure.legibility import SENTENCES, make_judge
from handwriting.measure.likelihood import make_score
from handwriting.measure.rates import score
from handwriting.network.checkpoint import find_run, load_weights
from handwriting.text.hands import STYLE_LINES, Style
from handwriting.text.lines import join_lines
from handwriting.text.writing import BIAS, write_lines
from model import restore
from utils import DataLoader

import numpy as np

NUMBERS = (1, 2, 4, 6)  # lines to learn from
WRITTEN = 10  # sentences for each form and way
TRAIN = Path(__file__).resolve().parents[1] / "train.py"
WAYS = ("before", "read", "fine-tuned")


def choose_forms(data, places, num):
    """The `num` forms of most lines among these places of a DataLoader, a list of lists of places.

    Raises UserError unless so many have lines behind the first NUMBERS[-1].
    """
    forms, names = {}, form_names(data.names)
    for k in places:
        if data.texts[k]:
            forms.setdefault(names[k], []).append(k)
    forms = sorted((form for form in forms.values() if len(form) > NUMBERS[-1]), key=len)
    if len(forms) < num:
        raise UserError(
            f"--forms {num}: only {len(forms)} forms there have more than {NUMBERS[-1]} lines with "
            "texts; name another --split"
        )
    return sorted(forms[len(forms) - num :])


def nats_per_point(score_lines, data, places, before=()):
    """Nats per point in scaled units of the lines at these places, all their points but the first,
    read behind the lines at `before`, joined as in training.
    """
    chains = [[*before, k] for k in places]
    joined = [join_lines(*([part[k] for k in c] for part in (data.raw_data, data.texts)))
              for c in chains]  # fmt: skip
    lines, texts = zip(*joined, strict=True)
    scores = score_lines(data.scaled(lines), texts)
    ends = [1 - len(data.raw_data[k]) for k in places]
    nats = [values[end:] for (values, _), end in zip(scores, ends, strict=True)]
    return float(np.concatenate(nats).mean(dtype=np.float64))


def run_train(flags):
    """Run train.py with these flags in a process of its own, which takes its memory with it.

    Raises UserError where it fails.
    """
    command = [sys.executable, TRAIN, *map(str, flags)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise UserError(process.stderr.strip().splitlines()[-1])


def fine_tune(model, folder, lines, texts):
    """Give the model the weights that train.py makes of those in `folder` with lines, [n, 3] each
    in pen units, and their texts.
    """
    with tempfile.TemporaryDirectory() as place:
        write_line_strokes(lines, os.path.join(place, "lineStrokes-all.tar.gz"), texts)
        run = os.path.join(place, "run")
        run_train(["--text", "--init", folder, "--data_dir", place, "--model_dir", run])
        load_weights(model, run)


def measure_form(model, folder, data, form, write):
    """The figures of one form, {way: {number of lines: nats per point}}, and the texts that were
    read of what `write(style)` wrote, {way: list of str}.
    """
    load_weights(model, folder)
    score_lines, others = make_score(model), form[NUMBERS[-1] :]
    lines, texts = ([part[k] for k in form] for part in (data.raw_data, data.texts))
    nats = {"before": {0: nats_per_point(score_lines, data, others)}, "read": {}, "fine-tuned": {}}
    found = {"before": write(None)}
    for num in NUMBERS:
        style = min(num, STYLE_LINES)
        nats["read"][num] = nats_per_point(score_lines, data, others, form[:style])
    found["read"] = write(Style(*join_lines(lines[:style], texts[:style])))
    for num in NUMBERS:
        fine_tune(model, folder, lines[:num], texts[:num])
        nats["fine-tuned"][num] = nats_per_point(score_lines, data, others)
    found["fine-tuned"] = write(None)
    return nats, found


def measure(args):
    """The figures of the run in --model_dir, a dict, as the flags say. Raises UserError."""
    import tensorflow as tf

    for flag in ("json", "plot"):
        if getattr(args, flag):
            check_output(getattr(args, flag), f"--{flag}")
    read, folder = make_judge(), find_run(args.model_dir, text=True)
    model = restore(folder)
    data = DataLoader(1, 1, model.data_scale, data_dir=args.data_dir)
    forms = choose_forms(data, data.select(args.split), args.forms)
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    sentences = [text for text in sentences if set(text) <= set(model.alphabet)]
    rows, written, wanted = [], {way: [] for way in WAYS}, []
    for number_of_form, form in enumerate(forms, 1):
        first = (number_of_form - 1) * WRITTEN
        texts = [sentences[k % len(sentences)] for k in range(first, first + WRITTEN)]

        def write(style, texts=texts, seed=args.seed + number_of_form):
            sess = tf.random.Generator.from_seed(seed)
            lines = write_lines(model, sess, texts, BIAS, style, one_hand=False)
            return [read(line.strokes) for line in lines]

        nats, found = measure_form(model, folder, data, form, write)
        rows.append(nats)
        wanted += texts
        for way in WAYS:
            written[way] += found[way]
        say(f"form {number_of_form} of {len(forms)}: " + describe(nats))
    return {
        "checkpoint": str(folder), "split": args.split, "forms": rows,
        "legibility": {way: score(written[way], wanted) for way in WAYS},
    }  # fmt: skip


def describe(nats):
    """A form's figures in a line."""
    (before,) = nats["before"].values()
    parts = [
        f"{way} {', '.join(f'{value - before:+.4f}' for value in nats[way].values())}"
        for way in WAYS[1:]
    ]
    return f"{before:.4f} nats per point; {'; '.join(parts)}"


def gains(figures, way):
    """What a way changes, in nats per point [forms, NUMBERS]."""
    return np.array(
        [[form[way][num] - form["before"][0] for num in NUMBERS] for form in figures["forms"]]
    )


def plot(figures, file):
    """Draw the changes over the number of lines as a PNG: their means, and faintly each form's."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 2.8), dpi=150, layout="constrained").add_subplot()
    for way, color in zip(WAYS[1:], ("tab:blue", "tab:orange"), strict=True):
        changes = np.insert(gains(figures, way), 0, 0.0, axis=1)
        numbers = [0, *NUMBERS]
        axes.plot(numbers, changes.T, color=color, alpha=0.2, linewidth=0.7)
        axes.plot(numbers, changes.mean(axis=0), color=color, marker="o", label=way)
    axes.axhline(0.0, color="black", linewidth=0.5)
    axes.set(xlabel="lines of the hand", ylabel="change in nats per point", xticks=numbers)
    axes.legend(frameon=False)
    axes.figure.savefig(file, format="png")


def show(figures):
    """Print what `measure` found, in all forms together."""
    total = len(figures["forms"])
    numbers = ", ".join(map(str, NUMBERS))
    for way in WAYS[1:]:
        changes = gains(figures, way)
        means = ", ".join(f"{value:+.4f}" for value in changes.mean(axis=0))
        better = int((changes[:, -1] < 0).sum())
        say(f"{way} {numbers} lines: {means} nats per point; better in {better} of {total} forms")
    for way, rates in figures["legibility"].items():
        say(f"{way}: CER {rates['cer']:.1%}, WER {rates['wer']:.1%}, failed {rates['failed']:.1%}")


def main(argv=None):
    program = "handwriting.likeness"
    with errors_as_sentences(program):
        parser = Parser(f"python -m {program}", "Measure how alike a learned hand is.")
        add = parser.add_argument
        add("--model_dir", default="save", type=file_name, help="folder of a run that writes texts")
        add("--data_dir", default="data", type=file_name, help="folder of the data, as in train.py")
        add("--split", default="testset_v", type=file_name,
            help="which forms: those of --data_dir's list NAME.txt, or valid, or all")
        add("--forms", default=20, type=number(int, 1, 1000), help="of most lines")
        add("--seed", default=0, type=number(int, 0, 2**30), help="of the sentences written")
        add("--json", metavar="FILE", type=file_name, help="write the figures there")
        add("--plot", metavar="FILE.png", type=file_name, help="draw a picture of them there")
        args = parser.parse_args(argv)
        figures = measure(args)
        show(figures)
        if args.json:
            with atomic_write(args.json) as file:
                file.write((json.dumps(figures, indent=2) + "\n").encode())
        if args.plot:
            with atomic_write(args.plot) as file:
                plot(figures, file)


if __name__ == "__main__":
    main(sys.argv[1:])
