"""handwriting/ink/recording.py: hand.json as lines of the database; and styles from it."""

import itertools
import json

import utils
from conftest import TEXTS, make_corpus, make_line
from handwriting.convert import convert
from handwriting.files import UserError
from handwriting.ink import recording
from handwriting.ink.formats import read_ink
from handwriting.ink.recording import read_hand
from handwriting.text.hands import load_style
from handwriting.text.loader import TextLoader

import numpy as np
import pytest

GUIDE = {"baseline": 80, "x_height": 25}  # pixels: 5 pen units each


def recorded(strokes, text="it", guide=GUIDE):
    return {"text": text, "guide": guide, "strokes": strokes}


def write_hand(path, *lines):
    path.write_text(json.dumps({"format": "hand", "version": 1, "lines": lines}))
    return path


def record(line, text, pixel=5, interval=15):
    """A line in hand.json of a line [n, 3] in pen units: `pixel` units each, a sample each
    `interval` ms, the first points of a stroke 1000 ms behind the last of the one before."""
    positions, time, strokes = np.cumsum(line[:, :2].astype(int), axis=0) / pixel, 0, [[]]
    for (x, y), end in zip(positions.tolist(), line[:, 2], strict=True):
        strokes[-1].append([x + 7, y + 9, time, 0.5])
        time += 1000 if end else interval
        if end:
            strokes.append([])
    return recorded(strokes[:-1], text, {"baseline": 80, "x_height": 125 / pixel})


def lines_of_hand(number, seed=0):
    """Made-up lines of strokes with six points or more, none of which is a dot."""
    rng = np.random.default_rng(seed)
    lines = [make_line(60 + k, rng) for k in range(number)]
    for line in lines:
        line[:, 2] = 0
        line[np.r_[9 : len(line) - 6 : 10, len(line) - 1], 2] = 1
    return lines


def read_strokes(tmp_path, *strokes):
    """The line that these strokes of hand.json give, beside another one."""
    other = record(lines_of_hand(1)[0], "other")
    lines, texts = read_hand(write_hand(tmp_path / "hand.json", recorded(strokes), other))
    assert texts == ["it", "other"]
    return lines[0]


def hand(path, number=11, seed=0):
    """Write a hand.json of TEXTS; returns its lines as made."""
    lines = lines_of_hand(number, seed)
    write_hand(path, *map(record, lines, TEXTS))
    return lines


def test_a_recorded_line_has_the_databases_size_rate_and_origin(tmp_path):
    # 25 pixels are the x-height, 125 pen units; 45 ms are three points behind the first.
    strokes = [[[10, 80, 7, 0.5], [40, 80, 37, 0.5], [55, 50, 52, 0.5]]]
    strokes += [[[70, 60, 999, 0.2], [70, 64, 1014, 0.2]]]
    line = read_strokes(tmp_path, *strokes)
    assert line.dtype == np.int16
    first = [100, 5 * 30 + 100, 0]  # from 100 left of and above the box of the ink
    ends = [[75, -150, 1], [75, 50, 0], [0, 20, 1]]
    assert line.tolist() == [first, [75, 0, 0], [75, 0, 0], *ends]


@pytest.mark.parametrize("interval", [1, 2.5, 5, 7.5])
def test_a_fast_tablet_gives_the_same_line_as_a_slow_one(tmp_path, interval):
    times = np.arange(0, 150.1, interval)
    pen = np.stack([0.9 * times, 40 * np.sin(times / 30), times, 0 * times])
    stroke = pen.T.tolist()
    line = read_strokes(tmp_path, stroke)
    positions = np.rint(5 * pen[:2, :: int(15 / interval)])
    np.testing.assert_array_equal(line[1:, :2], np.diff(positions).T)


def test_samples_of_a_coarse_clock_are_spread_over_its_step(tmp_path):
    x = np.arange(41)
    stroke = [[k, (-1) ** k, 15 * (k // 4), 0] for k in x.tolist()]  # four samples in 15 ms
    line = read_strokes(tmp_path, stroke)
    assert line[1:, 0].tolist() == [20] * 10
    late = [[k, (-1) ** k, max(15 * k, 30), 0] for k in range(5)]  # a clock that goes back
    late[4][2] = 10
    line = read_strokes(tmp_path, late)
    assert np.abs(line[1:, 0]).sum() == 20


@pytest.mark.parametrize(
    ("samples", "points"),
    [([[50, 50, 0, 1]], 5), ([[50, 50, 0, 1]] * 30, 5), ([[50, 50, 0, 1], [51, 52, 20, 1]], 5),
     ([[50, 50, 0, 1], [51, 52, 150, 1]], 11), ([[50, 50, 0, 1], [51, 52, 4e6, 1]], 17)],
)  # fmt: skip
def test_a_dot_has_as_many_points_as_in_the_database(tmp_path, samples, points):
    stroke = [[10, 80, 0, 1], [20, 60, 15, 1]]
    line = read_strokes(tmp_path, stroke, samples)
    assert line[:, 2].tolist() == [0, 1] + [0] * (points - 1) + [1]
    moves = np.subtract(samples[-1][:2], samples[0][:2])
    assert line[3:, :2].sum(axis=0).tolist() == (5 * moves).tolist()


def test_strokes_without_times_get_points_at_the_databases_distance(tmp_path):
    stroke = [[0, 0, 0, 1], [40, 0, 0, 1], [40, 40, 0, 1]]
    line = read_strokes(tmp_path, stroke)
    assert line[1:].tolist() == [[20, 0, 0]] * 10 + [[0, 20, 0]] * 9 + [[0, 20, 1]]


def test_lines_come_back_with_size_order_and_texts(tmp_path):
    for pixel in (1, 5, 0.25):
        lines = lines_of_hand(3)
        recordings = [record(*pair, pixel) for pair in zip(lines, TEXTS, strict=False)]
        read, texts = read_hand(write_hand(tmp_path / "hand.json", *recordings))
        assert texts == TEXTS[:3]
        for ours, line in zip(read, lines, strict=True):
            np.testing.assert_array_equal(ours[:, 2], line[:, 2])
            np.testing.assert_array_equal(ours[1:], line[1:])


# ------------------------------------------------------------------------------- damaged files

GOOD = recorded([[[0, 0, 0, 1], [9, 9, 15, 1]]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no JSON"),
        (b"\xff\x00{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no recording of a hand"),
        (b'{"format": "hand", "version": 2, "lines": []}', "is no recording of a hand, version 1"),
        (b'{"format": "hand", "version": 1, "lines": []}', "holds no lines; record"),
        (b'{"format": "hand", "version": 1, "lines": {"a": 1}}', "holds no lines; record"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path, content, words):
    (tmp_path / "hand.json").write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read_hand(tmp_path / "hand.json")
    assert str(error.value).startswith(str(tmp_path / "hand.json"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (3, "is no line"),
        ({}, "has no guide with an x_height above 0"),
        ({**GOOD, "guide": {"baseline": 1, "x_height": 0}}, "has no guide"),
        ({**GOOD, "guide": {"x_height": "9"}}, "has no guide"),
        ({**GOOD, "strokes": []}, "has no strokes"),
        ({**GOOD, "strokes": [[]]}, "has a stroke without points"),
        ({**GOOD, "strokes": "ab"}, "has no strokes"),
        ({**GOOD, "strokes": [["abcd"]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, 0]]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, "1", 0, 1]]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, None, 0, 1]]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, True, 0, 1]]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, float("nan"), 0, 1]]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, float("inf"), 0, 1]]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, 10**400, 0, 1]]]}, "has a point that is not"),
        ({**GOOD, "strokes": [[[0, 0, 0, 1], [9, 9, 1e9, 1]]]}, "has a stroke of 1000000 seconds"),
        ({**GOOD, "strokes": [[[0, 0, 0, 1], [9, 9, 2e5, 1]]] * 2}, "has over 20000 points"),
        ({**GOOD, "strokes": [[[0, 0, 0, 1]], [[1e9, 9, 0, 1]]]}, "moves of over 200 x-heights"),
        ({**GOOD, "text": ""}, "its text must be the words of a line"),
        ({**GOOD, "text": ["a"]}, "its text must be the words of a line"),
        ({**GOOD, "text": "a\nb"}, "its text must be one line of text"),
    ],
)
def test_a_damaged_line_is_refused_by_its_number(tmp_path, line, words):
    path = write_hand(tmp_path / "hand.json", GOOD, line)
    with pytest.raises(UserError, match=words) as error:
        read_hand(path)
    assert str(error.value).startswith(f"{path}: line 2")


def test_a_guide_that_does_not_fit_the_writing_is_refused(tmp_path):
    line = record(lines_of_hand(1)[0], "it")
    line["guide"]["x_height"] /= 100
    with pytest.raises(UserError, match=r"hand\.json have standard deviations of"):
        read_hand(write_hand(tmp_path / "hand.json", line))


def test_a_file_that_is_too_large_or_cannot_be_read_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot be read"):
        read_hand(tmp_path)
    monkeypatch.setattr(recording, "MAX_BYTES", 9)
    with pytest.raises(UserError, match="is larger than"):
        read_hand(write_hand(tmp_path / "hand.json", GOOD))


# --------------------------------------------------------------------------- in a data folder


def test_loader_reads_a_folder_that_holds_only_recordings(tmp_path):
    lines = hand(tmp_path / "hand.json")
    more = hand(tmp_path / "hand-tuesday.json", 2, seed=1)
    (tmp_path / "notes.json").write_text("no recording")
    loader = utils.DataLoader(4, 20, data_dir=tmp_path)
    names = [f"hand-{k:02d}" for k in range(1, 12)] + ["hand-tuesday-01", "hand-tuesday-02"]
    assert loader.names == names and loader.texts == TEXTS + TEXTS[:2]
    for ours, line in zip(loader.raw_data, lines + more, strict=True):
        np.testing.assert_array_equal(ours[1:], line[1:])
    assert sum(loader.validates) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "hand-tuesday.json", "hand.json", "notes.json",
    ]  # fmt: skip
    texts = TextLoader(4, 20, data_dir=tmp_path, seed=0)
    assert sorted(texts.texts_of_data + texts.valid_texts) == sorted(loader.texts)
    says = {line.tobytes(): text for line, text in zip(texts.raw_data, texts.texts, strict=True)}
    assert [says[line.tobytes()] for line in texts.lines] == texts.texts_of_data


@pytest.mark.parametrize(("number", "held"), [(1, 1), (2, 1), (6, 1), (12, 1), (30, 3)])
def test_a_tenth_of_a_hand_validates_and_a_lone_line_validates_itself(tmp_path, number, held):
    recordings = [record(line, "on") for line in lines_of_hand(number)]
    write_hand(tmp_path / "hand.json", *recordings)
    loader = TextLoader(4, 20, data_dir=tmp_path, seed=0)
    assert len(loader.valid_data) == held and len(loader.data) == max(1, number - held)


def test_recordings_stand_beside_lines_of_the_database_by_name(tmp_path):
    folder = tmp_path / "data"
    make_corpus(folder, 6, texts=TEXTS[:6])
    for _ in range(2):  # parsed, and from the cache, which the recordings do not change
        hand(folder / "hand.json", 2)
        loader = utils.DataLoader(4, 20, data_dir=folder)
        assert loader.names[:3] == ["hand-01", "hand-02", "s00-000-01"]
        assert loader.texts == TEXTS[:2] + TEXTS[:6] and len(loader.raw_data) == 8
    (folder / utils.cache.INDEX).unlink()
    with pytest.warns(UserWarning) as told:
        assert len(utils.DataLoader(4, 20, data_dir=folder).raw_data) == 6
    assert any("hand.json in" in str(each.message) for each in told)


def test_loader_refuses_a_damaged_recording(tmp_path):
    (tmp_path / "hand.json").write_text("{")
    with pytest.raises(UserError, match=r"hand\.json is no JSON"):
        utils.DataLoader(data_dir=tmp_path)


# --------------------------------------------------------------------------------------- style


@pytest.mark.parametrize(("number", "count"), [(1, 1), (2, 2), (5, 2)])
def test_a_style_is_the_first_lines_joined_on_one_baseline(tmp_path, number, count):
    lines, texts = lines_of_hand(number), ["aa", "b", "cc", "d", "e"][:number]
    path = write_hand(tmp_path / "hand.json", *map(record, lines, texts))
    style = load_style(str(path))
    assert style.text == " ".join(texts[:count])
    starts = np.cumsum([0] + [len(line) for line in lines[:count]])
    assert len(style.strokes) == starts[-1]
    for line, (start, end) in zip(lines, itertools.pairwise(starts), strict=False):
        np.testing.assert_array_equal(style.strokes[start + 1 : end], line[1:])
    x = np.cumsum(style.strokes[:, 0].astype(int))
    for start in starts[1:-1]:
        assert x[start:].min() > x[:start].max()
    np.testing.assert_array_equal(read_ink(path)[0][0], read_hand(path)[0][0])


def test_what_would_count_twice_is_not_written_beside_a_recording(tmp_path):
    hand(tmp_path / "hand.json")
    with pytest.raises(UserError, match=r"hand.json is read from there as it is, and would count"):
        convert([tmp_path / "hand.json"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hand.json"]


def test_a_text_that_is_given_overrules_that_of_the_file(tmp_path):
    lines = lines_of_hand(2)
    path = write_hand(tmp_path / "hand.json", *map(record, lines, ["it", "on"]))
    style = load_style(str(path), "other")
    assert style.text == "other"
    np.testing.assert_array_equal(style.strokes[1:], lines[0][1:])
