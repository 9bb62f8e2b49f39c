"""Lines of handwriting in a photo or a scan, as the encoder reads them.

What is darker than the paper around it is ink. The page is turned until its lines are level,
ruled lines are taken out, and what stands beside each other is a line.
"""

from handwriting.files import UserError
from handwriting.hand.pictures import HEIGHT, UNIT, brighten

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage
from skimage import filters, measure, transform

SIDE = 2000  # pixels of the longer side, at most
FAINT = 0.1  # ink takes away at least this share of the paper's light
STEEPEST = 8.0  # degrees that a page is turned back, at most
MOST_LINES = 30
ADVICE = (
    "photograph or scan some lines of dark ink on plain, light paper, straight from above, so "
    "that they fill the picture"
)


def read_photo(path):
    """The lines of handwriting in a picture: a list of float32 [HEIGHT, w], ink 1, paper 0, from
    top to bottom. Raises UserError.
    """
    try:
        with Image.open(path) as file:
            file.draft("L", (SIDE, SIDE))
            image = ImageOps.exif_transpose(file).convert("RGBA")
    except (OSError, Image.DecompressionBombError, ValueError) as error:
        raise UserError(f"{path} is no picture that can be read ({error})") from None
    image.thumbnail((SIDE, SIDE))
    white = Image.new("RGBA", image.size, "white")  # what is transparent is paper
    grey = Image.alpha_composite(white, image).convert("L")
    lines = find_lines(np.asarray(grey, np.float32) / 255)
    if not lines:
        raise UserError(f"{path}: no line of handwriting is found there; {ADVICE}")
    return lines


def find_lines(grey):
    """The lines in a picture [h, w] of light from 0 to 1, as `read_photo` gives them."""
    if np.median(grey) < 0.4:  # chalk on a blackboard
        grey = 1 - grey
    ink = find_ink(grey)
    if not (ink > FAINT).any():
        return []
    dark = min(filters.threshold_otsu(ink[ink > FAINT / 2]), ink.max() / 2)
    mask = ink > max(FAINT, dark)
    if not 0.001 < mask.mean() < 0.3:  # a blank page, or no page
        return []
    angle = slope_of(mask)
    turned = transform.rotate(ink, angle, order=1, mode="constant", resize=True)
    faint = transform.rotate(ink * mask, angle, order=1, mode="constant", resize=True)
    mask = without_rules(faint > FAINT)
    lines = [cut_out(turned * mask, rows) for rows in group(mask)]
    return [line for line in lines if line is not None][:MOST_LINES]


def find_ink(grey):
    """Which share of the paper's light is taken away, [h, w]: the paper's is that of its lightest
    places nearby, so that shadows are none.
    """
    size = max(9, max(grey.shape) // 40)
    small = transform.rescale(grey, 0.25, anti_aliasing=True)
    paper = ndimage.grey_closing(small, size=(size // 2, size // 2))
    paper = filters.gaussian(paper, size / 4)
    paper = transform.resize(paper, grey.shape, order=1)
    return np.clip(1 - grey / np.maximum(paper, 0.05), 0, 1)


def slope_of(mask):
    """The angle in degrees by which a mask is to be turned so that its lines are level: where the
    sums of its rows differ most.
    """
    small = transform.rescale(mask.astype(np.float32), min(1, 600 / max(mask.shape)))

    def sharpness(angle):
        rows = transform.rotate(small, angle, order=1).sum(axis=1)
        return float((np.diff(rows) ** 2).sum())

    best = 0.0
    for step in (1.0, 0.25):
        span = STEEPEST if step == 1.0 else 1.0
        angles = best + np.arange(-span, span + step / 2, step)
        best = float(max(angles, key=sharpness))
    return best


def without_rules(mask):
    """The mask without long straight lines of ruled paper, along and across."""
    height, width = mask.shape
    for along, across in (((1, width // 12), (3, 1)), ((height // 8, 1), (1, 3))):
        thick = ndimage.binary_dilation(mask, np.ones(across))
        rules = ndimage.binary_opening(thick, np.ones(along))
        rules = ndimage.binary_dilation(rules)
        # What goes on beyond a rule crosses it, and stays.
        mask = mask & (~rules | ndimage.binary_dilation(mask & ~rules, iterations=2))
    return mask


def group(mask):
    """For each line in a mask [h, w], from top to bottom, the mask of its own ink."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    boxes = measure.regionprops(labels)
    boxes = [box for box in boxes if box.area >= 12]
    sizes = np.array([box.bbox[2] - box.bbox[0] for box in boxes])
    if len(boxes) < 5:
        return []
    tall = float(np.median(sizes[sizes >= np.percentile(sizes, 40)]))
    boxes = [box for box in boxes if box.bbox[2] - box.bbox[0] < 6 * tall]
    kept = np.isin(labels, [box.label for box in boxes])
    # Ink smeared along lines: what is connected is a line.
    smeared = filters.gaussian(kept.astype(np.float32), (0.18 * tall, 1.6 * tall))
    level = 0.25 * filters.threshold_otsu(smeared) + 0.02
    rows, count = ndimage.label(smeared > level)
    found = []
    for k in range(1, count + 1):
        owned = [b for b in boxes if most_common(rows[tuple(b.coords.T)]) == k]
        if owned:
            found.append((np.mean([b.centroid[0] for b in owned]), owned))
    lines = []
    for _, owned in sorted(found, key=lambda pair: pair[0]):
        line = np.isin(labels, [b.label for b in owned])
        high, wide = (np.ptp(np.flatnonzero(line.any(axis=axis))) + 1 for axis in (1, 0))
        thick = 2 * line.sum() / max(1, (line ^ ndimage.binary_erosion(line)).sum())
        if len(owned) >= 3 and wide > 3 * high and wide > 6 * tall and thick < 0.6 * tall:
            lines.append(line)
    return lines


def most_common(values):
    """The most frequent of some labels."""
    return np.bincount(values).argmax()


def cut_out(ink, line):
    """The picture of a line, [HEIGHT, w]: level, its ink of the encoder's size, its middle in the
    middle; None if it is too short.
    """
    columns = np.flatnonzero(line.any(axis=0))
    ink = (ink * line)[:, columns[0] : columns[-1] + 1]
    y, x = np.nonzero(ink)
    weight = ink[y, x]
    slope = np.cov(x, y, aweights=weight, bias=True)
    slope = slope[0, 1] / slope[0, 0]
    level = y - slope * (x - x.mean())
    middle = np.average(level, weights=weight)
    deviation = np.sqrt(np.average((level - middle) ** 2, weights=weight))
    scale = UNIT / deviation
    width = round(ink.shape[1] * scale) + 16
    if width < 4 * HEIGHT // 2:
        return None
    # A point (row, column) of the result comes from here in ink.
    columns = (np.arange(width) - 8) / scale
    rows = (np.arange(HEIGHT) - HEIGHT / 2) / scale + middle
    places = [rows[:, None] + slope * (columns - x.mean())[None], np.tile(columns, (HEIGHT, 1))]
    smooth = filters.gaussian(ink, 0.4 / scale) if scale < 1 else ink
    picture = ndimage.map_coordinates(smooth, places, order=1)
    return brighten(picture.astype(np.float32)).clip(0, 1)
