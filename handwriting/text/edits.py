"""What a recogniser read beside what is written: CTC as text, edit distances, alignments."""

import numpy as np


def greedy_ctc(columns, symbols):
    """The text of columns [T], each the number of its likeliest symbol: repeats count once, and 0
    stands for none.
    """
    columns = np.asarray(columns)
    new = np.append(True, columns[1:] != columns[:-1])
    return "".join(symbols[k] for k in columns[new] if 0 < k < len(symbols))


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


def align(read, text):
    """One of the best alignments of what was read with the text: for each character of `read` the
    place in `text` that it stands for, or None.

    Where alignments are equally good, substitutions go before insertions and deletions.
    """
    table, places = distances(read, text), [None] * len(read)
    i, j = len(read), len(text)
    while i and j:
        if table[i, j] == table[i - 1, j - 1] + (read[i - 1] != text[j - 1]):
            i, j = i - 1, j - 1
            places[i] = j
        elif table[i, j] == table[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return places


def matched(read, text):
    """Which places of `text` `read` has right, a list of numbers, in the alignment of `align`."""
    places = zip(align(read, text), read, strict=True)
    return [j for j, character in places if j is not None and character == text[j]]
