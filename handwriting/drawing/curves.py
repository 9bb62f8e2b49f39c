"""Smooth curves through the points of a stroke: a cubic Bezier from each point to the next.

The pen's direction at a point is that of the parabola through it and its two neighbours. Where it
turns sharply a point is a corner: the Bezier's handle has no length.
"""

import numpy as np

CORNER = np.cos(np.radians(80))  # a pen that turns further turns at a corner
# How far a handle may leave the box of its two points, in their distance. The curve leaves it by at
# most three quarters of that: enough for the arcs of a circle of a dozen points.
OVERSHOOT = 0.1
TINY = 1e-6  # mm or picture units


def handles(stroke):
    """The inner control points `[k - 1, 2, 2]` of the Beziers through a stroke `[k, 2]`.

    They stay within OVERSHOOT of the box of their two points, and within the box of the stroke, so
    that a curve has the margins of its points.
    """
    moves = np.diff(stroke, axis=0)
    lengths = np.maximum(np.hypot(*moves.T), TINY)[:, None]
    low, high = stroke.min(axis=0), stroke.max(axis=0)
    tangents = find_tangents(stroke, moves / lengths, lengths)
    # Where a stroke turns back at an edge of its box it goes along that edge.
    tangents[1:-1][(stroke[1:-1] == low) | (stroke[1:-1] == high)] = 0
    tangents /= np.maximum(np.hypot(*tangents.T), TINY)[:, None]
    first, last, slack = stroke[:-1], stroke[1:], OVERSHOOT * lengths
    low = np.maximum(np.minimum(first, last) - slack, low)
    high = np.minimum(np.maximum(first, last) + slack, high)
    controls = []
    for point, tangent in ((first, tangents[:-1]), (last, -tangents[1:])):
        handle = tangent * lengths / 3
        room = np.where(handle > 0, high - point, point - low)
        share = (room + TINY) / np.maximum(np.abs(handle), TINY)  # 1 where the handle is 0
        controls.append(point + handle * np.minimum(share.min(axis=1, keepdims=True), 1))
    return np.stack(controls, axis=1)


def find_tangents(stroke, directions, lengths):
    """The pen's direction `[k, 2]`, of any length, at each point; 0 at corners.

    directions `[k - 1, 2]`, lengths `[k - 1, 1]`: those of the moves from point to point.
    """
    tangents = np.zeros_like(stroke)
    tangents[1:-1] = lengths[1:] * directions[:-1] + lengths[:-1] * directions[1:]
    turns = (directions[:-1] * directions[1:]).sum(axis=1)
    tangents[1:-1][turns < CORNER] = 0
    for end, inner in ((0, 1), (-1, -2)):  # as much to the other side: an arc of a circle
        tangents[end] = 2 * directions[end] * (directions[end] @ tangents[inner]) - tangents[inner]
    return tangents


def curve_points(stroke, steps):
    """Points `[k - 1, steps + 1, 2]` on each Bezier through a stroke, both ends among them."""
    inner = handles(stroke)
    corners = np.concatenate([stroke[:-1, None], inner, stroke[1:, None]], axis=1)
    t = np.linspace(0, 1, steps + 1)
    bernstein = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    return bernstein @ corners
