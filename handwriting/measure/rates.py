"""How far a text that was read is from the one that was written: rates."""

import collections

from handwriting.text.edits import edit_distance, matched

FAILED = 0.3  # a line with a higher character error rate counts as failed
RATES = ("cer", "wer", "failed")


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
