"""How legible a line of handwriting is: the error rate of a fixed recogniser of printed and written
text.

The judge is PP-OCRv6 small (Apache-2.0, inside the wheel of rapidocr 3.10.0), run with onnxruntime
on a picture of the line; of each column the likeliest character counts (greedy CTC). The picture is
fixed, since it decides much of the result. The judge reads 300 real lines of the database with
13.6 % of characters wrong.

Figures are told apart by the kind of text, one of KINDS.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from handwriting.files import UserError
from handwriting.measure.rates import score
from handwriting.text.edits import greedy_ctc
from handwriting.text.hands import read_styles

import numpy as np

HEIGHT = 64  # pixels from the highest to the lowest point, less where a line is long
MAX_WIDTH = 3000  # pixels
PEN = 2  # pixels
PAD = 6  # pixels of white on each side
OVERSAMPLING = 4  # what is drawn is larger by this factor, then made smaller: grey edges
JUDGE_HEIGHT, JUDGE_MIN_WIDTH = 48, 16  # pixels of the recogniser's input
MODEL = "PP-OCRv6_rec_small.onnx"
KINDS = ("prose", "numbers", "names", "capitals", "symbols")
SENTENCES = Path(__file__).resolve().parents[2] / "tests" / "benchmarks" / "sentences.txt"  # prose
HARD = SENTENCES.with_name("hard.txt")  # the other kinds, each below a heading == kind ==
BIASES = (0.0, 0.5, 1.0, 2.0, 5.0)  # at which a network is measured, and at its default
FEWER = 3  # at other biases than the default one in so many sentences is drawn
REAL = 600  # about so many real lines are read, of all parts of a split


def draw_line(strokes):
    """A grey picture (PIL) of strokes [n, 3] in pen units: black on white, HEIGHT + 2 PAD pixels
    high.
    """
    from PIL import Image, ImageDraw

    strokes = np.asarray(strokes, float)
    pen = np.cumsum(strokes[:, :2], axis=0)
    low, size = pen.min(axis=0), np.ptp(pen, axis=0)
    scale = HEIGHT / max(size[1], 1e-6)
    if size[0] * scale > MAX_WIDTH:
        scale = MAX_WIDTH / size[0]
    pen = ((pen - low) * scale + PAD) * OVERSAMPLING
    width, height = (int(pixels) for pixels in np.ceil(size * scale + 2 * PAD))
    picture = Image.new("L", (width * OVERSAMPLING, height * OVERSAMPLING), "white")
    drawing, radius = ImageDraw.Draw(picture), PEN * OVERSAMPLING / 2
    for stroke in np.split(pen, np.flatnonzero(strokes[:-1, 2] > 0.5) + 1):
        if len(stroke) > 1:
            drawing.line([*map(tuple, stroke)], fill=0, width=PEN * OVERSAMPLING, joint="curve")
        for x, y in stroke[[0, -1]]:  # round ends; a stroke of one point is a dot
            drawing.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def judge_input(picture):
    """What the recogniser looks at, float32 [1, 3, JUDGE_HEIGHT, width] from -1 to 1."""
    from PIL import Image

    width = max(JUDGE_MIN_WIDTH, round(picture.width * JUDGE_HEIGHT / picture.height))
    picture = picture.resize((width, JUDGE_HEIGHT), Image.Resampling.BILINEAR).convert("RGB")
    pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)[None]
    return (pixels / 255 - 0.5) / 0.5


def make_judge(threads=2):
    """A function read(strokes [n, 3] in pen units) -> what the recogniser reads there, a str.

    Raises UserError where rapidocr, onnxruntime or Pillow is missing.
    """
    try:
        import onnxruntime
        import rapidocr
        from PIL import Image  # noqa: F401 - what draw_line needs
    except ImportError as error:
        raise UserError(
            f"legibility is judged with {error.name}, which is missing: "
            "pip install -r tests/benchmarks/requirements.txt"
        ) from None
    path = os.path.join(os.path.dirname(rapidocr.__file__), "models", MODEL)
    if not os.path.exists(path):
        raise UserError(
            f"this rapidocr has no {MODEL}: pip install -r tests/benchmarks/requirements.txt"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    listed = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    symbols, name = ["", *listed, " "], session.get_inputs()[0].name

    def read(strokes):
        scores = session.run(None, {name: judge_input(draw_line(strokes))})[0]  # [1, T, symbols]
        return greedy_ctc(scores[0].argmax(axis=-1), symbols)

    return read


# ------------------------------------------------------------------------------------- measuring


class Reading(NamedTuple):
    """A line that the judge has read."""

    found: str
    text: str
    kind: str  # of KINDS
    wrong: bool = False  # whether write_lines says that the line went wrong


def read_sentences(alphabet):
    """The sentences of each of KINDS, {kind: list of str}, without those that have a character that
    is not in the alphabet. Raises UserError if none is left.
    """
    kinds = {"prose": SENTENCES.read_text(encoding="utf-8").splitlines()}
    _, *parts = re.split("^== (.+) ==\n", HARD.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for kind, lines in zip(parts[::2], parts[1::2], strict=True):
        kinds[kind] = lines.splitlines()
    known = set(alphabet)
    kinds = {kind: [text for text in kinds[kind] if set(text) <= known] for kind in KINDS}
    if not any(kinds.values()):
        raise UserError("the network has learnt too few characters for any of our sentences")
    return kinds


def kind_of(text):
    """Which of KINDS the text of a real line is, by its characters; names count as prose."""
    length, letters = len(text.replace(" ", "")), sum(c.isalpha() for c in text)
    if sum(c in "#$%&*+/<=>@[\\]^_`{|}~" for c in text) > 0.15 * length:
        return "symbols"
    if sum(c.isdigit() for c in text) > 0.3 * length:
        return "numbers"
    capitals = sum(c.isupper() for c in text)
    return "capitals" if capitals > max(1, letters / 2) else "prose"


def score_kinds(readings):
    """What `score` says of each kind among the Readings, {kind: figures}, and in `wrong` the share
    of lines that went wrong.
    """
    figures = {}
    for kind in KINDS:
        if own := [reading for reading in readings if reading.kind == kind]:
            found, texts, _, wrong = zip(*own, strict=True)
            figures[kind] = score(found, texts) | {"wrong": sum(wrong) / len(wrong)}
    return figures


def measure_legibility(model, real, seed):
    """What `score_kinds` says, {name: {kind: figures}}, of real lines, a list of (strokes, text),
    and of the sentences in tests/benchmarks as the network writes them: at several biases, each
    line in a hand of its own, at the default one also without a choice between drawings; and at
    that in each style that comes with the program.

    Sentences with a character that the network has not learnt are left out. At other biases than
    the default one, one in FEWER is drawn, and in the styles each by turns, so that only all styles
    together have figures of those that are no prose.
    """
    from handwriting.network.backend import tf
    from handwriting.text.writing import BIAS, CANDIDATES, write_lines

    read, sentences = make_judge(), read_sentences(model.alphabet)
    prose = [(text, "prose") for text in sentences.pop("prose")]
    hard = [(text, kind) for kind, texts in sentences.items() for text in texts]
    real = real[:: max(1, len(real) // REAL)]
    real = [Reading(read(strokes), text, kind_of(text)) for strokes, text in real]

    def write(pairs, bias, style, candidates=CANDIDATES):
        """A Reading of each of the pairs (text, kind)."""
        if not pairs:
            return []
        sess, texts = tf.random.Generator.from_seed(seed), [text for text, _ in pairs]
        lines = write_lines(model, sess, texts, bias, style, False, candidates=candidates)
        return [
            Reading(read(line.strokes), text, kind, bool(line.problem))
            for line, (text, kind) in zip(lines, pairs, strict=True)
        ]

    readings = {"real lines": real}
    for bias in sorted({*BIASES, BIAS}):
        parts = [part if bias == BIAS else part[::FEWER] for part in (prose, hard)]
        readings[f"bias {bias:g}"] = [line for part in parts for line in write(part, bias, None)]
    once = [write(part, BIAS, None, 1) for part in (prose, hard)]
    readings[f"bias {BIAS:g}, drawn once"] = once[0] + once[1]
    styles, together = read_styles(), []
    for place, (name, style) in enumerate(styles.items()):
        readings[f"style {name}"] = write(prose[place :: len(styles)], BIAS, style)
        together += readings[f"style {name}"] + write(hard[place :: len(styles)], BIAS, style)
    if styles:
        readings["all styles"] = together
    return {name: score_kinds(own) for name, own in readings.items()}
