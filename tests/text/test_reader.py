"""handwriting/text/reader.py and train_reader.py: frames, network, training, on made-up glyphs."""

import itertools
import json
import shutil

from conftest import TEXTS, make_line, status_of
from handwriting import train_reader
from handwriting.files import UserError
from handwriting.ink.cache import MISREAD
from handwriting.text import reader as readers
from handwriting.text.alphabet import encode
from handwriting.text.reader import FEATURES, Reader, features, load_reader, pad, resample

import numpy as np
import pytest
import tensorflow as tf

GLYPHS = {"l": [[0, 0], [0, -200]], "o": [[0, -100], [50, 0], [100, -100], [50, -200], [0, -100]],
          "v": [[0, -200], [50, 0], [100, -200]]}  # fmt: skip


def write(text, rng):
    """Strokes [n, 3] of a text in GLYPHS, one for each, in pen units."""
    points, left = [], 0.0
    for character in text:
        glyph = np.array(GLYPHS[character], float) + rng.normal(0, 5, [len(GLYPHS[character]), 2])
        points += [[left + x, y, k == len(glyph) - 1] for k, (x, y) in enumerate(glyph)]
        left += 150
    points = np.array(points)
    return np.column_stack([np.diff(points[:, :2], axis=0, prepend=0), points[:, 2]])


@pytest.fixture(scope="module")
def taught():
    """A small reader that has learnt to read lines of GLYPHS."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(GLYPHS), rng.integers(1, 6))) for _ in range(32)]
    reader = Reader("lov", 16)
    step = train_reader.make_train_step(reader, tf.keras.optimizers.Adam(0.01), 0.0)
    batch = *pad([features(write(text, rng)) for text in texts]), encode(texts, "lov")
    for _ in range(120):
        step(*batch)
    return reader


# ---------------------------------------------------------------------------------------- features


def test_points_lie_at_equal_distances_and_dots_have_some():
    strokes = np.array([[5, 5, 0], [30, 0, 0], [10, 0, 1], [40, 30, 1], [0, 50, 1]])
    x, y, up = resample(strokes, 4.0).T
    np.testing.assert_allclose(x[:11], 5 + 4 * np.arange(11), atol=1e-4)
    # A move of two steps to the dot, six steps on it, two steps to the next one, six steps on it.
    np.testing.assert_allclose(x[10:13], [45, 65, 85], atol=1e-4)
    np.testing.assert_allclose(x[12:19], 85, atol=1e-4)
    np.testing.assert_allclose(y[18:21], [35, 60, 85], atol=1e-4)
    assert np.flatnonzero(up).tolist() == [0, 11, 12, 19, 20] and len(x) == 27


def test_frames_do_not_depend_on_size_slope_and_density_of_points():
    line = make_line(1500, np.random.default_rng(3)) * [3.0, 3.0, 1.0]
    frames = features(line)
    assert frames.dtype == np.float32 and frames.shape[1] == FEATURES
    larger = features(line * [1.5, 1.5, 1])
    sloping = features(np.column_stack([line[:, 0], line[:, 1] + 0.03 * line[:, 0], line[:, 2]]))
    dense = np.repeat(line * [0.5, 0.5, 1], 2, axis=0)
    dense[::2, 2] = 0
    for other in (larger, sloping, features(dense)):
        assert abs(len(other) - len(frames)) < 0.06 * len(frames)
        number = min(len(other), len(frames)) // 4
        assert np.abs(other[:number].mean(axis=0) - frames[:number].mean(axis=0)).max() < 0.1
    smaller = features(line * [1, 0.3, 1])  # to see that the test can fail
    number = min(len(smaller), len(frames)) // 4
    assert np.abs(smaller[:number].mean(axis=0) - frames[:number].mean(axis=0)).max() > 0.1


def test_a_line_of_one_point_has_frames():
    for number in (1, 2):
        frames = features(np.array([[7.0, 3.0, 1]] * number))
        assert len(frames) >= number and np.isfinite(frames).all()


# ----------------------------------------------------------------------------------------- network


def test_a_reader_reads_what_it_has_learnt_whatever_stands_in_the_batch(taught):
    rng = np.random.default_rng(1)
    texts = ["lovol", "v", "oo", "llv"] * 20
    lines = [write(text, rng) for text in texts]
    logits = taught.look(lines)
    found = [taught.text(row) for row in logits]
    assert sum(map(str.__eq__, found, texts)) > 75, found
    alone = taught.look(lines[:1])[0]
    np.testing.assert_allclose(alone, logits[0], atol=1e-3)
    assert taught._logits.experimental_get_tracing_count() == 1
    right, wrong = (
        taught.log_probabilities(logits[:2], both) for both in (texts[:2], ["lol", "o"])
    )
    assert (right > wrong + 3).all() and (right < 0).all()
    unknown = taught.log_probabilities(logits[:1], ["lo!vol"])  # neither for the text nor against
    np.testing.assert_allclose(unknown, right[0])


def test_log_probabilities_add_up_all_ways_to_say_a_text():
    reader, rng = Reader("ab", 4), np.random.default_rng(0)
    logits = rng.normal(size=[4, 3]).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = {}
    for symbols in itertools.product(range(3), repeat=4):
        said = "".join("ab"[k - 1] for k, _ in itertools.groupby(symbols) if k)
        way = np.prod([shares[t, k] for t, k in enumerate(symbols)])
        expected[said] = expected.get(said, 0.0) + way
    texts = ["a", "ab", "aba", "bb", "", "aab"]
    found = reader.log_probabilities([logits] * len(texts), texts)
    np.testing.assert_allclose(found, [np.log(expected[text]) for text in texts], atol=1e-4)
    assert reader.log_probabilities([logits], ["bbb"])[0] == -np.inf  # it takes five frames


# ------------------------------------------------------------------------------- training and files


def test_a_reader_is_trained_written_and_read_again(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_reader, "LINES", 8)
    monkeypatch.setattr(train_reader, "UNLIKELY", 0.0)
    shutil.copytree(corpus[0], tmp_path / "data")
    flags = ["--data_dir", tmp_path / "data", "--channels=4", "--num_epochs=2"]
    flags += ["--model_dir", tmp_path / "reader"]
    assert status_of(train_reader.main, flags) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("epoch 1 of 2: loss ") and said[2].startswith("epoch 2 of 2: loss ")
    assert said[2].endswith(" % of the validation lines' characters misread")
    assert said[-1].startswith(f"{len(TEXTS)} lines seem to say something else than their texts")
    names = json.loads((tmp_path / "data" / MISREAD).read_text())
    assert names == sorted(names) and len(set(names)) == len(TEXTS)
    reader = load_reader(tmp_path / "reader")
    assert set(reader.alphabet) <= set("".join(TEXTS)) and len(reader.alphabet) > 9
    shapes = {tuple(v.shape) for v in reader.variables.values()}
    assert (3, FEATURES, 4) in shapes and (1, 4, len(reader.alphabet) + 1) in shapes
    assert status_of(train_reader.main, flags) == 2
    assert "holds weights; name another folder, or give --overwrite" in capsys.readouterr().err
    (tmp_path / "data" / MISREAD).unlink()  # of a network that has learnt nothing: all lines
    assert status_of(train_reader.main, [*flags, "--overwrite"]) == 0


def test_lines_are_varied_but_say_the_same():
    line = make_line(60, np.random.default_rng(0))
    varied = train_reader.vary(line, np.random.default_rng(1))
    assert varied.shape == line.shape and (varied[:, 2] == line[:, 2]).all()
    known = [np.corrcoef(varied[:, k], line[:, k])[0, 1] for k in (0, 1)]
    assert min(known) > 0.6 and max(known) < 0.9999


def test_a_reader_that_is_missing_is_none_and_a_damaged_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "FOLDER", tmp_path / "none")
    assert readers.read_reader.__wrapped__() is None
    for content in ("{", "[]", json.dumps({"alphabet": "ab"})):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"config\.json does not tell of a reader; restore it"):
            load_reader(tmp_path)
