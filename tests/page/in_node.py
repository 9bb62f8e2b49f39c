"""Running the page's scripts in Node, with tiny networks."""

import json
import os
import shutil
import subprocess

from conftest import make_args, make_line
from handwriting.page.page import FOLDER, pack_reader, pack_weights
from handwriting.text.hands import Style
from handwriting.text.reader import Reader
from letters import draw_letters
from model import Model

import numpy as np
import pytest

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


SCALE = 20.0  # pen units in a scaled unit


def draw_words(text, wide=1.0, slope=0.0, joined=False):
    """A made-up Line, so many times as wide, on a slope."""
    line = draw_letters(text, joined=joined)
    line.strokes[:, 0] *= wide
    line.strokes[:, 1] += slope * line.strokes[:, 0]
    return line


def pack_line(line):
    """A Line as the page has it, with one component in the middle of each point."""
    density = np.zeros([len(line.strokes), 7])
    density[:, 2:4] = line.strokes[:, :2] / SCALE
    return {"text": line.text, "points": line.strokes.tolist(), "zHats": density.tolist(),
            "windows": line.window.tolist()}  # fmt: skip
