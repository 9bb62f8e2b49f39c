"""Train the encoders of hands, one that reads pictures and one that reads strokes:

    python -m handwriting.train_hands [--data_dir data] [--model_dir save/hands]

Each learns to tell the people who wrote the training lines apart, so that lines of others, too, get
vectors by which hands are told apart.
"""

import collections
import itertools
import os
import sys

from handwriting.files import UserError
from handwriting.flags import Parser, errors_as_sentences, file_name, number, progress_bar, say
from handwriting.hand.encoder import LAYERS, Encoder, look, pad
from handwriting.hand.pictures import outline, photograph
from handwriting.hand.vectors import KNOWN
from handwriting.ink.cache import read_misread
from handwriting.ink.parallel import run, share
from handwriting.network.backend import keras, tf
from handwriting.network.cells import HAND
from handwriting.network.checkpoint import write_tensors
from utils import DataLoader

import numpy as np

SHORTEST = 8  # characters of a line that tells a hand
FEWEST = 3  # lines of a person who is learnt
MANY = 60  # lines, from which more do not make a person's be drawn more often
VERSIONS = {"pictures": 2, "strokes": 1}  # of a line, drawn beforehand
WIDTH = {"pictures": (384, 384), "strokes": (384, 1024)}  # columns of a batch: least, most
DROPOUT = {"pictures": 0.2, "strokes": 0.3}
BATCH = 64  # lines in a step
SCALE = 16.0  # of cosines that are logits
SMOOTHING = 0.1  # of labels
WARMUP = 100  # steps in which the learning rate rises
EVERY = 500  # steps until the encoder is scored and written
WAYS, ROUNDS, MOST = 16, 60, 30  # of the score: people, draws, lines of each


def build_parser():
    parser = Parser("python -m handwriting.train_hands", "Train the encoders of hands.")
    add = parser.add_argument
    add("--data_dir", default="data", type=file_name, help="folder of the data, as in train.py")
    add("--model_dir", default="save/hands", type=file_name, help="folder to write them to")
    add("--overwrite", action="store_true", help="write to a folder that holds encoders")
    add("--num_steps", default=4000, type=number(int, 1, 1 << 30), help="steps for each")
    add("--learning_rate", default=0.003, type=number(float, 0, 1, open_low=True),
        help="the highest; it rises at first, then falls to 0 as a cosine does")
    add("--seed", default=0, type=number(int, 0, 2**31 - 1), help="of weights and batches")
    return parser


def look_at(kind, lines, seeds):
    """What the encoder of a kind reads of lines [n, 3], varied by a seed for each: 8-bit pictures
    or float16 steps, [h, W, channels].
    """
    seen = []
    for line, seed in zip(lines, seeds, strict=True):
        found = look(kind, line, np.random.default_rng(seed))
        small = found.astype(np.float16) if kind == "strokes" else (255 * found).astype(np.uint8)
        seen.append(small)
    return seen


def look_at_all(kind, lines, seed):
    """`look_at` on all cores."""
    parts = share({k: len(line) for k, line in enumerate(lines)}, os.cpu_count() or 1)
    seeds = [(seed, k) for k in range(len(lines))]
    jobs = [(kind, [lines[k] for k in part], [seeds[k] for k in part]) for part in parts]
    found = zip(itertools.chain(*parts), itertools.chain(*run(look_at, jobs)), strict=True)
    return [seen for _, seen in sorted(found, key=lambda pair: pair[0])]


def vary(kind, seen, width, rng):
    """At most `width` columns of what is seen of a line, [h, W, channels], as they might be seen
    another time: float32.
    """
    if (more := seen.shape[1] - width) > 0:
        start = int(rng.integers(more + 1))
        seen = seen[:, start : start + width]
    if kind == "strokes":
        return seen.astype(np.float32) * np.float32([*rng.normal(1, 0.05, 2), 1])
    picture = np.roll(seen[..., 0], rng.integers(-2, 3), axis=0).astype(np.float32) / 255
    return photograph(picture, rng)[..., None]


class Hands:
    """Lines of a DataLoader by people of whom there are FEWEST or more.

    chosen: which of its lines, a list of bool. lines: [n, 3] each in pen units. people: for each
    the rows of lines, a list.
    """

    def __init__(self, data, chosen):
        misread, by_person = read_misread(data.folder), collections.defaultdict(list)
        for k, line in enumerate(data.raw_data):
            told = chosen[k] and len(data.texts[k] or "") >= SHORTEST
            if told and data.names[k] not in misread and outline(line):
                by_person[data.hands[k]].append(line)
        self.lines, self.people = [], []
        for _, lines in sorted(by_person.items()):
            if len(lines) >= FEWEST:
                self.people.append(range(len(self.lines), len(self.lines) + len(lines)))
                self.lines += lines


def make_train_step(encoder, people, optimizer, dropout):
    """A function: inputs and their widths (`pad`), whose they are, int32 [B] -> the loss, in nats a
    line, before one step. people: how many there are.
    """
    start = keras.initializers.RandomNormal(stddev=1.0, seed=1)((people, HAND))
    centres = keras.Variable(start, dtype="float32", name="centres")
    variables = [*encoder.trained, centres]
    optimizer.build(variables)

    @tf.function(autograph=False, reduce_retracing=True)
    def train_step(x, widths, whose):
        with tf.GradientTape() as tape:
            vectors = encoder.vectors(x, widths, True, dropout)
            cosines = tf.matmul(vectors, tf.math.l2_normalize(centres.value, axis=1), False, True)
            own = tf.one_hot(whose, people)
            wanted = (1 - SMOOTHING) * own + SMOOTHING / people
            losses = tf.nn.softmax_cross_entropy_with_logits(wanted, SCALE * cosines)
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    return train_step


def identify(vectors, people, known):
    """The share of lines whose vector [n, HAND] is nearest to the mean of `known` others by the
    same person, among WAYS people; nan without people. people: for each a list of more rows than
    are known.
    """
    rng, right = np.random.default_rng(0), []
    if not people:
        return float("nan")
    for _ in range(ROUNDS):
        chosen = rng.permutation(len(people))[:WAYS]
        rows = [rng.permutation(people[k]) for k in chosen]
        centres = np.stack([vectors[each[:known]].mean(axis=0) for each in rows])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        for place, each in enumerate(rows):
            found = (vectors[each[known:]] @ centres.T).argmax(axis=1)
            right += (found == place).tolist()
    return float(np.mean(right))


def train(kind, data, args):
    """Train the encoder of a kind and write it; tells what it is worth on validation lines."""
    rng = np.random.default_rng(args.seed)
    hands, others = Hands(data, data.trains), Hands(data, data.validates)
    if len(hands.people) < 2:
        raise UserError(f"--data_dir {args.data_dir} needs {FEWEST} lines with texts of two people")
    say(f"{kind}: drawing {len(hands.lines):,} lines by {len(hands.people)} people")
    versions = [look_at_all(kind, hands.lines, version) for version in range(VERSIONS[kind])]
    chances = np.array([min(len(rows), MANY) ** 0.5 for rows in hands.people])
    chances /= chances.sum()
    seen, tested = [], []
    for rows in others.people:
        if len(rows) > KNOWN:
            some = rows[:: -(-len(rows) // MOST)]
            tested.append(range(len(seen), len(seen) + len(some)))
            seen += [look(kind, others.lines[k]) for k in some]
    path = os.path.join(args.model_dir, f"{kind}.safetensors")
    tf.random.set_seed(args.seed)  # of dropout
    encoder = Encoder(kind, args.seed)
    optimizer = keras.optimizers.AdamW(args.learning_rate, weight_decay=0.003, clipnorm=1.0)
    train_step, losses = make_train_step(encoder, len(hands.people), optimizer, DROPOUT[kind]), []
    with progress_bar("training", args.num_steps, "steps") as bar:
        for step in range(args.num_steps):
            falling = 0.5 + 0.5 * np.cos(np.pi * step / args.num_steps)
            optimizer.learning_rate = args.learning_rate * min(1, (step + 1) / WARMUP) * falling
            least, most = WIDTH[kind]
            width = int(rng.integers(least, most + 1))
            whose = rng.choice(len(hands.people), BATCH, p=chances)
            rows = [rng.choice(hands.people[k]) for k in whose]
            batch = [versions[rng.integers(len(versions))][k] for k in rows]
            x, widths = pad([vary(kind, each, width, rng) for each in batch])
            losses.append(float(train_step(x, widths, whose.astype(np.int32))))
            bar.update(1)
            if (step + 1) % EVERY == 0 or step + 1 == args.num_steps:
                right = identify(encoder.encode(seen), tested, KNOWN)
                write_tensors(path, encoder.variables, {"identified": right, "step": step + 1})
                say(f"step {step + 1}: loss {np.mean(losses[-EVERY:]):.3f}, {100 * right:.1f} % of "
                    f"the validation lines found among {WAYS} people by {KNOWN} lines")


def main(argv=None):
    with errors_as_sentences("handwriting.train_hands"):
        args = build_parser().parse_args(argv)
        paths = [os.path.join(args.model_dir, f"{kind}.safetensors") for kind in LAYERS]
        if any(map(os.path.exists, paths)) and not args.overwrite:
            where = f"--model_dir {args.model_dir}"
            raise UserError(f"{where} holds encoders; name another folder, or give --overwrite")
        os.makedirs(args.model_dir, exist_ok=True)
        data = DataLoader(1, 1, data_dir=args.data_dir)
        for kind in LAYERS:
            train(kind, data, args)


if __name__ == "__main__":
    main(sys.argv[1:])
