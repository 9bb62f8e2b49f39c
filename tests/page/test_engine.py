"""handwriting/page/engine.js, in Node: the page's network is that of the program."""

from conftest import make_points
from handwriting.network import sampling
from handwriting.network.sampling import CHUNK
from handwriting.text import pen
from handwriting.text.alphabet import encode
from handwriting.text.lines import find_problem

import numpy as np
import pytest
import tensorflow as tf
from in_node import ALPHABET, KINDS, STYLE, TEXT, make_network, node


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
    [(200, 9, ""), (80, 9, "length"), (470, 9, "length"), (200, 2, "width")],
)
def test_the_engine_finds_the_same_problems(points, step, words):
    strokes = np.tile([step, 0.0, 0.0], (points, 1))
    strokes[-1, 2] = 1
    given = {"text": "ten letter", "points": strokes.tolist()}
    problem = node("return engine.findProblem(given);", **given)
    assert problem == find_problem(given["text"], strokes) and words in problem


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
