"""The judge of legibility: its drawing and its sentences; not the recogniser."""

import sys

from handwriting.files import UserError
from handwriting.measure.legibility import (
    KINDS,
    draw_line,
    judge_input,
    kind_of,
    make_judge,
    read_sentences,
)

import numpy as np
import pytest


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


# ------------------------------------------------------------------------------------- sentences


def test_sentences_of_each_kind_have_all_characters_several_times():
    characters = "".join(map(chr, range(32, 127)))
    kinds = read_sentences(characters)
    assert tuple(kinds) == KINDS
    lines = [line for own in kinds.values() for line in own]
    assert len(set(lines)) == len(lines) and not any(line.startswith("== ") for line in lines)
    hard = [kinds[kind] for kind in KINDS[1:]]
    assert min(map(len, hard)) >= 25 and max(len(line) for own in hard for line in own) <= 45
    together = "".join("".join(own) for own in hard)
    assert min(map(together.count, characters)) >= 5
    symbols = "".join(kinds["symbols"])
    assert min(symbols.count(c) for c in characters if not c.isalnum()) >= 5
    assert {"HHHHHH", "EEEE", "XXXX", "0000", "......"} <= set(lines)


def test_sentences_are_those_that_the_alphabet_can_write():
    kinds = read_sentences("0123456789 EHX.")
    assert kinds["capitals"] == ["HHHHHH", "EEEE", "XXXX"] and "0000" in kinds["numbers"]
    assert kinds["symbols"] == ["......"] and kinds["prose"] == kinds["names"] == []
    with pytest.raises(UserError, match="too few characters"):
        read_sentences("qz")


@pytest.mark.parametrize(
    ("text", "kind"),
    [("He paid 12 pounds; 'why?'", "prose"), ("14.3.87, 7:45", "numbers"), ("I", "prose"),
     ("KEEP OUT", "capitals"), ("The BBC", "capitals"), ("Dr. A. Bell", "prose"),
     ("a@b.com", "prose"), ("x += 1;", "symbols"), ("$5.00", "symbols"), ("$125.00", "numbers")],
)  # fmt: skip
def test_kind_of_a_real_line_is_told_by_its_characters(text, kind):
    assert kind_of(text) == kind
