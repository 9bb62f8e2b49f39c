"""handwriting/text/edits.py: what was read beside what is written."""

from handwriting.text.edits import align, edit_distance, greedy_ctc, matched

import numpy as np
import pytest


def slow_distance(a, b):
    """The edit distance as it is defined."""
    if not (a and b):
        return len(a) + len(b)
    substituted = slow_distance(a[1:], b[1:]) + (a[0] != b[0])
    return min(substituted, slow_distance(a[1:], b) + 1, slow_distance(a, b[1:]) + 1)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("kitten", "sitting", 3),
     ("ab", "ba", 2), ("xabc", "abc", 1), ("flaw", "lawn", 2)],
)  # fmt: skip
def test_edit_distance_of_known_pairs(a, b, distance):
    assert edit_distance(a, b) == distance


def test_edit_distance_is_as_defined():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = ("".join(rng.choice(list("abc"), rng.integers(6))) for _ in range(2))
        assert edit_distance(a, b) == edit_distance(b, a) == slow_distance(a, b)


def test_edit_distance_counts_words():
    assert edit_distance(["the", "old", "barn"], ["the", "born"]) == 2


def test_matched_tells_places_of_the_text():
    assert matched("abc", "abc") == [0, 1, 2]
    assert matched("ac", "abc") == [0, 2]
    assert matched("axbc", "abc") == [0, 1, 2]
    assert matched("axc", "abc") == [0, 2]
    assert matched("", "abc") == matched("abc", "") == []


def test_greedy_ctc_makes_repeats_one():
    symbols = ["", "a", "b", " "]
    assert greedy_ctc([0, 1, 1, 0, 1, 3, 3, 2, 2, 0], symbols) == "aa b"
    assert greedy_ctc([2, 9, 2], symbols) == "bb"  # a number beyond the list is no character


def test_align_tells_what_each_character_that_was_read_stands_for():
    assert align("axbc", "abc") == [0, None, 1, 2]
    assert align("ac", "abc") == [0, 2]
    assert align("xy", "ab") == [0, 1]
    assert align("", "ab") == [] and align("ab", "") == [None, None]
