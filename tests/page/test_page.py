"""handwriting/page, in Node: pictures equal those of the program; recorded hands; the page as a
file.
"""

import base64
import itertools
import json
import re
import shutil
import xml.etree.ElementTree as ET

import sample
from conftest import make_line, read_weights, status_of
from handwriting.drawing import density
from handwriting.drawing import strokes as drawing
from handwriting.ink import recording
from handwriting.page.page import build_page
from handwriting.text import pen, words
from handwriting.text.hands import Style
from handwriting.text.reader import FOLDER as READER
from model import Mixture

import numpy as np
import pytest
from in_node import find_program, node
from safetensors.numpy import load


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_without_a_browser_tests_are_skipped_but_not_in_ci(ci, outcome, monkeypatch):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(outcome.Exception, match="need chromium: apt-get install chromium"):
        find_program("chromium", "google-chrome", install="chromium")


# ------------------------------------------------------------------------------------- pictures


def test_an_svg_of_the_page_is_the_one_of_sample_py(tmp_path):
    line = make_line(60, np.random.default_rng(2)).astype(float)
    line[20:22, :] = [[30, 0, 1], [90, -40, 1]]  # a dot
    drawing.draw_strokes(line, svg_filename=tmp_path / "line.svg")
    svg = node("return drawing.toSVG(placing.toStrokes(given.line));", line=line.tolist())
    ours, theirs = ET.fromstring(svg), ET.parse(tmp_path / "line.svg").getroot()
    assert [(e.tag, e.attrib) for e in ours.iter()][1:] == [
        (e.tag, e.attrib) for e in theirs.iter()
    ][1:]
    for name in ("viewBox", "style"):
        assert ours.get(name) == theirs.get(name)
    for name in ("width", "height"):
        sizes = (float(root.get(name).removesuffix("mm")) for root in (ours, theirs))
        assert next(sizes) == next(sizes)
    blue = node("return drawing.toSVG([[[0, 0], [9, 9]]], 2, '#0000ff');")
    assert 'stroke="#0000ff"' in blue and 'stroke-width="2"' in blue


def make_written(rng, foot=0.0):
    """A made-up written line "no, on up" of three words of zigzags, 100 high, whose baselines are
    `foot` apart; and its window. A comma hangs from the first.
    """
    points, window, text, x = [], [], "no, on up", 0.0
    for word, (start, end) in enumerate([(0, 3), (4, 6), (7, 9)]):
        for k in range(24):
            high = foot * word + (-100 if k % 2 else 0) + rng.uniform(-3, 3)
            points.append([x, high, k % 8 == 7])
            x += 20
            window.append(np.zeros(len(text)))
            window[-1][start + k * (end - start) // 24] = 1
        if word == 0:
            points += [[x, 0, 0], [x - 10, 60, 1]]
            window += [window[-1], window[-1]]
        x += 120
    strokes = np.array(points, float)
    strokes[:, :2] = np.diff(strokes[:, :2], axis=0, prepend=0)
    return pen.Line(text, strokes, None, np.array(window), "")


def test_words_and_their_baselines_are_those_of_letters_on_paper():
    line = make_written(np.random.default_rng(0), foot=8.0)
    found = node(
        """
        const strokes = placing.toStrokes(given.points);
        const numbers = placing.numberStrokes(given.text, strokes, given.windows);
        const parts = numbers.map((word) => word.map((k) => strokes[k]));
        return {numbers, guides: placing.guideLines(parts, 100),
          stand: placing.findBaselines(given.text, strokes, given.windows)};
        """,
        text=line.text,
        points=line.strokes.tolist(),
        windows=line.window.tolist(),
    )
    parts = [strokes for _, strokes in words.split_words(line)]
    ends = np.flatnonzero(line.strokes[:-1, 2]) + 1
    strokes = np.split(np.cumsum(line.strokes[:, :2], axis=0), ends)
    for numbers, part in zip(found["numbers"], parts, strict=True):
        for number, stroke in zip(sorted(numbers), part, strict=True):
            np.testing.assert_array_equal(strokes[number], stroke)
    np.testing.assert_allclose(found["guides"], words.guide_lines(parts, 100), atol=1e-6)
    np.testing.assert_allclose(found["stand"]["baselines"][::4], [0, 8, 16], atol=4)
    assert 90 < found["stand"]["size"] < 110


def test_lines_stand_on_their_baselines_and_never_collide():
    rng = np.random.default_rng(1)
    level, tall = make_written(rng, 6.0), make_written(rng)
    tall.strokes[10:12, 1] += [-400, 400]  # a stroke that rises far
    placed, spacing = node(
        """
        const placed = given.lines.map((line) => drawing.placeLine(line));
        return [placed, drawing.lineSpacing(placed, [0, 1, 3])];
        """,
        lines=[
            {"text": line.text, "points": line.strokes.tolist(), "windows": line.window.tolist()}
            for line in (level, tall, level)
        ],
    )
    for line in placed:
        feet = np.array([max(y for _, y in stroke) for stroke in line["strokes"]])
        np.testing.assert_allclose(np.delete(feet, 3), 0, atol=8)  # but the comma's
        points = np.concatenate(line["strokes"])
        assert points[:, 0].min() == 0 and points[:, 0].max() == line["width"]
        assert [-points[:, 1].min(), points[:, 1].max()] == [line["rise"], line["fall"]]
        assert len(line["pens"]) == len(points)
    assert placed[1]["rise"] > 400
    assert spacing == placed[0]["fall"] + placed[1]["rise"] + 25
    assert node("return drawing.lineSpacing([given], [0]);", **placed[0]) >= 350


def test_ellipses_are_those_of_the_densities():
    rng = np.random.default_rng(0)
    m = Mixture(*(rng.uniform(0.1, 0.9, 4) for _ in range(6)), 0.5)
    found = node(
        "return drawing.ellipses(given, 20).map((e) => [e.x, e.y, ...e.axes, e.angle]);",
        **{name: value.tolist() for name, value in m._asdict().items() if name != "eos"},
    )
    xx, xy, yy = m.sigma1**2, m.rho * m.sigma1 * m.sigma2, m.sigma2**2
    axes, angle = density.ellipses(400 * np.stack([xx, xy, yy], axis=-1))
    np.testing.assert_allclose(found, np.column_stack([20 * m.mu1, 20 * m.mu2, axes, angle]))


# --------------------------------------------------------------------------------- recorded hands

GUIDE = {"baseline": 80, "x_height": 25}


def test_sentences_cover_letters_digits_and_pairs():
    sentences = node("return recorder.SENTENCES;")
    first, characters = set("".join(sentences[:12])), "abcdefghijklmnopqrstuvwxyz"
    assert set(characters + characters.upper() + "0123456789 .,;:!?'\"-()&") <= first
    assert len(set(sentences)) == 30 and max(map(len, sentences)) <= 45
    pairs = {a + b for text in sentences for a, b in itertools.pairwise(text)}
    common = "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou"
    assert set(common.split()) <= pairs and len([p for p in pairs if p.islower()]) > 250


def test_a_recorded_line_is_that_of_the_program():
    rng, strokes = np.random.default_rng(0), []
    for start in range(0, 4000, 1000):  # samples every 2 to 30 ms
        time = start + np.cumsum(rng.uniform(2, 30, 40))
        x, y = 20 + time / 10, 70 + 10 * np.sin(time / 50)
        strokes.append(np.stack([x, y, time, np.full(40, 0.5)], axis=1).tolist())
    strokes += [[[430, 60, 4200, 0.5], [431, 61, 4220, 0.5], [431, 60, 4230, 0.5]]]  # a dot
    strokes += [[[440, 60, 4300, 0.5]], [[450, 60, 4400, 0.5], [451, 61, 9000, 0.5]]]
    points = node("return recorder.toPoints(given);", strokes=strokes, guide=GUIDE)
    line = recording.scale_line([np.array(stroke)[:, :3] for stroke in strokes], GUIDE["x_height"])
    assert [point[2] for point in points] == line[:, 2].tolist()
    ours, theirs = np.cumsum(points, axis=0), np.cumsum(line, axis=0, dtype=float)
    np.testing.assert_allclose(ours[:, :2], theirs[:, :2], atol=1.01)  # it rounds


def test_recorded_lines_are_a_style_on_one_baseline():
    line = {"text": "ab", "guide": GUIDE, "strokes": [[[10, 80, 0, 0.5], [30, 80, 10, 0.5]]]}
    other = {**line, "guide": {"baseline": 40, "x_height": 50}}
    other["strokes"] = [[[5, 40, 0, 0.5], [45, 40, 10, 0.5]]]
    style = node("return recorder.toStyle(given.lines);", lines=[line, other])
    assert style["text"] == "ab ab"
    assert style["strokes"] == [[100, 100, 0], [100, 0, 1], [50, 0, 0], [100, 0, 1]]


def test_a_hand_is_read_as_it_was_written_and_a_damaged_one_refused():
    lines, written = node(
        """
        const line = recorder.toLine("it", [[[1, 2], [3, 4]], [[5, 6]]], 450);
        const content = recorder.writeHand([line]);
        return [recorder.readHand(content), JSON.parse(content)];
        """
    )
    times = [[0, 15], [45]]
    assert [[sample[2] for sample in stroke] for stroke in lines[0]["strokes"]] == times
    assert lines[0]["guide"] == {"baseline": 450, "x_height": 125} and lines == written["lines"]
    damaged = [
        ("{", "no JSON"), ("[]", "no hand.json"), ('{"format": "hand", "version": 2}', "no hand"),
        (json.dumps({**written, "lines": [{"text": "it"}]}), "damaged"),
        (json.dumps(written).replace("45,", "null,"), "damaged"),
    ]  # fmt: skip
    for content, problem in damaged:
        script = "try { recorder.readHand(given.content); } catch (e) { return e.message; }"
        assert problem in node(script, content=content)


# --------------------------------------------------------------------------------------- the file


def test_the_page_is_one_file_with_the_weights_in_it(text_run, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert status_of(sample.main, ["--page", path, "--model_dir", text_run]) == 0
    assert f"Wrote {path}" in capsys.readouterr().out
    page = path.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", page.split("<script")[0])
    assert "<script src" not in page and page.count("</script>") == 21
    for kind, folder in (("text", text_run), ("reader", READER)):
        packed = re.search(f'<script id="{kind}-weights"[^>]*>([^<]*)</script>', page)[1]
        tensors = load(base64.b64decode(packed))
        weights = read_weights(folder / "model.safetensors")
        assert tensors.keys() == weights.keys()
        for name, value in tensors.items():
            assert value.dtype == np.float16
            np.testing.assert_array_equal(value, weights[name].astype(np.float16))


def test_a_style_cannot_end_the_script_that_holds_it():
    style = Style(np.zeros([1, 3]), "</script><b>")
    page = build_page("", "", "", {"a": style})
    content = re.search(r'<script id="styles"[^>]*>([^<]*)</script>', page)[1]
    assert json.loads(content)["a"]["text"] == style.text


def test_a_page_of_other_layers_is_refused(small_run, tmp_path, capsys):
    assert status_of(sample.main, ["--page", tmp_path / "page.html", "--model_dir", small_run]) == 2
    assert "rnn layers; a page runs lstm" in capsys.readouterr().err
    assert status_of(sample.main, ["--page", tmp_path / "page.html", "--seed", 1]) == 2
    assert "--seed: does not go with --page" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
