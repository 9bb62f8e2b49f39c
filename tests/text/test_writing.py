"""handwriting/text/writing.py, styles.py and `sample.py --text`: a text is drawn, and ends."""

import json
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import model as model_py
import sample
from conftest import make_line, quick_model, status_of
from handwriting import styles
from handwriting.files import UserError
from handwriting.ink.points import baseline
from handwriting.network import checkpoint as runs
from handwriting.text import pen, request, writing
from handwriting.text.alphabet import encode
from handwriting.text.hands import Style
from handwriting.text.lines import MOST_POINTS, find_problem
from handwriting.text.loader import TextLoader
from handwriting.text.writing import BIAS, CANDIDATES, write_lines, write_texts
from model import Mixture, mixture
from utils import START, DataLoader

import numpy as np
import pytest
import tensorflow as tf

PICTURES = ["color.svg", "eos_pdf.svg", "multi_color.svg", "normal.svg", "pdf.svg"]
STYLE = Style(make_line(8, np.random.default_rng(5)).astype(float), "six")


@pytest.fixture(scope="module")
def model(text_run):
    """The network of the run with text, which writes any text, quickly."""
    return quick_model(text_run)


def sess(seed=0):
    return tf.random.Generator.from_seed(seed)


# ------------------------------------------------------------------------------ where lines end


def test_a_line_ends_with_a_stroke_at_its_last_character(model):
    for words in ("one two", "ten"):
        (line,) = write_lines(model, sess(), [words], 0.0)
        assert line.problem == "" and len(line.params.eos) == len(line.strokes)
        assert line.window.shape == (len(line.strokes), len(words))
        places = line.window.argmax(axis=1)
        assert (np.diff(places) >= 0).all()
        assert len(words) <= len(line.strokes) <= 2 * len(words) + 40
        ends = np.flatnonzero(line.strokes[:, 2])
        assert ends[-1] == len(line.strokes) - 1
        # It could not have ended before: no earlier stroke ended at the last character.
        assert (places[ends[:-1] + 1] < len(words) - 1).all()


def test_a_line_that_does_not_end_is_given_up_and_told(model):
    slow = model.window["window.bias"].numpy()
    before = slow.copy()
    slow[20:] = -9.0
    model.window["window.bias"].assign(slow)
    try:
        (line,) = write_lines(model, sess(), ["on"], 0.0)
        assert len(line.strokes) == 3 * MOST_POINTS and line.problem == "it did not end"
        (line,) = write_lines(model, sess(), ["on"], 0.0, limit=7)
        assert len(line.strokes) == 7 and line.strokes[-1, 2] == 1
    finally:
        model.window["window.bias"].assign(before)


@pytest.mark.parametrize(
    ("points", "step", "words"),
    [
        (200, 9, ""),
        (80, 9, "its length does not fit its text"),
        (470, 9, "its length does not fit its text"),
        (200, 2, "its width does not fit its text"),
        (200, 20, "its width does not fit its text"),
        (700, 9, "it did not end"),
    ],
)
def test_ink_that_is_not_that_of_ten_characters_is_a_problem(points, step, words):
    strokes = np.tile(np.array([step, 0, 0]), [points, 1])
    assert find_problem("ten of two", strokes) == words
    assert find_problem("ten", strokes[:30]) == ""


def test_a_line_that_went_wrong_is_drawn_again_by_itself(model, monkeypatch):
    verdicts, drawn = iter(["", "bad", "", "bad", "still bad", "", "", ""]), []
    draw_lines = writing.draw_lines
    monkeypatch.setattr(pen, "find_problem", lambda *_: next(verdicts))
    monkeypatch.setattr(
        writing, "draw_lines", lambda *args: drawn.append(args[2]) or draw_lines(*args)
    )
    told = []
    lines = write_lines(
        model, sess(), ["on", "two", "ten", "ne"], 0.0, STYLE, candidates=1, progress=told.append
    )
    assert [len(texts) for texts in drawn] == [4, 2, 1]
    assert told == sorted(told) and told[-3:] == [4, 4, 4] and told[0] > 0
    assert [line.text for line in lines] == ["on", "two", "ten", "ne"]
    assert not any(line.problem for line in lines)


def test_the_drawing_of_fewest_points_is_kept_of_those_with_no_problem(model, monkeypatch):
    drawn, problems = [], iter(["", "bad", "bad", "", "", "bad"])
    draw_lines = writing.draw_lines

    def record(*args):
        drawn.extend(draw_lines(*args))
        for k, line in enumerate(drawn):
            drawn[k] = line._replace(problem=next(problems))
        return drawn

    monkeypatch.setattr(writing, "draw_lines", record)
    one, two = write_lines(model, sess(), ["one two", "ten"], 0.0, STYLE, candidates=3)
    good = [line for line in drawn if not line.problem]
    assert [line.text for line in drawn] == ["one two", "ten"] * 3
    for line, words in ((one, "one two"), (two, "ten")):
        assert len(line.strokes) == min(len(g.strokes) for g in good if g.text == words)
        assert line.problem == "" and line.text == words


# ---------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("style", [None, STYLE])
def test_points_come_from_the_density_that_the_network_gives(model, style, monkeypatch):
    """The mixture of each point is what the whole sequence gives at once."""
    monkeypatch.setattr(pen, "baseline", lambda x, y: (0.0, 0.0))
    (line,) = write_lines(model, sess(3), ["two ee"], 0.5, style)
    scale, before = np.array([20.0, 20.0, 1.0]), "" if style is None else "six "
    read = [START] if style is None else [START, *(STYLE.strokes.clip(-500, 500) / scale)]
    points = np.concatenate([read, line.strokes / scale]).astype(np.float32)
    chars = tf.constant(encode([before + "two ee"], model.alphabet, pen.WIDTH))
    z_hat = model(points[None, :-1], chars=chars)[0][0, len(read) - 1 :, :-1]
    expected = mixture(z_hat, 0.5, model.log_sigma_min)
    for name, value in line.params._asdict().items():
        factor = 20.0 if name[:2] in ("mu", "si") else 1.0
        np.testing.assert_allclose(value, factor * getattr(expected, name), rtol=1e-3, atol=1e-4)


def test_styles_are_read_side_by_side_as_each_by_itself(model, monkeypatch):
    read, sizes = pen.read_points, []
    rng = np.random.default_rng(0)
    hands = [Style(make_line(n, rng), "two one") for n in (9, 40, 23, 40)] + [None]
    hands, texts = hands * 2 + hands[1:3], ["two one six"] * 7 + ["two one ten"] * 5
    states = [pen.begin(model, [text], [hand])[0] for text, hand in zip(texts, hands, strict=True)]
    monkeypatch.setattr(
        pen, "read_points", lambda *args: sizes.append(args[1].shape[0]) or read(*args)
    )
    together, chars = pen.begin(model, texts, hands)
    assert chars.shape[0] == len(hands) and set(sizes) == {9}  # what is there twice is read once
    for row, alone in enumerate(states):
        np.testing.assert_array_equal(together.point[row], alone.point[0])
        for found, expected in zip(
            tf.nest.flatten(together.states), tf.nest.flatten(alone.states), strict=True
        ):
            np.testing.assert_allclose(found[row], expected[0], atol=1e-5)
    assert np.abs(together.states[0].h[0] - together.states[0].h[2]).max() > 0.01


def test_lines_are_level_and_so_are_their_densities():
    """Moves along (1, 0.2) and across it, with densities as wide as they vary, are sheared."""
    rng = np.random.default_rng(0)
    x, y = 10 + 3 * rng.normal(size=4000), 5 * rng.normal(size=4000)
    strokes = np.stack([x, 0.2 * x + y - 0.9 * np.append(0, y[:-1]), 0 * x], 1)
    cov = np.cov(strokes[:, 0], strokes[:, 1])
    sigma = np.sqrt(np.diag(cov))
    one = np.ones([4000, 1])
    params = Mixture(one, 10 * one, 2 * one, sigma[0] * one, sigma[1] * one,
                     cov[0, 1] / sigma.prod() * one, one[:, 0])  # fmt: skip
    level, density = pen.level(strokes.copy(), params)
    slope, _ = baseline(*np.cumsum(level[:, :2], axis=0).T)
    assert abs(slope) < 1e-4 and np.array_equal(level[:, 0], strokes[:, 0])
    expected = np.cov(level[:, 0], level[:, 1])
    found = density.sigma1[0] * density.sigma2[0] * density.rho[0]
    assert found == pytest.approx(expected[0, 1], abs=1e-6)
    assert density.sigma2[0] ** 2 == pytest.approx(expected[1, 1], rel=1e-6)
    assert density.mu2[0] == pytest.approx(2 - 10 * (strokes[1, 1] - level[1, 1]) / strokes[1, 0])


def test_the_same_seed_writes_the_same_whatever_the_number_of_texts_and_compiles_once(model):
    (one,), (same,), (other,) = (
        write_lines(model, sess(seed), ["one two"], 0.0, STYLE) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.strokes, same.strokes)
    assert len(one.strokes) != len(other.strokes) or (one.strokes != other.strokes).any()
    count = pen.write_groups.experimental_get_tracing_count()
    for words in ("on", "one two", "ee"):
        write_lines(model, sess(), [words], 0.0, STYLE)
    assert pen.write_groups.experimental_get_tracing_count() == count


def test_texts_of_one_call_share_a_hand_drawn_at_random(model, monkeypatch):
    monkeypatch.setattr(writing, "HAND", "ten lazy")
    styles_of, draw_lines = [], writing.draw_lines
    monkeypatch.setattr(
        writing, "draw_lines", lambda *args: styles_of.append(args[4]) or draw_lines(*args)
    )
    lines = write_lines(model, sess(), ["on", "two"], 0.0)
    assert styles_of[0] == [None] * CANDIDATES and len(lines) == 2
    assert [style.text for style in styles_of[1]] == ["ten"] * 2 * CANDIDATES
    styles_of.clear()
    write_lines(model, sess(), ["on", "two"], 0.0, one_hand=False)
    write_lines(model, sess(), ["on"], 0.0)
    assert styles_of == [[None] * 2 * CANDIDATES, [None] * CANDIDATES]


def test_many_texts_are_drawn_some_at_a_time(model, monkeypatch):
    monkeypatch.setattr(writing, "AT_ONCE", 2)
    sizes, shares, draw_lines = [], [], writing.draw_lines
    monkeypatch.setattr(
        writing, "draw_lines", lambda *args: sizes.append(len(args[2])) or draw_lines(*args)
    )
    texts = ["on", "two", "one six", "ten", "t"]
    lines = write_lines(
        model, sess(), texts, 0.0, STYLE, limit=40, candidates=3, progress=shares.append
    )
    assert [line.text for line in lines] == texts
    assert all(line.window.base is None for line in lines)  # else all drawings stay in memory
    assert max(sizes) == 6 and shares[0] <= 2 and 4 < shares[-1] <= 5


def test_write_and_write_batch_give_strokes_and_params(model):
    strokes, params = model.write(sess(), "two")
    same = write_lines(model, sess(), ["two"], BIAS)[0]
    np.testing.assert_array_equal(strokes, same.strokes)
    np.testing.assert_array_equal(params.pi, same.params.pi)
    both = model.write_batch(sess(), ["two", "on"], bias=2.0, style=STYLE)
    assert [len(params.eos) for _, params in both] == [len(strokes) for strokes, _ in both]


def test_unknown_characters_are_refused_before_anything_is_drawn(model, monkeypatch):
    monkeypatch.delattr(pen, "write_groups")
    with pytest.raises(UserError, match=r"^text 2 has .*: \u0416 \(place 2\); the network"):
        write_texts(model, sess(), ["on", "t\u0416"], 0.0)
    with pytest.raises(UserError, match=r"^the text is empty"):
        write_texts(model, sess(), [" "], 0.0)


# ------------------------------------------------------------------------------------- styles


def test_styles_and_pictures_of_them_are_drawn_anew(model, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(styles, "STYLES", tmp_path / "styles.json")
    monkeypatch.setattr(styles, "DEMO", corpus[0])
    monkeypatch.setattr(styles, "restore", lambda folder: model)
    lines = DataLoader(1, 1, data_dir=corpus[0])
    hands = {"neat": lines.names[3], "wild": lines.names[8]}
    monkeypatch.setattr(styles, "HANDS", hands)
    for name in ("SENTENCE", "SHOWN", "PLOTTED"):
        monkeypatch.setattr(styles, name, "one two")
    styles.draw_styles()
    drawn = json.loads((tmp_path / "styles.json").read_text())
    assert list(drawn) == ["neat", "wild"] and drawn["neat"] != drawn["wild"]
    assert {style["text"] for style in drawn.values()} == {"one two"}
    hand = Style(lines.raw_data[8], lines.texts[8])
    (line,) = write_lines(model, sess(0), ["one two"], styles.DRAWN_AT, hand)
    np.testing.assert_array_equal(drawn["wild"]["strokes"], np.rint(line.strokes))
    pictures = {"biases.svg", "hands.svg", "styles.json", "window.png"}
    assert {path.name for path in tmp_path.iterdir()} == pictures
    monkeypatch.setattr(styles, "HANDS", {"neat": "a99-999z-01"})
    with pytest.raises(UserError, match=r"neat goes on from a99-999z-01, which .* does not hold$"):
        styles.draw_styles()


# ------------------------------------------------------------------------------------ sample.py


@pytest.fixture
def here(tmp_path, monkeypatch, model):
    """An empty folder, the current one, where sample.py draws with the module's network."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(model_py, "restore", lambda folder: model)
    return tmp_path / "here"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_drawn_into_all_pictures(here, capsys):
    drawn = sample.main(["--text=one two", "--seed=1", "--plot"])
    strokes, params = write_lines(drawn[0], sess(1), ["one two"], BIAS)[0][1:3]
    np.testing.assert_array_equal(drawn[2], strokes)
    assert len(drawn[3].eos) == len(params.eos)
    kinds = sorted([*PICTURES, "density.png", "window.png"])
    assert names(here) == [f"sample.{kind}" for kind in kinds]
    assert (here / "sample.window.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    out = capsys.readouterr().out
    assert out.startswith(f"Drew {len(strokes)} points from ") and ".{density,window}.png" in out


@pytest.mark.filterwarnings("default:--style")
@pytest.mark.parametrize(
    ("says", "told"),
    [("two two two two", ["--style mine.npy: its ink"]), ("six", ["this may"] * 2)],
)
def test_a_style_that_does_not_fit_its_text_is_told_once(here, says, told, capsys, monkeypatch):
    """Both lines that are written go wrong."""
    np.save("mine.npy", STYLE.strokes)
    (here / "letter.txt").write_text("one\ntwo\n")
    monkeypatch.setattr(pen, "find_problem", lambda *line: "it did not end")
    sample.main(["--text_file=letter.txt", "--style=mine.npy", f"--style_text={says}"])
    warned = capsys.readouterr().err.split("sample.py: warning: ")[1:]
    assert [text[: len(start)] for text, start in zip(warned, told, strict=True)] == told


def test_spaces_around_a_text_are_not_written(here, model):
    bare, padded = (sample.main([f"--text={t}", "--seed=1"])[2] for t in ("one two", "\t one two "))
    np.testing.assert_array_equal(bare, padded)
    bare, padded = (model.write(sess(1), text)[0] for text in ("one", "\tone "))
    np.testing.assert_array_equal(bare, padded)


def test_the_progress_bar_counts_lines_of_all_samples(here, monkeypatch):
    bar, asked = SimpleNamespace(n=0.0), []
    bar.update = lambda number: setattr(bar, "n", bar.n + number)
    fake = lambda *args: asked.append(args) or nullcontext(bar)  # noqa: E731
    monkeypatch.setattr(request, "progress_bar", fake)
    (here / "letter.txt").write_text("one\ntwo\n")
    sample.main(["--text_file=letter.txt", "--num_samples=2", "--seed=1"])
    assert asked == [("writing", 4, "lines")] and bar.n == 4


def test_each_line_of_a_text_file_is_drawn_and_numbered(here):
    (here / "letter.txt").write_bytes("\ufeffone\n\ntwo two \r\nten\n".encode())
    sample.main(["--text_file=letter.txt", "--num_samples=2", "--filename=a", "--seed=1"])
    pictures = [f"a-{k}-{j}.{kind}" for k in (1, 2, 3) for j in (1, 2) for kind in PICTURES]
    assert names(here) == [*pictures, "letter.txt"]
    files = {(here / name).read_bytes() for name in pictures if "normal" in name}
    assert len(files) == 6


def test_texts_are_written_as_transcriptions_beside_line_strokes(here):
    (here / "letter.txt").write_text("one\ntwo two\nten\nsix\n")
    (here / "data").mkdir()
    flags = ["--line_strokes=data/lineStrokes-all.tar.gz", "--seed=1", "--bias=0"]
    sample.main(["--text_file=letter.txt", *flags])
    data = TextLoader(2, 20.0, here / "data", seed=0)
    assert data.texts == ["one", "two two", "ten", "six"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--text=one", "--text_file=a"], "argument --text: does not go with --text_file"),
        (["--text="], "the text is empty; give at least one character"),
        (["--text=  one {"], "the text has characters that cannot be written: { (place 7); --pl"),
        (["--text={", "--plain"], "the text has nothing that can be written; the network has le"),
        (["--plain"], "argument --plain: goes with a text, which is missing"),
        (["--text_file=no"], "--text_file no cannot be read (No such file or directory)"),
        (["--style_text=on"], "argument --style_text: goes with --style and a text"),
        (["--text=on", "--style=no"], "--style no is no file and none of the styles slanted, "),
        (["--text=" + "on" * 20000], "argument --num_samples: 1 samples of 2400000 points are"),
        ([], "the network in "),
    ],
)
def test_flags_are_refused_before_anything_is_drawn(here, capsys, monkeypatch, flags, words):
    monkeypatch.delattr(pen, "write_groups")
    assert status_of(sample.main, flags) == 2
    assert capsys.readouterr().err.startswith(f"sample.py: error: {words}")
    assert names(here) == []


def test_a_text_too_long_for_a_line_and_an_unknown_character_in_a_style_are_refused(model):
    with pytest.raises(UserError, match=r"the text has 600 characters, and a line at most 500; br"):
        writing.write_lines(model, sess(), ["one " * 150], 0.5)
    style = STYLE._replace(text="e {")
    with pytest.raises(UserError, match=r"the text of the style has .*: \{ \(place 3\)"):
        writing.write_texts(model, sess(), ["one"], 0.5, style)


@pytest.mark.parametrize("paper", [[], ["--paper=A6"]])
def test_a_character_that_is_not_known_is_told_by_its_line_in_the_file(here, capsys, paper):
    (here / "letter.txt").write_text("one\n\n\ttwo  {\n")
    assert status_of(sample.main, ["--text_file=letter.txt", *paper]) == 2
    message = "letter.txt has characters that cannot be written: { (line 3, place 7); --plain"
    assert message in capsys.readouterr().err


def test_a_network_writes_or_samples_not_both(tiny_run, model, tmp_path, capsys):
    with pytest.raises(ValueError, match="this network writes given texts: draw with write or"):
        model.sample(sess(), 5)
    flags = ["--text=one", f"--model_dir={tiny_run.folder}", f"--filename={tmp_path / 'a'}"]
    assert status_of(sample.main, flags) == 2
    assert "writes no text; one by train.py --text does" in capsys.readouterr().err


def test_our_weights_write_where_save_holds_no_run_that_does(here, tiny_run, text_run):
    assert runs.find_run("save", text=True) == runs.TEXT
    assert runs.find_run("save") == runs.PRETRAINED
    assert str(runs.find_run("mine", text=True)) == "mine"
    shutil.copytree(tiny_run.folder, "save")
    assert runs.find_run("save", text=True) == runs.TEXT
    shutil.copytree(text_run, "save", dirs_exist_ok=True)
    assert str(runs.find_run("save", text=True)) == "save"


@pytest.mark.parametrize("paper", [[], ["--paper=A6"]])
def test_what_can_be_written_is_and_gaps_are_left_for_the_rest(here, capsys, monkeypatch, paper):
    (here / "letter.txt").write_text("\u0416\none \ufb01 \u0416 tw\u00f6\n")
    drawn, write = [], writing.write_lines
    monkeypatch.setattr(
        writing, "write_lines", lambda *args, **k: drawn.append(args[2]) or write(*args, **k)
    )
    with pytest.raises(SystemExit):
        sample.main(["--text_file=letter.txt", *paper])
    said = "letter.txt has characters that cannot be written: \u0416 (line 1, place 1; line 2, "
    assert said in capsys.readouterr().err and names(here) == ["letter.txt"]
    sample.main(["--text_file=letter.txt", "--plain", "--seed=1", *paper])
    out, err = capsys.readouterr()
    assert drawn == [["one fi \u2003 tw\u00f6"]] and err.count("; gaps are left\n") == 1
    assert out.count("Writing typographic characters as plain ones: \ufb01 as fi\n") == 1
    kinds = ["page-1.svg"] if paper else PICTURES
    assert names(here) == ["letter.txt", *(f"sample.{kind}" for kind in kinds)]


def test_texts_with_marks_and_glyphs_are_lines_like_others(here, model):
    for text in ("tw\u00f6", "\u00a7 on\u00e9 \u20ac", "\u20ac"):
        (line,), (same,) = (write_lines(model, sess(2), [text], 0.5) for _ in range(2))
        count = len(line.strokes)
        assert line.text == text and line.window.shape == (count, len(text))
        assert {len(value) for value in line.params} == {count}
        np.testing.assert_array_equal(line.strokes, same.strokes)
        assert line.strokes[-1, 2] == 1
    strokes, params = model.write(sess(), "on\u00e9", style=STYLE._replace(text="s\u00efx"))
    assert len(params.eos) == len(strokes)
    (here / "data").mkdir()
    flags = ["--line_strokes=data/lineStrokes-all.tar.gz", "--seed=1", "--bias=0"]
    (here / "letter.txt").write_text("on\u00e9\ntw\u00f6 \u20ac\nten\nsix\n")
    sample.main(["--text_file=letter.txt", *flags])
    texts = DataLoader(2, 1, data_dir=here / "data").texts
    assert texts == ["on\u00e9", "tw\u00f6 \u20ac", "ten", "six"]
