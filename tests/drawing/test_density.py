"""The densities under strokes and on a grid: made-up mixtures in, the values that are drawn out."""

import tracemalloc
import xml.etree.ElementTree as ET

from handwriting.drawing import density

import numpy as np
import pytest
from test_strokes import (
    STROKES,
    SVG,
    ellipse_numbers,
    mixture,
    numbers,
    paths,
    points,
    random_mixture,
    random_strokes,
)


@pytest.fixture
def svg(tmp_path):
    """Draws a density and returns the root of its SVG."""

    def picture(strokes, params):
        density.draw_strokes_pdf(strokes, params, svg_filename=tmp_path / "pdf.svg")
        return ET.parse(tmp_path / "pdf.svg").getroot()

    return picture


def test_draw_strokes_pdf_ellipses_have_the_covariance_of_the_components(svg):
    columns = {
        "pi": [[0.7, 0.3], [1, 0]], "mu1": [[4, -30], [10, 0]], "mu2": [[8, 20], [-20, 0]],
        "sigma1": [[30, 10], [12, 9]], "sigma2": [[10, 40], [12, 9]],
        "rho": [[0.6, -0.8], [0.5, 0]],
    }  # fmt: skip
    params = mixture(2, **columns)
    root = svg([[100, 50, 0], [7, 7, 1]], params)
    (path,) = map(points, paths(root))
    origin = path[0] - [10, 5]
    assert (path - origin).round(2).tolist() == [[10, 5], [10.7, 5.7]]
    ellipses = list(root.iter(f"{SVG}ellipse"))
    # The pen was at (0, 0), then at (100, 50); the component without weight is left out.
    expected = [((0.4, 0.8), (0, 0)), ((-3, 2), (0, 1)), ((11, 3), (1, 0))]
    for ellipse, (mean, index) in zip(ellipses, expected, strict=True):
        center, axes, turn = ellipse_numbers(ellipse)
        np.testing.assert_allclose(center - origin, mean, atol=0.011)
        s1, s2, rho = (getattr(params, name)[index] for name in ("sigma1", "sigma2", "rho"))
        covariance = np.array([[s1**2, rho * s1 * s2], [rho * s1 * s2, s2**2]]) / 10**2
        np.testing.assert_allclose(turn @ np.diag(axes**2) @ turn.T, covariance, atol=0.05)
    assert [group[0].tag for group in root] == [f"{SVG}ellipse", f"{SVG}path"]  # strokes on top


def test_draw_strokes_pdf_is_transparent_where_spread_out(svg):
    sigma = np.array([[3, 30, 60, 120, 400, 1e9]])
    pi = [[0.1, 0.5, 0.2, 0.1, 0.05, 0.05]]
    params = mixture(1, 6, pi=pi, sigma1=sigma, sigma2=sigma, rho=0 * sigma)
    root = svg([[3, 4, 1]], params)
    opacity = [float(ellipse.get("fill-opacity")) for ellipse in root.iter(f"{SVG}ellipse")]
    # 250 pi / sigma^2, at most 0.35; the three widest, below 0.01, are left out.
    assert opacity == [0.35, 0.14, 0.01]


@pytest.mark.parametrize("sigma", [1e-12, 1, 1e3, 1e15])
@pytest.mark.parametrize("rho", [-0.9999, 1])
def test_draw_strokes_pdf_survives_extreme_components(svg, sigma, rho):
    full = np.full((6, 2), sigma)
    params = mixture(6, sigma1=full, sigma2=full * 2, rho=0 * full + rho)
    root = svg(STROKES, params)
    axes = [ellipse_numbers(ellipse)[1] for ellipse in root.iter(f"{SVG}ellipse")]
    assert len(axes) == (12 if sigma <= 1 else 0)
    assert all(0 < min(pair) <= max(pair) < 1 for pair in axes)
    assert max(numbers(root.get("viewBox"))) < 100


def test_draw_strokes_pdf_keeps_the_ellipses_with_most_ink_of_every_point(svg, monkeypatch):
    monkeypatch.setattr(density, "MAX_ELLIPSES", 5)
    pi = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25]]
    sigma = np.full((3, 3), 50.0)
    mu1 = 1000 * np.arange(9).reshape(3, 3)
    params = mixture(3, 3, pi=pi, sigma1=sigma, sigma2=sigma, rho=0 * sigma, mu1=mu1, mu2=0 * mu1)
    root = svg([[0, 0, 0], [0, 0, 0], [0, 0, 1]], params)
    x = np.array([ellipse_numbers(ellipse)[0][0] for ellipse in root.iter(f"{SVG}ellipse")])
    component = (x - points(paths(root)[0]).mean(axis=0)[0]) / 100
    assert component.round().tolist() == [0, 1, 5, 6, 7]  # the best of each, two second best


def test_draw_strokes_pdf_of_20000_points_takes_few_megabytes(tmp_path):
    strokes, params = random_strokes(20_000), random_mixture(20_000, 20)
    tracemalloc.start()
    try:
        density.draw_strokes_pdf(strokes, params, svg_filename=tmp_path / "pdf.svg")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert (tmp_path / "pdf.svg").read_text().count("<ellipse") == density.MAX_ELLIPSES
    assert (tmp_path / "pdf.svg").stat().st_size < 5e6


def test_density_map_is_the_density_of_the_mixture():
    columns = {"sigma1": [[40, 15]], "sigma2": [[20, 60]], "rho": [[0.7, -0.5]]}
    params = mixture(1, pi=[[0.6, 0.4]], mu1=[[100, -80]], **columns)
    pi, means, covariance = density.mixture([[30, 40, 1]], params)
    box = np.array([-400, -300]), np.array([500, 300])
    grid, edges = density.density_map(pi, means, covariance, *box)
    assert grid.shape == (600, 900) and edges == (-400, 500, 300, -300)
    expected = 0
    centers = np.stack(np.meshgrid(np.arange(-399.5, 500), np.arange(-299.5, 300)), axis=-1)
    for weight, mean, (xx, xy, yy) in zip(pi[0], means[0], covariance[0], strict=True):
        matrix, away = np.array([[xx, xy], [xy, yy]]), centers - mean
        distance = np.einsum("rci,ij,rcj->rc", away, np.linalg.inv(matrix), away)
        peak = weight / (2 * np.pi * np.sqrt(np.linalg.det(matrix)))
        expected += peak * np.exp(-distance / 2)
    np.testing.assert_allclose(grid, expected, atol=2e-3 * expected.max())
    np.testing.assert_allclose(grid.sum(), 1, atol=1e-3)
