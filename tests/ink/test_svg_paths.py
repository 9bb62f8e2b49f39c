"""handwriting/ink/svg_paths.py: the paths of SVGs, of other programs and of ours."""

from argparse import Namespace

from conftest import make_line
from handwriting.drawing import strokes as drawing
from handwriting.drawing.density import draw_strokes_pdf
from handwriting.drawing.svg import Layer, write_svg
from handwriting.files import UserError
from handwriting.ink import svg_paths
from handwriting.ink.svg_paths import read_svg

import numpy as np
import pytest
from test_page_lines import LINE, page

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {}>{}</svg>'
)


def strokes_of(inside, more=""):
    """The strokes of an SVG of one line, as lists, and its text."""
    ((strokes, text),) = read_svg(SVG.format(more, inside).encode())
    return [stroke.round(6).tolist() for stroke in strokes], text


def positions(inside, more=""):
    return [[point[:2] for point in stroke] for stroke in strokes_of(inside, more)[0]]


def path_of(data):
    """The positions (x, y) of the strokes of one path."""
    return positions(f'<path fill="none" d="{data}"/>')


# --------------------------------------------------------------------------------------- shapes


def test_commands_absolute_and_relative_give_the_same_strokes():
    expected = [[[1, 2], [3, 4], [5, 6], [9, 6], [9, 1]], [[20, 21], [22, 23]]]
    assert path_of("M 1 2 3,4 L5 6H9V1M20 21 22 23") == expected
    assert path_of("m1 2 2,2l2 2h4v-5m11 20 2 2") == expected
    assert path_of("M1e1-2.5L.5.25-3-4") == [[[10, -2.5], [0.5, 0.25], [-3, -4]]]


def test_curves_and_arcs_pass_where_they_do():
    (cubic,) = path_of("M0 0C0 10 20 10 20 0")
    assert cubic[8] == [10, 7.5] and cubic[16] == [20, 0] and len(cubic) == 17
    (quadratic,) = path_of("M0 0q10 20 20 0")
    assert quadratic[8] == [10, 10] and quadratic[16] == [20, 0]
    first = "M0 0C0 10 20 10 20 0"
    assert path_of(first + "S40-10 40 0") == path_of(first + "c0-10 20-10 20 0")
    (arc,) = path_of("M0 0A5 5 0 0 1 10 0")
    assert arc[8] == [5, -5] and arc[16] == [10, 0] and len(arc) == 17
    np.testing.assert_allclose(np.hypot(*np.subtract(arc, [5, 0]).T), 5, atol=1e-5)


def test_z_leads_back_and_what_follows_starts_there():
    assert path_of("M1 1h4v4zl-1-1M9 9l1 0M9 9l0 1") == [
        [[1, 1], [5, 1], [5, 5], [1, 1]], [[1, 1], [0, 0]], [[9, 9], [10, 9]], [[9, 9], [9, 10]],
    ]  # fmt: skip


def test_lines_and_shapes_with_a_pen_are_strokes():
    inside = '<line x1="1" y1="2" x2="3" y2="4"/><polyline points="1,2 3,4 5,2"/>'
    inside += '<g fill="none" stroke="red"><polygon points="1,2 3,4 5,2"/>'
    inside += '<rect x="1" y="2" width="3" height="4"/></g>'
    assert positions(inside) == [
        [[1, 2], [3, 4]], [[1, 2], [3, 4], [5, 2]], [[1, 2], [3, 4], [5, 2], [1, 2]],
        [[1, 2], [4, 2], [4, 6], [1, 6], [1, 2]],
    ]  # fmt: skip


def test_paths_come_in_order_with_all_transforms_around_them_and_a_title():
    inside = '<title>so it</title><defs><path id="a" d="M0 0h9"/></defs><path d="M1 2h1"/>'
    inside += '<g transform="translate(10,20)"><path transform="scale(2)" d="M1 2h1"/></g>'
    inside += '<g transform="rotate(90)"><g transform="translate(1)"><path d="M1 2h1"/></g></g>'
    inside += '<use href="#a" x="5"/><use xlink:href="#a" transform="matrix(0 1 -1 0 5 0)"/>'
    strokes, text = strokes_of(inside)
    assert text == "so it"
    assert strokes == [
        [[1, 2, 0], [2, 2, 0]], [[12, 24, 0], [14, 24, 0]], [[-2, 2, 0], [-2, 3, 0]],
        [[5, 0, 0], [14, 0, 0]], [[5, 0, 0], [5, 9, 0]],
    ]  # fmt: skip


def test_what_is_not_drawn_by_a_pen_is_left_out():
    path = '<path d="M0 0h1v1z"/>'
    names = ("symbol", "mask", "marker", "clipPath", "pattern", "defs")
    inside = "".join(f"<{name}>{path}</{name}>" for name in names)
    inside += f'<g display="none">{path}</g><rect width="9" height="9" fill="white"/>'
    inside += '<text x="1" y="2">a</text><image href="http://a/b.png" width="1" height="1"/><path/>'
    inside += '<style>.a { fill: none;\n stroke: #000 }</style><path class="a" d="M0 0h1v1z"/>'
    assert positions(inside) == [[[0, 0], [1, 0], [1, 1], [0, 0]]]


def test_lines_are_found_by_their_height_and_share_the_title():
    def paths(numbers):
        return "".join(
            f'<path d="M{" ".join(f"{x},{y}" for x, y, _ in stroke)}"/>' for stroke in page(numbers)
        )

    lines = read_svg(SVG.format("", "<title>one\ntwo</title>" + paths([1, 0])).encode())
    assert [text for _, text in lines] == ["one", "two"]
    for k, (strokes, _) in enumerate(lines):
        np.testing.assert_allclose(np.concatenate(strokes), np.concatenate(page([k])), atol=1e-9)
    lines = read_svg(SVG.format("", "<title>My page</title>" + paths([0, 1])).encode())
    assert [text for _, text in lines] == [None, None]


# ---------------------------------------------------------------------------------- our pictures


@pytest.mark.parametrize("draw", [drawing.draw_strokes, drawing.draw_strokes_random_color])
def test_the_pictures_of_a_sample_by_strokes_are_read(tmp_path, draw):
    line = make_line(60, np.random.default_rng(0))
    draw(line, svg_filename=tmp_path / "sample.svg")
    ((strokes, _),) = read_svg((tmp_path / "sample.svg").read_bytes())
    expected = np.split(np.cumsum(line[:, :2], axis=0), np.flatnonzero(line[:-1, 2]) + 1)
    pairs = [(s[:, :2], e) for s, e in zip(strokes, expected, strict=True) if len(e) > 1]
    scale = 10 * 25.4 / 96 / drawing.UNIT_MM  # pen units in a pixel
    for stroke, points in pairs:
        moves = scale * (stroke - pairs[0][0][0])
        np.testing.assert_allclose(moves, points - pairs[0][1][0], atol=0.5)


def test_other_pictures_of_a_sample_are_refused_with_the_name_of_that_to_give(tmp_path):
    line = make_line(60, np.random.default_rng(0))
    mixture = {name: np.full((60, 2), 9.0) for name in ("mu1", "mu2", "sigma1", "sigma2")}
    params = Namespace(pi=np.full((60, 2), 0.5), rho=np.zeros((60, 2)), eos=line[:, 2], **mixture)
    names = [tmp_path / f"{k}.svg" for k in range(3)]
    drawing.draw_strokes_random_color(line, svg_filename=names[0], per_stroke_mode=False)
    drawing.draw_strokes_eos_weighted(line, params, svg_filename=names[1])
    draw_strokes_pdf(line, params, svg_filename=names[2])
    for name, what in zip(names, ["a path for each piece"] * 2 + ["made of ellipses"], strict=True):
        with pytest.raises(UserError, match=f"{what}.*; give NAME.normal.svg"):
            read_svg(name.read_bytes())


@pytest.mark.parametrize("speed", [None, 2])
def test_our_sheets_are_read_by_lines_without_their_rules(tmp_path, speed):
    strokes = [stroke[:, :2] + 40 for stroke in page([0, 1]) if len(stroke) > 1]
    rules = [np.array([[20, 40 + LINE * k], [60, 40 + LINE * k]]) for k in range(4)]
    layers = [Layer("ruled lines", rules), Layer("writing", strokes)]
    write_svg(tmp_path / "sheet.svg", (300, 200), layers, speed)
    lines = read_svg((tmp_path / "sheet.svg").read_bytes())
    drawn = [stroke for line, _ in lines for stroke in line]
    assert [len(line) for line, _ in lines] == [len(strokes) / 2] * 2
    for stroke, points in zip(drawn, strokes, strict=True):
        np.testing.assert_allclose(stroke[:, :2] * 25.4 / 96, points, atol=0.01)


# -------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("", "holds no ink"),
        ("<text>a</text><image/>", "holds no ink"),
        (" " * svg_paths.MAX_BYTES, "is larger than 2 MB"),
        ('<path d="L0 0"/>', "does not begin with M"),
        ('<path d="M0 0 1"/>', "a path or shape that cannot be read"),
        ('<path d="M0 0L"/>', "a path or shape that cannot be read"),
        ('<path d="M0 0L1;2"/>', "a path or shape that cannot be read"),
        ('<path d="M0 0L1e999 2"/>', "infinite or no number"),
        ('<path d="M0 0h1v1z"/>', "has closed outlines"),
        ('<circle r="1"/>', "has closed outlines"),
        ('<g id="a"><use href="#a"/></g>', "is too intricate"),
        ("<g>" * 20_000 + "</g>" * 20_000, "is too intricate"),
        (f'<path d="M0 0L{"1" * 200} 2"/>', "a number of a hundred digits"),
        (f'<g transform="{" " * 3000}"/>', "an attribute that is too long"),
        (f'<path d="M0 0t1 1{" 1 1" * 70_000}"/>', "has 70,001 curves"),
        ("".join(f'<path d="M{k} 0h1"/>' for k in range(5)), "a path for each piece of a stroke"),
    ],
)
def test_what_is_no_ink_is_refused(inside, words):
    with pytest.raises(UserError, match=words):
        read_svg(SVG.format("", inside).encode())
    with pytest.raises(UserError, match="is no SVG"):
        read_svg(b"<html/>")


def test_what_repeats_itself_without_end_is_refused():
    groups = "".join(
        f'<g id="a{k}"><use href="#a{k - 1}"/><use href="#a{k - 1}"/></g>' for k in range(1, 40)
    )
    with pytest.raises(UserError, match="is too intricate"):
        read_svg(SVG.format("", f'<path id="a0" d="M0 0h1"/>{groups}').encode())


def test_a_long_style_is_left_out():
    style = f"<style>{'a' * 20_000}</style>"
    assert positions(f'{style}<path d="M1 2h1"/>') == [[[1, 2], [2, 2]]]
