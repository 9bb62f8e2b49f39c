"""Lines as the pen's moves by steps of equal length, without size, slope and speed."""

import numpy as np

STEP = 0.12  # standard deviations of ink
FAR = 6.0  # of them, that a move in the air is cut off at
AIR = 3.0  # such moves are divided by


def steps(outline):
    """The moves of an outline (`pictures.outline`): float32 [1, W, 3], dx and dy in steps, and 1
    where the pen is up.
    """
    rows, last = [], None
    for stroke in outline:
        along = np.append(0, np.cumsum(np.hypot(*np.diff(stroke, axis=0).T)))
        places = np.linspace(0, along[-1], max(1, int(along[-1] / STEP)) + 1)
        points = np.stack([np.interp(places, along, axis) for axis in stroke.T], axis=1)
        if last is not None:
            rows.append([[*np.clip(points[0] - last, -FAR, FAR) / AIR, 1.0]])
        rows.append(np.column_stack([np.diff(points, axis=0) / STEP, np.zeros(len(points) - 1)]))
        last = points[-1]
    return np.concatenate(rows)[None].astype(np.float32)
