"""What is written as SVG, for plotters and for browsers, and the PNG of it."""

import re
import xml.etree.ElementTree as ET
from collections import namedtuple

from handwriting.drawing import density, svg
from handwriting.drawing.strokes import animate

import numpy as np
import pytest
from matplotlib.image import imread

INKSCAPE = "{http://www.inkscape.org/namespaces/inkscape}"


def read_points(data):
    """The points [k, 2] of path data that the pen goes through, less the handles of curves."""
    points = np.array(re.findall(r"-?[\d.]+", data), float).reshape(-1, 2)
    return points[::3] if "C" in data else points


def read_layers(file):
    """The root of an SVG, and {label: strokes [k, 2]} of its layers."""
    root = ET.parse(file).getroot()
    return root, {
        group.get(f"{INKSCAPE}label"): [read_points(path.get("d")) for path in group]
        for group in root
    }


def test_a_file_has_its_size_in_millimetres_and_a_line_for_each_element(tmp_path):
    bar = np.array([[1, 2], [3.25, 4]])
    svg.write_svg(tmp_path / "a.svg", (297, 210.5), [svg.Layer("pen", [bar, bar + 1], "red", 0.5)])
    lines = (tmp_path / "a.svg").read_text().splitlines()
    root, layers = read_layers(tmp_path / "a.svg")
    assert [root.get(name) for name in ("width", "height")] == ["297mm", "210.5mm"]
    assert root.get("viewBox") == "0 0 297 210.5"
    np.testing.assert_array_equal(layers["pen"], [bar, bar + 1])
    assert lines[3:5] == ['<path d="M1.00,2.00L3.25,4.00" />', '<path d="M2.00,3.00L4.25,5.00" />']
    assert len(lines) == 7


def test_path_data_of_a_curve_are_beziers_through_all_points():
    stroke = np.array([[0, 0], [1, 0.5], [2, 0], [2, 1]])
    data = svg.path_data(stroke, smooth=True)
    assert re.fullmatch(r"M0.000,0.000C(-?[\d.]+,-?[\d.]+ ?){9}", data)
    np.testing.assert_array_equal(read_points(data), stroke)
    assert svg.path_data(stroke[:2], smooth=True) == "M0.00,0.00L1.00,0.50"


# ------------------------------------------------------------------------------- animation and PNG


@pytest.mark.parametrize("speed", [1.0, 4.0])
@pytest.mark.parametrize("smooth", [False, True])
def test_the_animation_writes_stroke_after_stroke_at_the_speed_of_the_points(
    tmp_path, speed, smooth
):
    hook = np.array([[0, 0], [0, 3.0], [4, 3]])
    layers = [
        svg.Layer("ruled lines", [np.array([[0, 9], [9, 9.0]])]),
        svg.Layer("writing", [hook + 1, hook[:2] + 5, hook + 7], smooth=smooth),
    ]
    svg.write_svg(tmp_path / "a.svg", (20, 20), layers, speed)
    assert "script" not in (tmp_path / "a.svg").read_text()
    (rule,), paths = ET.parse(tmp_path / "a.svg").getroot()
    assert not len(rule)
    end = 0.0
    for path, points in zip(paths, (3, 2, 3), strict=True):
        assert (path.get("pathLength"), path.get("stroke-dasharray")) == ("1", "1 2")
        assert float(path.get("stroke-dashoffset")) > 1  # nothing is seen
        (move,) = path
        assert move.get("attributeName") == "stroke-dashoffset" and move.get("fill") == "freeze"
        begin, duration = (float(move.get(name)[:-1]) for name in ("begin", "dur"))
        assert begin == pytest.approx(end + 0.015 / speed, abs=1e-4)
        assert duration == pytest.approx(0.015 * (points - 1) / speed, abs=1e-4)
        values = [float(value) for value in move.get("values").split(";")]
        assert values == pytest.approx([1, 4 / 7, 0] if points == 3 else [1, 0], abs=1e-3)
        end = begin + duration
    assert end == pytest.approx(8 * 0.015 / speed, abs=1e-3)


def test_the_animation_follows_the_length_of_curves(tmp_path):
    """A quarter of a circle of radius 10, of three points, then a straight line."""
    turns = np.radians([0, 30, 60, 90])
    arc = 10 * np.stack([np.sin(turns), 1 - np.cos(turns)], axis=1)
    stroke = np.concatenate([arc, [[10, 20]]]) + 1
    svg.write_svg(tmp_path / "a.svg", (30, 30), [svg.Layer("a", [stroke], smooth=True)], 1.0)
    ((path,),) = ET.parse(tmp_path / "a.svg").getroot()
    values = np.array(path[0].get("values").split(";"), float)
    way = np.append(10 * turns, 10 * turns[-1] + 10)
    np.testing.assert_allclose(values, 1 - way / way[-1], atol=2e-3)


def test_samples_are_animated_in_the_size_of_their_pictures(tmp_path):
    strokes = [[5, 5, 0], [100, 0, 0], [0, 50, 1], [200, -55, 1], [100, 0, 0], [30, 40, 1]]
    animate(strokes, 5.0, tmp_path / "a.svg", 1.0)
    root, layers = read_layers(tmp_path / "a.svg")
    stroke, dot, last = layers["writing"]
    np.testing.assert_allclose(np.diff(stroke, axis=0), [[5, 0], [0, 2.5]], atol=0.011)
    assert np.ptp(dot, axis=0) == pytest.approx([0.05, 0], abs=0.011)
    np.testing.assert_allclose(np.diff(last, axis=0), [[1.5, 2]], atol=0.011)
    points = np.concatenate([stroke, dot, last])
    size = [float(root.get(name)[:-2]) for name in ("width", "height")]
    assert points.min() >= 2.97 and (points <= np.array(size) - 2.97).all()


def test_png_shows_what_the_svg_shows(tmp_path):
    stroke, bar = np.array([[10, 10], [40, 10.0]]), np.array([[10, 20], [40, 20.0]])
    layers = [svg.Layer("bar", [bar], "#0000ff", 1.0), svg.Layer("writing", [stroke], "red", 2.0)]
    svg.write_svg(tmp_path / "a.svg", (50, 25.4), layers)
    assert svg.write_png(f"{tmp_path}/a.svg") == f"{tmp_path}/a.png"
    picture = imread(tmp_path / "a.png")[..., :3]
    assert picture.shape == (200, 394, 3)
    dots = svg.DPI / 25.4
    red, blue = (np.abs(picture - color).sum(axis=2) < 1 for color in ([1, 0, 0], [0, 0, 1]))
    for ink, y, width in ((red, 10, 2), (blue, 20, 1)):
        rows, columns = ink.nonzero()
        assert (rows.mean() + 0.5) / dots == pytest.approx(y, abs=0.1)
        assert (np.ptp(rows) + 1) / dots == pytest.approx(width, abs=0.2)
        assert columns.min() / dots == pytest.approx(10 - width / 2, abs=0.2)
        assert columns.max() / dots == pytest.approx(40 + width / 2, abs=0.2)
    assert picture[0, 0].tolist() == [1, 1, 1]


def test_png_shows_curves(tmp_path):
    """A half circle: its ink lies on a curve, not on the straight lines between its points."""
    turns = np.radians(np.arange(0, 181, 30))
    stroke = 10 + 8 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    svg.write_svg(tmp_path / "a.svg", (20, 20), [svg.Layer("a", [stroke], "black", 0.1, True)])
    rows, columns = (imread(svg.write_png(tmp_path / "a.svg"))[..., 0] < 0.5).nonzero()
    radius = np.hypot(rows + 0.5 - 10 * svg.DPI / 25.4, columns + 0.5 - 10 * svg.DPI / 25.4)
    # Straight lines come as near as 8 cos(15 degrees) = 7.73 mm.
    assert (np.abs(radius * 25.4 / svg.DPI - 8) < 0.15).all()


def test_png_of_a_large_sheet_has_fewer_dots(tmp_path, monkeypatch):
    monkeypatch.setattr(svg, "MOST_PIXELS", 100)
    svg.write_svg(tmp_path / "a.svg", (254, 127), [])
    assert imread(svg.write_png(tmp_path / "a.svg")).shape[:2] == (50, 100)


def test_png_shows_the_ellipses_of_densities(tmp_path):
    one = np.ones([1, 1])
    params = namedtuple("Mixture", "pi mu1 mu2 sigma1 sigma2 rho eos")(
        one, 100 * one, 0 * one, 60 * one, 60 * one, 0.95 * one, one[:, 0]
    )
    density.draw_strokes_pdf([[100, 0, 1]], params, 10, tmp_path / "a.svg")
    picture = imread(svg.write_png(f"{tmp_path}/a.svg"))
    ink = picture[..., 0] < 0.95
    rows, columns = ink.nonzero()
    # Points below (larger rows) are to the right of those above, as rho says.
    assert np.corrcoef(rows, columns)[0, 1] > 0.8 and ink.sum() > 50
