"""What a plotter's program makes of a sheet: `python -m pytest -n0 tests/benchmarks/plotter.py`.

Needs tests/benchmarks/requirements.txt. The commands are those of README.md.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import vpype
import vpype_cli

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "drawing"))
from test_sheets import write  # noqa: E402

MM = 96 / 25.4  # vpype counts in pixels of CSS
QUANTIZATION = 0.1 * MM  # how long its pieces of a curve are, unless its command says otherwise
# vpype leaves it to Python to close what it writes.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def sheet(tmp_path, monkeypatch):
    """letter.page-1.svg in the current folder: A4, with ruled lines and 20 mm of margin."""
    monkeypatch.chdir(tmp_path)
    text = "one two, six\n\n\t" + "seven eight nine ten eleven twelve " * 20
    changes = {"paper": (210.0, 297.0), "margin": 20.0, "ruled": True, "align": "justify"}
    ((_, layers),) = write(tmp_path, text, **changes)
    (tmp_path / "a.page-1.svg").rename(tmp_path / "letter.page-1.svg")
    return layers


def test_vpype_reads_the_layers_and_strokes_that_were_written(sheet):
    document = vpype.read_multilayer_svg("letter.page-1.svg", QUANTIZATION)
    np.testing.assert_allclose(document.page_size, [210 * MM, 297 * MM], rtol=1e-6)
    layers = {layer.property("svg_inkscape_label"): layer for layer in document.layers.values()}
    assert layers.keys() == sheet.keys()
    left, top, right, bottom = np.array(layers["writing"].bounds()) / MM
    assert min(left, top) >= 20.2 - 0.01
    assert right <= 189.8 + 0.01 and bottom <= 276.8 + 0.01
    for label, strokes in sheet.items():
        lines = list(layers[label])
        assert len(lines) == len(strokes)
        for line, stroke in zip(lines, strokes, strict=True):
            ends = np.array([line[[0, -1]].real, line[[0, -1]].imag]).T / MM
            np.testing.assert_allclose(ends, stroke[[0, -1]], atol=1e-3)
            points = np.array([line.real, line.imag]).T / MM
            assert (points >= stroke.min(axis=0) - 2e-3).all()
            assert (points <= stroke.max(axis=0) + 2e-3).all()
            assert np.abs(np.diff(line)).sum() > 0


def test_the_commands_of_the_readme_sort_and_export(sheet):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sort, export = re.findall("^    vpype (.*)$", readme, re.M)
    before = vpype.read_multilayer_svg("letter.page-1.svg", QUANTIZATION)
    after = vpype_cli.execute(sort)
    assert after.segment_count() == before.segment_count()
    ways = [document.pen_up_length() for document in (before, after)]
    print(f"way of the lifted pen in mm: {ways[0] / MM:.0f}, sorted {ways[1] / MM:.0f}")
    assert ways[1] <= ways[0]
    vpype_cli.execute(export)
    assert Path("letter.hpgl").read_text().startswith("IN;") and Path("sorted.svg").exists()
