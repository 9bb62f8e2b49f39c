"""Train the reader of strokes that tells what the network wrote:

    python -m handwriting.train_reader [--data_dir data] [--model_dir save/reader]

It learns from lines with texts, as train.py --text does, each a little changed every time: size,
slant, slope, shaking and the density of points.
"""

import contextlib
import json
import os
import sys

from handwriting.files import UserError, atomic_write
from handwriting.flags import Parser, errors_as_sentences, file_name, number, progress_bar, say
from handwriting.ink.cache import MISREAD
from handwriting.network.backend import keras, tf
from handwriting.network.checkpoint import BEST, write_tensors
from handwriting.text.alphabet import encode
from handwriting.text.edits import edit_distance
from handwriting.text.loader import TextLoader
from handwriting.text.reader import FEATURES, Reader, ctc_losses, features, load_reader, pad

import numpy as np

FRAMES = 2600  # in a batch, with their padding: about 16 lines of the database
LINES = 256  # drawn at once, so that lines of a batch are of one length
WARMUP = 200  # steps in which the learning rate rises
MOST = 1000  # validation lines, about
DOUBTFUL = 4.0  # times the batch's loss in nats a character: the line says something else
UNLIKELY = 2.5  # nats a character against a text: the line says something else, or is cut off
TESTS = ("testset_v", "test")  # parts of the data that nothing learns from
# Standard deviations of what changes: logarithms of width and height together and of their ratio,
# dx for each dy, dy for each dx, pen units that a point is off.
SIZE, RATIO, SLANT, SLOPE, SHAKE = 0.15, 0.12, 0.2, 0.03, 3.0


def build_parser():
    parser = Parser("python -m handwriting.train_reader", "Train a reader of lines of handwriting.")
    add = parser.add_argument
    add("--data_dir", default="data", type=file_name, help="folder of the data, as in train.py")
    add("--model_dir", default="save/reader", type=file_name, help="folder to write the reader to")
    add("--overwrite", action="store_true", help="write to a folder that holds a reader")
    add("--channels", default=96, type=number(int, 1, 1024), help="size of the network")
    add("--num_epochs", default=20, type=number(int, 1, 10_000), help="passes over the lines")
    add("--learning_rate", default=0.002, type=number(float, 0, 1, open_low=True),
        help="the highest; it rises at first, then falls to 0 as a cosine does")
    add("--dropout", default=0.1, type=number(float, 0, 0.9), help="share of channels left out")
    add("--seed", default=0, type=number(int, 0, 2**31 - 1), help="of weights and batches")
    return parser


def vary(strokes, rng):
    """Strokes [n, 3] as somebody else might have written them."""
    size, ratio = np.exp([SIZE, RATIO] * rng.normal(size=2))
    slant, slope, shake = [SLANT, SLOPE, SHAKE] * rng.normal(size=3)
    x, y = np.cumsum(strokes[:, :2], axis=0, dtype=float).T
    x, y = size * ratio * (x + slant * y), size / ratio * (y + slope * x)
    xy = np.stack([x, y], axis=1) + shake * rng.normal(size=[len(x), 2])
    return np.column_stack([np.diff(xy, axis=0, prepend=0), strokes[:, 2]])


def draw_batches(data, rng):
    """Batches of LINES lines of a TextLoader, each of about one length: frames [B, N, D], how many
    each line has, and its text's symbols [B, U].
    """
    chosen = rng.choice(len(data.data), LINES, p=data.chances)
    lines = {k: features(vary(data.data[k], rng)) for k in chosen}
    order, batches = sorted(chosen, key=lambda k: -len(lines[k])), []
    while order:
        size = max(1, FRAMES // len(lines[order[0]]))
        batch, order = order[:size], order[size:]
        chars = encode([data.texts_of_data[k] for k in batch], data.alphabet)
        batches.append((*pad([lines[k] for k in batch]), chars))
    return [batches[k] for k in rng.permutation(len(batches))]


def make_train_step(reader, optimizer, dropout):
    """A function: one batch -> its loss in nats a character, after one step."""
    variables = list(reader.variables.values())
    optimizer.build(variables)
    shapes = ([None, None, FEATURES], tf.float32), ([None], tf.int32), ([None, None], tf.int32)
    specs = [tf.TensorSpec(*shape) for shape in shapes]

    @tf.function(autograph=False, input_signature=specs)
    def train_step(frames, lengths, chars):
        with tf.GradientTape() as tape:
            losses = ctc_losses(reader.logits(frames, lengths, dropout), lengths, chars)
            sizes = tf.math.count_nonzero(chars > 0, axis=1, dtype=tf.float32)
            mean = tf.reduce_sum(losses) / tf.reduce_sum(sizes)
            used = tf.stop_gradient(tf.cast(losses <= DOUBTFUL * mean * sizes, tf.float32))
            loss = tf.reduce_sum(used * losses) / tf.reduce_sum(used * sizes)
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    return train_step


def error_rate(reader, lines, texts):
    """The share of characters that the reader has wrong of lines [n, 3] in pen units."""
    read = [reader.text(logits) for logits in reader.look(lines)]
    errors = sum(edit_distance(*pair) for pair in zip(read, texts, strict=True))
    return errors / sum(map(len, texts))


def find_misread(reader, data):
    """The names, sorted, of lines of a DataLoader in pen units that seem to say something else than
    their texts.
    """
    places, found = [k for k, text in enumerate(data.texts) if text and data.names], []
    for start in range(0, len(places), LINES):
        part = places[start : start + LINES]
        texts = [data.texts[k] for k in part]
        logits = reader.look(data.scaled([data.raw_data[k] for k in part]))
        nats = reader.log_probabilities(logits, texts)
        for k, text, likely in zip(part, texts, nats, strict=True):
            if likely < -UNLIKELY * len(text):
                found.append(data.names[k])
    return sorted(found)


def train(args):
    """Train as the flags say, and write the best Reader by validation; returns it, and the
    TextLoader of its data, in pen units. Raises UserError.
    """
    weights, config = (os.path.join(args.model_dir, name) for name in (BEST, "config.json"))
    if os.path.exists(weights) and not args.overwrite:
        where = f"--model_dir {args.model_dir}"
        raise UserError(f"{where} holds weights; name another folder, or give --overwrite")
    os.makedirs(args.model_dir, exist_ok=True)
    data = TextLoader(1, 1.0, args.data_dir, seed=args.seed)
    say(data.summary)
    rng = np.random.default_rng(args.seed)
    tf.random.set_seed(args.seed)
    reader = Reader(data.alphabet, args.channels, args.seed)
    optimizer = keras.optimizers.AdamW(args.learning_rate, weight_decay=0.01, clipnorm=1.0)
    train_step = make_train_step(reader, optimizer, args.dropout)
    every = max(1, len(data.valid_data) // MOST)
    total, seen, step, losses, best = args.num_epochs * len(data.data), 0, 0, [], np.inf
    with progress_bar("training", total, "lines") as bar:
        while seen < total:
            epoch = seen // len(data.data)
            for batch in draw_batches(data, rng):
                step += 1
                falling = 0.5 + 0.5 * np.cos(np.pi * min(1.0, seen / total))
                optimizer.learning_rate = args.learning_rate * min(1, step / WARMUP) * falling
                losses.append(float(train_step(*batch)))
                seen += len(batch[0])
                bar.update(len(batch[0]))
            if seen < total and seen // len(data.data) == epoch:
                continue
            rate = error_rate(reader, data.valid_data[::every], data.valid_texts[::every])
            epoch = min(seen // len(data.data), args.num_epochs)
            say(f"epoch {epoch} of {args.num_epochs}: loss {np.mean(losses):.3f} nats a character, "
                f"{100 * rate:.2f} % of the validation lines' characters misread")  # fmt: skip
            losses = []
            if rate < best:
                best = rate
                write_tensors(weights, reader.variables, {"cer": rate})
                with atomic_write(config) as file:
                    network = {"alphabet": reader.alphabet, "channels": args.channels}
                    file.write((json.dumps(network | {"seed": args.seed}) + "\n").encode())
    return load_reader(args.model_dir), data


def use(reader, data):
    """Tell how well a reader reads what is kept for tests, and write beside the data the names of
    lines that it reads quite otherwise than their texts.
    """
    for name in TESTS:
        with contextlib.suppress(UserError, OSError):  # the data has no such part
            places = [k for k in data.select(name) if data.texts[k]]
            lines = data.scaled([data.raw_data[k] for k in places])
            rate = error_rate(reader, lines, [data.texts[k] for k in places])
            say(f"{name}: {100 * rate:.2f} % of the characters of {len(lines)} lines misread")
    names = find_misread(reader, data)
    with atomic_write(os.path.join(data.folder, MISREAD)) as file:
        file.write((json.dumps(names, indent=0) + "\n").encode())
    say(f"{len(names)} lines seem to say something else than their texts; see {MISREAD}")


def main(argv=None):
    with errors_as_sentences("handwriting.train_reader"):
        use(*train(build_parser().parse_args(argv)))


if __name__ == "__main__":
    main(sys.argv[1:])
