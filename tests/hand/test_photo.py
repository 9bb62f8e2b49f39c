"""hand/photo.py: lines of handwriting in photos and scans."""

from conftest import make_line
from handwriting.files import UserError
from handwriting.hand.encoder import look
from handwriting.hand.photo import read_photo
from handwriting.hand.pictures import HEIGHT, UNIT, outline

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

SIZE = 1500, 1000


def write_page(path, lines, turned=0.0, ruled=0, ink=60, paper=225, shadow=False):
    """Write a photo of lines [n, 3] on paper, turned by so many degrees; ruled: pixels from rule to
    rule, along and across."""
    image = Image.new("L", SIZE, paper)
    canvas = ImageDraw.Draw(image)
    for place in range(ruled, max(SIZE), ruled or max(SIZE)):
        canvas.line([(0, place), (SIZE[0], place)], (3 * paper + ink) // 4, 2)
        canvas.line([(place, 0), (place, SIZE[1])], (3 * paper + ink) // 4, 2)
    for row, line in enumerate(lines):
        for stroke in outline(line):
            points = stroke * 9 + (150, 150 + 170 * row)
            canvas.line([*map(tuple, points)], ink, 4, joint="curve")
    image = image.rotate(turned, Image.Resampling.BICUBIC, fillcolor=paper)
    light = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), float)
    if shadow:
        light *= np.linspace(0.5, 1, SIZE[0])
    light += np.random.default_rng(0).normal(0, 3, light.shape)
    Image.fromarray(light.clip(0, 255).astype(np.uint8)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def lines():
    rng = np.random.default_rng(3)
    return [make_line(130, rng) * [4, 4, 1] for _ in range(4)]


def correlation(picture, drawn):
    """Of two pictures, one stretched to the other's width, in a small view."""
    size = drawn.shape[1] // 4, HEIGHT // 4
    small = [Image.fromarray(each).resize(size, Image.Resampling.BOX) for each in (picture, drawn)]
    return np.corrcoef(*(np.asarray(each).ravel() for each in small))[0, 1]


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"turned": 5, "shadow": True},
        {"turned": -3, "ruled": 45},
        {"ink": 230, "paper": 40},
        {"ink": 140, "paper": 200, "turned": 2},
    ],
)
def test_lines_are_found_on_any_paper_and_look_as_their_strokes_drawn(tmp_path, lines, page):
    found = read_photo(write_page(tmp_path / "page.png", lines, **page))
    assert len(found) == len(lines)
    for picture, line in zip(found, lines, strict=True):
        drawn = look("pictures", line)[..., 0]
        assert picture.dtype == np.float32 and picture.shape[0] == HEIGHT
        assert picture.shape[1] == pytest.approx(drawn.shape[1], rel=0.12)
        assert correlation(picture, drawn) > 0.5
        heights, weights = np.arange(HEIGHT), picture.sum(axis=1)
        middle = np.average(heights, weights=weights)
        deviation = np.sqrt(np.average((heights - middle) ** 2, weights=weights))
        assert middle == pytest.approx(HEIGHT / 2, abs=1.5)
        assert deviation == pytest.approx(UNIT, rel=0.12)


def test_what_is_no_handwriting_is_refused(tmp_path, lines):
    rng = np.random.default_rng(0)
    scene = Image.fromarray(rng.integers(0, 255, [40, 60], np.uint8)).resize((900, 600))
    pictures = {
        "blank.png": Image.new("L", (800, 600), 240),
        "noise.png": Image.fromarray(rng.integers(0, 255, [600, 800], np.uint8)),
        "scene.jpg": scene,
        "black.png": Image.new("L", (800, 600), 0),
        "tiny.png": Image.new("L", (3, 2), 255),
    }
    for name, image in pictures.items():
        image.save(tmp_path / name)
        with pytest.raises(UserError, match=rf"{name}: no line of handwriting is found there; "):
            read_photo(str(tmp_path / name))
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "none.png"):
        with pytest.raises(UserError, match=rf"{name} is no picture that can be read"):
            read_photo(str(tmp_path / name))


def test_transparent_paper_is_white_and_turned_photos_are_turned_back(tmp_path, lines):
    page = Image.open(write_page(tmp_path / "page.png", lines))
    ink = 255 - np.asarray(page)
    clear = np.zeros([*ink.shape, 4], np.uint8)
    clear[..., 3] = np.where(ink > 60, 255, 0)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert len(read_photo(str(tmp_path / "clear.png"))) == 4
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    page.rotate(90, expand=True).save(tmp_path / "upright.jpg", exif=exif)
    assert len(read_photo(str(tmp_path / "upright.jpg"))) == 4
