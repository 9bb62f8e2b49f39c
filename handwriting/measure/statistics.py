"""What lines of handwriting are like, and how those that a network draws differ from real ones."""

from handwriting.files import UserError
from handwriting.network.backend import tf

import numpy as np

SAMPLE_LENGTH = 600  # points of samples, and of the beginnings of real lines beside them


def line_statistics(line):
    """What tells a line [n, 3] (pen units) that broke down from handwriting: a dict of numbers.

    move: mean length of a move of the pen on paper; lift: share of points that end a stroke;
    advance: pen units to the right for each point; drift: slope of the straight line that fits the
    points best (1 is 45 degrees downwards); height: the points' standard deviation from it. A line
    that does not advance has a drift of infinity.
    """
    line = np.asarray(line, float)
    pen, stroke_start = np.cumsum(line[:, :2], axis=0), np.append(True, line[:-1, 2] > 0.5)
    on_paper = np.hypot(*line[~stroke_start, :2].T)
    x, y = (pen - pen.mean(axis=0)).T
    drift = x @ y / (x @ x) if x @ x else np.inf
    height = np.sqrt(np.mean((y - drift * x) ** 2)) if np.isfinite(drift) else y.std()
    return {"move": on_paper.mean() if len(on_paper) else 0.0, "lift": np.mean(line[:, 2] > 0.5),
            "advance": (pen[-1, 0] - pen[0, 0]) / len(line), "drift": drift, "height": height}


def stroke_features(lines):
    """What all strokes of lines [n, 3] (pen units) are like: a dict of arrays, one number for each
    stroke or move.

    stroke length: of the pen's way in pen units; points per stroke; pen-up move: from one stroke
    to the next, in pen units; slant: of moves that lead more down than aside, in degrees, positive
    where the writing leans to the right; curvature: the angle between one move on paper and the
    next, in degrees.
    """
    names = ("stroke length", "points per stroke", "pen-up move", "slant", "curvature")
    features = {name: [] for name in names}
    for line in lines:
        moves, ends = np.asarray(line[1:, :2], float), np.asarray(line[:, 2]) > 0.5
        size, stroke_start = np.hypot(*moves.T), ends[:-1]
        bounds = [0, *(np.flatnonzero(ends[:-1]) + 1), len(line)]
        way = np.concatenate([[0.0], np.cumsum(np.where(stroke_start, 0.0, size))])
        features["stroke length"].append(way[np.array(bounds[1:]) - 1] - way[bounds[:-1]])
        features["points per stroke"].append(np.diff(bounds))
        features["pen-up move"].append(size[stroke_start])
        down = moves[~stroke_start & (moves[:, 1] > np.abs(moves[:, 0]))]
        features["slant"].append(np.degrees(np.arctan2(-down[:, 0], down[:, 1])))
        drawn = ~stroke_start & (size > 0)
        pairs = drawn[:-1] & drawn[1:]
        angle = np.arctan2(moves[:, 1], moves[:, 0])
        turn = np.abs((np.diff(angle) + np.pi) % (2 * np.pi) - np.pi)
        features["curvature"].append(np.degrees(turn[pairs]))
    return {name: np.concatenate(values) for name, values in features.items()}


def two_sample_distance(a, b):
    """The Kolmogorov-Smirnov distance of samples a [n] and b [m]: how far apart their cumulative
    distributions get.

    It is 1 where one of them is empty, and 0 where both are.
    """
    if not (len(a) and len(b)):
        return float(len(a) != len(b))
    a, b = np.sort(a), np.sort(b)
    values = np.concatenate([a, b])
    shares = [np.searchsorted(sample, values, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def compare_lines(drawn, lines):
    """How drawn lines differ from real ones, both [n, 3] in pen units: a dict.

    outside: the share of drawn lines of which a statistic lies outside of the range that holds 99
    of 100 real lines; outside_NAME: that of one statistic (see line_statistics). distance_NAME:
    between the distributions of a feature (see stroke_features), 0 where they are the same and 1
    where they do not overlap.
    """
    ours, theirs = (
        np.array([list(line_statistics(line).values()) for line in sample])
        for sample in (drawn, lines)
    )
    low, high = np.quantile(theirs, (0.005, 0.995), axis=0)
    outside = (ours < low) | (ours > high)
    results = {"outside": float(outside.any(axis=1).mean())}
    results |= {f"outside_{name}": float(share) for name, share in
                zip(line_statistics(lines[0]), outside.mean(axis=0), strict=True)}
    ours, theirs = stroke_features(drawn), stroke_features(lines)
    for name, values in theirs.items():
        results[f"distance_{name.replace(' ', '_')}"] = two_sample_distance(ours[name], values)
    return results


def compare_samples(model, lines, num, biases, seed):
    """What compare_lines says, {"real": ..., "bias 0": ...}: of real lines, as a baseline, and of
    `num` samples.

    lines: [n, 3] in pen units; the first SAMPLE_LENGTH points of those that have as many count,
    and samples are as long. Odd lines give the real-vs-real baseline, even lines are the
    reference. Raises UserError for fewer than two.
    """
    lines = [line[:SAMPLE_LENGTH] for line in lines if len(line) >= SAMPLE_LENGTH]
    if len(lines) < 2:
        raise UserError(f"--samples needs two lines of {SAMPLE_LENGTH} points; name a --split")
    reference, others = lines[::2], lines[1::2]
    results = {"real": compare_lines(others, reference)}
    for bias in biases:
        sess = tf.random.Generator.from_seed(seed)
        strokes, _ = model.sample_batch(sess, SAMPLE_LENGTH, num, bias)
        results[f"bias {bias:g}"] = compare_lines(strokes, reference)
    return results
