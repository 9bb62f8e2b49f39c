"""Plots, drawn by matplotlib: densities, where the window looks, losses."""

import io

from handwriting.drawing.density import density_map, mixture
from handwriting.drawing.strokes import pen_positions
from handwriting.drawing.svg import save_shown

import numpy as np


def plot_density(strokes, params, png_filename="sample_density.png"):
    """Write a PNG as in Graves (arXiv 1308.0850), figure 10; show it inside IPython.

    Above, a heat map: the densities of all points, added up over the plane of the writing (pen
    units); below, the weights of the M components over time. `params` and what is raised: as in
    `draw_strokes_pdf`.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    xy, _ = pen_positions(strokes)
    pi, means, covariance = mixture(strokes, params)
    box = xy.min(axis=0) - 200, xy.max(axis=0) + 200
    density, extent = density_map(pi, means, covariance, *box)
    height = 13 * np.clip(density.shape[0] / density.shape[1], 0.06, 0.6)
    figure = Figure(figsize=(14, height + 3.6), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, height_ratios=[height, 2.2])
    above.imshow(density, extent=extent, cmap="inferno", norm=PowerNorm(0.35, vmin=0))
    above.set(title="density of the next point", xlabel="x (pen units)", ylabel="y (pen units)")
    extent = (0.5, pi.shape[0] + 0.5, pi.shape[1] + 0.5, 0.5)
    style = {"cmap": "inferno", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    below.imshow(pi.T, extent=extent, aspect="auto", **style)
    below.set(title="weights of the components", xlabel="point", ylabel="component")
    below.yaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(below.images[0], ax=below, pad=0.01)
    save_figure(figure, png_filename)


def plot_window(strokes, window, text, png_filename="sample_window.png"):
    """Write a PNG as in Graves (arXiv 1308.0850), figure 13; show it inside IPython.

    Above, the window's weights [n, U] over the characters of the text, from below to above, and
    over time; below, the strokes [n, 3], each point under the time of its drawing.
    """
    from matplotlib.figure import Figure

    xy, _ = pen_positions(strokes)
    height = min(2.0 + 0.16 * len(text), 14.0)
    figure = Figure(figsize=(14, height + 2.4), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, height_ratios=[height, 2.2], sharex=True)
    above.imshow(np.asarray(window).T, aspect="auto", origin="lower", cmap="inferno", vmin=0)
    above.set_yticks(range(len(text)), text, fontsize=min(9, 500 / len(text)), family="monospace")
    above.set(title="where the window looks", ylabel="text")
    ends = np.flatnonzero(np.asarray(strokes)[:-1, 2] > 0.5) + 1
    for stroke in np.split(np.arange(len(xy)), ends):
        below.plot(stroke, -xy[stroke, 1], color="black", linewidth=0.8)
    below.set(xlabel="point", ylabel="height of the pen\n(pen units)")
    save_figure(figure, png_filename)


def plot_losses(history, file):
    """Write a PNG of every epoch's losses to the binary `file`.

    `history` holds the rows of loss.csv: dicts with epoch, train_loss, valid_loss (nats per point).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    labels = {"train_loss": "training (dropout on)", "valid_loss": "validation (dropout off)"}
    for name, label in labels.items():
        axes.plot(epochs, [row[name] for row in history], marker=".", label=label)
    axes.set(xlabel="epoch", ylabel="loss, nats per point")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120, format="png")


def save_figure(figure, png_filename):
    """Write a figure of matplotlib as `save_shown` does."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    save_shown(png.getvalue(), png_filename, "Image")
