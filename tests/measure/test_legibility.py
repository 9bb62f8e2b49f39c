"""The judge of legibility: its drawing, its figures; not the recogniser."""

import sys

from handwriting.files import UserError
from handwriting.measure.legibility import draw_line, judge_input, make_judge, score

import numpy as np
import pytest


def test_score_of_texts_read_without_fault():
    found = score([" a  b", "c "], ["a b", " c"])  # spaces at the ends and runs of them
    shares = {" ": [1, 1.0], "a": [1, 1.0], "b": [1, 1.0], "c": [1, 1.0]}
    assert found == {"lines": 2, "cer": 0.0, "wer": 0.0, "failed": 0.0, "characters": shares}


def test_score_counts_insertions_deletions_and_substitutions():
    texts = ["one two", "aab", "xyz"]
    # A substitution and an insertion; a deletion, a third of a line; nothing right.
    found = score(["ona twoo", "ab", "q"], texts)
    assert found["cer"] == pytest.approx((2 + 1 + 3) / 13)
    assert found["wer"] == pytest.approx((2 + 1 + 1) / 4)
    assert found["failed"] == pytest.approx(2 / 3)
    shares = found["characters"]
    assert "".join(shares) == " abenotwxyz"
    assert shares["o"] == [2, 1.0] and shares["e"] == [1, 0.0] and shares["n"] == [1, 1.0]
    assert shares["a"] == [2, 0.5] and shares["b"] == [1, 1.0] and shares[" "] == [1, 1.0]
    assert [shares[c] for c in "xyz"] == [[1, 0.0]] * 3


def test_score_of_a_line_at_the_limit_is_not_failed():
    assert score(["abcdefg"], ["abcdefghij"])["failed"] == 0.0
    assert score(["abcdef"], ["abcdefghij"])["failed"] == 1.0
    # More characters read than there are: the rate is above 1.
    assert score(["abcd"], ["x"])["cer"] == 4.0


def test_score_needs_a_text_for_each_line_and_characters():
    with pytest.raises(ValueError, match="argument 2"):
        score(["a"], ["a", "b"])
    for texts in ([], [" "]):
        with pytest.raises(ValueError, match="no characters to score"):
            score(texts, texts)


def test_draw_line_scales_to_its_height():
    # 200 pen units wide and 100 high: 128 x 64 pixels, and 6 on each side.
    picture = draw_line([[50, 70, 0], [200, 0, 0], [0, 100, 1]])
    assert (picture.mode, picture.size) == ("L", (140, 76))
    pixels = np.asarray(picture)
    assert pixels[:4].min() > 240 and pixels[:, :4].min() > 240
    assert pixels[6, 6:134].max() < 128 and pixels[6:70, 133].max() < 128
    assert pixels[10:, 6:130].min() == 255  # no line back to the beginning


def test_draw_line_draws_dots_and_lifts_the_pen():
    strokes = [[0, 0, 0], [0, 64, 1], [60, -32, 1], [60, 32, 0], [0, -64, 1]]
    pixels = np.asarray(draw_line(strokes))
    assert pixels.shape == (76, 132)
    rows, columns = np.nonzero(pixels[:, 20:112] < 128)
    assert rows.tolist() == [37, 37, 38, 38]  # a dot as wide as the pen, 32 pixels down
    assert (columns + 20).tolist() == [65, 66, 65, 66]


def test_draw_line_limits_its_width():
    assert draw_line([[0, 0, 0], [100_000, 1, 1]]).size == (3012, 13)
    assert draw_line([[3, 4, 1]]).size == (12, 12)


def test_judge_input_is_48_pixels_high():
    pixels = judge_input(draw_line([[0, 0, 0], [200, 0, 0], [0, 100, 1]]))
    assert (pixels.dtype, pixels.shape) == (np.float32, (1, 3, 48, 88))  # 140 x 48 / 76
    assert pixels.max() == 1.0 and -1.0 <= pixels.min() < -0.5
    assert judge_input(draw_line([[0, 0, 0], [0, 100, 1]])).shape[3] == 16


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime", "PIL"])
def test_make_judge_tells_what_to_install(package, monkeypatch):
    for name in ("rapidocr", "onnxruntime"):  # whether they are there or not
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"with {package}, .* -r tests/benchmarks/requirements.txt"):
        make_judge()


def test_make_judge_needs_the_weights_inside_the_wheel(monkeypatch, tmp_path):
    for name in ("rapidocr", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    sys.modules["rapidocr"].__file__ = str(tmp_path / "__init__.py")
    with pytest.raises(UserError, match=r"no PP-OCRv6_rec_small\.onnx: pip install"):
        make_judge()
