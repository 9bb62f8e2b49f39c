"""The pictures: made-up strokes and mixtures in, the values in the SVG (or PNG) out."""

import colorsys
import random
import re
import subprocess
import sys
import types
import xml.etree.ElementTree as ET
from collections import namedtuple
from unittest.mock import Mock

from handwriting.drawing import density, plots
from handwriting.drawing import strokes as drawing

import numpy as np
import pytest

Mixture = namedtuple("Mixture", "pi mu1 mu2 sigma1 sigma2 rho eos")
SVG = "{http://www.w3.org/2000/svg}"
# A stroke of three points, a dot, a stroke of two points.
STROKES = [[5, 5, 0], [100, 0, 0], [0, 50, 1], [200, -55, 1], [100, 0, 0], [30, 40, 1]]
# At factor 10 they reach from (0.5, 0) to (43.5, 5.5), and the margin of 12 begins at (-12, -12).
SUBPATHS = [
    "M12.50,12.50L22.50,12.50 22.50,17.50",
    "M42.40,12.00L42.60,12.00",
    "M52.50,12.00L55.50,16.00",
]
KINDS = ["normal", "color", "multi_color", "eos_pdf", "pdf"]


def mixture(n, components=2, **columns):
    ones = np.ones((n, components))
    values = {"pi": ones / components, "mu1": 0 * ones, "mu2": 0 * ones, "sigma1": 20 * ones}
    values |= {"sigma2": 10 * ones, "rho": 0 * ones, "eos": np.full(n, 0.1)}
    return Mixture(**values | {name: np.array(column) for name, column in columns.items()})


def random_mixture(n, components):
    rng = np.random.default_rng(0)
    shape = n, components
    pi = rng.dirichlet(np.ones(components), n)
    mu1, mu2 = rng.normal(0, 40, (2, *shape))
    sigma1, sigma2 = rng.lognormal(2.5, 1, (2, *shape))
    return Mixture(pi, mu1, mu2, sigma1, sigma2, rng.uniform(-0.99, 0.99, shape), rng.random(n))


def random_strokes(n):
    """Strokes `[n, 3]` of whole pen units, some points repeated."""
    rng = np.random.default_rng(1)
    moves = np.rint(rng.normal(5, 40, (n, 2))) * (rng.random((n, 1)) > 0.2)
    return np.column_stack([moves, rng.random(n) < 0.2])


def draw(kind, strokes, **options):
    """The picture of the given kind, with a made-up mixture where it needs one."""
    params = random_mixture(len(strokes), 3)
    if kind == "normal":
        drawing.draw_strokes(strokes, **options)
    elif kind in ("eos_pdf", "pdf"):
        of_mixture = {"eos_pdf": drawing.draw_strokes_eos_weighted, "pdf": density.draw_strokes_pdf}
        of_mixture[kind](strokes, params, **options)
    else:
        options["per_stroke_mode"] = kind == "color"
        drawing.draw_strokes_random_color(strokes, **options)


@pytest.fixture
def svg(tmp_path):
    """Draws with the given function and returns the picture's root element."""

    def picture(function, *args, **options):
        function(*args, svg_filename=tmp_path / "picture.svg", **options)
        return ET.parse(tmp_path / "picture.svg").getroot()

    return picture


def paths(root):
    return [path.get("d") for path in root.iter(f"{SVG}path")]


def colors_of(root):
    return [path.get("stroke") for path in root.iter(f"{SVG}path")]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


def points(path):
    return np.array(numbers(path)).reshape(-1, 2)


def ellipse_numbers(ellipse):
    """Centre, half axes, and the rotation matrix in the picture's axes (y downwards)."""
    pattern = r"translate\((\S+) (\S+)\)rotate\((\S+)\)"
    x, y, degrees = map(float, re.fullmatch(pattern, ellipse.get("transform")).groups())
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    axes = float(ellipse.get("rx")), float(ellipse.get("ry"))
    return np.array([x, y]), np.array(axes), np.array([[cos, -sin], [sin, cos]])


def test_import_loads_neither_tensorflow_nor_matplotlib_nor_ipython():
    code = "import sys, handwriting.drawing.plots; "
    code += "print({*sys.modules} & {'numpy', *sys.argv[1:]})"
    command = [sys.executable, "-c", code, "tensorflow", "matplotlib", "IPython"]
    assert subprocess.check_output(command, text=True) == "{'numpy'}\n"


def test_draw_strokes_is_one_open_path_with_a_subpath_per_stroke(svg):
    root = svg(drawing.draw_strokes, STROKES)
    assert paths(root) == ["".join(SUBPATHS)] and colors_of(root) == ["black"]
    (group,) = root
    assert 0 < float(group.attrib.pop("stroke-width")) <= 1
    round_pen = {"stroke-linecap": "round", "stroke-linejoin": "round"}
    assert group.attrib == {"fill": "none", **round_pen}


def test_draw_strokes_smooth_draws_curves_through_the_same_points(svg):
    (path,) = paths(svg(drawing.draw_strokes, STROKES, smooth=True))
    curve, dot, line = (points(part) for part in path.split("M")[1:])
    assert len(curve) == 7 and "C" in path
    assert curve[::3].tolist() == [[12.5, 12.5], [22.5, 12.5], [22.5, 17.5]]
    assert [dot.tolist(), line.tolist()] == [points(part).tolist() for part in SUBPATHS[1:]]


def test_draw_strokes_divides_by_factor_and_adds_up_beyond_int16(svg):
    data = np.array([[30000, 30000, 0], [30000, 20000, 0]], np.int16)
    assert paths(svg(drawing.draw_strokes, data, factor=4)) == ["M12.00,12.00L7512.00,5012.00"]


@pytest.mark.parametrize("given", [2, 3])
def test_draw_strokes_joins_grey_and_black_where_given_ends_within_a_stroke(svg, given):
    strokes = [[12, 12, 0], [10, 0, 0], [0, 10, given == 3]]
    strokes += [[10, 0, 0], [0, 10, 1], [10, 0, 0], [0, 10, 1]]
    grey, black = paths(svg(drawing.draw_strokes, strokes, factor=1, given=given))
    pen = [f"{x:.2f},{y:.2f}" for x, y in np.cumsum(strokes, axis=0)[:, :2]]
    assert grey == f"M{pen[0]}L" + " ".join(pen[1:given])
    start = 3 if given == 3 else 1  # where the grey ends, if that is within a stroke
    assert black == f"M{pen[start]}L" + " ".join(pen[start + 1 : 5]) + f"M{pen[5]}L{pen[6]}"


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_begin_at_the_origin_and_contain_their_marks(svg, kind):
    root = svg(draw, kind, random_strokes(60))
    pen = points(" ".join(paths(root)))
    marks = [pen - 0.5, pen + 0.5]
    around = np.linspace(0, 2 * np.pi, 60)
    for ellipse in root.iter(f"{SVG}ellipse"):
        center, axes, turn = ellipse_numbers(ellipse)
        marks.append((turn @ (axes[:, None] * [np.cos(around), np.sin(around)])).T + center)
    marks = np.concatenate(marks)
    left, top, *size = numbers(root.get("viewBox"))
    assert (left, top) == (0, 0)
    margins = np.concatenate([marks.min(axis=0), size - marks.max(axis=0)])
    assert (margins > 11).all() and (margins < 13).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_white_without_a_background_element(svg, kind):
    root = svg(draw, kind, STROKES)
    assert root.get("style") == "background:white"
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags - {"ellipse"} == {"svg", "g", "path"}


@pytest.mark.parametrize("factor", [10, 20])
def test_pictures_have_a_size_of_a_quarter_millimetre_per_unit(svg, factor):
    root = svg(drawing.draw_strokes, [[0, 0, 0], [4000, 800, 1]], factor)
    width, height = 4000 / factor + 24, 800 / factor + 24
    assert numbers(root.get("viewBox")) == [0, 0, width, height]
    size = root.get("width"), root.get("height")
    assert size == (f"{width / 4:g}mm", f"{height / 4:g}mm")


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_have_no_path_of_length_zero(svg, kind):
    rest = [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0.02, 0, 0], [0.02, 0, 1], [0, 0, 1]]
    root = svg(draw, kind, [*random_strokes(60).tolist(), [0, 0, 1], *rest])
    subpaths = [points(part) for path in paths(root) for part in path.split("M")[1:]]
    lengths = [np.hypot(*np.diff(part, axis=0).T).sum() for part in subpaths]
    assert min(lengths) > 0.1


def test_draw_strokes_random_color_gives_each_stroke_or_point_a_color(svg):
    root = svg(drawing.draw_strokes_random_color, STROKES)
    assert paths(root) == SUBPATHS and len(set(colors_of(root))) == 3
    root = svg(drawing.draw_strokes_random_color, STROKES, per_stroke_mode=False)
    assert paths(root) == [
        "M12.40,12.50L12.60,12.50", "M12.50,12.50L22.50,12.50", "M22.50,12.50L22.50,17.50",
        "M42.40,12.00L42.60,12.00", "M52.40,12.00L52.60,12.00", "M52.50,12.00L55.50,16.00",
    ]  # fmt: skip
    assert len(set(colors_of(root))) == 6


def test_draw_strokes_random_color_uses_pythons_random(svg):
    seen = []
    for seed in (1, 1, 2):
        random.seed(seed)
        seen.append(colors_of(svg(drawing.draw_strokes_random_color, STROKES)))
    assert seen[0] == seen[1] != seen[2]


def test_draw_strokes_random_color_is_readable_on_white(svg):
    colors = colors_of(svg(drawing.draw_strokes_random_color, np.tile([[10, 3, 1]], (300, 1))))
    rgb = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    contrast = 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)  # as the WCAG define it
    assert contrast.min() >= 4.5
    hues = [colorsys.rgb_to_hsv(*color)[0] for color in rgb]
    assert (np.histogram(hues, bins=6, range=(0, 1))[0] > 20).all()


def test_draw_strokes_eos_weighted_darkens_with_the_probability(svg):
    eos = [0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 1]
    strokes = np.tile([[10, 0, 0]], (8, 1))
    root = svg(drawing.draw_strokes_eos_weighted, strokes, mixture(8, eos=eos))
    greys = [int(re.fullmatch(r"#(..)\1\1", color)[1], 16) for color in colors_of(root)]
    assert 160 <= greys[0] <= 200 and greys[-1] == 0
    assert (np.diff(greys) <= -6).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 3), (4, 2), (3,), (2, 4, 3)])
def test_drawing_refuses_what_is_not_strokes(kind, shape):
    with pytest.raises(ValueError, match=r"strokes must be points \(dx, dy, eos\) \[n, 3\]"):
        draw(kind, np.zeros(shape))


def test_drawing_refuses_values_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="strokes must be finite"):
        drawing.draw_strokes([[0, np.nan, 1]])
    with pytest.raises(ValueError, match="params must be finite"):
        density.draw_strokes_pdf(STROKES, mixture(6, rho=np.full((6, 2), np.inf)))
    with pytest.raises(ValueError, match="factor must be positive, not 0"):
        drawing.draw_strokes(STROKES, factor=0)
    with pytest.raises(ValueError, match=r"arrays \[6\], a row for each point, not \[7\]"):
        drawing.draw_strokes_eos_weighted(STROKES, mixture(7))
    with pytest.raises(ValueError, match=r"arrays \[6, 2\], a row for each point, not \[7, 2\]"):
        density.draw_strokes_pdf(STROKES, mixture(7))


def test_a_write_that_fails_leaves_the_old_picture(tmp_path, monkeypatch):
    file = tmp_path / "picture.svg"
    file.write_text("old")
    monkeypatch.setattr("os.replace", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device"):
        drawing.draw_strokes(STROKES, svg_filename=file)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]
    assert file.read_text() == "old"


def test_pictures_are_shown_inside_ipython_only(tmp_path, monkeypatch):
    shown = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython, ipython.display, display.display = object, display, shown.append
    ipython.version_info = (9, 0)  # matplotlib asks
    display.SVG = lambda filename: ("SVG", filename)
    display.Image = lambda filename: ("Image", filename)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    drawing.draw_strokes(STROKES)
    drawing.draw_strokes_random_color(STROKES)
    drawing.draw_strokes_eos_weighted(STROKES, mixture(6))
    density.draw_strokes_pdf(STROKES, mixture(6))
    plots.plot_density(STROKES, mixture(6))
    names = ["sample.svg", "sample_color.svg", "sample_eos_pdf.svg", "sample_pdf.svg"]
    assert shown == [*(("SVG", name) for name in names), ("Image", "sample_density.png")]
    assert all((tmp_path / name).exists() for _, name in shown)

    shown.clear()
    ipython.get_ipython = lambda: None
    drawing.draw_strokes(STROKES)
    monkeypatch.delitem(sys.modules, "IPython")
    drawing.draw_strokes(STROKES)
    assert shown == [] and "IPython" not in sys.modules


def test_stacked_lines_begin_at_one_x_and_lie_one_below_the_other():
    first, second = np.array([[9, 4, 0], [-3, 2, 0], [8, 0, 1]]), np.array([[1, 1, 0], [5, 8, 1]])
    stacked = drawing.stack_lines([first, second], spacing=100)
    xy = np.cumsum(stacked[:, :2], axis=0)
    for number, (line, placed) in enumerate(((first, xy[:3]), (second, xy[3:]))):
        assert placed[:, 0].min() == pytest.approx(0)
        assert placed[:, 1].mean() == pytest.approx(100 * number)
        np.testing.assert_allclose(np.diff(placed, axis=0), line[1:, :2])
    assert stacked[:, 2].tolist() == [0, 0, 1, 0, 1]
