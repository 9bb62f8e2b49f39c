"""handwriting/page, in Node: the page's network and pictures equal those of the program; recorded
hands; the page as a file.
"""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import sample
from conftest import make_args, make_line, make_points, read_weights, status_of
from handwriting.drawing import density
from handwriting.drawing import strokes as drawing
from handwriting.ink import recording
from handwriting.network import sampling
from handwriting.network.sampling import CHUNK
from handwriting.page.page import FOLDER, build_page, pack_reader, pack_weights
from handwriting.text import pen, words
from handwriting.text.alphabet import encode
from handwriting.text.hands import Style
from handwriting.text.lines import find_problem, join_lines
from handwriting.text.reader import FOLDER as READER
from handwriting.text.reader import Reader
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
NAMES = ["product", "engine", "spelling", "placing", "letters", "marks", "drawing", "reading",
         "mending"]  # fmt: skip
FILES = {"spelling": "spell", "letters": "glyphs", "marks": "accents"}  # where called otherwise
SCRIPTS = "".join(
    f"const {name} = require({json.dumps(str(FOLDER / FILES.get(name, name)))} + '.js');"
    for name in [*NAMES, "lines", "recorder"]
)
# What a generator returns, and a text drawn once.
SCRIPTS += """
function result(steps) {
  for (;;) {
    const {value, done} = steps.next();
    if (done) return value;
  }
}
function* drawLine(model, noise, text, bias, style) {
  const begun = yield* engine.beginLine(model, text, style);
  return yield* engine.drawBegun(model, noise, text, bias, begun);
}
"""


def find_program(*names, install):
    """The path of a program by one of its names. The test is skipped where it is missing, and fails
    on a machine that is there to test (CI).
    """
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        sentence = f"the page's tests need {names[0]}: apt-get install {install}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(sentence)
    return found


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_without_a_browser_tests_are_skipped_but_not_in_ci(ci, outcome, monkeypatch):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(outcome.Exception, match="need chromium: apt-get install chromium"):
        find_program("chromium", "google-chrome", install="chromium")


def node(script, **given):
    """What the body of a JavaScript function of `given` returns, in Node."""
    program = find_program("node", install="nodejs")
    whole = (
        f"{SCRIPTS} const given = JSON.parse(require('fs').readFileSync(0));"
        f"process.stdout.write(JSON.stringify((() => {{ {script} }})()));"
    )
    process = subprocess.run(
        [program, "-e", whole], input=json.dumps(given), capture_output=True, text=True, check=False
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


def make_reader(alphabet=ALPHABET):
    """A tiny reader of random weights that float16 holds, and those packed for the page."""
    reader, rng = Reader(alphabet, 4), np.random.default_rng(4)
    for variable in reader.variables.values():
        value = variable.numpy() + 0.1 * rng.standard_normal(variable.shape)
        variable.assign(np.float32(np.float16(value)))
    return reader, pack_reader(reader)


@pytest.fixture
def feed_noise(monkeypatch):
    """A function that lets the program draw one line from this noise [n, 4]."""

    def feed(noise):
        parts = iter(np.split(noise[:, None], len(noise) // CHUNK))
        for module in (sampling, pen):
            monkeypatch.setattr(module, "draw_noise", lambda *_: tf.constant(next(parts)))

    return feed


def make_noise(points=1000, seed=0):
    rng = np.random.default_rng(seed)
    return np.float32(np.hstack([rng.random((points, 2)), rng.standard_normal((points, 2))]))


@pytest.mark.parametrize(("inputs", "outputs"), [((5,), 1), ((2, 3), 32), ((64, 1), 121)])
def test_products_are_those_of_the_matrix(inputs, outputs):
    rng = np.random.default_rng(0)
    kernels, x = (
        [rng.standard_normal(shape) for shape in shapes]
        for shapes in ([(count, outputs) for count in inputs], [(count,) for count in inputs])
    )
    bias = rng.standard_normal(outputs)
    found = node(
        """
        const dense = new product.Dense(given.kernels.map((values) =>
          ({shape: [values.length, values[0].length], values: values.flat()})), given.bias);
        return [1, 2].map(() => [...dense.apply(...given.x)]);
        """,
        kernels=[kernel.tolist() for kernel in kernels],
        bias=bias.tolist(),
        x=[part.tolist() for part in x],
    )
    expected = np.concatenate(x) @ np.vstack(kernels) + bias
    np.testing.assert_allclose(found, [expected, expected], atol=1e-5)


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
    (line,) = pen.draw_lines(model, None, [TEXT], 0.5, [style], None)
    drawn = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights));
        const noise = {next: () => given.noise.shift()}, {text, style} = given;
        const line = result(drawLine(model, noise, text, 0.5, style));
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
    assert problem == find_problem(given["text"], strokes) and words in problem


@pytest.mark.parametrize("known", ["eo", ALPHABET])
def test_of_each_line_the_best_drawing_is_kept_and_badly_read_lines_are_drawn_again(known):
    """A reader that does not know x, v and w finds no word of the text misread."""
    _, weights = make_network(**KINDS["text"])
    found = node(
        """
        const model = new engine.Model(engine.readTensors(given.weights)), text = "six seven two";
        const reader = new reading.Reader(engine.readTensors(given.reader));
        return Array.from({length: 6}, (_, seed) => {
          const noise = new engine.Noise(seed);
          const draw = () => result(drawLine(
            model, new engine.Noise(2 ** 32 * noise.uniform()), text, 0.5, null));
          const all = Array.from({length: 12}, draw);
          const again = new engine.Noise(seed);
          const line = result(lines.bestLine(model, reader, again, text, 0.5, null));
          const {points, zHats, windows, problem} = line;
          const read = all.map((line) => reading.readBack(reader, line));
          return {all: all.map((line, k) => [Boolean(engine.findProblem(line)), read[k].wrong,
              -read[k].likely.toFixed(2), line.points.length, read[k].misread.length]),
            best: [Boolean(problem), points.length, line.reading.misread.length],
            ends: points.at(-1)[2], lengths: [points.length, zHats.length, windows.length]};
        });
        """,
        weights=weights,
        reader=make_reader(known)[1],
    )
    drawn, chosen = [], set()
    for line in found:
        best = [min(line["all"][: 3 * tries]) for tries in (1, 2, 3, 4)]
        good = [not problem and (misread <= 1 or tries > 0)
                for tries, (problem, *_, misread) in enumerate(best)]  # fmt: skip
        tries = good.index(True) if any(good) else 3
        drawn.append(tries + 1)
        problem, *_, length, misread = best[tries]
        assert line["best"] == [problem, length, misread]
        assert line["ends"] == 1 and len(set(line["lengths"])) == 1
        chosen.add(line["all"].index(best[tries]) % 3)
    assert (1 in drawn) == (known == "eo") and len(chosen) > 1, drawn


def test_a_hand_at_random_is_that_of_the_first_lines():
    first, second = STYLE.strokes, make_line(30, np.random.default_rng(6)).astype(float)
    joined = node(
        "return lines.joinLine({strokes: given.first, text: 'one'}, {points: given.second, "
        "text: 'seven'});",
        first=first.tolist(),
        second=second.tolist(),
    )
    theirs, text = join_lines([first, second], ["one", "seven"])
    assert joined["text"] == text
    ours = np.array(joined["strokes"])
    x, expected = np.cumsum(ours[:, :2], axis=0).T, np.cumsum(theirs[:, :2], axis=0).T
    np.testing.assert_allclose(x[1], expected[1], atol=1)  # it rounds, and takes a usual gap
    assert x[0, : len(first)].max() < x[0, len(first) :].min()
    np.testing.assert_array_equal(ours[:, 2], theirs[:, 2])


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
