"""How likely a network finds lines of handwriting, in published units and for validation.

Likelihoods are those of whole lines, from the zero state, without dropout, in float32.
"""

import warnings

from handwriting.network.backend import split_rows, tf
from handwriting.network.cells import HAND
from handwriting.network.mixture import mixture, negative_log_likelihood
from handwriting.text.alphabet import encode

import numpy as np

SCORE_BATCH = 64  # lines whose losses are computed at once
LONG = 300  # points: some published figures are those of lines at least as long


def mean_move(z_hat):
    """The mean [..., 2] of dx and dy in the mixture of z_hat [..., 1 + 6 M]."""
    m = mixture(z_hat)
    return tf.stack([tf.reduce_sum(m.pi * mu, axis=-1) for mu in (m.mu1, m.mu2)], axis=-1)


def make_score(model):
    """A function: lines, texts, hands -> for each its losses in nats [n - 1] and the errors [n - 1,
    2] of the mixture's mean.

    lines: arrays [n, 3] in scaled units, of whose points all but the first are predicted. The
    errors, too, are in scaled units. texts: theirs, for a network that writes text. hands [B,
    HAND]: in whose hands they are, for one that is told, or None.
    """
    shapes = ([None, None, 3], tf.float32), ([None, None], tf.int32), ([None, HAND], tf.float32)
    specs = [tf.TensorSpec(*shape) for shape in shapes]

    @tf.function(autograph=False, input_signature=specs)
    def score_batch(points, chars, hands):
        scores = []
        for rows in split_rows(tf.shape(points)[0]):
            z_hat, _ = model(points[rows, :-1], chars=chars[rows], hand=hands[rows])
            z_hat = z_hat[..., : model.num_outputs]
            nats = negative_log_likelihood(z_hat, points[rows, 1:], model.log_sigma_min)
            scores.append((nats, mean_move(z_hat) - points[rows, 1:, :2]))
        return [tf.concat(values, axis=0) for values in zip(*scores, strict=True)]

    def score(lines, texts=None, hands=None):
        order, scores = sorted(range(len(lines)), key=lambda k: len(lines[k])), [None] * len(lines)
        for start in range(0, len(lines), SCORE_BATCH):
            batch = order[start : start + SCORE_BATCH]
            padded = np.zeros([len(batch), len(lines[batch[-1]]), 3], np.float32)
            for row, k in enumerate(batch):
                padded[row, : len(lines[k])] = lines[k]
            chars = np.zeros([len(batch), 1], np.int32)
            if model.alphabet:
                chars = encode([texts[k] for k in batch], model.alphabet)
            whose = np.zeros([len(batch), HAND], np.float32) if hands is None else hands[batch]
            nats, errors = (value.numpy() for value in score_batch(padded, chars, whose))
            for row, k in enumerate(batch):
                scores[k] = nats[row, : len(lines[k]) - 1], errors[row, : len(lines[k]) - 1]
        return scores

    return score


def make_window_share(model):
    """A function: lines [n, 3] in scaled units, texts -> where the window of a network with text
    looks at the lines' ends, as a share of their texts' lengths: about 1 if it has learnt to read
    along.

    Of lines of middle length, so that few points of theirs have to be cut off.
    """

    @tf.function(autograph=False)
    def places(points, chars):
        _, states = model(points[:, :-1], chars=chars)
        *_, phi = model.step(points[:, -1], states, chars=model.one_hot(chars))
        return tf.argmax(phi, axis=1)

    def window_share(lines, texts):
        order = sorted(range(len(lines)), key=lambda k: len(lines[k]))
        middle = order[len(order) // 4 :][:16]
        length = len(lines[middle[0]])
        points = np.stack([lines[k][:length] for k in middle])
        chars = encode([texts[k] for k in middle], model.alphabet)
        looks = places(tf.constant(points), tf.constant(chars)).numpy() + 0.5
        expected = [len(texts[k]) * length / len(lines[k]) for k in middle]
        return float(np.mean(looks / expected))

    return window_share


def make_validate(model, data):
    """A function () -> mean nats per point (scaled units) over the validation lines of a
    DataLoader."""
    score, share_of = make_score(model), make_window_share(model)
    texts = data.valid_texts if model.alphabet else None

    def validate():
        if texts and not 0.5 < (share := share_of(data.valid_data, texts)) < 2.0:
            words = f"at the ends of validation lines it looks at {share:.0%} of their texts"
            warnings.warn(f"the window is stuck or runs away: {words}", stacklevel=2)
        scores = score(data.valid_data, texts, data.valid_hands if model.hands else None)
        return float(np.concatenate([nats for nats, _ in scores]).mean(dtype=np.float64))

    return validate


def evaluate(model, lines, deviations, limit, texts=None):
    """The figures of a network on lines [n, 3] in scaled units, with their texts if it writes
    text, a dict; its keys say the same everywhere.

    nats_per_point: in scaled units. nats_per_line: the mean over lines of a line's summed loss in
    Graves' units, where moves have standard deviation 1 on each axis: a density of moves that are
    s_x and s_y times smaller is s_x s_y times higher, so each predicted point has ln(s_x s_y)
    less. deviations: s_x and s_y, in scaled units. ..._300: of lines of 300 points or more.
    ..._uncapped: without points whose move is at the limit (scaled units) on an axis, where a
    narrow component could gain much. squared_error: per point in Graves' units, summed over both
    axes, the mixture's mean being the prediction.
    """
    scores = make_score(model)(lines, texts)
    unit = float(np.log(deviations).sum())
    nats = [values.astype(np.float64) for values, _ in scores]
    errors = np.concatenate([errors for _, errors in scores]).astype(np.float64) / deviations
    free = [np.abs(line[1:, :2]).max(axis=1) < limit for line in lines]
    long = np.array([len(line) >= LONG for line in lines])
    figures = {
        "lines": len(lines), "lines_300": int(long.sum()), "points": len(errors),
        "capped": len(errors) - sum(int(kept.sum()) for kept in free),
        "squared_error": float((errors**2).sum(axis=1).mean()),
    }
    uncapped = [n[kept] for n, kept in zip(nats, free, strict=True)]
    for suffix, chosen in (("", nats), ("_uncapped", uncapped)):
        per_line = np.array([n.sum() - len(n) * unit for n in chosen])
        figures |= {
            f"nats_per_point{suffix}": float(np.concatenate(chosen).mean()),
            f"nats_per_line{suffix}": float(per_line.mean()),
            f"nats_per_line_300{suffix}": float(per_line[long].mean()) if long.any() else None,
        }
    return figures
