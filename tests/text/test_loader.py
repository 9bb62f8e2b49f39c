"""handwriting/text/loader.py and what learns from it: alphabets, joined lines, train.py --text."""

import json
import shutil
from argparse import Namespace
from itertools import pairwise

import train
from conftest import (
    TEXTS,
    cache_of,
    checkpoint,
    main,
    make_args,
    make_corpus,
    make_line,
    read_losses,
    read_weights,
    status_of,
    text_flags,
)  # fmt: skip
from handwriting.files import UserError
from handwriting.network.cells import HAND
from handwriting.network.checkpoint import load_weights, read_config
from handwriting.network.window import window_step
from handwriting.text import loader
from handwriting.text.alphabet import ENDS, encode, make_alphabet
from handwriting.text.hands import Style
from handwriting.text.lines import join_lines
from handwriting.text.loader import TextLoader
from handwriting.text.writing import write_lines
from model import Model, restore
from utils import DataLoader

import numpy as np
import pytest
import tensorflow as tf

# ----------------------------------------------------------------------- characters and numbers


def test_alphabet_is_all_printable_characters_that_the_texts_have():
    assert make_alphabet(["b a", "\u3042\u00e9\n\t\x07~a"]) == " ab~\u00e9\u3042"


def test_encode_puts_ends_behind_texts_and_padding_behind_these():
    chars = encode(["ba", "", "a?b"], "ab", 8)
    ends, rest = [0] * ENDS, [-1] * 8
    rows = [2, 1, *ends, *rest], [*ends, *rest], [1, -1, 2, *ends, *rest]
    assert chars.dtype == np.int32 and chars.tolist() == [row[:8] for row in rows]
    assert [encode(["a" * n], "ab").shape[1] - ENDS for n in (2, 13, 14)] == [13, 13, 29]


# -------------------------------------------------------------------------------- joined lines


def test_joined_lines_lie_on_one_baseline_a_word_apart():
    rng = np.random.default_rng(0)

    def sloping(slope, start):
        x = np.arange(100) * 40
        y = np.rint(slope * x + 30 * np.sin(x / 50))
        line = np.zeros([100, 3], np.int16)
        line[1:, :2] = np.diff(np.stack([x, y], axis=1), axis=0)
        line[0, :2] = start
        line[[49, 99], 2] = 1
        line[50, 0] = 160  # the gap between two words
        return line

    lines = [sloping(0.1, (9, 9)), sloping(-0.05, (-700, 400)), make_line(60, rng)]
    joined, words = join_lines(lines, ["ab cd", "e fg", "h"])
    assert words == "ab cd e fg h" and joined.dtype == np.int16
    ends = np.cumsum([len(line) for line in lines])
    for line, end in zip(lines, ends, strict=True):  # only first moves differ
        part = joined[end - len(line) : end]
        np.testing.assert_array_equal(part[1:], line[1:])
        assert part[0, 2] == line[0, 2]
    np.testing.assert_array_equal(joined[0], lines[0][0])
    pen = np.cumsum(joined[:, :2].astype(int), axis=0)
    first, second, _ = np.split(pen, ends[:-1])
    assert second[:, 0].min() - first[:, 0].max() == pytest.approx(160 * 1.0, abs=450)
    assert second[:, 0].min() > first[:, 0].max()
    assert abs(second[:5, 1].mean() - first[-5:, 1].mean()) < 60  # they wave by 30


# -------------------------------------------------------------------------------- minibatches


@pytest.mark.parametrize("join_lines", [False, True])
def test_batches_hold_whole_lines_with_their_own_texts(corpus, join_lines):
    folder, lines = corpus
    data = TextLoader(4, 20.0, folder, seed=0, join_lines=join_lines)
    assert data.alphabet == make_alphabet(data.texts_of_data)
    assert len(data.data) == 10 and len(data.valid_data) == len(data.valid_texts) == 1
    known = dict(zip(data.texts_of_data, data.data, strict=True))
    begins, joined = [], 0
    for _ in range(40):
        x, y, lengths, chars = data.next_batch()
        assert x.shape == y.shape == (4, -(-lengths.max() // 64) * 64, 3)
        assert x.dtype == y.dtype == np.float32
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
        for first, rest, length, symbols in zip(x[:, :1], y, lengths, chars, strict=True):
            row = np.concatenate([first, rest])
            assert not row[length:].any() and row[length - 1, 2] == 1
            said = "".join(data.alphabet[k - 1] for k in symbols if k > 0)
            behind = symbols[len(said) :]
            assert (behind[:ENDS] == 0).all() and (behind[ENDS:] == -1).all()
            begins.append(first.tolist() == [[0, 0, 1]])
            if said in known:
                np.testing.assert_array_equal(row[begins[-1] : length], known[said])
            else:
                joined += 1
                assert len([t for t in TEXTS if t in said]) >= 2
    assert (joined > 80 if join_lines else joined == 0) and 0.3 < np.mean(begins) < 0.7
    assert data.texts == TEXTS and np.array_equal(data.raw_data[3][1:], lines[3][1:])


def test_lines_are_joined_to_the_nearest_of_their_form(corpus):
    data = TextLoader(4, 20.0, corpus[0], seed=0, join_lines=True)
    data._siblings = [[0, 1, 2, 3, 4, 5, 8, 9]] * 10
    others = [sorted(data._others(line, 2)) for line in (0, 1, 4, 8)]
    assert others == [[1, 2], [0, 2], [3, 5], [5, 9]]
    assert {data._others(3, 1)[0] for _ in range(30)} == {2, 4}


def test_lines_of_unknown_characters_alone_are_refused(corpus):
    with pytest.raises(UserError, match=r"all texts in .* have characters .*; it can write: x$"):
        TextLoader(4, 20.0, corpus[0], seed=0, alphabet="x")


def test_the_same_seed_gives_the_same_batches(corpus):
    def batch(seed):
        data = TextLoader(4, 20.0, corpus[0], seed=seed)
        return [data.next_batch() for _ in range(3)]

    for ours, same in zip(batch(1), batch(1), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, same, strict=True))
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(batch(1), batch(2), strict=True))


def test_sequences_grow_in_the_first_epoch(corpus):
    data = TextLoader(4, 20.0, corpus[0], seed=0)
    rng = np.random.default_rng(2)
    data._lengths = rng.integers(5, 50, len(data.data))
    data.data = [line[:length] for line, length in zip(data.data, data._lengths, strict=True)]
    data.num_batches = 40
    lengths = np.array([data.next_batch()[2].mean() for _ in range(160)])
    first, middle, later = lengths[:5].mean(), lengths[15:25].mean(), lengths[40:].mean()
    assert data.drawn == 160 and first < 0.5 * later and first < middle < 0.9 * later
    data.drawn = 0
    assert data.next_batch()[2].mean() < 0.5 * later


def test_siblings_are_of_one_form(corpus):
    data = TextLoader(4, 20.0, corpus[0], seed=0)
    forms = {t: k // 5 for k, t in enumerate(TEXTS)}
    for k, t in enumerate(data.texts_of_data):
        others = data._others(k, 10)
        assert k not in others and len(set(others)) == len(others)
        assert {forms[data.texts_of_data[other]] for other in others} <= {forms[t]}


@pytest.fixture
def thousand(tmp_path):
    """A folder of 1,200 short lines of one point a character and more, some of them odd."""
    rng = np.random.default_rng(0)
    lines = [make_line(int(rng.integers(20, 40)), rng) for _ in range(1200)]
    texts = ["e" * (len(line) // 2) for line in lines]
    texts[7], texts[8], texts[9] = "e" * 200, "e", "eeee\x07eeeeee"
    texts[10], texts[11] = "Q" + texts[10][1:], None
    names = [f"f{k // 5:03d}-{k % 5 + 1:02d}" for k in range(1200)]
    cache_of(tmp_path, lines, names)
    path = tmp_path / "strokes_training_data.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"texts": texts}))
    return tmp_path


def test_lines_whose_ink_cannot_be_their_text_are_left_out_and_counted(thousand):
    data = TextLoader(8, 20.0, thousand, seed=0)
    assert data.alphabet == "Qe"
    assert not {"e" * 200, "e", "eeee\x07eeeeee"} & set(data.texts_of_data)
    assert "1 left out because they have no text or another, 1 with characters that" in data.summary
    assert f"{len(data.data):,} lines with texts" in data.summary
    assert len(data.data) > 1100


def test_lines_that_the_reader_found_are_left_out(thousand):
    before = TextLoader(8, 20.0, thousand, seed=0)
    held, *trained = (
        [k for k, chosen in enumerate(split) if chosen][20:22]
        for split in (before.validates, before.trains)
    )
    names = [before.names[k] for k in [*held, *trained[0]]]
    (thousand / "strokes_misread.json").write_text(json.dumps([*names, "gone-01"]))
    data = TextLoader(8, 20.0, thousand, seed=0)
    assert len(before.valid_data) - len(data.valid_data) == 2
    assert len(before.data) - len(data.data) == 2
    assert len(DataLoader(8, 10, data_dir=thousand).data) > len(data.data)  # without texts all
    for content in ("{", "1"):  # damaged: as without
        (thousand / "strokes_misread.json").write_text(content)
        assert len(TextLoader(8, 20.0, thousand, seed=0).data) == len(before.data)


def test_a_rare_character_is_drawn_more_often(thousand):
    data = TextLoader(8, 20.0, thousand, seed=0)
    repeats = data._repeats()
    assert repeats[[t.count("Q") for t in data.texts_of_data].index(1)] == pytest.approx(
        min(8, np.sqrt(0.02 * len(data.data)))
    )
    assert sorted(repeats)[:-1] == [1.0] * (len(repeats) - 1)


def test_without_transcriptions_a_sentence_says_what_is_missing(tmp_path, capsys):
    make_corpus(tmp_path / "data")
    flags = ["--text", f"--data_dir={tmp_path / 'data'}", f"--model_dir={tmp_path / 'run'}"]
    assert status_of(train.main, flags) == 2
    assert "--text needs transcriptions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------------------- the network


def test_loss_of_a_line_is_the_same_alone_and_padded_in_a_batch(corpus):
    data = TextLoader(4, 20.0, corpus[0], seed=0)
    model = Model(make_args(alphabet=data.alphabet, skip=True))
    for variable in model.variables.values():  # so that text and end matter
        rng = np.random.default_rng(variable.shape[0])
        variable.assign(variable + 0.2 * rng.normal(size=variable.shape))
    x, y, lengths, chars = data.next_batch()
    whole = np.array(model.loss_sums(x, y, lengths, chars))
    alone = np.zeros(3)
    for k, n in enumerate(lengths):
        row, symbols = slice(k, k + 1), chars[k : k + 1, : np.count_nonzero(chars[k] >= 0)]
        alone += np.array(model.loss_sums(x[row, :n], y[row, :n], lengths[row], symbols))
    np.testing.assert_allclose(whole, alone, rtol=1e-5)
    assert whole[2] == (lengths - 1).sum() and whole[1] > whole[0]
    other = model.loss_sums(x, y, lengths, np.roll(chars, 1, axis=1))
    assert abs(float(other[0]) - whole[0]) > 1e-3


def test_window_sees_the_characters_that_kappa_points_at():
    a_hat = np.zeros([1, 30], np.float32)
    a_hat[0, 10:20], a_hat[0, 20:] = 9.0, np.log(0.25 / 1.75)  # beta 4.05; kappa moves by 1/4
    chars, kappa, looks = tf.one_hot([[0, 1, 2, 3]], 5), tf.zeros([1, 10]), []
    for _ in range(14):
        (w, kappa), phi = window_step(a_hat, kappa, chars)
        looks.append((float(kappa[0, 0]), int(tf.argmax(w[0])), float(tf.reduce_sum(phi))))
    steps = [b - a for (a, *_), (b, *_) in pairwise(looks)]
    assert steps == pytest.approx([0.25] * 13, abs=1e-6)
    for position, symbol, total in looks[2:]:
        if position % 1 not in (0.0, 1.0):
            assert symbol == int(position) and total == pytest.approx(1, abs=0.2)


# ------------------------------------------------------------------------------------ train.py


def test_a_text_run_learns_and_goes_on_bit_for_bit(corpus, text_run, tmp_path):
    config = json.loads((text_run / "config.json").read_text())
    assert config["text"] and config["alphabet"] == TextLoader(4, 20.0, corpus[0]).alphabet
    first, *_, last = read_losses(text_run)
    assert last["train_loss"] < first["train_loss"] and last["valid_loss"] < first["valid_loss"]
    folder, step = shutil.copytree(text_run, tmp_path / "run"), int(last["step"])
    checkpoint(folder, step).unlink()
    (folder / "model.safetensors").unlink()
    assert checkpoint(folder, step - 1).exists()
    assert status_of(train.main, ["--resume", f"--model_dir={folder}"]) == 0
    ours, same = (read_weights(checkpoint(path, step)) for path in (folder, text_run))
    assert ours.keys() == same.keys() and "window.kernel" in ours
    assert all(np.array_equal(ours[name], same[name]) for name in same)


def test_init_adds_a_window_to_weights_without_text(corpus, tiny_run, text_run, tmp_path, capsys):
    config = read_config(tiny_run.folder) | {"alphabet": "abc"}
    model = Model(Namespace(**config))
    before = {name: variable.numpy() for name, variable in model.window.items()}
    load_weights(model, tiny_run.folder, without=model.window)
    expected = read_weights(tiny_run.folder / "model.safetensors") | before
    assert all(np.array_equal(v.numpy(), expected[k]) for k, v in model.variables.items())
    network = dict.fromkeys(["rnn_size", "num_layers", "num_mixture"])
    fine_tune = text_flags(corpus, num_epochs=1, **network)
    folder = tmp_path / "run"
    assert main(tiny_run, folder, "--text", f"--init={tiny_run.folder}", **fine_tune) == 0
    assert read_config(folder)["alphabet"] == read_config(text_run)["alphabet"]
    capsys.readouterr()
    assert main(tiny_run, tmp_path / "no", f"--init={text_run}", **fine_tune) == 2
    assert "is a network that writes text; give --text, too" in capsys.readouterr().err


def test_init_adds_new_characters_behind_the_alphabet(
    tiny_run, text_run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(loader, "MANY", 5)
    texts = ["tw\u00f6", "one", "te\u0301n", "six", "\u3042 ten", "on"] * 2
    make_corpus(tmp_path / "data", len(texts), points=50, texts=texts)
    old, before = read_config(text_run)["alphabet"], read_weights(text_run / "model.safetensors")
    network = dict.fromkeys(["rnn_size", "num_layers", "num_mixture", "decay_rate"])
    flags = text_flags([tmp_path / "data"], num_epochs=1, learning_rate=1e-30, **network)
    assert main(tiny_run, tmp_path / "run", "--text", f"--init={text_run}", **flags) == 0
    assert f"New in the alphabet of {text_run}: \u00e9 \u00f6 \u3042\n" in capsys.readouterr().out
    config = read_config(tmp_path / "run")
    assert config["alphabet"] == old + "\u00e9\u00f6\u3042"
    fresh = Model(Namespace(**config)).variables
    weights = read_weights(tmp_path / "run" / "model.safetensors")
    grown = [name for name in weights if len(weights[name]) > len(before[name])]
    assert grown == ["end.kernel", *[f"layers.{k}.window_kernel" for k in (0, 1)],
                     "output.window_kernel"]  # fmt: skip
    for name, value in weights.items():
        count = len(before[name])
        np.testing.assert_allclose(value[:count], before[name], atol=1e-6)
        np.testing.assert_allclose(value[count:], fresh[name].numpy()[count:], atol=1e-6)
    assert TextLoader(2, 20.0, tmp_path / "data", seed=0, alphabet=old).alphabet == old


def test_few_lines_teach_no_letters_that_can_be_put_together(tmp_path):
    texts = ["tw\u00f6", "te\u0301n", "\u3042 ten", "on"] * 3
    make_corpus(tmp_path / "data", len(texts), points=50, texts=texts)
    data = TextLoader(9, 20.0, tmp_path / "data", seed=0, alphabet=" enotw", grow=True)
    assert data.alphabet == " enotw\u3042" and "tw\u00f6" in data.texts_of_data
    begins = [row[:3].tolist() for _ in range(20) for row in data.next_batch()[3]]
    assert [5, 6, -1] in begins  # t, w, and nothing that the network knows


@pytest.mark.parametrize("flag", ["--seq_length=20", "--first_points=0.1", "--model=gru"])
def test_flags_that_do_not_go_with_text_are_refused(flag, capsys):
    assert status_of(train.main, ["--text", flag]) == 2
    assert "does not go with --" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------- hands


@pytest.fixture
def vectors(monkeypatch):
    """In place of the encoder: of each line of the corpus a vector that tells its number."""
    found = np.eye(11, HAND, dtype=np.float32)
    monkeypatch.setattr(loader, "encode_data", lambda folder, lines: found)
    return found


def test_a_hand_is_told_by_other_lines_of_the_form(corpus, vectors):
    data = TextLoader(4, 20.0, corpus[0], seed=0, hands=True)
    known, told = dict(zip(data.texts_of_data, data.data, strict=True)), []
    for _ in range(50):
        x, _, _, chars, hands = data.next_batch()
        assert hands.shape == (len(x), HAND) and hands.dtype == np.float32
        for symbols, hand in zip(chars, hands, strict=True):
            said = "".join(data.alphabet[k - 1] for k in symbols if k > 0)
            line = data.texts.index(said)
            others = np.flatnonzero(hand)
            assert said in known and line not in others
            assert all(other // 5 == line // 5 for other in others)  # five make a form
            told.append(len(others))
            if len(others):
                assert np.mean(hand**2) == pytest.approx(1, rel=1e-5)
    shares = np.bincount(told, minlength=5) / len(told)
    assert 0.03 < shares[0] < 0.3 and (shares[1:4] > 0.05).all()
    assert data.valid_hands.shape == (1, HAND)


def test_a_network_learns_hands_and_writes_in_them(corpus, tiny_run, tmp_path, vectors, capsys):
    flags = text_flags(corpus, num_epochs=1)
    assert main(tiny_run, tmp_path / "without", "--text", "--layer_norm", **flags) == 0
    init = f"--init={tmp_path / 'without'}"
    network = dict.fromkeys(["rnn_size", "num_layers", "num_mixture", "decay_rate"])
    told = {**flags, **network}
    assert main(tiny_run, tmp_path / "with", "--text", init, "--hands", **told) == 0
    files = [tmp_path / name / "model.safetensors" for name in ("without", "with")]
    before, after = map(read_weights, files)
    new = sorted(set(after) - set(before))
    assert new == [f"layers.{k}.hand_kernel" for k in (0, 1)]
    assert all(np.abs(after[name]).max() > 0 for name in new)
    assert [read_config(file.parent)["hands"] for file in files] == [False, True]
    assert main(tiny_run, tmp_path / "no", "--text", "--hands", **flags) == 2
    assert "--hands: goes with --text and --layer_norm; give both" in capsys.readouterr().err

    model = restore(tmp_path / "with")
    for name in new:
        model.variables[name].assign(np.random.default_rng(2).normal(0, 0.3, after[name].shape))
    one, other = np.random.default_rng(1).normal(size=[2, HAND])
    read = make_line(9, np.random.default_rng(3)).astype(float)
    for strokes, text in ((np.zeros([0, 3]), ""), (read, "six")):
        styles = [Style(strokes, text, hand) for hand in (one, other, None, np.zeros(HAND))]
        drawn = [
            write_lines(
                model, tf.random.Generator.from_seed(0), ["two"], 0.0, style, limit=30, candidates=1
            )[0].strokes
            for style in styles
        ]
        assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
        np.testing.assert_array_equal(drawn[2], drawn[3])
