"""handwriting/page, in Node: the page's network and pictures equal those of the program; recorded
hands; the page as a file.
"""

import base64
import itertools
import json
import re
import shutil
import subprocess

import sample
from conftest import make_args, make_line, make_points, read_weights, status_of
from handwriting.drawing import strokes as drawing
from handwriting.ink import recording
from handwriting.network import sampling
from handwriting.network.sampling import CHUNK
from handwriting.page.page import FOLDER, build_page, pack_weights
from handwriting.text import writing
from handwriting.text.alphabet import encode
from handwriting.text.hands import Style
from model import Mixture, Model

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load

ALPHABET = " efinostuvwx"
TEXT = "six seven two"
STYLE = Style(make_line(40, np.random.default_rng(5)).astype(float), "one five")
KINDS = {
    "text": {"layer_norm": True, "skip": True, "polar": True, "alphabet": ALPHABET},
    "text, nothing else": {"alphabet": ALPHABET},
    "no text": {"layer_norm": True, "skip": True, "polar": True},
    "peepholes": {"peephole": True},
}
SCRIPTS = "".join(
    f"const {name} = require({json.dumps(str(FOLDER / name))} + '.js');"
    for name in ("engine", "lines", "drawing", "recorder")
)


def node(script, **given):
    """What the body of a JavaScript function of `given` returns, in Node."""
    assert shutil.which("node"), "the page's tests need Node (apt-get install nodejs)"
    whole = (
        f"{SCRIPTS} const given = JSON.parse(require('fs').readFileSync(0));"
        f"process.stdout.write(JSON.stringify((() => {{ {script} }})()));"
    )
    process = subprocess.run(
        ["node", "-e", whole], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def make_network(**changes):
    """A tiny network of random weights that float16 holds, and those packed for the page."""
    args = make_args(**changes)
    model, rng = Model(args, infer=True), np.random.default_rng(3)
    for name, variable in model.variables.items():
        value = variable.numpy() + 0.3 * rng.standard_normal(variable.shape)
        if name.startswith("end."):  # the line ends where a stroke does, at its last character
            value = 0.1 * value + 5.0 * (name == "end.bias")
        variable.assign(np.float32(np.float16(value)))
    return model, pack_weights(model.variables, vars(args))


@pytest.fixture
def feed_noise(monkeypatch):
    """A function that lets the program draw one line from this noise [n, 4]."""

    def feed(noise):
        parts = iter(np.split(noise[:, None], len(noise) // CHUNK))
        for module in (sampling, writing):
            monkeypatch.setattr(module, "draw_noise", lambda *_: tf.constant(next(parts)))

    return feed


def make_noise(points=1000, seed=0):
    rng = np.random.default_rng(seed)
    return np.float32(np.hstack([rng.random((points, 2)), rng.standard_normal((points, 2))]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_engines_outputs_are_those_of_the_network(kind):
    model, weights = make_network(**KINDS[kind])
    points = make_points(1, 40)
    chars = tf.constant(encode([TEXT], ALPHABET)) if model.alphabet else None
    expected = model(tf.constant(points), chars=chars)[0][0]
    outputs = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights));
        const state = model.initialState();
        const chars = model.alphabet ? engine.encode(given.text, model.alphabet) : undefined;
        return given.points.map((point) => {
          const {zHat, end} = model.step(point, state, chars);
          return [...zHat, ...(end === undefined ? [] : [end])];
        });
        """,
        weights=weights,
        text=TEXT,
        points=points[0].tolist(),
    )
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


@pytest.mark.parametrize("style", [None, STYLE])
def test_the_engine_draws_the_same_line_from_the_same_noise(style, feed_noise):
    model, weights = make_network(**KINDS["text"])
    noise = make_noise()
    feed_noise(noise)
    (line,) = writing.draw_lines(model, None, [TEXT], 0.5, style, None)
    drawn = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights));
        const noise = {next: () => given.noise.shift()}, {text, style} = given;
        let line;
        for (line of engine.drawLine(model, noise, text, 0.5, style));
        const {slope} = engine.baseline(line.points);
        const mixtures = line.zHats.map((zHat) =>
          engine.levelMixture(engine.mixture(zHat, 0.5, model.logSigmaMin), slope));
        return {points: engine.level(line.points), windows: line.windows.map((w) => [...w]),
          mixtures, problem: engine.findProblem(line)};
        """,
        weights=weights,
        noise=noise.tolist(),
        text=TEXT,
        style=style and {"strokes": style.strokes.tolist(), "text": style.text},
    )
    assert len(drawn["points"]) == len(line.strokes) < 800
    np.testing.assert_allclose(drawn["points"], line.strokes, atol=0.02)
    np.testing.assert_allclose(drawn["windows"], line.window, atol=1e-3)
    assert drawn["problem"] == line.problem
    for name, scale in (("pi", 1), ("mu2", 20), ("sigma1", 20), ("sigma2", 20), ("rho", 1)):
        theirs = scale * np.array([m[name] for m in drawn["mixtures"]])
        np.testing.assert_allclose(theirs, getattr(line.params, name), atol=0.02, rtol=1e-3)
    np.testing.assert_allclose([m["eos"] for m in drawn["mixtures"]], line.params.eos, atol=1e-3)


def test_the_engine_goes_on_from_points_without_text(feed_noise):
    model, weights = make_network(**KINDS["no text"])
    noise = make_noise(100)
    feed_noise(noise)
    points, _ = model.sample(None, 60, 0.5, STYLE.strokes)
    drawn = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights));
        const noise = {next: () => given.noise.shift()};
        for (const line of engine.drawFreely(model, noise, 0.5, given.strokes)) {
          if (line && line.points.length === 60) return line.points;
        }
        """,
        weights=weights,
        noise=noise.tolist(),
        strokes=STYLE.strokes.tolist(),
    )
    np.testing.assert_allclose(drawn, points[len(STYLE.strokes) :], atol=0.02)


@pytest.mark.parametrize(
    ("points", "step", "words"),
    [(200, 9, ""), (80, 9, "length"), (470, 9, "length"), (200, 3, "width")],
)
def test_the_engine_finds_the_same_problems(points, step, words):
    strokes = np.tile([step, 0.0, 0.0], (points, 1))
    strokes[-1, 2] = 1
    given = {"text": "ten letter", "points": strokes.tolist()}
    problem = node("return engine.findProblem(given);", **given)
    assert problem == writing.find_problem(given["text"], strokes) and words in problem


def test_of_a_line_drawn_ahead_the_best_drawing_is_kept_and_shown_point_by_point():
    _, weights = make_network(**KINDS["text"])
    found = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights)), {texts} = given;
        const drawn = (noise) => { let line; for (line of engine.drawLine(model, noise, texts[1],
          0.5, style)); return {...line, problem: engine.findProblem(line)}; };
        const style = {strokes: given.strokes, text: "one"};
        const noise = new engine.Noise(3), all = [1, 2, 3].map(() => drawn(noise));
        let step, steps = lines.bestLine(model, new engine.Noise(3), texts[1], 0.5, style);
        do { step = steps.next(); } while (!step.done);
        const shown = [[], []], kept = [];
        for (const line of lines.writeLines(model, new engine.Noise(4), texts, 0.5, style)) {
          if (!line) continue;
          shown[line.number].push(line.points.length);
          kept[line.number] = [line.text, line.points.length, line.zHats.length];
        }
        return {all: all.map((line) => [Boolean(line.problem), line.points.length]), shown, kept,
          best: [Boolean(step.value.problem), step.value.points.length]};
        """,
        weights=weights,
        texts=["two", "six seven two"],
        strokes=STYLE.strokes.tolist(),
    )
    good = [line for line in found["all"] if not line[0]]
    assert len({points for _, points in found["all"]}) > 1 and good
    assert found["best"] == min(good)
    (first, second), kept = found["shown"], found["kept"]
    assert second == list(range(1, kept[1][1] + 1))  # drawn whole, then shown once
    assert first[-1] == kept[0][1] and [text for text, *_ in kept] == ["two", "six seven two"]
    assert kept[1][1] == kept[1][2]


def test_noise_is_repeatable_and_of_the_right_kind():
    numbers = node(
        """
        const numbers = (seed) => {
          const noise = new engine.Noise(seed);
          return Array.from({length: 4000}, () => noise.next());
        };
        return [numbers(1), numbers(1), numbers(2)];
        """
    )
    first, again, other = np.array(numbers)
    assert (first == again).all() and (first != other).all()
    assert ((first[:, :2] >= 0) & (first[:, :2] < 1)).all()
    np.testing.assert_allclose(first.mean(axis=0), [0.5, 0.5, 0, 0], atol=0.05)
    np.testing.assert_allclose(np.cov(first.T), np.diag([1 / 12, 1 / 12, 1, 1]), atol=0.05)


# ------------------------------------------------------------------------------------- pictures


def test_an_svg_of_the_page_is_the_one_of_sample_py(tmp_path):
    line = make_line(60, np.random.default_rng(2)).astype(float)
    line[20:22, :] = [[30, 0, 1], [90, -40, 1]]  # a dot
    drawing.draw_strokes(line, svg_filename=tmp_path / "line.svg")
    svg = node("return drawing.toSVG(drawing.toStrokes(given.line));", line=line.tolist())
    assert svg == (tmp_path / "line.svg").read_text()


def test_lines_stand_level_on_their_baselines():
    x = np.arange(200) * 9.0
    y = np.where(np.arange(200) % 4 == 3, 0.0, -100.0)  # down to the baseline at each fourth point
    line = np.diff([x, y + 0.1 * x, np.arange(200) == 199], prepend=0).T
    points, origin = node(
        "const {points, origin} = drawing.placeLine(given.line, 2); return [points, origin];",
        line=line.tolist(),
    )
    x, y = (np.cumsum(np.array(points)[:, :2], axis=0) + origin).T
    assert abs(np.polyfit(x, y, 1)[0]) < 0.02
    assert x.min() == 0 and x.max() == 9 * 199
    np.testing.assert_allclose(y[3::4], 900, atol=15)


def test_ellipses_are_those_of_the_densities():
    rng = np.random.default_rng(0)
    m = Mixture(*(rng.uniform(0.1, 0.9, 4) for _ in range(6)), 0.5)
    found = node(
        "return drawing.ellipses(given, 20).map((e) => [e.x, e.y, ...e.axes, e.angle]);",
        **{name: value.tolist() for name, value in m._asdict().items() if name != "eos"},
    )
    xx, xy, yy = m.sigma1**2, m.rho * m.sigma1 * m.sigma2, m.sigma2**2
    axes, angle = drawing._ellipses(400 * np.stack([xx, xy, yy], axis=-1))
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
    strokes += [[[440, 60, 4300, 0.5]]]
    points = node("return recorder.toPoints(given);", strokes=strokes, guide=GUIDE)
    line = recording.to_line([np.array(stroke)[:, :3] for stroke in strokes], GUIDE["x_height"])
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
    for content, words in damaged:
        script = "try { recorder.readHand(given.content); } catch (e) { return e.message; }"
        assert words in node(script, content=content)


# --------------------------------------------------------------------------------------- the file


def test_the_page_is_one_file_with_the_weights_in_it(text_run, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert status_of(sample.main, ["--page", path, "--model_dir", text_run]) == 0
    assert f"Wrote {path}" in capsys.readouterr().out
    page = path.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", page.split("<script")[0])
    assert "<script src" not in page and page.count("</script>") == 9
    packed = re.search(r'<script id="text-weights"[^>]*>([^<]*)</script>', page)[1]
    tensors, weights = load(base64.b64decode(packed)), read_weights(text_run / "model.safetensors")
    assert tensors.keys() == weights.keys()
    for name, value in tensors.items():
        assert value.dtype == np.float16
        np.testing.assert_array_equal(value, weights[name].astype(np.float16))


def test_a_style_cannot_end_the_script_that_holds_it():
    style = Style(np.zeros([1, 3]), "</script><b>")
    page = build_page("", "", {"a": style})
    content = re.search(r'<script id="styles"[^>]*>([^<]*)</script>', page)[1]
    assert json.loads(content)["a"]["text"] == style.text


def test_a_page_of_other_layers_is_refused(small_run, tmp_path, capsys):
    assert status_of(sample.main, ["--page", tmp_path / "page.html", "--model_dir", small_run]) == 2
    assert "rnn layers; a page runs lstm" in capsys.readouterr().err
    assert status_of(sample.main, ["--page", tmp_path / "page.html", "--seed", 1]) == 2
    assert "--seed: does not go with --page" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
