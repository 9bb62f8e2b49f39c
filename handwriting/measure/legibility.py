"""How legible a line of handwriting is: the error rate of a fixed recogniser of printed and written
text.

The judge is PP-OCRv6 small (Apache-2.0, inside the wheel of rapidocr 3.10.0), run with onnxruntime
on a picture of the line; of each column the likeliest character counts (greedy CTC). The picture is
fixed, since it decides much of the result. The judge reads 300 real lines of the database with
13.6 % of characters wrong.
"""

import collections
import os
from pathlib import Path

from handwriting.files import UserError
from handwriting.text.edits import edit_distance, greedy_ctc, matched
from handwriting.text.hands import read_styles

import numpy as np

HEIGHT = 64  # pixels from the highest to the lowest point, less where a line is long
MAX_WIDTH = 3000  # pixels
PEN = 2  # pixels
PAD = 6  # pixels of white on each side
OVERSAMPLING = 4  # what is drawn is larger by this factor, then made smaller: grey edges
JUDGE_HEIGHT, JUDGE_MIN_WIDTH = 48, 16  # pixels of the recogniser's input
MODEL = "PP-OCRv6_rec_small.onnx"
FAILED = 0.3  # a line with a higher character error rate counts as failed
SENTENCES = Path(__file__).resolve().parents[2] / "tests" / "benchmarks" / "sentences.txt"
BIASES = (0.0, 0.5, 1.0, 2.0, 5.0)  # at which a network is measured, and at its default
DRAWINGS = 2  # of each sentence, for each figure
REAL = 600  # about so many real lines are read, of all parts of a split
RATES = ("cer", "wer", "failed")


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


# ------------------------------------------------------------------------------------- comparing


def score(read_texts, texts):
    """How far what was read is from the texts, two lists of str, a dict; runs of spaces count as
    one space, and spaces at the ends as none.

    lines: their number; cer and wer: edit distance of characters and of words, over the number of
    those in the texts; failed: share of lines whose own cer is above FAILED; characters: for each
    character of the texts [how often it stands there, the share of those that were read].
    """
    if not "".join(texts).strip():
        raise ValueError("no characters to score")
    errors, word_errors, words, failed = 0, 0, 0, 0
    stands, found = collections.Counter(), collections.Counter()
    pairs = zip(read_texts, texts, strict=True)
    for read_words, text_words in ((read.split(), text.split()) for read, text in pairs):
        read, text = " ".join(read_words), " ".join(text_words)
        distance = edit_distance(read, text)
        errors, failed = errors + distance, failed + (distance > FAILED * len(text))
        word_errors += edit_distance(read_words, text_words)
        words += len(text_words)
        stands.update(text)
        found.update(text[place] for place in matched(read, text))
    return {
        "lines": len(texts), "cer": errors / stands.total(), "wer": word_errors / words,
        "failed": failed / len(texts),
        "characters": {c: [n, found[c] / n] for c, n in sorted(stands.items())},
    }  # fmt: skip


# ------------------------------------------------------------------------------------- measuring


def measure_legibility(model, real, seed):
    """What `score` says, {name: figures}, of real lines, a list of (strokes, text), and of the
    sentences in tests/benchmarks as the network writes them: at several biases, each line in a
    hand of its own, at the default one also without a choice between drawings; and at that in each
    style that comes with the program.

    Sentences with a character that the network has not learnt are left out. `wrong` is the share of
    lines that write_lines says went wrong.
    """
    from handwriting.network.backend import tf
    from handwriting.text.writing import BIAS, CANDIDATES, write_lines

    read = make_judge()
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    sentences = [text for text in sentences if set(text) <= set(model.alphabet)]
    real = real[:: max(1, len(real) // REAL)]
    figures = {"real lines": score([read(strokes) for strokes, _ in real], [t for _, t in real])}

    def measure(name, bias, style, texts, candidates=CANDIDATES):
        sess = tf.random.Generator.from_seed(seed)
        lines = write_lines(model, sess, texts, bias, style, False, candidates=candidates)
        found = [read(line.strokes) for line in lines]
        figures[name] = score(found, texts)
        figures[name]["wrong"] = sum(bool(line.problem) for line in lines) / len(lines)
        return found

    for bias in sorted({*BIASES, BIAS}):
        measure(f"bias {bias:g}", bias, None, sentences * DRAWINGS)
    measure(f"bias {BIAS:g}, drawn once", BIAS, None, sentences * DRAWINGS, 1)
    styles, found = read_styles(), []
    for name, style in styles.items():
        found += measure(f"style {name}", BIAS, style, sentences)
    if found:
        figures["all styles"] = score(found, sentences * len(styles))
    return figures
