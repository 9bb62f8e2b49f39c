"""The post's transcripts, letter for letter in a terminal's IPython: what they show and write."""

import json
import re
import shutil
import sys
import xml.etree.ElementTree as ET

import utils
from conftest import ROOT, environment, make_corpus

import numpy as np
import pexpect
import pytest

EXPLORE = """\
%run -i utils.py
data_loader = DataLoader()
for i in range(5):
  draw_strokes(random.choice(data_loader.raw_data))

"""

COLOR = """\
sample = random.choice(data_loader.raw_data)
draw_strokes_random_color(sample, per_stroke_mode = False)
draw_strokes_random_color(sample)
"""

SAMPLE = """\
%run -i sample.py
[strokes, params] = model.sample(sess, 800)
draw_strokes_random_color(strokes)
draw_strokes_pdf(strokes, params)
draw_strokes_eos_weighted(strokes, params)
"""

BEFORE = """\
import warnings; before = warnings.showwarning
"""

# What the scripts leave behind beside model and sess, and what they leave alone.
LEFT = """\
%run -i sample.py --sample_length 50
draw_strokes_pdf(strokes, params, svg_filename="left.svg")
%run -i train.py --help
warnings.showwarning is before
"""

# The README's, of a network with text.
WRITE = """\
%run -i sample.py --text "on ten" --filename text
[strokes, params] = model.write(sess, "two", bias=1.0)
draw_strokes(strokes)
lines = model.write_batch(sess, ["one", "ee"])
draw_strokes(lines[1][0], svg_filename="last.svg")
"""

# IPython runs this as it starts: all forms of what is shown, as in a notebook, go to a file, a
# line each.
RECORD = """\
def record(path):
    import json
    from IPython import get_ipython

    def publish(data, *_, **__):
        with open(path, "a") as file:
            print(json.dumps(data), file=file)

    formatter = get_ipython().display_formatter
    formatter.active_types = formatter.format_types
    get_ipython().display_pub.publish = publish


record({path!r})
del record
"""


@pytest.fixture
def repository(tmp_path, tiny_run, text_run):
    """A copy of the program, with made-up lines in data/ and tiny runs in save/ and save/text/."""
    folder = tmp_path / "repository"
    make_corpus(folder / "data", num_lines=6, points=320)
    for name in ("utils.py", "model.py", "train.py", "sample.py"):
        shutil.copy(ROOT / name, folder)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "handwriting", folder / "handwriting", ignore=ignore)
    shutil.copytree(tiny_run.folder, folder / "save")
    shutil.copytree(text_run, folder / "save" / "text")
    return folder


def type_into_ipython(transcript, folder):
    """Type the transcript into a new IPython; returns its screen and the SVGs that it showed."""
    profile, shown = folder.parent / "ipython", folder.parent / "shown"
    startup = profile / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "record.py").write_text(RECORD.format(path=str(shown)))
    options = ["--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=NoColor"]
    terminal = pexpect.spawn(
        sys.executable, ["-m", "IPython", *options], cwd=str(folder),
        env=environment(IPYTHONDIR=str(profile), TERM="dumb"), encoding="utf-8",
        dimensions=(40, 150), timeout=300,
    )  # fmt: skip
    screen = ""
    for line in [*transcript.splitlines(), "exit"]:
        terminal.expect([r"In \[\d+\]: ", r" +\.\.\.: "])
        screen += terminal.before + terminal.after
        terminal.sendline(line)
    screen += terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0, screen
    assert "Error" not in screen and "Traceback" not in screen, screen
    pictures = [json.loads(line).get("image/svg+xml") for line in shown.read_text().splitlines()]
    return screen, [ET.fromstring(picture) for picture in pictures]


def path_data(svg):
    """What the paths of an SVG draw."""
    return [path.get("d") for path in svg.iterfind(".//{*}path")]


def pen_moves(svg):
    """The moves [n, 2] along the only path of an SVG."""
    (path,) = path_data(svg)
    return np.diff(np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path), float), axis=0)


def drawn(draw, stroke, folder, **options):
    """What the paths in a picture of `draw` draw."""
    draw(stroke, svg_filename=folder / "expected.svg", **options)
    return path_data(ET.parse(folder / "expected.svg"))


def test_transcripts_of_the_data_show_seven_lines(repository, tmp_path):
    _, shown = type_into_ipython(EXPLORE + COLOR, repository)
    lines = utils.DataLoader(data_dir=repository / "data").raw_data
    assert len(shown) == 5 + 2
    black = [drawn(utils.draw_strokes, line, tmp_path) for line in lines]
    assert all(path_data(picture) in black for picture in shown[:5])
    color = utils.draw_strokes_random_color
    per_point, per_stroke = (
        [drawn(color, line, tmp_path, per_stroke_mode=mode) for line in lines]
        for mode in (False, True)
    )
    assert path_data(shown[5]) in per_point
    chosen = per_point.index(path_data(shown[5]))
    assert chosen == per_stroke.index(path_data(shown[6]))
    assert len(path_data(shown[5])) == len(lines[chosen])
    for name, picture in (("sample.svg", shown[4]), ("sample_color.svg", shown[6])):
        assert path_data(ET.parse(repository / name)) == path_data(picture)


def test_transcript_of_the_network_shows_eight_pictures_and_that_of_texts_seven(repository):
    screen, shown = type_into_ipython(BEFORE + SAMPLE + LEFT + WRITE, repository)
    assert "Drew 1 x 800 points from save with --seed " in screen
    assert re.search(r"Out\[\d+\]: True", screen)  # showwarning is the user's own
    # In order: five by sample.py, three by the transcript, five and one by what follows it; then
    # those of texts.
    names = [f"sample.{kind}.svg" for kind in ("normal", "color", "multi_color", "eos_pdf", "pdf")]
    names = [*names, "sample_color.svg", "sample_pdf.svg", "sample_eos_pdf.svg", *names, "left.svg"]
    names += [name.replace("sample", "text") for name in names[:5]] + ["sample.svg", "last.svg"]
    assert len(shown) == len(names)
    paths = [path_data(picture) for picture in shown]
    densities = ("sample.pdf.svg", "sample_pdf.svg", "left.svg", "text.pdf.svg")
    for name, picture in zip(names, shown, strict=True):
        assert (picture.find(".//{*}ellipse") is not None) == (name in densities)
    for name, path in list(zip(names, paths, strict=True))[5:]:
        assert path_data(ET.parse(repository / name)) == path

    # One sample by sample.py, another by the transcript: the source of randomness goes on.
    assert paths[0] == ["".join(paths[1])]
    np.testing.assert_allclose(pen_moves(shown[0]), pen_moves(shown[4]), atol=0.021)
    assert len(paths[2]) == len(paths[7]) == 800
    first, second = pen_moves(shown[4]), pen_moves(shown[6])
    assert first.shape != second.shape or not np.allclose(first, second)
    # strokes and params are those of sample.py
    np.testing.assert_allclose(pen_moves(shown[8]), pen_moves(shown[13]), atol=0.021)
    assert len(paths[10]) == 50
