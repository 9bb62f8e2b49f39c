"""utils.py: what trains and validates, minibatches. All data is made up or lies in
tests/reference.
"""

import shutil

import utils
from conftest import CACHE, INDEX, cache_of, line, make_line
from handwriting.files import UserError
from handwriting.ink import database
from made_up import TAR, folder_of
from utils import DataLoader, write_line_strokes

import numpy as np
import pytest


def lengths(lines):
    return [len(array) for array in lines]


def lines_of(loader, split):
    """The lines of a split in scaled units."""
    return loader.scaled([loader.raw_data[k] for k in loader.select(split)])


def load(path, seq_length=2, **options):
    return DataLoader(seq_length=seq_length, data_dir=path, **options)


# -------------------------------------------------------------------------------- all lines


def test_loader_warns_of_damaged_files_and_names_ten_at_most(tmp_path):
    good = {f"b-{i:02d}.xml": i for i in range(3)}
    folder_of(tmp_path, {f"a-{i:02d}.xml": b"<x" for i in range(12)} | good)
    for _ in range(2):  # parsed, and from the cache
        with pytest.warns(UserWarning, match="12 damaged files of the 15 .*left out") as caught:
            loader = load(tmp_path)
        assert str(caught[0].message).count(".xml is not well-formed XML") == 10
        assert (loader.num_damaged, loader.names) == (12, ["b-00", "b-01", "b-02"])
        assert loader.summary.endswith("; 12 damaged files left out.")


def test_loader_fails_if_all_files_are_damaged(tmp_path):
    folder_of(tmp_path, {"a-01.xml": b"<x", "a-02.xml": b"<y"})
    with pytest.raises(UserError, match=r"no line that can be used; all 2 damaged: .*a-01.xml"):
        load(tmp_path)
    assert not (tmp_path / CACHE).exists()


@pytest.mark.parametrize("kind", ["holds no handwriting", "does not exist", "is not a folder"])
def test_loader_says_where_the_database_is_to_be_had(tmp_path, kind):
    path = tmp_path / "mine"
    if kind == "holds no handwriting":
        (path / "lineStrokes").mkdir(parents=True)
    elif kind == "is not a folder":
        path.write_text("")
    words = f"{path} {kind}.*; put UNIPEN.* or ask for .*https://fki.tic.heia-fr.ch/.* put it at "
    words += f"{path}/{TAR}"
    with pytest.raises(UserError, match=words):
        load(path)


def test_loader_falls_back_to_the_demo_in_the_default_folder_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "mine"):
        (tmp_path / folder / "demo").mkdir(parents=True)
        lines = [line(20, seed) for seed in range(10)]
        texts = [f"line {i}" for i in range(10)]
        write_line_strokes(lines, tmp_path / folder / "demo" / TAR, texts)
    words = f"using the small corpus data/demo; put UNIPEN.* or ask for .* put it at data/{TAR}"
    with pytest.warns(UserWarning, match=words):
        loader = DataLoader(seq_length=5)
    assert (len(loader.raw_data), loader.folder) == (10, "data/demo")
    assert loader.texts == texts
    for folder in ("mine", "data"):
        shutil.rmtree("data/demo", ignore_errors=folder == "data")
        with pytest.raises(UserError, match=f"{folder} holds no handwriting"):
            DataLoader(data_dir=folder)


def test_loader_says_which_sequence_length_would_do(tmp_path):
    cache_of(tmp_path, [line(30), line(302)], ["a-01", "b-01"])
    with pytest.raises(UserError, match=r"= 302 points, .* has 302; use a smaller --seq_length"):
        load(tmp_path, 300)
    assert len(load(tmp_path, 299).data) == 1


def test_loader_says_how_many_lines_and_points_train_validate_and_are_left_out(tmp_path):
    sizes = [20, 30, *[12] * 20, 1, 40]
    cache_of(tmp_path, [line(size) for size in sizes], [f"{i:02d}-01" for i in range(len(sizes))])
    words = "2 lines (70 points) train, 2 lines (32 points) validate; 20 lines (229 points) left "
    words += "out because they have seq_length + 2 = 12 points or fewer."
    assert load(tmp_path, 10).summary == f"Data in {tmp_path}: {words}"
    for name, text in {"trainset": "00 01", "testset_v": "02", "testset_t": "03"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "testset_f.txt").write_text("")
    words = "1 line (30 points) train, 1 line (20 points) validate; 1 line (12 points) left out "
    words += "because they have seq_length + 2 = 12 points or fewer; 21 lines (269 points) kept "
    assert load(tmp_path, 10).summary == f"Data in {tmp_path}: {words}for tests or in no list."


def test_loader_caps_and_scales_training_and_validation_alike(tmp_path):
    raw = make_line(9, np.random.default_rng(0))
    raw[3], raw[4] = (501, -600, 0), (-499, 500, 1)
    cache_of(tmp_path, [raw, raw[:1], raw[:2], raw], ["a-01", "a-02", "a-03", "b-01"])
    loader = load(tmp_path, scale_factor=20, limit=500)
    expected = raw.astype(np.float32)
    expected[3], expected[4] = (500, -500, 0), (-499, 500, 1)
    expected[:, :2] /= np.float32(20)
    for array in (loader.data[0], loader.valid_data[0]):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(loader.raw_data[0], raw)  # pen units, not capped
    assert lengths(lines_of(loader, "all")) == [9, 2, 9]  # a single point is no line to score


def test_deviations_are_those_of_capped_moves_without_the_first_of_a_line(tmp_path):
    lines = [line(10), line(12), line(14)]
    lines[0][0] = 9999, 9999, 0
    lines[1][3] = -700, 30, 1
    cache_of(tmp_path, lines, ["a-01", "b-01", "c-01"])
    moves = np.concatenate([array[1:, :2] for array in lines]).clip(-500, 500).astype(float)
    assert load(tmp_path).deviations == pytest.approx(moves.std(axis=0))


# ------------------------------------------------------------------- training and validation


def test_split_takes_every_20th_form_whole(tmp_path):
    names = [f"f{form:02d}-{i:02d}" for form in range(45) for i in range(3)]
    cache_of(tmp_path, [line(10 + i) for i in range(135)], names)
    loader = load(tmp_path)
    assert lengths(loader.valid_data) == [10, 11, 12, 70, 71, 72, 130, 131, 132]
    assert sorted(lengths(loader.data) + lengths(loader.valid_data)) == list(range(10, 145))


@pytest.mark.parametrize("number", [1, 2, 5, 6, 10, 20, 21, 30, 60, 101])
def test_split_of_own_lines_keeps_at_most_a_tenth_and_at_least_one_to_validate(tmp_path, number):
    write_line_strokes([line(10 + i, i) for i in range(number)], tmp_path / TAR)
    loader = load(tmp_path)
    assert len(loader.data) + len(loader.valid_data) == number
    if number == 1:
        assert loader.valid_data == []
    else:
        assert 1 <= len(loader.valid_data) <= max(1, number / 10)


def write_lists(path, *texts):
    for name, text in zip(database.LISTS, texts, strict=True):
        (path / name).write_text(text)


def test_split_by_the_lists_of_the_database(tmp_path):
    names = ["a01-000-01", "a01-000-02", "a01-000u-01", "b01-001-01", "c-01", "d-01", "e-01"]
    cache_of(tmp_path, [line(10 + i) for i in range(len(names))], names)
    write_lists(tmp_path, "\ufeffa01-000 \r\n\n", "a01-000u  \n", "b01-001\nnot-here\n", "c\n\n  ")
    loader = load(tmp_path)
    assert lengths(loader.valid_data) == [10, 11]  # the first form of those that train, whole
    assert lengths(loader.data) == [13, 14]  # d and e stand in no list
    assert lengths(lines_of(loader, "testset_v")) == [12]
    assert lengths(lines_of(loader, "testset_f")) == [14]
    assert lengths(lines_of(loader, "trainset")) == [10, 11]
    assert lengths(lines_of(loader, "valid")) == lengths(loader.valid_data)
    assert lengths(lines_of(loader, "all")) == [10, 11, 12, 13, 14, 15, 16]


def test_split_holds_every_20th_form_of_the_lists_for_validation(tmp_path):
    names = [f"f{form:02d}-01" for form in range(45)]
    cache_of(tmp_path, [line(10 + i) for i in range(45)], names)
    train = " ".join(f"f{form:02d}" for form in range(40))
    write_lists(tmp_path, train + " f41", "f40 f41", "f42", "f43 f44")  # f41 is kept for tests
    loader = load(tmp_path)
    assert lengths(loader.valid_data) == [10, 30, 52]
    assert lengths(lines_of(loader, "testset_v")) == [50, 51]
    assert len(loader.data) == 45 - 3 - 2


@pytest.mark.parametrize("train, valid", [("x", "a"), ("a", "x"), ("", "")])
def test_split_by_lists_that_fit_no_line_is_an_error(tmp_path, train, valid):
    cache_of(tmp_path, [line(10), line(11)], ["a-01", "b-01"])
    write_lists(tmp_path, train, valid, "", "")
    with pytest.raises(UserError, match="leave fewer than two forms to train and validate on"):
        load(tmp_path)
    (tmp_path / "testset_t.txt").unlink()
    with pytest.raises(UserError, match=r"but not testset_t\.txt; add or remove the lists"):
        load(tmp_path)


def test_lines_of_names_what_is_not_there(tmp_path):
    cache_of(tmp_path, [line(10), line(11)], ["a-01", "b-01"])
    (tmp_path / "mine.txt").write_text("c")
    with pytest.raises(UserError, match=r"The list .*testset_v.txt cannot be read \(No such file"):
        load(tmp_path).select("testset_v")
    with pytest.raises(UserError, match=r"No line in .* is of a form in .*mine.txt"):
        load(tmp_path).select("mine")
    (tmp_path / INDEX).unlink()
    with pytest.warns(UserWarning, match="cannot be told apart"):
        loader = load(tmp_path)
    with pytest.raises(UserError, match=r"has no names of lines, so the list .*mine.txt does not"):
        loader.select("mine")


# ------------------------------------------------------------------------------- minibatches


def counting_loader(path, sizes, **options):
    """A loader whose line n has sizes[n] points (+-10 (n + 1), their number, 0), not scaled."""
    lines = [make_line(50, np.random.default_rng(0))]  # validates
    for n, size in enumerate(sizes):
        sign = np.resize([1, -1], size)
        lines.append(np.stack([10 * (n + 1) * sign, np.arange(size), np.zeros(size)], axis=1))
    cache_of(path, lines, [f"{n}-01" for n in range(len(lines))])
    return DataLoader(scale_factor=1, limit=10**4, data_dir=path, **options)


def test_next_batch_is_a_window_of_a_line_with_y_one_point_ahead(tmp_path):
    loader = counting_loader(tmp_path, [40, 13, 25], batch_size=64, seq_length=10, seed=3)
    x, y = loader.next_batch()
    assert x.shape == y.shape == (64, 10, 3)
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(y[:, :-1], x[:, 1:])
    np.testing.assert_array_equal(abs(x[:, :, 0]), abs(x[:, :1, 0]).repeat(10, 1))  # one line
    np.testing.assert_array_equal(x[:, :, 1], x[:, :1, 1] + np.arange(10))  # points in order
    np.testing.assert_array_equal(y[:, -1, :2], x[:, -1, :2] * [-1, 1] + [0, 1])


def test_next_batch_draws_lines_by_length_and_windows_uniformly(tmp_path):
    sizes, length, draws = [13, 24, 47, 120], 10, 60_000
    loader = counting_loader(tmp_path, sizes, batch_size=draws, seq_length=length, seed=5)
    x, _ = loader.next_batch()
    line_of, start = abs(x[:, 0, 0]).astype(int) // 10 - 1, x[:, 0, 1].astype(int)
    shares = np.array([1, 2, 3, 10])  # size // (length + 2)
    counts, expected = np.bincount(line_of, minlength=4), draws * shares / shares.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3, p = 0.001
    for n, (size, quantile) in enumerate(zip(sizes, (13.8, 34.5, 67.0, 159.0), strict=True)):
        windows = size - length  # so the last start is size - length - 1, whose y ends the line
        counts = np.bincount(start[line_of == n], minlength=windows)
        assert len(counts) == windows
        expected = counts.sum() / windows
        assert ((counts - expected) ** 2 / expected).sum() < quantile  # p = 0.001


def test_next_batch_draws_of_a_seed_in_a_fixed_order(tmp_path):
    """A run resumes on the same batches, whatever the program's version. A share of the windows
    starts where the line does, half of these at START before it.
    """
    loader = counting_loader(
        tmp_path, [40, 60, 90], batch_size=40, seq_length=10, seed=7, first_points=0.3
    )
    x, _ = loader.next_batch()
    rng, sizes = np.random.default_rng(7), np.array([40, 60, 90])
    drawn = rng.choice(np.repeat([0, 1, 2], sizes // 12), 40)
    start, chance = rng.integers(sizes[drawn] - 10), rng.random(40) / 0.3
    start = np.where(chance < 0.5, -1, np.where(chance < 1, 0, start))
    assert (abs(x[:, 1, 0]) // 10 - 1).tolist() == drawn.tolist()
    assert (x[:, 1, 1] - 1).tolist() == start.tolist()
    assert (x[start == -1, 0] == utils.START).all() and set(start) > {-1, 0}
    assert (DataLoader(40, 10, data_dir=tmp_path, seed=8).next_batch()[0] != x).any()


def test_num_batches_is_one_pass_in_windows(tmp_path):
    sizes = [13, 24, 47, 120, 12]  # 1 + 2 + 3 + 10 windows; the last line is too short
    assert counting_loader(tmp_path, sizes, batch_size=5, seq_length=10).num_batches == 3
    assert counting_loader(tmp_path, sizes, batch_size=50, seq_length=10).num_batches == 1
