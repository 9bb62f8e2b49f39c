"""The pictures: made-up strokes and mixtures in, the values in the SVG (or PNG) out."""

import colorsys
import random
import re
import sys
import time
import types
import xml.etree.ElementTree as ET
from collections import namedtuple

import numpy as np
import pytest

import utils

Mixture = namedtuple("Mixture", "pi mu1 mu2 sigma1 sigma2 rho eos")
SVG = "{http://www.w3.org/2000/svg}"
# A stroke of three points, a dot, a stroke of two points.
STROKES = np.array([[5, 5, 0], [100, 0, 0], [0, 50, 1], [200, -55, 1], [100, 0, 0], [30, 40, 1]], np.int16)
SUBPATHS = ["M0.50,0.50L10.50,0.50 10.50,5.50", "M30.50,0.00L30.50,0.00", "M40.50,0.00L43.50,4.00"]


def mixture(n, components=2, **columns):
    ones = np.ones((n, components))
    values = {
        "pi": ones / components,
        "mu1": 0 * ones,
        "mu2": 0 * ones,
        "sigma1": 20 * ones,
        "sigma2": 10 * ones,
    }
    values.update({"rho": 0 * ones, "eos": np.full(n, 0.1)}, **columns)
    return Mixture(**values)


def random_mixture(n, components, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, components)
    return Mixture(
        rng.dirichlet(np.ones(components), n), rng.normal(0, 40, shape), rng.normal(0, 40, shape),
        rng.lognormal(2.5, 1, shape), rng.lognormal(2.5, 1, shape),
        rng.uniform(-0.99, 0.99, shape), rng.random(n),
    )  # fmt: skip


def draw(kind, strokes, **options):
    """The picture of the given kind, with a made-up mixture where it needs one."""
    params = random_mixture(len(strokes), 3)
    if kind == "normal":
        utils.draw_strokes(strokes, **options)
    elif kind == "eos_pdf":
        utils.draw_strokes_eos_weighted(strokes, params, **options)
    elif kind == "pdf":
        utils.draw_strokes_pdf(strokes, params, **options)
    else:
        utils.draw_strokes_random_color(strokes, per_stroke_mode=kind == "color", **options)


KINDS = ["normal", "color", "multi_color", "eos_pdf", "pdf"]


@pytest.fixture
def svg(tmp_path):
    """Draws with the given function and returns the picture's root element."""

    def picture(function, *args, **options):
        file = tmp_path / "picture.svg"
        function(*args, svg_filename=str(file), **options)
        assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]
        return ET.parse(file).getroot()

    return picture


def paths(root):
    return [path.get("d") for path in root.iter(f"{SVG}path")]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


def test_draw_strokes_is_one_path_with_a_subpath_per_stroke(svg):
    root = svg(utils.draw_strokes, STROKES)
    (path,) = root.iter(f"{SVG}path")
    assert path.get("d") == "".join(SUBPATHS)
    assert (path.get("stroke"), path.get("fill")) == ("black", "none")
    assert (path.get("stroke-linecap"), path.get("stroke-linejoin")) == ("round", "round")
    assert 0 < float(path.get("stroke-width")) <= 1


def test_draw_strokes_divides_by_factor(svg):
    data = np.array([[20, -40, 0], [20, 40, 1]], np.float32)
    assert paths(svg(utils.draw_strokes, data, factor=4)) == ["M5.00,-10.00L10.00,0.00"]


@pytest.mark.parametrize("given", [2, 3])
def test_given_points_may_end_within_a_stroke(svg, given):
    strokes = [[0, 0, 0], [10, 0, 0], [0, 10, given == 3], [10, 0, 0], [0, 10, 1], [10, 0, 0], [0, 10, 1]]
    pen = [f"{x:.2f},{y:.2f}" for x, y in np.cumsum(strokes, axis=0)[:, :2]]
    grey, black = paths(svg(utils.draw_strokes, strokes, factor=1, given=given))
    assert grey == f"M{pen[0]}L" + " ".join(pen[1:given])
    start = 3 if given == 3 else 1  # where the grey ends, if that is within a stroke
    assert black == f"M{pen[start]}L" + " ".join(pen[start + 1:5]) + f"M{pen[5]}L{pen[6]}"


def test_draw_strokes_adds_up_beyond_int16(svg):
    data = np.tile(np.array([[30000, -30000, 0]], np.int16), (4, 1))
    assert paths(svg(utils.draw_strokes, data))[0].endswith("12000.00,-12000.00")


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_white_and_contains_its_marks(svg, kind):
    rng = np.random.default_rng(1)
    strokes = np.column_stack([rng.normal(5, 40, (60, 2)), rng.random(60) < 0.1])
    root = svg(draw, kind, strokes)
    left, top, width, height = numbers(root.get("viewBox"))
    assert (float(root.get("width")), float(root.get("height"))) == (width, height)
    background = next(root.iter(f"{SVG}rect"))
    assert [float(background.get(name)) for name in ("x", "y", "width", "height")] == [
        left,
        top,
        width,
        height,
    ]
    assert background.get("fill") == "white"
    marks = np.array(numbers(" ".join(paths(root)))).reshape(-1, 2)
    low, high = marks.min(axis=0) - 0.5, marks.max(axis=0) + 0.5
    for ellipse in root.iter(f"{SVG}ellipse"):
        (x, y, *axes), turn = ellipse_numbers(ellipse)
        around = np.linspace(0, 2 * np.pi, 60)
        outline = turn @ np.array([axes[0] * np.cos(around), axes[1] * np.sin(around)]) + [[x], [y]]
        low, high = np.minimum(low, outline.min(axis=1)), np.maximum(high, outline.max(axis=1))
    margins = np.concatenate([low - [left, top], [left + width, top + height] - high])
    assert (margins > 11).all() and (margins < 13).all()


def ellipse_numbers(ellipse):
    """Centre and half axes, and the rotation matrix in the picture's axes (y downwards)."""
    values = [float(ellipse.get(name)) for name in ("cx", "cy", "rx", "ry")]
    degrees, *center = numbers(ellipse.get("transform"))
    assert center == values[:2]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return values, np.array([[cos, -sin], [sin, cos]])


def test_draw_strokes_random_color_gives_each_stroke_a_color(svg):
    root = svg(utils.draw_strokes_random_color, STROKES)
    assert paths(root) == SUBPATHS
    assert len({path.get("stroke") for path in root.iter(f"{SVG}path")}) == 3


def test_draw_strokes_random_color_gives_each_point_a_color(svg):
    root = svg(utils.draw_strokes_random_color, STROKES, per_stroke_mode=False)
    assert paths(root) == [
        "M0.50,0.50L0.50,0.50", "M0.50,0.50L10.50,0.50", "M10.50,0.50L10.50,5.50",
        "M30.50,0.00L30.50,0.00", "M40.50,0.00L40.50,0.00", "M40.50,0.00L43.50,4.00",
    ]  # fmt: skip
    assert len({path.get("stroke") for path in root.iter(f"{SVG}path")}) == 6


def test_draw_strokes_random_color_is_readable_on_white(svg):
    strokes = np.tile([[10, 3, 1]], (300, 1))
    root = svg(utils.draw_strokes_random_color, strokes)
    colors = [path.get("stroke") for path in root.iter(f"{SVG}path")]
    rgb = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    contrast = 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)  # as the WCAG define it
    assert contrast.min() >= 4.5
    hues = [colorsys.rgb_to_hsv(*color)[0] for color in rgb]
    assert (np.histogram(hues, bins=6, range=(0, 1))[0] > 20).all()


def test_draw_strokes_eos_weighted_darkens_with_the_probability(svg):
    eos = np.array([0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 1])
    strokes = np.tile([[10, 0, 0]], (8, 1))
    root = svg(utils.draw_strokes_eos_weighted, strokes, mixture(8, eos=eos))
    colors = [numbers(path.get("stroke")) for path in root.iter(f"{SVG}path")]
    assert all(red == green == blue for red, green, blue in colors)
    greys = np.array([color[0] for color in colors])
    assert 160 <= greys[0] <= 200 and greys[-1] == 0
    assert (np.diff(greys) <= -6).all()


def test_draw_strokes_pdf_ellipses_have_the_covariance_of_the_components(svg):
    columns = {
        "pi": [[0.7, 0.3], [1, 0]], "mu1": [[4, -30], [10, 0]], "mu2": [[8, 20], [-20, 0]],
        "sigma1": [[30, 10], [12, 9]], "sigma2": [[10, 40], [12, 9]], "rho": [[0.6, -0.8], [0.5, 0]],
    }  # fmt: skip
    params = mixture(2, **{name: np.array(values, np.float32) for name, values in columns.items()})
    root = svg(utils.draw_strokes_pdf, np.array([[100, 50, 0], [7, 7, 1]]), params)
    ellipses = list(root.iter(f"{SVG}ellipse"))
    assert len(ellipses) == 3  # the one without weight is left out
    centers = [(0.4, 0.8), (-3, 2), (11, 3)]  # the pen was at (0, 0), then at (100, 50)
    for ellipse, center, (row, column) in zip(ellipses, centers, [(0, 0), (0, 1), (1, 0)], strict=True):
        (x, y, rx, ry), turn = ellipse_numbers(ellipse)
        assert (x, y) == center
        s1, s2, rho = (
            values[row, column] / scale for values, scale in zip(params[3:6], (10, 10, 1), strict=True)
        )
        covariance = turn @ np.diag([rx**2, ry**2]) @ turn.T
        np.testing.assert_allclose(covariance, [[s1**2, rho * s1 * s2], [rho * s1 * s2, s2**2]], atol=0.05)
    assert paths(root) == ["M10.00,5.00L10.70,5.70"]
    assert list(root)[-1].tag == f"{SVG}path"  # on top


def test_draw_strokes_pdf_is_transparent_where_spread_out(svg):
    sigma = np.array([[3, 30, 60, 120, 400, 1e9]])
    params = mixture(
        1, 6, pi=np.array([[0.1, 0.5, 0.2, 0.1, 0.05, 0.05]]), sigma1=sigma, sigma2=sigma, rho=0 * sigma
    )
    root = svg(utils.draw_strokes_pdf, [[3, 4, 1]], params)
    opacities = [float(ellipse.get("fill-opacity")) for ellipse in root.iter(f"{SVG}ellipse")]
    assert opacities == sorted(opacities, reverse=True) and len(opacities) == 3
    assert 0.2 < opacities[0] < 0.5 and 0.01 <= opacities[-1] <= 0.05


@pytest.mark.parametrize("sigma", [1e-12, 1e-3, 1, 1e3, 1e15])
@pytest.mark.parametrize("rho", [-0.9999, 0.9999, 1])
def test_draw_strokes_pdf_survives_extreme_components(svg, sigma, rho):
    full = np.full((6, 2), sigma)
    root = svg(
        utils.draw_strokes_pdf, STROKES, mixture(6, sigma1=full, sigma2=full[::-1] * 2, rho=0 * full + rho)
    )
    ellipses = list(root.iter(f"{SVG}ellipse"))
    assert len(ellipses) == (12 if sigma <= 1 else 0)
    for ellipse in ellipses:
        values, _ = ellipse_numbers(ellipse)
        assert np.isfinite(values).all() and min(values[2:]) > 0
    assert max(numbers(root.get("viewBox"))) < 100


def test_pictures_of_800_points_stay_under_3_megabytes(tmp_path):
    rng = np.random.default_rng(2)
    strokes = np.column_stack([rng.normal(-90, 30, (800, 2)), rng.random(800) < 0.04])
    ones = np.ones((800, 20))
    params = mixture(800, 20, sigma1=3.333 * ones, sigma2=2.222 * ones, rho=-0.777 * ones, mu1=33.333 * ones)
    utils.draw_strokes_pdf(strokes, params, svg_filename=tmp_path / "pdf.svg")
    utils.draw_strokes_eos_weighted(strokes, params, svg_filename=tmp_path / "eos_pdf.svg")
    assert (tmp_path / "pdf.svg").read_text().count("<ellipse") == 16000
    assert (tmp_path / "pdf.svg").stat().st_size < 3e6
    assert (tmp_path / "eos_pdf.svg").stat().st_size < 1e5


def test_plot_density_writes_a_wide_png(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it, and so a window system, fails
    strokes = np.tile([[10, 0, 0]], (100, 1))
    utils.plot_density(strokes, random_mixture(100, 4), png_filename=tmp_path / "density.png")
    content = (tmp_path / "density.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert 1000 < width < 3000 and 400 < height < width
    assert [path.name for path in tmp_path.iterdir()] == ["density.png"]


def test_plot_density_survives_components_that_are_all_too_wide(tmp_path):
    wide = np.full((6, 2), 1e9)
    utils.plot_density(STROKES, mixture(6, sigma1=wide, sigma2=wide), png_filename=tmp_path / "density.png")
    assert (tmp_path / "density.png").exists()


def test_density_map_is_the_density_of_the_mixture():
    columns = {"sigma1": [[40, 15]], "sigma2": [[20, 60]], "rho": [[0.7, -0.5]], "mu1": [[100, -80]]}
    params = mixture(
        1, pi=np.array([[0.6, 0.4]]), **{name: np.array(values) for name, values in columns.items()}
    )
    pi, means, covariance = utils._mixture([[30, 40, 1]], params)
    box = np.array([-400, -300]), np.array([500, 300])
    grid, (left, right, bottom, top) = utils._density_map(pi, means, covariance, *box)
    assert grid.shape == (600, 900) and (left, right, bottom, top) == (-400, 500, 300, -300)
    expected = 0
    middles = np.stack(np.meshgrid(np.arange(-399.5, 500), np.arange(-299.5, 300)), axis=-1)
    for weight, mean, (xx, xy, yy) in zip(pi[0], means[0], covariance[0], strict=True):
        matrix, away = np.array([[xx, xy], [xy, yy]]), middles - mean
        distance = np.einsum("rci,ij,rcj->rc", away, np.linalg.inv(matrix), away)
        expected += weight * np.exp(-distance / 2) / (2 * np.pi * np.sqrt(np.linalg.det(matrix)))
    np.testing.assert_allclose(grid, expected, atol=2e-3 * expected.max())
    np.testing.assert_allclose(grid.sum(), 1, atol=1e-3)


def test_density_map_of_800_points_takes_little_time():
    strokes = np.tile([[9, 0, 0]], (800, 1))
    pi, means, covariance = utils._mixture(strokes, random_mixture(800, 20))
    start = time.process_time()
    utils._density_map(pi, means, covariance, np.array([-200, -300]), np.array([7400, 300]))
    assert time.process_time() - start < 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strokes", [np.zeros((0, 3)), np.zeros((4, 2)), np.zeros(3), np.zeros((2, 4, 3))])
def test_drawing_refuses_what_is_not_strokes(tmp_path, kind, strokes):
    with pytest.raises(ValueError, match=r"strokes must be points \(dx, dy, eos\) \[n, 3\]"):
        draw(kind, strokes, svg_filename=tmp_path / "picture.svg")
    assert list(tmp_path.iterdir()) == []


def test_drawing_refuses_numbers_that_are_not_finite(tmp_path):
    with pytest.raises(ValueError, match="strokes must be finite"):
        utils.draw_strokes([[0, np.nan, 1]], svg_filename=tmp_path / "picture.svg")
    params = mixture(6, rho=np.full((6, 2), np.inf))
    with pytest.raises(ValueError, match="params must be finite"):
        utils.draw_strokes_pdf(STROKES, params, svg_filename=tmp_path / "picture.svg")
    with pytest.raises(ValueError, match="factor must be positive, not 0"):
        utils.draw_strokes(STROKES, factor=0, svg_filename=tmp_path / "picture.svg")


@pytest.mark.parametrize("name", ["draw_strokes_eos_weighted", "draw_strokes_pdf", "plot_density"])
def test_drawing_refuses_params_of_other_strokes(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name == "draw_strokes_eos_weighted":
        expected = r"arrays \[6\], a row for each point, not \[7\]"
    else:
        expected = r"arrays \[6, 2\], a row for each point, not \[7, 2\]"
    with pytest.raises(ValueError, match=expected):
        getattr(utils, name)(STROKES, mixture(7))


@pytest.mark.parametrize("kind", KINDS)
def test_a_files_name_is_not_in_the_picture(tmp_path, kind):
    pictures = []
    for name in ("plain.svg", """a<b>&"c'.svg""", "--><script>alert(1)<script>.svg"):
        random.seed(1)
        draw(kind, STROKES, svg_filename=tmp_path / name)
        pictures.append((tmp_path / name).read_bytes())
        assert ET.fromstring(pictures[-1]).tag == "{http://www.w3.org/2000/svg}svg"
    assert pictures[0] == pictures[1] == pictures[2]
    assert not {"script", "a<b", "&amp;", "plain"} & set(re.findall("script|a<b|&amp;|plain", pictures[1].decode()))


def test_a_folder_that_is_missing_is_an_error_that_names_the_file(tmp_path):
    file = tmp_path / "missing" / "picture.svg"
    with pytest.raises(FileNotFoundError) as caught:
        utils.draw_strokes(STROKES, svg_filename=file)
    assert caught.value.filename == str(file)


def test_a_write_that_fails_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "picture.svg"
    file.write_text("old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        utils.draw_strokes(STROKES, svg_filename=file)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("picture.svg", "old")]


@pytest.fixture
def shown(monkeypatch):
    """The pictures shown in a made-up IPython, as (kind, file name)."""
    pictures = []
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = object
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = pictures.append
    ipython.display.SVG = lambda filename: ("SVG", filename)
    ipython.display.Image = lambda filename: ("Image", filename)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return pictures


def test_pictures_are_shown_inside_ipython(tmp_path, monkeypatch, shown):
    monkeypatch.chdir(tmp_path)
    utils.draw_strokes(STROKES)
    utils.draw_strokes_random_color(STROKES)
    utils.draw_strokes_eos_weighted(STROKES, mixture(6))
    utils.draw_strokes_pdf(STROKES, mixture(6))
    utils.plot_density(STROKES, mixture(6))
    names = ["sample.svg", "sample_color.svg", "sample_eos_pdf.svg", "sample_pdf.svg"]
    assert shown == [*(("SVG", name) for name in names), ("Image", "sample_density.png")]
    assert all((tmp_path / name).exists() for _, name in shown)


def test_pictures_are_not_shown_outside_ipython(tmp_path, monkeypatch, shown):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    utils.draw_strokes(STROKES, svg_filename=tmp_path / "picture.svg")
    monkeypatch.delitem(sys.modules, "IPython")
    utils.draw_strokes(STROKES, svg_filename=tmp_path / "picture.svg")
    assert shown == [] and "IPython" not in sys.modules
