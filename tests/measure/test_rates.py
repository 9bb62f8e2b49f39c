"""handwriting/measure/rates.py: edit distances and rates, against their definitions."""

from handwriting.measure.rates import score

import pytest


def test_score_of_texts_read_without_fault():
    found = score([" a  b", "c "], ["a b", " c"])  # spaces at the ends and runs of them
    shares = {" ": [1, 1.0], "a": [1, 1.0], "b": [1, 1.0], "c": [1, 1.0]}
    rates = {"lines": 2, "cer": 0.0, "wer": 0.0, "failed": 0.0}
    assert found == {**rates, "characters": shares, "rows": [0, 0]}


def test_score_counts_insertions_deletions_and_substitutions():
    texts = ["one two", "aab", "xyz"]
    # A substitution and an insertion; a deletion, a third of a line; nothing right.
    found = score(["ona twoo", "ab", "q"], texts)
    assert found["cer"] == pytest.approx((2 + 1 + 3) / 13)
    assert found["wer"] == pytest.approx((2 + 1 + 1) / 4)
    assert found["failed"] == pytest.approx(2 / 3)
    shares = found["characters"]
    assert "".join(shares) == " abenotwxyz"
    assert shares["o"] == [2, 1.0] and shares["e"] == [1, 0.0] and shares["n"] == [1, 1.0]
    assert shares["a"] == [2, 0.5] and shares["b"] == [1, 1.0] and shares[" "] == [1, 1.0]
    assert [shares[c] for c in "xyz"] == [[1, 0.0]] * 3


def test_score_of_a_line_at_the_limit_is_not_failed():
    assert score(["abcdefg"], ["abcdefghij"])["failed"] == 0.0
    assert score(["abcdef"], ["abcdefghij"])["failed"] == 1.0
    # More characters read than there are: the rate is above 1.
    assert score(["abcd"], ["x"])["cer"] == 4.0


def test_score_needs_a_text_for_each_line_and_characters():
    with pytest.raises(ValueError, match="argument 2"):
        score(["a"], ["a", "b"])
    for texts in ([], [" "]):
        with pytest.raises(ValueError, match="no characters to score"):
            score(texts, texts)


def test_score_counts_rows_of_one_character_by_their_length():
    found = score(["H H H", "EEE", "x", ".."], ["HHH", "EEEE", "I", "..."])
    assert found["rows"] == [3, 1]
