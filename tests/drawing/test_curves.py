"""Smooth curves through made-up strokes."""

from handwriting.drawing.curves import OVERSHOOT, curve_points, handles

import numpy as np
import pytest

rng = np.random.default_rng(0)
# Jagged walks of points some of which repeat, and steady ones as of a pen.
STROKES = [np.cumsum(rng.integers(-2, 3, (20, 2)), axis=0).astype(float) for _ in range(30)]
STROKES += [np.cumsum(np.cumsum(rng.normal(size=(30, 2)), axis=0), axis=0) for _ in range(30)]


def arc(degrees):
    """Points of a circle of radius 8 at these angles."""
    angles = np.radians(degrees)
    return 8 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_curves_pass_through_all_points():
    for stroke in STROKES:
        points = curve_points(stroke, 8)
        np.testing.assert_allclose(points[:, 0], stroke[:-1], atol=1e-9)
        np.testing.assert_allclose(points[:, -1], stroke[1:], atol=1e-9)


def test_curves_do_not_overshoot():
    """Those between two points: three quarters of OVERSHOOT; all of them: not at all."""
    for stroke in STROKES:
        ends = np.stack([stroke[:-1], stroke[1:]])
        slack = np.linalg.norm(ends[1] - ends[0], axis=1)[:, None] * OVERSHOOT
        inner, points = handles(stroke), curve_points(stroke, 16)
        for found, share in ((inner, 1), (points, 0.75)):
            low, high = ends.min(axis=0) - share * slack, ends.max(axis=0) + share * slack
            assert (found >= low[:, None] - 1e-5).all() and (found <= high[:, None] + 1e-5).all()
        assert (inner >= stroke.min(axis=0) - 1e-5).all()
        assert (inner <= stroke.max(axis=0) + 1e-5).all()


def test_curves_have_one_direction_at_a_point():
    for stroke in STROKES[30:]:
        inner = handles(stroke)
        before, after = stroke[1:-1] - inner[:-1, 1], inner[1:, 0] - stroke[1:-1]
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        np.testing.assert_allclose(cross, 0, atol=1e-4)
        assert ((before * after).sum(axis=1) >= -1e-6).all()


@pytest.mark.parametrize("first", [0, 7, 20])
@pytest.mark.parametrize("step", [10, 20, 30])
def test_curves_are_nearer_to_a_circle_than_straight_lines(first, step):
    points = curve_points(arc(np.arange(first, first + 271, step)), 16)
    away = np.abs(np.linalg.norm(points, axis=2) - 8)
    straight = 8 * (1 - np.cos(np.radians(step / 2)))
    # The same where two points are equally high, at an edge of the box that curves stay in.
    assert away.max() < straight + 1e-6 and away.mean() < straight / 5


def test_corners_stay_corners_and_straight_lines_straight():
    stroke = np.array([[0, 0], [2, 0], [4, 0], [4, 2], [4, 4], [0, 0]], float)
    for points, start, end in zip(curve_points(stroke, 8), stroke[:-1], stroke[1:], strict=True):
        (x, y), (along, across) = (points - start).T, end - start
        np.testing.assert_allclose(x * across - y * along, 0, atol=1e-6)
