"""Unevenness: what it does to gaps, edges and baselines, by the numbers that it has from people."""

import itertools

from handwriting.drawing import unevenness
from handwriting.drawing.unevenness import BEND, EDGE, GAP, HEIGHT, MOST, RISE, Unevenness
from handwriting.text.words import Word

import numpy as np
import pytest

WORD = Word("on", [np.array([[0.0, -2], [3, 0]])], 4.0)


def make(amount, seed=0):
    return Unevenness(amount, 2.0, np.random.default_rng(seed))


def rows_of(uneven, rows=3000):
    """What becomes of a straight baseline of 100 mm: heights [rows, 101] at x = 0 to 100."""
    line = np.stack([np.arange(101.0), np.zeros(101)], axis=1)
    return np.array([uneven.move_row([line], 100.0)[0][:, 1] for _ in range(rows)])


def test_none_leaves_all_as_it_is():
    uneven, stroke = make(0.0), np.random.default_rng(1).normal(size=(9, 2))
    assert uneven.vary_gap(WORD).gap == 4.0
    assert not np.any(next(uneven.edges))
    np.testing.assert_array_equal(uneven.move_row([stroke], 50.0), [stroke])


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_gaps_vary_around_what_was_drawn(amount):
    uneven = make(amount)
    words = [uneven.vary_gap(WORD) for _ in range(4000)]
    gaps = np.log([word.gap / 4 for word in words])
    # Deviations beyond MOST are cut off, which takes 4 % of the standard deviation of the normal.
    assert gaps.std() == pytest.approx(0.96 * amount * GAP, rel=0.05)
    assert gaps.mean() == pytest.approx(0, abs=0.02)
    assert np.abs(gaps).max() == pytest.approx(MOST * amount * GAP)
    assert words[0].strokes is WORD.strokes


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_edges_wander_and_stay_within_the_margins(amount):
    edges = np.array(list(itertools.islice(make(amount).edges, 4000)))
    unit = 2 * amount * EDGE  # mm
    assert edges.min() >= 0 and edges.max() <= 2 * MOST * unit
    np.testing.assert_allclose(edges.std(axis=0), 0.96 * unit, rtol=0.1)
    next_to = [np.corrcoef(edge[1:], edge[:-1])[0, 1] for edge in edges.T]
    np.testing.assert_allclose(next_to, unevenness.CARRY, atol=0.05)
    assert abs(np.corrcoef(edges.T)[0, 1]) < 0.1


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_baselines_rise_and_bend_as_people_write(amount):
    t = np.linspace(-1, 1, 101)
    height, rise, bend = np.polynomial.legendre.legfit(t, rows_of(make(amount)).T, 2) / 2 / amount
    means = [part.mean() for part in (height, 2 * rise, bend)]
    np.testing.assert_allclose(means, [0, RISE[0], BEND[0]], atol=0.1)
    spreads = [part.std() / 0.96 for part in (height, 2 * rise, bend)]
    np.testing.assert_allclose(spreads, [HEIGHT, RISE[1], BEND[1]], rtol=0.1)
    assert np.corrcoef(rise[1:], rise[:-1])[0, 1] == pytest.approx(unevenness.CARRY, abs=0.05)
    assert abs(np.corrcoef(height[1:], height[:-1])[0, 1]) < 0.1


def test_the_same_seed_gives_the_same():
    first, same, other = (rows_of(make(1.0, seed), 3) for seed in (1, 1, 2))
    assert (first == same).all() and (first != other).any()
