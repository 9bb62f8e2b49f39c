"""What a point is, whether a user's numbers are points in pen units, and the baseline of some."""

from handwriting.files import UserError

import numpy as np

LIMIT = 500  # pen units: longer moves are capped at it
START = (0.0, 0.0, 1.0)  # the point before a sample's first
DEVIATIONS = (39, 37)  # pen units: standard deviations of dx and dy in the database


def check_points(points, where):
    """`points` as float64 [n, 3]; UserError, which begins with `where`, if they are no line."""
    try:
        points = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{where} must be numbers [n, 3], the points (dx, dy, eos).") from None
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        shape = list(points.shape)
        raise UserError(f"{where} must be points (dx, dy, eos) [n, 3] with n >= 1, not {shape}.")
    if not np.isfinite(points).all():
        raise UserError(f"{where} must be finite numbers, but NaN or infinity is among them.")
    if not np.isin(points[:, 2], (0, 1)).all():
        raise UserError(
            f"{where} must be points (dx, dy, eos) with an eos, in the last column, of 1 at the "
            f"last point of a stroke and else 0, not {np.unique(points[:, 2])[[0, -1]].tolist()}."
        )
    if not (np.abs(points[:, :2]) < 2**15 - 1).all():
        raise UserError(f"{where} must have moves (dx, dy) that fit 16 bits, in pen units.")
    return points


def check_size(lines, where):
    """Raise UserError, which begins with `where`, unless lines [n, 3] are moves in pen units.

    Their standard deviations must be within a factor of 5 of the database's, those of a single line
    10. Fewer than 20 moves are too few to tell, but that dx or dy never varies.
    """
    moves = np.concatenate([line[1:, :2] for line in lines]).astype(np.float64)
    if len(moves) < 3:
        return
    deviations = moves.std(axis=0)
    for axis, deviation in zip(("dx", "dy"), deviations, strict=True):
        if not deviation > 0:
            raise UserError(f"{where} have a {axis} that never varies; nothing can learn from it.")
    if len(moves) < 20:
        return
    # Along a line x changes little from point to point beside its range; moves change all the time.
    change = np.concatenate([np.diff(line[1:, 0].astype(np.float64)) for line in lines])
    if change.std() < 0.06 * deviations[0]:
        wrong, mend = "look like positions", "take the differences of positions"
    else:
        wrong = "have standard deviations of {:.3g} and {:.3g}".format(*deviations)
        by_x, by_y = DEVIATIONS / deviations
        mend = f"multiply dx and dy by {np.sqrt(by_x * by_y):.3g}"
        if not 1 / 3 < by_x / by_y < 3:
            mend = f"multiply dx by {by_x:.3g} and dy by {by_y:.3g}"
        mend += ", or take the differences if these are positions"
        factor = 5 if len(lines) > 1 else 10
        if 1 / factor <= min(by_x, by_y) and max(by_x, by_y) <= factor:
            return
    raise UserError(
        f"{where} {wrong}, where moves (dx, dy) from point to point in pen units are expected, "
        f"whose standard deviations are about {DEVIATIONS[0]} and {DEVIATIONS[1]} in the database; "
        f"{mend}."
    )


def to_line(strokes):
    """Strokes [n, 2] of positions in pen units as a line, int16 [n, 3]. Its first move leads from
    100 units left of and above its ink, as in the database. Raises UserError if it is too large.
    """
    positions = np.rint(np.concatenate(strokes))
    moves = np.diff(positions, axis=0, prepend=positions.min(axis=0, keepdims=True) - 100)
    if not np.abs(moves).max() < 2**15:
        raise UserError("has moves of over 200 x-heights; make the guide fit the writing")
    line = np.zeros((len(moves), 3), np.int16)
    line[:, :2] = moves
    line[np.cumsum(list(map(len, strokes))) - 1, 2] = 1
    return line


def baseline(x, y):
    """Slope and height at x = 0 of the straight line through points x, y [n] in pen units.

    Short writing has no slope to speak of: 200 pen units of spread halve it.
    """
    slope = np.cov(x, y, bias=True)[0, 1] / (x.var() + 200.0**2)
    return slope, y.mean() - slope * x.mean()
