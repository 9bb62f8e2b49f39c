"""text/hands.py: a hand by the name of a style, of a file or of a line of the database."""

import json
import shutil

from conftest import TEXTS, make_line
from handwriting.files import UserError
from handwriting.ink.line_strokes import line_to_xml
from handwriting.text import hands
from handwriting.text.hands import Style

import numpy as np
import pytest

STYLE = Style(make_line(8, np.random.default_rng(5)).astype(float), "six")


def test_style_is_a_name_a_file_or_a_line_of_the_database(tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hands, "STYLES", tmp_path / "hands.json")
    hands.read_styles.cache_clear()
    with pytest.raises(UserError, match=r"^--style neat is no file and none of the styles $"):
        hands.load_style("neat")
    shipped = {"neat": {"text": "six", "strokes": STYLE.strokes.tolist()}}
    (tmp_path / "hands.json").write_text(json.dumps(shipped))
    hands.read_styles.cache_clear()
    style = hands.load_style("neat")
    assert style.text == "six" and np.array_equal(style.strokes, STYLE.strokes)
    with pytest.raises(UserError, match=r"^--style wild is no file and none of the styles neat$"):
        hands.load_style("wild")

    np.save(tmp_path / "mine.npy", STYLE.strokes)
    with pytest.raises(UserError, match=r"^--style mine.npy needs --style_text"):
        hands.load_style("mine.npy")
    assert hands.load_style("mine.npy", "my own").text == "my own"

    shutil.copytree(corpus[0], tmp_path / "data")
    assert hands.load_style("s00-000-04").text == TEXTS[3]
    folder = tmp_path / "data" / "lineStrokes" / "s00" / "s00-001"
    folder.mkdir(parents=True)
    for k in range(5, 10):
        (folder / f"s00-001-{k - 4:02d}.xml").write_bytes(line_to_xml(corpus[1][k]))
    path = "data/lineStrokes/s00/s00-001/s00-001-02.xml"
    style = hands.load_style(path)
    assert style.text == TEXTS[6]
    np.testing.assert_array_equal(style.strokes[1:], corpus[1][6][1:])
    hands.read_styles.cache_clear()


def test_a_style_whose_ink_does_not_fit_its_text_is_told(tmp_path):
    np.save(tmp_path / "mine.npy", STYLE.strokes)
    with pytest.warns(UserWarning, match=r"--style .*mine.npy: its ink does not fit its text,"):
        hands.load_style(str(tmp_path / "mine.npy"), "far too many characters for so little ink")
