"""How far a text that was read is from the one that was written: edit distances and rates."""

import collections

import numpy as np

FAILED = 0.3  # a line with a higher character error rate counts as failed
RATES = ("cer", "wer", "failed")


def distances(a, b):
    """All edit distances [len(a) + 1, len(b) + 1] between the beginnings of a and b.

    Each row comes from the row above at once: the best of deletions and substitutions, then of any
    number of insertions behind those, whose cost is the number of columns passed.
    """
    numbers = {value: k for k, value in enumerate(dict.fromkeys([*a, *b]))}
    values, columns = np.array([numbers[value] for value in b], int), np.arange(len(b) + 1)
    table = np.empty([len(a) + 1, len(b) + 1], int)
    table[0] = columns
    for row, value in enumerate(a, 1):
        above, here = table[row - 1], table[row]
        here[0] = row
        here[1:] = np.minimum(above[1:] + 1, above[:-1] + (values != numbers[value]))
        here[:] = np.minimum.accumulate(here - columns) + columns
    return table


def edit_distance(a, b):
    """The fewest insertions, deletions and substitutions that make a of b: two str or two lists of
    words.
    """
    return int(distances(a, b)[-1, -1])


def matched(read, text):
    """Which places of `text` `read` has right, a list of numbers, in one of the best alignments.

    Where alignments are equally good, substitutions go before insertions and deletions.
    """
    table, found = distances(read, text), []
    i, j = len(read), len(text)
    while i and j:
        same = read[i - 1] == text[j - 1]
        if table[i, j] == table[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            found += [j] if same else []
        elif table[i, j] == table[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return found[::-1]


def score(read_texts, texts):
    """How far what was read is from the texts, two lists of str, a dict; runs of spaces count as
    one space, and spaces at the ends as none.

    lines: their number; cer and wer: edit distance of characters and of words, over the number of
    those in the texts; failed: share of lines whose own cer is above FAILED; characters: for each
    character of the texts [how often it stands there, the share of those that were read]; rows: of
    lines of one character, such as HHHH, [their number, how many are read with as many characters].
    """
    if not "".join(texts).strip():
        raise ValueError("no characters to score")
    rows, whole = 0, 0
    errors, word_errors, words, failed = 0, 0, 0, 0
    stands, found = collections.Counter(), collections.Counter()
    pairs = zip(read_texts, texts, strict=True)
    for read_words, text_words in ((read.split(), text.split()) for read, text in pairs):
        read, text = " ".join(read_words), " ".join(text_words)
        distance = edit_distance(read, text)
        errors, failed = errors + distance, failed + (distance > FAILED * len(text))
        word_errors += edit_distance(read_words, text_words)
        words += len(text_words)
        if len(set(text)) == 1 < len(text):
            rows, whole = rows + 1, whole + (len("".join(read_words)) == len(text))
        stands.update(text)
        found.update(text[place] for place in matched(read, text))
    return {
        "lines": len(texts), "cer": errors / stands.total(), "wer": word_errors / words,
        "failed": failed / len(texts),
        "characters": {c: [n, found[c] / n] for c, n in sorted(stands.items())},
        "rows": [rows, whole],
    }  # fmt: skip
