"""utils.py: which lines train, validate and test, minibatches, and the statistics of strokes."""

import utils
from conftest import cache_of, line
from utils import DataError, DataLoader

import numpy as np
import pytest


# ---------------------------------------------------------------------------------------------- training and validation


def lengths(arrays):
    return [len(array) for array in arrays]


def test_split_takes_every_20th_form_whole(tmp_path):
    names = [f"f{form:02d}-{i:02d}" for form in range(45) for i in range(3)]
    cache_of(tmp_path, [line(10 + i) for i in range(135)], names)
    loader = DataLoader(seq_length=2, data_dir=tmp_path)
    assert lengths(loader.valid_data) == [10, 11, 12, 70, 71, 72, 130, 131, 132]
    assert sorted(lengths(loader.data) + lengths(loader.valid_data)) == list(range(10, 145))


@pytest.mark.parametrize(
    "names, validating",
    [
        (["a-01", "a-02", "b-01"], [0, 1]),
        (["a-01", "a-02", "a-03"], [0]),  # one form
        (["a", "b", "c"], [0]),  # no forms
        (["a-01"], []),
    ],
)
def test_split_of_few_lines_leaves_some_to_train(tmp_path, names, validating):
    cache_of(tmp_path, [line(10 + i) for i in range(len(names))], names)
    loader = DataLoader(seq_length=2, data_dir=tmp_path)
    assert lengths(loader.valid_data) == [10 + i for i in validating]
    assert lengths(loader.data) == [10 + i for i in range(len(names)) if i not in validating]


def write_lists(path, train="", valid="", test="", more=""):
    for name, text in zip(("trainset", "testset_v", "testset_t", "testset_f"), (train, valid, test, more), strict=True):
        (path / f"{name}.txt").write_text(text)


def test_split_by_the_lists_of_the_database(tmp_path):
    names = ["a01-000-01", "a01-000-02", "a01-000u-01", "b01-001-01", "c-01", "d-01", "e-01"]
    cache_of(tmp_path, [line(10 + i) for i in range(len(names))], names)
    write_lists(tmp_path, " a01-000 \r\n\n", "a01-000u  \n", "b01-001\nnot-here\n", "c\n\n  ")
    loader = DataLoader(seq_length=2, data_dir=tmp_path)
    assert lengths(loader.valid_data) == [10, 11]  # the first form of those that train, and every 20th after it
    assert lengths(loader.data) == [13, 14]  # d and e stand in no list
    assert lengths(loader.lines_of("testset_v")) == [12]
    assert lengths(loader.lines_of("testset_f")) == [14]
    assert lengths(loader.lines_of("valid")) == [10, 11]
    assert lengths(loader.lines_of("all")) == [10, 11, 12, 13, 14, 15, 16]


def test_split_holds_every_20th_form_of_the_lists_for_validation(tmp_path):
    names = [f"f{form:02d}-01" for form in range(45)]
    cache_of(tmp_path, [line(10 + i) for i in range(45)], names)
    write_lists(tmp_path, " ".join(f"f{form:02d}" for form in range(40)), "f40 f41", "f42", "f43 f44")
    loader = DataLoader(seq_length=2, data_dir=tmp_path)
    assert lengths(loader.valid_data) == [10, 30, 52]
    assert lengths(loader.lines_of("testset_v")) == [50, 51]
    assert len(loader.data) == 45 - 3 - 2


def test_split_never_trains_on_a_form_for_tests(tmp_path):
    cache_of(tmp_path, [line(10), line(11), line(12)], ["a-01", "b-01", "c-01"])
    write_lists(tmp_path, "a\nb\nc", "b")
    loader = DataLoader(seq_length=2, data_dir=tmp_path)
    assert (lengths(loader.valid_data), lengths(loader.data)) == ([10], [12])


def test_lines_of_names_what_is_not_there(tmp_path):
    cache_of(tmp_path, [line(10), line(11)], ["a-01", "b-01"])
    loader = DataLoader(seq_length=2, data_dir=tmp_path)
    with pytest.raises(DataError, match=r"The list .*testset_v.txt cannot be read \(No such file"):
        loader.lines_of("testset_v")
    (tmp_path / "mine.txt").write_text("c")
    with pytest.raises(DataError, match=r"No line in .* is of a form in .*mine.txt"):
        loader.lines_of("mine")


def test_lines_of_a_list_need_names(tmp_path):
    cache_of(tmp_path, [line(10), line(11)])
    (tmp_path / "mine.txt").write_text("a")
    with pytest.warns(UserWarning, match="cannot be told apart"):
        loader = DataLoader(seq_length=2, data_dir=tmp_path)
    with pytest.raises(DataError, match=r"has no names of lines, so the list .*mine.txt does not tell which are meant"):
        loader.lines_of("mine")


def test_deviations_are_those_of_capped_moves_without_the_first_of_a_line(tmp_path):
    lines = [line(10), line(12), line(14)]
    lines[0][0] = 9999, 9999, 0
    lines[1][3] = -700, 30, 1
    cache_of(tmp_path, lines, ["a-01", "b-01", "c-01"])
    write_lists(tmp_path, "a b", "c")
    moves = np.concatenate([array[1:, :2] for array in lines[:2]]).clip(-500, 500).astype(float)
    assert DataLoader(seq_length=2, data_dir=tmp_path).deviations == pytest.approx(moves.std(axis=0))


def test_split_names_the_lists_that_are_missing(tmp_path):
    cache_of(tmp_path, [line(10), line(11)], ["a-01", "b-01"])
    write_lists(tmp_path, "a", "b")
    (tmp_path / "testset_t.txt").unlink()
    (tmp_path / "trainset.txt").unlink()
    words = "has testset_v.txt, testset_f.txt but not trainset.txt, testset_t.txt; add or remove the lists"
    with pytest.raises(DataError, match=words):
        DataLoader(seq_length=2, data_dir=tmp_path)


@pytest.mark.parametrize("train, valid", [("x", "a"), ("a", "x"), ("", "")])
def test_split_by_lists_that_fit_no_line_is_an_error(tmp_path, train, valid):
    cache_of(tmp_path, [line(10), line(11)], ["a-01", "b-01"])
    write_lists(tmp_path, train, valid)
    with pytest.raises(DataError, match="leave fewer than two forms to train and to validate on; correct them"):
        DataLoader(seq_length=2, data_dir=tmp_path)


def test_loader_caps_and_scales_training_and_validation_alike(tmp_path):
    raw = line(9)
    raw[3] = 501, -32768, 0
    raw[4] = -499, 500, 1
    cache_of(tmp_path, [raw, raw[:1], raw[:2], raw], ["a-01", "a-02", "a-03", "b-01"])
    loader = DataLoader(seq_length=2, scale_factor=20, limit=500, data_dir=tmp_path)
    expected = raw.astype(np.float32)
    expected[3], expected[4] = (500, -500, 0), (-499, 500, 1)
    expected[:, :2] /= np.float32(20)
    assert lengths(loader.valid_data) == [9, 2]  # whole, short ones too, a single point not
    for array in (loader.data[0], loader.valid_data[0]):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(loader.raw_data[0], raw)  # pen units, not capped


# ---------------------------------------------------------------------------------------------- minibatches


def counting_loader(path, sizes, **options):
    """Return a loader whose n-th training line has sizes[n] points (10 n, 0 to size - 1, 0), scaled by 1."""
    lines = [np.stack([np.full(size, 10 * n), np.arange(size), np.zeros(size)], 1) for n, size in enumerate(sizes)]
    cache_of(path, [np.zeros((2, 3)), *lines], [f"{n}-01" for n in range(len(lines) + 1)])
    return DataLoader(scale_factor=1, limit=10**4, data_dir=path, **options)


def test_next_batch_is_a_window_of_a_line_with_y_one_point_ahead(tmp_path):
    loader = counting_loader(tmp_path, [40, 13, 25], batch_size=64, seq_length=10, seed=3)
    x, y = loader.next_batch()
    assert x.shape == y.shape == (64, 10, 3)
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(y[:, :-1], x[:, 1:])
    np.testing.assert_array_equal(x[:, :, 0], x[:, :1, 0].repeat(10, 1))  # one line
    np.testing.assert_array_equal(x[:, :, 1], x[:, :1, 1] + np.arange(10))  # its points in order
    np.testing.assert_array_equal(y[:, -1, 1], x[:, -1, 1] + 1)
    np.testing.assert_array_equal(y[:, -1, 0], x[:, -1, 0])


def test_next_batch_draws_lines_by_length_and_windows_uniformly(tmp_path):
    sizes, length, draws = [13, 24, 47, 120], 10, 60_000
    loader = counting_loader(tmp_path, sizes, batch_size=draws, seq_length=length, seed=5)
    x, _ = loader.next_batch()
    line_of, start = x[:, 0, 0].astype(int) // 10, x[:, 0, 1].astype(int)
    shares = np.array([size // (length + 2) for size in sizes])
    assert shares.tolist() == [1, 2, 3, 10]
    counts = np.bincount(line_of, minlength=4)
    expected = draws * shares / shares.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees of freedom, p = 0.001
    for n, (size, quantile) in enumerate(zip(sizes, (13.8, 34.5, 67.0, 159.0), strict=True)):
        windows = size - length  # so the last start is size - length - 1, whose y ends with the line
        counts = np.bincount(start[line_of == n], minlength=windows)
        assert len(counts) == windows
        expected = counts.sum() / windows
        assert ((counts - expected) ** 2 / expected).sum() < quantile  # p = 0.001 for windows - 1


def test_next_batch_starts_a_share_of_the_windows_where_their_lines_do(tmp_path):
    cache_of(tmp_path, [line(200, seed) for seed in range(3)], ["a-01", "b-01", "c-01"])
    loader = DataLoader(1000, 20, seed=1, data_dir=tmp_path, first_points=0.6)
    x, y = loader.next_batch()
    firsts = [data[:20] for data in loader.data]
    befores = [np.concatenate([[[0, 0, 1]], first[:-1]]).astype(np.float32) for first in firsts]
    for windows, targets in ((firsts, [data[1:21] for data in loader.data]), (befores, firsts)):
        starts = np.array([any(np.array_equal(row, window) for window in windows) for row in x])
        assert 0.25 < starts.mean() < 0.36
        assert all(any(np.array_equal(row, target) for target in targets) for row in y[starts])
    assert np.array_equal(x[:, 1:], y[:, :-1])
    x, _ = DataLoader(1000, 20, seed=1, data_dir=tmp_path).next_batch()
    assert not any(np.array_equal(row, window) for row in x for window in befores)


def test_next_batch_stretches_each_window_by_two_factors(tmp_path):
    cache_of(tmp_path, [line(200, seed) for seed in range(3)], ["a-01", "b-01", "c-01"])
    plain, stretched = (DataLoader(500, 20, seed=1, data_dir=tmp_path, stretch=stretch) for stretch in (0.0, 0.2))
    (x, y), (stretched_x, stretched_y) = plain.next_batch(), stretched.next_batch()
    assert np.array_equal(stretched_x[..., 2], x[..., 2]) and np.array_equal(stretched_x[:, 1:], stretched_y[:, :-1])
    factors = stretched_x[..., :2].sum(axis=1) / x[..., :2].sum(axis=1)
    assert np.allclose(stretched_x[..., :2], x[..., :2] * factors[:, None], rtol=1e-3, atol=1e-4)
    assert np.allclose(stretched_y[..., :2], y[..., :2] * factors[:, None], rtol=1e-3, atol=1e-4)
    assert 0.8 < factors.min() < 0.82 and 1.18 < factors.max() < 1.2
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.2
    assert len(stretched.data[0]) == 200 and np.array_equal(stretched.data[0], plain.data[0])


def test_num_batches_is_one_pass_in_windows(tmp_path):
    sizes = [13, 24, 47, 120, 12]  # 1 + 2 + 3 + 10 windows; the last line is too short
    assert counting_loader(tmp_path, sizes, batch_size=5, seq_length=10).num_batches == 3
    assert counting_loader(tmp_path, sizes, batch_size=50, seq_length=10).num_batches == 1


def test_same_seed_gives_same_batches(tmp_path):
    def batches(seed):
        loader = counting_loader(tmp_path, [40, 60, 90], batch_size=8, seq_length=10, seed=seed)
        return np.array([loader.next_batch() for _ in range(3)])

    np.testing.assert_array_equal(batches(7), batches(7))
    assert (batches(7) != batches(8)).any()
    assert (batches(None) != batches(None)).any()
    first, second, third = batches(7)
    assert (first != second).any()
    assert (second != third).any()


# ---------------------------------------------------------------------------------------------- statistics of strokes


def test_line_statistics_of_a_line_that_falls():
    # Two strokes from left to right, 3 down for 4 aside; the pen is lifted for the third point.
    line = np.array([[7, 9, 0], [4, 3, 1], [8, 6, 0], [4, 3, 1]])
    found = utils.line_statistics(line)
    assert found == pytest.approx({"move": 5, "lift": 0.5, "advance": 16 / 4, "drift": 0.75, "height": 0}, abs=1e-9)


def test_line_statistics_tell_a_line_that_does_not_advance():
    found = utils.line_statistics([[0, 5, 0], [0, 5, 0], [0, -10, 1]])
    assert found["drift"] == np.inf and found["advance"] == 0
    assert found["height"] == pytest.approx(np.std([5, 10, 0]))


def test_stroke_features_of_two_strokes():
    line = np.array([[50, 50, 0], [0, 10, 0], [-3, 3.1, 0], [5, 0, 1], [30, -40, 0], [0, -7, 0], [0, 0, 0], [1, 0, 1]])
    found = utils.stroke_features([line, line[:1]])
    assert found["stroke length"] == pytest.approx([10 + np.hypot(3, 3.1) + 5, 8, 0])
    assert found["points per stroke"].tolist() == [4, 4, 1]
    assert found["pen-up move"].tolist() == [50]
    assert found["slant"] == pytest.approx([0, np.degrees(np.arctan(3 / 3.1))])  # down and to the left: it leans right
    corner = np.degrees(np.arctan(3 / 3.1))
    assert found["curvature"] == pytest.approx([corner, 180 - (90 - corner)])  # none over the lift or a still point


def test_two_sample_distance():
    assert utils.two_sample_distance([1, 2, 3], [3, 1, 2]) == 0
    assert utils.two_sample_distance([1, 2], [5, 6, 7]) == 1
    assert utils.two_sample_distance([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5
    assert utils.two_sample_distance([1, 1, 1, 2], [1, 2, 2, 2]) == 0.5
    assert utils.two_sample_distance([], [1, 2]) == utils.two_sample_distance([1], []) == 1  # no pen-up move, say
    assert utils.two_sample_distance([], []) == 0
