"""Minibatches of whole lines with their texts.

Source: A. Graves, "Generating Sequences With Recurrent Neural Networks" (arXiv 1308.0850), section
5.
"""

import collections
import itertools

from handwriting.files import UserError
from handwriting.hand.encoder import encode_data
from handwriting.hand.vectors import KNOWN, hands_by_others, mean_hand
from handwriting.ink.cache import read_misread
from handwriting.ink.database import form_names
from handwriting.network.cells import HAND
from handwriting.text.alphabet import encode, make_alphabet
from handwriting.text.lines import join_lines
from handwriting.text.spelling import can_write
from utils import START, DataLoader

import numpy as np

# Shares of sequences that are one line, or two or three of one form joined; all are one line
# without --join_lines.
JOINED, ALONE = {1: 0.25, 2: 0.35, 3: 0.4}, {1: 1.0}
MANY = 1000  # lines, from which letters can be learnt that are otherwise put together
MULTIPLE = 64  # points, of which a batch's length is a multiple
SLICES = 16  # a batch is one of so many slices of more sequences, sorted by length
NO_HAND = 0.1  # of sequences are told none
RARE = 0.02  # lines with a character that fewer lines than this share have are drawn more often,
MAX_REPEAT = 8.0  # by the square root of how much fewer, but not more often than this
OUTLIERS = 0.1  # per cent of the training lines left out at either end of each measure


def measures(line, text):
    """By what outliers are told: points, points per character, pen units to the right for each."""
    return len(line), len(line) / len(text), np.ptp(np.cumsum(line[1:, 0])) / len(text)


class TextLoader(DataLoader):
    """Whole lines with their texts, in minibatches of similar length.

    Differs from DataLoader in: data, texts_of_data: the training lines that have a text, float32
    [n, 3] in scaled units; chances: how likely each is drawn; valid_data, valid_texts: the
    validation lines and their texts. alphabet: the characters of the training lines' texts, unless
    one is given; lines with others are left out, unless it is to grow by them. Letters that
    marks.py puts together are too many to learn from few lines: there the alphabet stays without
    them, and the window sees nothing. Left out, since their text and ink may not belong together,
    are training lines of which one of `measures` is among the OUTLIERS smallest or largest, and
    those, as of validation, that the reader found (`read_misread`). join_lines: most sequences
    are joined lines. hands: for each there is a hand, by other lines of its form; valid_hands [B,
    HAND]: those of the validation lines. Raises UserError if there are no texts.
    """

    def __init__(self, batch_size, scale_factor, data_dir="data", *, seed=None, alphabet="",
                 grow=False, join_lines=False, hands=False):
        super().__init__(batch_size, 1, scale_factor, data_dir=data_dir, seed=seed)
        self.joined = JOINED if join_lines else ALONE
        places = range(len(self.raw_data))
        lines = list(zip(self.raw_data, self.texts, form_names(self.names), places, strict=False))
        misread = read_misread(self.folder)
        readable = [name not in misread for name in self.names or ()]
        training, validation = (
            [
                line
                for line, chosen, good in zip(lines, split, readable, strict=False)
                if chosen and good and line[1] and len(line[0]) > 3
            ]
            for split in (self.trains, self.validates)
        )
        if len(training) + len(validation) == 1:
            validation = training = training or validation  # better than nothing
        if not training or not validation:
            raise UserError(
                f"--text needs transcriptions, but the lines in {self.folder} that train or "
                "validate have none; put ascii-all.tar.gz of the database there, beside the lines"
            )
        found = make_alphabet(text for _, text, *_ in training)
        new = [c for c in found if c not in alphabet] if grow or not alphabet else []
        if alphabet and len(training) < MANY:
            new = [c for c in new if not can_write(c, alphabet)]
        self.alphabet = alphabet + "".join(new)
        writable = {c for c in found if can_write(c, self.alphabet)}
        known = [line for line in training if set(line[1]) <= writable]
        if not known:
            raise UserError(
                f"all texts in {self.folder} have characters that the network has not learnt; it "
                f"can write: {self.alphabet.strip()}"
            )
        table = np.array([measures(line, text) for line, text, *_ in known])
        low, high = np.percentile(table, [OUTLIERS, 100 - OUTLIERS], axis=0)
        usual = ((table >= low) & (table <= high)).all(axis=1)
        # Of few lines the ends are no outliers.
        used = list(itertools.compress(known, usual)) if len(known) * OUTLIERS >= 100 else known

        self.lines, self.texts_of_data, forms, places = map(list, zip(*used, strict=True))
        self.data = self.scaled(self.lines)
        self.valid_data = self.scaled([line for line, *_ in validation])
        self.valid_texts = [text for _, text, *_ in validation]
        self.vectors, self.valid_hands = None, None
        if hands:
            vectors = encode_data(self.folder, self.raw_data)
            self.vectors = vectors[places]
            *_, of_forms, chosen = zip(*validation, strict=True)
            self.valid_hands = hands_by_others(vectors[list(chosen)], of_forms)
        members = collections.defaultdict(list)
        for k, form in enumerate(forms):
            members[form].append(k)
        self._siblings = [members[form] for form in forms]
        self._lengths = np.array(list(map(len, self.data)))
        self.chances = self._repeats() / self._repeats().sum()
        per_sequence = sum(number * share for number, share in self.joined.items())
        self.num_batches = max(1, round(len(self.data) / (batch_size * per_sequence)))
        self.summary = (
            f"Data in {self.folder}: {len(self.data):,} lines with texts ({self._lengths.sum():,} "
            f"points) train, {len(self.valid_data):,} validate; of those that train "
            f"{sum(self.trains) - len(training):,} left out because they have no text or another, "
            f"{len(training) - len(known):,} with characters that the network does not know, "
            f"{len(known) - len(used):,} with the {OUTLIERS} % fewest or most points, or points or "
            f"pen units per character; {len(self.alphabet)} characters."
        )

    def _repeats(self):
        """How often each line counts, so that its rarest character is drawn often enough.

        Repeat factors of Gupta, Dollar and Girshick (arXiv 1908.03195): max over characters c of
        sqrt(RARE / f_c), at least 1, with f_c the share of lines that have c.
        """
        counts = collections.Counter(c for text in self.texts_of_data for c in set(text))
        wanted = RARE * len(self.texts_of_data)
        learnt = [[counts[c] for c in text if c in self.alphabet] for text in self.texts_of_data]
        rarest = np.array([min(found, default=wanted) for found in learnt])
        return np.clip(np.sqrt(wanted / rarest), 1.0, MAX_REPEAT)

    def next_batch(self):
        """x and y, float32 [B, T, 3] in scaled units, y one point ahead of x; the lengths of the
        sequences, int32 [B]; their texts, int32 [B, U]; with `hands` whose they are, float32 [B,
        HAND], zero of a share of NO_HAND.

        A sequence is a line, or several of one form joined (`join_lines`). Half of them begin with
        the point START before the line. Zeros behind a sequence, -1 behind a text are padding. In
        the first epoch batches are of the shortest sequences at first and of all in the end, since
        the window learns to read along on short texts first (SortaGrad of D. Amodei et al.,
        "Deep Speech 2", arXiv 1512.02595).
        """
        number = self.rng.choice(list(self.joined), p=list(self.joined.values()))
        firsts = self.rng.choice(len(self.data), self.batch_size * SLICES, p=self.chances)
        chains = [[first, *self._others(first, number - 1)] for first in firsts.tolist()]
        lengths = [self._lengths[chain].sum() for chain in chains]
        slices = min(SLICES, 1 + SLICES * self.drawn // self.num_batches)
        start = self.batch_size * self.rng.integers(slices)
        self.drawn += 1
        rows = np.argsort(lengths, kind="stable")[start : start + self.batch_size]
        chains = [chains[row] for row in self.rng.permutation(rows)]
        sequences = list(map(self._sequence, chains))
        lines, texts = zip(*sequences, strict=True)
        lengths = np.array(list(map(len, lines)), np.int32)
        longest = -(-lengths.max() // MULTIPLE) * MULTIPLE
        points = np.zeros([self.batch_size, longest + 1, 3], np.float32)
        for row, line in zip(points, lines, strict=True):
            row[: len(line)] = line
        batch = points[:, :-1], points[:, 1:], lengths, encode(texts, self.alphabet)
        return batch if self.vectors is None else (*batch, np.stack(list(map(self._hand, chains))))

    def _others(self, line, number):
        """So many other lines of this line's form, fewer if it has fewer: the nearest, which are
        more alike than others."""
        others = [k for k in self._siblings[line] if k != line] if number else []
        return sorted(self.rng.permutation(others).tolist(), key=lambda k: abs(k - line))[:number]

    def _hand(self, chain):
        """The hand [HAND] by some other lines of the form, or zeros."""
        others = [k for k in self._siblings[chain[0]] if k not in chain]
        if not others or self.rng.random() < NO_HAND:
            return np.zeros(HAND, np.float32)
        number = self.rng.integers(1, KNOWN + 1)
        return mean_hand(self.vectors[self.rng.permutation(others)[:number]])

    def _sequence(self, chain):
        """The lines of a chain as one line in scaled units, with or without START, and its text."""
        texts = [self.texts_of_data[k] for k in chain]
        line, text = self.data[chain[0]], texts[0]
        if len(chain) > 1:
            joined, text = join_lines([self.lines[k] for k in chain], texts)
            line = self.scaled([joined])[0]
        return (np.vstack([START, line]) if self.rng.random() < 0.5 else line), text
