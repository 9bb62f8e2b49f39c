"""handwriting/likeness.py: what a network gains on a hand that it reads or trains on."""

import json

import train
from conftest import status_of
from handwriting import likeness
from handwriting.files import UserError
from handwriting.measure.likelihood import make_score
from handwriting.text.lines import join_lines
from model import restore
from utils import DataLoader

import numpy as np
import pytest


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Two lines are a hand, a sentence is written with each, a judge reads all as `two`, and
    train.py runs for three epochs in this process."""
    (tmp_path / "sentences.txt").write_text("two\nten\n")
    monkeypatch.setattr(likeness, "NUMBERS", (2,))
    monkeypatch.setattr(likeness, "WRITTEN", 1)
    monkeypatch.setattr(likeness, "SENTENCES", tmp_path / "sentences.txt")
    monkeypatch.setattr(likeness, "make_judge", lambda: lambda strokes: "two")
    monkeypatch.setattr(likeness, "run_train", lambda flags: train.main(list(map(str, flags))))
    monkeypatch.setitem(train.FINE_TUNING, "num_epochs", 3)
    monkeypatch.setitem(train.FINE_TUNING, "learning_rate", 0.01)


def test_a_hand_is_measured_before_and_after_reading_and_fine_tuning(
    quick, text_run, corpus, tmp_path, capsys
):
    path, picture = tmp_path / "a.json", tmp_path / "a.png"
    flags = [f"--model_dir={text_run}", f"--data_dir={corpus[0]}", "--split=all", "--forms=2"]
    likeness.main([*flags, f"--json={path}", f"--plot={picture}"])
    found = json.loads(path.read_text())
    model, data = restore(text_run), DataLoader(1, 1, 20.0, data_dir=corpus[0])
    lines, texts = data.raw_data, data.texts
    for row, first in zip(found["forms"], (0, 5), strict=True):  # of the two whole forms
        others, hand = range(first + 2, first + 5), [first, first + 1]
        scores = make_score(model)(data.scaled(lines), texts)
        before = np.concatenate([scores[k][0] for k in others]).mean()
        assert row["before"]["0"] == pytest.approx(before, rel=1e-5)
        chains = [[*hand, k] for k in others]
        joined = [join_lines([lines[k] for k in c], [texts[k] for k in c]) for c in chains]
        joined, words = zip(*joined, strict=True)
        scores = make_score(model)(data.scaled(joined), words)
        read = [s[0][1 - len(lines[k]) :] for s, k in zip(scores, others, strict=True)]
        assert row["read"]["2"] == pytest.approx(np.concatenate(read).mean(), rel=1e-5)
        assert row["fine-tuned"]["2"] < row["before"]["0"] - 0.01
    for way in ("before", "read", "fine-tuned"):  # of `ten` two thirds are wrong
        assert found["legibility"][way]["cer"] == pytest.approx(2 / 6)
    output = capsys.readouterr().out
    assert "fine-tuned 2 lines: -" in output and "better in 2 of 2 forms" in output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_form_begins_with_the_weights_of_the_run(quick, text_run, corpus, monkeypatch):
    """Of the same form twice all figures are the same."""
    model, data = restore(text_run), DataLoader(1, 1, 20.0, data_dir=corpus[0])
    first, again = (
        likeness.measure_form(model, text_run, data, [0, 1, 2], lambda style: [])[0]
        for _ in range(2)
    )
    assert first == again


def test_forms_of_most_lines_are_chosen_and_too_few_are_told(quick, text_run, corpus, capsys):
    flags = [f"--model_dir={text_run}", f"--data_dir={corpus[0]}", "--split=all", "--forms=3"]
    assert status_of(likeness.main, flags) == 2
    assert "--forms 3: only 2 forms there have more than 2 lines" in capsys.readouterr().err


def test_what_train_py_says_is_handed_on(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/config.json cannot be read"):
        likeness.run_train(["--text", "--init", tmp_path / "nowhere"])
